"""Section "Disease axes": images moved along each axis, with counts and measured scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.settings import Count
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import read_result
from synthmed.report.section import write_section
from synthmed.report.words import p_value

_NO_AXIS = "No disease has samples enough for an axis."
_SIDE_EFFECTS = {
    "other_diseases": "others",
    "normal": "normal",
    "pixels": "identity_pixels",
    "features": "identity_features",
}
"""Column of the table of side effects → its score."""


@dataclass(frozen=True)
class DiseaseAxesSectionSettings:
    """Settings of `section-disease-axes`."""

    generator: Annotated[str, Meta(description="Its name, for people.")]
    examples: Annotated[Count, Meta(description="Starts an axis in the figure of further starts.")]


def _count_rows(found: Found) -> list[dict]:
    names = ("highest", "likely", "alone")
    return [
        {"keys": (entry["target"],), "pattern": entry["target"], **{name: entry[name] for name in names}}
        for entry in found["report"]["counts"]
    ]


def score_rows(found: Found) -> list[dict]:
    """How certain each axis is, and what the classifier says along it."""
    certain, rows = {entry["target"]: entry for entry in found["report"]["axes"]}, []
    for moved in found["moved"]["axes"]:
        name, scores, own = moved["target"], moved["scores"] or {}, certain[moved["target"]]
        ends = [moved["path"][place]["likelihoods"][name] if moved["path"] else None for place in (0, -1)]
        rows.append(
            {
                "keys": (name,),
                "disease": name,
                "axis": "found" if moved["found"] else "not found",
                "cosine_of_halves": own.get("half_cosine"),
                "AUROC_in_other_half": own.get("held_out_auroc"),
                "likelihood_at_start": ends[0] and ends[0].value,
                "likelihood_at_end": ends[1],
                "gain": scores.get("gain"),
                "gain_of_random_directions": scores.get("random_gain"),
                "p": moved["p"],
                "p_holm": moved["p_holm"],
                "steadiness": scores.get("rise"),
                "note": "" if moved["found"] else f"{name}: {moved['reason']}.",
            }
        )
    return rows


def side_effect_rows(found: Found) -> list[dict]:
    """What else changed along each axis, beside random directions of the same length."""
    return [
        {
            "disease": moved["target"],
            **{column: moved["scores"][score] for column, score in _SIDE_EFFECTS.items()},
            **{f"{column}_random": moved["scores"][f"random_{score}"] for column, score in _SIDE_EFFECTS.items()},
        }
        for moved in found["walked"]
    ]


def _drawn(name: str):
    """Drawing function: `charts.disease_axes.<name>` of the axes that were walked, if there are any."""

    def draw(path: Path, found: Found) -> str | None:
        if not found["walked"]:
            return _NO_AXIS
        from synthmed.report.charts import disease_axes

        getattr(disease_axes, name)(path, found)
        return None

    return draw


_STARTS = "{{ counted(moved.starts, 'start', 'starts') }}"
_LEVEL = "{{ moved.level | confidence }}"

SECTION = Section(
    link="Can a disease be dialled into an image?",
    title="Can a disease be dialled into an image?",
    exhibits=(
        Table(
            "counts",
            "Samples with each pattern: where it is the likeliest, where its likelihood is at least "
            "{{ '%g' % report.at_least }}, and where it is alone.",
            _count_rows,
            tuple(map(Column, ("pattern", "highest", "likely", "alone"))),
        ),
        Table(
            "scores",
            "The axes. Cosine of halves: between the axes of two disjoint halves of the samples, 0 for noise. AUROC "
            "in other half: disease against normal, by the axis of one half in the other. Likelihood and gain with "
            f"{_LEVEL} interval over starts; random directions of the same length with the central {_LEVEL} of them. "
            f"p: share "
            "of directions that gain as much, the axis among them; p (Holm): adjusted for the number of axes. "
            "Steadiness: Goodman and Kruskal's gamma, 1 when the likelihood never falls.",
            score_rows,
            (
                Column("disease"),
                Column("axis"),
                Column("cosine_of_halves", interval=True),
                Column("AUROC_in_other_half", interval=True),
                Column("likelihood_at_start"),
                Column("likelihood_at_end", interval=True),
                Column("gain", interval=True),
                Column("gain_of_random_directions", interval=True),
                Column("p", form=p_value),
                Column("p_holm", "p (Holm)", p_value),
                Column("steadiness", interval=True),
            ),
        ),
        Table(
            "side_effects",
            "What else changes from start to end, and along random directions of the same length: mean absolute "
            "change of the other diseases' likelihoods; change of the likelihood of normal; distance to the start in "
            "pixels and in the classifier's features, 1 = as far as between two normal images. (The features see "
            "diseases, so they move with them.)",
            side_effect_rows,
            (
                Column("disease"),
                *(Column(name + suffix, interval=True) for name in _SIDE_EFFECTS for suffix in ("", "_random")),
            ),
            empty=_NO_AXIS,
        ),
        Figure(
            "paths",
            "One normal sample moved along each axis, with its class activation maps and the classifier's likelihood "
            "of the disease; the start is not picked: the first that the seed drew. Distances in standard deviations.",
            _drawn("draw_paths"),
        ),
        Figure(
            "starts", "Further starts along each axis, not picked: the first that the seed drew.", _drawn("draw_starts")
        ),
        Figure(
            "likelihoods",
            f"The classifier's likelihoods along each axis, mean over {_STARTS} with {_LEVEL} interval. Grey: the "
            f"disease's likelihood along random directions of the same length, mean and central {_LEVEL}.",
            _drawn("draw_likelihoods"),
        ),
    ),
)


@step("section-disease-axes")
def section(
    settings: DiseaseAxesSectionSettings,
    *,
    axes_report: Path,
    paths: Path,
    images: Path,
    cams: Path,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on the axes of diseases.

    axes_report: of `disease-axes`; paths, images, cams: outputs `out`, `images` and `cams` of `move-along-axes`. Raises
    InputError when the files are of different runs.
    """
    report, moved = read_result(axes_report), read_result(paths)
    names = [{entry["target"] for entry in result["axes"]} for result in (report, moved)]
    if names[0] != names[1] or report["generator"] != moved["generator"]:
        raise InputError(f"{paths}: not of the same run as {axes_report}; run move-along-axes again")
    found = {
        "settings": settings,
        "report": report,
        "moved": moved,
        "walked": [entry for entry in moved["axes"] if entry["estimated"]],
        "images": ImageSet(images),
        "cams": ImageSet(cams),
        "closest": _closest(report),
    }
    write_section(section, out, SECTION, found, document=document)


def _closest(report: Mapping) -> dict | None:
    """The two axes that share most, with their cosines before and after they were orthogonalised."""
    walked = {entry["target"]: entry for entry in report["axes"] if entry["found"]}
    pairs = [
        {"one": name, "other": other, "before": cosine, "after": entry["cosines"][other]}
        for name, entry in walked.items()
        for other, cosine in entry["cosines_before"].items()
        if other in walked
    ]
    return max(pairs, key=lambda pair: abs(pair["before"]), default=None)
