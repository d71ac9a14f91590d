"""Adaptive discriminator augmentation against scipy, against matrices composed by hand, and against finite steps."""

import math

import numpy as np
import pytest
import pywt
import torch
from scipy import ndimage

from synthmed.augment import ada
from synthmed.augment.ada import (
    AdaptiveProbability,
    augmented,
    blit_matrices,
    blitted,
    colour_matrices,
    geometry_matrices,
    recoloured,
    sampled,
    scaling,
    shifting,
    transformed,
    turning,
)


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def images(count=2, channels=3, side=16, seed=9):
    return torch.rand(count, channels, side, side, generator=rng(seed), dtype=torch.float64) * 2 - 1


def smooth(side=32):
    """One map of low frequencies, (1, 1, side, side)."""
    y, x = np.mgrid[:side, :side] / side
    return torch.from_numpy(np.cos(5 * x + 2 * y) + np.sin(4 * x * y) - np.cos(6 * y))[None, None]


def one(value):
    return torch.tensor([value], dtype=torch.float64)


class Scripted:
    """Draws that a test has written down: the value of each transform by its place in the order of the paper."""

    def __init__(self, **values):
        self.values, self.count, self.p = values, 1, 1.0
        self.names = iter(values)

    def _next(self, *_, **__):
        return one(self.values[next(self.names)])

    uniform = normal = log_normal = choice = raw = _next

    def together(self, *values, neutral):
        return values


# ------------------------------------------------------------------------------------------------------------ filters
def test_the_filter_is_the_symlet_of_six_vanishing_moments():
    assert np.allclose(ada.SYM6, pywt.Wavelet("sym6").dec_lo, atol=1e-12)
    taps = np.array(ada.SYM6)
    shifted = [float(taps[2 * k :] @ taps[: 12 - 2 * k]) for k in range(6)]
    assert shifted == pytest.approx([1, 0, 0, 0, 0, 0], abs=1e-10)


def test_doubling_and_halving_give_the_image_back():
    given = images()
    made = transformed(given, torch.eye(3, dtype=torch.float64).repeat(2, 1, 1))
    assert torch.allclose(made[:, :, 4:-4, 4:-4], given[:, :, 4:-4, 4:-4], atol=1e-10)
    assert (made - given).abs().max() < 0.5  # at the border what lies beyond is mirrored in the doubled map


# ---------------------------------------------------------------------------------------------------------- transforms
@pytest.mark.parametrize(
    "matrix",
    [
        turning(one(0.4)),
        scaling(one(1.3), one(0.8)),
        shifting(one(0.11), one(-0.2)),
        shifting(one(0.05), one(0.1)) @ turning(one(-1.1)) @ scaling(one(1.2), one(1.1)) @ turning(one(0.3)),
    ],
)
def test_affine_transforms_are_those_of_scipy(matrix):
    given, side = smooth(), 32
    # scipy: value at (row, column) o comes from A·o + b. Our matrix is in (x, y) of half sides about the middle.
    inverse = torch.linalg.inv(matrix[0]).numpy()
    swapped, shift = inverse[:2, :2][::-1, ::-1], inverse[:2, 2][::-1] * side / 2
    middle = np.full(2, (side - 1) / 2)
    wanted = ndimage.affine_transform(
        given[0, 0].numpy(), swapped, offset=middle - swapped @ middle + shift, order=5, mode="mirror"
    )
    made = transformed(given, matrix)[0, 0].numpy()
    # Where the image's own pixels are seen; beyond them both are mirrored, which leaves a kink.
    inside = ndimage.affine_transform(
        np.pad(np.ones((side - 8, side - 8)), 4), swapped, offset=middle - swapped @ middle + shift, order=0
    )
    inside = ndimage.binary_erosion(inside > 0, iterations=3)
    assert inside.sum() > 100
    assert np.abs(made - wanted)[inside].max() < 0.01
    assert np.abs(made - wanted).max() < 0.3


def test_blits_copy_pixels():
    given = images(1)
    array = given[0].numpy()

    def made(matrix):
        return blitted(given, matrix)[0].numpy()

    assert np.array_equal(made(scaling(one(-1.0), one(1.0))), array[:, :, ::-1])
    # x to the right and y down: a positive quarter turn goes from x to y, clockwise as seen.
    assert np.array_equal(made(turning(one(math.pi / 2))), np.rot90(array, -1, axes=(1, 2)))
    padded = np.pad(array, ((0, 0), (2, 2), (3, 3)), mode="reflect")
    moved = made(shifting(one(2 * 3 / 16), one(-2 * 2 / 16)))
    assert np.array_equal(moved, padded[:, 4 : 4 + 16, 0:16])


def test_sampling_is_twice_differentiable():
    given = images(1, 2, 5).requires_grad_(True)
    rows, columns = (8 * torch.rand(1, 4, 4, generator=rng(k), dtype=torch.float64) - 2 for k in (1, 2))
    assert torch.autograd.gradcheck(lambda x: sampled(x, rows, columns), given)
    assert torch.autograd.gradgradcheck(lambda x: sampled(x, rows, columns), given)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_pipeline_is_linear_and_its_gradient_right(channels):
    given = images(6, channels).float().requires_grad_(True)
    made = augmented(given, 0.8, rng(1))
    weights, step = (torch.randn(given.shape, generator=rng(k)) for k in (2, 3))
    (gradient,) = torch.autograd.grad((made * weights).sum(), given)
    moved = augmented(given.detach() + step, 0.8, rng(1))
    assert ((moved - made) * weights).sum().item() == pytest.approx((gradient * step).sum().item(), rel=1e-3)


def test_r1_through_the_pipeline_has_a_gradient():
    given, scale = images(4).float().requires_grad_(True), torch.ones((), requires_grad=True)
    scores = (scale * augmented(given, 0.9, rng(1))).square().sum()
    (slope,) = torch.autograd.grad(scores, given, create_graph=True)
    (gradient,) = torch.autograd.grad(slope.square().sum(), scale)
    # scores = s²·|Ax|², slope = 2s²·AᵀAx, |slope|² ~ s⁴: its derivative at s = 1 is 4·|slope|².
    assert gradient.item() == pytest.approx(4 * slope.square().sum().item(), rel=1e-4)


# ------------------------------------------------------------------------------------------------------------ matrices
def moved(matrix, x, y):
    return (matrix[0] @ torch.tensor([x, y, 1.0], dtype=torch.float64))[:2].tolist()


def test_blits_come_in_the_order_of_the_paper():
    # Mirrored: (1, 0) → (−1, 0). Turned by −90°: (−1, 0) → (0, 1). Shifted by 0.125·16·(±1) pixels = 0.25 half sides.
    matrix = blit_matrices(Scripted(flip=1.0, turn=1.0, x=1.0, y=0.0), 16)
    assert moved(matrix, 1.0, 0.0) == pytest.approx([0.25, 0.75])
    # 0.3·2 − 1 = −0.4 of two pixels is −0.8, rounded −1: −1/8 half sides; 0.65·2 − 1 = 0.3 gives 0.6, rounded 1
    matrix = blit_matrices(Scripted(flip=0.0, turn=0.0, x=0.3, y=0.65), 16)
    assert moved(matrix, 0.0, 0.0) == pytest.approx([-0.125, 0.125])


def test_geometry_comes_in_the_order_of_the_paper():
    # (1, 0) doubled: (2, 0). Turned by 90°: (0, 2). Stretched by 2, 1/2: (0, 1). Turned by 90°: (−1, 0).
    # Shifted by 2·0.125·(0.4, −0.8).
    matrix = geometry_matrices(Scripted(scale=2.0, before=math.pi / 2, stretch=2.0, after=math.pi / 2, x=0.4, y=-0.8))
    assert moved(matrix, 1.0, 0.0) == pytest.approx([-0.9, -0.2])


def colours(x, **values):
    neutral = {"brightness": 0.0, "contrast": 1.0, "flip": 0.0, "hue": 0.0, "saturation": 1.0}
    matrix = colour_matrices(Scripted(**(neutral | values)))
    return recoloured(torch.tensor(x, dtype=torch.float64).view(1, -1, 1, 1), matrix).flatten().tolist()


def test_colours_are_those_of_the_paper():
    assert colours([0.1, 0.2, 0.3]) == pytest.approx([0.1, 0.2, 0.3])
    assert colours([0.1, 0.2, 0.3], brightness=0.5) == pytest.approx([0.6, 0.7, 0.8])
    assert colours([0.1, 0.2, 0.3], brightness=0.5, contrast=2.0) == pytest.approx([1.2, 1.4, 1.6])
    # luma is the mean m of the three: x − 2m
    assert colours([0.3, 0.0, 0.0], flip=1.0) == pytest.approx([0.1, -0.2, -0.2])
    assert colours([0.7, 0.2, 0.1], hue=2 * math.pi / 3) == pytest.approx([0.1, 0.7, 0.2])
    assert colours([0.7, 0.1, 0.1], saturation=0.0) == pytest.approx([0.3, 0.3, 0.3])
    assert colours([0.6, 0.3, 0.0], saturation=2.0) == pytest.approx([0.9, 0.3, -0.3])


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_other_numbers_of_channels_are_grey(channels):
    given = {"brightness": 0.5, "contrast": 2.0, "flip": 1.0, "hue": 1.0, "saturation": 3.0}
    assert colours([0.25] * channels, **given) == pytest.approx([-1.5] * channels)


def test_each_transform_happens_with_probability_p():
    count, p = 20_000, 0.3
    draws = ada._Draws(count, p, rng(1))
    share = lambda changed: float(changed.float().mean())  # noqa: E731
    assert share(draws.uniform(1, 2, 0.0) != 0) == pytest.approx(p, abs=0.01)
    assert share(draws.choice(4) != 0) == pytest.approx(p * 3 / 4, abs=0.01)
    x, y = draws.together(torch.ones(count), torch.ones(count), neutral=0.0)
    assert torch.equal(x, y)
    assert share(x != 0) == pytest.approx(p, abs=0.01)
    turned = geometry_matrices(ada._Draws(count, p, rng(3)))
    nothing = (turned[:, 0, 1] == 0) & (turned[:, 1, 0] == 0)
    assert share(~nothing) == pytest.approx(p, abs=0.01)
    assert float(turned[:, 1, 0].mean()) == pytest.approx(0, abs=0.01)  # to either side


def test_geometry_is_as_strong_as_in_the_paper():
    matrices = geometry_matrices(ada._Draws(20_000, 1.0, rng(2)))
    long, short = torch.linalg.svdvals(matrices[:, :2, :2]).log2().unbind(dim=1)
    assert float(((long + short) / 2).std()) == pytest.approx(0.2, abs=0.01)
    assert float(((long - short) / 2).square().mean().sqrt()) == pytest.approx(0.2, abs=0.01)
    assert float(matrices[:, 0, 2].std()) == pytest.approx(0.25, abs=0.01)
    shifts = blit_matrices(ada._Draws(20_000, 1.0, rng(3)), 16)[:, :2, 2] * 8
    assert shifts.unique().tolist() == [-2, -1, 0, 1, 2]


def test_colours_are_as_strong_as_in_the_paper():
    """Along the grey axis: contrast, perhaps inverted, of a brighter image; across it: contrast · saturation · turn."""
    matrices = colour_matrices(ada._Draws(20_000, 1.0, rng(4)))
    colours, shift = matrices[:, :3, :3], matrices[:, :3, 3].mean(dim=1)
    grey = colours.sum(dim=2).mean(dim=1)
    assert float(grey.abs().log2().std()) == pytest.approx(0.5, abs=0.01)
    assert float((grey > 0).double().mean()) == pytest.approx(0.5, abs=0.01)
    assert float((shift / grey).std()) == pytest.approx(0.2, abs=0.01)
    cosine = (colours.diagonal(dim1=1, dim2=2).sum(dim=1) - grey) / 2
    sine = (colours[:, 2, 1] - colours[:, 1, 2]) * math.sqrt(3) / 2
    assert float((cosine.hypot(sine) / grey.abs()).log2().std()) == pytest.approx(1.0, abs=0.02)
    hue = torch.atan2(sine, cosine)
    assert float(hue.mean()) == pytest.approx(0, abs=0.05)
    assert float(hue.std()) == pytest.approx(math.pi / math.sqrt(3), abs=0.02)


def test_every_image_gets_its_own_transforms_one_kind_after_the_other():
    wanted, draws = images(16), ada._Draws(16, 0.2, rng(1))
    given = wanted.float()
    for matrices, apply in (
        (blit_matrices(draws, 16), blitted),
        (geometry_matrices(draws), transformed),
        (colour_matrices(draws), recoloured),
    ):
        still = (matrices == torch.eye(matrices.shape[1])).flatten(1).all(dim=1).tolist()
        assert 0 < sum(still) < 16
        wanted = torch.cat(
            [
                image if left else apply(image, matrix)
                for image, matrix, left in zip(wanted.split(1), matrices.split(1), still, strict=True)
            ]
        )
    assert torch.allclose(augmented(given, 0.2, rng(1)), wanted.float(), atol=1e-4)


def test_at_zero_nothing_is_drawn_or_changed():
    generator, given = rng(), images()
    before = generator.get_state().clone()
    assert augmented(given, 0.0, generator) is given
    assert torch.equal(before, generator.get_state())


def test_what_is_drawn_repeats_with_the_generator():
    given = images(6).float()
    first = augmented(given, 0.5, rng(1))
    assert torch.equal(first, augmented(given, 0.5, rng(1)))
    assert not torch.equal(first, augmented(given, 0.5, rng(2)))
    assert first.shape == given.shape
    assert torch.isfinite(first).all()


# --------------------------------------------------------------------------------------------------------- probability
def test_p_rises_while_the_discriminator_is_too_sure_and_falls_when_not():
    adaptive = AdaptiveProbability(target=0.6, interval=2, kimg=1.0)
    found = []
    for step, signs in enumerate([[1, 1, 1, 1], [1, 1, 1, -1], [1, 1, 1, 1], [-1, -1, 1, 1]], start=1):
        adaptive.observe(torch.tensor(signs, dtype=torch.float32) * 3)
        adaptive.adapt(step, images=10)
        found.append(float(adaptive.p))
    # r_t: 6/8 = 0.75, then 4/8 = 0.5; each moves p by 2 steps of 10 images, of 1,000
    assert found == pytest.approx([0.0, 0.02, 0.02, 0.0])
    assert float(adaptive.signs[2]) == 0.5


def test_p_stays_between_0_and_1():
    adaptive, found = AdaptiveProbability(target=0.0, interval=1, kimg=0.01), []
    for step, sign in enumerate([-1.0, 1.0, 1.0, 1.0], start=1):
        adaptive.observe(torch.full((2,), sign))
        adaptive.adapt(step, images=8)
        found.append(float(adaptive.p))
    assert found == pytest.approx([0.0, 0.8, 1.0, 1.0])
