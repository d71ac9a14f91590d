"""Section "Three steps": Tables 3-5 and Figures 7-9, 11 and 13 of seed 004 (M. Kim 2021) in our form."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_csv
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.report import SECTIONS
from synthmed.report.charts.three_steps import draw_cams, draw_examples, draw_roc
from synthmed.report.page_words import interval, percent, signed
from synthmed.report.results import by_stem
from synthmed.report.sections.section import write_section

logger = logging.getLogger(__name__)

FILES = SECTIONS["three_steps"]
"""Stems of the outputs `out`."""

# Experiment → (its table, its figure, its name).
SHOWN: Mapping[str, tuple[str, str, str]] = {
    "real_on_real": ("table_3", "figure_7", "classifier (real) on real test images"),
    "synthetic_on_synthetic": ("table_4", "figure_8", "classifier (synthetic) on synthetic test images"),
    "synthetic_on_real": ("table_5", "figure_9", "classifier (synthetic) on real test images"),
}
TITLES = {key: title for key, (_, _, title) in SHOWN.items()} | {
    "real_on_synthetic": "classifier (real) on synthetic test images, which it labelled"
}

# Seed 004, Tables 3, 4 and 5: predicted → (truth normal, truth abnormal, total), as printed. Section 1: the rest.
DOCUMENT_CONFUSION: Mapping[str, Mapping[str, tuple[int, int, int]]] = {
    "real_on_real": {"normal": (1312, 92, 1404), "abnormal": (109, 1540, 1549), "total": (1321, 1632, 3053)},
    "synthetic_on_synthetic": {
        "normal": (1264, 128, 1392),
        "abnormal": (157, 1504, 1661),
        "total": (1421, 1632, 3053),
    },
    "synthetic_on_real": {"normal": (1095, 191, 1286), "abnormal": (326, 1441, 1767), "total": (1421, 1632, 3053)},
}
DOCUMENT_NOTES = {
    "real_on_real": "As printed, the document's Table 3 does not add up: 1,312 and 109 normal cases are 1,421, not "
    "1,321, and 109 and 1,540 cases called abnormal are 1,649, not 1,549."
}
# AUROC, sensitivity, specificity.
DOCUMENT_RESULTS = {
    "real_on_real": (0.9830, 0.934, 0.933),
    "synthetic_on_synthetic": (0.9673, 0.908, 0.905),
    "synthetic_on_real": (0.8810, 0.851, 0.816),
}
DOCUMENT_TEST = {"reference_p": "< 0.0001", "reference_reading": "no statistical difference"}
DOCUMENT_CLASSES = {"normal", "abnormal"}

_METHODS = {
    "delong": "DeLong 1988",
    "hanley_mcneil_1983": "Hanley-McNeil 1983, paired",
    "hanley_mcneil_1982": "Hanley-McNeil 1982, independent",
}
_COMPARISONS = {
    "synthetic_on_real - real_on_real": "classifier (synthetic) − classifier (real), the same real test images",
    "synthetic_on_synthetic - real_on_real": "classifier (synthetic) on synthetic − classifier (real) on real images",
    "synthetic_on_synthetic - synthetic_on_real": "classifier (synthetic): on synthetic − on real test images",
}


@dataclass(frozen=True)
class SectionSettings:
    """generator: name of the generator, for people; examples: images of each class in Figure 13; seed: of their
    choice."""

    generator: str
    examples: int
    seed: int


@step("section-three-steps")
def section(
    settings: SectionSettings,
    *,
    pseudo_labels: Path,
    summary: Path,
    cam: Path,
    maps: Path,
    test: Path,
    synthetic: Path,
    section: Output,
    out: list[Output],
) -> None:
    """Write the report's section on the three steps.

    pseudo_labels: report of `pseudo-label`, synthetic: its images; summary: of `three-steps`; cam, maps: of `grad-cam`;
    test: the real test images. out: a file for each of FILES, by its stem (CSV tables, PNG figures).
    """
    if settings.examples < 1:
        raise InputError(f"setting examples is {settings.examples}; it must be 1 or more")
    paths = by_stem(out, FILES, "out")
    labelled, result, looked = read_json(pseudo_labels), read_json(summary), read_json(cam)
    tables = {table: confusion_rows(result, key) for key, (table, _, _) in SHOWN.items()}
    tables |= {
        "table_three_steps": result_rows(result),
        "table_auroc_tests": test_rows(result),
        "table_pseudo_labels": pseudo_rows(labelled),
        "table_cam": cam_rows(looked),
    }
    for name, rows in tables.items():
        write_csv(paths[name], rows, list(rows[0]))
    for key, (_, figure, title) in SHOWN.items():
        draw_roc(paths[figure], result["experiments"][key], title)
    draw_cams(paths["figure_11"], looked, ImageSet(maps), ImageSet(test))
    draw_examples(paths["figure_13"], ImageSet(synthetic), labelled, settings.examples, settings.seed)
    write_section(
        section,
        key="three_steps",
        title="What is a classifier worth that saw only generated images?",
        paragraphs=paragraphs(settings, labelled, result, looked),
        tables=[(paths[name], caption) for name, caption in captions(result, labelled).items()],
        figures=[
            *[
                (
                    paths[figure],
                    f"ROC of the {title}: each training thin, their mean thick (averaged at equal false-positive "
                    "rates), and the points at the thresholds chosen on validation images. [[The document's Figure "
                    f"{figure.rpartition('_')[2]}.]]",
                )
                for _, figure, title in SHOWN.values()
            ],
            (
                paths["figure_11"],
                "Grad-CAM of the positive output on real test images that a classifier gets wrong, the most wrong "
                "first: the image with its annotated boxes, the map of the classifier (real), that of the classifier "
                "(synthetic). p is the likelihood. Each map is scaled to its own maximum. [[The document's Figure "
                "11.]]",
            ),
            (
                paths["figure_13"],
                "Images of the generator that were labelled, drawn at random, with the likelihood that labelled them. "
                "[[The document's Figure 13.]]",
            ),
        ],
    )
    logger.info("wrote %s", section)


# ------------------------------------------------------------------------------------------------------------- tables
def captions(result: Mapping, labelled: Mapping) -> dict[str, str]:
    """Table → caption, in the order of the section."""
    found = {
        "table_pseudo_labels": f"Labelled images of the generator in each part, beside the real ones they replace. An "
        f"image is {labelled['positive']} above a likelihood of {labelled['upper']:g}, and not below "
        f"{labelled['lower']:g}; the rest is dropped."
    }
    for table, _, title in SHOWN.values():
        found[table] = (
            f"Confusion matrix of the {title}: means over {result['seeds']} trainings, what one training is expected "
            "to give; each is called at the threshold with the largest Youden index on its own validation images. "
            f"[[The document's Table {table.rpartition('_')[2]}.]]"
        )
    found["table_three_steps"] = (
        "The experiments side by side: means over the trainings, with intervals that count chance in the trainings and "
        "in the patients. [[The document's numbers are those of its section 1.]]"
    )
    found["table_auroc_tests"] = (
        "Differences of areas under the ROC curve. 'Trainings as readers' decides; the others test the likelihood "
        "averaged over the trainings and take these as given. [[The document reports one such p.]]"
    )
    found["table_cam"] = (
        "Share of the Grad-CAM map inside the annotated boxes of abnormal real test images, against the share of the "
        "image that the boxes cover, which a map without aim reaches. Empty maps count as that. "
        "Intervals over patients."
    )
    return found


def confusion_rows(result: Mapping, key: str) -> list[dict]:
    """One confusion matrix in the document's form: rows what was predicted, columns the truth."""
    classes, found = result["classes"], result["experiments"][key]
    counts = np.array(found["confusion"]["mean"])  # rows truth, columns decision; negative first
    order = [int(name == result["positive"]) for name in classes]
    counts = counts[np.ix_(order, order)].T
    reference = DOCUMENT_CONFUSION[key] if set(classes) == DOCUMENT_CLASSES else {}
    rows = []
    for name, values in zip([*classes, "total"], [*counts.tolist(), counts.sum(axis=0).tolist()], strict=True):
        printed = dict(zip(("normal", "abnormal", "total"), reference.get(name, (None,) * 3), strict=True))
        rows.append(
            {
                "predicted": name,
                **{column: _count(value) for column, value in zip(classes, values, strict=True)},
                "total": _count(sum(values)),
                **{f"reference_{column}": printed.get(column) for column in (*classes, "total")},
                "reference_note": DOCUMENT_NOTES.get(key, "") if reference else "",
                "note": "",
            }
        )
    return rows


def _count(mean: float) -> float:
    """A mean of counts with one decimal, as a whole number where it is one."""
    rounded = round(mean, 1)
    return int(rounded) if rounded == int(rounded) else rounded


def result_rows(result: Mapping) -> list[dict]:
    """The experiments: counts, area, sensitivity, specificity, accuracy, with intervals."""
    rows = []
    for key, title in TITLES.items():
        found = result["experiments"][key]
        printed = DOCUMENT_RESULTS.get(key) if set(result["classes"]) == DOCUMENT_CLASSES else None
        row = {"experiment": title, "images": found["images"], "patients": found["patients"]}
        for name in ("auroc", "sensitivity", "specificity", "accuracy"):
            row |= {name: found[name]["value"], f"{name}_low": found[name]["low"], f"{name}_high": found[name]["high"]}
        for name, value in zip(("auroc", "sensitivity", "specificity"), printed or (None,) * 3, strict=True):
            row[f"reference_{name}"] = value
        reason = found["auroc"]["reason"]
        rows.append(row | {"note": f"{title}: {reason}." if reason else ""})
    return rows


def test_rows(result: Mapping) -> list[dict]:
    """Every comparison by every test that fits its cases."""
    rows = []
    for key, words in _COMPARISONS.items():
        found = result["comparisons"][key]
        own = key == "synthetic_on_real - real_on_real"
        printed = DOCUMENT_TEST if own and set(result["classes"]) == DOCUMENT_CLASSES else {}
        decided = {
            "comparison": words,
            "method": "trainings as readers"
            + (", Welch" if found["cases"] == found["trainings"] == "different" else ""),
            "area_difference": found["difference"]["value"],
            "area_difference_low": found["difference"]["low"],
            "area_difference_high": found["difference"]["high"],
            "p": found["p"],
            "result": found["verdict"],
            "reference_p": printed.get("reference_p"),
            "reference_reading": printed.get("reference_reading"),
            "note": "",
        }
        rows.append(decided)
        for name, method in _METHODS.items():
            if name in found["of_mean_likelihood"]:
                test = found["of_mean_likelihood"][name]
                extra = f" (r = {test['correlation']:.2f})" if "correlation" in test else ""
                rows.append(
                    dict.fromkeys(decided, None)
                    | {
                        "comparison": words,
                        "method": method + extra,
                        "area_difference": test["difference"],
                        "p": test["p"],
                        "note": "",
                    }
                )
    return rows


def pseudo_rows(labelled: Mapping) -> list[dict]:
    """Images of each part and class: real ones, labelled generated ones."""
    rows = []
    for part in ("train", "validation", "test"):
        row: dict = {"part": part}
        for name in labelled["classes"]:
            row |= {f"real_{name}": labelled["needed"][part][name]}
            row |= {f"generated_{name}": labelled["counts"][part][name]}
        rows.append(row | {"note": ""})
    return rows


def cam_rows(looked: Mapping) -> list[dict]:
    """Share of the map inside the boxes, by classifier and outcome."""
    rows = []
    for classifier, outcomes in looked["inside"].items():
        for outcome, found in outcomes.items():
            difference = found["difference"] or {"value": None, "low": None, "high": None}
            rows.append(
                {
                    "classifier": classifier,
                    "outcome": outcome,
                    "images": found["n"],
                    "share_inside": found["share_inside"],
                    "chance": found["chance"],
                    "inside_difference": difference["value"],
                    "inside_difference_low": difference["low"],
                    "inside_difference_high": difference["high"],
                    "empty_maps": found["empty"],
                    "note": "" if looked["boxed"] else "No abnormal test image has an annotated box.",
                }
            )
    return rows


# -------------------------------------------------------------------------------------------------------------- words
def paragraphs(settings: SectionSettings, labelled: Mapping, result: Mapping, looked: Mapping) -> list[str]:
    """The section's sentences."""
    return [
        _labelling(settings, labelled),
        _areas(result),
        *_verdict(result),
        _thresholds(result),
        _looking(looked),
    ]


def _labelling(settings: SectionSettings, labelled: Mapping) -> str:
    classes, total = labelled["classes"], labelled["unlabelled"]
    confident = " and ".join(f"{labelled['confident'][name]:,} {name}" for name in classes)
    words = (
        f"A classifier trained on real images looked at {total:,} images of {settings.generator} and was confident of "
        f"{confident}; {labelled['dropped']:,} ({percent(labelled['dropped'] / total)}) were dropped as uncertain. "
    )
    if labelled["factor"] < 1:
        scarce = min(
            classes,
            key=lambda name: labelled["confident"][name] / max(1, sum(p[name] for p in labelled["needed"].values())),
        )
        words += (
            f"These were fewer {scarce} images than there are real ones, so every part is {labelled['factor']:.2f} "
            "times as large as its real counterpart: the classifier (synthetic) learnt from fewer images, which counts "
            "against it."
        )
    else:
        words += "As many of them as there are real ones, in the same ratio, make its synthetic counterpart."
    return words


def _areas(result: Mapping) -> str:
    found = result["experiments"]
    area = {key: interval(found[key], "auroc") for key in SHOWN}
    return (
        f"The classifier (real) reaches an AUROC of {area['real_on_real']} on the real test images, the classifier "
        f"(synthetic) {area['synthetic_on_real']} on the same images and {area['synthetic_on_synthetic']} on synthetic "
        "ones. The last number is easy to reach: uncertain images were dropped before. For the classifier that gave "
        "the labels these synthetic test images are separable by construction (AUROC of its averaged likelihood "
        f"{found['real_on_synthetic']['auroc_of_mean_likelihood']:.3f}), so neither number says that the images are "
        "good; only the test on real images does."
    )


def _verdict(result: Mapping) -> list[str]:
    found = result["comparisons"]["synthetic_on_real - real_on_real"]
    difference, margin = found["difference"], result["margin"]
    level = f"{100 * (1 - result['alpha']):g} %"
    known = difference["low"] is not None
    spread = signed(difference["value"])
    if known:
        spread += f" ({level} interval {signed(difference['low'])} to {signed(difference['high'])}, p {_p(found['p'])})"
    meaning = {
        "inferior": "On real images the classifier (synthetic) is worse",
        "superior": "On real images the classifier (synthetic) is better",
        "equivalent": "On real images the two classifiers are equivalent",
        "no evidence of a difference": "On real images there is no evidence that the two classifiers differ",
    }[found["verdict"]]
    first = f"{meaning}: the difference of the areas is {spread}. "
    if found["verdict"] == "equivalent":
        first += f"The whole interval lies within the margin of ±{margin:g} that was set beforehand"
        first += ", although the difference itself is measurable." if found["p"] <= result["alpha"] else "."
    elif not known:
        first += "The likelihoods leave no variance to estimate, so neither a difference nor equality can be shown."
    elif found["verdict"] == "no evidence of a difference":
        first += (
            f"That is not evidence of equality: for that the interval would have to lie within ±{margin:g}, and it "
            "does not."
        )
    else:
        first += "A p this small speaks against equality, not for it."
    tests = found["of_mean_likelihood"]
    second = (
        "On the likelihoods averaged over the trainings, DeLong's test of the same cases gives p "
        f"{_p(tests['delong']['p'])} and that of Hanley and McNeil (1983) p {_p(tests['hanley_mcneil_1983']['p'])}. "
        "A large p would not mean equality: a difference that is not significant is not equality. [[The document "
        "reports p < 0.0001 for this comparison, 0.9830 against 0.8810, and reads it as no statistical difference; a p "
        "value that small says the opposite, whatever the difference means in practice.]]"
    )
    return [first, second]


def _thresholds(result: Mapping) -> str:
    found = result["experiments"]
    words = []
    for key in ("real_on_real", "synthetic_on_real"):
        one = found[key]
        words.append(
            f"the {SHOWN[key][2]} has a sensitivity of {interval(one, 'sensitivity')} and a specificity of "
            f"{interval(one, 'specificity')}"
        )
    before, after = found["synthetic_on_synthetic"], found["synthetic_on_real"]
    moved = {name: after[name]["value"] - before[name]["value"] for name in ("sensitivity", "specificity")}
    worst = min(moved, key=lambda name: moved[name])
    carried = (
        "Its threshold was chosen on synthetic validation images, as there may be no real ones; from synthetic to "
        f"real test images its {worst} changes by {signed(moved[worst])}."
    )
    return f"At the thresholds, {words[0]}; {words[1]}. {carried}"


def _looking(looked: Mapping) -> str:
    outcome = looked["outcomes"]
    wrong = "; ".join(
        f"the classifier ({name}) misses {counts['false negative']} of "
        f"{counts['false negative'] + counts['true positive']} abnormal and suspects {counts['false positive']} of "
        f"{counts['false positive'] + counts['true negative']} normal images"
        for name, counts in outcome.items()
    )
    words = f"By the majority of its trainings, {wrong}. "
    if not looked["boxed"]:
        return words + "No test image has annotated boxes, so where the classifiers look cannot be measured here."
    parts = []
    for name, found in looked["inside"].items():
        every = found["every"]
        times = every["share_inside"] / every["chance"]
        difference = every["difference"]
        beyond = ", which may be chance"
        if difference["low"] is not None and difference["low"] > 0:
            beyond = ""
        elif difference["high"] is not None and difference["high"] < 0:
            beyond = ", which is less than chance"
        parts.append(
            f"the map of the classifier ({name}) has {percent(every['share_inside'])} of its sum inside the boxes "
            f"({times:.1f} times as much as by chance{beyond})"
        )
    return (
        words + f"In {looked['boxed']} abnormal images with boxes, which cover "
        f"{percent(looked['inside']['real']['every']['chance'])} of an image, {' and '.join(parts)}."
    )


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"
