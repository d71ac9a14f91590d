"""The image set: the one thing that flows through the pipeline.

An image set is one `.zip` file (stored, not deflated) with 8-bit PNG images and a `manifest.csv` of one row an image.
Real images, synthetic images, edited, filtered and duplicated images are all image sets, so they are interchangeable
everywhere. Writing the same set twice gives the same bytes: sorted names, fixed zip times, canonical manifest.
"""

import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path

COLUMNS = ("image", "label", "mask", "patient", "split", "source")
"""Columns every manifest has. Further columns may follow, sorted by name."""

MANIFEST = "manifest.csv"
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*\.png")


def encode_png(pixels: np.ndarray) -> bytes:
    """8-bit PNG of `pixels`: uint8, (H, W) or (H, W, 1) grey, or (H, W, 3) RGB. No metadata is written."""
    if pixels.dtype != np.uint8:
        raise TypeError(f"an image set holds uint8 pixels, not {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def write_image_set(
    path: str | Path,
    rows: Iterable[
        tuple[Mapping[str, object], np.ndarray | bytes]
        | tuple[Mapping[str, object], np.ndarray | bytes, np.ndarray | bytes]
    ],
) -> None:
    """Write an image set atomically.

    rows: tuples (fields, pixels) or (fields, pixels, mask). `fields` needs `image` (a name without folder, ending in
        .png), `label` and `patient`; `split`, `source` and further columns are free; `mask` is set here. Pixels and
        masks are uint8, (H, W) or (H, W, C), or what encode_png made of them (in another process, say). They are
        consumed one at a time, so a generator keeps memory bounded.
    Raises InputError on a duplicate or unsafe image name, a missing label or patient, or an empty set.
    """
    manifest: list[dict[str, str]] = []
    seen: set[str] = set()
    with atomic_path(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:

            def add(name: str, content: bytes) -> None:
                archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), content)

            for fields, pixels, *mask in rows:
                row = {key: "" if value is None else str(value) for key, value in fields.items()}
                name = row.get("image", "")
                if not _SAFE_NAME.fullmatch(name):
                    raise InputError(
                        f"{path}: image name {name!r} must be letters, digits, '.', '_', '-' and end in .png"
                    )
                if name in seen:
                    raise InputError(f"{path}: the image name {name!r} occurs twice; names must be unique")
                for column in ("label", "patient"):
                    if not row.get(column):
                        raise InputError(f"{path}: image {name!r} has no {column}")
                seen.add(name)
                add(f"images/{name}", pixels if isinstance(pixels, bytes) else encode_png(pixels))
                row["mask"] = name if mask else ""
                if mask:
                    add(f"masks/{name}", mask[0] if isinstance(mask[0], bytes) else encode_png(mask[0]))
                manifest.append(row)
            if not manifest:
                raise InputError(f"{path}: an image set needs at least one image")
            manifest.sort(key=lambda row: row["image"])
            extra = sorted({key for row in manifest for key in row} - set(COLUMNS))
            text = io.StringIO()
            writer = csv.DictWriter(text, [*COLUMNS, *extra], restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(manifest)
            add(MANIFEST, text.getvalue().encode())
        # Second pass: entries in sorted order whatever the order they came in, so the bytes depend on the content only.
        _sort_entries(temporary)


def _sort_entries(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if names == sorted(names):
            return
        ordered = path.with_name(path.name + ".sorted")
        try:
            with zipfile.ZipFile(ordered, "w", zipfile.ZIP_STORED) as target:
                for name in sorted(names):
                    target.writestr(zipfile.ZipInfo(name, _ZIP_TIME), archive.read(name))
            ordered.replace(path)
        finally:
            ordered.unlink(missing_ok=True)


class ImageSet(Sequence):
    """An image set opened for reading. `set[i]` are the pixels of image i, in the order of the manifest (by name).

    path: the `.zip` file. Raises InputError naming file and remedy when it is no image set, when the manifest names a
    missing image, or when names repeat.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        try:
            with zipfile.ZipFile(self.path) as archive:
                names = set(archive.namelist())
                if MANIFEST not in names:
                    raise InputError(f"{self.path}: no {MANIFEST} inside, so this is no image set")
                text = archive.read(MANIFEST).decode("utf-8")
        except FileNotFoundError as error:
            raise InputError(f"{self.path}: no such image set") from error
        except zipfile.BadZipFile as error:
            raise InputError(f"{self.path}: not a readable zip file ({error}); make it again") from error
        self.rows: list[dict[str, str]] = list(csv.DictReader(io.StringIO(text)))
        missing = [column for column in COLUMNS if self.rows and column not in self.rows[0]]
        if missing or not self.rows:
            raise InputError(f"{self.path}: the manifest lacks {missing or 'any row'}")
        seen: set[str] = set()
        for row in self.rows:
            if row["image"] in seen:
                raise InputError(f"{self.path}: the manifest names {row['image']!r} twice")
            seen.add(row["image"])
            if f"images/{row['image']}" not in names:
                raise InputError(f"{self.path}: the manifest names {row['image']!r}, which is not in the archive")
            if row["mask"] and f"masks/{row['mask']}" not in names:
                raise InputError(f"{self.path}: the manifest names mask {row['mask']!r}, which is not in the archive")

    def __len__(self) -> int:
        return len(self.rows)

    def _decode(self, archive: zipfile.ZipFile, name: str) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(archive.read(name))) as image:
                pixels = np.asarray(image if image.mode in ("L", "RGB") else image.convert("L"))
        except (UnidentifiedImageError, OSError, zipfile.BadZipFile, SyntaxError) as error:
            raise InputError(f"{self.path}: {name} cannot be decoded ({error}); make the set again") from error
        return pixels[:, :, None] if pixels.ndim == 2 else pixels

    def __getitem__(self, index: int) -> np.ndarray:
        """Pixels of image `index`: uint8, (H, W, C), C = 1 (grey) or 3 (RGB)."""
        with zipfile.ZipFile(self.path) as archive:
            return self._decode(archive, f"images/{self.rows[index]['image']}")

    def decoder(self) -> Callable[[int], np.ndarray]:
        """A function that does what self[index] does, for many images: it keeps the archive open. Several threads may
        call it at the same time."""
        archive = zipfile.ZipFile(self.path)
        return lambda index: self._decode(archive, f"images/{self.rows[index]['image']}")

    def _stack(self, names: list[str]) -> np.ndarray:
        def part(chunk: list[str]) -> list[np.ndarray]:
            with zipfile.ZipFile(self.path) as archive:
                return [self._decode(archive, name) for name in chunk]

        workers = 2 if len(names) > 64 else 1
        size = -(-len(names) // workers)
        with ThreadPoolExecutor(workers) as pool:
            chunks = pool.map(part, [names[start : start + size] for start in range(0, len(names), size)])
            decoded = [pixels for chunk in chunks for pixels in chunk]
        shapes = {pixels.shape for pixels in decoded}
        if len(shapes) > 1:
            raise InputError(
                f"{self.path}: images of different shapes {sorted(shapes)}; prepare them to one size first"
            )
        return np.stack(decoded)

    @cached_property
    def pixels(self) -> np.ndarray:
        """All images, decoded once and kept: uint8, (N, H, W, C). Raises InputError when their shapes differ."""
        return self._stack([f"images/{row['image']}" for row in self.rows])

    @cached_property
    def masks(self) -> np.ndarray:
        """All masks, decoded once and kept: uint8, (N, H, W, C). Raises InputError when an image has none."""
        without = [row["image"] for row in self.rows if not row["mask"]]
        if without:
            raise InputError(f"{self.path}: {len(without)} images have no mask, the first is {without[0]!r}")
        return self._stack([f"masks/{row['mask']}" for row in self.rows])

    def column(self, name: str) -> list[str]:
        """One column of the manifest, in order. Raises InputError when the manifest has no such column."""
        if name not in self.rows[0]:
            raise InputError(f"{self.path}: the manifest has no column {name!r}; it has {sorted(self.rows[0])}")
        return [row[name] for row in self.rows]

    def label_indices(self, classes: Sequence[str]) -> np.ndarray:
        """Labels as int64 (N,), the position in `classes`. Raises InputError on a label that is not in `classes`."""
        unknown = sorted(set(self.column("label")) - set(classes))
        if unknown:
            raise InputError(f"{self.path}: unknown label {unknown[0]!r}; the classes are {list(classes)}")
        return np.array([classes.index(label) for label in self.column("label")], dtype=np.int64)

    def entries(self, keep: Iterable[int] | None = None) -> Iterator[tuple]:
        """Rows for write_image_set: (fields, pixels) or (fields, pixels, mask) of the images `keep` (default all)."""
        with zipfile.ZipFile(self.path) as archive:
            for index in range(len(self)) if keep is None else keep:
                row = self.rows[index]
                pixels = self._decode(archive, f"images/{row['image']}")
                if row["mask"]:
                    yield dict(row), pixels, self._decode(archive, f"masks/{row['mask']}")
                else:
                    yield dict(row), pixels
