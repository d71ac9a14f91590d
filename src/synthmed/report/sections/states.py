"""Section "Over the training": distances by step, how far trainings differ, images of one mask at several steps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import check_one_each
from synthmed.core.settings import Count
from synthmed.core.step import Output, step
from synthmed.metrics.estimate import Estimate
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import GeneratorEntry, check_generators, read_result
from synthmed.report.section import write_section


@dataclass(frozen=True)
class StatesSettings:
    """Settings of `section-states`."""

    generators: Annotated[dict[str, GeneratorEntry], Meta(description="Those whose states were scored, in order.")]
    choose: Annotated[
        tuple[str, ...],
        Meta(description="Generators whose state with the lowest FID against the training images is used."),
    ]
    marks: Annotated[tuple[Count, ...], Meta(description="Steps that the figures mark, as a document names them.")]
    steps_shown: Annotated[
        tuple[Count, ...], Meta(min_length=1, description="Steps whose images are shown, each by the nearest state.")
    ]


def _grouped(settings: StatesSettings, results: list[dict]) -> dict[str, list[dict]]:
    """Title → results of the trainings that differ by their seed only; with their classes where those differ too."""
    several = len({tuple(result["labels"]) for result in results}) > 1
    groups: dict[str, list[dict]] = {}
    for result in results:
        title = settings.generators[result["generator"]].title
        if several:
            title += f" ({', '.join(result['labels'])})"
        groups.setdefault(title, []).append(result)
    return groups


def _curves(part: str):
    def draw(path: Path, found: Found) -> None:
        from synthmed.report.charts.states import draw_curves

        draw_curves(path, found["groups"], part, found["settings"].marks)

    return draw


def _draw_progress(path: Path, found: Found) -> None:
    from synthmed.report.charts.states import draw_progress

    draw_progress(path, found["pictures"], found["settings"].steps_shown)


def _second_half(results: list[dict]) -> np.ndarray:
    """FID against the training images (trainings, states) of the second half of the training."""
    values = np.array([[state["train"]["fid"].value for state in result["states"]] for result in results])
    return values[:, values.shape[1] // 2 :]


def _spread(results: list[dict]) -> Estimate:
    """How far trainings of one generator lie apart, in FID: the mean over states of their standard deviation."""
    if len(results) < 2:
        return Estimate.missing("one training; set repeats")
    return Estimate(float(_second_half(results).std(axis=0, ddof=1).mean()), None, None, len(results))


def _swing(results: list[dict]) -> Estimate:
    """How far one state lies from the next, in FID: the mean of the absolute differences."""
    values = _second_half(results)
    if values.shape[1] < 2:
        return Estimate.missing("one state in the second half; lower keep_every")
    return Estimate(float(np.abs(np.diff(values, axis=1)).mean()), None, None, values.shape[1])


def _over_trainings(values: list[Estimate]) -> Estimate:
    """Their mean; of several trainings without an interval, because how far these lie apart is a column of its own."""
    missing = [one for one in values if one.value is None]
    if missing or len(values) == 1:
        return (missing or values)[0]
    return Estimate(float(np.mean([one.value for one in values])), n=values[0].n)


def _best(result: dict) -> dict:
    """The state of a training that is nearest to the training images."""
    return min(result["states"], key=lambda state: state["train"]["fid"].value)


def _rows(found: Found) -> list[dict]:
    rows, settings = [], found["settings"]
    for title, results in found["groups"].items():
        first, entry = results[0], settings.generators[results[0]["generator"]]
        best = [_best(one) for one in results]
        steps, last = [state["step"] for state in best], [one["states"][-1] for one in results]
        for part, words in (("train", "training"), ("test", "test")):
            rows.append(
                {
                    "keys": tuple(f"{key}/{part}" for key in (first["generator"], *entry.keys)),
                    "generator": title,
                    "part": words,
                    "extractor": first["extractor"],
                    "n": first["n"],
                    "trainings": len(results),
                    "best": steps[0] if len(set(steps)) == 1 else ", ".join(f"{step:,}" for step in steps),
                    "used": "the best" if first["generator"] in settings.choose else "the last",
                    "last": last[0]["step"],
                    **{
                        f"{kind}_{name}": _over_trainings([state[part][name] for state in states])
                        for kind, states in (("best", best), ("last", last))
                        for name in ("fid", "fid_few", "kid")
                    },
                    **{f"floor_{name}": first["floor"][part][name] for name in ("fid", "fid_few", "kid")},
                    **({"spread": _spread(results), "swing": _swing(results)} if part == "train" else {}),
                }
            )
    return rows


def _columns(found: Found) -> list[Column]:
    few = next(iter(found["groups"].values()))[0]["few"]
    names = (("fid", "FID"), ("fid_few", f"FID of {few}"), ("kid", "KID"))
    return [
        Column("generator"),
        Column("part", "real images of"),
        Column("extractor", once="Features of {}."),
        Column("n", "images of a state", once="Images of a state: {}."),
        Column("trainings"),
        Column("best", "best step"),
        Column("last", "last step", page=False),
        Column("used", "state used"),
        *(
            Column(f"last_{name}", title, interval=True, below=(("best", f"best_{name}"), ("floor", f"floor_{name}")))
            for name, title in names
        ),
        *(Column(f"{kind}_{name}", interval=True, page=False) for kind in ("best", "floor") for name, _ in names),
        Column("spread", "between trainings", interval=True),
        Column("swing", "between states", interval=True),
    ]


_WHAT = (
    "Distances of the images of each kept state from the real {part} images{masks}. "
    "Dashed: the same between real images of both parts, as many. Of several trainings the mean, with a band from "
    "the lowest to the highest. {{% if marks %}}Dotted: {{{{ marks | joined }}}} steps.{{% endif %}}"
)

_PAINTED = "{{% if painted %}}, {} where it needs such{{% endif %}}"

SECTION = Section(
    link="Over the training",
    title="How good are the images after how many steps?",
    exhibits=(
        Figure("train", _WHAT.format(part="training", masks=_PAINTED.format("of their masks")), _curves("train")),
        Figure(
            "test", _WHAT.format(part="test", masks=_PAINTED.format("of masks that it has not seen")), _curves("test")
        ),
        Figure(
            "progress",
            "Images of {% if painted %}{{ rows | counted('mask', 'masks') }} of the test part{% if unpainted %}, or of "
            "{% endif %}{% endif %}{% if unpainted %}{{ rows | counted('draw', 'draws') }} of noise{% endif %}, at "
            "several steps of the first training.",
            _draw_progress,
        ),
        Table(
            "states",
            "Distances after the last step; below them {% if other_best %}those of the state that is nearest to the "
            "training images (best, in each training its own), and {% endif %}the floor.{% if several %} Of several "
            "trainings the means. Between trainings: the standard deviation of the FID over trainings, of the second "
            "half of the training, against the training images.{% endif %}{% if swings %} Between states: the mean "
            "difference of the FID of one state from that of the next, of the same half{{ '' if several else ', the "
            "second, against the training images' }}.{% endif %}",
            _rows,
            _columns,
        ),
    ),
)


@step("section-states")
def section(
    settings: StatesSettings,
    *,
    scores: list[Path],
    pictures: list[Path],
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on the training.

    scores: of `score-states`, for each training; pictures: of the first training of each generator, in their order.
    """
    check_one_each(settings.generators, pictures=pictures)
    results = check_generators([read_result(path) for path in scores], settings.generators)
    shown = [
        (entry.title, dict(np.load(path))) for entry, path in zip(settings.generators.values(), pictures, strict=True)
    ]
    groups = _grouped(settings, results)
    found = {
        "settings": settings,
        "groups": groups,
        "several": any(len(group) > 1 for group in groups.values()),
        "swings": any(_swing(group).value is not None for group in groups.values()),
        "other_best": any(_best(one) is not one["states"][-1] for one in results),
        "pictures": shown,
        "marks": [f"{mark:,}" for mark in settings.marks],
        "chosen": [settings.generators[name].title for name in settings.choose],
        "painted": any("masks" in arrays for _, arrays in shown),
        "unpainted": any("masks" not in arrays for _, arrays in shown),
        "rows": max(arrays["images"].shape[1] for _, arrays in shown),
        "few": results[0]["few"],
        "n": results[0]["n"],
    }
    write_section(section, out, SECTION, found, document=document)
