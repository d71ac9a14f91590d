"""Section "Anomaly detection": what a search among normal images finds, beside a classifier."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json
from synthmed.core.step import Output, step
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import read_result
from synthmed.report.section import write_section
from synthmed.report.words import counted, p_value, signed

GROUPS = {"trained": "trained findings", "untrained": "untrained findings", "all": "all findings"}
SCORES = {
    "mean_square": "mean squared residual",
    "top_positive": "largest positive differences",
    "top_absolute": "largest absolute differences",
}
PROCESSINGS = ("raw", "post-processed")


@dataclass(frozen=True)
class SectionSettings:
    """Settings of `section-anomaly`."""

    generator: Annotated[str, Meta(description="Name of the generator of normal images, for people.")]
    searches: Annotated[dict[str, str], Meta(description="Name → title, for people.")]


# -------------------------------------------------------------------------------------------------------------- tables
def _detected(found) -> int | None:
    """The cases of a rate that were detected."""
    return None if found.value is None else round(found.value * found.n)


def finding_rows(found: Found) -> list[dict]:
    """Detection of each finding, then of all cases."""
    result = found["result"]
    entries = [(entry["kind"], "yes" if entry["trained"] else "no", entry) for entry in result["kinds"]]
    entries.append(("all cases", "", result["groups"]["all"]))
    return [
        {
            "keys": (name,),
            "diagnosis": name,
            "trained": trained,
            "cases": entry["cases"],
            "patients": entry["patients"],
            "detected": _detected(entry["anogan"]),
            "sensitivity": entry["anogan"],
            "classifier_detected": _detected(entry["supervised"]),
            "classifier_sensitivity": entry["supervised"],
        }
        for name, trained, entry in entries
    ]


def comparison_rows(found: Found) -> list[dict]:
    """Search against classifier on trained, untrained and all findings, and on normal images."""
    result, rows = found["result"], []
    for name, title in (*GROUPS.items(), ("normal", "normal images")):
        entry, areas = result["groups"][name], result["auroc"].get(name, {})
        rows.append(
            {
                "keys": (name,),
                "cases_of": title,
                "cases": entry["cases"],
                "called_abnormal_by_search": entry["anogan"],
                "called_abnormal_by_classifier": entry["supervised"],
                "only_search_right": entry["only_anogan_right"],
                "only_classifier_right": entry["only_supervised_right"],
                "right_difference": entry["difference"],
                "p": entry["p_adjusted"],
                "AUROC_search": areas.get("anogan"),
                "AUROC_classifier": areas.get("supervised"),
            }
        )
    return rows


def score_rows(found: Found) -> list[dict]:
    """Every search, score and processing; the deciding one is marked."""
    result = found["result"]
    deciding = tuple(result["settings"][name] for name in ("search", "score", "processing"))
    return [
        {
            "search": title,
            "score": words,
            "map": processing,
            **{
                name: result["searches"][search]["scores"][score][processing][name.lower()]
                for name in ("AUROC", "sensitivity", "specificity")
            },
            "decides": "yes" if (search, score, processing) == deciding else "",
        }
        for search, title in found["titles"].items()
        for score, words in SCORES.items()
        for processing in PROCESSINGS
    ]


def localisation_rows(found: Found) -> list[dict]:
    """Every search, sign of the difference and processing, beside the chance of that processing."""
    result = found["result"]
    return [
        {
            "search": title,
            "difference": sign,
            "map": processing,
            "cases": measured["pointing_game"].n,
            **measured,
            "chance_to_point": result["chance"][processing]["pointing_game"].value,
            "chance_precision": result["chance"][processing]["average_precision"].value,
        }
        for search, title in found["titles"].items()
        for sign in ("positive", "absolute")
        for processing in PROCESSINGS
        for measured in [result["searches"][search]["localisation"][sign][processing]]
    ]


def grey_values(error: float) -> float:
    """Root of a mean squared difference of images in 0 … 1, in grey values of 255: a number to imagine."""
    return round(255 * math.sqrt(error), 2)


def speed_rows(found: Found) -> list[dict]:
    """Steps, passes and seconds of each search, on the query images."""
    rows = []
    for search, title in found["titles"].items():
        own, parts = found["result"]["searches"][search], found["times"][search]
        seconds = [value for part in parts for value in part["seconds"].values()]
        starts = sum(part["start_seconds"] for part in parts)
        rows.append(
            {
                "name": search,
                "search": title,
                "images": len(seconds),
                "steps": round(own["steps"], 1),
                "passes": round(own["passes"], 1),
                "seconds_an_image": (sum(seconds) + starts) / len(seconds),
                "difference_of_normal": grey_values(own["error"]["normal"]),
                "difference_of_abnormal": grey_values(own["error"]["abnormal"]),
                "images_at_once": parts[0]["batch_size"],
                "device": f"{parts[0]['device']}, {counted(parts[0]['threads'], 'thread', 'threads')}",
            }
        )
    return rows


# ------------------------------------------------------------------------------------------------------------- figures
def _draw_cases(abnormal: bool):
    """Drawing function of the example cases with or without findings."""

    def draw(path: Path, found: Found) -> str | None:
        import numpy as np

        with np.load(found["examples"], allow_pickle=False) as loaded:
            examples = dict(loaded)
        rows = {row["image"]: row for row in found["cases"]}
        shown = [row for row in map(rows.get, examples["image"].tolist()) if bool(row["findings"]) == abnormal]
        if not shown:
            return "There is no such case in this run."
        from synthmed.report.charts.anomaly import draw_cases

        draw_cases(path, examples, shown, found["result"]["settings"]["search"])
        return None

    return draw


def roc_curves(found: Found) -> tuple[list, dict]:
    """What charts.anomaly.draw_roc draws, from the cases."""
    import numpy as np

    result, titles = found["result"], found["titles"]
    queries = [row for row in found["cases"] if row["part"] == "query"]
    abnormal = np.array([bool(row["findings"]) for row in queries])
    known = {entry["kind"] for entry in result["kinds"] if entry["trained"]}
    trained = np.array([bool(known & set(row["findings"].split(";"))) for row in queries])
    of_group = {"trained": trained, "untrained": abnormal & ~trained, "all": abnormal}
    groups = [
        (title, {"where": of_group[name] | ~abnormal, "abnormal": of_group[name]}) for name, title in GROUPS.items()
    ]
    chosen = result["settings"]

    def scores(column: str) -> np.ndarray:
        return np.array([float(row[column]) for row in queries])

    def curve(column: str, areas: Mapping, dashed: bool) -> dict:
        return {"scores": scores(column), "dashed": dashed, "auroc": areas}

    areas = {
        who: {GROUPS[name]: entry[who] for name, entry in result["auroc"].items()} for who in ("anogan", "supervised")
    }
    curves = {
        titles[chosen["search"]]: curve(f"{chosen['search']}_score", areas["anogan"], False),
        "classifier": curve("supervised_score", areas["supervised"], False),
    }
    if chosen["processing"] != "raw":
        raw = result["searches"][chosen["search"]]["scores"][chosen["score"]]["raw"]["auroc"]
        curves[f"{titles[chosen['search']]}, raw map"] = curve(
            f"{chosen['search']}_score_raw", {GROUPS["all"]: raw}, True
        )
    for name, title in titles.items():
        if name != chosen["search"]:
            own = result["searches"][name]["scores"][chosen["score"]][chosen["processing"]]["auroc"]
            curves[title] = curve(f"{name}_score", {GROUPS["all"]: own}, True)
    return groups, curves


def _draw_roc(path: Path, found: Found) -> None:
    from synthmed.report.charts.anomaly import draw_roc

    draw_roc(path, *roc_curves(found))


_LEVEL = "{{ result.settings.level | confidence }}"
_CASES = (
    " cases: query, nearest image of the generator, difference (red: query brighter), its positive part, that "
    "post-processed with its maximum (+), and the classifier's Grad-CAM for the finding it gives most; annotated "
    "boxes in orange. Drawn by chance, not picked."
)


def _rates(*names: str) -> list[Column]:
    return [Column(name, interval=True) for name in names]


SECTION = Section(
    link="Anomaly detection",
    title="Can a generator of normal images find what it has never seen?",
    exhibits=(
        Table(
            "findings",
            f"Detection by finding, with {_LEVEL} intervals at these thresholds (exact where every patient has one "
            "image, else by patient). Trained: the classifier saw this finding in its "
            "training.{% if result.queries.several_findings %} {{ "
            "counted(result.queries.several_findings, 'case', 'cases') }} with several findings count under each.{% "
            "endif %}",
            finding_rows,
            (
                *map(Column, ("diagnosis", "trained", "cases", "patients", "detected")),
                *_rates("sensitivity"),
                Column("classifier_detected"),
                *_rates("classifier_sensitivity"),
            ),
        ),
        Table(
            "comparison",
            f"Search and classifier at the same false-positive rate on held-out normal images; {_LEVEL} intervals. The "
            "difference is that of the shares decided rightly; its interval and p are from the bootstrap over patients "
            "of both sets, with both thresholds chosen again each time; p is adjusted for these comparisons (Holm). "
            "AUROC against the normal test images.",
            comparison_rows,
            (
                Column("cases_of"),
                Column("cases"),
                *_rates("called_abnormal_by_search", "called_abnormal_by_classifier"),
                Column("only_search_right"),
                Column("only_classifier_right"),
                Column("right_difference", "right: search − classifier", signed, interval=True),
                Column("p", form=p_value),
                *_rates("AUROC_search", "AUROC_classifier"),
            ),
        ),
        Table(
            "scores",
            "Every search, score and map, each at its own threshold for the same false-positive rate. The one that "
            "decides above was set before.",
            score_rows,
            (
                *map(Column, ("search", "score", "map")),
                *_rates("AUROC", "sensitivity", "specificity"),
                Column("decides"),
            ),
        ),
        Table(
            "localisation",
            "Does the map show where the finding is? Pointing game: share of images whose maximum lies in a box. "
            "Average "
            f"precision of the pixels against the mask (or box). Means with {_LEVEL} intervals, exact where every "
            f"image counts "
            "0 or 1, none where all images have one other value. Chance is the region's share: of all pixels for a "
            "raw map, of those inside the frame for a post-processed one, because its maximum is never in the frame. "
            "For average precision it is approximate.",
            localisation_rows,
            (
                *map(Column, ("search", "difference", "map", "cases")),
                *_rates("pointing_game"),
                Column("chance_to_point"),
                *_rates("average_precision"),
                Column("chance_precision"),
            ),
        ),
        Table(
            "speed",
            "What a search costs on the test images: optimisation steps of the start that won, passes through the "
            "generator of all starts, seconds (loading the networks and training the encoder not counted), and the "
            "difference that is left (root of the mean square, in grey values of 255).",
            speed_rows,
            tuple(
                map(
                    Column,
                    (
                        *("search", "images", "steps", "passes", "seconds_an_image", "difference_of_normal"),
                        *("difference_of_abnormal", "images_at_once", "device"),
                    ),
                )
            ),
        ),
        Figure("abnormal_cases", f"Abnormal{_CASES}", _draw_cases(True)),
        Figure("normal_cases", f"Normal{_CASES}", _draw_cases(False)),
        Figure("roc", "ROC of search and classifier against the normal test images.", _draw_roc),
    ),
)


@step("section-anomaly")
def section(
    settings: SectionSettings,
    *,
    results: Path,
    cases: Path,
    examples: Path,
    times: list[Path],
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on anomaly detection.

    results, cases, examples: of `anomaly-evaluate`; times: of the searches of query images, those of the first search
    for all sets, then those of the second, and so on, in the order of the evaluation. Raises InputError when the
    settings name other searches than the results.
    """
    result = read_result(results)
    ordered = result["settings"]["searches"]  # the order of the evaluation, which the JSON does not keep
    if sorted(settings.searches) != sorted(ordered):
        raise InputError(f"setting searches names {list(settings.searches)}, but {results} has {list(ordered)}")
    each = len(times) // len(ordered)
    if not times or len(times) % len(ordered):
        raise InputError(f"times: {len(times)} files for the searches {list(ordered)}; give the same number for each")
    measured = [read_json(path) for path in times]
    found = {
        "settings": settings,
        "result": result,
        "cases": read_csv(cases),
        "examples": examples,
        "titles": {name: settings.searches[name] for name in ordered},
        "times": {name: measured[place * each : (place + 1) * each] for place, name in enumerate(ordered)},
        "groups": GROUPS,
    }
    found["speed"] = speed_rows(found)
    write_section(section, out, SECTION, found, document=document)
