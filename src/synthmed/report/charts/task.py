"""Charts of the downstream task: verdicts, sweep, ROC, confusion matrices, and the validation of the verdict."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np

from synthmed.report.charts.style import (
    GRID,
    INK,
    MUTED,
    SERIES,
    VERDICTS,
    interval_point,
    panels,
    placeholder,
    plt,
    save,
)
from synthmed.report.results import Estimate, estimate, number

_DASHES = (0, (4, 2))


def draw_verdicts(path: Path, arms: Mapping[str, Mapping], titles: Mapping[str, str]) -> None:
    """The main figure: AUROC of each arm minus that of the real arm with its 95 % interval, coloured by the verdict."""
    compared = {arm: result["versus_real"] for arm, result in arms.items() if "versus_real" in result}
    if not compared:
        return placeholder(path, "No arm was compared with the real one.")
    figure, axis = plt.subplots(figsize=(9.2, 1.1 + 0.34 * len(compared)))
    axis.axvline(0, color=INK, lw=1)
    ends = [0.0]
    for place, result in enumerate(reversed(compared.values())):
        found = estimate(result, "auroc_difference")
        colour, marker = VERDICTS[result["verdict"]]
        right = {"xycoords": axis.get_yaxis_transform(), "textcoords": "offset points", "va": "center"}
        numbers = "not computed"
        if found.value is not None:
            interval_point(axis, found, place, colour, marker)
            ends += [found.value, found.low, found.high]
            numbers = f"{found.value:+.3f}  [{found.low:+.3f}, {found.high:+.3f}]".replace("-", "−")
        axis.annotate(numbers, (1, place), (10, 0), family="DejaVu Sans Mono", fontsize=8.5, **right)
        axis.annotate(result["verdict"], (1, place), (172, 0), color=colour, weight="bold", **right)
    margin = 0.06 * (max(ends) - min(ends)) or 0.01
    axis.set_xlim(min(ends) - margin, max(ends) + margin)
    axis.set_ylim(-0.6, len(compared) - 0.4)
    axis.set_yticks(range(len(compared)), [titles[arm] for arm in reversed(compared)])
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.locator_params(axis="x", nbins=6)
    axis.grid(axis="x")
    axis.set_xlabel("AUROC minus that of real images only (95 % interval)")
    above = {"transform": axis.transAxes, "va": "bottom", "fontsize": 9}
    axis.text(0, 1.01, "← worse", color=VERDICTS["harms"][0], **above)
    axis.text(1, 1.01, "better →", color=VERDICTS["helps"][0], ha="right", **above)
    save(figure, path)


def draw_sweep(path: Path, sweep: Sequence[Mapping[str, str]], titles: Mapping[str, str]) -> None:
    """AUROC on the real test set against the share of synthetic images in training, a panel a generator."""
    generators = list(dict.fromkeys(row["generator"] for row in sweep))
    if not generators:
        return placeholder(path, "No sweep of the synthetic share was run in this experiment.")
    columns = min(3, len(generators))
    figure, axes = panels(
        len(generators), columns=3, width=9.2 / columns if columns > 1 else 5.6, height=2.5, sharex=True, sharey=True
    )
    for place, (axis, generator) in enumerate(zip(axes, generators, strict=True)):
        rows = sorted((row for row in sweep if row["generator"] == generator), key=lambda row: float(row["share"]))
        mixed = [row for row in rows if row["kind"] != "synthetic_only"]
        share = [100 * float(row["share"]) for row in mixed]
        value, low, high = (
            np.array([number(row[key]) for row in mixed], dtype=float) for key in ("auroc", "auroc_low", "auroc_high")
        )
        axis.fill_between(share, low, high, color=SERIES[0], alpha=0.16, lw=0)
        axis.plot(share, value, "o-", color=SERIES[0], ms=5, mec="white", mew=0.8)
        for row in rows:
            if row["kind"] == "synthetic_only":  # not joined to the curve: without real images its size is another, too
                axis.plot([100, 100], [number(row["auroc_low"]), number(row["auroc_high"])], color=SERIES[0], lw=2)
                axis.plot(100, number(row["auroc"]), "o", color="white", mec=SERIES[0], mew=1.6, ms=6)
        axis.axhline(value[0], color=MUTED, lw=1, ls=_DASHES)  # share 0 is the real arm
        axis.set_title(titles.get(generator, generator))
        axis.grid(axis="y")
        axis.set_xlim(-4, 104)
        axis.set_xticks([0, 25, 50, 75, 100])
        if place % 3 == 0:
            axis.set_ylabel("AUROC, real test images")
        if place + 3 >= len(axes):
            axis.set_xlabel("synthetic share of training images (%)")
            axis.tick_params(labelbottom=True)
    save(figure, path)


def draw_roc(path: Path, roc: Sequence[Mapping[str, str]], titles: Mapping[str, str], real: str) -> None:
    """ROC curves, mean over seeds: a panel an arm, with the arm `real` behind it. titles: the arms to show."""
    curves: dict[str, list[tuple[float, float]]] = {arm: [] for arm in titles}
    for row in roc:
        if row["arm"] in curves:
            curves[row["arm"]].append((float(row["false_positive_rate"]), float(row["true_positive_rate"])))
    shown = [arm for arm in titles if arm != real] or [real]
    figure, axes = panels(len(shown), columns=4, width=2.3, height=2.55, sharex=True, sharey=True)
    for place, (axis, arm) in enumerate(zip(axes, shown, strict=True)):
        axis.plot([0, 1], [0, 1], color=GRID, lw=1)
        (behind,) = axis.plot(*np.array(curves[real]).T, color=MUTED, lw=1.4, ls=_DASHES)
        (front,) = axis.plot(*np.array(curves[arm]).T, color=SERIES[0])
        if place == 0:
            axis.legend([front, behind], ["this arm", titles[real]], loc="lower right", fontsize=7.5)
        axis.set_title(fill(titles[arm], 26), fontsize=8)
        axis.set_aspect("equal")
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axis.grid()
        if place % 4 == 0:
            axis.set_ylabel("sensitivity")
        if place + 4 >= len(axes):
            axis.set_xlabel("1 − specificity")
            axis.tick_params(labelbottom=True)
    save(figure, path)


def draw_confusion(path: Path, arms: Mapping[str, Mapping], titles: Mapping[str, str], classes: Sequence[str]) -> None:
    """Confusion matrices on the real test set, mean over seeds: rows truth, columns decision."""
    figure, axes = panels(len(arms), columns=5, width=1.84, height=2.2)
    for place, (axis, (arm, result)) in enumerate(zip(axes, arms.items(), strict=True)):
        matrix = np.array(result["confusion"], dtype=float)
        share = matrix / matrix.sum(axis=1, keepdims=True)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (i, j), part in np.ndenumerate(share):
            words, ink = f"{matrix[i, j]:.1f}\n{100 * part:.0f} %", "white" if part > 0.55 else INK
            axis.text(j, i, words, ha="center", va="center", fontsize=8, color=ink)
        axis.set_title(fill(titles[arm], 20), fontsize=8, loc="center")
        axis.set_xticks(range(len(classes)), classes, fontsize=8)
        axis.set_yticks([])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        if place % 5 == 0:
            axis.set_yticks(range(len(classes)), classes, rotation=90, va="center", fontsize=8)
            axis.set_ylabel("truth")
        if place + 5 >= len(arms):
            axis.set_xlabel("decision")
    save(figure, path)


def draw_validation(path: Path, cases: Sequence[Mapping]) -> None:
    """Where the truth is known: the rate of every verdict with its interval; the expected verdict is shaded.

    cases: as `results.validation_cases` gives them.
    """
    figure, axes = panels(len(cases), columns=2, width=4.6, height=1.35, sharex=True, sharey=True)
    verdicts = list(reversed(VERDICTS.items()))
    for place, (axis, case) in enumerate(zip(axes, cases, strict=True)):
        for y, (verdict, (colour, marker)) in enumerate(verdicts):
            rate = case["rates"][verdict]
            percent = Estimate(100 * rate.value, 100 * rate.low, 100 * rate.high, "")
            if verdict == case["expected"]:
                axis.axhspan(y - 0.42, y + 0.42, color=GRID, lw=0)
            interval_point(axis, percent, y, colour, marker)
        axis.set_title(f"{case['title']} ({case['repeats']} repeats)", fontsize=9)
        axis.set(xlim=(-3, 103), ylim=(-0.6, 2.6), xticks=[0, 25, 50, 75, 100])
        axis.set_yticks(range(3), [verdict for verdict, _ in verdicts])
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.grid(axis="x")
        if place + 2 >= len(cases):
            axis.set_xlabel("share of repeats with this verdict (%), 95 % interval")
            axis.tick_params(labelbottom=True)
    save(figure, path)
