"""How often the verdict is wrong where the truth is known, on made-up scores: the rule as it is, and as it was before.

    python benchmarks/verdict_level.py [--datasets 500] [--table level power]

Prints the tables of docs/verdict.md, all or those named: level, outcomes, power, equivalence, generator, intervals,
readers. Every data set is judged twice: by `readers_test`, and by "before", which is the same test with the patients'
variance G/(G − 1) and degrees of freedom for the seeds only (Hillis 2007). ± is one Monte-Carlo standard error. 500
data sets take about 15 minutes of one core.

Scores: a case's own difficulty (variance 0.7), what an arm makes of it (0.1), what a training makes of it (0.2), and
the distance of the classes, of which each training has its own (standard deviation `seed_sd`).
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from common import machine
from scipy import special

from synthmed.metrics import outcomes
from synthmed.metrics.outcomes import Measured
from synthmed.metrics.statistics import SeedTest, equivalence_p, holm, mean_estimate, paired, readers_test
from synthmed.metrics.verdict import FEWEST_SEEDS

WEAK, MEDIUM, STRONG = 0.05, 0.2, 0.6
ALPHA, MARGIN = 0.05, 0.02


def before(measured: Measured, contrast: np.ndarray) -> SeedTest:
    """The test as it was: every patient with the factor G/(G − 1), no degrees of freedom for patients."""
    measured = replace(measured, leverage=1 / measured.peers())
    found, d = readers_test(measured, contrast, level=1 - ALPHA), contrast @ measured.estimates
    between = d.var(ddof=1) / len(d)
    if found.error == 0 or between == 0:
        return found
    degrees = min(1e6, (len(d) - 1) * (found.error**2 / between) ** 2)
    return replace(found, p=float(2 * special.stdtr(degrees, -abs(found.difference) / found.error)), degrees=degrees)


def now(measured: Measured, contrast: np.ndarray) -> SeedTest:
    return readers_test(measured, contrast, level=1 - ALPHA)


# ------------------------------------------------------------------------------------------------------ made-up scores
def cluster_sizes(kind: str, patients: int, rng: np.random.Generator) -> np.ndarray:
    """Images of each patient: one; geometric with mean 3; or heavy-tailed, a few patients with most of them."""
    if kind == "one":
        return np.ones(patients, dtype=int)
    if kind == "geometric":
        return rng.geometric(1 / 3, patients)
    return np.minimum(np.ceil(2 * rng.pareto(1.1, patients)), 80).astype(int) + 1


def two_classes(positives: int, negatives: int, kind: str, mixed: int, rng: np.random.Generator) -> tuple:
    """Labels, bool, and patients of each image; mixed: further patients with images of both classes."""
    count = positives + negatives + mixed
    patients = np.repeat(np.arange(count), cluster_sizes(kind, count, rng))
    positive = patients < positives
    both = patients >= positives + negatives
    return np.where(both, rng.random(len(patients)) < 0.5, positive), patients


def scores_of(
    shape: np.ndarray, patients: np.ndarray, distances: Sequence[float], seeds: int, seed_sd: float, rng
) -> np.ndarray:
    """Scores (arms · seeds, N); shape (N,): what the distance of an arm is multiplied with. Half of a case's chance is
    its patient's, where patients have several images."""
    arms, n, groups = len(distances), len(patients), int(patients.max()) + 1
    several = groups < n
    shared, own = (np.sqrt(0.5) if several else 1.0), (np.sqrt(0.5) if several else 0.0)

    def chance(*size: int) -> np.ndarray:
        of_case = rng.standard_normal((*size, n))
        return own * of_case + shared * rng.standard_normal((*size, groups))[..., patients] if several else of_case

    quality = np.asarray(distances)[:, None] + seed_sd * rng.standard_normal((arms, seeds))
    scores = (
        np.sqrt(0.7) * chance() + np.sqrt(0.1) * chance(arms, 1) + np.sqrt(0.2) * rng.standard_normal((arms, seeds, n))
    )
    return (scores + quality[:, :, None] * shape).reshape(arms * seeds, n)


def distance(area: float, seed_sd: float) -> float:
    """Distance of the classes at which the area under the curve is `area` on average."""
    return float(special.ndtri(area) * np.sqrt(2 + seed_sd**2))


def tests_of(measured: Measured, seeds: int, test: Callable) -> list[SeedTest]:
    """Every arm against the first."""
    arms, contrast = len(measured.estimates) // seeds, paired(seeds)
    first = np.arange(seeds)
    return [test(measured.of(np.r_[first, arm * seeds + first]), contrast) for arm in range(1, arms)]


# -------------------------------------------------------------------------------------------------------------- tables
def percent(hits: Sequence[bool]) -> str:
    rate = np.mean(hits)
    return f"{100 * rate:.1f} ± {100 * np.sqrt(rate * (1 - rate) / len(hits)):.1f}"


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print(f"\n{title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(row)} |", flush=True)


def helps(tests: Sequence[SeedTest]) -> tuple[bool, bool]:
    """Whether the first arm helps before the adjustment, and whether any does after it."""
    adjusted = holm([test.p for test in tests])
    one = tests[0].difference > 0 and tests[0].p <= ALPHA
    return one, any(p <= ALPHA and test.difference > 0 for p, test in zip(adjusted, tests, strict=True))


def level(datasets: int, rng: np.random.Generator) -> None:
    """False helps of arms without effect."""
    designs = [
        *((f"50 + 50, {name} seeds, S = {s}", 50, 50, "one", 0, 0.78, sd, s) for name, sd in
          (("weak", WEAK), ("strong", STRONG)) for s in (2, 3, 5, 10)),
        *((f"{n} + {n}, medium seeds, S = {s}", n, n, "one", 0, 0.78, MEDIUM, s) for n in (50, 216) for s in (5, 10)),
        *((f"{m} + {n}, medium seeds, S = 5", m, n, "one", 0, 0.78, MEDIUM, 5) for m, n in ((2, 20), (3, 30), (5, 50))),
        *((f"50 + 50, AUROC {a}, S = 5", 50, 50, "one", 0, a, MEDIUM, 5) for a in (0.95, 0.99, 0.999)),
        *((f"{n} + {n} patients, geometric", n, n, "geometric", 0, 0.78, MEDIUM, 5) for n in (20, 8)),
        *((f"{n} + {n} patients, heavy-tailed", n, n, "heavy", 0, 0.78, MEDIUM, 5) for n in (30, 10)),
        ("8 + 8 patients and 15 of both classes, heavy-tailed", 8, 8, "heavy", 15, 0.78, MEDIUM, 5),
    ]  # fmt: skip
    rows = []
    for title, m, n, kind, mixed, area, sd, seeds in designs:
        found = {test: [] for test in (before, now)}
        for _ in range(datasets):
            positive, patients = two_classes(m, n, kind, mixed, rng)
            scores = scores_of(positive, patients, [distance(area, sd)] * 6, seeds, sd, rng)
            measured = outcomes.area_under_curve(scores, positive, patients)
            for test, results in found.items():
                results.append(helps(tests_of(measured, seeds, test)))
        cells = [percent(np.array(results)[:, k]) for results in found.values() for k in (0, 1)]
        rows.append([title, *cells] if seeds >= FEWEST_SEEDS else [title, *cells[:2], "no word", "no word"])
    columns = ["design", "one arm, before", "any of 5, before", "one arm, now", "any of 5, now"]
    print_table("False *helps*, % (nominal: at most 2.5)", columns, rows)


def outcome_level(datasets: int, rng: np.random.Generator) -> None:
    """Two-sided type I of each kind of outcome, one arm."""

    def of_patients(kind: str, count: int, weigh_equally: bool) -> Callable:
        def draw(seeds: int, sd: float) -> Measured:
            patients = np.repeat(np.arange(count), cluster_sizes(kind, count, rng))
            scores = scores_of(np.ones(len(patients)), patients, [0, 0], seeds, sd, rng)
            if weigh_equally:
                return outcomes.mean_of_patients(scores, None, patients, 0, bounds=(-np.inf, np.inf))
            return replace(outcomes.mean_of_cases(scores, patients), bounds=(-np.inf, np.inf))

        return draw

    def area(kind: str, count: int) -> Callable:
        def draw(seeds: int, sd: float) -> Measured:
            positive, patients = two_classes(count, count, kind, 0, rng)
            return outcomes.area_under_curve(
                scores_of(positive, patients, [1.1, 1.1], seeds, sd, rng), positive, patients
            )

        return draw

    def balanced(count: int) -> Callable:
        shares = np.array([0.4, 0.2, 0.15, 0.1, 0.08, 0.04, 0.03])

        def draw(seeds: int, sd: float) -> Measured:
            labels = np.r_[np.repeat(np.arange(7), 2), rng.choice(7, count - 14, p=shares)]
            right = scores_of(np.ones(count), np.arange(count), [0.6, 0.6], seeds, sd, rng) > 0
            return outcomes.balanced_accuracy(np.where(right, labels, 7), labels, np.arange(count), 0)

        return draw

    def reidentified(count: int) -> Callable:
        def draw(seeds: int, sd: float) -> Measured:
            patients = np.repeat(np.arange(count), 4)
            right = scores_of(np.ones(len(patients)), patients, [0.3, 0.3], seeds, sd, rng) > 0
            return outcomes.mean_of_patients(right, None, patients, 0)

        return draw

    designs = [
        *((f"Dice, {n} patients", of_patients("geometric", n, True), 5, WEAK) for n in (20, 60, 200)),
        *((f"Dice, 60 patients, strong seeds, S = {s}", of_patients("geometric", 60, True), s, STRONG)
          for s in (3, 5, 10)),
        ("mean of images, 10 heavy-tailed patients", of_patients("heavy", 10, False), 5, WEAK),
        ("the same, patients weigh equally", of_patients("heavy", 10, True), 5, WEAK),
        ("AUROC, heavy-tailed 10 + 10", area("heavy", 10), 5, WEAK),
        ("AUROC, heavy-tailed 30 + 30", area("heavy", 30), 5, WEAK),
        ("AUROC, equal 50 + 50", area("one", 50), 5, WEAK),
        *((f"balanced accuracy of 7 classes, {n} patients", balanced(n), 5, WEAK) for n in (150, 400)),
        ("re-identification, 30 patients", reidentified(30), 5, WEAK),
    ]  # fmt: skip
    rows = []
    for title, draw, seeds, sd in designs:
        p = np.array(
            [
                [test(measured, paired(seeds)).p for test in (before, now)]
                for measured in (draw(seeds, sd) for _ in range(2 * datasets))
            ]
        )
        rows.append([title, *(percent(p[:, k] <= ALPHA) for k in (0, 1))])
    print_table("Two-sided type I, one arm, % (nominal 5); S = 5 unless noted", ["outcome", "before", "now"], rows)


def power(datasets: int, rng: np.random.Generator) -> None:
    """Chance that an arm helps when seven arms help equally, by the gain in area."""
    rows = []
    for n, name, sd in ((30, "weak", WEAK), (100, "weak", WEAK), (216, "weak", WEAK), (216, "medium", MEDIUM)):
        cells = []
        for gain in (0.02, 0.03, 0.05, 0.08, 0.12):
            found = {test: [] for test in (before, now)}
            positive, patients = two_classes(n, n, "one", 0, rng)
            better = distance(0.78 + gain, sd)
            for _ in range(max(50, datasets // 4)):
                scores = scores_of(positive, patients, [distance(0.78, sd), *[better] * 7], 5, sd, rng)
                measured = outcomes.area_under_curve(scores, positive, patients)
                for test, results in found.items():
                    tests = tests_of(measured, 5, test)
                    adjusted = holm([t.p for t in tests])
                    results += [p <= ALPHA and t.difference > 0 for p, t in zip(adjusted, tests, strict=True)]
            cells.append("/".join(f"{100 * np.mean(hits):.0f}" for hits in found.values()))
        rows.append([f"{n} + {n}, {name} seeds", *cells])
    columns = ["cases", *(f"+{gain:g}" for gain in (0.02, 0.03, 0.05, 0.08, 0.12))]
    print_table("Power, % (before/now), AUROC 0.78, S = 5, Holm over 7 equally good arms", columns, rows)


def equivalence(datasets: int, rng: np.random.Generator) -> None:
    """False 'equivalent' of arms that are better by exactly the margin."""
    rows = []
    for name, sd, seeds in (("weak", WEAK, 5), ("medium", MEDIUM, 5), ("weak", WEAK, 10)):
        positive, patients = two_classes(1000, 1000, "one", 0, rng)
        one, any_before, any_now = [], [], []
        for _ in range(datasets):
            distances = [distance(0.78, sd), *[distance(0.78 + MARGIN, sd)] * 10]
            measured = outcomes.area_under_curve(
                scores_of(positive, patients, distances, seeds, sd, rng), positive, patients
            )
            old = np.array([equivalence_p(t, MARGIN) for t in tests_of(measured, seeds, before)])
            new = np.array([equivalence_p(t, MARGIN) for t in tests_of(measured, seeds, now)])
            one.append(new[0] <= ALPHA / 2)
            any_before.append((old <= ALPHA / 2).any())
            any_now.append((holm(new) <= ALPHA / 2).any())
        rows.append([f"{name} seeds, S = {seeds}", percent(one), percent(any_before), percent(any_now)])
    columns = ["1000 + 1000 cases", "one arm", "any of ten, before", "any of ten, now"]
    print_table("False *equivalent* at exactly the margin, % (nominal: at most 2.5)", columns, rows)


def generator(datasets: int, rng: np.random.Generator) -> None:
    """False helps of a method whose single trainings of the generator differ, but help nothing on average."""
    rows = []
    for sd in (0.010, 0.017):
        designs = {
            "one training, 10 seeds": (np.zeros(10, dtype=int), paired(10)),
            "a training for each of 5 seeds": (np.arange(5), paired(5)),
            "3 trainings of 4 seeds each": (np.repeat(np.arange(3), 4), paired(12, 3)),
        }
        cells = []
        for training, contrast in designs.values():
            positive, patients = two_classes(216, 216, "one", 0, rng)
            false, seeds = [], len(training)
            slope = np.exp(-(special.ndtri(0.78) ** 2) / 2) / np.sqrt(4 * np.pi)  # of the area, by the distance
            for _ in range(2 * datasets):
                scores = scores_of(positive, patients, [distance(0.78, WEAK)] * 2, seeds, WEAK, rng)
                moved = sd / slope * rng.standard_normal(training.max() + 1)
                scores[seeds:] += moved[training][:, None] * positive
                test = now(outcomes.area_under_curve(scores, positive, patients), contrast)
                false.append(test.p <= ALPHA and test.difference > 0)
            cells.append(percent(false))
        rows.append([f"{sd:.3f}", *cells])
    print_table(
        "False *helps* by the standard deviation of the area over trainings of the generator, % (nominal 2.5)",
        ["standard deviation", *designs],
        rows,
    )


def intervals(datasets: int, rng: np.random.Generator) -> None:
    """Coverage of the 95 % interval of one arm, near the end of the scale."""
    rows = []
    for area in (0.95, 0.98):
        positive, patients = two_classes(30, 30, "one", 0, rng)
        shift, covered = distance(area, WEAK), {"wald": [], "now": []}
        for _ in range(2 * datasets):
            measured = outcomes.area_under_curve(
                scores_of(positive, patients, [shift], 5, WEAK, rng), positive, patients
            )
            wald, found = before(measured, np.eye(5)), mean_estimate(measured, level=1 - ALPHA)
            half = special.stdtrit(wald.degrees, 1 - ALPHA / 2) * wald.error
            covered["wald"].append(abs(wald.difference - area) <= half)
            covered["now"].append(found.low is not None and found.low <= area <= found.high)
        rows.append([f"AUROC {area}, 30 + 30 cases", *(percent(hits) for hits in covered.values())])
    covered = {"wald": [], "now": []}
    for _ in range(2 * datasets):
        called = (scores_of(np.ones(20), np.arange(20), [special.ndtri(0.98)], 5, 0.0, rng) > 0).astype(int)
        measured = outcomes.sensitivity(called, np.ones(20, dtype=int), np.arange(20), 1)
        wald, found = before(measured, np.eye(5)), mean_estimate(measured, level=1 - ALPHA)
        half = special.stdtrit(wald.degrees, 1 - ALPHA / 2) * wald.error
        covered["wald"].append(abs(wald.difference - 0.98) <= half)
        covered["now"].append(found.low <= 0.98 <= found.high)
    rows.append(["sensitivity 0.98, 20 positives", *(percent(hits) for hits in covered.values())])
    print_table("Coverage of the 95 % interval of one arm, S = 5, %", ["outcome", "Wald, before", "now"], rows)


def readers(datasets: int, rng: np.random.Generator) -> None:
    """A reader study whose readers guess: balanced accuracy against 1/2, and equal to it within 0.1."""
    rows = []
    for cases, count in ((60, 2), (60, 3), (60, 5), (60, 10), (200, 3)):
        different, equal, labels = [], [], np.arange(cases) % 2
        for _ in range(2 * datasets):
            looks = np.sqrt(0.5) * rng.standard_normal(cases) + np.sqrt(0.5) * rng.standard_normal((count, cases))
            called = (looks + 0.3 * rng.standard_normal((count, 1)) > 0).astype(int)
            measured = outcomes.balanced_accuracy(called, labels, np.arange(cases), 1)
            test = readers_test(measured, np.eye(count), level=1 - ALPHA, null=0.5)
            different.append(test.p <= ALPHA)
            equal.append(equivalence_p(test, 0.1, null=0.5) <= ALPHA)
        rows.append([f"{cases} cases, {count} readers", percent(different), percent(equal)])
    columns = ["study", "different from chance", "equal to chance ± 0.1"]
    print_table("Readers who guess, % (nominal: 5 different)", columns, rows)


TABLES = {
    "level": level,
    "outcomes": outcome_level,
    "power": power,
    "equivalence": equivalence,
    "generator": generator,
    "intervals": intervals,
    "readers": readers,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=500)
    parser.add_argument("--table", nargs="+", choices=TABLES, default=list(TABLES))
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"{machine()}; {arguments.datasets} data sets")
    for name in arguments.table:
        TABLES[name](arguments.datasets, np.random.default_rng([arguments.seed, list(TABLES).index(name)]))


if __name__ == "__main__":
    main()
