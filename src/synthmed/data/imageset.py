"""The image set: the one thing that flows through the pipeline.

An image set is one `.zip` file (stored, not deflated) with a `manifest.csv` of one row an image, 8-bit PNG images
(`images/<name>`; of named channels `images/<channel>/<name>`, each grey) and for each image at most one label map
(`masks/<name>`, PNG of 8 or 16 bits, as high and wide as the image). What channels and values mean stands in
`set.json`, which a set without names does not have; there also stands why a set could not be made, which then holds no
image (write_not_made). Real images, synthetic images, edited, filtered and duplicated
images are all image sets, so they are interchangeable everywhere. Writing the same set twice gives the same bytes:
sorted names, fixed zip times, canonical manifest, masks in as few bits as their values need.
"""

import csv
import io
import json
import lzma
import re
import threading
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import ZIP_TIME, atomic_path, dump_json, readable

COLUMNS = ("image", "label", "mask", "patient", "split", "source")
"""Columns every manifest has. Further columns may follow, sorted by name."""

MANIFEST = "manifest.csv"
LEGEND = "set.json"
NOT_MADE = "not_made"
"""Key of set.json, and of results, of why a set could not be made."""
COMPANIONS = ("DATASHEET.md", "provenance.json", "samples.png", "SHA256SUMS")
"""What a set may hold beside its images: files of `synthmed release`."""
UNREADABLE = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError)
"""What zipfile raises on archives and members that are damaged, encrypted, or of an unknown method."""
UNDECODABLE = (*UNREADABLE, OSError, SyntaxError, ValueError, Image.DecompressionBombError)
"""What is raised, besides, on a member that is no image, or none that can be decoded."""
_SAFE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*\.png")
_SAFE_CHANNEL = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_\-]*")


@dataclass(frozen=True)
class Legend:
    """What the channels of the images and the values of the masks of a set mean.

    channels: names of the channels, None for grey or RGB images. masks: "semantic" when a pixel has the value of its
    class, "instances" when every object has a value of its own. classes: name → value, ascending; of instances the
    value of the first object ({"nucleus": 1, "podocyte": 10001}: 10003 is the third podocyte). 0 is the background.
    Raises InputError when names or values cannot be used.
    """

    channels: tuple[str, ...] | None = None
    masks: Literal["semantic", "instances"] = "semantic"
    classes: Mapping[str, int] = field(default_factory=lambda: {"foreground": 255})

    def __post_init__(self) -> None:
        names = self.channels
        if names is not None and not (
            names and len(set(names)) == len(names) and all(map(_SAFE_CHANNEL.fullmatch, names))
        ):
            raise InputError(f"channels {list(names)}: each needs a name of its own, of letters, digits, '_' and '-'")
        values = list(self.classes.values())
        if not values or values != sorted(set(values)) or not 0 < values[0] <= values[-1] < 2**16:
            raise InputError(f"classes of the masks {dict(self.classes)}: values must ascend, from 1 to 65535")
        if self.masks not in ("semantic", "instances"):
            raise InputError(f"masks are {self.masks!r}; they are 'semantic' or 'instances'")

    def unknown(self, mask: np.ndarray) -> list[int]:
        """Values of a label map that are neither background nor anything that the legend names, ascending."""
        first, *_ = known = list(self.classes.values())
        named = known.__contains__ if self.masks == "semantic" else first.__le__
        if mask.dtype == np.uint8:  # the usual case, for each mask that is decoded
            return sorted(set(mask.tobytes().translate(None, self._small)))
        present = np.flatnonzero(np.bincount(mask.ravel())).tolist()
        return [value for value in present if value and not named(value)]

    @cached_property
    def _small(self) -> bytes:
        """All known values below 256."""
        first, *_ = known = list(self.classes.values())
        return bytes(v for v in range(2**8) if not v or (v in known if self.masks == "semantic" else v >= first))

    def of_class(self, mask: np.ndarray, name: str) -> np.ndarray:
        """Where a label map (H, W) shows the class `name`: bool (H, W)."""
        value = self.classes[name]
        return mask == value if self.masks == "semantic" else (mask >= value) & (mask < self.end(name))

    def drawn(self, mask: np.ndarray) -> list[str]:
        """Names of the classes that a label map (H, W) shows."""
        return [name for name in self.classes if self.of_class(mask, name).any()]

    def end(self, name: str) -> int:
        """Of instances, the first value above those of the objects of a class."""
        return min((value for value in self.classes.values() if value > self.classes[name]), default=2**16)

    def dump(self) -> bytes | None:
        """The content of set.json; None where there is nothing to say: grey or RGB, masks of 0 and 255."""
        content = {} if self.channels is None else {"channels": list(self.channels)}
        if (self.masks, self.classes) != (PLAIN.masks, PLAIN.classes):
            content["masks"] = {self.masks: dict(self.classes)}
        return dump_json(content, sort_keys=False).encode() if content else None

    @classmethod
    def load(cls, text: bytes, where: str) -> "Legend":
        """The legend that dump wrote. Raises InputError, beginning with `where`, when it is another content."""
        try:
            content = json.loads(text)
            channels = content.pop("channels", None)
            ((masks, classes),) = content.pop("masks", {PLAIN.masks: PLAIN.classes}).items()
            if content:
                raise ValueError(f"unknown key {min(content)!r}")
            named = None if channels is None else tuple(map(str, channels))
            return cls(named, masks, {name: int(value) for name, value in classes.items()})
        except (InputError, AttributeError, TypeError, ValueError) as error:
            raise InputError(f"{where}: {LEGEND} cannot be used ({error})") from error


PLAIN = Legend()
"""Of a set without set.json: grey or RGB images, masks of 0 and 255."""


def encode_mask(mask: np.ndarray, legend: Legend) -> bytes:
    """PNG of a label map (H, W) of whole numbers: 8 bits where all values fit, else 16. No metadata is written.

    Raises InputError on values that the legend does not know.
    """
    if mask.ndim != 2 or mask.dtype.kind not in "iu":
        raise TypeError(f"a mask is a label map (H, W) of whole numbers, not {mask.dtype} {mask.shape}")
    if mask.min() < 0 or mask.max() >= 2**16:
        raise InputError(f"a mask with values from {mask.min()} to {mask.max()}; they go from 0 to 65535")
    if unknown := legend.unknown(mask):
        raise InputError(f"a mask with the value {unknown[0]}; the classes are {dict(legend.classes)}")
    return _png(mask.astype(np.uint8 if mask.max() < 2**8 else np.uint16))


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def encode_png(pixels: np.ndarray) -> bytes:
    """8-bit PNG of `pixels`: uint8, (H, W) or (H, W, 1) grey, or (H, W, 3) RGB. No metadata is written."""
    if pixels.dtype != np.uint8:
        raise TypeError(f"an image set holds uint8 pixels, not {pixels.dtype}")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    return _png(pixels)


def write_image_set(
    path: str | Path,
    rows: Iterable[
        tuple[Mapping[str, object], np.ndarray | bytes]
        | tuple[Mapping[str, object], np.ndarray | bytes, np.ndarray | bytes]
    ],
    legend: Legend = PLAIN,
) -> None:
    """Write an image set atomically.

    rows: tuples (fields, pixels) or (fields, pixels, mask). `fields` needs `image` (a name without folder, ending in
        .png), `label` and `patient`; `split`, `source` and further columns are free; `mask` is set here. Pixels are
        uint8, (H, W) or (H, W, C), C as the legend says; masks are label maps (H, W); or either is what encode_png
        (grey or RGB) and encode_mask made of them (in another process, say). They are consumed one at a time, so a
        generator keeps memory bounded.
    legend: what channels and values mean.
    Raises InputError on a duplicate or unsafe image name, a missing label or patient, an empty set, a mask of another
    size than its image or with values that the legend does not know.
    """
    manifest: list[dict[str, str]] = []
    seen: set[str] = set()
    with atomic_path(path) as temporary:
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:

            def add(name: str, content: bytes) -> None:
                archive.writestr(zipfile.ZipInfo(name, ZIP_TIME), content)

            for fields, pixels, *mask in rows:
                row = _checked_row(path, fields, seen)
                try:
                    for entry, content in _entries(row["image"], pixels, mask, legend):
                        add(entry, content)
                except InputError as error:
                    raise InputError(f"{path}: image {row['image']!r}: {error}") from error
                row["mask"] = row["image"] if mask else ""
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
            if (described := legend.dump()) is not None:
                add(LEGEND, described)
        # Second pass: entries in sorted order whatever the order they came in, so the bytes depend on the content only.
        _sort_entries(temporary)


def write_not_made(path: str | Path, reason: str) -> None:
    """Write, in place of an image set that was asked for and could not be made, that it was not and why.

    That is a finding about a generator, as "too few of its images are without a frame", and no wrong input. ImageSet
    refuses such a file by its reason; who can do without the set asks not_made first.
    """
    header = ",".join(COLUMNS) + "\n"
    with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name, content in ((MANIFEST, header), (LEGEND, dump_json({NOT_MADE: reason}))):
            archive.writestr(zipfile.ZipInfo(name, ZIP_TIME), content.encode())


def not_made(path: str | Path) -> str | None:
    """Why the image set at `path` could not be made, as write_not_made has it; None where it was. Raises InputError
    when it is no image set."""
    with _opened(Path(path)) as archive:
        return _reason(archive)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    """The archive of an image set, open inside the `with` block; InputError where it is none."""
    try:
        with readable(path), zipfile.ZipFile(path) as archive:
            if MANIFEST not in archive.namelist():
                raise InputError(f"{path}: no {MANIFEST} inside, so this is no image set")
            yield archive
    except UNREADABLE as error:
        raise InputError(f"{path}: not a readable zip file ({error}); make it again") from error


def _reason(archive: zipfile.ZipFile) -> str | None:
    """Why the set in an archive could not be made. What is wrong with a set.json is said by Legend.load."""
    if LEGEND not in archive.namelist():
        return None
    try:
        content = json.loads(archive.read(LEGEND))
    except ValueError:
        return None
    return content.get(NOT_MADE) if isinstance(content, dict) else None


def made_sets(names: Sequence[str], paths: Sequence[str | Path]) -> tuple[dict[str, Path], dict[str, str]]:
    """Of image sets, a path for each name: where those lie that there are, and why the others could not be made."""
    reasons = {name: not_made(path) for name, path in zip(names, paths, strict=True)}
    made = {name: Path(path) for name, path in zip(names, paths, strict=True) if reasons[name] is None}
    return made, {name: reason for name, reason in reasons.items() if reason is not None}


def _checked_row(path: str | Path, fields: Mapping[str, object], seen: set[str]) -> dict[str, str]:
    """A row of the manifest as text; its name joins `seen`."""
    row = {key: "" if value is None else str(value) for key, value in fields.items()}
    name = row.get("image", "")
    if not _SAFE_NAME.fullmatch(name):
        raise InputError(f"{path}: image name {name!r} must be letters, digits, '.', '_', '-' and end in .png")
    if name in seen:
        raise InputError(f"{path}: the image name {name!r} occurs twice; names must be unique")
    for column in ("label", "patient"):
        if not row.get(column):
            raise InputError(f"{path}: image {name!r} has no {column}")
    seen.add(name)
    return row


def _entries(
    name: str, pixels: np.ndarray | bytes, mask: Sequence[np.ndarray | bytes], legend: Legend
) -> Iterator[tuple[str, bytes]]:
    """Names and contents of the files of one image."""
    if legend.channels is None:
        yield f"images/{name}", pixels if isinstance(pixels, bytes) else encode_png(pixels)
    elif isinstance(pixels, bytes) or pixels.shape[2:] != (len(legend.channels),):
        raise TypeError(f"images of the channels {list(legend.channels)} are arrays (H, W, {len(legend.channels)})")
    else:
        for number, channel in enumerate(legend.channels):
            yield f"images/{channel}/{name}", encode_png(pixels[:, :, number])
    for one in mask:
        if isinstance(one, np.ndarray) and isinstance(pixels, np.ndarray) and one.shape != pixels.shape[:2]:
            raise InputError(f"its mask is {_size(one)} pixels, the image {_size(pixels)}")
        yield f"masks/{name}", one if isinstance(one, bytes) else encode_mask(one, legend)


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[0]}×{pixels.shape[1]}"


def _sort_entries(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if names == sorted(names):
            return
        ordered = path.with_name(path.name + ".sorted")
        try:
            with zipfile.ZipFile(ordered, "w", zipfile.ZIP_STORED) as target:
                for name in sorted(names):
                    target.writestr(zipfile.ZipInfo(name, ZIP_TIME), archive.read(name))
            ordered.replace(path)
        finally:
            ordered.unlink(missing_ok=True)


class _Shared:
    """An open archive that several threads read: zipfile counts its readers without a lock."""

    def __init__(self, archive: zipfile.ZipFile):
        self._archive, self._lock = archive, threading.Lock()

    def read(self, name: str) -> bytes:
        """Bytes of one member."""
        with self._lock:
            return self._archive.read(name)


class ImageSet(Sequence):
    """An image set opened for reading. `set[i]` are the pixels of image i, in the order of the manifest (by name).

    path: the `.zip` file; legend: what channels and values of masks mean. Raises InputError naming file and remedy when
    it is no image set or one that could not be made, when the manifest names a missing image (or one lacks a channel),
    when names repeat, or a row has other cells than the first line.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        with _opened(self.path) as archive:
            names = set(archive.namelist())
            if (reason := _reason(archive)) is not None:
                raise InputError(f"{self.path}: this set could not be made and holds no image: {reason}")
            self.rows: list[dict[str, str]] = self._listed(archive.read(MANIFEST).decode("utf-8-sig"))
            self.legend = Legend.load(archive.read(LEGEND), str(self.path)) if LEGEND in names else PLAIN
        missing = [column for column in COLUMNS if self.rows and column not in self.rows[0]]
        if missing or not self.rows:
            raise InputError(f"{self.path}: the manifest lacks {missing or 'any row'}")
        seen: set[str] = set()
        for row in self.rows:
            if row["image"] in seen:
                raise InputError(f"{self.path}: the manifest names {row['image']!r} twice")
            seen.add(row["image"])
            if missing := [file for file in image_files(row, self.legend) if file not in names]:
                which = "" if self.legend.channels is None else f" ({missing[0]})"
                raise InputError(
                    f"{self.path}: the manifest names {row['image']!r}, which is not in the archive{which}"
                )
            if row["mask"] and f"masks/{row['mask']}" not in names:
                raise InputError(f"{self.path}: the manifest names mask {row['mask']!r}, which is not in the archive")

    def _listed(self, text: str) -> list[dict[str, str]]:
        reader, rows = csv.DictReader(io.StringIO(text)), []
        for row in reader:
            if None in row or None in row.values():
                raise InputError(
                    f"{self.path}: {MANIFEST}, line {reader.line_num}: not as many cells as columns; write a cell with "
                    "a comma in it in quotes"
                )
            rows.append(row)
        return rows

    def __len__(self) -> int:
        return len(self.rows)

    def _decode(self, archive: zipfile.ZipFile | _Shared, name: str, modes: tuple[str, ...]) -> np.ndarray:
        try:
            with Image.open(io.BytesIO(archive.read(name))) as image:
                mode, pixels = image.mode, np.asarray(image)
        except UNDECODABLE as error:
            raise InputError(f"{self.path}: {name} cannot be decoded ({error}); make the set again") from error
        if mode not in modes:
            raise InputError(f"{self.path}: {name} has the mode {mode}, not {' or '.join(modes)}; make the set again")
        return pixels

    def _image(self, archive: zipfile.ZipFile | _Shared, row: Mapping[str, str]) -> np.ndarray:
        modes = ("L", "RGB") if self.legend.channels is None else ("L",)
        parts = [self._decode(archive, name, modes) for name in image_files(row, self.legend)]
        if len({part.shape for part in parts}) > 1:
            raise InputError(f"{self.path}: the channels of {row['image']!r} have different sizes; make the set again")
        return np.dstack(parts) if len(parts) > 1 or parts[0].ndim == 2 else parts[0]

    def _mask(self, archive: zipfile.ZipFile | _Shared, row: Mapping[str, str]) -> np.ndarray:
        mask = self._decode(archive, f"masks/{row['mask']}", ("L", "I;16"))
        if unknown := self.legend.unknown(mask):
            raise InputError(
                f"{self.path}: the mask of {row['image']!r} has the value {unknown[0]}; the classes are "
                f"{dict(self.legend.classes)}; name others in {LEGEND} of the set"
            )
        return mask

    def _decoded(self, archive: zipfile.ZipFile | _Shared, index: int) -> tuple[np.ndarray, ...]:
        row = self.rows[index]
        pixels = self._image(archive, row)
        if not row["mask"]:
            return (pixels,)
        mask = self._mask(archive, row)
        if mask.shape != pixels.shape[:2]:
            raise InputError(
                f"{self.path}: the mask of {row['image']!r} has {_size(mask)} pixels, the image {_size(pixels)}"
            )
        return pixels, mask

    def __getitem__(self, index: int) -> np.ndarray:
        """Pixels of image `index`: uint8, (H, W, C), C = 1 (grey), 3 (RGB), or the named channels."""
        with zipfile.ZipFile(self.path) as archive:
            return self._image(archive, self.rows[index])

    def decoder(self) -> Callable[[int], tuple[np.ndarray, ...]]:
        """A function from a position to (pixels,), or (pixels, mask) where there is a mask, for many images: it keeps
        the archive open. Several threads may call it at the same time."""
        return partial(self._decoded, _Shared(zipfile.ZipFile(self.path)))

    @contextmanager
    def opened(self) -> Iterator[tuple[Callable[[int], np.ndarray], Callable[[int], np.ndarray]]]:
        """Two functions from a position: to its pixels, and to its mask, for who needs one without the other. The
        archive is open inside the `with` block; several threads may call them at the same time."""
        with zipfile.ZipFile(self.path) as archive:
            shared = _Shared(archive)
            yield (
                lambda index: self._image(shared, self.rows[index]),
                lambda index: self._mask(shared, self.rows[index]),
            )

    def _stack(self, read: Callable[[zipfile.ZipFile, Mapping[str, str]], np.ndarray]) -> np.ndarray:
        def part(chunk: list[dict[str, str]]) -> list[np.ndarray]:
            with zipfile.ZipFile(self.path) as archive:
                return [read(archive, row) for row in chunk]

        workers = 2 if len(self.rows) > 64 else 1
        size = -(-len(self.rows) // workers)
        with ThreadPoolExecutor(workers) as pool:
            chunks = pool.map(part, [self.rows[start : start + size] for start in range(0, len(self.rows), size)])
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
        return self._stack(self._image)

    @cached_property
    def masks(self) -> np.ndarray:
        """All masks, decoded once and kept: uint8 or uint16, (N, H, W). Raises InputError when an image has none."""
        without = [row["image"] for row in self.rows if not row["mask"]]
        if without:
            raise InputError(f"{self.path}: {len(without)} images have no mask, the first is {without[0]!r}")
        return self._stack(self._mask)

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
                yield dict(self.rows[index]), *self._decoded(archive, index)


def image_files(row: Mapping[str, str], legend: Legend) -> list[str]:
    """Names in the archive of the image of a row of the manifest: one, or one for each named channel."""
    folders = ["images"] if legend.channels is None else [f"images/{channel}" for channel in legend.channels]
    return [f"{folder}/{row['image']}" for folder in folders]
