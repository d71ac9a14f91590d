"""Where the networks of two arms look on real test images, above all where they are wrong.

Maps are Grad-CAM of the positive output: what speaks for the finding, also in an image that was called negative. A
classifier's map is the mean of its seeds' maps, each divided by its sum, so that every training weighs the same.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta
from PIL import Image

from synthmed.classifiers import network
from synthmed.classifiers.cam import grad_cam as maps_of
from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_json
from synthmed.core.known import TEST
from synthmed.core.settings import BatchSize, Count, Device, Level, Threads, TwoClasses
from synthmed.core.step import Output, step
from synthmed.data.boxes import parse_boxes
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.evaluation.scores import called_by_most, read_scores
from synthmed.metrics import localisation
from synthmed.metrics.estimate import Estimate
from synthmed.metrics.statistics import case_mean
from synthmed.training.device import choose_device
from synthmed.training.images import to_model

logger = logging.getLogger(__name__)

OUTCOMES = ("true positive", "false negative", "false positive", "true negative")


@dataclass(frozen=True)
class GradCamOptions:
    """Where the networks look."""

    shown: Annotated[
        Count,
        Meta(
            description="Most wrong images shown of each kind (false negatives and false positives of either network, "
            "right positives of both)."
        ),
    ]
    level: Level
    batch_size: BatchSize
    threads: Threads
    device: Device


@dataclass(frozen=True)
class GradCamSettings(GradCamOptions):
    """Settings of `grad-cam`."""

    classes: TwoClasses
    positive: Annotated[str, Meta(description="Output of both networks whose evidence is mapped.")]
    arms: Annotated[
        tuple[str, ...], Meta(min_length=2, max_length=2, description="The arms, in the order of their networks.")
    ]


@dataclass(frozen=True)
class Decisions:
    """Of one classifier on the real test images: likelihood (N,), mean over seeds; called (N,) bool, by most of the
    seeds (scores.called_by_most)."""

    likelihood: np.ndarray
    called: np.ndarray


@step("grad-cam")
def grad_cam(
    settings: GradCamSettings,
    *,
    classifiers: list[Path],
    test: Path,
    scores: Path,
    summary: Path,
    out: Output,
    maps: Output,
) -> None:
    """Where the networks of two arms look when they are wrong.

    Map what both networks see in the real test images that either of them gets wrong, and in those with boxes.

    test: the real test images; their column `boxes`, where there is one, holds the annotated findings (data/boxes.py).
    scores, summary: from `score-networks` with the same networks and images.

    out: JSON. `outcomes`: images of each outcome by classifier. `inside`: by classifier and outcome (positive images
    with boxes only), n, the mean share of the map's sum that lies inside the boxes, the mean share of the image that
    the boxes cover (what a map without aim reaches), the mean difference with its t interval (patients, not images,
    count as independent; none below 2 patients), and how many maps were empty (nothing speaks for the finding; counted
    as chance). `shown`: the images of Figure 11: kind, image, label, boxes (in pixels of the test images), likelihoods.
    maps: image set, two 8-bit maps for each shown image (columns `origin`, `classifier`, `kind`), scaled so that the
    maximum is 255.

    Raises InputError when predictions and images do not belong together or a box is malformed.
    """
    torch.set_num_threads(settings.threads)
    images = ImageSet(test)
    decisions = read_decisions(settings, scores, read_json(summary)["thresholds"], images)
    positive = np.array([label == settings.positive for label in images.column("label")])
    outcome = {name: outcomes(positive, found.called) for name, found in decisions.items()}
    boxes = _boxes(images)
    shown = choose(decisions, outcome, settings.shown)
    boxed = [row for row in range(len(images)) if positive[row] and boxes[row]]
    wanted = sorted({*boxed, *(row for _, row in shown)})
    found = {}
    for name, path in zip(settings.arms, classifiers, strict=True):
        trained = network.load(path).to(choose_device(settings.device))
        found[name] = dict(zip(wanted, class_maps(trained, settings, images, wanted), strict=True))
        logger.info("maps of %d images by the network of the arm %s", len(wanted), name)
    seen = _Seen(images, decisions, outcome, boxes, found, images[0].shape[:2])
    write_image_set(maps, (seen.map_of(kind, row, name) for kind, row in shown for name in settings.arms))
    write_json(
        out,
        {
            "positive": settings.positive,
            "level": settings.level,
            "outcomes": {
                name: {which: int((outcome[name] == which).sum()) for which in OUTCOMES} for name in settings.arms
            },
            "boxed": len(boxed),
            "inside": {
                name: {
                    "every": seen.shares(name, boxed, settings.level),
                    **{
                        which: seen.shares(name, [row for row in boxed if outcome[name][row] == which], settings.level)
                        for which in ("true positive", "false negative")
                    },
                }
                for name in settings.arms
            },
            "shown": [seen.described(kind, row) for kind, row in shown],
        },
    )


def _boxes(images: ImageSet) -> list[Sequence]:
    """The annotated findings of each image, none where there is no column of them."""
    found = []
    for row in images.rows:
        try:
            found.append(parse_boxes(row.get("boxes", "")))
        except InputError as error:
            raise InputError(f"{images.path}: image {row['image']!r}: {error}") from error
    return found


@dataclass(frozen=True)
class _Seen:
    """Of the test images, of `shape` (H, W): by arm decisions, outcomes (N,) and the maps that are wanted, by position;
    boxes of each image."""

    images: ImageSet
    decisions: Mapping[str, Decisions]
    outcome: Mapping[str, np.ndarray]
    boxes: Sequence[Sequence]
    maps: Mapping[str, Mapping[int, np.ndarray]]
    shape: tuple[int, int]

    def map_of(self, kind: str, row: int, arm: str) -> tuple[dict, np.ndarray]:
        """Columns and pixels of a map, for an image set."""
        fields = self.images.rows[row]
        columns = {
            "image": f"{Path(fields['image']).stem}.{arm}.png",
            "label": fields["label"],
            "patient": fields["patient"],
            "source": "grad-cam",
            "origin": fields["image"],
            "classifier": arm,
            "kind": kind,
        }
        return columns, as_pixels(self.maps[arm][row], self.shape)

    def shares(self, arm: str, rows: Sequence[int], level: float) -> dict:
        """How much of an arm's maps of some images lies inside their boxes."""
        patients = self.images.column("patient")
        given = [[of[row] for row in rows] for of in (self.maps[arm], self.boxes, patients)]
        return shares(*given, self.shape, level)

    def described(self, kind: str, row: int) -> dict:
        """An image of Figure 11, as JSON."""
        return {
            "kind": kind,
            "image": self.images.rows[row]["image"],
            "label": self.images.rows[row]["label"],
            "boxes": [list(box) for box in self.boxes[row]],
            "likelihood": {arm: float(one.likelihood[row]) for arm, one in self.decisions.items()},
            "outcome": {arm: str(which[row]) for arm, which in self.outcome.items()},
            "share_inside": {arm: _inside(of[row], self.boxes[row], self.shape) for arm, of in self.maps.items()},
        }


# ------------------------------------------------------------------------------------------------- which images
def read_decisions(
    settings: GradCamSettings, path: Path, thresholds: Mapping[str, Sequence[float]], images: ImageSet
) -> dict[str, Decisions]:
    """What the networks of the arms said of the test images, in the order of `images`.

    thresholds: arm → that of each training. Raises InputError unless the scores hold the images of the set and no
    other.
    """
    found = read_scores(path, [f"p_{settings.positive}"])
    names = found.cases[TEST].images.tolist() if TEST in found.cases else []
    if sorted(names) != sorted(images.column("image")):
        raise InputError(f"{path}: holds scores of other images than {images.path}; score these images again")
    order = [names.index(name) for name in images.column("image")]
    decisions = {}
    for arm in settings.arms:
        likelihood = found.values[arm, TEST][:, order, 0]
        decisions[arm] = Decisions(likelihood.mean(axis=0), called_by_most(likelihood, np.array(thresholds[arm])))
    return decisions


def outcomes(positive: np.ndarray, called: np.ndarray) -> np.ndarray:
    """One of OUTCOMES for each image, (N,) text. positive, called: bool (N,)."""
    names = np.array(["true negative", "false positive", "false negative", "true positive"])
    return names[2 * positive.astype(int) + called.astype(int)]


def choose(decisions: dict[str, Decisions], outcome: dict[str, np.ndarray], count: int) -> list[tuple[str, int]]:
    """(kind, position) of the images of Figure 11, each once: at most `count` of every kind, the most wrong first.

    Kinds: false negatives and false positives of either network, then the right positives of both, most certain
    first. When there is no such image at all, the image that the first network finds most suspect.
    """
    chosen: dict[int, str] = {}
    for name in decisions:
        for which, sign in (("false negative", 1), ("false positive", -1)):
            order = np.argsort(sign * decisions[name].likelihood, kind="stable").tolist()
            rows = [row for row in order if outcome[name][row] == which and row not in chosen]
            for row in rows[:count]:
                both = len({outcome[arm][row] for arm in outcome}) == 1
                chosen[row] = f"{which} of both" if both else f"{which} of {name}"
    certain = np.argsort(-np.minimum(*(found.likelihood for found in decisions.values())), kind="stable").tolist()
    both = [row for row in certain if all(outcome[name][row] == "true positive" for name in outcome)]
    chosen |= {row: "true positive of both" for row in both[:count]}
    if not chosen:
        first = next(iter(decisions))
        row = int(np.argmax(decisions[first].likelihood))
        chosen[row] = f"{outcome[first][row]} of {first}"
    return [(kind, row) for row, kind in chosen.items()]


# --------------------------------------------------------------------------------------------------------- the maps
def class_maps(
    trained: network.Classifier, settings: GradCamSettings, images: ImageSet, rows: Sequence[int]
) -> list[np.ndarray]:
    """The classifier's map of each image, float32 (h, w) at the classifier's size, its sum 1, or 0 where no training
    finds anything that speaks for the positive class."""
    output, found = trained.position(settings.positive), []
    size = trained.image_shape[1:]
    device = next(trained.models[0].parameters()).device
    for start in range(0, len(rows), settings.batch_size):
        entries = images.entries(rows[start : start + settings.batch_size])
        pixels = np.stack([network.resized(pixels, size) for _, pixels, *_mask in entries])
        batch = to_model(torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))).to(device))
        total = np.zeros((len(batch), *trained.image_shape[1:]))
        weight = np.zeros(len(batch))
        for model in trained.models:
            of_seed = maps_of(model, trained.last_convolution(model), batch, output).double().cpu().numpy()
            sums = of_seed.sum(axis=(1, 2))
            some = sums > 0
            total[some] += of_seed[some] / sums[some, None, None]
            weight += some
        found += list((total / np.maximum(weight, 1)[:, None, None]).astype(np.float32))
    return found


def as_pixels(map_: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """A map (h, w) as uint8 (H, W): bilinear, its maximum 255 (a map of zeros stays zeros)."""
    enlarged = _enlarged(map_, shape)
    return np.round(255 * enlarged / max(float(enlarged.max()), np.finfo(np.float32).tiny)).astype(np.uint8)


def _enlarged(map_: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if map_.shape == shape:
        return map_
    return np.asarray(Image.fromarray(map_).resize(shape[::-1], Image.Resampling.BILINEAR))


def _inside(map_: np.ndarray, boxes: Sequence, shape: tuple[int, int]) -> float | None:
    """Share of the map's sum inside the boxes (of an image of `shape`); None without boxes or with an empty map."""
    if not boxes or not map_.any():
        return None
    return localisation.share_inside(_enlarged(map_, shape), localisation.box_region([box[1:] for box in boxes], shape))


def shares(
    maps: Sequence[np.ndarray],
    boxes: Sequence[Sequence],
    patients: Sequence[str],
    shape: tuple[int, int],
    level: float,
) -> dict:
    """How much of the maps lies inside the boxes, see grad_cam; without any image, all is None.

    maps, boxes, patients: one of each for every image; shape: (H, W) of the images; level: of the interval, e.g. 0.95.
    """
    if not maps:
        nothing = Estimate.missing("there is no such image", 0).to_json()
        return {"n": 0, "share_inside": None, "chance": None, "difference": nothing, "empty": 0}
    regions = [localisation.box_region([box[1:] for box in own], shape) for own in boxes]
    inside = np.array(
        [localisation.share_inside(_enlarged(map_, shape), region) for map_, region in zip(maps, regions, strict=True)]
    )
    chance = np.array([localisation.chance(region) for region in regions])
    return {
        "n": len(maps),
        "share_inside": float(inside.mean()),
        "chance": float(chance.mean()),
        "difference": case_mean(inside - chance, patients, level=level, bounds=(-1.0, 1.0)).to_json(),
        "empty": sum(not map_.any() for map_ in maps),
    }
