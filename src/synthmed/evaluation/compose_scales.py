"""The arms of a multi-scale segmenter, and folds of the training part for maps of images that nobody was trained on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path, write_json
from synthmed.core.known import REAL
from synthmed.core.settings import Seed
from synthmed.core.step import Output, step
from synthmed.data.arm_lists import COLUMNS
from synthmed.data.imageset import ImageSet
from synthmed.evaluation.arms import of_design
from synthmed.training.seeds import seed_of

logger = logging.getLogger(__name__)

ARMS = {
    REAL: "U-Net of this size alone",
    "maps": "Last U-Net, image and maps",
    "out_of_fold": "Last U-Net, image and maps out of fold",
    "constant": "Last U-Net, image and constant maps",
    "mean": "Mean of the maps",
    "best": "Best map",
}
"""Arm → title: the reference, then the ways of `train-multi-scale`."""

Folds = Annotated[int, Meta(ge=2, description="Parts of the training images, by patient.")]


@dataclass(frozen=True)
class ScalesSettings:
    """Settings of `compose-scales`."""

    folds: Folds
    seed: Seed


@step("compose-scales")
def compose_scales(settings: ScalesSettings, *, train: Path, out: Output, description: Output) -> None:
    """Describe the arms of a multi-scale segmenter, and list the training images without each of several folds.

    train: image set of the training part. out: lists as arms.csv (data/arm_lists.py), one `fold_<number>` a fold, the
    same for every seed: all images but those of that fold. The patients are dealt at random, each to one fold.
    description (JSON): of ARMS, as `compose-arms` describes its own; all are trained on the real images. Raises
    InputError when there are fewer patients than folds.
    """
    images = ImageSet(train)
    patients = np.array(images.column("patient"))
    names = np.unique(patients)
    if len(names) < settings.folds:
        raise InputError(f"{train}: {len(names)} patients for {settings.folds} folds; set folds lower, or add patients")
    rng = np.random.Generator(np.random.PCG64(seed_of("folds", settings.seed)))
    fold = dict(zip(rng.permutation(names).tolist(), np.arange(len(names)) % settings.folds, strict=True))
    of_image = np.array([fold[name] for name in patients.tolist()])
    table = pd.DataFrame({"image": images.column("image"), "label": images.column("label")})
    table = table.assign(seed="", part="train", set=REAL, draw=0, mask="", weight=1)
    lists = [table[of_image != number].assign(arm=f"fold_{number + 1}") for number in range(settings.folds)]
    with atomic_path(out) as temporary:
        pd.concat(lists)[list(COLUMNS)].to_csv(temporary, index=False, lineterminator="\n")
    described = {name: of_design(name, title, len(images)) for name, title in ARMS.items()}
    write_json(description, {"real": REAL, "swap": None, "arms": described})
    logger.info("%d folds of %d patients", settings.folds, len(names))
