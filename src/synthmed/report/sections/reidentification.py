"""Section "Re-identification": are patients recognised in generated images (seed 000, sections 3.2.1 and 3.4.2)?"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError, check_one_each
from synthmed.core.settings import Count, Names
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.reidentification import CHANGED, SEEN, UNSEEN
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import read_result
from synthmed.report.section import write_section
from synthmed.report.words import p_value, signed

VARIANTS = {"plain": "as they are", "normalised": "colours normalised"}
OF_REAL = {SEEN: "real, trained on", CHANGED: "the same, mildly changed", UNSEEN: "real, unseen"}
LEAKS = {"recognised": "patients are recognised", "not shown": "not shown to be above chance"}
BESIDE = {
    "as well": "as well as in unseen real images",
    "better": "better than in unseen real images",
    "less well": "less well than in unseen real images",
    "no evidence": "no evidence of a difference from unseen real images",
}


@dataclass(frozen=True)
class DialShown:
    """The figure of re-identification and use side by side."""

    task: Annotated[str, Meta(description="Name of the task.")]
    title: Annotated[str, Meta(description="Of the task, for people.")]
    generators: Annotated[Names, Meta(description="In the order of the figure.")]


@dataclass(frozen=True)
class ReidentificationSettings:
    """Settings of `section-reidentification`."""

    generators: Annotated[dict[str, str], Meta(description="Name → title, in the order of the files of `synthetic`.")]
    dial: Annotated[DialShown | None, Meta(description="The figure of the dial; null: none.")]
    examples: Annotated[Count, Meta(description="Real images that are shown with what was made of them.")]


def _rows(found: Found) -> list[dict]:
    rows = []
    for row in found["rows"]:
        tests = row["tests"]
        kept = {name: tests[name]["top1"] for name in OF_REAL}
        kept |= {f"{name}_top5": tests[name]["top5"] for name in OF_REAL}
        rows.append(
            {
                "keys": (str(row["patients"]),) if row["variant"] == "plain" else (),
                "variant": VARIANTS[row["variant"]],
                "patients": row["patients"],
                **kept,
                "chance": row["chance"],
                "class_chance": row["class_chance"],
            }
        )
    return rows


def _set_rows(found: Found) -> list[dict]:
    rows = []
    for row in found["rows"]:
        for name, title in found["asked"].items():
            test = row["tests"][name]
            rows.append(
                {
                    "keys": (f"{name}/{row['patients']}",) if row["variant"] == "plain" else (),
                    "variant": VARIANTS[row["variant"]],
                    "patients": row["patients"],
                    "generator": title,
                    "images": test["images"],
                    **{key: test.get(key) for key in ("top1", "top5", "drop", "retrieved", "retrieved_top5")},
                    "above": test["above"]["difference"],
                    "above_p": test["above"]["p"],
                    "against": test["against"]["difference"],
                    "against_p": test["against"]["p"],
                    "finding": _words(test["finding"]),
                }
            )
    return rows


def _words(finding: tuple[str, str] | None) -> str:
    if finding is None:
        return "no word"
    leak, beside = finding
    return f"{LEAKS[leak]}; {BESIDE[beside]}"


def _draw_accuracy(path: Path, found: Found) -> None:
    from synthmed.report.charts.reidentification import draw_accuracy

    lines = OF_REAL | found["asked"]
    draw_accuracy(path, found["rows"], lines, {name: VARIANTS[name] for name in found["variants"]})


def _draw_dial(path: Path, found: Found) -> str | None:
    from synthmed.report.charts.reidentification import draw_dial

    dial = found["settings"].dial
    if dial is None:
        return "This experiment has no series of generators between privacy and use."
    tests, task = found["largest"]["tests"], found["task"]
    if missing := [name for name in dial.generators if name not in tests]:
        return f"{found['settings'].generators[missing[0]]} makes no image from a single training image."
    arms = [f"only_{name}" for name in dial.generators]
    test, outcome = task["tests"][0], task["outcome"]
    if missing := [arm for arm in arms if arm not in task["arms"]]:
        return f"The task {dial.task} has no arm {missing[0]!r} (setting only_share)."

    def use(arm: str) -> Estimate:
        return task["arms"][arm]["tests"][test]["outcomes"][outcome]

    words = task["outcomes"][outcome]["title"]
    curves = {
        f"re-identification accuracy, {found['largest']['patients']} patients": [
            tests[n]["top1"] for n in dial.generators
        ],
        "the source is the nearest training image": [tests[n]["retrieved"] for n in dial.generators],
        f"{words}, trained on these images alone": [use(arm) for arm in arms],
    }
    lines = {
        "re-identification of unseen real images": tests[UNSEEN]["top1"].value,
        "re-identification by a guess that knows the class": found["largest"]["class_chance"],
        f"{words}, trained on real images": use(task["reference"]).value,
    }
    draw_dial(path, [found["settings"].generators[name] for name in dial.generators], curves, lines)
    return None


def _draw_sources(path: Path, found: Found) -> str | None:
    from synthmed.report.charts.pictures import draw_rows

    if not found["asked"]:
        return "No generator makes its images from single training images."
    train, pictures = found["train"], {}
    made = {name: _by_origin(found["sets"][name]) for name in found["asked"]}
    names = train.column("image")
    shared = [row for row, name in enumerate(names) if all(name in of for of in made.values())]
    # Of as many patients as there are examples, one each.
    of_patient = {train.rows[row]["patient"]: row for row in reversed(shared)}
    rows = sorted(of_patient.values())[:: max(1, len(of_patient) // found["settings"].examples)]
    rows = rows[: found["settings"].examples]
    pictures["real"] = [train[row] for row in rows]
    for name, title in found["asked"].items():
        pictures[title] = [found["sets"][name][made[name][names[row]]] for row in rows]
    draw_rows(path, pictures)
    return None


def _by_origin(images: ImageSet) -> dict[str, int]:
    """Name of the source → position of the first image that was made from it."""
    places: dict[str, int] = {}
    for place, name in enumerate(images.column("origin")):
        places.setdefault(name, place)
    return places


SECTION = Section(
    link="Re-identification",
    title="Are patients recognised?",
    exhibits=(
        Table(
            "real",
            "Accuracy with which classifiers of patients name whose a real image is: means over patients and "
            "{{ seeds }} trainings, with {{ (1 - alpha) | confidence }} intervals; below, whether the patient is "
            "among the five most likely. Chance: one of the patients; of the image's class: one of those who have "
            "images of its class.",
            _rows,
            (
                Column("variant", "colours", group=True, once="Images {}."),
                Column("patients"),
                Column(SEEN, OF_REAL[SEEN], interval=True, below=(("top 5", f"{SEEN}_top5"),)),
                Column(CHANGED, OF_REAL[CHANGED], interval=True, below=(("top 5", f"{CHANGED}_top5"),)),
                Column(UNSEEN, OF_REAL[UNSEEN], interval=True, below=(("top 5", f"{UNSEEN}_top5"),)),
                Column("chance"),
                Column("class_chance", "of the image's class"),
                *(Column(f"{name}_top5", page=False, interval=True) for name in OF_REAL),
            ),
        ),
        Table(
            "generated",
            "The same of generated images. Beside chance: accuracy minus that of a guess among the patients of the "
            "class of its source. Beside unseen real: generated minus unseen real images of the same patients. Drop: "
            "real images that were trained on minus generated, what the document compares. p by Holm's method over the "
            "generators of a row. Source: the nearest of all training images of these patients is the one that the "
            "image was made from; below, it is among the five nearest.",
            _set_rows,
            (
                Column("variant", "colours", group=True, once="Images {}."),
                Column("generator"),
                Column("patients"),
                Column("images", page=False),
                Column("top1", "accuracy", interval=True, below=(("top 5", "top5"),)),
                Column("above", "beside chance", signed, interval=True),
                Column("above_p", "p", p_value),
                Column("against", "beside unseen real", signed, interval=True),
                Column("against_p", "p", p_value),
                Column("drop", "drop", signed, interval=True),
                Column("retrieved", "source", interval=True, below=(("top 5", "retrieved_top5"),)),
                Column("finding"),
                Column("top5", page=False, interval=True),
                Column("retrieved_top5", page=False, interval=True),
            ),
            empty="no generator makes its images from single training images",
        ),
        Figure(
            "accuracy",
            "Accuracy of classifiers of patients, by how many they tell apart; fewer are among more. Lines up and "
            "down: {{ (1 - alpha) | confidence }} intervals over patients and trainings.",
            _draw_accuracy,
        ),
        Figure(
            "dial",
            "Between privacy and use: how often patients and sources are recognised in the images of each generator, "
            "and what a model that was trained on these images alone is worth.",
            _draw_dial,
        ),
        Figure("sources", "Real training images, one a patient, and what was made of them.", _draw_sources),
    ),
)


@step("section-reidentification")
def section(
    settings: ReidentificationSettings,
    *,
    results: Path,
    train: Path,
    synthetic: list[Path],
    verdicts: Path | None,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on whether patients are recognised.

    results: of `compare-identities`; train: the training part; synthetic: the sets, in the order of
    settings.generators; verdicts: of the task that settings.dial names.
    """
    check_one_each(settings.generators, synthetic=synthetic)
    if (verdicts is None) != (settings.dial is None):
        raise InputError("verdicts: give those of the task that setting dial names, and none where it is null")
    read: Mapping = read_result(results)
    largest = [row for row in read["rows"] if row["patients"] == max(read["patients"])]
    found = {
        **{
            name: read[name]
            for name in ("rows", "seeds", "alpha", "margin", "variants", "network", "recogniser", "extractor")
        },
        "settings": settings,
        "largest": largest[0],
        "normalised": next((row for row in largest if row["variant"] == "normalised"), None),
        "asked": {name: settings.generators[name] for name in read["sets"]},
        "not_asked": [settings.generators[name] for name in read["not_asked"]],
        "sets": {name: ImageSet(path) for name, path in zip(settings.generators, synthetic, strict=True)},
        "train": ImageSet(train),
        "task": read_result(verdicts) if verdicts else None,
    }
    write_section(section, out, SECTION, found, document=document)
