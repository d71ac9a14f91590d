"""Label maps to channels and back: by hand on a few pixels, and on drawn nuclei."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from synthmed.core.errors import InputError
from synthmed.data.channels import MaskChannels, boundary, interior, resized_labels
from synthmed.data.imageset import Legend

BINARY = Legend()
ORGANS = Legend(classes={"lung": 1, "heart": 2, "trachea": 200})
NUCLEI = Legend(masks="instances", classes={"nucleus": 1})
KINDS = Legend(masks="instances", classes={"nucleus": 1, "podocyte": 1001})


def discs(legend, count=40, size=(96, 128), seed=0):
    """Round objects, some of which touch; every third of the last class."""
    rng, mask = np.random.default_rng(seed), np.zeros(size, np.uint16)
    y, x = np.mgrid[: size[0], : size[1]]
    first, *_, last = [0, *legend.classes.values()][-2:] if len(legend.classes) > 1 else [1, 1]
    for number in range(count):
        radius = rng.uniform(3, 9)
        disc = (y - rng.integers(size[0])) ** 2 + (x - rng.integers(size[1])) ** 2 < radius**2
        mask[disc & (mask == 0)] = (last if number % 3 == 0 else first) + number
    return mask


def same_objects(one, other):
    """Whether two maps name the same groups of pixels, by whatever numbers."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(one)) == len(np.unique(other)) and 0 in pairs[1][pairs[0] == 0]


@pytest.mark.parametrize(
    ("coding", "legend", "names"),
    [
        ("classes", BINARY, ("foreground",)),
        ("classes", ORGANS, ("lung", "heart", "trachea")),
        ("classes", KINDS, ("nucleus", "podocyte")),
        ("instances", NUCLEI, ("background", "interior", "boundary", "distance")),
        ("instances", KINDS, ("background", "interior", "boundary", "podocyte")),
        ("rgba", BINARY, ("red", "green", "blue", "alpha")),
    ],
)
def test_names_of_channels(coding, legend, names):
    masks = MaskChannels(coding, legend)
    assert masks.names == names
    coded = masks.encode(np.zeros((6, 4), np.uint8))
    assert coded.shape == (6, 4, len(names))
    assert coded.dtype == np.uint8
    assert masks.decode(coded).any() == 0


@pytest.mark.parametrize(("coding", "legend"), [("classes", BINARY), ("classes", ORGANS), ("rgba", BINARY)])
def test_classes_come_back_as_they_were(coding, legend):
    values = np.array([0, *legend.classes.values()])
    mask = values[np.random.default_rng(0).integers(0, len(values), (20, 12))]
    masks = MaskChannels(coding, legend)
    coded = masks.encode(mask)
    assert set(np.unique(coded)) == {0, 255}
    back = masks.decode(coded)
    assert np.array_equal(back, mask)
    assert back.dtype == np.uint8


def test_a_network_s_greys_become_the_highest_class_from_half_on():
    drawn = np.array([[[127, 0, 0], [128, 0, 0], [200, 201, 0], [10, 20, 128]]], np.uint8)
    assert MaskChannels("classes", ORGANS).decode(drawn).tolist() == [[0, 1, 2, 200]]
    assert MaskChannels("rgba", BINARY).decode(np.array([[[255, 254, 0, 0], [255, 255, 0, 0]]], np.uint8)).tolist() == [
        [0, 255]
    ]


def test_instances_by_hand():
    mask = np.zeros((5, 9), np.uint8)
    mask[:, 1:4], mask[1:4, 4:8] = 1, 2
    masks = MaskChannels("instances", NUCLEI)
    background, inside, edge, distance = np.moveaxis(masks.encode(mask), 2, 0) > 0
    assert np.array_equal(background, mask == 0)
    expected = np.zeros((5, 9), bool)
    expected[:, 2] = True  # beyond the rim everything goes on
    expected[2, 5:7] = True
    assert np.array_equal(inside, expected)
    assert np.array_equal(edge, (mask > 0) & ~expected)
    assert np.array_equal(distance, expected)
    assert np.array_equal(boundary(mask), edge)


def test_the_distance_grows_to_the_middle_of_each_object():
    mask = np.zeros((20, 30), np.uint8)
    mask[2:13, 2:13], mask[2:9, 15:22] = 1, 2
    distance = MaskChannels("instances", NUCLEI).encode(mask)[:, :, 3]
    assert distance[7, 3:12].tolist() == [51, 102, 153, 204, 255, 204, 153, 102, 51]
    assert distance[5, 16:21].tolist() == [85, 170, 255, 170, 85]


@pytest.mark.parametrize("legend", [NUCLEI, KINDS])
@pytest.mark.parametrize("seed", range(3))
def test_touching_objects_come_back(legend, seed):
    mask = discs(legend, seed=seed)
    # What a later object left of an earlier one may lie in pieces; each piece is an object here.
    pieces, number = np.zeros(mask.shape, np.uint16), 0
    for value in np.unique(mask[mask > 0]):
        parts, count = ndimage.label(ndimage.binary_opening(mask == value, np.ones((3, 3))))
        for part in range(1, count + 1):
            number += 1
            pieces[parts == part] = value - value % 1000 + number
    masks = MaskChannels("instances", legend)
    back = masks.decode(masks.encode(pieces))
    assert np.array_equal(back > 0, pieces > 0)
    pairs, counts = np.unique(np.stack([back[back > 0], pieces[back > 0]]), axis=1, return_counts=True)
    largest = [counts[pairs[1] == value].max() for value in np.unique(pieces[pieces > 0])]
    assert len(largest) == len(np.unique(back)) - 1 > 30
    assert sum(largest) > 0.99 * (pieces > 0).sum()  # a pixel where three meet may change sides
    assert ((back >= 1001) == (pieces >= 1001)).mean() > 0.99
    numbers = np.unique(back[back > 0])
    assert numbers[0] == 1
    for part in (numbers[numbers < 1001], numbers[numbers >= 1001]):
        assert np.array_equal(np.diff(part), np.ones(max(len(part) - 1, 0)))


def test_objects_without_an_interior_are_kept():
    mask = np.zeros((12, 12), np.uint8)
    mask[1, 1:6], mask[4:6, 4:6], mask[9, 9] = 1, 2, 3
    assert interior(mask)[mask == 3].all()
    masks = MaskChannels("instances", NUCLEI)
    assert same_objects(masks.decode(masks.encode(mask)), mask)
    hollow = np.zeros((12, 12, 4), np.uint8)
    hollow[..., 0] = 255
    hollow[3:6, 3:6] = (0, 0, 255, 0)
    assert np.array_equal(masks.decode(hollow) == 1, hollow[..., 2] > 0)
    both = masks.encode(mask)
    both[7:9, 7:9] = (0, 0, 255, 0)
    mask[7:9, 7:9] = 4
    assert same_objects(masks.decode(both), mask)


def test_instances_as_classes_come_back_where_they_do_not_touch():
    mask = np.zeros((10, 10), np.uint16)
    mask[1:4, 1:4], mask[6:9, 6:9], mask[6:9, 1:4] = 7, 8, 1001
    masks = MaskChannels("classes", KINDS)
    back = masks.decode(masks.encode(mask))
    assert same_objects(back, mask)
    assert set(np.unique(back)) == {0, 1, 2, 1001}


def test_more_objects_than_numbers_are_refused():
    legend = Legend(masks="instances", classes={"a": 65534})
    grid = np.zeros((6, 6), np.uint16)
    grid[::2, ::2] = 65534
    with pytest.raises(InputError, match="too many objects of the class 'a'"):
        MaskChannels("classes", legend).decode(MaskChannels("classes", legend).encode(grid))


def test_codings_that_do_not_fit_the_masks_are_refused():
    with pytest.raises(InputError, match="masks are semantic: use 'classes'"):
        MaskChannels("instances", ORGANS)
    with pytest.raises(InputError, match=r"one class only, not \['lung', 'heart', 'trachea'\]"):
        MaskChannels("rgba", ORGANS)


SIZES = [(48, 64), (64, 96), (32, 32), (24, 32), (41, 57)]
"""Of 96 × 128: factors 2, 4/3 and 3/2, 3 and 4, 4, none that is even."""


@pytest.mark.parametrize("size", [*SIZES, (144, 150), (48, 200)])
def test_resizing_makes_no_new_values(size):
    mask = discs(KINDS)
    small = resized_labels(mask, size)
    assert (small.shape, small.dtype) == (size, mask.dtype)
    assert set(np.unique(small)) <= set(np.unique(mask))
    assert np.array_equal(resized_labels(mask, mask.shape), mask)


@pytest.mark.parametrize("size", SIZES)
def test_a_reduced_mask_lies_where_it_lay(size):
    """Mirrored and reduced is reduced and mirrored; and discs keep their middles and areas in the mean."""
    mask = discs(KINDS)
    for mirrored in (np.s_[::-1], np.s_[:, ::-1]):
        assert np.array_equal(resized_labels(mask[mirrored], size), resized_labels(mask, size)[mirrored])
    (y, x), factors = np.mgrid[:96, :128], np.array([96, 128]) / size
    moved, areas = [], []
    for centre in np.random.default_rng(1).uniform(30, 60, (60, 2)):
        small = resized_labels(((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < 24.3**2).astype(np.uint8), size)
        moved.append((np.array(ndimage.center_of_mass(small)) + 0.5) * factors - 0.5 - centre)
        areas.append(small.sum() * factors.prod())
    assert np.abs(np.mean(moved, axis=0)).max() < 0.1
    assert np.mean(areas) == pytest.approx(np.pi * 24.3**2, rel=0.02)


@pytest.mark.parametrize("size", SIZES)
def test_each_pixel_has_the_value_that_most_under_it_has(size):
    """As the antialiased bilinear filter of a torch tensor weighs it, without the windows that make it quick."""
    mask = discs(KINDS)
    values = np.unique(mask)
    shares = torch.from_numpy(np.stack([mask == value for value in values]).astype(np.float32))[None]
    shares = torch.nn.functional.interpolate(shares, size, mode="bilinear", antialias=True)[0].numpy()
    second, first = np.sort(shares, axis=0)[-2:]
    clear = first - second > 0.02
    assert clear.mean() > 0.9
    assert np.array_equal(resized_labels(mask, size)[clear], values[shares.argmax(axis=0)][clear])


def test_of_equal_shares_the_object_wins():
    halves = np.zeros((8, 8), np.uint16)
    halves[:, 3:], halves[:, 5:] = 5, 4
    assert resized_labels(halves, (4, 4)).tolist() == [[0, 5, 5, 4]] * 4
