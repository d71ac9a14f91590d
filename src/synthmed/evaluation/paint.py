"""Steps `paint-frames` and `measure-paint`: does a generator show what took the frames out of its training images?

Seed 003 (section 4.1) paints frames with random colours of the skin, trains a GAN on such images, and sees the painted
pixels in its samples. Here they are looked for by a classifier, and counted.
"""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.settings import Level, Names, Seed
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.evaluation.removal import classifier, tiles, told_apart
from synthmed.metrics.classification import auroc
from synthmed.metrics.prevalence import effective, true_prevalence
from synthmed.metrics.statistics import case_mean
from synthmed.prepare import dermoscopy
from synthmed.training.seeds import seed_of

logger = logging.getLogger(__name__)

Method = Annotated[Literal[tuple(dermoscopy.FRAME_METHODS)], Meta(description="Way of taking frames out of pixels.")]


@dataclass(frozen=True)
class PaintSettings:
    """Settings of `paint-frames`."""

    method: Method
    seed: Seed


@step("paint-frames")
def paint_frames(settings: PaintSettings, *, images: Path, painted: Output) -> None:
    """Take the frame out of every image that has one.

    images: image set of three channels; painted: the same, with the column `painted`, yes or no. A frame that the
    method cannot take out stays, and is counted in the log.
    """
    found, counts = ImageSet(images), {"yes": 0, "no": 0, "refused": 0}

    def rows():
        for row, pixels, *mask in found.entries():
            done, word = _painted(settings, row["image"], pixels)
            counts[word] += 1
            yield {**row, "painted": "yes" if word == "yes" else "no"}, done, *mask

    write_image_set(painted, rows(), found.legend)
    logger.info("%s: %s", painted, counts)


def _painted(settings: PaintSettings, name: str, pixels: np.ndarray) -> tuple[np.ndarray, str]:
    """The image without its frame, and yes; itself, and no where it has none, refused where it cannot be done."""
    frame = dermoscopy.frame_mask(pixels)
    if not frame.any():
        return pixels, "no"
    rng = np.random.default_rng(seed_of("painted", settings.seed, name))
    try:
        return dermoscopy.FRAME_METHODS[settings.method](pixels, frame, rng), "yes"
    except InputError:
        return pixels, "refused"


@dataclass(frozen=True)
class MeasurePaintSettings:
    """Settings of `measure-paint`."""

    methods: Annotated[
        dict[str, Method], Meta(description="Generator → how frames were taken out of its training images.")
    ]
    sets: Annotated[Names, Meta(description="Names of the synthetic sets, in the order of their files.")]
    level: Level
    seed: Seed


@step("measure-paint")
def measure_paint(settings: MeasurePaintSettings, *, images: Path, synthetic: list[Path], out: Output) -> None:
    """Count the generated images that show what took the frames out of a generator's training images.

    For each method a classifier learns to tell images without a frame from the same images on which a frame was pasted
    and taken out again, so that their lesions tell it nothing. images: the real training images; synthetic: all
    generated sets: those of other generators are the control. out: JSON, by method: `auroc` and the counts of right
    answers, out of folds; `painted`, the share of the real images that the method changes, and `seen`, the share of
    these in which the classifier sees it; of every set `called`, the share in which it does, and `estimated`, that
    share corrected for its errors; intervals count patients. Raises InputError when fewer than ten images have no
    frame, or a method takes a pasted frame off fewer than ten of them.
    """
    found = ImageSet(images)
    rows, pixels = found.rows, found.pixels
    framed, patients = np.array([dermoscopy.frame_mask(one).any() for one in pixels]), np.array(found.column("patient"))
    clean = pixels[~framed]
    if len(clean) < 10:
        raise InputError(f"{images}: {len(clean)} images have no frame; a classifier of painted ones needs 10")
    generated = {name: ImageSet(path) for name, path in zip(settings.sets, synthetic, strict=True)}
    result = {}
    for method in sorted(set(settings.methods.values())):
        paint = PaintSettings(method, settings.seed)
        pairs = [_pasted_and_painted(paint, number, one) for number, one in enumerate(clean)]
        kept = np.array([word == "yes" for _, word in pairs])
        if kept.sum() < 10:
            raise InputError(
                f"{images}: {method!r} takes a pasted frame off {kept.sum()} of {len(clean)} images; a classifier of "
                "painted ones needs 10"
            )
        before, after = clean[kept], np.stack([one for one, word in pairs if word == "yes"])
        truth, own = np.repeat([False, True], len(before)), patients[~framed][kept]
        said = told_apart(before, after, own)
        found_out, spared = said[truth] > 0, said[~truth] <= 0
        errors = (*effective(found_out, own), *effective(spared, own))
        right = {
            "hits": int(found_out.sum()),
            "positives": len(after),
            "rejected": int(spared.sum()),
            "negatives": len(before),
        }
        judge = classifier().fit(tiles(np.concatenate([before, after])), truth)
        done = [_painted(paint, row["image"], one) for row, one in zip(rows, pixels, strict=True)]
        changed = np.array([word == "yes" for _, word in done])
        seen = _seen(judge, np.stack([one for one, word in done if word == "yes"])) if changed.any() else changed[:0]
        result[method] = {
            "auroc": float(auroc(said, truth)),
            **right,
            "painted": case_mean(changed, patients, level=settings.level).to_json(),
            "seen": case_mean(seen, patients[changed], level=settings.level).to_json(),
            "sets": {},
        }
        for name, ones in generated.items():
            called, of = _seen(judge, ones.pixels), np.array(ones.column("patient"))
            corrected = true_prevalence(*effective(called, of), *errors, settings.level, n=len(called))
            result[method]["sets"][name] = {
                "trained_on": settings.methods.get(name) == method,
                "called": case_mean(called, of, level=settings.level).to_json(),
                "estimated": corrected.to_json(),
            }
        logger.info("%s: told apart with an AUROC of %.2f", method, result[method]["auroc"])
    write_json(out, {"level": settings.level, "methods": result})


def _seen(judge, pixels: np.ndarray) -> np.ndarray:
    """In which of the images (N, H, W, 3) the classifier sees it: bool (N,)."""
    return judge.decision_function(tiles(pixels)) > 0


def _pasted_and_painted(settings: PaintSettings, number: int, pixels: np.ndarray) -> tuple[np.ndarray, str]:
    """What _painted says of an image without a frame on which one was pasted."""
    framed = dermoscopy.paste_frame(pixels, np.random.default_rng(seed_of("pasted", settings.seed, number)))
    return _painted(settings, str(number), framed)
