"""Many samples of a generator, judged by a classifier: the data that the axes of diseases are found in."""

import logging
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from msgspec import Meta
from tqdm import tqdm

from synthmed import generators
from synthmed.classifiers import network
from synthmed.core.errors import InputError
from synthmed.core.files import hash_file
from synthmed.core.provenance import code_hashes
from synthmed.core.settings import Count, Device, GeneratorName, ModelName, Seed, Threads
from synthmed.core.step import Output, step
from synthmed.generators.base import Generator
from synthmed.latent.sample_file import LatentSamples, write_samples
from synthmed.latent.space import SpaceName, check_space, draw_codes, images_of, restore
from synthmed.training.device import choose_device, derived_seed
from synthmed.training.images import to_pixels
from synthmed.training.resume import ResumeState, catch_interruption

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LatentSamplesOptions:
    """Latent vectors whose images a classifier looks at."""

    space: Annotated[
        SpaceName,
        Meta(description="Latent space: z, the noise the generator starts from; w, what StyleGAN maps it to."),
    ]
    count: Annotated[Count, Meta(description="Samples that are drawn and judged (the document: 30,000).")]
    batch_size: Annotated[Count, Meta(description="Images made and judged at once; bounds the memory.")]
    save_every: Annotated[Count, Meta(description="Images between two savings of an unfinished run.")]
    threads: Threads
    device: Device


@dataclass(frozen=True)
class LatentSamplesSettings(LatentSamplesOptions):
    """Settings of `latent-samples`."""

    model: ModelName
    generator: GeneratorName
    seed: Seed
    label: Annotated[str | None, Meta(description="The class it makes; null where it was trained on one.")]


@step("latent-samples")
def latent_samples(settings: LatentSamplesSettings, *, checkpoint: Path, classifier: Path, samples: Output) -> None:
    """Draw latent vectors, and keep what a classifier says of their images.

    Draw codes, make their images, and keep what the classifier says of them (.npz, see sample_file; no image).

    checkpoint: of a generator with a latent vector; classifier: of `synthmed train-classifier`, one output a disease
    and one for normal. The codes depend on the seed only; the likelihoods on the batch size by rounding alone. Memory
    holds one batch of images. A run that is interrupted or killed goes on from `<samples stem>.resume.pt` beside the
    output, on a CPU with the same bytes at the end. Raises InputError when the files do not fit each other or the
    settings, and when the unfinished run had other settings, files or code.
    """
    torch.set_num_threads(settings.threads)
    device = choose_device(settings.device)
    gan = restore(checkpoint, settings.model, device, settings.label)
    check_space(gan, settings.space, checkpoint)
    judge = network.load(classifier).to(device)
    check_fit(gan, judge, checkpoint, classifier)
    codes = draw_codes(gan, settings.space, settings.count, derived_seed(settings.seed, "latent samples"))

    hashes = {"checkpoint": hash_file(checkpoint), "classifier": hash_file(classifier)}
    code = code_hashes(__name__, generators.GENERATORS[settings.model])
    unfinished = ResumeState(samples, asdict(settings) | hashes | {"code": code})
    per_seed = np.empty((len(judge.models), settings.count, len(judge.targets)), dtype=np.float32)
    done = 0
    if (before := unfinished.load()) is not None:
        done = before.shape[1]
        per_seed[:, :done] = before.numpy()
        logger.info("%s: going on after %d samples", samples, done)
    saved = done
    progress = tqdm(total=settings.count, initial=done, unit="image", desc="latent samples", disable=None)
    with progress, catch_interruption() as interrupted:
        while done < settings.count:
            batch = codes[done : done + settings.batch_size]
            pixels = pixels_of(gan, settings.space, batch)
            per_seed[:, done : done + len(batch)] = network.likelihoods(judge, pixels, len(pixels))
            done += len(batch)
            progress.update(len(batch))
            if interrupted() or done - saved >= settings.save_every:
                unfinished.save(torch.from_numpy(per_seed[:, :done].copy()))
                saved = done
            if interrupted():
                raise KeyboardInterrupt(f"stopped after {done} of {settings.count} samples; run the same command again")
    found = LatentSamples(
        codes=codes,
        likelihoods=per_seed.mean(axis=0, dtype=np.float64),
        per_seed=per_seed,
        targets=judge.targets,
        generator=settings.generator,
        model=settings.model,
        space=settings.space,
        seed=settings.seed,
        **hashes,
    )
    write_samples(samples, found)
    unfinished.remove()
    logger.info("%s: judged %d samples of %s for %s", samples, done, settings.generator, ", ".join(judge.targets))


def check_fit(gan: Generator, judge: network.Classifier, checkpoint: Path, classifier: Path) -> None:
    """Raises InputError when the generator's images are smaller than the classifier's, or of other channels."""
    (channels, *size), (wanted_channels, *wanted) = gan.image_shape, judge.image_shape
    if channels != wanted_channels or min(size) < max(wanted):
        raise InputError(
            f"{checkpoint} makes images of {gan.image_shape} (channels, height, width), but {classifier} was trained "
            f"on {judge.image_shape}; train both on images of one kind and size"
        )


def pixels_of(gan: Generator, space: SpaceName, codes: np.ndarray) -> np.ndarray:
    """uint8 (N, H, W, C) images of `codes` (N, D). Raises InputError when the generator's images are not finite."""
    images = images_of(gan, space, torch.from_numpy(np.ascontiguousarray(codes, dtype=np.float32)).to(gan.device))
    if not torch.isfinite(images).all():
        raise InputError("the generator's images are not finite; train it again with a lower learning rate")
    return to_pixels(images).permute(0, 2, 3, 1).cpu().numpy()
