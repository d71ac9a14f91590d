"""Pixels as networks take them: ranges, sizes, mirrors."""

import torch

from synthmed.training.images import mirrored, reduced, resized, to_model, to_pixels


def test_pixels_come_back_and_what_lies_outside_is_clipped():
    pixels = torch.arange(256, dtype=torch.uint8)
    images = to_model(pixels)
    assert (images.min(), images.max()) == (-1, 1)
    assert torch.equal(to_pixels(images), pixels)
    assert to_pixels(torch.tensor([-3.0, 3.0])).tolist() == [0, 255]


def test_a_smaller_size_sees_every_pixel():
    """One bright column in four: without antialiasing the pixels between two would be read alone."""
    images = torch.zeros(1, 1, 8, 16)
    images[..., ::4] = 1
    small = resized(images, (8, 4))
    assert small.shape == (1, 1, 8, 4)
    assert torch.allclose(small, torch.full_like(small, 0.25), atol=0.08)  # less at the border
    assert resized(images, (8, 16)) is images


def test_reduced_is_the_mean_of_whole_blocks():
    images = torch.arange(24.0).view(1, 1, 4, 6)
    assert reduced(images, 3).tolist() == [[[[3.5, 5.5, 7.5], [15.5, 17.5, 19.5]]]]
    assert reduced(images, 6) is images


def test_only_the_marked_images_are_mirrored():
    images = torch.arange(8.0).view(2, 1, 2, 2)
    assert mirrored(images, torch.tensor([False, True])).flatten().tolist() == [0, 1, 2, 3, 5, 4, 7, 6]
