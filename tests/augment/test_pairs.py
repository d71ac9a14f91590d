"""Augmentation of images with their masks: both move alike, and by as much as was asked."""

import pytest
import torch

from synthmed.augment.pairs import Elastic, PairAugmentation, augment_pairs, deform_pairs

NONE = {"horizontal_flip": False, "vertical_flip": False, "rotation": 0.0, "zoom": 0.0, "shift": 0.0}


def marked(count=1, size=(32, 32)):
    """Images that show their masks: a square off the centre, on a ramp that tells every place from every other."""
    masks = torch.zeros(count, 1, *size)
    masks[:, :, 5:13, 18:28] = 1
    return 2 * masks.repeat(1, 3, 1, 1) - 1, masks


def moved(seed=1, count=1, size=(32, 32), **changes):
    generator = torch.Generator().manual_seed(seed)
    return augment_pairs(*marked(count, size), PairAugmentation(**(NONE | changes)), generator)


def centre(mask):
    places = torch.nonzero(mask > 0.5).double()
    return places.mean(0)


def test_nothing_asked_is_nothing_done():
    images, masks = moved()
    assert torch.allclose(images, marked()[0], atol=1e-5)
    assert torch.equal(masks, marked()[1])


@pytest.mark.parametrize(("name", "dimension"), [("horizontal_flip", 3), ("vertical_flip", 2)])
def test_half_of_the_pairs_are_mirrored(name, dimension):
    images, masks = moved(count=64, **{name: True})
    plain, turned = marked()[1][0], marked()[1][0].flip(dimension - 1)
    kinds = [torch.equal(mask, turned) for mask in masks]
    assert all(kind or torch.equal(mask, plain) for kind, mask in zip(kinds, masks, strict=True))
    assert 20 < sum(kinds) < 44
    assert torch.allclose(images, 2 * masks.repeat(1, 3, 1, 1) - 1, atol=1e-4), "the image with its mask"


@pytest.mark.parametrize(
    "changes", [{"rotation": 90.0}, {"zoom": 0.3}, {"shift": 0.3}, {"rotation": 30.0, "zoom": 0.2, "shift": 0.1}]
)
@pytest.mark.parametrize("size", [(32, 32), (32, 48)])
def test_the_mask_moves_with_its_image_and_keeps_two_values(changes, size):
    images, masks = moved(count=32, size=size, **changes)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    agree = ((images[:, :1] > 0) == (masks > 0.5)).float().mean()
    assert agree > 0.985, "they differ at rims only"
    assert (masks != marked(1, size)[1]).flatten(1).any(1).float().mean() > 0.8, "nearly each is moved"


def test_the_largest_shift_and_zoom_are_those_asked_for():
    start = centre(marked()[1][0, 0])
    shifts = torch.stack([centre(mask[0]) - start for mask in moved(count=200, shift=0.1)[1]])
    assert shifts.abs().max() <= 3.5, "a tenth of 32 pixels, and a pixel's rounding"
    assert shifts.abs().max() > 2.5
    assert (shifts.mean(0).abs() < 0.5).all()
    areas = moved(count=200, zoom=0.2)[1].sum((1, 2, 3)) / 80
    assert 1.3 < areas.max() < 1.6
    assert 0.5 < areas.min() < 0.75


def test_a_quarter_turn_of_a_picture_that_is_not_square_keeps_shapes():
    """A turned square stays a square in pixels, whatever the picture's sides."""
    masks = torch.zeros(100, 1, 64, 40)
    masks[:, :, 27:37, 16:24] = 1
    settings = PairAugmentation(**NONE | {"rotation": 180.0})
    _, turned = augment_pairs(2 * masks - 1, masks, settings, torch.Generator().manual_seed(0))
    assert (turned.sum((1, 2, 3)) - 80).abs().max() <= 14
    heights = turned[:, :, 20:44].any(3).sum((1, 2))  # near the centre, where nothing mirrored comes in
    assert heights.max() <= 13, "a diagonal, not more"
    assert heights.min() >= 8


def test_elastic_deformation_bends_both_alike():
    generator = torch.Generator().manual_seed(0)
    settings = Elastic(displacement=0.05, smoothness=0.1)
    images, masks = deform_pairs(*marked(16), settings, generator)
    assert set(masks.unique().tolist()) == {0.0, 1.0}
    assert ((images[:, :1] > 0) == (masks > 0.5)).float().mean() > 0.98
    assert (masks != marked()[1]).flatten(1).any(1).all()
    areas = masks.sum((1, 2, 3)) / 80
    assert 0.4 < areas.min() <= areas.max() < 2.2, "bent, not torn"
    # A ramp shows the displacement itself: its root mean square over both directions is what was asked for.
    rows = torch.arange(64.0)
    ramps = torch.stack([rows[:, None].expand(64, 64), rows.expand(64, 64)])[None].repeat(8, 1, 1, 1)
    bent, _ = deform_pairs(ramps, ramps, settings, torch.Generator().manual_seed(1))
    displaced = (bent - ramps)[:, :, 16:48, 16:48].square().mean().sqrt()
    assert displaced.item() == pytest.approx(0.05 * 64, rel=0.25)


def test_equal_generators_give_equal_pairs():
    assert torch.equal(moved(3, 4, rotation=90.0)[0], moved(3, 4, rotation=90.0)[0])
    assert not torch.equal(moved(3, 4, rotation=90.0)[0], moved(4, 4, rotation=90.0)[0])
