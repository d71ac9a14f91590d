"""What the copy audit says: the word and its reason, suspects, and how often planted copies are found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from synthmed.evaluation.copy_design import Design
from synthmed.metrics import copies as metrics
from synthmed.metrics.classification import share_estimate
from synthmed.metrics.estimate import Estimate

COPIES, NEARER, NONE = "copies", "nearer to training", "none found"
"""Words of the alarm."""
SHARED = "all sets are drawn from the same held-out images"
"""Why shares of planted sets have no interval."""


@dataclass(frozen=True)
class Space:
    """What was found in one space.

    ratios: of all queries of the design; own: float (Q,), distance to the patient left out; floor: distance up to which
    images count as the same; measure: of the real images; comparable: p value of metrics.same_population.
    """

    ratios: metrics.Ratios
    own: np.ndarray
    floor: float
    measure: metrics.Yardstick
    comparable: float

    def suspects(self, rows: slice | np.ndarray) -> np.ndarray:
        """Which of some queries are suspects: bool."""
        return self.ratios.log[0, rows] < self.measure.threshold

    def nearest_origin(self, rows: slice) -> np.ndarray:
        """Which of some queries lie nearer to the patient left out than to any other training image: bool."""
        return self.own[rows] < self.ratios.distance[rows]


@dataclass(frozen=True)
class Rule:
    """alpha: chance of an alarm for a set without copies; shares, sets: of planted copies; level: of the intervals."""

    alpha: float
    shares: tuple[float, ...]
    sets: int
    level: float
    seed: int


def p_values(spaces: Mapping[str, Space], design: Design, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """p values (spaces, tests, S) of S sets of images, by Bonferroni over spaces and tests.

    rows: the queries; weights: int (len(rows), S), how often each is in each set. Where training and held-out images
    are of different kinds (p ≤ 0.01), swapping them tests nothing, and those p are 1.
    """
    found = []
    for space in spaces.values():
        ratios = space.ratios.take(rows)
        p = metrics.judge(ratios, design.patients[ratios.nearest], space.measure, weights)
        if not comparable(spaces):
            p[:2] = 1
        found.append(p)
    return np.minimum(1, np.stack(found) * len(found) * len(metrics.TESTS))


def comparable(spaces: Mapping[str, Space]) -> bool:
    """Whether training and held-out images can be taken as of one kind."""
    return min(space.comparable for space in spaces.values()) > 0.01


def detection(spaces: Mapping[str, Space], design: Design, rule: Rule, same: np.ndarray) -> dict:
    """How often the audit raises an alarm for sets like the generated one with planted copies of each kind.

    The alarm is that of alarm(): a test, or an image that equals a training image. same: bool, which of the planted
    copies do. A set has as many images as the generated one, a share of them copies, the others held-out images (each
    with its own patient left out); where there are fewer of these, as many as there are, because images that repeat are
    no larger set. `copies`: how many, of each of the rule's shares, `shares`: what share that is; those that are alike
    stand once. `sets_found`: one for each of them; `false_alarms`: sets without copies, of at most half of the held-out
    images (`honest`), so that they differ. No intervals: all sets are drawn from the same images. `images_found`: share
    of the copies that are suspects. `changed`: of the sets with most copies, those of kinds that equal no training
    image, how many there are and how many are found; None without such a kind.
    """
    honest = np.arange(design.rows["held_out"].start, design.rows["held_out"].stop)
    double = [metrics.twice(space.ratios.take(honest), space.floor) for space in spaces.values()]
    honest = honest[~np.any(double, axis=0)]
    generated = design.rows["fake"].stop
    size, half = (max(1, min(generated, count)) for count in (len(honest), len(honest) // 2))
    counts = sorted({metrics.planted(share, size) for share in rule.shares})

    def alarms(copies: np.ndarray, count: int, size: int) -> Estimate:
        weights = metrics.spiked(len(honest), len(copies), size, count, rule.sets, rule.seed)
        p = p_values(spaces, design, np.concatenate([honest, copies]), weights)
        equal = weights[len(honest) :][same[copies - design.rows["planted"].start]].any(axis=0)
        return Estimate(float(((p.min(axis=(0, 1)) <= rule.alpha) | equal).mean()), n=rule.sets, reason=SHARED)

    kinds, changed = [], []
    for kind, copies in design.kinds.items():
        found = np.any([space.suspects(copies) for space in spaces.values()], axis=0)
        sets_found = [alarms(copies, count, size) for count in counts]
        if not same[copies - design.rows["planted"].start].all():
            changed.append(sets_found[-1].value)
        kinds.append(
            {
                "kind": kind,
                "images_found": share_estimate(found.sum(), len(found), rule.level).to_json(),
                "sets_found": [one.to_json() for one in sets_found],
            }
        )
    return {
        "images": size,
        "generated": generated,
        "honest": half,
        "shares": [count / size for count in counts],
        "copies": counts,
        "sets": rule.sets,
        "false_alarms": alarms(honest[:0], 0, half).to_json(),
        "kinds": kinds,
        "changed": {"sets": rule.sets * len(changed), "found": round(rule.sets * sum(changed))} if changed else None,
    }


def detection_limit(found: Mapping, noun: str) -> str:
    """The detection in words; noun: what the sets are of."""
    said = []
    for number, share in enumerate(found["shares"]):
        listed = [
            f"{kind['kind']} {round(kind['sets_found'][number]['value'] * found['sets'])}" for kind in found["kinds"]
        ]
        count = found["copies"][number]
        copies = f"{count:,} copies of training {noun}s" if count > 1 else f"1 copy of a training {noun}"
        said.append(
            f"Of {found['sets']} sets of {found['images']:,} {noun}s with {copies} ({100 * share:.2g} %), the audit "
            f"finds: {', '.join(listed)}."
        )
    if found["images"] < found["generated"]:
        said.append(
            f"No more held-out {noun}s are there to fill sets with; the generated set has {found['generated']:,}."
        )
    return " ".join(said)


def alarm(
    spaces: Mapping[str, Space], p: np.ndarray, design: Design, identical: np.ndarray, alpha: float, noun: str
) -> dict:
    """The word of the audit and its reason.

    p: (spaces, tests), adjusted, of the generated set; identical: bool, which of its images equal a training
    image, those that are no queries among them; noun: what the set is of.
    """
    fake = design.rows["fake"]
    reasons = []
    if identical.any():
        reasons.append(f"{identical.sum():,} of {len(identical):,} {noun}s equal a training {noun}, pixel by pixel")
    if p[:, 1:].min() <= alpha:
        name, value = _smallest(spaces, p[:, 1:].min(axis=1))
        reasons.append(_suspects_in_words(name, spaces[name], fake, value, noun))
    if reasons:
        return {"word": COPIES, "reason": "; ".join(reasons)}
    if p[:, 0].min() <= alpha:
        name, value = _smallest(spaces, p[:, 0])
        typical = float(np.exp(spaces[name].ratios.log[0, fake].mean()))
        reason = (
            f"by {name} the set as a whole lies nearer to the training patients than to held-out ones (mean ratio of "
            f"distances {typical:.3f}, {_p(value)}), though no {noun} stands out: the generator fits its training "
            f"{noun}s closely, or hands out parts of them"
        )
        return {"word": NEARER, "reason": reason}
    reason = f"no test of the set reaches p ≤ {alpha:g} (smallest {p.min():.2g}, adjusted)"
    if not comparable(spaces):
        reason += (
            f"; held-out {noun}s are of another kind than training {noun}s, so single {noun}s were judged, not whether "
            "the set as a whole lies nearer to the training patients"
        )
    return {"word": NONE, "reason": reason}


def _smallest(spaces: Mapping[str, Space], p: np.ndarray) -> tuple[str, float]:
    place = int(p.argmin())
    return list(spaces)[place], float(p[place])


def _suspects_in_words(name: str, space: Space, fake: slice, p: float, noun: str) -> str:
    smallest = float(np.exp(space.ratios.log[0, fake].min()))
    return (
        f"by {name} {space.suspects(fake).sum():,} of {fake.stop:,} {noun}s are nearer to a training {noun} than real "
        f"{noun}s of other patients are, {space.measure.expected * fake.stop:.1f} are expected by chance; the smallest "
        f"ratio of distances (nearest training {noun} over nearest held-out {noun}) is {smallest:.2f} ({_p(p)})"
    )


def _p(value: float) -> str:
    return f"p = {value:.2g}" if value >= 0.001 else "p < 0.001"


def by_space(spaces: Mapping[str, Space], p: np.ndarray, design: Design, level: float) -> dict:
    """Numbers of each space: tests with adjusted p, ratios, suspects; p: (spaces, tests)."""
    fake = design.rows["fake"]
    found = {}
    for number, (name, space) in enumerate(spaces.items()):
        suspects = space.suspects(fake)
        found[name] = {
            "limit": float(np.exp(space.measure.threshold)),
            "suspects": int(suspects.sum()),
            "suspect_share": share_estimate(suspects.sum(), len(suspects), level).to_json(),
            "expected_share": space.measure.expected,
            "mean_ratio": float(np.exp(space.ratios.log[0, fake].mean())),
            "smallest_ratio": float(np.exp(space.ratios.log[0, fake].min())),
            "p": dict(zip(metrics.TESTS, p[number].tolist(), strict=True)),
            "p_smallest": float(p[number].min()),
            "p_comparable": space.comparable,
            "origin_identity": origin_identity([space], design, level),
        }
    return found


def origin_identity(spaces: Sequence[Space], design: Design, level: float) -> dict | None:
    """How often the nearest training image of a translated one is of the patient it was made from, in any of `spaces`.

    None where no image was translated from a training image.
    """
    fake = design.rows["fake"]
    translated = design.left_out[fake] >= 0
    nearest = np.any([space.nearest_origin(fake) for space in spaces], axis=0)[translated]
    return share_estimate(nearest.sum(), len(nearest), level).to_json() if len(nearest) else None


def origin_chance(spaces: Sequence[Space], design: Design) -> float | None:
    """What origin_identity() is at most, on average, where any training image is the nearest by chance."""
    own = design.left_out[design.rows["fake"]]
    own = own[own >= 0]
    share = (
        np.bincount(design.patients[design.training[0]], minlength=own.max(initial=0) + 1) / design.training[0].sum()
    )
    return float((1 - (1 - share[own]) ** len(spaces)).mean()) if len(own) else None


def closest_pairs(
    spaces: Mapping[str, Space], names: Mapping[str, Sequence[str]], identical: np.ndarray, count: int
) -> list[dict]:
    """The `count` generated images with the smallest ratio over its limit, in the space where that is smaller.

    Each with the nearest training image (never of the patient it was translated from) in either space. names: of the
    training images, and of the generated ones that are queries; identical: bool, which of these equal a training image.
    """
    fake = slice(len(names["fake"]))
    below = np.min([space.ratios.log[0, fake] - space.measure.threshold for space in spaces.values()], axis=0)
    found = []
    for row in np.argsort(below, kind="stable")[:count].tolist():
        pair = {"image": names["fake"][row], "suspect": bool(below[row] < 0)}
        pair["identical"] = bool(identical[row])
        for name, space in spaces.items():
            pair[name] = {
                "nearest": names["train"][int(space.ratios.nearest[row])],
                "distance": float(space.ratios.distance[row]),
                "held_out_distance": float(space.ratios.held_out[row]),
                "ratio": float(np.exp(space.ratios.log[0, row])),
                "limit": float(np.exp(space.measure.threshold)),
            }
        found.append(pair)
    return found
