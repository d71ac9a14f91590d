"""Section "Sharing": the copy audit of every generator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.step import Output, step
from synthmed.report.exhibits import Column, Found, Section, Table
from synthmed.report.results import Generators, check_generators, read_result
from synthmed.report.section import Picture, write_section
from synthmed.report.words import counted, p_value, percent, short

PAIRS = (
    "{{ generator }}: the generated images that lie closest to a training image, each beside the nearest training "
    "image by features and by pixels{{ ', those of the patient it was made from left out' if made_from }}."
)
"""Caption of the pictures that `copies` draws."""
MASK_PAIRS = (
    "{{ generator }}: the generated masks that lie closest to a training mask, each beside that one"
    "{{ ', those of the patient whose mask it was made from left out' if made_from }}. Of several classes the first is "
    "white, others darker."
)
"""Caption of the pictures that `mask-copies` draws."""
SETS = (
    "No set holds a held-out one twice, so none is larger than there are of these; those without copies hold half of "
    "them at most, so that they differ. All sets are drawn from the same, so their shares have no interval."
)
"""What the caption of a detection limit says of the sets."""
_SPACES = ("features", "pixels")
_ORIGIN = ("origin_identity", "origin_chance")
_CHANCE = (("by chance, at most", "origin_chance"),)


@dataclass(frozen=True)
class SharingSettings:
    """Settings of `section-sharing`."""

    generators: Generators
    mask_generators: Annotated[
        dict[str, str], Meta(description="What draws masks, or images with masks of their own: titles by name.")
    ]
    painting_real_masks: Annotated[
        tuple[str, ...], Meta(description="Generators that paint images for the masks of training images, as they are.")
    ]


def _rows(found: Found) -> list[dict]:
    rows = []
    for audit in found["audits"]:
        row = {name: audit[name] for name in ("extractor", "n_train", "n_held_out", "n_fake", "identical", "suspects")}
        row |= {"generator": found["generators"][audit["generator"]].title, "suspect_share": audit["suspect_share"]}
        row |= {"alarm": audit["alarm"]["word"]} | {key: audit[key] for key in _ORIGIN}
        row |= {"expected": audit["n_fake"] * sum(space["expected_share"] for space in audit["by_space"].values())}
        row |= {name: audit["secondary"][name] for name in ("authenticity", "c_t")}
        for space, measured in audit["by_space"].items():
            row |= {f"{key}_{space}": measured[key] for key in ("mean_ratio", "smallest_ratio", "suspects")}
            row[f"expected_{space}"] = measured["expected_share"] * audit["n_fake"]
            row[f"p_{space}"] = measured["p_smallest"]
        rows.append(row | {"note": audit["secondary"]["note"]})
    return rows


BY_CONSTRUCTION = "training masks, by construction"
"""What stands for the audit of a generator that paints images for real masks: that its masks are real is no finding."""


def _mask_rows(found: Found) -> list[dict]:
    rows = []
    for audit in found["mask_audits"]:
        measured, overlap = audit["by_space"]["pixels"], audit["overlap"]
        row = {name: audit[name] for name in ("n_train", "n_held_out", "n_fake", "empty", "identical", "suspects")}
        row |= {"generator": found["mask_generators"][audit["generator"]], "alarm": audit["alarm"]["word"]}
        row |= {"expected": measured["expected_share"] * (audit["n_fake"] - audit["empty"])}
        row |= {"mean_ratio": measured["mean_ratio"], "p": measured["p_smallest"]}
        row |= {key: audit[key] for key in _ORIGIN}
        row |= {f"{key}_iou": overlap["fake"][key] for key in ("median", "largest")}
        rows.append(row | {f"held_out_{key}_iou": overlap["held_out"][key] for key in ("median", "largest")})
    return rows + [{"generator": title, "alarm": BY_CONSTRUCTION} for title in found["painting_real_masks"]]


def _detection_rows(found: Found) -> list[dict]:
    return _detections(found["audits"], {name: entry.title for name, entry in found["generators"].items()})


def _mask_detection_rows(found: Found) -> list[dict]:
    return _detections(found["mask_audits"], found["mask_generators"])


def _detections(audits: Sequence[Mapping], titles: Mapping[str, str]) -> list[dict]:
    rows = []
    for audit in audits:
        detection = audit["detection"]
        title = titles[audit["generator"]]
        shared = {"generator": title, "images": detection["images"], "sets": detection["sets"]}
        for kind in detection["kinds"]:
            row = {**shared, "kind": kind["kind"], "images_found": kind["images_found"]}
            rows.append(row | dict(zip(_planted(detection), kind["sets_found"], strict=True)))
        none = dict.fromkeys(_planted(detection), detection["false_alarms"])
        shared["images"] = detection["honest"]
        rows.append({**shared, "kind": "no copies (false alarms)", "images_found": None, **none})
    return rows


def _planted(detection: Mapping) -> list[str]:
    """How many copies are in the sets, and which share of them that is."""
    return [
        f"sets with {counted(count, 'copy', 'copies')} ({100 * share:.2g} %)"
        for count, share in zip(detection["copies"], detection["shares"], strict=True)
    ]


def _detection_columns(found: Found) -> list[Column]:
    return _columns_of_detection(found["audits"], "image")


def _mask_detection_columns(found: Found) -> list[Column]:
    return _columns_of_detection(found["mask_audits"], "mask")


def _columns_of_detection(audits: Sequence[Mapping], noun: str) -> list[Column]:
    planted = dict.fromkeys(name for audit in audits for name in _planted(audit["detection"]))
    return [
        Column("generator", group=True, once="{}"),
        Column("kind", f"copies of training {noun}s"),
        Column("images", f"{noun}s", once=f"{noun.capitalize()}s of a set: {{}}."),
        Column("sets", once="Sets of each kind: {}."),
        *(Column(name, f"found: {name}", form=percent) for name in planted),
        Column("images_found", "copies that are suspects", percent, interval=True),
    ]


SECTION = Section(
    link="Sharing",
    title="Is the synthetic set safe to share?",
    exhibits=(
        Table(
            "copies",
            "Copy audit. Ratio: distance to the nearest training image over that to the nearest held-out one, the "
            "smallest under flips, shifts, crops and turns; a suspect's is below nearly all of real images of other "
            "patients, and so many are expected by chance, at most. p: the smallest of the tests, adjusted. “Nearest "
            "is its own patient”: of images that were made from real ones; by chance, where any training image may be "
            "the nearest.",
            _rows,
            (
                Column("generator"),
                Column("alarm", "the audit says"),
                Column("extractor", once="Features of {}.", group=True),
                Column("n_train", "training images", once="Training images: {}."),
                Column("n_held_out", "held-out images", once="Held-out images: {}."),
                Column("n_fake", "generated images", once="Generated images: {}."),
                Column("identical"),
                Column("suspects"),
                Column("expected", "suspects expected", short),
                Column("suspect_share", "share of suspects", percent, interval=True, page=False),
                *(
                    Column(f"{key}_{space}", f"{title} by {space}", form, page=page)
                    for space in _SPACES
                    for key, title, form, page in (
                        ("suspects", "suspects", short, False),
                        ("expected", "suspects expected", short, False),
                        ("mean_ratio", "mean ratio", short, True),
                        ("smallest_ratio", "smallest ratio", short, False),
                        ("p", "p", p_value, True),
                    )
                ),
                Column("origin_identity", "nearest is its own patient", percent, interval=True, below=_CHANCE),
                Column("origin_chance", "nearest is its own patient, by chance", percent, page=False),
                Column("authenticity", interval=True, page=False),
                Column("c_t", "C_T", page=False),
            ),
            empty="no generator was audited in this experiment",
        ),
        Table(
            "detection",
            "Detection limit: how often sets with planted copies of known kinds raise the alarm, and sets without. "
            + SETS,
            _detection_rows,
            _detection_columns,
            empty="no generator was audited in this experiment",
        ),
        Table(
            "mask_copies",
            "Copy audit of masks. Ratio and p as of images, by pixels; masks with nothing in the middle, which is "
            "compared, are copies of none and left out. IoU: the largest of a generated mask with a training mask, as "
            "it is or mirrored, median and largest of the set; below it the same of held-out masks. "
            "“By construction”: these generators paint images for the masks of training images, so these masks are in "
            "the set as they are; whoever gets the set gets them.",
            _mask_rows,
            (
                Column("generator"),
                Column("alarm", "the audit says"),
                Column("n_train", "training masks", page=False),
                Column("n_held_out", "held-out masks", page=False),
                Column("n_fake", "generated masks"),
                Column("empty", "with nothing in the middle"),
                Column("identical"),
                Column("suspects"),
                Column("expected", "suspects expected"),
                Column("mean_ratio"),
                Column("p", "p", p_value),
                Column("median_iou", "median IoU", below=(("held-out", "held_out_median_iou"),)),
                Column("largest_iou", "largest IoU", below=(("held-out", "held_out_largest_iou"),)),
                Column("held_out_median_iou", page=False),
                Column("held_out_largest_iou", page=False),
                Column("origin_identity", "nearest is the deformed one", percent, interval=True, below=_CHANCE),
                Column("origin_chance", "nearest is the deformed one, by chance", percent, page=False),
            ),
            empty="no masks in this experiment",
        ),
        Table(
            "mask_detection",
            "Detection limit of the audit of masks: how often sets with planted copies of training masks raise the "
            "alarm, and sets without. " + SETS,
            _mask_detection_rows,
            _mask_detection_columns,
            empty="no generator draws masks in this experiment",
        ),
    ),
)


@step("section-sharing")
def section(
    settings: SharingSettings,
    *,
    copies: list[Path],
    pairs: list[Path],
    mask_copies: list[Path],
    mask_pairs: list[Path],
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on sharing. copies, pairs: of `copies`, one of each a generator, in one order; mask_copies,
    mask_pairs: likewise of `mask-copies`."""
    for audited, drawn_pairs in ((copies, pairs), (mask_copies, mask_pairs)):
        if len(audited) != len(drawn_pairs):
            raise InputError(f"copies: {len(audited)} audits but {len(drawn_pairs)} pictures of pairs; give one each")
    read = [read_result(path) for path in copies]
    drawn = {audit["generator"]: picture for audit, picture in zip(read, pairs, strict=True)}
    audits = check_generators(read, settings.generators)
    titles = {audit["generator"]: settings.generators[audit["generator"]].title for audit in audits}
    made_from = {audit["generator"]: audit["origin_identity"] is not None for audit in audits}
    pictures = [
        Picture(name, PAIRS, drawn[name], {"generator": title, "made_from": made_from[name]})
        for name, title in titles.items()
    ]
    mask_audits = [read_result(path) for path in mask_copies]
    if unknown := [audit["generator"] for audit in mask_audits if audit["generator"] not in settings.mask_generators]:
        raise InputError(f"generator {unknown[0]!r} is not in the settings' {list(settings.mask_generators)}")
    for audit, picture in zip(mask_audits, mask_pairs, strict=True):
        title = settings.mask_generators[audit["generator"]]
        about = {"generator": title, "made_from": audit["origin_identity"] is not None}
        pictures.append(Picture(f"{audit['generator']}_masks", MASK_PAIRS, picture, about))
    found = {
        "audits": audits,
        "generators": settings.generators,
        "mask_audits": mask_audits,
        "mask_generators": settings.mask_generators,
        "painting_real_masks": [settings.generators[name].title for name in settings.painting_real_masks],
    }
    write_section(section, out, SECTION, found, document=None, pictures=pictures)
