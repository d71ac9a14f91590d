"""The rival of the search: a classifier of normal and trained findings, brought to the same false-positive rate."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from synthmed.classifiers import cam, network
from synthmed.data.imageset import ImageSet
from synthmed.training.images import to_model

_ODDS_END = 1e-6
"""Likelihoods are cut to this far from 0 and 1 before their log odds are taken."""


@dataclass(frozen=True)
class Supervised:
    """What the classifier says of N cases. margins: (N,), see supervised_margins; likelihoods: (N, T), mean over seeds;
    target: int (N,), the abnormal target that speaks loudest."""

    margins: np.ndarray
    likelihoods: np.ndarray
    target: np.ndarray


def supervised_margins(
    likelihoods: np.ndarray, thresholds: np.ndarray, abnormal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One score an image: the largest, over abnormal targets, of its log odds above those of the target's threshold,
    (N,), averaged over seeds; and the target that has it, int (N,).

    likelihoods (S, N, T); thresholds (S, T), those of the classifier's training; abnormal: positions of the targets
    that are findings. An image whose score exceeds t has a target above its threshold moved by t on the scale of log
    odds: one number moves the thresholds of all targets until the wanted share of normals is called abnormal.
    """

    def odds(values: np.ndarray) -> np.ndarray:
        values = np.clip(values, _ODDS_END, 1 - _ODDS_END)
        return np.log(values / (1 - values))

    above = odds(likelihoods)[:, :, abnormal] - odds(thresholds)[:, None, abnormal]
    return above.max(axis=2).mean(axis=0), abnormal[above.mean(axis=0).argmax(axis=1)]


def classify(
    classifier: network.Classifier, images: ImageSet, positions: np.ndarray, normal: str, batch_size: int
) -> Supervised:
    """What the classifier says of the images at `positions`; `normal`: its output that is no finding."""
    found = []
    for start in range(0, len(positions), batch_size):
        pixels = np.stack([entry[1] for entry in images.entries(positions[start : start + batch_size])])
        found.append(network.likelihoods(classifier, pixels, batch_size))
    likelihoods = np.concatenate(found, axis=1)
    abnormal = np.array([number for number, name in enumerate(classifier.targets) if name != normal])
    margins, target = supervised_margins(likelihoods, classifier.thresholds, abnormal)
    return Supervised(margins, likelihoods.mean(axis=0), target)


def class_maps(classifier: network.Classifier, pixels: np.ndarray, targets: Sequence[int]) -> np.ndarray:
    """Grad-CAM of each image for its own target, at the size of the images, each map's maximum 1 (zeros stay zeros),
    averaged over seeds: float32 (N, H, W). pixels: uint8 (N, H, W, C)."""
    size = classifier.image_shape[1:]
    small = np.stack([network.resized(image, size) for image in pixels])
    device = next(classifier.models[0].parameters()).device
    batch = to_model(torch.from_numpy(np.ascontiguousarray(small.transpose(0, 3, 1, 2))).to(device))
    maps = []
    for number, target in enumerate(targets):
        total = torch.zeros(size, device=device)
        for model in classifier.models:
            own = cam.grad_cam(model, classifier.last_convolution(model), batch[number : number + 1], int(target))[0]
            total += own / own.max().clamp(min=1e-12)
        maps.append(total / len(classifier.models))
    enlarged = torch.nn.functional.interpolate(
        torch.stack(maps)[:, None], pixels.shape[1:3], mode="bilinear", align_corners=False
    )
    return enlarged[:, 0].cpu().numpy()
