"""Picture of the generated images that lie closest to a training image, each beside it."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from synthmed.core.files import atomic_path
from synthmed.data.imageset import ImageSet

_SIDE, _GAP, _TEXT = 180, 8, 12  # of a picture, in pixels


def draw_pairs(
    path: Path, sets: Mapping[str, ImageSet], pairs: Sequence[Mapping], seen: Callable[[ImageSet, int], np.ndarray]
) -> None:
    """Each pair: a generated image, and its nearest training image in each space; two pairs in a row (PNG).

    sets: the image sets `train` and `fake`; pairs: the `closest_pairs` of the audit; seen: the pixels
    (H, W, C) to show of one image of a set.
    """
    rows = {name: {row["image"]: i for i, row in enumerate(sets[name].rows)} for name in ("train", "fake")}
    spaces = [name for name, entry in pairs[0].items() if isinstance(entry, Mapping)]
    columns = min(2, len(pairs))
    lines = -(-len(pairs) // columns)
    font = ImageFont.load_default(size=_TEXT)
    width, height = (1 + len(spaces)) * (_SIDE + _GAP) + 3 * _GAP, _SIDE + 2 * _TEXT + _GAP
    sheet = Image.new("RGB", (columns * width, lines * height), "white")
    pen = ImageDraw.Draw(sheet)
    for number, pair in enumerate(pairs):
        top, left = number // columns * height, number % columns * width + _GAP
        panels = [("fake", pair["image"], "generated" + (": suspect" if pair["suspect"] else ""))]
        for space in spaces:
            near = pair[space]
            panels.append(("train", near["nearest"], f"{space}: ratio {near['ratio']:.2f}, limit {near['limit']:.2f}"))
        for kind, name, title in panels:
            pen.text((left, top + _TEXT // 2), title, "#b3261e" if title.endswith("suspect") else "#333333", font)
            sheet.paste(_picture(seen(sets[kind], rows[kind][name])), (left, top + 2 * _TEXT))
            left += _SIDE + _GAP
    with atomic_path(path) as temporary:
        sheet.save(temporary, "PNG")


def _picture(pixels: np.ndarray) -> Image.Image:
    """At most _SIDE pixels a side, small ones enlarged to it. Of named channels, three as colours, else the first."""
    shown = pixels if pixels.shape[2] == 3 else pixels[:, :, 0]
    picture = Image.fromarray(shown).convert("RGB")
    picture.thumbnail((_SIDE, _SIDE))
    factor = _SIDE / max(picture.size)
    size = round(picture.width * factor), round(picture.height * factor)
    return picture if factor <= 1 else picture.resize(size, Image.Resampling.NEAREST)
