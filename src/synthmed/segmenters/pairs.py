"""The images of a segmenter's training with their masks as channels: which rows of which sets, and how augmented."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from synthmed.augment.pairs import augment_pairs, deform_pairs
from synthmed.augment.paste import paste_objects
from synthmed.core.errors import InputError
from synthmed.core.known import REAL
from synthmed.data.arm_lists import Members
from synthmed.data.channels import MaskChannels, resized_labels
from synthmed.data.imageset import ImageSet
from synthmed.segmenters.settings import TrainSegmenterSettings
from synthmed.training.arm_images import Parts, check_together, gathered, open_arm
from synthmed.training.batches import OnDemand
from synthmed.training.device import derived_seed
from synthmed.training.images import resized, to_model, to_pixels

SIMPLE, ELASTIC, PASTED = "simple", "elastic", "pasted"
"""Sets of augmented draws of the real images with their masks (evaluation/arms.py)."""


@dataclass(frozen=True)
class Pairs:
    """Images of one part with what is drawn for them: images uint8 (N, C, H, W); masks uint8 (N, K, H, W), 255 where it
    is so, 0 where not; patients: N names."""

    images: Tensor
    masks: Tensor
    patients: list[str]

    def of(self, rows: Sequence[int]) -> "Pairs":
        return Pairs(self.images[rows], self.masks[rows], [self.patients[row] for row in rows])


def drawn_names(coded: MaskChannels) -> tuple[str, ...]:
    """Channels that a segmenter draws: all of the coding but the distance, which is no yes or no."""
    return tuple(name for name in coded.names if name != "distance")


def read_set(images: ImageSet, settings: TrainSegmenterSettings, rows: Sequence[int] | None = None) -> Pairs:
    """Images of a set with their masks, at the network's size. rows: positions, None for all.

    Raises InputError on an image without a mask, one smaller than the network's size, or images of different sizes.
    """
    coded = MaskChannels(settings.masks, images.legend)
    keep = np.arange(len(images)) if rows is None else np.asarray(rows)
    reader = OnDemand(images, keep, settings.size, coded, "images", settings.threads)
    found = torch.cat([reader.read(chunk) for chunk in torch.arange(len(keep)).split(256)])
    reader.threads.shutdown()
    channels = reader.full_shape[2]
    masks = found[:, channels : channels + len(drawn_names(coded))]
    return Pairs(found[:, :channels], masks, [images.rows[row]["patient"] for row in keep])


def read_arm(
    settings: TrainSegmenterSettings, train: Path, validation: Path, arms: Path | None, synthetic: Sequence[Path]
) -> tuple[Parts, Pairs]:
    """The training part of every seed, and the validation part, of the arm that the settings name.

    arms: of `compose-arms`, None where all images of `train` are used; synthetic: image sets in the order of
    settings.sets. Raises InputError when a part is unusable: the first seed's at once, before anything is trained.
    """
    if (arms is None) != (settings.arm is None):
        raise InputError(
            f"setting arm is {settings.arm!r}, and the input arms {arms and str(arms)!r}; an arm needs its lists, else "
            "give none"
        )
    validating = read_set(ImageSet(validation), settings)

    def checked(part: Pairs) -> Pairs:
        _check(settings, part, validating, (train if arms is None else arms, validation))
        return part

    if arms is None:
        parts = Parts([train] * settings.seeds, lambda path: checked(read_set(ImageSet(path), settings)))
    else:
        sets, lists = open_arm(settings, train, arms, synthetic)
        _check_legends(sets)
        parts = Parts(lists, lambda own: checked(gathered(own, lambda *one: _of_set(settings, sets, *one))))
    parts[0]  # read and checked now
    return parts, validating


def _check_legends(sets: Mapping[str, ImageSet]) -> None:
    """Raise InputError where masks of a synthetic set mean something else than the real ones."""
    known = {name: (one.legend.masks, dict(one.legend.classes)) for name, one in sets.items()}
    for name, legend in known.items():
        if legend != known[REAL]:
            raise InputError(
                f"{sets[name].path}: masks are {legend}, those of the real images {known[REAL]}; sample them again, or "
                "prepare both alike"
            )


def _of_set(settings: TrainSegmenterSettings, sets: Mapping[str, ImageSet], name: str, members: Members) -> Pairs:
    """Pairs of one set of the list, each image decoded once; of a set that is no file, draws of an augmentation of real
    ones."""
    images, masks, draws = (part.tolist() for part in (members.images, members.masks, members.draws))
    if name == PASTED and name not in sets:
        return _pasted(settings, sets[REAL], images, draws)
    known = sets[name if name in sets else REAL]
    place = {image: number for number, image in enumerate(known.column("image"))}
    shown = [place[image] for image in images]
    drawn = [place[mask] if mask else row for mask, row in zip(masks, shown, strict=True)]
    needed = sorted({*shown, *drawn})
    pairs, at = read_set(known, settings, needed), {row: number for number, row in enumerate(needed)}
    one = pairs.of([at[row] for row in shown])
    one = Pairs(one.images, pairs.masks[[at[row] for row in drawn]], one.patients)
    return one if name in sets else _augmented(settings, name, one, images, draws)


def _augmented(
    settings: TrainSegmenterSettings, name: str, pairs: Pairs, names: Sequence[str], draws: Sequence[int]
) -> Pairs:
    """Augmented draws of real pairs; which one follows from the name of the image and the number of the draw."""
    images, masks = [], []
    for row, (image, draw) in enumerate(zip(names, draws, strict=True)):
        generator = torch.Generator().manual_seed(derived_seed(settings.seed, f"{name} {image} {draw}"))
        given = to_model(pairs.images[row : row + 1]), pairs.masks[row : row + 1].float()
        if name == ELASTIC:
            image, mask = deform_pairs(*given, settings.elastic, generator)
        else:
            image, mask = augment_pairs(*given, settings.augmentation, generator)
        images.append(to_pixels(image))
        masks.append(mask.to(torch.uint8))
    return Pairs(torch.cat(images), torch.cat(masks), pairs.patients)


def _pasted(settings: TrainSegmenterSettings, real: ImageSet, names: Sequence[str], draws: Sequence[int]) -> Pairs:
    """Draws of real images with objects of an image of another patient pasted on them."""
    coded, size = MaskChannels(settings.masks, real.legend), settings.size
    place, patients = {name: row for row, name in enumerate(real.column("image"))}, np.array(real.column("patient"))
    images, masks = [], []
    for name, draw in zip(names, draws, strict=True):
        row = place[name]
        rng = np.random.default_rng(derived_seed(settings.seed, f"{PASTED} {name} {draw}"))
        others = np.flatnonzero(patients != patients[row])
        if not len(others):
            raise InputError(f"{real.path}: all images are of one patient, so none has objects of another to paste")
        (_, *own), (_, *donor) = real.entries([row, int(rng.choice(others))])
        pixels, mask = paste_objects(*own, donor, real.legend, rng)
        image = torch.from_numpy(pixels.transpose(2, 0, 1)[None].copy())
        if size is not None:
            image, mask = resized(image.float(), size).round().clamp(0, 255).to(torch.uint8), resized_labels(mask, size)
        images.append(image)
        channels = coded.encode(mask)[:, :, : len(drawn_names(coded))]
        masks.append(torch.from_numpy(channels.transpose(2, 0, 1)[None].copy()))
    return Pairs(torch.cat(images), torch.cat(masks), [patients[place[name]] for name in names])


def _check(settings: TrainSegmenterSettings, part: Pairs, validating: Pairs, paths: tuple[Path, Path]) -> None:
    needed = settings.batch_size * settings.accumulate
    if len(part.images) < needed:
        raise InputError(
            f"{paths[0]}: {len(part.images)} images in the training part, fewer than a step takes ({needed}); lower "
            "batch_size or add images"
        )
    check_together((part.patients, validating.patients), (part.images.shape, validating.images.shape), paths)
    names = drawn_names(MaskChannels(settings.masks, ImageSet(paths[1]).legend))
    for path, one, name in zip(paths, (part, validating), ("training", "validation"), strict=True):
        empty = [channel for channel in range(one.masks.shape[1]) if not one.masks[:, channel].any()]
        if empty:
            raise InputError(
                f"{path}: in the masks of the {name} part ({len(one.images)} images) nothing is drawn of "
                f"{names[empty[0]]!r}; look at the masks, or make the part larger"
            )
