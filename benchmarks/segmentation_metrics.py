"""Measures of masks: ours against MONAI's and against plain scipy and scikit-image, on the same pairs.

    python benchmarks/segmentation_metrics.py [--pairs 40] [--side 512] [--repeats 3]

MONAI is no dependency of the project: it joins where it can be imported (`pip install --no-deps --target DIR monai`,
then PYTHONPATH=src:DIR). Pairs are of two kinds: a lesion or two an image with a similar prediction, and many nuclei
with objects split, merged and missed. Values must agree, else the benchmark fails. CPU seconds of 1,000 pairs on one
thread, from the median over interleaved repeats of all pairs.
"""

import argparse
import importlib.util
from collections.abc import Callable

import numpy as np
import torch
from common import interleaved, machine
from scipy import ndimage
from skimage.segmentation import find_boundaries

from synthmed.metrics.segmentation import OBJECT_IOU, hausdorff95, object_measures, overlap

MEASURES = ("iou", "dice", "hd95", "object_f1")


def pairs(kind: str, count: int, side: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Maps of objects (side, side), int32, and predictions of them."""
    rng = np.random.default_rng(0)
    sigma, quantile = {"lesion": (side / 6, 0.8), "nuclei": (side / 85, 0.7)}[kind]
    made = []
    for _ in range(count):
        ground, other = (ndimage.gaussian_filter(rng.standard_normal((side, side)), sigma) for _ in range(2))
        predicted = ground + 0.25 * other
        masks = (image > np.quantile(image, quantile) for image in (ground, predicted))
        made.append(tuple(ndimage.label(mask)[0] for mask in masks))
    return made


# ---------------------------------------------------------------------------------------------------------- contestants
def ours(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Callable[[], float]]:
    a, b = truth > 0, predicted > 0
    return {
        "iou": lambda: overlap(a, b).iou,
        "dice": lambda: overlap(a, b).dice,
        "hd95": lambda: hausdorff95(a, b),
        "object_f1": lambda: object_measures(truth, predicted)["object_f1"],
    }


def plain(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Callable[[], float]]:
    """As one writes them: sums of logical arrays, boundaries, maps of distances, one object after the other."""
    a, b = truth > 0, predicted > 0

    def hd95() -> float:
        edges = [find_boundaries(np.pad(x, 1), connectivity=1, mode="inner") & np.pad(x, 1) for x in (a, b)]
        to = [ndimage.distance_transform_edt(~edge) for edge in edges]
        return max(np.percentile(to[1][edges[0]], 95), np.percentile(to[0][edges[1]], 95))

    def object_f1() -> float:
        hits = 0
        for number in range(1, truth.max() + 1):
            one = truth == number
            for other in np.unique(predicted[one]):
                match = predicted == other
                hits += bool(other) and (one & match).sum() / (one | match).sum() > OBJECT_IOU
        return 2 * hits / (truth.max() + predicted.max())

    return {
        "iou": lambda: np.logical_and(a, b).sum() / np.logical_or(a, b).sum(),
        "dice": lambda: 2 * np.logical_and(a, b).sum() / (a.sum() + b.sum()),
        "hd95": hd95,
        "object_f1": object_f1,
    }


def monai(truth: np.ndarray, predicted: np.ndarray) -> dict[str, Callable[[], float]]:
    from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou
    from monai.metrics.panoptic_quality import compute_panoptic_quality

    a, b = (torch.from_numpy(x > 0).float()[None, None] for x in (truth, predicted))
    objects = torch.from_numpy(predicted), torch.from_numpy(truth)
    return {
        "iou": lambda: float(compute_iou(b, a)),
        "dice": lambda: float(compute_dice(b, a)),
        "hd95": lambda: float(compute_hausdorff_distance(b, a, include_background=True, percentile=95)),
        "object_f1": lambda: compute_panoptic_quality(*objects, metric_name="rq", match_iou_threshold=OBJECT_IOU),
    }


# ------------------------------------------------------------------------------------------------------------- measure
def measure(made: list[tuple[np.ndarray, np.ndarray]], contestants: dict[str, Callable], repeats: int) -> None:
    """Time every measure of every contestant and print it; SystemExit when values differ."""
    for name in MEASURES:
        calls = {who: [contestant(*pair)[name] for pair in made] for who, contestant in contestants.items()}
        values = {who: [float(call()) for call in theirs] for who, theirs in calls.items()}  # warms up
        for who, found in values.items():
            if not np.allclose(found, values["ours"], rtol=1e-5):
                raise SystemExit(f"{who} and ours differ in {name}: {found[:3]} and {values['ours'][:3]}")
        seconds = interleaved(
            {who: lambda theirs=theirs: [call() for call in theirs] for who, theirs in calls.items()}, repeats
        )
        times = "".join(
            f"   {who} {1000 * second / len(made):8.2f} s, {second / seconds['ours']:6.1f} × ours"
            for who, second in seconds.items()
        )
        print(f"  {name:10s}{times}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=40, help="different ones of each kind")
    parser.add_argument("--side", type=int, default=512, help="pixels")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}\n1,000 pairs of {arguments.side}²")
    contestants = {"ours": ours, "plain": plain} | ({"MONAI": monai} if importlib.util.find_spec("monai") else {})
    for kind in ("lesion", "nuclei"):
        made = pairs(kind, arguments.pairs, arguments.side)
        objects = np.mean([[one.max() for one in pair] for pair in made])
        print(f"\n{kind}: {objects:.0f} objects an image")
        measure(made, contestants, arguments.repeats)


if __name__ == "__main__":
    main()
