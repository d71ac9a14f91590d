"""Section "Sharing": the copy audit of every generator."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.step import Output, step
from synthmed.report.exhibits import Column, Found, Section, Table
from synthmed.report.results import GeneratorEntry, check_generators, read_result
from synthmed.report.section import Picture, write_section
from synthmed.report.words import p_value, percent, short

PAIRS = (
    "{{ generator }}: the generated images that lie closest to a training image, each beside the nearest training "
    "image by features and by pixels."
)
"""Caption of the pictures that `copies` draws."""
_SPACES = ("features", "pixels")


@dataclass(frozen=True)
class SharingSettings:
    """Settings of `section-sharing`."""

    generators: Annotated[dict[str, GeneratorEntry], Meta(description="By name, in the order they are shown.")]


def _rows(found: Found) -> list[dict]:
    rows = []
    for audit in found["audits"]:
        row = {name: audit[name] for name in ("extractor", "n_train", "n_held_out", "n_fake", "identical", "suspects")}
        row |= {"generator": found["generators"][audit["generator"]].title, "suspect_share": audit["suspect_share"]}
        row |= {"alarm": audit["alarm"]["word"], "origin_identity": audit["origin_identity"]}
        row |= {name: audit["secondary"][name] for name in ("authenticity", "c_t")}
        for space, measured in audit["by_space"].items():
            row |= {f"{key}_{space}": measured[key] for key in ("mean_ratio", "smallest_ratio", "suspects")}
            row[f"expected_{space}"] = measured["expected_share"] * audit["n_fake"]
            row[f"p_{space}"] = measured["p_smallest"]
        rows.append(row | {"note": audit["secondary"]["note"]})
    return rows


def _detection_rows(found: Found) -> list[dict]:
    rows = []
    for audit in found["audits"]:
        detection = audit["detection"]
        title = found["generators"][audit["generator"]].title
        shared = {"generator": title, "images": detection["images"], "sets": detection["sets"]}
        for kind in detection["kinds"]:
            row = {**shared, "kind": kind["kind"], "images_found": kind["images_found"]}
            rows.append(row | {_share(s): e for s, e in zip(detection["shares"], kind["sets_found"], strict=True)})
        none = {_share(share): detection["false_alarms"] for share in detection["shares"]}
        rows.append({**shared, "kind": "no copies (false alarms)", "images_found": None, **none})
    return rows


def _share(share: float) -> str:
    return f"sets with {100 * share:g} % copies"


def _detection_columns(found: Found) -> list[Column]:
    shares = dict.fromkeys(share for audit in found["audits"] for share in audit["detection"]["shares"])
    return [
        Column("generator", group=True, once="{}"),
        Column("kind", "copies of training images"),
        Column("images", once="Images of a set: {}."),
        Column("sets", once="Sets of each kind: {}."),
        *(Column(_share(share), f"found: {_share(share)}", form=percent, interval=True) for share in shares),
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
            "patients. p: the smallest of the tests, adjusted.",
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
                Column("origin_identity", "nearest is its own patient", percent, interval=True),
                Column("authenticity", interval=True, page=False),
                Column("c_t", "C_T", page=False),
            ),
            empty="no generator was audited in this experiment",
        ),
        Table(
            "detection",
            "Detection limit: how often sets with planted copies of known kinds raise the alarm, and sets without.",
            _detection_rows,
            _detection_columns,
            empty="no generator was audited in this experiment",
        ),
    ),
)


@step("section-sharing")
def section(
    settings: SharingSettings, *, copies: list[Path], pairs: list[Path], section: Output, out: list[Output]
) -> None:
    """The report's section on sharing. copies, pairs: of `copies`, one of each a generator, in one order."""
    if len(copies) != len(pairs):
        raise InputError(f"copies: {len(copies)} audits but {len(pairs)} pictures of pairs; give one each")
    read = [read_result(path) for path in copies]
    drawn = {audit["generator"]: picture for audit, picture in zip(read, pairs, strict=True)}
    audits = check_generators(read, settings.generators)
    titles = {audit["generator"]: settings.generators[audit["generator"]].title for audit in audits}
    pictures = [Picture(name, PAIRS, drawn[name], {"generator": title}) for name, title in titles.items()]
    found = {"audits": audits, "generators": settings.generators}
    write_section(section, out, SECTION, found, document=None, pictures=pictures)
