"""What the file of all settings says of generators: trained here, drawn again, made elsewhere, or of masks alone."""

import functools
import operator
from dataclasses import dataclass, make_dataclass
from typing import Annotated, Literal

from msgspec import Meta

from synthmed import generators
from synthmed.commands.params_types import Counts, Labels, Name, Title
from synthmed.core.known import DRAWN_AGAIN
from synthmed.core.settings import Count, Names
from synthmed.evaluation.paint import Method
from synthmed.generators.deformed_masks import DeformOptions
from synthmed.generators.sampling import SamplingOptions, StartScale, Truncation
from synthmed.generators.train import TrainingOptions


@dataclass(frozen=True)
class Part:
    """One training of a generator."""

    labels: Annotated[Names | None, Meta(description="Classes of its training images; null: all.")]
    steps: Annotated[Count, Meta(description="Optimiser steps.")]
    initialise_from: Annotated[
        str | None,
        Meta(
            pattern=r"^([a-z][a-z0-9_]*\.[a-z][a-z0-9_]*|.+/[^/]+\.pt)$",
            description="<generator>.<training> of this experiment, or the checkpoint of another one "
            "(folder/name.pt), of the same model and networks, perhaps of other classes: its weights are the first "
            "ones (transfer). Without it they are drawn.",
        ),
    ] = None
    frames: Annotated[
        Method | None,
        Meta(
            description="The frames of its training images, photographs of skin, are taken out in this way, and the "
            "samples searched for traces of it. Without it they stay as they are."
        ),
    ] = None


@dataclass(frozen=True)
class Trained:
    """A generator that is trained here."""

    title: Title
    receptive_field: Annotated[
        int | None, Meta(description="Of its PatchGAN discriminator, for the report.", extra_json_schema={"unit": "px"})
    ]
    trainings: Annotated[
        Count | Annotated[dict[Name, Part], Meta(min_length=1)],
        Meta(
            description="By name: one training for each class, or one for all; a number: for each class, so many steps."
        ),
    ]
    training: TrainingOptions


@dataclass(frozen=True)
class Sampling(SamplingOptions):
    """Drawing the synthetic images."""

    samples: Annotated[
        Counts,
        Meta(
            description="Images of each label; {unlabelled: n} for labels by a classifier. A translator makes at most "
            "one of each training image of another class."
        ),
    ]
    truncation: Truncation = None
    start_scale: StartScale = None


@dataclass(frozen=True)
class Sampled(Trained):
    """A generator that is trained here, and whose images are judged."""

    repeats: Annotated[
        Count,
        Meta(
            description="Each training is run this often, with seeds of its own, and each gives `samples` images; the "
            "`seeds` of a task are a multiple."
        ),
    ]
    sampling: Sampling


Painters = Annotated[
    tuple[Name, ...],
    Meta(
        description="Generators (ones that need a mask) that paint images for these masks, and no longer for those of "
        "the training images; of [] only the masks are judged."
    ),
]


@dataclass(frozen=True)
class MaskDrawer(Trained):
    """A generator of masks alone, trained on those of the real training images."""

    sampling: Sampling
    paints: Painters


@dataclass(frozen=True)
class DeformedMasks(DeformOptions):
    """Masks of the real training images, elastically deformed."""

    model: Annotated[Literal["elastic"], Meta(description="elastic: real masks, deformed.")]
    title: Title
    samples: Annotated[Counts, Meta(description="Masks of each label.")]
    paints: Painters


@dataclass(frozen=True)
class External:
    """Images that were made elsewhere."""

    model: Annotated[Literal["external"], Meta(description="A file of src/synthmed/generators/, or external.")]
    title: Title
    dataset: Annotated[str, Meta(description="The data set that holds them.")]
    labels: Labels | None


@dataclass(frozen=True)
class DrawnAgain:
    """Further images of a generator that is trained here, drawn in another way."""

    model: Annotated[Literal[DRAWN_AGAIN], Meta(description="A file of src/synthmed/generators/, or external.")]
    title: Title
    of: Annotated[Name, Meta(description="Name of the generator, whose trainings and repeats are used.")]
    sampling: Sampling


def _of_every_model(base: type) -> list[type]:
    """`base` with the settings of each model."""
    kinds = []
    for name in generators.GENERATORS:
        config = generators.load(name).Config
        chosen = (
            "model",
            Annotated[Literal[name], Meta(description="A file of src/synthmed/generators/, or external.")],
        )
        namespace = {"__doc__": base.__doc__, "__module__": f"{__name__}.{name}"}
        kinds.append(
            make_dataclass(base.__name__, [chosen, ("config", config)], bases=(base,), frozen=True, namespace=namespace)
        )
    return kinds


TrainedHere = functools.reduce(operator.or_, _of_every_model(Trained))
OfImages = functools.reduce(operator.or_, [*_of_every_model(Sampled), External, DrawnAgain])
OfMasks = functools.reduce(operator.or_, [*_of_every_model(MaskDrawer), DeformedMasks])
