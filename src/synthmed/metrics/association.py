"""Whether two numbers of the same things go together, where only things of one group can be compared."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import permutations, product
from math import factorial, prod

import numpy as np

from synthmed.core.errors import InputError
from synthmed.metrics.estimate import Estimate

LEAST_PAIRS = 6
"""Fewer pairs get no interval."""
MOST_ORDERS = 10_000
"""As many orders are all looked at; of more, so many are drawn."""


@dataclass(frozen=True)
class Association:
    """tau: −1 to 1, with a percentile interval; n: pairs of units that differ in both numbers somewhere. p: two-sided,
    None where no order but the one that was found is possible. units: how many stand in one of these pairs."""

    tau: Estimate
    p: float | None
    units: int


def kendall(
    first: Sequence[float],
    second: Sequence[float],
    groups: Sequence[str],
    units: Sequence[str],
    *,
    level: float,
    resamples: int,
    rng: np.random.Generator,
) -> Association:
    """Kendall's τ-b (Kendall 1945) of pairs of units within groups.

    first, second: (N,) finite; groups: (N,), only pairs of one group are counted; units: (N,), the things that chance
    is in, each of which may stand in several groups. With one group and a unit for each number tau is
    `scipy.stats.kendalltau`. p: how often |τ| is as large when units that stand in the same groups exchange their
    `first` numbers, in all orders, or in MOST_ORDERS drawn ones where there are more. The interval draws units with
    replacement within their groups; there is none of fewer than LEAST_PAIRS pairs, nor where all draws agree: of a
    perfect order every draw is perfect, however few there are. No value where no pair differs in both. Raises
    InputError on other lengths.
    """
    values = [np.asarray(one, dtype=float) for one in (first, second)]
    of_group, of_unit = (np.unique(np.asarray(names), return_inverse=True)[1] for names in (groups, units))
    if len({len(one) for one in (*values, of_group, of_unit)}) > 1:
        raise InputError("first, second, groups and units must be of one length")
    signs = [np.sign(one[:, None] - one[None]) for one in values]
    together = np.triu(of_group[:, None] == of_group[None], 1) & (of_unit[:, None] != of_unit[None])
    found = _tau(signs, together.astype(float))
    if found is None:
        return Association(Estimate.missing("no two of them differ in both", 0), None, 0)
    differing = np.argwhere(together & (signs[0] != 0) & (signs[1] != 0))
    pairs = {tuple(sorted(pair)) for pair in of_unit[differing].tolist()}
    low, high, reason = _interval(signs, together, of_group, of_unit, len(pairs), level, resamples, rng)
    p = _permutation_p(signs, together, of_group, of_unit, rng)
    return Association(Estimate(found, low, high, len(pairs), reason), p, len({one for pair in pairs for one in pair}))


def _tau(signs: Sequence[np.ndarray], weights: np.ndarray) -> float | None:
    both = (weights * signs[0] * signs[1]).sum()
    sizes = [(weights * one.astype(bool)).sum() for one in signs]
    return None if 0 in sizes else float(both / np.sqrt(sizes[0] * sizes[1]))


# --------------------------------------------------------------------------------------------------------- permutation
def _permutation_p(
    signs: Sequence[np.ndarray],
    together: np.ndarray,
    of_group: np.ndarray,
    of_unit: np.ndarray,
    rng: np.random.Generator,
) -> float | None:
    """Within a group numbers only change places, so ties stay as many: the numerator of τ says all."""
    alike: dict[tuple, list[np.ndarray]] = {}
    for unit in range(of_unit.max() + 1):
        places = np.flatnonzero(of_unit == unit)
        places = places[np.argsort(of_group[places], kind="stable")]
        alike.setdefault(tuple(of_group[places].tolist()), []).append(places)
    blocks = [np.stack(block) for block in alike.values() if len(block) > 1]  # (units, numbers of each)
    count = prod(factorial(len(block)) for block in blocks)
    if count == 1:
        return None
    one, other = np.nonzero(together)
    weights = signs[1][one, other]
    least = abs(signs[0][one, other] @ weights) - 0.5  # sums of signs are whole numbers
    as_large, places = 0, np.arange(len(of_unit))
    for orders in _orders([len(block) for block in blocks], count, rng):
        for block, order in zip(blocks, orders, strict=True):
            places[block] = block[list(order)]
        as_large += bool(abs(signs[0][places[one], places[other]] @ weights) > least)
    return as_large / count if count <= MOST_ORDERS else (1 + as_large) / (1 + MOST_ORDERS)


def _orders(sizes: Sequence[int], count: int, rng: np.random.Generator) -> Iterator[Sequence[Sequence[int]]]:
    if count <= MOST_ORDERS:
        yield from product(*(permutations(range(size)) for size in sizes))
    else:
        for _ in range(MOST_ORDERS):
            yield [rng.permutation(size) for size in sizes]


# ----------------------------------------------------------------------------------------------------------- bootstrap
def _interval(
    signs: Sequence[np.ndarray],
    together: np.ndarray,
    of_group: np.ndarray,
    of_unit: np.ndarray,
    pairs: int,
    level: float,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[float | None, float | None, str | None]:
    """Its ends, or why there is none."""
    if pairs < LEAST_PAIRS:
        return None, None, f"no interval of {pairs} pair{'s'[: pairs != 1]}; {LEAST_PAIRS} are needed"
    drawn, blocks = [], _blocks(of_group, of_unit)
    for _ in range(resamples):
        times = _times(blocks, of_unit, rng)
        # Copies of one thing tie with one another in both, and count nowhere.
        value = _tau(signs, together * times[:, None] * times[None])
        if value is not None:
            drawn.append(value)
    if np.ptp(drawn) < 1e-9:
        return None, None, "no interval: whatever is drawn, the order is the same"
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high), None


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
