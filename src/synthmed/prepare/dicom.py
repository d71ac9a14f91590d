"""Step `prepare-dicom`: raw DICOM films to one anonymised image set of 8-bit grey, and a table of those that cannot be.

Each file, in this order: read it, refuse what is no single grey picture, decode (dicom_file.py); padding, modality LUT,
VOI LUT, MONOCHROME1, percentiles (dicom_grey.py); black borders, resize, mask and boxes with them; age, sex, view and
manufacturer, everything else is left behind (anonymise.py). Files are spread over processes.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.progress import Progress
from synthmed.core.settings import Count, Share
from synthmed.core.step import Output, step
from synthmed.data import sources
from synthmed.data.archives import DamagedMember
from synthmed.data.boxes import Box, format_boxes, parse_boxes
from synthmed.data.imageset import COLUMNS, PLAIN, encode_mask, encode_png, write_image_set
from synthmed.data.patients import cleaned, spelling
from synthmed.data.sources.raw_image import Load, RawImage
from synthmed.prepare.anonymise import (
    FileNames,
    Salt,
    SaltFile,
    age,
    manufacturer,
    of_names,
    pseudonym,
    read_salt,
    sex,
    view,
)
from synthmed.prepare.burnt_in import burnt_in
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
    unknown_patient,
    wanted,
    write_rejects,
)
from synthmed.prepare.dicom_file import read_film, text
from synthmed.prepare.dicom_grey import Voi, to_grey, whole_range
from synthmed.prepare.levels import levels_of
from synthmed.prepare.masks import MaskSettings, MaskTally, label_map
from synthmed.prepare.processes import in_processes

logger = logging.getLogger(__name__)

MIN_BOX = 0.01
"""Pixels of the prepared image. Thinner boxes would have no width in the manifest, which has three decimals."""


@dataclass(frozen=True)
class PrepareDicomOptions:
    """From raw DICOM films to one anonymised image set."""

    labels: Annotated[
        dict[str, str | None], Meta(description="The source's label -> class; null leaves these films out.")
    ]
    keep: Annotated[
        tuple[str, ...],
        Meta(
            description="Columns of the source for the manifest, copied as they are (boxes in pixels of the "
            "prepared image); one named as a tag's column (age, sex, view, ...) wins over the tag "
            "where its cell is not empty.",
            extra_json_schema={"uniqueItems": True},
        ),
    ]
    size: ImageSize
    crop_black_borders: Annotated[
        bool, Meta(description="Cut black rows and columns at the rims; they tell hospitals apart.")
    ]
    resample: Resample
    masks: Annotated[MaskSettings | None, Meta(description="What masks mark; null leaves them out.")]
    min_size: Annotated[
        Count, Meta(description="Films with a shorter side are rejected.", extra_json_schema={"unit": "px"})
    ]
    voi: Annotated[Voi, Meta(description="Apply the file's VOI LUT, or else its window; or neither.")]
    voi_number: Annotated[Count, Meta(description="Which LUT or window of several, from 1.")]
    lower_percentile: Annotated[float, Meta(ge=0, le=100, description="Of a film's pixels, becomes 0.")]
    upper_percentile: Annotated[float, Meta(ge=0, le=100, description="Of a film's pixels, becomes 255.")]
    detect_burnt_in: Annotated[bool, Meta(description="Look for burnt-in letters where the tag says nothing.")]
    salt: Salt
    salt_file: SaltFile
    file_names: FileNames
    max_rejects: Annotated[Share, Meta(description="Share of rejected films beyond which the run stops.")]
    workers: Annotated[Count, Meta(description="Processes.")]

    def __post_init__(self) -> None:
        if self.lower_percentile >= self.upper_percentile:
            raise InputError(
                f"setting lower_percentile is {self.lower_percentile:g}; it must be below upper_percentile, "
                f"{self.upper_percentile:g}"
            )
        for column in self.keep:
            if column in COLUMNS:
                raise InputError(f"setting keep names {column!r}, a column that every image set has anyway")


@dataclass(frozen=True)
class PrepareDicomSettings(PrepareDicomOptions):
    """Settings of `prepare-dicom`."""

    source: SourceName
    prefix: Prefix


@step("prepare-dicom")
def prepare(settings: PrepareDicomSettings, *, raw: list[Path], images: Output, rejects: Output) -> None:
    """Turn raw DICOM files into one image set, anonymised.

    Write the image set `images` of all usable films, and the table `rejects` (file, reason) of the others.

    raw: files of the step fetch, in its order. Films are named film_<number in the source>_<hash of its file name> and
    stay in the source's order, so equal raw files give equal bytes whatever the number of workers. Columns beside those
    of every image set: age, sex, view, manufacturer, photometric, transfer_syntax, bits_stored, burnt_in ("yes", "no",
    "" unknown), and those of settings.keep. patient: salted hash of the source's patient, or else of PatientID.

    Raises InputError on settings out of range, an unknown label, a class without films, a box or a kept column that
    the source does not have, or more rejects than settings.max_rejects.
    """
    salt = read_salt(settings.salt, settings.salt_file)
    raw, tally = [Path(path) for path in raw], _Tally()
    with sources.load(settings.source).read(raw) as found:
        named = [_named(image, number, salt) for number, image in enumerate(found, start=1)]
        places = {image.name: place for place, image in enumerate(named)}
        films = wanted(named, settings)
        _check_columns(films, settings)
        work = partial(_prepare_one, settings=settings, salt=salt)
        chosen = [places[film.name] for film in films]
        results = in_processes(work, chosen, settings.source, raw, settings.workers)
        files = [(found if settings.file_names == "shown" else named)[place].file for place in chosen]
        rows = _rows(films, files, results, settings, tally)
        write_image_set(images, rows, PLAIN if settings.masks is None else settings.masks.legend)
    logger.info(
        "%s: %d films of %d patients, %d rejected; burnt-in letters: %d yes, %d no, %d unknown",
        *(images, len(films) - len(tally.rejected), len(tally.patients), len(tally.rejected)),
        *(tally.burnt_in[answer] for answer in ("yes", "no", "")),
    )
    tally.masks.tell(images)
    if tally.otherwise:
        logger.warning(
            "%s: %d films have their patient's number in another spelling (case, spaces, zeros in front) than "
            "the first film of that patient; each counts as one patient",
            *(images, tally.otherwise),
        )
    write_rejects(rejects, tally.rejected)


@dataclass
class _Tally:
    """rejected: rows of the table; patients: hash of what all spellings of a patient's number share → patient;
    otherwise: films whose number is spelt otherwise than in the first of its patient; burnt_in: films by that column;
    masks: see MaskTally."""

    rejected: list[dict[str, str]] = field(default_factory=list)
    patients: dict[str, str] = field(default_factory=dict)
    otherwise: int = 0
    burnt_in: Counter[str] = field(default_factory=Counter)
    masks: MaskTally = field(default_factory=MaskTally)


def _rows(
    films: Sequence[RawImage],
    files: Sequence[str],
    results: Iterator,
    settings: PrepareDicomSettings,
    tally: _Tally,
) -> Iterator[tuple]:
    """Rows of the image set. What is wrong with all of them is raised inside write_image_set, which then leaves none
    behind."""
    with Progress("prepared", len(films), "film") as progress:
        for film, file, result in zip(films, files, results, strict=True):
            progress.add(1)
            if isinstance(result, Rejected):
                tally.rejected.append({"file": file, "reason": str(result)})
                continue
            patient = tally.patients.setdefault(result.spelling, result.fields["patient"])
            tally.otherwise += patient != result.fields["patient"]
            tally.burnt_in[result.fields["burnt_in"]] += 1
            tally.masks.add(result.drawn, result.doubts)
            fields = {
                **result.fields,
                "patient": patient,
                "image": f"{settings.prefix}{film.name}.png",
                **unknown_patient(film),
                "label": film.label,
                "split": film.split,
                "source": film.source,
            }
            yield (fields, result.pixels) if result.mask is None else (fields, result.pixels, result.mask)
    names = of_names(settings.file_names, "the sorted files")
    stop_if_too_many(tally.rejected, len(films), settings.max_rejects, names=names)
    tally.masks.stop_if_useless(settings.masks, settings.size)


def _check_columns(films: Sequence[RawImage], settings: PrepareDicomSettings) -> None:
    for film in films:
        for column in settings.keep:
            if column not in film.extra:
                raise InputError(
                    f"setting keep: {film.file} has no column {column!r} in source {settings.source!r}; "
                    f"it has {sorted(film.extra)}"
                )
        try:
            parse_boxes(film.extra.get("boxes", ""))
        except InputError as error:
            raise InputError(f"{film.file}: {error}") from error


def _named(image: RawImage, number: int, salt: bytes) -> RawImage:
    """The image under a name that says nothing: names of files, too, carry names and numbers of patients."""
    name = f"film_{number:05d}_{pseudonym(salt, 'file', image.file, 8)}"
    return replace(image, file=name, name=name)


# ------------------------------------------------------------------------------------------------------- one film
@dataclass(frozen=True)
class Prepared:
    """fields: columns that the file decides; spelling: a hash of what all spellings of the patient's number share
    (patients.spelling); pixels, mask: PNG; drawn: classes that the mask shows; doubts: about it, see label_map."""

    fields: dict[str, str]
    spelling: str
    pixels: bytes
    mask: bytes | None
    drawn: list[str] | None
    doubts: frozenset[str]


def _prepare_one(image: RawImage, settings: PrepareDicomSettings, salt: bytes) -> Prepared:
    film = read_film(_load(image.load))
    tag = text(film.tags, "PatientID").strip()
    patient = image.patient or cleaned(tag)
    if not patient:
        said = f"is {tag!r}, a word for nobody" if tag else "is empty"
        raise Rejected(f"no patient: the tag PatientID {said}, and no column of patients names one; add such a column")
    shape = film.stored.shape
    refuse_small(shape, settings.min_size)
    mask, doubts = label_map([partial(_load, part) for part in image.masks], shape, settings.masks)
    levels = levels_of(film.stored)
    pixels = to_grey(
        levels,
        film.tags,
        voi=settings.voi,
        voi_number=settings.voi_number,
        lower=settings.lower_percentile,
        upper=settings.upper_percentile,
    )
    box = kept_box(pixels, settings.crop_black_borders, settings.min_size)
    fields = {
        "age": age(film.tags),
        "sex": sex(film.tags),
        "view": view(film.tags),
        "manufacturer": manufacturer(film.tags),
        "photometric": text(film.tags, "PhotometricInterpretation"),
        "transfer_syntax": film.transfer_syntax,
        "bits_stored": text(film.tags, "BitsStored"),
        "burnt_in": burnt_in(film.tags, partial(whole_range, levels, film.tags) if settings.detect_burnt_in else None),
        "patient": f"{settings.prefix}{pseudonym(salt, 'patient', patient, 16)}",
    }
    if mask is not None:
        mask = resized_mask(mask, box, settings.size)
    for column in settings.keep:
        cell = image.extra[column] if column != "boxes" else _boxes(image.extra[column], box, settings.size)
        fields[column] = cell or fields.get(column, "")
    return Prepared(
        fields,
        pseudonym(salt, "spelling", spelling(patient), 16),
        encode_png(resized(pixels, box, settings.size, settings.resample)),
        None if mask is None else encode_mask(mask, settings.masks.legend),
        None if mask is None else settings.masks.legend.drawn(mask),
        doubts,
    )


def _load(load: Load) -> bytes:
    try:
        content = load()
    except DamagedMember as error:  # whose words may hold the name of the member
        raise Rejected("damaged inside its archive") from error
    if not isinstance(content, bytes):
        raise Rejected("not DICOM: its source gives pixels")
    return content


def _boxes(cell: str, kept: tuple[int, int, int, int], size: tuple[int, int]) -> str:
    """Boxes in pixels of the raw film → in pixels of the image of `size` made of its part `kept` (top, bottom, left,
    right).

    Boxes are cut at its rims. Raises Rejected when one lies wholly outside, which would be a finding on black, or is
    less than MIN_BOX wide or high there.
    """
    top, bottom, left, right = kept
    moved = []
    for box in parse_boxes(cell):
        inside = Box(
            box.finding,
            *(max(box.left, left) - left, max(box.top, top) - top),
            *(min(box.right, right) - left, min(box.bottom, bottom) - top),
        )
        if inside.left >= inside.right or inside.top >= inside.bottom:
            raise Rejected("wrong box: it lies outside of the film or in its black border")
        scaled = inside.scaled(size[1] / (right - left), size[0] / (bottom - top))
        if min(scaled.right - scaled.left, scaled.bottom - scaled.top) < MIN_BOX:
            raise Rejected(f"wrong box: it is less than {MIN_BOX:g} pixels wide or high in the prepared image")
        moved.append(scaled)
    return format_boxes(moved)
