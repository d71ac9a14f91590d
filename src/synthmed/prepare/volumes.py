"""Step `prepare-volumes`: CT volumes with masks to one anonymised image set of slices, and a table of the rejected.

Each volume, in this order: read it as Hounsfield units (volume_file.py), turn it into the one orientation
(orientation.py), lay its masks on it and refuse those that do not fit, choose slices, window them, resize. A volume is
taken whole or rejected whole.
"""

import logging
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta
from pydicom import Dataset

from synthmed.core.errors import InputError
from synthmed.core.progress import Progress
from synthmed.core.settings import Count, Share
from synthmed.core.step import Output, step
from synthmed.data import sources
from synthmed.data.archives import DamagedMember
from synthmed.data.imageset import ImageSet, encode_mask, encode_png, write_image_set
from synthmed.data.patients import cleaned, spelling
from synthmed.data.sources.raw_volume import ENDINGS, File, RawVolume
from synthmed.prepare.anonymise import FileNames, Salt, SaltFile, age, manufacturer, of_names, pseudonym, read_salt, sex
from synthmed.prepare.common import (
    ImageSize,
    Prefix,
    Rejected,
    Resample,
    SourceName,
    kept_box,
    refuse_small,
    resized,
    resized_mask,
    stop_if_too_many,
    wanted,
    write_rejects,
)
from synthmed.prepare.dicom_file import text
from synthmed.prepare.masks import MaskSettings, listed
from synthmed.prepare.orientation import Volume, canonical, refuse_other_grid
from synthmed.prepare.processes import in_processes
from synthmed.prepare.rejected import Nothing
from synthmed.prepare.volume_file import read_mask, read_series, read_volume

logger = logging.getLogger(__name__)

WINDOWS = {"lung": (-600.0, 1500.0), "mediastinum": (40.0, 400.0)}
"""Centre and width in HU of the usual windows of the chest."""
_AIR = -500
"""HU that some voxel of every chest CT lies below."""


@dataclass(frozen=True)
class SliceSettings:
    """Which slices of a volume are taken."""

    showing: Annotated[
        tuple[str, ...],
        Meta(
            description="Classes of the masks that a slice must show; [] for none.",
            extra_json_schema={"uniqueItems": True},
        ),
    ]
    min_share: Annotated[Share, Meta(description="Of the slice's pixels, that each of these must have at least.")]
    distance: (
        Annotated[
            float,
            Meta(gt=0, description="Between two slices at least; null: no limit.", extra_json_schema={"unit": "mm"}),
        ]
        | None
    )
    most: Annotated[Count | None, Meta(description="Slices of a volume at most, evenly spread; null: all.")]


@dataclass(frozen=True)
class Expected:
    """What Hounsfield units an organ has; a mask over others does not fit its volume."""

    low: Annotated[float, Meta(description="From.", extra_json_schema={"unit": "HU"})]
    high: Annotated[float, Meta(description="To.", extra_json_schema={"unit": "HU"})]
    share: Annotated[Share, Meta(description="Of the organ's voxels, that must lie between them at least.")]


@dataclass(frozen=True)
class PrepareVolumesOptions:
    """From CT volumes with masks to one anonymised image set of slices."""

    labels: Annotated[
        dict[str, str | None], Meta(description="The source's label (slices) -> class; null leaves these volumes out.")
    ]
    window: Annotated[
        Annotated[Literal["lung", "mediastinum"], Meta(description="lung: -600, 1500 HU; mediastinum: 40, 400 HU.")]
        | dict[Literal["center", "width"], float],
        Meta(description="Which Hounsfield units become 0 and 255: lung, mediastinum, or {center, width} in HU."),
    ]
    slices: SliceSettings
    masks: Annotated[
        MaskSettings | None,
        Meta(
            description="The organs that are kept, as classes of one label map (where two overlap the later one); "
            "others of the source are left out. null: no masks."
        ),
    ]
    expected_hu: Annotated[
        dict[str, Expected],
        Meta(description="Organ -> what it must be made of; a mask that fails lies wrong, and its volume is rejected."),
    ]
    size: ImageSize
    crop_black_borders: Annotated[
        bool, Meta(description="Cut what is black in the window at the rims, slice by slice.")
    ]
    resample: Resample
    min_size: Annotated[
        Count, Meta(description="Volumes with a shorter side of slices are rejected.", extra_json_schema={"unit": "px"})
    ]
    salt: Salt
    salt_file: SaltFile
    file_names: FileNames
    max_rejects: Annotated[Share, Meta(description="Share of rejected volumes beyond which the run stops.")]
    workers: Annotated[Count, Meta(description="Processes; each holds a volume.")]

    def __post_init__(self) -> None:
        if isinstance(self.window, Mapping) and not (
            set(self.window) == {"center", "width"} and self.window["width"] > 0
        ):
            raise InputError(f"setting window is {dict(self.window)}; it needs center and width in HU, width above 0")
        if self.masks is not None and self.masks.kind != "semantic":
            raise InputError("setting masks.kind is 'instances'; organs are classes: use 'semantic'")
        for setting, names in {"slices.showing": self.slices.showing, "expected_hu": self.expected_hu}.items():
            if unknown := sorted(set(names) - set(self.organs)):
                raise InputError(f"setting {setting} names {unknown[0]!r}; masks.classes are {list(self.organs)}")

    @property
    def organs(self) -> Mapping[str, int]:
        """Organ → value in the label maps."""
        return {} if self.masks is None else self.masks.legend.classes

    @property
    def center_and_width(self) -> tuple[float, float]:
        """Of the window, HU."""
        return WINDOWS[self.window] if isinstance(self.window, str) else (self.window["center"], self.window["width"])


@dataclass(frozen=True)
class PrepareVolumesSettings(PrepareVolumesOptions):
    """Settings of `prepare-volumes`."""

    source: SourceName
    prefix: Prefix


@step("prepare-volumes")
def prepare(settings: PrepareVolumesSettings, *, raw: list[Path], images: Output, rejects: Output) -> None:
    """Turn CT volumes with masks into one image set of slices, anonymised.

    Write the image set `images` of the slices of all usable volumes, and the table `rejects` (file, reason) of the
    other volumes, among them those of which no slice is taken, which settings.max_rejects does not count.

    raw: files of the step fetch, in its order. Slices are named volume_<number>_<hash>_<number of the slice, from the
    feet> and stay in the source's order, so equal raw files give equal bytes whatever the number of workers. Columns
    beside those of every image set: volume; height (mm above the lowest slice of the volume), pixel and distance (mm);
    age, sex, manufacturer of DICOM. patient: salted hash.

    Raises InputError on settings out of range, more rejects than settings.max_rejects, no slice at all, and a class
    that no mask marks.
    """
    salt = read_salt(settings.salt, settings.salt_file)
    raw, tally = [Path(path) for path in raw], _Tally()
    with sources.load(settings.source).read(raw) as found:
        names = _names(found, salt)
        named = [replace(one, file=name, name=name) for name, one in zip(names, found, strict=True)]
        volumes = wanted(named, settings, RawVolume)
        places = [names.index(volume.name) for volume in volumes]
        work = partial(prepare_one, settings=settings, salt=salt)
        results = in_processes(work, places, settings.source, raw, settings.workers)
        files = [found[place].file if settings.file_names == "shown" else names[place] for place in places]
        rows = _rows(volumes, files, results, settings, tally)
        write_image_set(images, rows, *([] if settings.masks is None else [settings.masks.legend]))
    logger.info(
        "%s: %d slices of %d volumes, %d patients; %d volumes rejected",
        *(images, tally.taken, len(volumes) - len(tally.rejected), len(tally.patients), len(tally.rejected)),
    )
    write_rejects(rejects, tally.rejected)


@dataclass
class _Tally:
    """rejected: rows of the table; drawn: organs that some slice shows; patients: hash of what all spellings of a
    patient's number share → patient; taken: slices."""

    rejected: list[dict[str, str]] = field(default_factory=list)
    drawn: set[str] = field(default_factory=set)
    patients: dict[str, str] = field(default_factory=dict)
    taken: int = 0


def _rows(
    volumes: Sequence[RawVolume],
    files: Sequence[str],
    results: Iterator,
    settings: PrepareVolumesSettings,
    tally: _Tally,
) -> Iterator[tuple]:
    """Rows of the image set. What is wrong with all of them is raised inside write_image_set, which then leaves none
    behind."""
    unusable = []
    with Progress("prepared", len(volumes), "volume") as progress:
        for volume, file, result in zip(volumes, files, results, strict=True):
            progress.add(1)
            if isinstance(result, Rejected):
                tally.rejected.append({"file": file, "reason": str(result)})
                unusable += [] if isinstance(result, Nothing) else tally.rejected[-1:]
                continue
            patient = tally.patients.setdefault(result.spelling, result.fields["patient"])
            shared = {**result.fields, "patient": patient, "label": volume.label, "volume": volume.name}
            shared |= {"split": volume.split, "source": volume.source}
            tally.drawn |= result.drawn
            for fields, *pictures in result.slices:
                tally.taken += 1
                name = f"{settings.prefix}{volume.name}_{fields.pop('slice')}.png"
                yield {**shared, **fields, "image": name}, *pictures
    names = of_names(settings.file_names, "the source's order, of your own folder that of its table")
    stop_if_too_many(unusable, len(volumes), settings.max_rejects, "volumes", names)
    if not tally.taken:
        raise InputError(f"no volume has a slice that shows {list(settings.slices.showing)} (setting slices)")
    if unmarked := set(settings.organs) - tally.drawn:
        raise InputError(f"no mask marks {min(unmarked)!r}; look at the masks, or leave it out of masks.classes")


@step("original-volume-masks")
def original_masks(settings: PrepareVolumesSettings, *, raw: list[Path], test: Path, originals: Output) -> None:
    """The masks of the test slices at their original size.

    raw: files of the step fetch; test: image set that `prepare-volumes` and `split` made of them with these settings.
    originals: image set of the same names with the masks as they were before the resize, cut as the images were; what
    it shows as images are the masks, because nothing else is asked of it.

    Raises InputError when a volume of `test` is not among the raw ones, or has no mask.
    """
    salt = read_salt(settings.salt, settings.salt_file)
    of_volume = defaultdict(list)
    for row in ImageSet(test).rows:
        of_volume[row["volume"]].append(row)
    with sources.load(settings.source).read([Path(path) for path in raw]) as found:
        named = dict(zip(_names(found, salt), found, strict=True))
        if missing := sorted(set(of_volume) - set(named)):
            raise InputError(f"{test}: {missing[0]!r} is not among the raw volumes; prepare and split them again")

        def entries() -> Iterator[tuple]:
            for name, slices in of_volume.items():
                laid = _lay(named[name], settings)
                for row in slices:
                    _, mask = _cut(laid, int(row["image"].removesuffix(".png").rpartition("_")[2]) - 1, settings)
                    if mask is None:
                        raise InputError(f"{test}: {row['image']!r} has no mask; set prepare.masks.required to true")
                    yield row, np.where(mask > 0, np.uint8(255), np.uint8(0)), mask

        write_image_set(originals, entries(), settings.masks.legend)


def _names(found: Sequence[RawVolume], salt: bytes) -> list[str]:
    """Names that say nothing: those of files, too, carry names and numbers of patients."""
    return [f"volume_{number:04d}_{pseudonym(salt, 'file', one.file, 8)}" for number, one in enumerate(found, start=1)]


# ------------------------------------------------------------------------------------------------------- one volume
@dataclass(frozen=True)
class Prepared:
    """fields: columns of all its slices; spelling: a hash of what all spellings of the patient's number share; slices:
    own columns, picture as PNG and, where there are masks, label map as PNG; drawn: the organs that they mark."""

    fields: dict[str, str]
    spelling: str
    slices: list[tuple]
    drawn: set[str]


def prepare_one(raw: RawVolume, settings: PrepareVolumesSettings, salt: bytes) -> Prepared:
    """The chosen slices of a volume, at least one. Raises Rejected with the reason."""
    laid = _lay(raw, settings)
    if not laid.chosen:
        raise Nothing(
            f"no slice shows {', '.join(settings.slices.showing)} on the share {settings.slices.min_share:g} of its "
            "pixels or more (setting slices)"
        )
    patient = raw.patient or cleaned(text(laid.tags, "PatientID"))
    known = {} if patient else {"patient_known": "no"}
    slices = [_slice(laid, number, settings) for number in laid.chosen]
    fields = {
        "age": age(laid.tags),
        "sex": sex(laid.tags),
        "manufacturer": manufacturer(laid.tags),
        "distance": f"{laid.volume.spacing[0]:.4g}",
        "pixel": f"{laid.volume.spacing[2]:.4g}",
        "patient": f"{settings.prefix}{pseudonym(salt, 'patient', patient or raw.file, 16)}",
        **known,
    }
    drawn = set()
    if laid.mask is not None:
        drawn = {organ for organ, value in settings.organs.items() if (laid.mask[laid.chosen] == value).any()}
    return Prepared(fields, pseudonym(salt, "spelling", spelling(patient) or raw.file, 16), slices, drawn)


@dataclass(frozen=True)
class Laid:
    """A volume in the one orientation, its label map (z, y, x), None without, the slices that are taken, and tags."""

    volume: Volume
    mask: np.ndarray | None
    chosen: list[int]
    tags: Dataset


def _lay(raw: RawVolume, settings: PrepareVolumesOptions) -> Laid:
    volume, order, tags = _read(raw)
    lying = canonical(volume)
    refuse_small(lying.values.shape[1:], settings.min_size)
    if lying.values.min() > _AIR:
        raise Rejected(f"no Hounsfield units: its lowest value is {lying.values.min()}, and air has -1000")
    organs = _organs(raw, volume, order, lying, settings)
    mask = _label_map(organs, settings.organs, lying.values.shape) if organs else None
    return Laid(lying, mask, _chosen(lying, organs, settings.slices), tags)


def _content(file: File) -> bytes:
    try:
        return file.load()
    except DamagedMember as error:  # whose words may hold the name of the member
        raise Rejected("damaged inside its archive") from error


def _is_one_file(raw: RawVolume) -> bool:
    return len(raw.files) == 1 and raw.files[0].name.lower().endswith(ENDINGS)


def _read(raw: RawVolume) -> tuple[Volume, np.ndarray, Dataset]:
    """The volume as its files have it, the place of each of its slices among them, and tags."""
    if _is_one_file(raw):
        volume = read_volume(raw.files[0], _content(raw.files[0]))
        return volume, np.arange(volume.values.shape[0]), Dataset()
    return read_series([_content(file) for file in raw.files])


def _organs(
    raw: RawVolume, volume: Volume, order: np.ndarray, lying: Volume, settings: PrepareVolumesOptions
) -> dict[str, np.ndarray]:
    """Organ → bool like the values of `lying`; empty where there are no masks and none are needed."""
    found: dict[str, np.ndarray] = {}
    instead: dict[str, str] = {}  # organ -> what its files have where it is empty
    for mask in raw.masks if settings.masks is not None else ():
        if not set(mask.organs) & set(settings.organs):
            continue
        try:
            values = _laid(
                read_mask(mask.file, _content(mask.file), oriented=raw.alignment == "affine"), raw, volume, order
            )
            refuse_other_grid(values, lying)
        except Rejected as error:
            raise Rejected(f"its mask of {', '.join(mask.organs)}: {error}") from error
        for organ in set(mask.organs) & set(settings.organs):
            here = np.isin(values.values, mask.organs[organ]) if mask.organs[organ] else values.values != 0
            found[organ] = found.get(organ, False) | here
            if mask.organs[organ] and not here.any():
                instead[organ] = _instead(values.values, organ, mask.organs[organ])
    missing = [organ for organ in settings.organs if organ not in found]
    if missing and (found or settings.masks.required or settings.slices.showing):
        raise Rejected(f"no mask of {', '.join(missing)}")
    for organ, expected in settings.expected_hu.items():
        if organ in found:
            _refuse_other_tissue(organ, lying.values[found[organ]], expected, instead.get(organ, "it is empty"))
    return found


def _instead(values: np.ndarray, organ: str, wanted: Sequence[int]) -> str:
    """What a label map has that lacks an organ of the values `wanted`."""
    there = np.unique(values[values != 0]).tolist()
    has = f"the values {listed(there)}" if there else "nothing but 0"
    return f"it is empty (its file has {has}; {organ} is {listed(wanted)})"


def _laid(mask: Volume, raw: RawVolume, volume: Volume, order: np.ndarray) -> Volume:
    """The mask in the orientation of canonical."""
    if raw.alignment == "affine":
        return canonical(mask)
    # Of one file the axes are those of the volume; of a series (z, y, x), in the order of file names.
    values = mask.values if _is_one_file(raw) else mask.values.transpose(2, 1, 0)[::-1]
    if values.shape != volume.values.shape:
        raise Rejected(f"does not fit: it has {_size(values)} voxels, the volume {_size(volume.values)}")
    return canonical(Volume(values[order], volume.affine))


def _size(values: np.ndarray) -> str:
    return "×".join(map(str, values.shape[::-1]))


def _refuse_other_tissue(organ: str, values: np.ndarray, expected: Expected, empty: str) -> None:
    """Raise Rejected where `values` (HU) of an organ are not as expected. empty: what to say where there are none."""
    share = float(((values >= expected.low) & (values <= expected.high)).mean()) if len(values) else 0.0
    if share < expected.share:
        said = f"{share:.0%} of it has {expected.low:g} to {expected.high:g} HU" if len(values) else empty
        raise Rejected(f"its mask of {organ} does not fit: {said}, expected are at least {expected.share:.0%}")


def _label_map(organs: Mapping[str, np.ndarray], values: Mapping[str, int], shape: tuple[int, ...]) -> np.ndarray:
    whole = np.zeros(shape, np.uint16)
    for organ, value in values.items():
        if organ in organs:
            whole[organs[organ]] = value
    return whole


def _chosen(volume: Volume, organs: Mapping[str, np.ndarray], settings: SliceSettings) -> list[int]:
    """Numbers of the slices that are taken, ascending."""
    able = np.ones(len(volume.values), bool)
    for organ in settings.showing:
        share = organs[organ].mean(axis=(1, 2))
        able &= (share >= settings.min_share) & (share > 0)
    numbers = np.flatnonzero(able).tolist()
    if settings.distance is not None:
        numbers = _apart(numbers, settings.distance / volume.spacing[0])
    if settings.most is not None and len(numbers) > settings.most:
        places = (np.arange(settings.most) + 0.5) * len(numbers) / settings.most
        numbers = [numbers[int(place)] for place in places]
    return numbers


def _apart(numbers: list[int], least: float) -> list[int]:
    kept: list[int] = []
    for number in numbers:
        if not kept or number - kept[-1] >= least - 1e-6:
            kept.append(number)
    return kept


def _slice(laid: Laid, number: int, settings: PrepareVolumesOptions) -> tuple:
    pixels, mask = _cut(laid, number, settings)
    whole = 0, pixels.shape[0], 0, pixels.shape[1]
    picture = encode_png(resized(pixels, whole, settings.size, settings.resample))
    fields = {"slice": f"{number + 1:04d}", "height": f"{number * laid.volume.spacing[0]:.6g}"}
    if mask is None:
        return fields, picture
    return fields, picture, encode_mask(resized_mask(mask, whole, settings.size), settings.masks.legend)


def _cut(laid: Laid, number: int, settings: PrepareVolumesOptions) -> tuple[np.ndarray, np.ndarray | None]:
    """Pixels and label map of a slice at their own size, without black borders where these are cut."""
    pixels = windowed(laid.volume.values[number], *settings.center_and_width)
    top, bottom, left, right = kept_box(pixels, settings.crop_black_borders, settings.min_size)
    mask = None if laid.mask is None else laid.mask[number, top:bottom, left:right]
    return pixels[top:bottom, left:right], mask


def windowed(values: np.ndarray, center: float, width: float) -> np.ndarray:
    """Hounsfield units → uint8: center - width/2 and less is 0, center + width/2 and more is 255, linear between."""
    return np.rint(np.clip((values - center) / width + 0.5, 0, 1) * 255).astype(np.uint8)
