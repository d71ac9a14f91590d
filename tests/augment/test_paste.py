"""Objects pasted on other images: where they go, what they keep, what they never cover."""

import numpy as np
import pytest

from synthmed.augment.paste import paste_objects
from synthmed.core.errors import InputError
from synthmed.data.imageset import Legend

LEGEND = Legend(masks="instances", classes={"nucleus": 1, "podocyte": 101})


def scene():
    """Grey 50 with one own nucleus (1) of 90; a donor with an L of 200 (nucleus 3) and a bar of 220 (podocyte)."""
    pixels, mask = np.full((20, 24, 1), 50, np.uint8), np.zeros((20, 24), np.uint8)
    mask[2:8, 2:10] = 1
    pixels[mask == 1] = 90
    donor, shown = np.full((20, 24, 1), 10, np.uint8), np.zeros((20, 24), np.uint8)
    shown[4:9, 4], shown[8, 4:7] = 3, 3
    shown[12, 10:16] = 104
    donor[shown == 3], donor[shown == 104] = 200, 220
    return pixels, mask, (donor, shown)


def pasted(seed):
    pixels, mask, donor = scene()
    before = pixels.copy(), mask.copy(), donor[0].copy(), donor[1].copy()
    found = paste_objects(pixels, mask, donor, LEGEND, np.random.default_rng(seed))
    for one, other in zip((pixels, mask, *donor), before, strict=True):
        assert np.array_equal(one, other), "the inputs stay as they are"
    return found


def test_objects_arrive_whole_with_their_mask_and_class():
    seen = set()
    for seed in range(30):
        pixels, mask = pasted(seed)
        assert (mask == 1).sum() == 48
        assert (pixels[mask == 1] == 90).all(), "own objects are never covered"
        new = set(np.unique(mask).tolist()) - {0, 1}
        assert new <= {2, 101}, "the next numbers of their classes"
        assert new, "at least one object is pasted"
        seen |= {frozenset(new)}
        for value, size in ((2, 7), (101, 6)):
            if value in new:
                assert (mask == value).sum() == size
        assert np.array_equal(mask == 2, pixels[:, :, 0] == 200)
        assert np.array_equal(mask == 101, pixels[:, :, 0] == 220)
        assert (pixels[mask == 0] == 50).all(), "nothing of the donor's background comes along"
    assert frozenset({2, 101}) in seen
    assert len(seen) > 1, "a random part of the objects"


def test_places_and_turns_vary_and_a_seed_gives_them_again():
    shapes, places = set(), set()
    for seed in range(40):
        _, mask = pasted(seed)
        there = np.argwhere(mask == 2)
        if len(there):
            corner = there.min(axis=0)
            places.add(tuple(corner))
            shapes.add(tuple(map(tuple, there - corner)))
    assert len(places) > 10
    assert len(shapes) == 8, "an L has four turns, mirrored or not"
    for one, other in zip(pasted(3), pasted(3), strict=True):
        assert np.array_equal(one, other)


def test_what_has_no_room_is_left_out():
    pixels, _, donor = scene()
    full = np.ones((20, 24), np.uint8)
    found, mask = paste_objects(pixels, full, donor, LEGEND, np.random.default_rng(0))
    assert np.array_equal(found, pixels)
    assert np.array_equal(mask, full)
    empty = np.zeros_like(full)
    found, mask = paste_objects(pixels, empty, (donor[0], empty), LEGEND, np.random.default_rng(0))
    assert not mask.any()


def test_masks_without_instances_or_numbers_are_refused():
    pixels, mask, donor = scene()
    with pytest.raises(InputError, match="masks are of instances, not semantic"):
        paste_objects(pixels, mask, donor, Legend(classes={"nucleus": 1}), np.random.default_rng(0))
    tight = Legend(masks="instances", classes={"nucleus": 1, "podocyte": 2})
    alone = donor[0], (donor[1] == 3).astype(np.uint8)
    with pytest.raises(InputError, match="too many objects of the class 'nucleus'"):
        paste_objects(pixels, mask, alone, tight, np.random.default_rng(0))
