"""Generator and classifier as one: from codes to images, and to what the classifier says and sees of them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from synthmed.classifiers import network
from synthmed.classifiers.cam import grad_cam
from synthmed.generators.base import Generator
from synthmed.latent.samples import pixels_of
from synthmed.latent.space import SpaceName
from synthmed.training.images import to_model


@dataclass(frozen=True)
class Walk:
    """What is seen along one direction from S starts at K distances. likelihoods: float64 (K, S, T), mean over the
    classifier's seeds; pixels, features: (K, S), distance to the start, see Eye."""

    likelihoods: np.ndarray
    pixels: np.ndarray
    features: np.ndarray


class Eye:
    """Generator and classifier together: from codes to images, likelihoods, features.

    Features: the channels of each network's last convolution, averaged over the image, all networks joined.
    """

    def __init__(self, gan: Generator, judge: network.Classifier, space: SpaceName, batch_size: int):
        self.gan, self.judge, self.space, self.batch_size = gan, judge, space, batch_size

    def pixels(self, codes: np.ndarray) -> Iterator[np.ndarray]:
        """uint8 (n, H, W, C) of the codes (N, D), in batches."""
        for first in range(0, len(codes), self.batch_size):
            yield pixels_of(self.gan, self.space, codes[first : first + self.batch_size])

    def judged(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Likelihoods (n, T), mean over the seeds, and features (n, F)."""
        seen: list[Tensor] = []

        def keep(_layer: nn.Module, _inputs: tuple, output: Tensor) -> None:
            seen.append(output.detach().float().mean(dim=(2, 3)).cpu())

        hooks = [self.judge.last_convolution(model).register_forward_hook(keep) for model in self.judge.models]
        try:
            likelihoods = network.likelihoods(self.judge, pixels, len(pixels)).mean(axis=0)
        finally:
            for hook in hooks:
                hook.remove()
        return likelihoods, torch.cat(seen, dim=1).double().numpy()

    def look(self, codes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """All pixels (N, H, W, C), likelihoods (N, T) and features (N, F) of the codes (N, D): for the starts."""
        pixels = list(self.pixels(codes))
        judged = [self.judged(batch) for batch in pixels]
        return np.concatenate(pixels), *(np.concatenate(parts) for parts in zip(*judged, strict=True))

    def walk(self, codes: np.ndarray, start_pixels: np.ndarray, start_features: np.ndarray) -> Walk:
        """Look at the codes (K, S, D), one batch of images at a time."""
        steps, starts = codes.shape[:2]
        likelihoods, from_pixels, from_features = [], [], []
        first = 0
        for pixels in self.pixels(codes.reshape(steps * starts, -1)):
            origin = np.arange(first, first + len(pixels)) % starts
            first += len(pixels)
            found, features = self.judged(pixels)
            likelihoods.append(found)
            from_pixels.append(distances(pixels, start_pixels[origin]))
            from_features.append(distances(features, start_features[origin]))
        return Walk(
            np.concatenate(likelihoods).reshape(steps, starts, -1),
            np.concatenate(from_pixels).reshape(steps, starts),
            np.concatenate(from_features).reshape(steps, starts),
        )

    def cams(self, pixels: np.ndarray, target: int) -> np.ndarray:
        """Class activation maps (n, h, w) float32 ≥ 0 of the output `target`, mean over the networks, at the size of
        the classifier's images."""
        small = np.stack([network.resized(image, self.judge.image_shape[1:]) for image in pixels])
        images = to_model(torch.from_numpy(small.transpose(0, 3, 1, 2).copy()).to(self.gan.device))
        maps = [grad_cam(model, self.judge.last_convolution(model), images, target) for model in self.judge.models]
        return torch.stack(maps).mean(dim=0).cpu().numpy()


def distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Root mean square difference of each row: (N,)."""
    difference = a.astype(np.float64).reshape(len(a), -1) - b.reshape(len(b), -1)
    return np.sqrt((difference**2).mean(axis=1))


def mean_distance(values: np.ndarray) -> float:
    """Mean distance between two different rows of `values` (N, …)."""
    pairs = zip(*np.triu_indices(len(values), 1), strict=True)
    return float(np.mean([distances(values[i : i + 1], values[j : j + 1])[0] for i, j in pairs]))
