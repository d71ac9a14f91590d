"""Whether two numbers of the same things go together, where only things of one group can be compared."""

from collections.abc import Sequence

import numpy as np

from synthmed.core.errors import InputError
from synthmed.metrics.estimate import Estimate

LEAST_PAIRS = 6
"""Fewer pairs get no interval."""


def kendall(
    first: Sequence[float],
    second: Sequence[float],
    groups: Sequence[str],
    units: Sequence[str],
    *,
    level: float,
    resamples: int,
    rng: np.random.Generator,
) -> Estimate:
    """Kendall's τ-b (Kendall 1945) of pairs within groups: −1 to 1, with a percentile interval; n: untied pairs.

    first, second: (N,) finite; groups: (N,), only pairs of one group are counted; units: (N,), which are drawn with
    replacement within their groups for the interval (things of one unit are drawn together). With one group it is
    `scipy.stats.kendalltau`. No value where no pair differs in both. Raises InputError on other lengths.
    """
    values = [np.asarray(one, dtype=float) for one in (first, second)]
    of_group, of_unit = (np.unique(np.asarray(names), return_inverse=True)[1] for names in (groups, units))
    if len({len(one) for one in (*values, of_group, of_unit)}) > 1:
        raise InputError("first, second, groups and units must be of one length")
    signs = [np.sign(one[:, None] - one[None]) for one in values]
    together = np.triu(of_group[:, None] == of_group[None], 1)
    found = _tau(signs, together.astype(float))
    pairs = int((together & (signs[0] != 0) & (signs[1] != 0)).sum())
    if found is None:
        return Estimate.missing("no two of them differ in both", 0)
    if pairs < LEAST_PAIRS:
        return Estimate(found, n=pairs, reason=f"no interval of {pairs} pairs; {LEAST_PAIRS} are needed")
    drawn, blocks = [], _blocks(of_group, of_unit)
    for _ in range(resamples):
        times = _times(blocks, of_unit, rng)
        # Copies of one thing tie with one another in both, and count nowhere.
        value = _tau(signs, together * times[:, None] * times[None])
        if value is not None:
            drawn.append(value)
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return Estimate(found, float(low), float(high), pairs)


def _tau(signs: Sequence[np.ndarray], weights: np.ndarray) -> float | None:
    both = (weights * signs[0] * signs[1]).sum()
    sizes = [(weights * one.astype(bool)).sum() for one in signs]
    return None if 0 in sizes else float(both / np.sqrt(sizes[0] * sizes[1]))


def _times(blocks: Sequence[np.ndarray], of_unit: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """How often each thing is drawn, when the units of each group are drawn with replacement: (N,)."""
    count = np.zeros(of_unit.max() + 1)
    for group in blocks:
        count[group] = rng.multinomial(len(group), np.full(len(group), 1 / len(group)))
    return count[of_unit]


def _blocks(of_group: np.ndarray, of_unit: np.ndarray) -> list[np.ndarray]:
    """The units of each group, where each unit is counted with the first group that it stands in."""
    found, seen = [], np.zeros(of_unit.max() + 1, dtype=bool)
    for group in range(of_group.max() + 1):
        units = np.unique(of_unit[of_group == group])
        own = units[~seen[units]]
        seen[own] = True
        if len(own):
            found.append(own)
    return found
