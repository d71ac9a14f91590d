"""One raw image as a source finds it, before anything is decoded."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

Load = Callable[[], bytes | np.ndarray]
"""Gives the bytes of an image file, or pixels (H, W) or (H, W, 3) uint8 where the source holds arrays."""


@dataclass(frozen=True)
class RawImage:
    """What is known about an image without opening it.

    file: where it lies, for messages; name: name in the image set without ending, unique in the source; label: as the
    source has it; patient: images of one patient never come apart in a split; split: official part ("train",
    "validation", "test") or ""; source: column `source`; load: see Load, may be called from any thread; masks: loads of
    mask images that are OR-ed, empty when there are none; extra: further columns; patient_known: False where nobody
    says who the patient is, so that the image counts as a patient of its own.
    """

    file: str
    name: str
    label: str
    patient: str
    split: str
    source: str
    load: Load
    masks: tuple[Load, ...]
    extra: Mapping[str, str]
    patient_known: bool = True
