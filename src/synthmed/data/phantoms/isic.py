"""Dermoscopy phantoms in the layouts in which ISIC gives away its challenges: JPEG photographs, PNG masks, tables.

So the readers of the real archives are what reads the phantoms. `isic_bias.csv`, the public artefact labels of ISIC
2018, has further columns here: what only a phantom knows.
"""

import csv
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path, stored_zip
from synthmed.core.progress import Progress
from synthmed.core.settings import Share
from synthmed.data.phantoms.dermoscopy import DermoscopySettings, Phantom, Photograph, draw, plans
from synthmed.data.phantoms.dermoscopy_artefacts import ARTEFACTS
from synthmed.data.phantoms.lesions import KINDS
from synthmed.data.split import draw as deal

logger = logging.getLogger(__name__)

_OUT = "left out"
JPEG_QUALITY = 92

DIAGNOSES = {
    "MEL": "melanoma",
    "NV": "nevus",
    "BCC": "basal cell carcinoma",
    "AKIEC": "actinic keratosis",
    "BKL": "seborrheic keratosis",
    "DF": "dermatofibroma",
    "VASC": "vascular lesion",
}
"""Kind → the word of the table of ISIC 2020."""
_SITES = ("torso", "lower extremity", "upper extremity", "head/neck", "palms/soles", "")


@dataclass(frozen=True)
class Task1Phantoms(DermoscopySettings):
    """Phantoms as ISIC 2018 task 1; patients are in one part only."""

    validation_share: Annotated[Share, Meta(description="Share of each kind in the official validation archive.")]
    test_share: Annotated[Share, Meta(description="Share of each kind in the official test archive.")]
    left_out_share: Annotated[
        Share,
        Meta(
            description="Share of each kind that is in no archive: task 3 with the same images and seed has all of "
            "them, and the names they share are the same photographs."
        ),
    ]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.validation_share + self.test_share + self.left_out_share >= 1:
            raise InputError(
                "settings options.validation_share, test_share, left_out_share: some images must be left for training"
            )


@dataclass(frozen=True)
class Task3Phantoms(DermoscopySettings):
    """Phantoms as ISIC 2018 task 3."""

    test_share: Annotated[Share, Meta(description="Share of each kind in the official test archive, by patient.")]


@dataclass(frozen=True)
class DuplicatedPhantoms(DermoscopySettings):
    """Phantoms as SIIM-ISIC 2020."""

    duplicate_share: Annotated[Share, Meta(description="Share of photographs that are in the set twice.")]
    external_share: Annotated[Share, Meta(description="Share of melanomas that come with the external malignant set.")]


def name_of(plan: Photograph) -> str:
    """ISIC_0000000 and so on."""
    return f"ISIC_{plan.number:07d}"


def _encoded(picture: Image.Image, format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format, **options)
    return buffer.getvalue()


def jpeg(phantom: Phantom) -> bytes:
    """The photograph as JPEG."""
    return _encoded(Image.fromarray(phantom.pixels), "JPEG", quality=JPEG_QUALITY)


def _mask(phantom: Phantom) -> bytes:
    return _encoded(Image.fromarray(phantom.mask).convert("L"), "PNG")


def _table(rows: Sequence[Mapping[str, object]], columns: Sequence[str], delimiter: str = ",") -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, delimiter=delimiter, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


BIAS_COLUMNS = ("image", *sorted(ARTEFACTS), "label", "label_string", "kind", "ita", "hair_kind")
"""Of isic_bias.csv; the last three only phantoms have."""


def artefact_labels(photographs: Sequence[Photograph]) -> bytes:
    """isic_bias.csv: one row a photograph."""
    rows = [
        {
            "image": f"{name_of(plan)}.png",
            **{name: int(name in plan.artefacts) for name in ARTEFACTS},
            "label": int(plan.kind == "MEL"),
            "label_string": "malignant" if plan.kind == "MEL" else "benign",
            "kind": plan.kind,
            "ita": f"{plan.ita:.1f}",
            "hair_kind": plan.hair,
        }
        for plan in photographs
    ]
    return _table(rows, BIAS_COLUMNS, delimiter=";")


Members = Mapping[Path, Mapping[str, bytes]]
"""Archive → name of a member → its content."""


def _write(
    settings: DermoscopySettings,
    photographs: Sequence[Photograph],
    archives: Sequence[Path],
    members: Callable[[Phantom], Members],
    inside: Members,
    tables: Mapping[Path, bytes],
) -> None:
    """Draw the photographs one at a time into `archives` (zip), add the files `inside`, and write the tables beside
    them; every file atomically."""
    with ExitStack() as stack:
        opened = {path: stack.enter_context(stored_zip(path)) for path in archives}
        with Progress("dermoscopy phantoms", len(photographs), "image") as progress:
            for plan in photographs:
                _add(opened, members(draw(settings, plan)))
                progress.add(1)
        _add(opened, inside)
        for path, content in tables.items():
            stack.enter_context(atomic_path(path)).write_bytes(content)


def _add(opened: Mapping[Path, Callable[[str, bytes], None]], members: Members) -> None:
    for path, files in members.items():
        for name, content in files.items():
            opened[path](name, content)


def write_task1(settings: Task1Phantoms, parts: Mapping[str, tuple[Path, Path]], labels: Path) -> None:
    """ISIC 2018 task 1. parts: "train", "validation", "test" → archive of photographs, archive of masks; labels:
    isic_bias.csv. A part without an image is an archive without a member."""
    photographs = plans(settings)
    shares = {"test": settings.test_share, "validation": settings.validation_share, _OUT: settings.left_out_share}
    groups, kinds = [str(plan.patient) for plan in photographs], [plan.kind for plan in photographs]
    dealt = deal(groups, kinds, shares, settings.seed)
    part = dict(zip(map(name_of, photographs), dealt, strict=True))
    photographs = [plan for plan, of in zip(photographs, dealt, strict=True) if of != _OUT]

    def members(phantom: Phantom) -> Members:
        name = name_of(phantom.plan)
        images, masks = parts[part[name]]
        return {
            images: {f"{images.stem}/{name}.jpg": jpeg(phantom)},
            masks: {f"{masks.stem}/{name}_segmentation.png": _mask(phantom)},
        }

    archives = [path for both in parts.values() for path in both]
    _write(settings, photographs, archives, members, {}, {labels: artefact_labels(photographs)})


def write_task3(settings: Task3Phantoms, parts: Mapping[str, tuple[Path, Path]], groupings: Path, labels: Path) -> None:
    """ISIC 2018 task 3. parts: "train", "test" → archive of photographs, archive with the one-hot truth (a table);
    groupings: lesions of the training part; labels: isic_bias.csv."""
    photographs = plans(settings)
    groups, kinds = [str(plan.patient) for plan in photographs], [plan.kind for plan in photographs]
    part = dict(
        zip(map(name_of, photographs), deal(groups, kinds, {"test": settings.test_share}, settings.seed), strict=True)
    )

    def members(phantom: Phantom) -> Members:
        name = name_of(phantom.plan)
        images, _ = parts[part[name]]
        return {images: {f"{images.stem}/{name}.jpg": jpeg(phantom)}}

    def one_hot(wanted: str) -> bytes:
        own = [plan for plan in photographs if part[name_of(plan)] == wanted]
        rows = [{"image": name_of(plan), **{kind: float(kind == plan.kind) for kind in KINDS}} for plan in own]
        return _table(rows, ["image", *KINDS])

    lesions = [
        {"image": name_of(plan), "lesion_id": f"HAM_{plan.lesion:07d}", "diagnosis_confirm_type": "phantom"}
        for plan in photographs
        if part[name_of(plan)] == "train"
    ]
    inside = {truth: {f"{truth.stem}/{truth.stem}.csv": one_hot(wanted)} for wanted, (_, truth) in parts.items()}
    tables = {groupings: _table(lesions, list(lesions[0])), labels: artefact_labels(photographs)}
    _write(settings, photographs, [path for both in parts.values() for path in both], members, inside, tables)


def _row_2020(plan: Photograph, external: bool) -> dict[str, object]:
    malignant = plan.kind == "MEL"
    return {
        "image_name": name_of(plan),
        "patient_id": "" if external else f"IP_{plan.patient:07d}",
        "lesion_id": "" if external else f"IL_{plan.lesion:07d}",
        "sex": ("male", "female")[plan.patient % 2],
        "age_approx": 20 + 5 * (plan.patient * 7 % 13),
        "anatom_site_general_challenge": _SITES[plan.lesion % len(_SITES)],
        "diagnosis": DIAGNOSES[plan.kind],
        "benign_malignant": "malignant" if malignant else "benign",
        "target": int(malignant),
    }


def write_2020(
    settings: DuplicatedPhantoms, images: Path, truth: Path, duplicates: Path, external: Path, labels: Path
) -> None:
    """SIIM-ISIC 2020: photographs, table, pairs of duplicates, the external malignant set (an archive with photographs
    and a table, without patients), isic_bias.csv.

    The first melanomas by number are external. A duplicate has a name of its own and the same bytes.
    """
    photographs = plans(settings)
    melanomas = [plan.number for plan in photographs if plan.kind == "MEL"]
    outside = set(melanomas[: round(settings.external_share * len(melanomas))])
    rows = {plan.number: _row_2020(plan, plan.number in outside) for plan in photographs}
    inside = [number for number in rows if number not in outside]
    again = inside[: round(settings.duplicate_share * len(inside))]
    twice = {number: len(photographs) + place for place, number in enumerate(again)}
    copies = [rows[one] | {"image_name": f"ISIC_{two:07d}"} for one, two in twice.items()]

    def members(phantom: Phantom) -> Members:
        number, content = phantom.plan.number, jpeg(phantom)
        if number in outside:
            return {external: {f"train/train/{name_of(phantom.plan)}.jpg": content}}
        names = [number, twice[number]] if number in twice else [number]
        return {images: {f"train/ISIC_{name:07d}.jpg": content for name in names}}

    columns = list(rows[0])
    pairs = [{"image_name_1": f"ISIC_{one:07d}", "image_name_2": f"ISIC_{two:07d}"} for one, two in twice.items()]
    _write(
        *(settings, photographs, [images, external], members),
        {external: {"train_concat.csv": _table([rows[number] for number in sorted(outside)], columns)}},
        {
            truth: _table([rows[number] for number in inside] + copies, columns),
            duplicates: _table(pairs, ["image_name_1", "image_name_2"]),
            labels: artefact_labels(photographs),
        },
    )
