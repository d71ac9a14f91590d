"""Chest X-ray phantoms as the two zip archives in which the National Library of Medicine gives away the real sets.

Jaeger et al. 2014 (QIMS 4(6):475): the Montgomery County set (8-bit grey PNGs of two fixed shapes, many with wide black
borders, lung masks, readings) and the larger Shenzhen set (PNGs of any shape, a part of them with a palette, readings).
So the reader of the real archives is what reads the phantoms.
"""

import io
import logging
from pathlib import Path

import numpy as np
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import stored_zip
from synthmed.data.imageset import encode_png
from synthmed.data.phantoms.chest_xray import LABELS, Phantom, PhantomSettings, draws, labels

logger = logging.getLogger(__name__)

_THUMBS = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(504)
"""A Windows thumbnail file, as it lies among the real images: no image, whatever its neighbours are."""

_TUBERCULOSIS_WORDS = {"right": "right upper PTB", "left": "left upper PTB", "both": "bilateral PTB"}


def _palette_png(pixels: np.ndarray) -> bytes:
    """Palette PNG of grey `pixels`: the indices are reversed, so a reader that takes them for greys sees a negative."""
    image = Image.fromarray(255 - pixels).convert("P")
    image.putpalette([255 - level for level in range(256) for _channel in range(3)])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _mask_png(mask: np.ndarray) -> bytes:
    """1-bit PNG of a boolean mask."""
    buffer = io.BytesIO()
    Image.fromarray(mask).save(buffer, "PNG")
    return buffer.getvalue()


def affected_side(phantom: Phantom) -> str:
    """ "left", "right" or "both": where the findings lie, in the patient's terms. For a phantom with findings."""
    # The spine runs between the lungs; the patient's right lung is on the left of the image.
    right_end = np.flatnonzero((phantom.lungs == 1).any(axis=0)).max()
    left_start = np.flatnonzero((phantom.lungs == 2).any(axis=0)).min()
    spine = (right_end + left_start) / 2
    sides = {"left" if (box[0] + box[2]) / 2 > spine else "right" for box in (one.box for one in phantom.findings)}
    return "both" if len(sides) == 2 else sides.pop()


def _montgomery_files(phantom: Phantom, stem: str) -> dict[str, bytes]:
    words = "normal" if phantom.label == "normal" else f"{affected_side(phantom)} upper lobe infiltrates, active TB"
    reading = f"Patient's Sex: {phantom.sex}\nPatient's Age: {phantom.age:03d}Y\n{words}\n"
    return {
        f"MontgomerySet/CXR_png/{stem}.png": encode_png(phantom.pixels),
        f"MontgomerySet/ClinicalReadings/{stem}.txt": reading.encode(),
        f"MontgomerySet/ManualMask/leftMask/{stem}.png": _mask_png(phantom.lungs == 2),
        f"MontgomerySet/ManualMask/rightMask/{stem}.png": _mask_png(phantom.lungs == 1),
    }


def _shenzhen_files(phantom: Phantom, stem: str) -> dict[str, bytes]:
    words = "normal" if phantom.label == "normal" else _TUBERCULOSIS_WORDS[affected_side(phantom)]
    reading = f"{'male' if phantom.sex == 'M' else 'female'} {phantom.age}yrs\n{words}\n"
    encode = _palette_png if phantom.palette else encode_png
    return {
        f"ChinaSet_AllFiles/CXR_png/{stem}.png": encode(phantom.pixels),
        f"ChinaSet_AllFiles/ClinicalReadings/{stem}.txt": reading.encode(),
    }


def write_archives(settings: PhantomSettings, montgomery: Path, shenzhen: Path) -> None:
    """Write `settings.normal` + `settings.abnormal` films as the two archives; the same settings give the same bytes.

    Film i is film i of `draws(settings, settings.seed, labels(settings))`, which also carries its truth.
    montgomery, shenzhen: the zip files to write. Raises InputError when the films are so few that a hospital got none.
    """
    with stored_zip(montgomery) as small, stored_zip(shenzhen) as large:
        archives = {"montgomery": small, "shenzhen": large}
        counts = dict.fromkeys(archives, 0)
        total = settings.normal + settings.abnormal
        for number, phantom in enumerate(draws(settings, settings.seed, labels(settings))):
            counts[phantom.site] += 1
            digit = LABELS.index(phantom.label)
            if phantom.site == "montgomery":
                files = _montgomery_files(phantom, f"MCUCXR_{counts['montgomery']:04d}_{digit}")
            else:
                files = _shenzhen_files(phantom, f"CHNCXR_{counts['shenzhen']:04d}_{digit}")
            for name, content in files.items():
                archives[phantom.site](name, content)
            if (number + 1) % 200 == 0:
                logger.info("%d of %d phantom films drawn", number + 1, total)
        small("MontgomerySet/CXR_png/Thumbs.db", _THUMBS)
        large("ChinaSet_AllFiles/CXR_png/Thumbs.db", _THUMBS)
        for site, count in counts.items():
            if count == 0:
                raise InputError(
                    f"settings normal={settings.normal}, abnormal={settings.abnormal}, seed={settings.seed} leave the "
                    f"hospital {site!r} without a film; ask for more films (40 are enough) or take another seed"
                )
