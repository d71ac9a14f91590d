"""Everything that is wrong with an image set, in words (`synthmed images check`).

Opening an image set stops at the first problem; this goes on, so that a set made by hand can be repaired in one go.
"""

import csv
import io
import zipfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from synthmed.core.errors import InputError
from synthmed.data.imageset import (
    COLUMNS,
    COMPANIONS,
    LEGEND,
    MANIFEST,
    PLAIN,
    UNDECODABLE,
    UNREADABLE,
    Legend,
    image_files,
)
from synthmed.data.sources.user_folder import is_hidden

DARK = 16
"""Grey value of 255, at or below which nothing is seen on a screen."""
NOISE = 0.3
"""Correlation of neighbouring pixels, below which an image is noise."""
LEAST_NOISE = 16
"""Pixels of the shorter side that an image needs for this."""


def check(path: str | Path) -> list[str]:
    """Problems of the image set `path`, one sentence each; an empty list when it is fine. Never raises on bad input."""
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        return [f"{path}: no such file"]
    except (*UNREADABLE, OSError) as error:
        return [f"{path}: not a readable zip file ({error})"]
    with archive:
        names = archive.namelist()
        problems = [f"{name}: {count} times in the archive" for name, count in Counter(names).items() if count > 1]
        if MANIFEST not in names:
            return [*problems, f"no {MANIFEST} inside"]
        try:
            reader = csv.DictReader(io.StringIO(archive.read(MANIFEST).decode("utf-8-sig")), strict=True)
            rows = list(reader)
        except (*UNREADABLE, UnicodeDecodeError, csv.Error) as error:
            return [*problems, f"{MANIFEST}: cannot be read ({error})"]
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
        if missing:
            return [*problems, f"{MANIFEST}: no column {', '.join(missing)}"]
        if not rows:
            return [*problems, f"{MANIFEST}: no row"]
        problems += _check_rows(rows)
        legend = PLAIN
        if LEGEND in names:
            try:
                legend = Legend.load(archive.read(LEGEND), str(path))
            except (*UNREADABLE, InputError) as error:
                return [*problems, str(error)]
        problems += _check_files(archive, set(names), rows, legend)
    return problems


def _check_rows(rows: list[dict[str, str]]) -> list[str]:
    problems = []
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            problems.append(f"{MANIFEST}, line {number}: not as many cells as columns")
        for column in ("image", "label", "patient"):
            if not row[column]:
                problems.append(f"{MANIFEST}, line {number}: no {column}")
    for name, count in Counter(row["image"] for row in rows if row["image"]).items():
        if count > 1:
            problems.append(f"{name}: {count} rows of the manifest")
    if len({row["label"] for row in rows if row["label"]}) == 1:
        problems += _without_masks(rows)
    parts = defaultdict(set)
    for row in rows:
        parts[row["patient"]].add(row["split"])
    for patient, found in parts.items():
        if patient and len(found) > 1:
            problems.append(f"patient {patient!r} is in several parts of the split: {sorted(map(str, found))}")
    return problems


def _without_masks(rows: list[dict[str, str]]) -> list[str]:
    """What is wrong with images of one label, which need masks, all of them."""
    without = [row["image"] for row in rows if not row["mask"]]
    if len(without) == len(rows):
        return [f"only one label, {rows[0]['label']!r}"]
    others = f"the other {len(rows) - len(without)} have one" if without else ""
    if len(without) > 1:
        return [f"{len(without)} images have no mask, e.g. {without[0]}; {others}"]
    return [f"{name}: no mask, {others}" for name in without]


def _check_files(archive: zipfile.ZipFile, names: set[str], rows: list[dict[str, str]], legend: Legend) -> list[str]:
    problems, shapes, drawn = [], Counter(), Counter()
    empty: dict[str, list[str]] = defaultdict(list)  # what is to be seen -> names
    expected = {MANIFEST, LEGEND, *COMPANIONS}
    modes = ("L", "RGB") if legend.channels is None else ("L",)
    for row in rows:
        if not row["image"]:
            continue
        files = image_files(row, legend)
        found = []
        for name in files:
            image, problem = _checked(archive, names, name, modes)
            problems += [problem] if problem else []
            if image and not problem and legend.channels is None and (seen := _nothing_seen(np.asarray(image))):
                empty[seen].append(name)
            found.append(image and (image.width, image.height, image.mode))
        expected.update(files)
        if len(set(found)) > 1 and None not in found:
            problems.append(
                f"{row['image']}: channels of different sizes: {', '.join(f'{w}×{h}' for w, h, _ in found)}"
            )
        shapes.update(found[:1])
        if row["mask"]:
            name = f"masks/{row['mask']}"
            expected.add(name)
            mask, problem = _checked(archive, names, name, ("L", "I;16"))
            problems += [problem] if problem else []
            if mask and found[0] and mask.size != found[0][:2]:
                width, height, _ = found[0]
                problems.append(f"{name}: {mask.width}×{mask.height} pixels, its image {width}×{height}")
            if mask and not problem:
                values = np.asarray(mask)
                drawn.update(legend.drawn(values))
                problems += [f"{name}: the value {value}, which is no class" for value in legend.unknown(values)[:1]]
    problems += [f"{len(found)} images are {seen}, e.g. {found[0]}" for seen, found in sorted(empty.items())]
    del shapes[None]
    further = sorted(name for name in names - expected if not name.endswith("/") and not is_hidden(name))
    problems += [f"{name}: in the archive, not in the manifest" for name in further]
    if len(shapes) > 1:
        listed = ", ".join(f"{w}×{h} {mode} ({count})" for (w, h, mode), count in shapes.most_common())
        problems.append(f"images of different shapes: {listed}")
    if any(row["mask"] for row in rows):
        unmarked = [name for name in legend.classes if not drawn[name]]
        problems += [f"no mask marks {name!r}" for name in unmarked] if drawn else ["all masks are empty"]
    return problems


def _nothing_seen(pixels: np.ndarray) -> str | None:
    """Why nothing is to be seen in an image (uint8, (H, W) or (H, W, 3)): one value, no light, too much, or noise.

    Of real images (X-rays, CT, skin, nuclei, of 28 to 128 pixels) neighbours have correlations above 0.5, of noise
    below 0.2.
    """
    low, high = np.percentile(pixels, [1, 99])
    if pixels.min() == pixels.max():
        return "constant, every pixel has the same value"
    if high <= DARK:
        return f"almost black, 99 % of their pixels are at most {DARK} of 255"
    if low >= 255 - DARK:
        return f"almost white, 99 % of their pixels are at least {255 - DARK} of 255"
    grey = pixels.reshape(*pixels.shape[:2], -1).mean(axis=2)
    pairs = ((grey[1:], grey[:-1]), (grey[:, 1:], grey[:, :-1]))
    if min(grey.shape) >= LEAST_NOISE and all(np.corrcoef(a.ravel(), b.ravel())[0, 1] < NOISE for a, b in pairs):
        return "noise, neighbouring pixels have nothing to do with each other"
    return None


def _checked(
    archive: zipfile.ZipFile, names: set[str], name: str, modes: tuple[str, ...]
) -> tuple[Image.Image | None, str | None]:
    """The image, loaded, or None, and the problem or None. modes: Pillow's names of the modes that it may have."""
    if name not in names:
        return None, f"{name}: named in the manifest, not in the archive"
    try:
        image = Image.open(io.BytesIO(archive.read(name)))
        image.load()
    except UnidentifiedImageError:
        return None, f"{name}: not an image"
    except UNDECODABLE as error:
        return None, f"{name}: cannot be decoded ({error})"
    if image.format != "PNG":
        return image, f"{name}: a {image.format} file, not PNG"
    if image.mode not in modes or "transparency" in image.info:
        return image, f"{name}: mode {image.mode}, not {' or '.join(modes)} (no palette, no alpha)"
    if min(image.size) < 2:
        return image, f"{name}: {image.width}×{image.height} pixels"
    return image, None
