"""Step `embed`: where a classifier puts images just before it says their class.

Seed 003 (section 3.4.1) projects "the latent representation of input images in the final layer of a classifier before
being returning a label", of a classifier that was trained on real images.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from synthmed.classifiers import network
from synthmed.core.settings import BatchSize, Device, Threads
from synthmed.core.step import Output, step
from synthmed.data.features import write_features
from synthmed.data.imageset import ImageSet
from synthmed.training.device import choose_device

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EmbedSettings:
    """Use of a classifier whose last layer but one is looked at."""

    batch_size: BatchSize
    threads: Threads
    device: Device


@step("embed")
def embed(settings: EmbedSettings, *, classifier: Path, images: Path, out: Output) -> None:
    """Compute what the last layer of a classifier is given, of every image of a set, and write it to `out` (.npz).

    classifier: of `train-classifier`; of its networks the first is taken, because what two of them see cannot be
    compared. out: a feature file, see data/features, of the numbers that the last linear layer gets.
    """
    torch.set_num_threads(settings.threads)
    judge = network.load(classifier)
    judge = replace(judge, models=judge.models[:1], thresholds=judge.thresholds[:1]).to(choose_device(settings.device))
    image_set = ImageSet(images)
    found = last_layer_inputs(judge, image_set, settings.batch_size)
    write_features(out, image_set.rows, {"features": found}, f"the last layer but one of {judge.architecture}")
    logger.info("%s: %d images, %d numbers each", out, *found.shape)


def last_layer_inputs(judge: network.Classifier, images: ImageSet, batch_size: int) -> np.ndarray:
    """What the last linear layer of a classifier of one network gets of every image of a set: float32 (N, D)."""
    (model,) = judge.models
    last = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    seen: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _layer, given: seen.append(given[0].detach().float().cpu()))
    try:
        network.predict_set(judge, images, batch_size)
    finally:
        hook.remove()
    return torch.cat(seen).numpy()
