"""Everything that is wrong with an image set, in words (`synthmed images check`).

Opening an image set stops at the first problem; this goes on, so that a set made by hand can be repaired in one go.
"""

import csv
import io
import zipfile
import zlib
from collections import Counter, defaultdict
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from synthmed.data.imageset import COLUMNS, MANIFEST


def check(path: str | Path) -> list[str]:
    """Problems of the image set `path`, one sentence each; an empty list when it is fine. Never raises on bad input."""
    try:
        archive = zipfile.ZipFile(path)
    except FileNotFoundError:
        return [f"{path}: no such file"]
    except (zipfile.BadZipFile, OSError) as error:
        return [f"{path}: not a readable zip file ({error})"]
    with archive:
        names = archive.namelist()
        problems = [f"{name}: {count} times in the archive" for name, count in Counter(names).items() if count > 1]
        if MANIFEST not in names:
            return [*problems, f"no {MANIFEST} inside"]
        try:
            reader = csv.DictReader(io.StringIO(archive.read(MANIFEST).decode("utf-8")))
            rows = list(reader)
        except (UnicodeDecodeError, zipfile.BadZipFile, zlib.error, csv.Error) as error:
            return [*problems, f"{MANIFEST}: cannot be read ({error})"]
        missing = [column for column in COLUMNS if column not in (reader.fieldnames or [])]
        if missing:
            return [*problems, f"{MANIFEST}: no column {', '.join(missing)}"]
        if not rows:
            return [*problems, f"{MANIFEST}: no row"]
        problems += _check_rows(rows)
        problems += _check_files(archive, set(names), rows)
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
        problems.append(f"only one label, {rows[0]['label']!r}")
    parts = defaultdict(set)
    for row in rows:
        parts[row["patient"]].add(row["split"])
    for patient, found in parts.items():
        if patient and len(found) > 1:
            problems.append(f"patient {patient!r} is in several parts of the split: {sorted(map(str, found))}")
    return problems


def _check_files(archive: zipfile.ZipFile, names: set[str], rows: list[dict[str, str]]) -> list[str]:
    problems, shapes = [], Counter()
    expected = {MANIFEST}
    for row in rows:
        if not row["image"]:
            continue
        image, mask = f"images/{row['image']}", f"masks/{row['mask']}" if row["mask"] else None
        expected |= {image, mask} - {None}
        found = {}
        for name in (image, mask):
            if name is None:
                continue
            if name not in names:
                problems.append(f"{name}: named in the manifest, not in the archive")
                continue
            size, problem = _check_image(archive, name)
            problems += [problem] if problem else []
            found[name] = size
        if found.get(image):
            shapes[found[image]] += 1
            if mask and found.get(mask) and found[mask][:2] != found[image][:2]:
                problems.append(f"{mask}: {found[mask][0]}×{found[mask][1]} pixels, its image {found[image][:2]}")
    problems += [f"{name}: in the archive, not in the manifest" for name in sorted(names - expected)]
    if len(shapes) > 1:
        listed = ", ".join(f"{w}×{h} {mode} ({count})" for (w, h, mode), count in shapes.most_common())
        problems.append(f"images of different shapes: {listed}")
    return problems


def _check_image(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, int, str] | None, str | None]:
    """(width, height, mode) or None, and the problem or None."""
    try:
        with Image.open(io.BytesIO(archive.read(name))) as image:
            image.load()
            size = (image.width, image.height, image.mode)
            if image.format != "PNG":
                return size, f"{name}: a {image.format} file, not PNG"
            if image.mode not in ("L", "RGB") or "transparency" in image.info:
                return size, f"{name}: mode {image.mode}, not 8-bit grey or RGB (16 bit, palette or alpha)"
            if min(size[:2]) < 2:
                return size, f"{name}: {size[0]}×{size[1]} pixels"
            return size, None
    except UnidentifiedImageError:
        return None, f"{name}: not an image"
    except (OSError, SyntaxError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        return None, f"{name}: cannot be decoded ({error})"
