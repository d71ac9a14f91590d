"""The images of a classifier's training: which rows of a set, with which targets, at which size; their augmentation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from synthmed.augment.classic import classic_augment
from synthmed.classifiers.network_settings import NetworkSettings
from synthmed.core.errors import InputError
from synthmed.core.known import AUGMENTED, REAL
from synthmed.data.arm_lists import Members, read_arms
from synthmed.data.imageset import ImageSet
from synthmed.data.split import draw
from synthmed.training.arm_images import Parts, check_together, gathered, open_arm
from synthmed.training.device import derived_seed
from synthmed.training.images import mirrored, to_model, to_pixels


@dataclass(frozen=True)
class Part:
    """Images of one part: pixels uint8 (N, C, H, W); targets float32 (N, T), 0 or 1; patients: N names."""

    pixels: Tensor
    targets: Tensor
    patients: list[str]


def read_targets(image_set: ImageSet, settings: NetworkSettings) -> dict[int, list[int]]:
    """Row of the manifest → its targets (0 or 1), for the rows that can be used; see NetworkSettings.

    Raises InputError on an empty cell when settings say so, and on a target that no cell names.
    """
    cells = _cells(image_set, settings)
    empty = [index for index, cell in enumerate(cells) if not cell.strip()]
    if empty and settings.missing == "error":
        raise InputError(
            f"{image_set.path}: {len(empty)} of {len(cells)} images have no {settings.target_column}, the first is "
            f"{image_set.rows[empty[0]]['image']!r}; fill it in, or set missing to 'skip' or 'normal'"
        )
    found = {}
    for index, cell in enumerate(cells):
        names = _names(cell, settings)
        if names:  # else the settings say to skip it
            found[index] = [int(target in names) for target in settings.targets]
    return found


def _cells(image_set: ImageSet, settings: NetworkSettings) -> list[str]:
    """The cells of the column, or of all columns that the setting names, joined; empty where one of them is. A column
    of yes and no names itself: `yes` in the column `device` is the target `device`."""
    names = settings.target_column.split(";")
    said = [{"yes": name, "no": f"no {name}"} for name in names]
    columns = zip(*(image_set.column(name) for name in names), strict=True)
    return [
        ";".join(words.get(cell.strip(), cell) for words, cell in zip(said, cells, strict=True))
        if all(cell.strip() for cell in cells)
        else ""
        for cells in columns
    ]


def _names(cell: str, settings: NetworkSettings) -> set[str]:
    names = {name.strip() for name in cell.split(";") if name.strip()}
    return names or ({"normal"} if settings.missing == "normal" else set())


def _check_known(paths: Sequence[Path], sets: Sequence[ImageSet], settings: NetworkSettings) -> None:
    cells = {cell for images in sets for cell in _cells(images, settings)}
    known = {name for cell in cells for name in _names(cell, settings)}
    unknown = [target for target in settings.targets if target not in known]
    if unknown:
        raise InputError(
            f"{paths[0]}: unknown target {unknown[0]!r}; the column {settings.target_column!r} names {sorted(known)}"
        )


def read_parts(settings: NetworkSettings, train: Path, validation: Path) -> tuple[Part, Part]:
    """The training and the validation part of all images. Raises InputError when a part is unusable, see `train`."""
    same = Path(train).resolve() == Path(validation).resolve()
    if settings.holdout is not None and not same:
        raise InputError(
            f"setting holdout is {settings.holdout}, which takes the validation part from {train}; then the input "
            f"validation must be that file too, not {validation}; or set holdout to null"
        )
    train_set = ImageSet(train)
    validation_set = train_set if same else ImageSet(validation)
    _check_known([train], [train_set, validation_set], settings)
    rows = [read_targets(train_set, settings), read_targets(validation_set, settings)]
    if settings.holdout is not None:
        chosen = list(rows[0])
        patients = [train_set.rows[index]["patient"] for index in chosen]
        patterns = ["".join(map(str, rows[0][index])) for index in chosen]
        drawn = draw(patients, patterns, {"validation": settings.holdout}, derived_seed(settings.seed, "holdout"))
        rows = [
            {index: rows[0][index] for index, part in zip(chosen, drawn, strict=True) if part == name}
            for name in ("train", "validation")
        ]
    parts = []
    for name, images, found in zip(("training", "validation"), (train_set, validation_set), rows, strict=True):
        _check_part(images.path, name, np.array(list(found.values())).reshape(-1, len(settings.targets)), settings)
        parts.append(_decoded(images, found, settings.size))
    _check_together(parts[0], parts[1], train, validation)
    return parts[0], parts[1]


def _check_together(training: Part, validating: Part, train: Path, validation: Path) -> None:
    check_together(
        (training.patients, validating.patients), (training.pixels.shape, validating.pixels.shape), (train, validation)
    )


def read_arm(
    settings: NetworkSettings, train: Path, validation: Path, arms: Path, synthetic: Sequence[Path]
) -> tuple[Parts, Part]:
    """The training part of every seed, and the validation part, of the arm that the settings name.

    arms: of `compose-arms`; synthetic: image sets in the order of settings.sets. An arm with validation images of its
    own is validated on these. Raises InputError when a part is unusable: the first seed's at once, before anything is
    trained.
    """
    sets, lists = open_arm(settings, train, arms, synthetic)

    def listed(members: Members) -> Part:
        return gathered(members, lambda name, own: _of_set(settings, sets, name, own, arms))

    own = read_arms(arms, 1, "validation").get(settings.arm)
    if own:
        validating = listed(own[0])
    else:
        images = ImageSet(validation)
        validating = _decoded(images, read_targets(images, settings), settings.size)
    where = arms if own else validation
    _check_part(where, "validation", validating.targets.numpy(), settings)

    def checked(members: Members) -> Part:
        part = listed(members)
        _check_part(arms, "training", part.targets.numpy(), settings)
        _check_together(part, validating, train, where)
        return part

    parts = Parts(lists, checked)
    parts[0]  # read and checked now
    return parts, validating


def _of_set(settings: NetworkSettings, sets: Mapping[str, ImageSet], name: str, members: Members, arms: Path) -> Part:
    """The images of one set of the list, each decoded once; of AUGMENTED, draws of real ones."""
    if (members.draws > 0).any() and settings.augmentation is None:
        raise InputError(f"{arms}: the arm {settings.arm!r} has augmented draws; setting augmentation must say of what")
    images, names = sets[REAL if name == AUGMENTED else name], members.images.tolist()
    places = {image: place for place, image in enumerate(images.column("image"))}
    needed = dict.fromkeys(places[image] for image in names)
    decoded = _decoded(images, {place: [] for place in needed}, settings.size)
    at = {place: number for number, place in enumerate(needed)}
    rows = [at[places[image]] for image in names]
    pixels = decoded.pixels[rows]
    if name == AUGMENTED:
        pixels = _draws(settings, pixels, names, members.draws.tolist())
    targets = [[float(label == target) for target in settings.targets] for label in members.labels.tolist()]
    return Part(pixels, torch.tensor(targets, dtype=torch.float32), [decoded.patients[row] for row in rows])


def _draws(settings: NetworkSettings, pixels: Tensor, names: Sequence[str], draws: Sequence[int]) -> Tensor:
    """Augmented draws of images, uint8 (N, C, H, W) → the same; which one follows from name and number of the draw."""
    found = []
    for image, name, draw_ in zip(pixels, names, draws, strict=True):
        rng = torch.Generator().manual_seed(derived_seed(settings.seed, f"{AUGMENTED} {name} {draw_}"))
        found.append(to_pixels(classic_augment(to_model(image[None]), settings.augmentation, rng)))
    return torch.cat(found)


def _check_part(path: Path, name: str, targets: np.ndarray, settings: NetworkSettings) -> None:
    if len(targets) < (settings.batch_size * settings.accumulate if name == "training" else 2):
        raise InputError(
            f"{path}: {len(targets)} images in the {name} part are too few (batch_size is {settings.batch_size}); add "
            "images or lower batch_size"
        )
    several = np.flatnonzero(targets.sum(axis=1) != 1)
    if settings.outputs == "exclusive" and len(several):
        raise InputError(
            f"{path}: setting outputs is 'exclusive', but of {len(several)} images in the {name} part none or several "
            f"of the targets {list(settings.targets)} are true; name every class, or set it to independent"
        )
    for target, positives in zip(settings.targets, targets.sum(axis=0).tolist(), strict=True):
        if positives in (0, len(targets)):
            lacking = "positive" if positives == 0 else "negative"
            raise InputError(
                f"{path}: the {name} part ({len(targets)} images) has no {lacking} image of the target {target!r}; add "
                "some, or take the target out of the settings"
            )


def _decoded(images: ImageSet, found: dict[int, list[int]], size: tuple[int, int] | None) -> Part:
    rows = list(found)
    decoded = np.empty((0,), np.uint8)
    for place, (row, pixels, *_) in enumerate(images.entries(rows)):
        if size is not None and (pixels.shape[0] < size[0] or pixels.shape[1] < size[1]):
            raise InputError(
                f"{images.path}: {row['image']} has {pixels.shape[0]} × {pixels.shape[1]} pixels, less than the "
                f"setting size, {list(size)}; lower it"
            )
        image = (pixels if size is None else resized(pixels, size)).transpose(2, 0, 1)
        if place == 0:  # one array from the start, so that memory holds the images once
            decoded = np.empty((len(rows), *image.shape), np.uint8)
        if image.shape != decoded.shape[1:]:
            raise InputError(
                f"{images.path}: {row['image']} has the shape {image.shape} and the first image {decoded.shape[1:]} "
                "(channels, height, width); all must have one size: prepare them so"
            )
        decoded[place] = image
    targets = torch.tensor([found[index] for index in rows], dtype=torch.float32)
    return Part(torch.from_numpy(decoded), targets, [images.rows[index]["patient"] for index in rows])


def augmented(images: Tensor, flip: bool, shift: float, rng: torch.Generator) -> Tensor:
    """Mirror half of the images and shift each by whole pixels within ± shift × side; the border repeats.

    images: uint8 (N, C, H, W) → the same. rng: a CPU generator, from which all randomness comes.
    """
    if flip:
        images = mirrored(images, torch.rand(len(images), generator=rng) < 0.5)
    reach = round(shift * images.shape[3])
    if reach:
        height, width = images.shape[2:]
        corners = torch.randint(0, 2 * reach + 1, (len(images), 2), generator=rng).tolist()
        padded = F.pad(images.float(), (reach,) * 4, mode="replicate").to(torch.uint8)
        images = torch.stack(
            [
                image[:, top : top + height, left : left + width]
                for image, (top, left) in zip(padded, corners, strict=True)
            ]
        )
    return images


def resized(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """One image uint8 (H, W, C) reduced to (*size, C): bilinear with antialiasing (Pillow), channel by channel."""
    if pixels.shape[:2] == size:
        return pixels
    channels = [Image.fromarray(np.ascontiguousarray(channel)) for channel in np.moveaxis(pixels, 2, 0)]
    return np.dstack([np.asarray(channel.resize(size[::-1], Image.Resampling.BILINEAR)) for channel in channels])
