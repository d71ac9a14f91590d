"""Columns of the tables, and their rows from the parsed result files."""

from collections.abc import Mapping, Sequence

from synthmed.report.leaderboard import sweep_rows
from synthmed.report.references import Document
from synthmed.report.results import Arm, GeneratorEntry, estimate, number

QUALITY = ("inception_score", "fid", "fid_infinity", "kid", "precision", "recall", "density", "coverage")
"""Metrics of the quality tables, by their names in the fidelity JSON."""

_BASE = "the arm that the others are compared with"


def _with_interval(*names: str) -> tuple[str, ...]:
    return tuple(column for name in names for column in (name, f"{name}_low", f"{name}_high"))


_QUALITY_COLUMNS = (
    "generator", "receptive_field", "label", "extractor", "n_real", "n_fake", "n_floor", *_with_interval(*QUALITY),
    *(f"{reference}_{name}" for reference in ("matched", "floor", "duplicate") for name in QUALITY),
    "reference_inception_score", "reference_fid", "note",
)  # fmt: skip
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "table_3_1": _QUALITY_COLUMNS,
    "table_3_2": tuple(column for column in _QUALITY_COLUMNS if column != "receptive_field"),
    "table_quality": tuple(c for c in _QUALITY_COLUMNS if c != "receptive_field" and not c.startswith("reference_")),
    "table_4_1": (
        "learning_rate", "dropout", "backbone", "accuracy", "false_positives", "false_negatives", "selected",
        "reference_accuracy", "reference_false_positives", "reference_false_negatives", "note",
    ),
    "table_4_2": (
        "arm", "kind", "backbone", "n_train", "synthetic_share", *_with_interval("accuracy"), "false_positives",
        "false_negatives", *_with_interval("auroc", "sensitivity", "specificity", "auroc_difference"), "p_holm",
        "verdict", "equivalent", "reference_accuracy", "reference_false_positives", "reference_false_negatives", "note",
    ),
    "table_4_4": (
        "generator", "label", "backbone", "n", *_with_interval("accuracy"), "reference_accuracy", "note",
    ),
    "table_4_5": ("arm", "backbone", *_with_interval("accuracy", "auroc"), "reference_accuracy", "note"),
    "table_sweep": (
        "generator", "arm", "kind", "backbone", "synthetic_share", "n_train", *_with_interval("accuracy", "auroc"),
        "verdict", "note",
    ),
    "table_copies": (
        "generator", "extractor", "n_train", "n_held_out", "n_fake", "identical", "suspects",
        *_with_interval("suspect_share"),
        "share_in_features", "expected_in_features", "p_features", "share_in_pixels", "expected_in_pixels", "p_pixels",
        *_with_interval("nearest_is_origin"), "note",
    ),
    "table_validation": (
        "case", "expected", "backbone", "repeats", "verdict", "count", *_with_interval("rate"), "note",
    ),
}  # fmt: skip
"""Columns of the tables, by the name of their output; those of table_data depend on the classes.

In the quality tables FID and the others use all images; `floor_*` is the same between the training images and n_floor
held-out real ones, `matched_*` that of only n_floor generated images, the number to hold beside the floor, and
`duplicate_*` that of n_floor repeated training images, what a generator that only copies would reach.
"""


def _estimates(node: Mapping, names: Sequence[str]) -> tuple[dict, list[str]]:
    """Cells `name`, `name_low`, `name_high` for every name, and the notes of those that are missing."""
    cells, notes = {}, []
    for name in names:
        found = estimate(node, name)
        cells |= {name: found.value, f"{name}_low": found.low, f"{name}_high": found.high}
        if found.note:
            notes.append(f"{name.replace('_', ' ')}: {found.note}")
    return cells, notes


def quality_rows(
    generators: Mapping[str, GeneratorEntry], classes: Sequence[str], quality: Sequence[Mapping], document: Document
) -> list[dict]:
    """Tables 3.1, 3.2 and that of the other generators: one row a generator, extractor and label."""
    rows = []
    for result in quality:
        entry = generators[result["generator"]]
        for label in (*classes, "all"):
            if label not in result["groups"]:
                continue
            cells, notes = _estimates(result["groups"][label], QUALITY)
            beside = {
                f"{reference}_{name}": estimate(result[reference].get(label, {}), name).value
                for reference in ("matched", "floor", "duplicate")
                for name in QUALITY
            }
            if entry.model == "cyclegan":
                reference = document.translation_quality.get((entry.receptive_field, label), (None, None))
            else:
                reference = document.synthesis_quality.get(label, (None, None))
            group = result["groups"][label]
            row = {
                "generator": entry.title,
                "receptive_field": entry.receptive_field,
                "label": label,
                "extractor": result["extractor"],
                "n_real": group["n_real"],
                "n_fake": group["n_fake"],
                "n_floor": result["floor"].get(label, {}).get("n_fake"),
                **cells,
                **beside,
                "reference_inception_score": reference[0],
                "reference_fid": reference[1],
                "note": "; ".join(notes),
            }
            columns = COLUMNS[
                "table_3_1"
                if entry.model == "cyclegan"
                else "table_3_2"
                if entry.model == "fastgan"
                else "table_quality"
            ]
            rows.append({column: row[column] for column in columns})
    return rows


def grid_rows(grid: Sequence[Mapping[str, str]], chosen: Mapping, document: Document) -> list[dict]:
    """Table 4.1: validation results of every learning rate and dropout of the grid, best first."""
    rows = []
    for cell in grid:
        rate, dropout = float(cell["learning_rate"]), float(cell["dropout"])
        reference = document.grid.get((rate, dropout), (None, None, None))
        rows.append(
            {
                "learning_rate": rate,
                "dropout": dropout,
                "backbone": chosen["backbone"],
                "accuracy": number(cell["accuracy"]),
                "false_positives": number(cell["false_positives"]),
                "false_negatives": number(cell["false_negatives"]),
                "selected": "yes" if (rate, dropout) == (chosen["learning_rate"], chosen["dropout"]) else "",
                "reference_accuracy": reference[0],
                "reference_false_positives": reference[1],
                "reference_false_negatives": reference[2],
                "note": "",
            }
        )
    return sorted(rows, key=lambda row: (-row["accuracy"], row["false_positives"] + row["false_negatives"]))


def reference_name(entry: Arm, generators: Mapping[str, GeneratorEntry]) -> str | None:
    """The name of an arm in Document.arms; None for arms that no document has."""
    if entry.kind == "real":
        return "real"
    if entry.kind != "generator" or entry.generator not in generators:
        return None
    generator = generators[entry.generator]
    return generator.model if generator.receptive_field is None else f"{generator.model}-{generator.receptive_field}"


def arm_rows(
    generators: Mapping[str, GeneratorEntry],
    arms: Mapping[str, Arm],
    result: Mapping,
    backbone: str,
    document: Document,
) -> list[dict]:
    """Table 4.2: every arm but those of the sweep, on the same real test images."""
    rows = []
    for arm, entry in arms.items():
        if entry.kind == "sweep":
            continue
        measured = result[arm]
        cells, notes = _estimates(measured, ("accuracy", "auroc", "sensitivity", "specificity"))
        versus = measured.get("versus_real")
        difference = {}
        if versus is not None:
            difference, more = _estimates(versus, ("auroc_difference",))
            notes += more
        reference = document.arms.get(reference_name(entry, generators), (None, None, None))
        rows.append(
            {
                "arm": entry.title,
                "kind": entry.kind,
                "backbone": backbone,
                "n_train": entry.n_train,
                "synthetic_share": entry.share,
                **cells,
                **difference,
                "false_positives": measured["false_positives"],
                "false_negatives": measured["false_negatives"],
                "p_holm": versus["p_holm"] if versus else None,
                "verdict": versus["verdict"] if versus else "",
                "equivalent": ("yes" if versus["equivalent"] else "no") if versus else "",
                "reference_accuracy": reference[0],
                "reference_false_positives": reference[1],
                "reference_false_negatives": reference[2],
                "note": "; ".join(notes if versus else [f"{entry.title}: {_BASE}", *notes]),
            }
        )
    return rows


def classic_rows(arms: Mapping[str, Arm], result: Mapping, backbone: str, document: Document) -> list[dict]:
    """Table 4.5: without and with classic augmentation. Empty when no arm has it."""
    compared = {arm: entry for arm, entry in arms.items() if entry.kind in ("real", "classic")}
    if len(compared) < 2:
        return []
    rows = []
    for arm, entry in compared.items():
        cells, notes = _estimates(result[arm], ("accuracy", "auroc"))
        rows.append(
            {
                "arm": entry.title,
                "backbone": backbone,
                **cells,
                "reference_accuracy": document.classic.get(entry.kind),
                "note": "; ".join(notes),
            }
        )
    return rows


def share_rows(
    generators: Mapping[str, GeneratorEntry], arms: Mapping[str, Arm], result: Mapping, backbone: str
) -> list[dict]:
    """Sweep of the share of synthetic images: one row a generator and share, the real arm first."""
    titles = {name: entry.title for name, entry in generators.items()}
    rows = []
    for point in sweep_rows(arms, result):
        arm, generator, share = point.pop("arm"), point.pop("generator"), point.pop("share")
        verdict = result[arm].get("versus_real", {}).get("verdict", "")
        point |= {"generator": titles.get(generator, generator), "arm": arms[arm].title, "synthetic_share": share}
        note = "" if verdict else f"{arms[arm].title}: {_BASE}"
        rows.append(point | {"backbone": backbone, "verdict": verdict, "note": note})
    return rows


def data_rows(report: Mapping, classes: Sequence[str]) -> list[dict]:
    """Images of every class and patients in each part."""
    return [
        {
            "part": part,
            **{label: counts.get(label, 0) for label in classes},
            "images": sum(counts.values()),
            "patients": report["patients"][part],
            "note": "",
        }
        for part, counts in ((part, report["counts"][part]) for part in ("train", "validation", "test"))
    ]


def synthetic_accuracy_rows(
    generators: Mapping[str, GeneratorEntry], classes: Sequence[str], chosen: Mapping, document: Document
) -> list[dict]:
    """Table 4.4: how often the real-trained classifier sees the class that a generated image claims to show."""
    rows = []
    for name, entry in generators.items():
        for label in (*classes, "all"):
            found = chosen["synthetic"].get(name, {}).get(label)
            if found is None:
                continue
            cells, notes = _estimates({"accuracy": found}, ("accuracy",))
            rows.append(
                {
                    "generator": entry.title,
                    "label": label,
                    "backbone": chosen["backbone"],
                    "n": found["n"],
                    **cells,
                    "reference_accuracy": document.synthetic_accuracy.get((entry.model, label)),
                    "note": "; ".join(notes),
                }
            )
    return rows


def copy_rows(generators: Mapping[str, GeneratorEntry], audits: Sequence[Mapping]) -> list[dict]:
    """Copy audit: one row a generator."""
    rows = []
    for audit in audits:
        cells, notes = _estimates(audit, ("suspect_share",))
        if audit["nearest_is_origin"] is None:
            notes.append("nearest is origin: only for images translated from a training image")
        else:
            cells |= _estimates(audit, ("nearest_is_origin",))[0]
        for space, found in audit["by_space"].items():
            cells |= {
                f"share_in_{space}": found["suspect_share"]["value"],
                f"expected_in_{space}": found["expected_share"],
            }
            cells[f"p_{space}"] = found["p"]
        rows.append(
            {
                "generator": generators[audit["generator"]].title,
                "extractor": audit["extractor"],
                "n_train": audit["n_train"],
                "n_held_out": audit["n_held_out"],
                "n_fake": audit["n_fake"],
                **cells,
                "identical": audit["identical"],
                "suspects": audit["suspects"],
                "note": "; ".join(notes),
            }
        )
    return rows


def validation_rows(validation: Mapping) -> list[dict]:
    """How often each verdict was given in each case of known truth."""
    rows = []
    for case in validation["cases"]:
        for verdict, found in case["verdicts"].items():
            cells, notes = _estimates(found, ("rate",))
            rows.append(
                {
                    "case": case["case"],
                    "expected": case["expected"],
                    "backbone": validation["backbone"],
                    "repeats": case["repeats"],
                    "verdict": verdict,
                    "count": found["count"],
                    **cells,
                    "note": "; ".join(notes),
                }
            )
    return rows
