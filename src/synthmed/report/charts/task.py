"""Charts of a task: verdicts, sweep, ROC, confusion matrices, and the validation of the verdict."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np

from synthmed.core.known import HARMS, HELPS
from synthmed.metrics.effects import added_share
from synthmed.metrics.estimate import Estimate
from synthmed.report.charts.style import GRID, INK, MUTED, SERIES, VERDICTS, interval_point, panels, plt, save
from synthmed.report.results import effect
from synthmed.report.words import confidence, signed

_DASHES = (0, (4, 2))
_NO_WORD = (MUTED, "D")


def draw_verdicts(path: Path, task: Mapping, compared: Sequence[Mapping]) -> None:
    """The main figure: the deciding outcome of each arm minus that of the real arm with its interval, coloured by the
    verdict. compared: arms that were compared with the real one."""
    figure, axis = plt.subplots(figsize=(10.6, 1.1 + 0.36 * len(compared)))
    axis.axvline(0, color=INK, lw=1)
    equal = task["margin"]
    axis.axvspan(-equal, equal, color=GRID, lw=0, zorder=0)
    ends = [0.0, -equal, equal]
    for place, arm in enumerate(reversed(compared)):
        found, verdict = effect(task, arm), arm["versus_reference"]["verdict"]
        colour, marker = VERDICTS.get(verdict, _NO_WORD)
        right = {"xycoords": axis.get_yaxis_transform(), "textcoords": "offset points", "va": "center"}
        numbers = "not computed"
        if found.value is not None:
            interval_point(axis, found, place, colour, marker)
            ends += [end for end in (found.value, found.low, found.high) if end is not None]
            numbers = signed(found.value)
            if found.low is not None:
                numbers += f"  [{signed(found.low)}, {signed(found.high)}]"
        axis.annotate(numbers, (1, place), (10, 0), family="DejaVu Sans Mono", fontsize=8.5, **right)
        limited = arm["budget_limited"]
        words = verdict or "no word"
        axis.annotate(words, (1, place), (172, 4 if limited else 0), color=colour, weight="bold", **right)
        if limited:
            axis.annotate("budget-limited", (1, place), (172, -6), color=MUTED, fontsize=8, **right)
    margin = 0.06 * (max(ends) - min(ends)) or 0.01
    axis.set_xlim(min(ends) - margin, max(ends) + margin)
    axis.set_ylim(-0.6, len(compared) - 0.4)
    axis.set_yticks(range(len(compared)), [fill(arm["title"], 36) for arm in reversed(compared)])
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)
    axis.locator_params(axis="x", nbins=6, min_n_ticks=3)
    axis.grid(axis="x")
    outcome = task["decides"]
    unit = f", {outcome['unit']}" if outcome["unit"] else ""
    axis.set_xlabel(
        f"{outcome['title']} minus that of real images only ({confidence(1 - task['alpha'])} interval{unit}; "
        f"grey: ±{equal:g})"
    )
    above = {"transform": axis.transAxes, "va": "bottom", "fontsize": 9}
    left, right = ("worse", "better") if outcome["higher_is_better"] else ("better", "worse")
    colours = {"worse": VERDICTS[HARMS][0], "better": VERDICTS[HELPS][0]}
    axis.text(0, 1.01, f"← {left}", color=colours[left], **above)
    axis.text(1, 1.01, f"{right} →", color=colours[right], ha="right", **above)
    save(figure, path)


def draw_sweep(path: Path, task: Mapping, curves: Mapping[str, Sequence[Mapping]]) -> None:
    """The deciding outcome on the test set against the share of added images in training, a panel a set of images.

    curves: title → its arms by share, the real arm first.
    """
    columns = min(3, len(curves))
    figure, axes = panels(
        len(curves), columns=3, width=9.2 / columns if columns > 1 else 5.6, height=2.5, sharex=True, sharey=True
    )
    outcome, title = task["outcome"], task["decides"]["title"]
    for place, (axis, (name, arms)) in enumerate(zip(axes, curves.items(), strict=True)):
        found = {arm["name"]: arm["tests"][task["tests"][0]]["outcomes"][outcome] for arm in arms}
        mixed = [arm for arm in arms if arm["kind"] != "synthetic_only"]
        share = [100 * added_share(task, arm) for arm in mixed]
        value, low, high = (
            np.array([getattr(found[arm["name"]], end) for arm in mixed], dtype=float)
            for end in ("value", "low", "high")
        )
        axis.fill_between(share, low, high, color=SERIES[0], alpha=0.16, lw=0)
        axis.plot(share, value, "o-", color=SERIES[0], ms=5, mec="white", mew=0.8)
        for arm in arms:
            alone = found[arm["name"]]
            if arm["kind"] == "synthetic_only" and alone.value is not None:
                # Not joined to the curve: without real images its size is another, too.
                if alone.low is not None:
                    axis.plot([100, 100], [alone.low, alone.high], color=SERIES[0], lw=2)
                axis.plot(100, alone.value, "o", color="white", mec=SERIES[0], mew=1.6, ms=6)
        axis.axhline(value[0], color=MUTED, lw=1, ls=_DASHES)  # share 0 is the real arm
        axis.set_title(name)
        axis.grid(axis="y")
        axis.set_xlim(-4, 104)
        axis.set_xticks([0, 25, 50, 75, 100])
        if place % 3 == 0:
            axis.set_ylabel(f"{title}, test images")
        if place + 3 >= len(axes):
            axis.set_xlabel("added share of training images (%)")
            axis.tick_params(labelbottom=True)
    save(figure, path)


def draw_roc(path: Path, roc: Sequence[Mapping[str, str]], task: Mapping) -> None:
    """ROC curves on the test set, mean over seeds: a panel an arm, with the real arm behind it.

    roc: rows of `arm`, `false_positive_rate`, `true_positive_rate`.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    for row in roc:
        curves.setdefault(row["arm"], []).append((float(row["false_positive_rate"]), float(row["true_positive_rate"])))
    real = task["reference"]
    shown = [arm for arm in task["arms"] if arm in curves and arm != real] or [real]
    figure, axes = panels(len(shown), columns=4, width=2.3, height=2.55, sharex=True, sharey=True)
    for place, (axis, arm) in enumerate(zip(axes, shown, strict=True)):
        axis.plot([0, 1], [0, 1], color=GRID, lw=1)
        (behind,) = axis.plot(*np.array(curves[real]).T, color=MUTED, lw=1.4, ls=_DASHES)
        (front,) = axis.plot(*np.array(curves[arm]).T, color=SERIES[0])
        if place == 0:
            axis.legend([front, behind], ["this arm", task["arms"][real]["title"]], loc="lower right", fontsize=7.5)
        title = task["arms"][arm]["title"]
        axis.set_title(fill(title, 26), fontsize=8)
        axis.set_aspect("equal")
        axis.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xticks=[0, 0.5, 1], yticks=[0, 0.5, 1])
        axis.grid()
        if place % 4 == 0:
            axis.set_ylabel("sensitivity")
        if place + 4 >= len(axes):
            axis.set_xlabel("1 − specificity")
            axis.tick_params(labelbottom=True)
    save(figure, path)


def draw_confusion(
    path: Path, matrices: Sequence[tuple[Mapping, str, Sequence[Sequence[float]]]], classes: Sequence[str]
) -> None:
    """Confusion matrices, mean over seeds: rows truth, columns decision. matrices: (arm, test, matrix)."""
    few, tests = len(classes) <= 3, {test for _, test, _ in matrices}
    side = 0.62 * len(classes) + 0.6 if few else 0.47 * len(classes) + 0.9
    columns = max(1, int(9.4 / side))
    figure, axes = panels(len(matrices), columns=columns, width=side, height=side + 0.36)
    names = list(classes) if few else [fill(name.replace("_", " "), 14) for name in classes]
    for place, (axis, (arm, test, counts)) in enumerate(zip(axes, matrices, strict=True)):
        matrix = np.array(counts, dtype=float)
        share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1e-12)
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (i, j), part in np.ndenumerate(share):
            # Of many classes the share alone can be read; the counts stand in the CSV.
            words = f"{matrix[i, j]:.1f}\n{100 * part:.0f} %" if few else f"{100 * part:.0f}"
            ink = "white" if part > 0.55 else INK
            axis.text(j, i, words, ha="center", va="center", fontsize=8, color=ink)
        title = arm["title"] + ("" if tests == {test} else f", tested on {test}")
        axis.set_title(fill(title, max(20, int(side * 11))), fontsize=8, loc="center")
        turned = {"fontsize": 8} if few else {"fontsize": 7, "rotation": 45, "ha": "right", "rotation_mode": "anchor"}
        axis.set_xticks(range(len(classes)), names, **turned)
        axis.set_yticks([])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
        if place % columns == 0:
            upright = {"fontsize": 8, "rotation": 90, "va": "center"} if few else {"fontsize": 7}
            axis.set_yticks(range(len(classes)), names, **upright)
            axis.set_ylabel("truth" if few else "truth (cells: % of the row)")
        if place + columns >= len(matrices):
            axis.set_xlabel("decision")
    save(figure, path)


def draw_validation(path: Path, cases: Sequence[Mapping], level: float) -> None:
    """Where the truth is known: the rate of every verdict with its interval; the expected verdict is shaded.

    cases: of the result of `validate-verdict`; level: of its intervals.
    """
    figure, axes = panels(len(cases), columns=2, width=4.6, height=1.35, sharex=True, sharey=True)
    verdicts = list(reversed(VERDICTS.items()))
    for place, (axis, case) in enumerate(zip(axes, cases, strict=True)):
        for y, (verdict, (colour, marker)) in enumerate(verdicts):
            rate = case["verdicts"][verdict]["rate"]
            percent = Estimate(100 * rate.value, 100 * rate.low, 100 * rate.high)
            if verdict == case["expected"]:
                axis.axhspan(y - 0.42, y + 0.42, color=GRID, lw=0)
            interval_point(axis, percent, y, colour, marker)
        axis.set_title(f"{case['case']} ({case['repeats']} repeats)", fontsize=9)
        axis.set(xlim=(-3, 103), ylim=(-0.6, 2.6), xticks=[0, 25, 50, 75, 100])
        axis.set_yticks(range(3), [verdict for verdict, _ in verdicts])
        axis.tick_params(axis="y", length=0)
        axis.spines["left"].set_visible(False)
        axis.grid(axis="x")
        if place + 2 >= len(cases):
            axis.set_xlabel(f"share of repeats with this verdict (%), {confidence(level)} interval")
            axis.tick_params(labelbottom=True)
    save(figure, path)
