"""Settings of a segmenter."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from synthmed.augment.pairs import Elastic, PairAugmentation
from synthmed.core.errors import InputError
from synthmed.core.settings import Count, Seed
from synthmed.segmenters import SEGMENTERS
from synthmed.training.checked import CheckedOptions

SELECTION = (
    "the check with the highest {iou} on the validation images, of equals the one with the lower validation loss, "
    "then the earliest"
)
"""iou: what IOU calls it."""
IOU = {"instances": "foreground IoU", "classes": "mean IoU"}
"""What a check measures, by what is drawn: of instances of all objects, whatever their class; else the mean over the
classes."""

Rate = Annotated[float, Meta(gt=0)]
Dropout = Annotated[float, Meta(ge=0, lt=1)]


@dataclass(frozen=True)
class SegmenterOptions(CheckedOptions):
    """One segmenter, with several seeds."""

    architecture: Annotated[
        Literal[tuple(SEGMENTERS)], Meta(description="The network, a file of src/synthmed/segmenters/.")
    ]
    widths: Annotated[
        tuple[Count, ...], Meta(min_length=2, description="Channels of each level, from the image downwards.")
    ]
    spectral_norm: Annotated[
        bool, Meta(description="Whether weights are divided by their spectral norm (Miyato et al. 2018).")
    ]
    masks: Annotated[
        Literal["classes", "instances"],
        Meta(
            description="What the network draws (data/channels.py): classes, a channel for each; instances, "
            "background, interior and boundary of the objects, which are then told apart."
        ),
    ]
    size: Annotated[
        tuple[Annotated[int, Meta(ge=8)], Annotated[int, Meta(ge=8)]] | None,
        Meta(
            description="Height and width images are reduced to for the network; null: as they are.",
            extra_json_schema={"unit": "px"},
        ),
    ]
    loss: Annotated[
        Literal["bce", "bce_dice"],
        Meta(description="Cross-entropy of every channel; bce_dice: and 1 − Dice, which counts classes alike."),
    ]
    class_weights: Annotated[
        Literal["none", "balanced"],
        Meta(
            description="balanced: drawn pixels weigh as many times as others are more, by channel, at most 999 times."
        ),
    ]
    patience: Annotated[
        Count | None,
        Meta(description="Checks without a better one after which a training ends; null: it never ends early."),
    ]
    learning_rates: Annotated[
        tuple[Rate, ...],
        Meta(min_length=1, description="Of Adam; of several, with `dropouts`, the validation of the real arm chooses."),
    ]
    dropouts: Annotated[
        tuple[Dropout, ...], Meta(min_length=1, description="Shares dropped in training; as `learning_rates`.")
    ]
    augmentation: PairAugmentation
    elastic: Elastic


@dataclass(frozen=True)
class TrainSegmenterSettings(SegmenterOptions):
    """Settings of `train-segmenter` and `choose-segmenter`."""

    seed: Seed
    arm: Annotated[
        str | None,
        Meta(
            description="The arm of the input `arms` whose lists, one for each seed, are trained on; null: all images "
            "of the input `train`."
        ),
    ]
    sets: Annotated[
        tuple[str, ...],
        Meta(description="Synthetic sets that the images of the arm may come from, in the order of their files."),
    ]
    augment: Annotated[bool, Meta(description="Whether every image is augmented anew at every step.")]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.architecture == "pix2pix" and self.batch_size < 2:
            raise InputError(
                "setting batch_size is 1, but the innermost BatchNorm of pix2pix needs a spread: 2 or more"
            )
