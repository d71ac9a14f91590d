"""Frames and hair found and taken out: on drawn images whose truth is known, and on phantoms."""

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.data.phantoms.dermoscopy import DermoscopySettings, draw, plans
from synthmed.metrics.similarity import psnr
from synthmed.prepare import dermoscopy
from synthmed.prepare.fsr import Fsr, reconstruct

SKIN = np.array([210, 160, 140], np.uint8)


def skin(side=48, seed=0):
    noise = np.random.default_rng(seed).integers(-6, 7, (side, side, 3))
    return (SKIN + noise).astype(np.uint8)


def with_lesion(side=48):
    pixels = skin(side)
    y, x = np.mgrid[:side, :side]
    pixels[(y - side / 2) ** 2 + (x - side / 2) ** 2 < (side / 5) ** 2] = (40, 20, 20)
    return pixels


# ------------------------------------------------------------------------------------------------------------- finding
def test_a_frame_hangs_together_with_a_corner():
    pixels = with_lesion()
    assert not dermoscopy.frame_mask(pixels).any()  # as dark, but in the middle
    framed = dermoscopy.paste_frame(pixels, np.random.default_rng(1))
    mask = dermoscopy.frame_mask(framed)
    assert mask[0, 0]
    assert mask[-1, -1]
    assert not mask[24, 24]
    assert (framed[~mask] == pixels[~mask]).mean() > 0.97  # its soft edge is within


def test_a_hair_is_found_and_a_lesion_and_grain_are_not():
    pixels = with_lesion(64)
    assert dermoscopy.hair_mask(pixels).mean() < 0.01
    for n in range(6, 58):
        pixels[n, 60 - n // 2] = (20, 15, 15)
    pixels[8, 5:40] = (20, 15, 15)
    mask = dermoscopy.hair_mask(pixels)
    assert mask[8, 7:38].all()
    assert np.mean([mask[n, 60 - n // 2] for n in range(8, 56)]) > 0.75
    assert mask.mean() < 0.1


def phantoms(**artefacts):
    settings = DermoscopySettings(
        images={"MEL": 8, "NV": 8}, repeat_share=0.0, lesions_per_patient=1.0, ita_mean=45.0, ita_sd=10.0,
        artefacts=artefacts, difficulty=0.3, image_size=64, seed=4,
    )  # fmt: skip
    return [draw(settings, plan) for plan in plans(settings)]


def test_frames_of_phantoms_are_found():
    overlaps, false = [], []
    for phantom in phantoms(dark_corner=0.5):
        mask, true = dermoscopy.frame_mask(phantom.pixels), phantom.artefacts.get("dark_corner")
        if true is None or true.mean() < 0.02:
            false.append(mask.mean())
        else:
            overlaps.append((mask & true).sum() / (mask | true).sum())
    assert np.mean(overlaps) > 0.75
    assert max(false) < 0.05


# ---------------------------------------------------------------------------------------------------------- taking out
def test_the_full_crop_leaves_no_frame_and_the_partial_one_less_of_the_lesion_away():
    framed = dermoscopy.paste_frame(with_lesion(), np.random.default_rng(1))
    frame = dermoscopy.frame_mask(framed)
    full, partial = dermoscopy.crop(framed, frame), dermoscopy.crop(framed, frame, 0.1)
    assert full.shape == framed.shape
    assert not dermoscopy.frame_mask(full).any()
    dark = [(one.mean(axis=2)[12:36, 12:36] < 60).sum() for one in (framed, partial, full)]
    assert dark[0] < dark[1] < dark[2]  # the lesion is magnified
    assert (dermoscopy.crop(framed, np.zeros_like(frame)) == framed).all()
    with pytest.raises(InputError, match="covers the middle"):
        dermoscopy.crop(framed, np.ones_like(frame))


def test_skin_colours_are_those_of_the_skin_and_change_the_frame_alone():
    framed = dermoscopy.paste_frame(with_lesion(), np.random.default_rng(1))
    frame = dermoscopy.frame_mask(framed)
    painted = dermoscopy.paint_skin(framed, frame, np.random.default_rng(2))
    assert (painted[~frame] == framed[~frame]).all()
    assert painted[frame].mean(axis=0) == pytest.approx(SKIN.astype(float), abs=6)
    assert 1 < painted[frame].std(axis=0).mean() < 8


def test_nearest_neighbours_by_hand():
    pixels = np.arange(9, dtype=np.uint8).reshape(3, 3)[..., None].repeat(3, 2)
    missing = np.array([[True, False, False], [False, False, False], [False, False, True]])
    found = dermoscopy.fill_nearest(pixels, missing)[..., 0]
    assert found[0, 0] in (1, 3)
    assert found[2, 2] in (5, 7)
    assert (found[~missing] == pixels[..., 0][~missing]).all()
    with pytest.raises(InputError, match="every pixel"):
        dermoscopy.fill_nearest(pixels, np.ones((3, 3), bool))


def test_hair_is_filled_with_skin():
    pixels, bare = skin(), skin()
    pixels[10, 3:44] = 15
    assert np.abs(dermoscopy.remove_hair(pixels).astype(int) - bare).mean() < 2


def wave(side=32):
    y, x = np.mgrid[:side, :side]
    values = 128 + 60 * np.cos(2 * np.pi * (2 * x + y) / 20) + 30 * np.sin(2 * np.pi * 3 * y / 20)
    return np.rint(values).astype(np.uint8)[..., None].repeat(3, 2)


def test_fsr_continues_waves_where_nearest_neighbours_do_not():
    # Two waves of the window's own frequencies (4 + 2 · 8 = 20 pixels): what is missing follows from what is known.
    truth, missing = wave(), np.zeros((32, 32), bool)
    missing[12:18, 13:19] = True
    holed = truth.copy()
    holed[missing] = 0
    found = reconstruct(holed, missing, Fsr(iterations=60))
    assert (found[~missing] == holed[~missing]).all()
    by_fsr, by_nearest = (
        np.abs(one[missing].astype(int) - truth[missing]).mean()
        for one in (found, dermoscopy.fill_nearest(holed, missing))
    )
    assert by_fsr < 3
    assert by_fsr < by_nearest / 5


def test_fsr_of_a_constant_is_the_constant_and_channels_are_apart():
    pixels = np.full((24, 24, 3), 90, np.uint8)
    pixels[..., 1] = 200
    missing = np.zeros((24, 24), bool)
    missing[:5] = True
    missing[10:14, 8:15] = True
    holed = np.where(missing[..., None], np.uint8(7), pixels)
    assert np.abs(reconstruct(holed, missing).astype(int) - pixels).max() <= 1
    with pytest.raises(InputError, match="every pixel"):
        reconstruct(pixels, np.ones((24, 24), bool))


def test_fsr_is_nearer_to_the_truth_than_nearest_neighbours_on_phantoms():
    truth = np.stack([phantom.pixels[:, 10:74] for phantom in phantoms()[:3]])
    framed = [dermoscopy.paste_frame(one, np.random.default_rng(n)) for n, one in enumerate(truth)]
    masks = [dermoscopy.frame_mask(one) for one in framed]
    filled = {
        name: psnr(np.stack([function(one, mask) for one, mask in zip(framed, masks, strict=True)]), truth).mean()
        for name, function in (("fsr", dermoscopy.fill_fsr), ("nearest", dermoscopy.fill_nearest))
    }
    assert filled["fsr"] > filled["nearest"] + 1


def test_an_image_without_a_frame_stays_as_it_is():
    pixels = with_lesion()
    for name in dermoscopy.FRAME_METHODS:
        assert dermoscopy.remove_frame(pixels, name, np.random.default_rng(0)) is pixels
