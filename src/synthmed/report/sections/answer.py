"""Section "Answer", one for each task: what the verdicts say, and the numbers of every arm."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from markupsafe import Markup
from msgspec import Meta

from synthmed.core.files import read_json
from synthmed.core.known import HARMS, HELPS, KINDS, NO_EVIDENCE, SMALL
from synthmed.core.settings import Count
from synthmed.core.step import Output, step
from synthmed.data.imageset import NOT_MADE
from synthmed.metrics.effects import FOLLOWS, agreement, real_fidelity, unlike
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import (
    Generators,
    by_class,
    check_generators,
    confusion,
    effect,
    label_fidelity,
    of_all,
    read_result,
    read_task,
    shown_tests,
    sizes_of_tests,
)
from synthmed.report.section import write_section
from synthmed.report.tables import versus_cells
from synthmed.report.words import environment, interval, p_value, signed, tenths

MAIN_ARMS = tuple(kind for kind in KINDS if kind != "sweep")
"""Kinds of arms shown here; those of the sweep of shares stand in the task's own section."""
MASKS = ("dice", "false_positive_pixels", "false_negative_pixels")
"""Of masks, what stands beside the outcome that decides."""

JUDGED = {"made": "generator", "alone": "synthetic_only"}
WORDS = {"helps": HELPS, "harms": HARMS, "unclear": NO_EVIDENCE, "open": None}


@dataclass(frozen=True)
class AnswerSettings:
    """Settings of `section-answer`."""

    tasks: Annotated[Count, Meta(description="How many tasks the experiment has.")]
    phantom: Annotated[bool, Meta(description="Whether its images are drawn by a program.")]
    generators: Generators
    pseudo_labelled: Annotated[tuple[str, ...], Meta(description="Those whose labels a classifier gave.")]


def arms(found: Found) -> list[dict]:
    """The arms that answer the question."""
    return [arm for arm in found["task"]["arms"].values() if arm["kind"] in MAIN_ARMS]


def binary(found: Found) -> bool:
    """Whether false positives and false negatives can be counted."""
    return found["task"]["kind"] == "classification" and len(found["task"]["classes"]) == 2


def masks(found: Found) -> bool:
    """Whether masks are judged."""
    return found["task"]["kind"] == "segmentation"


def _columns(found: Found) -> list[Column]:
    task = found["task"]
    others = [name for name in task["outcomes"] if name != task["outcome"]]
    # What a reader compares first stays in sight; the rest is in the CSV.
    shown = {
        task["outcome"],
        *(others[:1] if binary(found) else [name for name in MASKS if name in others] or others[:3]),
    }
    classes = by_class(task).values()
    *further, decides = [
        Column(
            name,
            task["outcomes"][name]["title"],
            interval=True,
            below=(("", f"difference_{name}"),) if name in classes else (),
            page=name in {*shown, *classes},
        )
        for name in (*others, task["outcome"])
    ]
    wrong = [Column("false_positives", "false pos.", tenths), Column("false_negatives", "false neg.", tenths)]
    return [
        Column("arm", "training set"),
        Column("kind", page=False),
        Column("test", "tested on", page=task["swap"] is not None),
        Column("model", once="Model: {}."),
        Column("n_train", "training images"),
        Column("synthetic_share", page=False),
        # What decides first: further columns may lie beyond the rim of the window.
        decides,
        Column("difference", f"{task['decides']['title']} − real", signed, interval=True),
        Column("p_holm", "p (Holm)", p_value),
        Column("verdict", below=(("", "limit"),)),
        Column("label_fidelity", "mask–image agreement" if masks(found) else "label fidelity", interval=True),
        *further[:1],
        *(wrong if binary(found) else []),
        *further[1:],
        Column("equivalent", page=False),
        Column("budget_limited", page=False),
    ]


def keys_of(arm: Mapping, test: str) -> tuple[str, ...]:
    """Names by which a document may know a training set: `<arm>/<test>`, its own, `generator/<model>`, its kind."""
    entry = arm["generator"]
    return (
        f"{arm['name']}/{test}",
        arm["name"],
        *(f"{arm['kind']}/{key}" for key in (entry.keys if entry else ())),
        arm["kind"],
    )


def _told(task: Mapping, versus: Mapping, name: str) -> str:
    """The difference in an outcome with its interval, in words."""
    return interval(versus["outcomes"][name]["difference"], None, signed)


def _of_single_classes(task: Mapping, judged: Sequence[Mapping]) -> list[str]:
    """The arms and classes whose difference has an interval without 0, in words."""
    return [
        f"{arm['title']}, {one}: {_told(task, arm['versus_reference'], name)}"
        for arm in judged
        for one, name in by_class(task).items()
        if (found := arm["versus_reference"]["outcomes"][name]["difference"]).low is not None
        and not found.low <= 0 <= found.high
    ]


def _at_the_networks_size(arms: Sequence[Mapping]) -> list[str] | None:
    """The arms whose word would be another at the network's size, with that word; None where there is none to say."""
    words = {
        arm["title"]: (arm["versus_reference"]["verdict"], arm["versus_reference"]["elsewhere"][SMALL]["verdict"])
        for arm in arms
        if arm["versus_reference"] and SMALL in arm["versus_reference"]["elsewhere"]
    }
    told = {title: (here, there) for title, (here, there) in words.items() if here and there}
    return [f"{title} (“{there}”)" for title, (here, there) in told.items() if here != there] if told else None


def _notes(arm: Mapping) -> list[str]:
    """What is to be known of an arm's comparison with the real one."""
    versus, notes = arm["versus_reference"], []
    if not versus["verdict"]:
        notes.append(f"No word: {versus['reason']}.")
    if arm["uses_up"] and arm["trainings"] == 1:
        notes.append(
            f"{arm['title']}: all images of a class are used, so that the interval does not cover the choice of images."
        )
    return notes


def _rows(found: Found) -> list[dict]:
    task, rows = found["task"], []
    for arm in arms(found):
        for test in [test for test in shown_tests(task) if test in arm["tests"]]:
            versus = arm["versus_reference"] if test == task["tests"][0] else None
            row = {
                "keys": keys_of(arm, test),
                "arm": arm["title"],
                "kind": arm["kind"],
                "test": test,
                "model": found["model"],
                "n_train": arm["n_train"],
                "synthetic_share": arm["share"],
                **arm["tests"][test]["outcomes"],
                "budget_limited": "yes" if arm["budget_limited"] else "no",
                "limit": "budget-limited" if arm["budget_limited"] else "",
            }
            if binary(found) and (matrix := confusion(arm, test)):
                negative = 1 - task["classes"].index(task["positive"])
                row["false_positives"], row["false_negatives"] = (
                    matrix[negative][1 - negative],
                    matrix[1 - negative][negative],
                )
            if versus:
                row |= versus_cells(task, versus)
                row |= {f"difference_{name}": _told(task, versus, name) for name in by_class(task).values()}
                row |= {"verdict": versus["verdict"] or "none given", "note": " ".join(_notes(arm))}
                if arm["kind"] in ("generator", "synthetic_only") and arm["set"] in found["fidelity"]:
                    row["label_fidelity"] = found["fidelity"][arm["set"]]["all"]
            elif arm["name"] == task["reference"] and test == task["tests"][0]:
                row["note"] = f"{arm['title']}: the arm that the others are compared with"
            rows.append(row)
    return rows + [_unmade_row(found, arm) for arm in task[NOT_MADE].values()]


def _unmade_row(found: Found, arm: Mapping) -> dict:
    """The row of a training set that could not be made: its name and the reason, no number."""
    test = found["task"]["tests"][0]
    about = {"arm": arm["title"], "kind": arm["kind"], "test": test, "model": found["model"], "verdict": "not made"}
    return {"keys": keys_of(arm, test), **about, "note": f"{arm['title']}: could not be made, {arm[NOT_MADE]}."}


def _draw(path: Path, found: Found) -> str | None:
    task = found["task"]
    compared = [arm for arm in arms(found) if arm["versus_reference"]]
    if not compared:
        return "No training set was compared with the real one."
    from synthmed.report.charts.task import draw_verdicts

    draw_verdicts(path, task, compared)
    return None


def _by_word(arms: list[dict]) -> dict[str, object]:
    """The arms, those with generated images (`made`), with these alone (`alone`), and of those that the answer is about
    (`judged`) the ones of each word, without a word (`open`), of one training (`once`) and of who knows how many
    (`elsewhere`); total: how many are judged, sources: of how many generators."""
    kinds = {name: [arm for arm in arms if arm["kind"] == kind] for name, kind in JUDGED.items()}
    judged = kinds["made"] or kinds["alone"]
    words = {
        name: [arm for arm in judged if arm["versus_reference"]["verdict"] == word] for name, word in WORDS.items()
    }
    made = {
        "once": [arm for arm in judged if arm["once"]],
        "elsewhere": [arm for arm in judged if arm["once"] is None],
        "total": len(judged),
        "sources": len({arm["generator"].of for arm in judged}),
    }
    return {"arms": arms, **kinds, "judged": judged, **words, **made}


SECTION = Section(
    link="Answer{{ '' if tasks == 1 else ': ' ~ task.title }}",
    title="Answer{{ '' if tasks == 1 else ': ' ~ task.title }}",
    each_task=True,
    exhibits=(
        Figure(
            "verdicts",
            "The main result. Effect of each training set on the {{ task.decides.title }} of the model, against "
            "training on real images only, with {{ (1 - task.alpha) | confidence }} intervals. Blue triangles: helps; "
            "grey circles: no evidence of a difference; orange triangles: harms{{ '; grey diamonds: no word is given' "
            "if wordless }}.",
            _draw,
        ),
        Table(
            "arms",
            "Every training set{{ '' if task.swap else ', tested on the same images' }}: mean over {{ task.seeds }} "
            "seeds with {{ (1 - task.alpha) | confidence }} interval{{ '; false positives and negatives are means over "
            "seeds' if binary }}. The verdict follows from the comparison with the real-only training set by p, which "
            "is adjusted over the arms that answer the same question (Holm); the interval is not, and may leave out 0 "
            "where the word is “no evidence of a difference”.{% if masks %} Masks are compared at {{ sizes.test }} "
            "pixels.{% endif %}{% if classes %} Measures that name no class are means over the classes{% if of_all %}, "
            "but {{ of_all | joined }} of all of them together{% endif %}. Below {{ classes | join('; ') }}: the "
            "difference from the real-only training set.{% endif %}{% if fidelity and masks %} Mask–image agreement: "
            "{{ agreement }} of the masks of generated images with what the model trained on real ones draws on them, "
            "at {{ sizes.test_small }} pixels.{% elif fidelity %} Label fidelity: share of generated images that the "
            "model trained on real ones takes for the class they claim.{% endif %}{% if limited %} Budget-limited: the "
            "best checkpoint lies in the last tenth of the steps in most trainings, so a longer training may change "
            "the word.{% endif %}",
            _rows,
            _columns,
        ),
    ),
)


@step("section-answer")
def section(
    settings: AnswerSettings,
    *,
    verdicts: Path,
    summary: Path,
    copies: list[Path],
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's answer to one task.

    verdicts, summary: of the task; copies: copy audits, which the answer sums up where they are given.
    """
    task = read_task(verdicts, settings.generators)
    shown = [arm for arm in task["arms"].values() if arm["kind"] in MAIN_ARMS]
    words = [arm["versus_reference"]["verdict"] for arm in shown if arm["versus_reference"]]
    chosen, of_masks = read_json(summary), task["kind"] == "segmentation"
    fidelity = label_fidelity(task, settings.generators)
    of_real = {name: real_fidelity(task, name) for name in fidelity}
    labelled = [name for name, entry in settings.generators.items() if {name, entry.of} & {*settings.pseudo_labelled}]
    found = {
        "task": task,
        "tasks": settings.tasks,
        "phantom": settings.phantom,
        "generators": settings.generators,
        "model": chosen["backbone"],
        "sizes": sizes_of_tests(chosen) if of_masks else {},
        "classes": [task["outcomes"][name]["title"] for name in by_class(task).values()],
        "of_all": of_all(task),
        "other_words": _at_the_networks_size(shown),
        "agreement": task["outcomes"][agreement(task)]["title"] if of_masks else "",
        "fidelity": fidelity,
        "of_real": of_real,
        "follows": FOLLOWS,
        "unlike": [
            settings.generators[name].title
            for name, labels in fidelity.items()
            if name not in labelled and unlike(labels["all"].value, of_real[name])
        ],
        "labelled": labelled,
        "audits": check_generators([read_result(path) for path in copies], settings.generators),
        "limited": [arm["title"] for arm in shown if arm["budget_limited"]],
        "wordless": None in words,
        "effect": effect,
    }
    found |= {"binary": binary(found), "masks": of_masks, **_by_word(list(task["arms"].values()))}
    found["of_classes"] = _of_single_classes(task, found["judged"])
    headline = environment(html=True).get_template("sections/answer.headline.html.j2")
    found["headline"] = Markup(headline.render(**found).strip())
    write_section(section, out, SECTION, found, document=document)
