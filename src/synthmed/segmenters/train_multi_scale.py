"""Training of the last network of a multi-scale segmenter, and the ways of joining maps that need none.

The first networks of seed s serve the last network of seed s, so that the spread over seeds is that of the whole.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from msgspec import Meta
from torch import Tensor

from synthmed import segmenters
from synthmed.core.errors import InputError
from synthmed.core.files import hash_file
from synthmed.core.provenance import code_hashes
from synthmed.core.step import Output, step
from synthmed.data.arm_lists import read_arms
from synthmed.data.imageset import ImageSet
from synthmed.segmenters.multi_scale import FirstNetworks, Join, MultiScale, at_size, joined
from synthmed.segmenters.pairs import Pairs, read_arm
from synthmed.segmenters.settings import TrainSegmenterSettings
from synthmed.segmenters.train import Training, classes_of, counted, overlaps, write_report, write_segmenter
from synthmed.segmenters.trained import DESIGN, Segmenter, load
from synthmed.training import checkpoint as checkpoints
from synthmed.training import distributed
from synthmed.training.checked import train_seeds
from synthmed.training.images import Batch, resized_masks, to_model
from synthmed.training.loop import workers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainMultiScaleSettings(TrainSegmenterSettings):
    """Settings of `train-multi-scale`. size: of the last network, which is what it draws at."""

    join: Annotated[
        Literal["maps", "out_of_fold", "constant", "mean", "best"],
        Meta(
            description="maps: the drawings of the first networks join the image for a last network; out_of_fold: the "
            "same, but of training images those of networks that did not see them; constant: all are 0.5; mean, best: "
            "no last network, their mean or the best of them is the drawing."
        ),
    ]

    @property
    def joins(self) -> Join:
        """How maps join in the trained network."""
        return "maps" if self.join == "out_of_fold" else self.join


class LastTraining(Training):
    """The training of one seed of the last network."""

    def __init__(
        self,
        settings: TrainMultiScaleSettings,
        number: int,
        data: tuple[Pairs, Pairs],
        device: torch.device,
        first: FirstNetworks,
        of_folds: Sequence[FirstNetworks],
        folds: Tensor,
    ):
        """first: of this seed, used on all images that they were not trained on; of_folds: for the training images of
        each fold, of none for `first` alone; folds: (N,), the fold of each training image."""
        self.first, self.of_folds, self.folds = first, of_folds, folds
        self.join, self.size = settings.joins, settings.size
        self.seen: list[Batch] = []
        """The validation images with what the first networks draw on them, which is the same at every check; on the
        CPU."""
        super().__init__(settings, number, data, device, (settings.learning_rates[0], settings.dropouts[0]))

    def input_shape(self) -> tuple[int, ...]:
        maps = len(self.first.networks) * self.train.masks.shape[1]
        return (self.train.images.shape[1] + maps, *self.size)

    def batch(self, chosen: Tensor) -> Batch:
        pairs = map(distributed.own_rows, self.pairs(chosen))
        return self._joined(*pairs, distributed.own_rows(self.folds[chosen]) if self.of_folds else None)

    def validating(self) -> Iterator[Batch]:
        if not self.seen:
            drawn = super().validating()
            self.seen = [Batch(one.images.cpu(), one.labels, one.masks.cpu()) for one in drawn]
        for batch in self.seen:
            yield super()._on_device(batch.images, batch.masks)

    def _on_device(self, images: Tensor, masks: Tensor) -> Batch:
        return self._joined(images, masks, None)

    def _joined(self, images: Tensor, masks: Tensor, folds: Tensor | None) -> Batch:
        """The batch of the last network. folds: of these images, None where the first networks have not seen them."""
        images = images.to(self.device)
        if folds is None and self.join != "constant":
            maps = self.first(images, self.size)
        else:
            maps = images.new_zeros((len(images), len(self.first.networks), masks.shape[1], *self.size))
        if folds is not None:
            for fold in folds.unique().tolist():
                own = (folds == fold).to(self.device)
                maps[own] = self.of_folds[fold](images[own], self.size)
        small = resized_masks(masks, self.size)
        return super()._on_device(joined(at_size(images, self.size), maps, self.join), small)


@step("train-multi-scale")
def train(
    settings: TrainMultiScaleSettings,
    *,
    train: Path,
    validation: Path,
    first: list[Path],
    folds: Path | None,
    of_folds: list[Path],
    segmenter: Output,
    report: Output,
) -> None:
    """Join segmenters at several sizes, by a last network or without one.

    train, validation: image sets with masks. first: of `train-segmenter`, one a size, trained on `train`. folds: of
    `compose-scales`, and of_folds: the same segmenters, trained without each of its folds, fold after fold; for the
    join out_of_fold, else none. segmenter, report: as of `train-segmenter`; each seed uses its own first networks.

    Which of the maps is best is decided by the mean IoU over the validation images and all seeds, at settings.size.
    Raises InputError before the first step on what `train-segmenter` refuses, on segmenters that do not fit together or
    the images, and on inputs that do not fit the join.
    """
    _check(settings, first, folds, of_folds)
    loaded = [load(path) for path in first]
    parts, validating = read_arm(replace(settings, size=None), Path(train), Path(validation), None, [])
    for path, one in zip([*first, *of_folds], [*loaded, *map(load, of_folds)], strict=True):
        _check_fits(settings, path, one, validating)
    design = {name: getattr(settings, name) for name in DESIGN[:3]} | {"dropout": settings.dropouts[0]}
    design |= {"widths": list(settings.widths), "masks": settings.masks, "size": list(settings.size)}
    design |= {"image_shape": list(validating.images.shape[1:]), "join": settings.joins, "best": 0}
    design |= {"first": [_design(path) for path in first]}
    images, legend = counted(parts[0], validating), ImageSet(train).legend
    if settings.join in ("mean", "best"):
        with workers(settings) as device:  # after which the first of several processes alone goes on
            found = _without_last(settings, loaded, validating, device)
        design |= {"architecture": settings.join, "best": found["best"]}
        write_segmenter(segmenter, design, legend, [model.state_dict() for model in found["models"]])
        write_report(report, settings, design, None, load(segmenter).models[0], images, found["entries"])
        return
    inputs = (train, validation, *first, *of_folds, *([folds] if folds else []))
    made_from = asdict(settings) | {"inputs": [hash_file(path) for path in inputs]}
    made_from |= {"code": code_hashes(__name__, segmenters.SEGMENTERS[settings.architecture])}
    number_of = _folds(folds, ImageSet(train), len(of_folds) // len(first)) if folds else torch.zeros(0)
    by_fold = [
        [load(path) for path in of_folds[start : start + len(first)]] for start in range(0, len(of_folds), len(first))
    ]

    def training(number: int, device: torch.device) -> LastTraining:
        networks = _first(loaded, number, device)
        others = [_first(one, number, device) for one in by_fold]
        return LastTraining(settings, number, (parts[number], validating), device, networks, others, number_of)

    results, resume = train_seeds(settings, Path(segmenter), made_from, training, Training.result)
    states = []
    for number, result in enumerate(results):
        kept = {f"first.{name}": value for name, value in _first(loaded, number, "cpu").state_dict().items()}
        states.append(kept | {f"last.{name}": value for name, value in result["state"].items()})
    entries = [result["entry"] for result in results]
    write_segmenter(segmenter, design, legend, states)
    write_report(report, settings, design, settings.learning_rates[0], load(segmenter).models[0], images, entries)
    resume.remove()


def _check(settings: TrainMultiScaleSettings, first: Sequence[Path], folds: Path | None, of_folds: Sequence) -> None:
    apart = settings.join == "out_of_fold"
    if not first or apart != (folds is not None) or apart != bool(of_folds) or len(of_folds) % len(first):
        raise InputError(
            f"setting join is {settings.join!r}, with {len(first)} first segmenters, the folds "
            f"{folds and str(folds)!r} and {len(of_folds)} segmenters of folds; out_of_fold needs both, as many for "
            "each fold as there are first ones, and the others none"
        )
    if settings.size is None or len(settings.learning_rates) * len(settings.dropouts) > 1 or settings.arm is not None:
        raise InputError(
            "settings size, learning_rates, dropouts, arm of a last network: give its size, one learning rate and one "
            "dropout, and no arm"
        )


def _check_fits(settings: TrainMultiScaleSettings, path: Path, one: Segmenter, validating: Pairs) -> None:
    channels, height, width = validating.images.shape[1:]
    too_small = one.image_shape[1] > height or one.image_shape[2] > width
    other = one.masks.coding != settings.masks or one.image_shape[0] != channels
    if len(one.models) != settings.seeds or too_small or other:
        raise InputError(
            f"{path}: a segmenter of {len(one.models)} seeds for images {one.image_shape} (channels, height, width), "
            f"masks as {one.masks.coding}; {settings.seeds} seeds, images of at most {(channels, height, width)} and "
            f"masks as {settings.masks} are needed: train it with the same settings"
        )


def _design(path: Path) -> dict[str, Any]:
    """What the file of a segmenter says of its networks, with their size."""
    content: Mapping = checkpoints.read_torch(path, "train the segmenter again")
    return {name: content[name] for name in DESIGN} | {"size": list(content["image_shape"][1:])}


def _first(loaded: Sequence[Segmenter], number: int, device: torch.device | str) -> FirstNetworks:
    """The first networks of one seed."""
    return FirstNetworks([one.models[number] for one in loaded], [one.size for one in loaded]).to(device)


def _folds(path: Path, images: ImageSet, count: int) -> Tensor:
    """The fold of each image, (N,): the number of the list `fold_<number + 1>` that it is not in."""
    lists = read_arms(path, 1)
    names, found = images.column("image"), torch.full((len(images),), -1)
    for number in range(count):
        (members,) = lists.get(f"fold_{number + 1}", [None])
        if members is None:
            raise InputError(f"{path}: no list fold_{number + 1}, for which there are segmenters; make the folds again")
        inside = set(members.images.tolist())
        found[torch.tensor([name not in inside for name in names])] = number
    if len(lists) != count or (found < 0).any():
        raise InputError(
            f"{path}: its {len(lists)} lists are not those of {count} folds of {images.path}; make them again"
        )
    return found


@torch.no_grad()
def _without_last(
    settings: TrainMultiScaleSettings, loaded: Sequence[Segmenter], validating: Pairs, device: torch.device
) -> dict[str, Any]:
    """The joins that train nothing: `models` of all seeds, `best` of the maps, and `entries` of the report."""
    first = [_first(loaded, number, device) for number in range(settings.seeds)]
    choices = range(len(loaded)) if settings.join == "best" else [0]
    made = [[MultiScale(one, settings.size, settings.join, None, choice) for one in first] for choice in choices]
    measured = torch.tensor([[_validation_iou(settings, model, validating, device) for model in of] for of in made])
    best = int(measured.mean(dim=1).argmax())
    entries = [
        {"seed": number, "best_step": 0, "validation_iou": float(iou), "history": []}
        for number, iou in enumerate(measured[best])
    ]
    return {"best": best, "models": [model.cpu() for model in made[best]], "entries": entries}


def _validation_iou(
    settings: TrainMultiScaleSettings, model: MultiScale, validating: Pairs, device: torch.device
) -> float:
    """Mean IoU over the validation images at settings.size."""
    found, instances = [], settings.masks == "instances"
    for part in torch.arange(len(validating.images)).split(settings.batch_size):
        logits = model(to_model(validating.images[part]).to(device)).cpu()
        masks = resized_masks(validating.masks[part].float() / 255, settings.size)
        drawn, truth = classes_of(logits.sigmoid(), instances), classes_of(masks, instances)
        found.append(overlaps(drawn, truth, 1 if instances else masks.shape[1])[:, 0])
    return float(torch.cat(found).mean())
