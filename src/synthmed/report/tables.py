"""What tables of several sections have in common: the cells of a verdict, pairs of arms, the second test."""

from collections.abc import Mapping, Sequence

from synthmed.core.known import SECOND
from synthmed.report.exhibits import Column
from synthmed.report.words import p_value, signed


def versus_cells(task: Mapping, versus: Mapping) -> dict[str, object]:
    """Cells of a comparison: `versus_reference` of an arm, or a pair of `against` or `comparisons` (see compare)."""
    return {
        "difference": versus["outcomes"][task["outcome"]]["difference"],
        "p_holm": versus["p_holm"],
        "verdict": versus["verdict"],
        "equivalent": "yes" if versus["equivalent"] else "no",
        "note": versus["reason"],
    }


def verdict_columns(task: Mapping, difference: str) -> list[Column]:
    """Columns of versus_cells; difference: header of the first."""
    return [
        Column("difference", difference, signed, interval=True),
        Column("p_holm", "p (Holm)", p_value),
        Column("verdict"),
        Column("equivalent", f"within ±{task['margin']:g}"),
    ]


def against_rows(task: Mapping, arm: str) -> list[dict]:
    """A row for each pair of `against` (see compare): the first arm, in the column `arm`, the `placebo` that it is held
    against, and what was found of their difference."""
    return [
        {
            arm: task["arms"][pair["names"][1]]["title"],
            "placebo": task["arms"][pair["names"][0]]["title"],
            **versus_cells(task, pair),
        }
        for pair in task["against"]
    ]


def second_test_rows(task: Mapping, arms: Sequence[str], arm: str) -> list[dict]:
    """Outcomes of the `arms` on the second test, where there is one: a row each, with its title in the column `arm`."""
    tested = {name: task["arms"][name] for name in arms if SECOND in task["arms"][name]["tests"]}
    return [
        {"keys": (name,), arm: entry["title"], **entry["tests"][SECOND]["outcomes"]} for name, entry in tested.items()
    ]


def outcome_columns(task: Mapping, shown: Sequence[str]) -> list[Column]:
    """All outcomes of a task; those that are not `shown` are left to the CSV."""
    return [Column(name, entry["title"], interval=True, page=name in shown) for name, entry in task["outcomes"].items()]
