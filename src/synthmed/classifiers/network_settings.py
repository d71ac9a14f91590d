"""Settings of a classifier that learns all its weights."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from synthmed.augment.classic import ClassicAugmentation
from synthmed.core.errors import InputError
from synthmed.core.settings import Count, Fraction, Names, Seed
from synthmed.training.checked import CheckedOptions

SELECTION = {
    "loss": "the check with the lowest validation loss (the training's loss, without augmentation), the earliest of "
    "equals",
    "auroc": "the check with the highest area under the ROC curve on the validation images, averaged over the targets; "
    "of equals the one with the lower validation loss, then the earliest",
}


@dataclass(frozen=True)
class LearnerOptions(CheckedOptions):
    """A network of which every weight is trained, with several seeds; what it tells apart is said elsewhere."""

    architecture: Annotated[
        Literal["small_cnn", "resnet50", "efficientnet_b2", "inception_v4"],
        Meta(description="The network. Channels behind colours begin with weights of 0."),
    ]
    channels: (
        Annotated[
            tuple[Count, ...],
            Meta(
                min_length=1,
                description="Filters of each stage of the small CNN; images need 2^stages pixels, and its last map, "
                "where it looks, has side / 2^stages. null for the others.",
            ),
        ]
        | None
    )
    dropout: Annotated[float, Meta(ge=0, lt=1, description="Share of the pooled features dropped in training.")]
    size: Annotated[
        tuple[Annotated[int, Meta(ge=16)], Annotated[int, Meta(ge=16)]] | None,
        Meta(
            description="Height and width images are reduced to; null: as they are.", extra_json_schema={"unit": "px"}
        ),
    ]
    pretrained: Annotated[
        str | None,
        Meta(
            description="Name of the pretrained weights in src/synthmed/weights/registry.py (resnet50, "
            "efficientnet_b2, inception_v4); null: from scratch."
        ),
    ]
    batch_size: Annotated[int, Meta(ge=2, description="Images of a micro-batch; BatchNorm needs a spread.")]
    learning_rate: Annotated[float, Meta(gt=0, description="Of Adam.")]
    class_weights: Annotated[
        Literal["none", "balanced"],
        Meta(
            description="balanced: a target's positives weigh negatives / positives in the loss; of exclusive outputs "
            "all classes weigh alike."
        ),
    ]
    flip: Annotated[bool, Meta(description="Mirror training images left-right with probability 1/2.")]
    shift: Annotated[
        float, Meta(ge=0, lt=0.5, description="Largest random shift of training images, share of the side.")
    ]
    select: Annotated[
        Literal["loss", "auroc"],
        Meta(description="The check that is kept: lowest validation loss, or largest mean area under the ROC curve."),
    ]


@dataclass(frozen=True)
class NetworkOptions(LearnerOptions):
    """One classifier of which every weight is trained, with several seeds."""

    targets: Annotated[Names, Meta(description="Names of the outputs.")]
    target_column: Annotated[
        str,
        Meta(
            description="Column of the manifest, or several, separated by ;. A target is 1 when it is one of the "
            ";-separated names in the cell; yes and no in a column `device` are the names device and no device."
        ),
    ]
    missing: Annotated[
        Literal["error", "skip", "normal"],
        Meta(description="What an empty cell means: stop, leave the image out, or the name normal."),
    ]
    holdout: Annotated[
        Fraction | None,
        Meta(
            description="Share of the training set, drawn by patient, that becomes the validation part; null: a "
            "set of its own."
        ),
    ]
    outputs: Annotated[
        Literal["independent", "exclusive"],
        Meta(
            description="independent: a sigmoid each, any may be true; exclusive: a softmax over all, one of which is."
        ),
    ]


@dataclass(frozen=True)
class NetworkSettings(NetworkOptions):
    """Settings of `train-classifier`."""

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
    augmentation: Annotated[
        ClassicAugmentation | None, Meta(description="Of the arm's augmented draws of real images; null: it has none.")
    ]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.arm is not None and (self.holdout is not None or self.target_column != "label"):
            raise InputError(
                f"setting arm is {self.arm!r}: the lists of arms give labels and leave the validation images as they "
                "are; set holdout to null and target_column to 'label'"
            )
        small = self.architecture == "small_cnn"
        if small != (self.channels is not None):
            raise InputError(
                f"setting channels is {self.channels and list(self.channels)}; the small CNN needs the filters of its "
                "stages, for example [16, 32, 64, 128], and the other networks need null"
            )
        if small and self.pretrained is not None:
            raise InputError(f"setting pretrained is {self.pretrained!r}; there are no such weights of the small CNN")
        if self.outputs == "exclusive" and len(self.targets) < 2:
            raise InputError(f"setting outputs is 'exclusive', which needs two targets or more, not {self.targets}")
