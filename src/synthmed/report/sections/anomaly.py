"""Section "Anomaly detection": Table 6 and Figures 14 and 15 of seed 004 (M. Kim 2021) in our form."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_csv
from synthmed.core.step import Output, step
from synthmed.report import SECTIONS
from synthmed.report.charts.anomaly import draw_cases, draw_roc
from synthmed.report.page_words import counted, joined, percent
from synthmed.report.results import by_stem
from synthmed.report.sections.section import write_section

FILES = SECTIONS["anomaly"]
"""Stems of the outputs `out`."""

# Seed 004, Table 6: diagnosis → (cases, detected by AnoGAN), as printed.
DOCUMENT_TABLE_6: Mapping[str, tuple[int, int]] = {
    "nodule": (8, 8),
    "calcification": (9, 9),
    "consolidation": (6, 6),
    "interstitial opacity": (9, 9),
    "atelectasis": (9, 8),
    "mediastinal widening": (6, 5),
    "pleural effusion": (8, 7),
    "pneumothorax": (9, 8),
    "rib fracture": (10, 8),
    "pneumomediastinum": (10, 6),
    "subcutaneous emphysema": (6, 5),
    "pneumoperitoneum": (10, 10),
}
DOCUMENT_TOTAL = (100, 90)
DOCUMENT_SLIPS = {
    "pneumothorax": "The document's text gives pneumothorax as 100.0 % (8/9), its Table 6 as 8 of 9, 88.9 %.",
    "all cases": "The rows of the document's Table 6 add up to 89 detected, its total says 90.",
}
DOCUMENT_TRAINED = ("nodule", "consolidation", "interstitial opacity", "pleural effusion", "pneumothorax")
# Seed 004, results 3: cases and detections of its 6-class classifier.
DOCUMENT_CLASSIFIER: Mapping[str, tuple[int, int]] = {"trained": (40, 37), "untrained": (60, 14), "all": (100, 51)}
DOCUMENT_HOW = (
    "The document's detections were judged by one radiologist who looked at 100 abnormal films and their difference "
    "maps, without a threshold and without normal films among them, so they have no false-positive rate"
)

GROUPS = {"trained": "trained findings", "untrained": "untrained findings", "all": "all findings"}
_SCORES = {
    "mean_square": "mean squared residual",
    "top_positive": "largest positive differences",
    "top_absolute": "largest absolute differences",
}


@dataclass(frozen=True)
class SectionSettings:
    """generator: name of the generator of normal images, for people; searches: name → title, for people."""

    generator: str
    searches: dict[str, str]


@step("section-anomaly")
def section(
    settings: SectionSettings,
    *,
    results: Path,
    cases: Path,
    examples: Path,
    times: list[Path],
    section: Output,
    out: list[Output],
) -> None:
    """Write the report's section on anomaly detection.

    results, cases, examples: of `anomaly-evaluate`; times: of the searches of query images, those of the first search
    for all sets, then those of the second, and so on, in the order of the evaluation. out: a file for each of FILES, by
    its stem (CSV tables, PNG figures). Raises InputError when the settings name other searches than the results.
    """
    paths = by_stem(out, FILES, "out")
    result, rows = read_json(results), read_csv(cases)
    searches = list(result["searches"])
    if sorted(settings.searches) != sorted(searches):
        raise InputError(f"setting searches names {list(settings.searches)}, but {results} has {searches}")
    if not times or len(times) % len(searches):
        raise InputError(f"times: {len(times)} files for the searches {searches}; give the same number for each")
    # The order of the evaluation, which the JSON does not keep.
    ordered = result["settings"]["searches"]
    each = len(times) // len(searches)
    measured = {
        name: [read_json(path) for path in times[number * each : (number + 1) * each]]
        for number, name in enumerate(ordered)
    }
    titles = {name: settings.searches[name] for name in ordered}
    speed = speed_rows(result, titles, measured)
    tables = {
        "table_6": finding_rows(result),
        "table_anomaly_comparison": comparison_rows(result),
        "table_anomaly_scores": score_rows(result, titles),
        "table_localisation": localisation_rows(result, titles),
        "table_anomaly_speed": speed,
    }
    for name, content in tables.items():
        write_csv(paths[name], content, list(content[0]))
    with np.load(examples, allow_pickle=False) as loaded:
        drawn = dict(loaded)
    shown = {row["image"]: row for row in rows}
    chosen = [shown[name] for name in drawn["image"].tolist()]
    search = result["settings"]["search"]
    draw_cases(paths["figure_14"], drawn, [row for row in chosen if row["findings"]], search)
    draw_cases(paths["figure_15"], drawn, [row for row in chosen if not row["findings"]], search)
    draw_roc(paths["figure_anomaly_roc"], *roc_curves(result, rows, titles))
    write_section(
        section,
        key="anomaly",
        title="Can a generator of normal images find what it has never seen?",
        paragraphs=paragraphs(settings, result, titles, speed),
        tables=[(paths[name], caption) for name, caption in table_captions(result).items()],
        figures=[(paths[name], caption) for name, caption in figure_captions(result).items()],
    )


# -------------------------------------------------------------------------------------------------------------- tables
def _cells(column: str, found: Mapping) -> dict[str, float | None]:
    """A rate or area with its interval, for a row of a table."""
    return {column: found["value"], f"{column}_low": found.get("low"), f"{column}_high": found.get("high")}


def _count(found: Mapping) -> int:
    """Cases behind a share."""
    return round((found["value"] or 0) * found["n"])


def _about(result: Mapping) -> bool:
    """Whether the document's numbers are about the findings of this result."""
    return {row["kind"] for row in result["kinds"]} == set(DOCUMENT_TABLE_6)


def _group_of_document(name: str) -> tuple[int, int]:
    """Cases and detections of the document's AnoGAN in a group: its total, or sums over the rows of its Table 6."""
    if name == "all":
        return DOCUMENT_TOTAL
    kinds = [counts for kind, counts in DOCUMENT_TABLE_6.items() if (name == "trained") == (kind in DOCUMENT_TRAINED)]
    return sum(cases for cases, _ in kinds), sum(detected for _, detected in kinds)


def finding_rows(result: Mapping) -> list[dict]:
    """Table 6: each finding, then all cases."""
    rows = []
    entries = [
        (entry["kind"], "yes" if entry["trained"] else "no", entry, DOCUMENT_TABLE_6.get(entry["kind"]))
        for entry in result["kinds"]
    ]
    entries.append(("all cases", "", result["groups"]["all"], DOCUMENT_TOTAL))
    for name, trained, entry, theirs in entries:
        theirs = theirs if _about(result) else None
        rows.append(
            {
                "diagnosis": name,
                "trained": trained,
                "cases": entry["cases"],
                "patients": entry["patients"],
                "detected": _count(entry["anogan"]),
                **_cells("sensitivity", entry["anogan"]),
                "classifier_detected": _count(entry["supervised"]),
                **_cells("classifier_sensitivity", entry["supervised"]),
                "reference_cases": theirs and theirs[0],
                "reference_detected": theirs and theirs[1],
                "reference_sensitivity": theirs and round(theirs[1] / theirs[0], 3),
                "reference_note": DOCUMENT_SLIPS.get(name, "") if theirs else "",
                "note": "",
            }
        )
    return rows


def comparison_rows(result: Mapping) -> list[dict]:
    """Search against classifier on trained, untrained and all findings, and on normal images."""
    rows = []
    for name, title in (*GROUPS.items(), ("normal", "normal images")):
        entry = result["groups"][name]
        known = _about(result) and name in DOCUMENT_CLASSIFIER
        theirs = (_group_of_document(name), DOCUMENT_CLASSIFIER[name]) if known else (None, None)
        areas = result["auroc"].get(name, {"anogan": {"value": None}, "supervised": {"value": None}})
        rows.append(
            {
                "cases_of": title,
                "cases": entry["cases"],
                **_cells("called_abnormal_by_search", entry["anogan"]),
                **_cells("called_abnormal_by_classifier", entry["supervised"]),
                "only_search_right": entry["only_anogan_right"],
                "only_classifier_right": entry["only_supervised_right"],
                **_cells("difference", entry["difference"]),
                "p": entry["p"],
                **_cells("AUROC_search", areas["anogan"]),
                **_cells("AUROC_classifier", areas["supervised"]),
                "reference_search": theirs[0] and round(theirs[0][1] / theirs[0][0], 3),
                "reference_classifier": theirs[1] and round(theirs[1][1] / theirs[1][0], 3),
                "reference_note": f"{DOCUMENT_HOW}." if theirs[0] and name == "all" else "",
                "note": "",
            }
        )
    return rows


def score_rows(result: Mapping, titles: Mapping[str, str]) -> list[dict]:
    """Every search, score and processing; the deciding one is marked."""
    deciding = tuple(result["settings"][name] for name in ("search", "score", "processing"))
    rows = []
    for search, title in titles.items():
        for score, words in _SCORES.items():
            for processing in ("raw", "post-processed"):
                found = result["searches"][search]["scores"][score][processing]
                rows.append(
                    {
                        "search": title,
                        "score": words,
                        "map": processing,
                        **_cells("AUROC", found["auroc"]),
                        **_cells("sensitivity", found["sensitivity"]),
                        **_cells("specificity", found["specificity"]),
                        "decides": "yes" if (search, score, processing) == deciding else "",
                    }
                )
    return rows


def localisation_rows(result: Mapping, titles: Mapping[str, str]) -> list[dict]:
    """Every search, sign of the difference and processing, beside the chance of that processing."""
    rows = []
    for search, title in titles.items():
        for sign in ("positive", "absolute"):
            for processing in ("raw", "post-processed"):
                found = result["searches"][search]["localisation"][sign][processing]
                chance = result["chance"][processing]
                rows.append(
                    {
                        "search": title,
                        "difference": sign,
                        "map": processing,
                        "cases": found["pointing_game"]["n"],
                        **_cells("pointing_game", found["pointing_game"]),
                        "chance_to_point": chance["pointing_game"]["value"],
                        **_cells("average_precision", found["average_precision"]),
                        "chance_precision": chance["average_precision"]["value"],
                    }
                )
    return rows


def grey_values(error: float) -> float:
    """Root of a mean squared difference of images in 0 … 1, in grey values of 255: a number to imagine."""
    return round(255 * float(np.sqrt(error)), 2)


def speed_rows(result: Mapping, titles: Mapping[str, str], times: Mapping[str, Sequence[Mapping]]) -> list[dict]:
    """Steps, passes and seconds of each search, on the query images."""
    rows = []
    for search, title in titles.items():
        found, parts = result["searches"][search], times[search]
        seconds = [value for part in parts for value in part["seconds"].values()]
        starts = sum(part["start_seconds"] for part in parts)
        rows.append(
            {
                "search": title,
                "images": len(seconds),
                "steps": round(found["steps"], 1),
                "passes": round(found["passes"], 1),
                "seconds_an_image": (sum(seconds) + starts) / len(seconds),
                "difference_of_normal": grey_values(found["error"]["normal"]),
                "difference_of_abnormal": grey_values(found["error"]["abnormal"]),
                "images_at_once": parts[0]["batch_size"],
                "device": f"{parts[0]['device']}, {counted(parts[0]['threads'], 'thread', 'threads')}",
            }
        )
    return rows


# ------------------------------------------------------------------------------------------------------------- figures
def roc_curves(result: Mapping, rows: Sequence[Mapping[str, str]], titles: Mapping[str, str]) -> tuple[list, dict]:
    """What charts_anomaly.draw_roc draws, from the cases."""
    queries = [row for row in rows if row["part"] == "query"]
    abnormal = np.array([bool(row["findings"]) for row in queries])
    known = {entry["kind"] for entry in result["kinds"] if entry["trained"]}
    trained = np.array([bool(known & set(row["findings"].split(";"))) for row in queries])
    of_group = {"trained": trained, "untrained": abnormal & ~trained, "all": abnormal}
    groups = [
        (title, {"where": of_group[name] | ~abnormal, "abnormal": of_group[name]}) for name, title in GROUPS.items()
    ]
    deciding, score = result["settings"]["search"], result["settings"]["score"]

    def scores(column: str) -> np.ndarray:
        return np.array([float(row[column]) for row in queries])

    areas = {
        who: {GROUPS[name]: entry[who] for name, entry in result["auroc"].items()} for who in ("anogan", "supervised")
    }
    curves = {
        titles[deciding]: {"scores": scores(f"{deciding}_score"), "dashed": False, "auroc": areas["anogan"]},
        "classifier": {"scores": scores("supervised_score"), "dashed": False, "auroc": areas["supervised"]},
    }
    if result["settings"]["processing"] != "raw":
        raw = result["searches"][deciding]["scores"][score]["raw"]["auroc"]
        curves[f"{titles[deciding]}, raw map"] = {
            "scores": scores(f"{deciding}_score_raw"),
            "dashed": True,
            "auroc": {GROUPS["all"]: raw},
        }
    for name, title in titles.items():
        if name != deciding:
            own = result["searches"][name]["scores"][score][result["settings"]["processing"]]["auroc"]
            curves[title] = {"scores": scores(f"{name}_score"), "dashed": True, "auroc": {GROUPS["all"]: own}}
    return groups, curves


# --------------------------------------------------------------------------------------------------------------- words
def _share(found: Mapping) -> str:
    if found["value"] is None:
        return f"not computed ({found['reason']})"
    interval = "" if found["low"] is None else f", interval {percent(found['low'])} to {percent(found['high'])}"
    return f"{_count(found)} of {found['n']} ({percent(found['value'])}{interval})"


def _estimate(found: Mapping) -> str:
    if found["value"] is None:
        return f"not computed ({found['reason']})"
    if found["low"] is None:
        return f"{found['value']:.2f}"
    return f"{found['value']:.2f} ({found['low']:.2f} to {found['high']:.2f})"


def _verdict(entry: Mapping, level: float) -> str:
    """What the comparison says of one group, in words."""
    only = counted(entry["only_anogan_right"], "case", "cases")
    if entry["p"] is None:
        return f"not compared ({entry['difference']['reason']})"
    p = "p < 0.001" if entry["p"] < 0.001 else f"p = {entry['p']:.3f}"
    counts = f"{only} only the search, {entry['only_supervised_right']} only the classifier, {p}"
    if entry["p"] >= 1 - level:
        return f"no evidence of a difference ({counts})"
    better = "the search" if entry["difference"]["value"] > 0 else "the classifier"
    return f"{better} is right more often ({counts})"


def paragraphs(
    settings: SectionSettings, result: Mapping, titles: Mapping[str, str], speed: Sequence[Mapping]
) -> list[str]:
    """The section's sentences."""
    chosen, held = result["settings"], result["held_out"]
    groups, level = result["groups"], chosen["level"]
    deciding = result["searches"][chosen["search"]]
    texts = [
        f"{settings.generator} learnt normal images only. For a query image the latent vector is searched whose image "
        "has the smallest squared difference from it; where the query differs from that image, something may be there "
        "that normal images do not have. An image is called abnormal when its score, "
        f"{_score_words(chosen)}, exceeds a threshold that at most {held['allowed']} of "
        f"{counted(held['cases'], 'held-out normal image', 'held-out normal images')} exceed (a false-positive rate of "
        f"{percent(chosen['false_positive_rate'])}, which so many images can set in steps of "
        f"{percent(held['resolution'])}). The classifier, which learnt "
        f"{joined([name for name in result['supervised']['targets'] if name != chosen['normal']])}, is brought to the "
        "same rate on the same images by moving the thresholds of its outputs together. Of the normal test images the "
        f"search calls {_share(groups['normal']['anogan'])} abnormal, the classifier "
        f"{_share(groups['normal']['supervised'])}."
    ]
    if held["patients_also_in_queries"]:
        texts[0] += (
            f" {counted(held['patients_also_in_queries'], 'patient', 'patients')} of the held-out images also have "
            "images in the test."
        )
    for who, name in (("anogan", "search"), ("supervised", "classifier")):
        found, wanted = groups["normal"][who], chosen["false_positive_rate"]
        if found["low"] is not None and not found["low"] <= wanted <= found["high"]:
            texts[0] += (
                f" The {name}'s rate on normal test images is {'above' if found['low'] > wanted else 'below'} the one "
                "that was set: they differ from the held-out ones in what it looks at, and its sensitivity belongs to "
                "the rate that was found."
            )
    detected = [
        f"Of all abnormal images the search detects {_share(groups['all']['anogan'])}, AUROC "
        f"{_estimate(result['auroc']['all']['anogan'])}; the classifier {_share(groups['all']['supervised'])}, AUROC "
        f"{_estimate(result['auroc']['all']['supervised'])}: {_verdict(groups['all'], level)}."
    ]
    for name, words in (
        ("trained", "findings that the classifier was trained on"),
        ("untrained", "untrained findings"),
    ):
        if groups[name]["cases"] == 0:
            detected.append(f"There are no {words} in this test.")
        else:
            detected.append(
                f"On {words}: search {_share(groups[name]['anogan'])}, classifier "
                f"{_share(groups[name]['supervised'])}; {_verdict(groups[name], level)}."
            )
    texts.append(f"{' '.join(detected)} Intervals at {100 * level:g} %.")
    texts.append(_processing_words(deciding, chosen, result["chance"]))
    if len(titles) > 1:
        texts.append(_search_words(result, titles, speed))
    if _about(result):
        theirs = "; ".join(
            f"{title} {own[1]} and {other[1]} of {own[0]}"
            for name, title in GROUPS.items()
            for own, other in [(_group_of_document(name), DOCUMENT_CLASSIFIER[name])]
        )
        texts.append(
            f"[[{DOCUMENT_HOW}; ours cannot be set against them. Detected by its AnoGAN and its classifier: {theirs}.]]"
        )
    return texts


def _score_words(chosen: Mapping) -> str:
    words = {
        "mean_square": "the mean squared difference",
        "top_positive": f"the mean of the {percent(chosen['top_share'])} of pixels that are brightest against it",
        "top_absolute": f"the mean of the {percent(chosen['top_share'])} of pixels that differ most",
    }[chosen["score"]]
    return (
        f"{words}, {'after post-processing' if chosen['processing'] == 'post-processed' else 'without post-processing'}"
    )


def _processing_words(deciding: Mapping, chosen: Mapping, chance: Mapping) -> str:
    raw, processed = (deciding["scores"][chosen["score"]][name]["auroc"] for name in ("raw", "post-processed"))
    words = (
        f"Post-processing smooths the map (standard deviation {percent(chosen['smoothing'])} of the side) and sets a "
        f"frame of {percent(chosen['border'])} to zero: the AUROC goes from {_estimate(raw)} to {_estimate(processed)}."
    )
    place = {name: deciding["localisation"]["positive"][name] for name in ("raw", "post-processed")}
    if place["raw"]["pointing_game"]["value"] is None:
        return f"{words} No abnormal image has a box or a mask, so localisation was not measured."
    images = counted(place["raw"]["pointing_game"]["n"], "abnormal image", "abnormal images")
    pointing, precision = (
        [_estimate(place[name][measure]) for name in ("raw", "post-processed")]
        for measure in ("pointing_game", "average_precision")
    )
    to_point, to_cover = (
        [f"{chance[name][measure]['value']:.2f}" for name in ("raw", "post-processed")]
        for measure in ("pointing_game", "average_precision")
    )
    return (
        f"{words} In {images} with a known place, the maximum of the positive map lies inside it in a share of "
        f"{pointing[0]} without (by chance {to_point[0]}) and {pointing[1]} with post-processing (by chance "
        f"{to_point[1]}, because the frame is left out); the average precision of the pixels is {precision[0]} without "
        f"(by chance about {to_cover[0]}) and {precision[1]} with (by chance about {to_cover[1]})."
    )


def _search_words(result: Mapping, titles: Mapping[str, str], speed: Sequence[Mapping]) -> str:
    chosen = result["settings"]
    parts = []
    for (name, title), row in zip(titles.items(), speed, strict=True):
        own = result["searches"][name]["scores"][chosen["score"]][chosen["processing"]]["auroc"]
        parts.append(
            f"{title}: {row['passes']:g} passes through the generator and {row['seconds_an_image']:.3g} s an image, "
            f"{row['difference_of_normal']:.1f} grey values away from normal images, AUROC {_estimate(own)}"
        )
    slow = max(speed, key=lambda row: row["seconds_an_image"])
    fast = min(speed, key=lambda row: row["seconds_an_image"])
    words = f"The searches: {'; '.join(parts)}."
    if slow["seconds_an_image"] > fast["seconds_an_image"] > 0:
        words += (
            f" So {fast['search']} takes {slow['seconds_an_image'] / fast['seconds_an_image']:.1f} times less time an "
            f"image than {slow['search']}"
        )
        closer = fast["difference_of_normal"] <= slow["difference_of_normal"]
        words += ", and comes nearer to normal images." if closer else ", and stays farther from normal images."
    return words


def table_captions(result: Mapping) -> dict[str, str]:
    """Caption of each table."""
    level = f"{100 * result['settings']['level']:g} %"
    several = result["queries"]["several_findings"]
    return {
        "table_6": (
            f"Detection by finding, with {level} intervals at these thresholds (exact where every patient has one "
            "image, else by patient). Trained: the classifier saw this finding in its training."
            + (f" {counted(several, 'case', 'cases')} with several findings count under each." if several else "")
            + " [[The document's Table 6.]]"
        ),
        "table_anomaly_comparison": (
            f"Search and classifier at the same false-positive rate on held-out normal images; {level} intervals. The "
            "difference is that of the shares decided rightly, search minus classifier; its interval and p are from "
            "the bootstrap over patients of both sets, with both thresholds chosen again each time. AUROC against the "
            "normal test images."
        ),
        "table_anomaly_scores": (
            "Every search, score and map, each at its own threshold for the same false-positive rate. The one that "
            "decides above was set before."
        ),
        "table_localisation": (
            "Does the map show where the finding is? Pointing game: share of images whose maximum lies in a box. "
            f"Average precision of the pixels against the mask (or box). Means with {level} intervals, exact where "
            "every image counts 0 or 1, none where all images have one other value. Chance is the region's share: of "
            "all pixels for a raw map, of those inside the frame for a post-processed one, because its maximum is "
            "never in the frame. For average precision it is approximate."
        ),
        "table_anomaly_speed": (
            "What a search costs on the test images: optimisation steps of the start that won, passes through the "
            "generator of all starts, seconds (loading the networks and training the encoder not counted), and the "
            "difference that is left (root of the mean square, in grey values of 255)."
        ),
    }


def figure_captions(result: Mapping) -> dict[str, str]:
    """Caption of each figure."""
    columns = (
        "query, nearest image of the generator, difference (red: query brighter), its positive part, that "
        "post-processed with its maximum (+), and the classifier's Grad-CAM for the finding it gives most; annotated "
        "boxes in orange. Drawn by chance, not picked."
    )
    return {
        "figure_14": f"Abnormal cases: {columns} [[The document's Figure 14.]]",
        "figure_15": f"Normal cases: {columns} [[The document's Figure 15.]]",
        "figure_anomaly_roc": "ROC of search and classifier against the normal test images.",
    }
