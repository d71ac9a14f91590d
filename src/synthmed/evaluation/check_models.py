"""Whether generators can be built and fed as their settings say, before the first of them is trained for hours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta

from synthmed import generators
from synthmed.core.errors import InputError
from synthmed.core.settings import Count, ModelName, Names, parse
from synthmed.data.channels import Coding, MaskChannels
from synthmed.data.imageset import PLAIN
from synthmed.prepare.masks import MaskSettings


@dataclass(frozen=True)
class PlannedTraining:
    """A training of a generator that will come."""

    model: ModelName
    config: Annotated[dict, Meta(description="Settings of the model.")]
    receptive_field: Annotated[int | None, Meta(description="Of its PatchGAN, as the report will say it.")]
    labels: Annotated[Names, Meta(description="Classes of its training images.")]
    image_shape: Annotated[
        tuple[Annotated[int, Meta(ge=0)], Count, Count],
        Meta(description="Channels, height and width of its images; no channels where it learns masks alone."),
    ]
    coding: Annotated[Coding | None, Meta(description="How masks become channels for it, null: without masks.")]
    masks: Annotated[MaskSettings | None, Meta(description="What the masks of the image sets mark.")]
    batch_size: Annotated[Count, Meta(description="Images of a micro-batch.")]


def check_models(trainings: Mapping[str, PlannedTraining], real: Mapping[str, int]) -> None:
    """Raise InputError where a model cannot have images of this shape, is said to have another receptive field than it
    has, or gets batches larger than its classes. real: training images of each class.

    The networks are built without memory for their weights, so this takes a moment for any size.
    """
    for name, planned in trainings.items():
        try:
            _check_model(planned)
            _check_batch(planned, real)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error


def _check_model(planned: PlannedTraining) -> None:
    model_class = generators.load(planned.model)
    config = parse(model_class.Config, planned.config, "config")
    legend = PLAIN if planned.masks is None else planned.masks.legend
    channels, *size = planned.image_shape
    if planned.coding is not None and "mask" not in model_class.needed(config):
        channels += len(MaskChannels(planned.coding, legend).names)  # it draws them behind its image
    with torch.device("meta"):
        model = model_class.build(config, (channels, *size), planned.labels, legend, planned.coding)
    model.batch_size(planned.batch_size)
    found = {module.receptive_field for module in model.modules() if hasattr(module, "receptive_field")}
    if planned.receptive_field is not None and found != {planned.receptive_field}:
        its = f"that of its PatchGAN is {found.pop()}" if found else "the model has no PatchGAN"
        raise InputError(
            f"setting receptive_field is {planned.receptive_field}, but {its}; correct it, or set it to null"
        )


def _check_batch(planned: PlannedTraining, real: Mapping[str, int]) -> None:
    counts = [real.get(label, 0) for label in planned.labels]
    smallest = min(counts) if "image" in generators.load(planned.model).needs else sum(counts)
    if planned.batch_size > smallest:
        raise InputError(
            f"setting training.batch_size is {planned.batch_size}, but there are {smallest} training images of "
            f"{' or '.join(planned.labels)}; lower it, or make the training part larger"
        )
