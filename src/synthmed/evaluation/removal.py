"""How good the ways of taking frames and hair out of the pixels are: what is left, what is lost, how it looks.

A frame is pasted onto images without one, so that what it hid is known. Realism: how well a classifier tells processed
images from untouched ones (0.5: not at all), by a logistic regression on features, the area under its curve out of
folds.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import write_json
from synthmed.core.settings import Count, Level, Seed
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.data.tag_tables import check_given, read_tags
from synthmed.metrics.classification import auroc
from synthmed.metrics.similarity import psnr, ssim
from synthmed.metrics.statistics import case_mean
from synthmed.prepare import dermoscopy
from synthmed.training.seeds import seed_of

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RemovalOptions:
    """What ways of taking frames and hair out of images are worth."""

    images: Annotated[Count, Meta(description="Images without a frame that are used, drawn at random; all if fewer.")]
    shown: Annotated[Count, Meta(description="Of these the number that is shown.")]
    level: Level


@dataclass(frozen=True)
class RemovalSettings(RemovalOptions):
    """Settings of `measure-removal`."""

    tagged: Annotated[
        str | None, Meta(description="Name of the images in the table of tags; null: tags are columns of theirs.")
    ]
    seed: Seed


@step("measure-removal")
def measure_removal(
    settings: RemovalSettings, *, images: Path, tags: Path | None, out: Output, pictures: Output
) -> None:
    """Measure every way of taking frames and hair out of images.

    images: real images with patients; those on which frame_mask finds none are used; tags: CSV of `measure-tags`, where
    nobody but the tagger knows which have hair or rulers. out: JSON, by method: `psnr` and
    `ssim` against the image without the pasted frame, `left` (share of its pixels that are frame still), `detail` (mean
    absolute change where nothing was pasted, of 255; of lesions where there are masks), `realism` (AUROC), `refused`
    (images of which the method says that it cannot do it, and which stay as they are), and of crops `sides`, the share
    of the sides that stays of each shown image (None: refused) and `side`, its mean over all; `hair`: the same of hair
    and rulers, on images that have neither as labelled or (`by_tagger`) tagged, and how much of others is
    `touched_with` it, where that is known.
    pictures: image set of the first images by every method, columns method and start. Raises InputError when fewer than
    four images have no frame.
    """
    found = ImageSet(images)
    rng = np.random.default_rng(seed_of(settings.seed, "removal"))
    clean = [place for place in range(len(found)) if not dermoscopy.frame_mask(found[place]).any()]
    if len(clean) < 4:
        raise InputError(f"{images}: {len(clean)} images without a frame; measuring its removal needs 4")
    chosen = np.sort(rng.permutation(clean)[: settings.images])
    entries = [(row, pixels, *mask) for row, pixels, *mask in found.entries(chosen.tolist())]
    patients = np.array([row["patient"] for row, *_ in entries])
    originals = np.stack([pixels for _, pixels, *_ in entries])
    lesions = [mask[0] > 0 if mask else None for _, _, *mask in entries]
    framed = np.stack([dermoscopy.paste_frame(pixels, rng) for pixels in originals])
    pasted = np.stack([(one != two).any(axis=2) for one, two in zip(originals, framed, strict=True)])
    result, kept = {}, {"original": originals, "framed": framed}
    for name, function in dermoscopy.FRAME_METHODS.items():
        refused: list[str] = []
        done = _timed(name, partial(_taken_out, function, rng, refused), framed)
        kept[name] = done
        result[name] = _measured(settings, originals, done, pasted, lesions, patients) | {"refused": len(refused)}
        if name in dermoscopy.CROPS:
            sides = [_side(one, dermoscopy.CROPS[name]) for one in framed]
            known = [side for side in sides if side is not None]
            result[name] |= {"sides": sides[: settings.shown], "side": float(np.mean(known)) if known else None}
    check_given(tags, settings.tagged, "tagged")
    cells = read_tags(tags, settings.tagged) if tags else {}
    bare = np.array([_without_hair(row | cells.get(row["image"], {})) for row, *_ in entries])
    hair = None
    if bare.sum() >= 2:
        done = _timed("hair", dermoscopy.remove_hair, originals)
        kept["hair"] = done
        lost = _detail(originals[bare], done[bare], [lesions[place] for place in np.flatnonzero(bare)], None)
        hair = {
            "detail": case_mean(lost, patients[bare], level=settings.level, bounds=(0.0, 255.0)).to_json(),
            "touched": float(np.mean([dermoscopy.hair_mask(one).mean() for one in originals[bare]])),
            "touched_with": float(np.mean([dermoscopy.hair_mask(one).mean() for one in originals[~bare]]))
            if (~bare).any()
            else None,
            "realism": _realism(originals[bare], done[bare], patients[bare]),
            "images": int(bare.sum()),
            "by_tagger": tags is not None,
        }
    write_json(out, {"images": len(originals), "level": settings.level, "frames": result, "hair": hair})
    rows = [
        ({**entries[n][0], "image": f"{name}_{n}.png", "method": name, "start": n}, one[n])
        for name, one in kept.items()
        for n in range(min(settings.shown, len(originals)))
    ]
    write_image_set(pictures, rows)
    logger.info("%s: %d images", out, len(originals))


def _taken_out(function: Callable, rng: np.random.Generator, refused: list[str], pixels: np.ndarray) -> np.ndarray:
    """The image without its frame, or as it is where the method says why it cannot do it (a lesion that hangs together
    with the frame is taken for a part of it, say)."""
    try:
        return function(pixels, dermoscopy.frame_mask(pixels), rng)
    except InputError as error:
        refused.append(str(error))
        return pixels


def _side(pixels: np.ndarray, left: float) -> float | None:
    """The share of the sides that a crop leaves; None where it is refused."""
    try:
        return dermoscopy.crop_share(dermoscopy.frame_mask(pixels), left)
    except InputError:
        return None


def _without_hair(row: dict) -> bool:
    """Whether labels, or tags, say that an image has neither hair nor ruler."""
    return row.get("hair") == "no" and row.get("ruler") == "no"


def _timed(name: str, function: Callable[[np.ndarray], np.ndarray], images: np.ndarray) -> np.ndarray:
    """Every image through `function`; the log says how long one took."""
    begun = time.process_time()
    done = np.stack([function(one) for one in images])
    logger.info("%s: %.4f s an image", name, (time.process_time() - begun) / len(images))
    return done


def _measured(
    settings: RemovalSettings,
    originals: np.ndarray,
    done: np.ndarray,
    pasted: np.ndarray,
    lesions: list[np.ndarray | None],
    patients: np.ndarray,
) -> dict:
    left = np.array(
        [(dermoscopy.frame_mask(one) & own).sum() / own.sum() for one, own in zip(done, pasted, strict=True)]
    )
    numbers = {
        "psnr": (np.minimum(psnr(originals, done), 99.0), (0.0, 99.0)),
        "ssim": (ssim(originals, done), (-1.0, 1.0)),
        "left": (left, (0.0, 1.0)),
        "detail": (_detail(originals, done, lesions, pasted), (0.0, 255.0)),
    }
    found = {
        name: case_mean(values, patients, level=settings.level, bounds=bounds).to_json()
        for name, (values, bounds) in numbers.items()
    }
    return found | {"realism": _realism(originals, done, patients)}


def _detail(
    before: np.ndarray, after: np.ndarray, lesions: list[np.ndarray | None], pasted: np.ndarray | None
) -> np.ndarray:
    """Mean absolute change of each image where its lesion is (without masks: in the middle half of it) and nothing was
    pasted."""
    change = np.abs(before.astype(float) - after).mean(axis=3)
    height, width = change.shape[1:]
    middle = np.zeros((height, width), bool)
    middle[height // 4 : -(height // 4), width // 4 : -(width // 4)] = True
    values = []
    for number, lesion in enumerate(lesions):
        where = (middle if lesion is None or not lesion.any() else lesion) & (
            True if pasted is None else ~pasted[number]
        )
        values.append(change[number][where].mean() if where.any() else np.nan)
    return np.array(values)


def _realism(before: np.ndarray, after: np.ndarray, patients: np.ndarray) -> float | None:
    """AUROC of told_apart; None where all images are of one patient, so that there is nobody else to learn from."""
    if len(np.unique(patients)) < 2:
        return None
    return float(auroc(told_apart(before, after, patients), np.repeat([False, True], len(before))))


def told_apart(before: np.ndarray, after: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """What a classifier of untouched and processed images says of both, those before first: float (2N,), above 0 where
    it takes one for processed; out of five folds, so that it has seen no image of the same patient."""
    from sklearn.model_selection import GroupKFold, cross_val_predict

    both, processed = np.concatenate([before, after]), np.repeat([False, True], len(before))
    groups = np.unique(np.concatenate([patients, patients]), return_inverse=True)[1]
    folds = GroupKFold(min(5, len(np.unique(groups))))
    return cross_val_predict(classifier(), tiles(both), processed, groups=groups, cv=folds, method="decision_function")


def classifier():
    """A logistic regression, as scikit-learn has it, not yet trained."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))


def tiles(images: np.ndarray) -> np.ndarray:
    """Mean and deviation of every channel in 8 × 8 tiles, which show painted or smoothed regions: uint8 (N, H, W, 3) →
    float (N, 384)."""
    side = min(images.shape[1:3]) // 8
    parts = images[:, : 8 * side, : 8 * side].astype(float).reshape(len(images), 8, side, 8, side, 3)
    return np.concatenate([parts.mean(axis=(2, 4)), parts.std(axis=(2, 4))], axis=-1).reshape(len(images), -1)
