"""Section "Frames": do classifiers look at the frame, how do they work where few positives may be missed, for whom?"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.files import read_json
from synthmed.core.settings import Count
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import Generators, read_result, read_task
from synthmed.report.section import write_section
from synthmed.report.words import artefact, p_value, percent, signed, tenths

RATES = ("auroc", "sensitivity", "specificity")


@dataclass(frozen=True)
class ShortcutsSettings:
    """Settings of `section-shortcuts`."""

    generators: Generators
    negative: Annotated[str, Meta(description="The class that is not looked for.")]
    examples: Annotated[Count, Meta(description="Images of each change that are shown.")]


def _arms(found: Found) -> list[tuple[dict, dict]]:
    """What was measured of every arm, and the arm itself, in the order of the report."""
    return [(found["result"]["arms"][name], arm) for name, arm in found["task"]["arms"].items()]


def _switch_rows(found: Found) -> list[dict]:
    result, settings, rows = found["result"], found["settings"], []
    keys = {"pasted": f"pasted/{settings.negative}", "removed": f"removed/{result['positive']}"}
    for measured, arm in _arms(found):
        row = {"keys": (arm["name"],), "arm": arm["title"]}
        for change, key in keys.items():
            switched = measured["switched"].get(key)
            if switched is None:
                continue
            row |= {change: switched["switched"]}
            row |= {f"{change}_{name}": switched[name] for name in ("could", "net")}
            if versus := switched["versus_real"]:
                row |= {
                    f"{change}_difference": versus["difference"],
                    f"{change}_p": versus["p_holm"],
                    f"{change}_word": ": ".join(filter(None, (versus["word"], versus["reason"]))),
                }
        rows.append(row)
    return rows


def _operating_rows(found: Found) -> list[dict]:
    return [{"keys": (arm["name"],), "arm": arm["title"], **measured["operating"]} for measured, arm in _arms(found)]


def _group_columns(found: Found) -> list[Column]:
    return [Column("arm", "training set"), *(Column(name, group_words(name)) for name in found["result"]["order"])]


def group_words(group: str) -> str:
    """A subgroup for people: `<artefact>: yes`, `<artefact>: no`, `skin: <tone>`, or what is not known of either."""
    name, _, value = group.partition(": ")
    if value == "not known":
        return f"{artefact(name)} {value}"
    return f"{value} skin" if name == "skin" else {"yes": "", "no": "no "}[value] + artefact(name)


def _sizes(result: Found) -> list[tuple[str, dict]]:
    """Images of each class in every subgroup, in order."""
    return [(name, result["groups"][name]) for name in result["order"]]


def _group_rows(found: Found) -> list[dict]:
    """A row an arm: AUROC of every subgroup."""
    return [
        {
            "keys": (arm["name"],),
            "arm": arm["title"],
            **{name: measured["subgroups"][name]["auroc"].value for name in found["result"]["order"]},
        }
        for measured, arm in _arms(found)
    ]


def _every_row(found: Found) -> list[dict]:
    return [
        {
            "arm": arm["title"],
            "group": group_words(name),
            **{f"n_{label.replace(' ', '_')}": count for label, count in sizes.items()},
            **measured["subgroups"][name],
        }
        for measured, arm in _arms(found)
        for name, sizes in _sizes(found["result"])
    ]


def _draw_switches(path: Path, found: Found) -> str | None:
    rows = [row for row in _switch_rows(found) if {"pasted", "removed"} & set(row)]
    if not rows:
        return "No frame was pasted or taken off in this experiment."
    from synthmed.report.charts.shortcuts import draw_switches

    draw_switches(path, rows, found)
    return None


def _draw_examples(path: Path, found: Found) -> str | None:
    from synthmed.report.charts.shortcuts import draw_changes

    test, changed = found["test"], found["changed"]
    place = {name: number for number, name in enumerate(test.column("image"))}
    kinds = {f"pasted/{found['settings'].negative}": [], f"removed/{found['result']['positive']}": []}
    for number, row in enumerate(changed.rows):
        kind = f"{row['change']}/{row['label']}"
        if len(kinds.get(kind, [0] * found["settings"].examples)) < found["settings"].examples:
            kinds[kind].append((test[place[row["origin"]]], changed[number]))
    draw_changes(path, {kind: pairs for kind, pairs in kinds.items() if pairs})


SECTION = Section(
    link="Frames",
    title="Do the classifiers look at the frame?",
    exhibits=(
        Figure(
            "switch_rates",
            "Decisions that are another one when a frame is pasted on {{ settings.negative }} images that were called "
            "so (left: they become {{ result.positive }}), or taken off {{ result.positive }} ones that were called so "
            "(right: they become {{ settings.negative }}); means over {{ result.seeds }} trainings, {{ result.level | "
            "confidence }} intervals. A classifier that does not look at the frame has its points near 0.",
            _draw_switches,
        ),
        Figure(
            "changed",
            "Test images as they are (above) and changed (below): nothing but the frame is another.",
            _draw_examples,
        ),
        Table(
            "switches",
            "The same in numbers. Of: images that were called rightly before, mean over the trainings; only these can "
            "switch. Differences are from the training set of real images, p is adjusted for the number of training "
            "sets and the two changes (Holm).",
            _switch_rows,
            (
                Column("arm", "training set"),
                Column("pasted_could", "of", tenths),
                Column("pasted", "switched by a pasted frame", percent, interval=True, below=(("", "pasted_word"),)),
                Column("pasted_difference", "− real", signed, interval=True),
                Column("pasted_p", "p (Holm)", p_value),
                Column("removed_could", "of", tenths),
                Column("removed", "switched by taking it off", percent, interval=True, below=(("", "removed_word"),)),
                Column("removed_difference", "− real", signed, interval=True),
                Column("removed_p", "p (Holm)", p_value),
                *(
                    Column(f"{change}_{name}", page=False)
                    for change in ("pasted", "removed")
                    for name in ("word", "net")
                ),
            ),
        ),
        Table(
            "operating",
            "Test images, at thresholds that find {{ result.sensitivity | percent }} of the {{ result.positive }} "
            "validation images; of the test images they may find more or fewer.",
            _operating_rows,
            (
                Column("arm", "training set"),
                Column("specificity", interval=True),
                Column("sensitivity", interval=True),
            ),
        ),
        Table(
            "subgroups",
            "AUROC among test images of one kind (intervals, sensitivities and specificities stand in the CSV "
            "beside it). {{ 'Artefacts are those that the tagger sees. ' if result.by_tagger }}Images of each class: "
            "{{ sizes }}.",
            _group_rows,
            _group_columns,
            empty="no subgroups were asked for",
        ),
        Table(
            "every_subgroup",
            "Every rate of every subgroup.",
            _every_row,
            lambda found: [
                Column("arm", "training set"),
                Column("group", "images"),
                *(Column(f"n_{label.replace(' ', '_')}") for label in found["task"]["classes"]),
                *(Column(name, interval=True) for name in RATES),
            ],
            empty="no subgroups were asked for",
            page=False,
        ),
    ),
)


@step("section-shortcuts")
def section(
    settings: ShortcutsSettings,
    *,
    shortcuts: Path,
    verdicts: Path,
    test: Path,
    changed: Path,
    counts: Path,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on what classifiers look at beside the disease.

    shortcuts: of `measure-shortcuts`; verdicts: of its task; test, changed: the test images as they are, and changed;
    counts: what became of them (`change-images`).
    """
    result = read_result(shortcuts)
    found = {
        "settings": settings,
        "result": result,
        "task": read_task(verdicts, settings.generators),
        "test": ImageSet(test),
        "changed": ImageSet(changed),
        "left_out": {what: sum(read_json(counts)[what].values()) for what in ("unchanged", "refused")},
        "sizes": "; ".join(
            f"{group_words(name)} {' and '.join(f'{count} {label}' for label, count in sizes.items())}"
            for name, sizes in _sizes(result)
        ),
    }
    found |= {"rows": _switch_rows(found)}
    write_section(section, out, SECTION, found, document=document)
