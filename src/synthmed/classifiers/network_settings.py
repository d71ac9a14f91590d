"""Settings of a classifier that learns all its weights."""

from dataclasses import dataclass
from typing import Literal

from synthmed.core.errors import InputError
from synthmed.training.images import Precision

SELECTION = {
    "loss": "the epoch with the lowest validation loss (the training's loss, without augmentation), the earliest of "
    "equals",
    "auroc": "the epoch with the highest area under the ROC curve on the validation images, averaged over the targets; "
    "of equals the one with the lower validation loss, then the earliest",
}


@dataclass(frozen=True)
class NetworkSettings:
    """One classifier, trained with several seeds.

    targets: names of the outputs, in order. target_column: column of the manifest (label, findings, device, …); target
    t of an image is 1 when t is one of the ";"-separated names in its cell. missing: what an empty cell means: "error",
    "skip" (the image is left out) or "normal" (the cell counts as the name "normal"). arm: null for all images of the
    input `train`, or the arm of the input `arms` whose lists, one for each seed, are trained on; sets: names of the
    synthetic sets that its images may come from, in the order of their files. holdout: null, or the share (0–1) of each
    combination of targets in `train` that becomes the validation part, drawn by patient; the
    input `validation` must then be the same file.

    architecture: "small_cnn" or "resnet50". channels: filters of each stage of the small CNN, null for ResNet-50.
    dropout: share of the pooled features dropped in training, 0 ≤ dropout < 1. size: height and width in pixels that
    images are reduced to, null = as they are. pretrained: null, or the name of the weights in `weights/registry.py`
    that the input `weights` holds.

    seed: from which all randomness follows. seeds: trainings. epochs: passes over the training images; every epoch
    shows whole batches only, the rest of its shuffled order is left out. batch_size: images a step. learning_rate: of
    Adam (β 0.9, 0.999). schedule: "constant", or "cosine" (falls to zero over the training, Loshchilov & Hutter 2017
    without restarts). class_weights: "none", or "balanced" (the loss of a target's positives times negatives/positives
    of the training part). flip: mirror left-right with probability 1/2. shift: largest shift in either direction as a
    share of the side; the border repeats. select: see SELECTION. precision: of the forward pass in training (validation
    and use are fp32). save_every: epochs between resume states. threads: CPU threads.
    """

    targets: tuple[str, ...]
    target_column: str
    missing: Literal["error", "skip", "normal"]
    arm: str | None
    sets: tuple[str, ...]
    holdout: float | None
    architecture: Literal["small_cnn", "resnet50"]
    channels: tuple[int, ...] | None
    dropout: float
    size: tuple[int, int] | None
    pretrained: str | None
    seed: int
    seeds: int
    epochs: int
    batch_size: int
    learning_rate: float
    schedule: Literal["constant", "cosine"]
    class_weights: Literal["none", "balanced"]
    flip: bool
    shift: float
    select: Literal["loss", "auroc"]
    precision: Precision
    channels_last: bool
    save_every: int
    threads: int
    device: Literal["auto", "cpu", "cuda"]

    def check(self) -> None:
        """Raise InputError when a value is out of range or two do not fit together."""
        for name in ("seeds", "epochs", "save_every", "threads"):
            if getattr(self, name) < 1:
                raise InputError(f"setting {name} is {getattr(self, name)}; it must be 1 or more")
        if self.batch_size < 2:
            raise InputError(
                f"setting batch_size is {self.batch_size}; it must be 2 or more (BatchNorm needs a spread)"
            )
        if not self.targets or len(set(self.targets)) != len(self.targets):
            raise InputError(f"setting targets is {list(self.targets)}; name at least one, each once")
        if self.learning_rate <= 0 or not 0 <= self.dropout < 1 or not 0 <= self.shift < 0.5:
            raise InputError(
                f"settings learning_rate {self.learning_rate} (above 0), dropout {self.dropout} (0 to below 1), shift "
                f"{self.shift} (0 to below 0.5) are out of range"
            )
        if self.holdout is not None and not 0 < self.holdout < 1:
            raise InputError(f"setting holdout is {self.holdout}; it is a share between 0 and 1, or null")
        if self.arm is not None and (self.holdout is not None or self.target_column != "label"):
            raise InputError(
                f"setting arm is {self.arm!r}: the lists of arms give labels and leave the validation images as they "
                "are; set holdout to null and target_column to 'label'"
            )
        if self.size is not None and min(self.size) < 16:
            raise InputError(f"setting size is {list(self.size)}; both must be 16 or more, or null instead")
        small = self.architecture == "small_cnn"
        if small != (self.channels is not None) or (self.channels is not None and min(self.channels, default=0) < 1):
            raise InputError(
                f"setting channels is {self.channels and list(self.channels)}; the small CNN needs the filters of its "
                "stages, for example [16, 32, 64, 128], and ResNet-50 needs null"
            )
        if small and self.pretrained is not None:
            raise InputError(f"setting pretrained is {self.pretrained!r}; there are no such weights of the small CNN")
