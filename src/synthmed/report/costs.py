"""Time and memory of the generators of an experiment, and of all experiments: pages beside the logs, and CSVs.

They are read from what each step left beside its log (core/cost.py), so they are of the last run on this machine, and
of none where results came from elsewhere. They are no artefacts: nothing is made from them, and no two runs agree.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_csv, write_text
from synthmed.report.words import environment

COLUMNS = (
    *("experiment", "generator", "parameters", "trainings", "training_seconds", "training_memory"),
    *("training_gpu_memory", "samples", "sampling_seconds", "sampling_memory", "sampling_gpu_memory", "gpu", "note"),
)
"""Of costs.csv. parameters: learned, of all its networks; seconds: of all trainings together, and of all samples;
memory: MiB, the most of one process."""
ELSEWHERE = "not run on this machine, or its logs are gone"


@dataclass(frozen=True)
class GeneratorCosts:
    """Where the costs of one generator lie. The logs need not exist."""

    title: Annotated[str, Meta(description="Its name for people.")]
    networks: Annotated[str, Meta(description="JSON of `describe-networks`.")]
    trainings: Annotated[tuple[str, ...], Meta(description="Logs of its trainings.")]
    sampling: Annotated[str, Meta(description="Log of its sampling.")]
    samples: Annotated[int | None, Meta(description="Images that it gave; null: not known.")]


@dataclass(frozen=True)
class CostsSettings:
    """Where the costs of the generators of an experiment lie."""

    experiment: Annotated[str, Meta(description="Its name.")]
    generators: Annotated[tuple[GeneratorCosts, ...], Meta(description="In the order they are shown.")]


def costs(settings: CostsSettings, out: Path) -> None:
    """Write `out` (HTML, to be shown in the report) and the same as CSV beside it."""
    rows = [_row(settings.experiment, entry) for entry in settings.generators]
    _write([dict.fromkeys(COLUMNS) | row for row in rows], out)


def all_costs(parts: Sequence[Path], out: Path) -> None:
    """Join the CSVs of several experiments. Raises InputError on a file that is none of `costs`."""
    rows = []
    for path in parts:
        found = read_csv(path)
        if any(tuple(row) != COLUMNS for row in found):
            raise InputError(f"{path}: no costs of an experiment; run the pipeline again")
        rows += found
    _write(rows, out)


def _write(rows: Sequence[dict], out: Path) -> None:
    write_csv(out.with_suffix(".csv"), rows, COLUMNS)
    write_text(out, environment(html=True).get_template("costs.html.j2").render(rows=rows))


def _row(experiment: str, entry: GeneratorCosts) -> dict[str, object]:
    networks = read_json(Path(entry.networks))["networks"]
    training = [_cost(log) for log in entry.trainings]
    sampling = _cost(entry.sampling)
    whole = [cost for cost in training if cost]
    row = {
        "experiment": experiment,
        "generator": entry.title,
        "parameters": sum(layer["parameters"] for layers in networks.values() for layer in layers),
        "trainings": len(training),
        "samples": entry.samples,
        "gpu": next((cost["gpu"] for cost in (*whole, sampling or {}) if cost and cost["gpu"]), None),
        "note": "" if sampling and len(whole) == len(training) else ELSEWHERE,
    }
    if len(whole) == len(training):  # of some of the trainings, a sum would be too small
        row["training_seconds"] = round(sum(cost["seconds"] for cost in whole), 1)
        row |= {f"training_{name}": _most(whole, name) for name in ("memory", "gpu_memory")}
    if sampling:
        row["sampling_seconds"] = sampling["seconds"]
        row |= {f"sampling_{name}": sampling[name] for name in ("memory", "gpu_memory")}
    return row


def _cost(log: str) -> dict | None:
    path = Path(log).with_suffix(".cost.json")
    return read_json(path) if path.is_file() else None


def _most(found: Sequence[dict], name: str) -> float | None:
    return max((cost[name] for cost in found if cost[name] is not None), default=None)
