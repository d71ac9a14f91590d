"""A contact sheet: a PNG with some images of a set, by label, to look at with one's own eyes; masks as contours."""

from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path
from synthmed.data.channels import boundary, resized_labels
from synthmed.data.imageset import ImageSet

TILE = 128
"""Longer side (pixels) of an image on the sheet."""
_GAP = 4
_LINE = 12
_CAPTION = 2 * _LINE + 2
_CONTOUR = (255, 210, 0)


def contact_sheet(image_set: str | Path, out_png: str | Path, columns: int, count: int, seed: int) -> None:
    """Write a grid of `count` images (all when there are fewer), as many of each label as can be, drawn by `seed`.

    Under each image stand its label and its name; rows are sorted by label. Three channels are shown as red,
    green and blue, two or more than three side by side. Raises InputError on a broken image set.
    """
    if columns < 1 or count < 1:
        raise InputError(f"a contact sheet of {count} images in {columns} columns is empty; both must be at least 1")
    opened = ImageSet(image_set)
    chosen = _choose(opened.column("label"), count, seed)
    columns = min(columns, len(chosen))
    rows = -(-len(chosen) // columns)
    cell = (TILE + _GAP, TILE + _CAPTION + _GAP)
    sheet = Image.new("RGB", (columns * cell[0] + _GAP, rows * cell[1] + _GAP), (24, 24, 24))
    draw = ImageDraw.Draw(sheet)
    for place, (row, pixels, *masks) in enumerate(opened.entries(chosen)):
        x, y = _GAP + place % columns * cell[0], _GAP + place // columns * cell[1]
        sheet.paste(_tile(pixels, *masks), (x, y))
        for line, words in enumerate((row["label"], row["image"].removesuffix(".png"))):
            # The end of a name tells more than its beginning.
            while draw.textlength(words) > TILE:
                words = words[1:]
            draw.text((x, y + TILE + line * _LINE), words, fill=(235 - 60 * line,) * 3)
    with atomic_path(out_png) as temporary:
        sheet.save(temporary, "PNG")


def _choose(labels: list[str], count: int, seed: int) -> list[int]:
    """Positions of `count` images: labels take turns, so each has as many as it can."""
    rng = np.random.default_rng(seed)
    queues = defaultdict(list)
    for position in rng.permutation(len(labels)):
        queues[labels[position]].append(int(position))
    chosen = []
    while len(chosen) < min(count, len(labels)):
        for label in sorted(queues):
            if queues[label] and len(chosen) < count:
                chosen.append(queues[label].pop())
    return sorted(chosen, key=lambda position: (labels[position], position))


def _tile(pixels: np.ndarray, mask: np.ndarray | None = None) -> Image.Image:
    """Image uint8 (H, W, C), the rims of all classes or objects of `mask` (H, W) drawn in yellow."""
    if pixels.shape[2] not in (1, 3):
        pixels = np.concatenate(np.dsplit(pixels, pixels.shape[2]), axis=1)
        mask = None if mask is None else np.tile(mask, pixels.shape[1] // mask.shape[1])
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    scale = TILE / max(image.size)
    # Small images are shown with their pixels; large ones are averaged.
    resample = Image.Resampling.NEAREST if scale >= 1 else Image.Resampling.BOX
    size = [max(1, round(side * scale)) for side in image.size]
    tile = image.resize(size, resample).convert("RGB")
    if mask is not None:
        tile.paste(_CONTOUR, mask=Image.fromarray(boundary(resized_labels(mask, (size[1], size[0])))))
    return tile
