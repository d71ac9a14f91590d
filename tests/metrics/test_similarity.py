"""PSNR and SSIM against scikit-image, MS-SSIM against its definition written out and a value by MONAI."""

import numpy as np
import pytest
from scipy.signal import convolve2d
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from synthmed.core.errors import InputError
from synthmed.metrics.similarity import SCALE_WEIGHTS, ms_ssim, psnr, scales_of, ssim


def waves(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Two images that are alike, uint8 (1, H, W, 1)."""
    y, x = np.mgrid[:height, :width]
    first = 127.5 + 80 * np.sin(x / 7) * np.cos(y / 11) + 40 * np.sin((x + 2 * y) / 3)
    second = first + 25 * np.sin(x * y / 97) + 9
    return tuple(np.clip(np.rint(image), 0, 255).astype(np.uint8)[None, :, :, None] for image in (first, second))


def noisy(seed: int, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first = rng.integers(0, 256, shape)
    return first.astype(np.uint8), np.clip(first + rng.normal(0, 60, shape), 0, 255).astype(np.uint8)


def test_psnr_and_ssim_are_those_of_scikit_image():
    first, second = noisy(0, (3, 24, 17, 3))
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    pairs = list(zip(first, second, strict=True))
    assert psnr(first, second) == pytest.approx([peak_signal_noise_ratio(*pair) for pair in pairs], rel=1e-12)
    expected = [structural_similarity(*pair, channel_axis=2, **options) for pair in pairs]
    assert ssim(first, second) == pytest.approx(expected, rel=1e-9)


def plainly(first: np.ndarray, second: np.ndarray, scales: int) -> float:
    """MS-SSIM of two grey images (H, W), as the paper writes it."""
    offsets = np.arange(-5, 6)
    window = np.exp(-(offsets[:, None] ** 2 + offsets[None] ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def around(image):
        return convolve2d(image, window, mode="valid")

    x, y, total, result = first.astype(float), second.astype(float), sum(SCALE_WEIGHTS[:scales]), 1.0
    for scale in range(scales):
        mx, my = around(x), around(y)
        vx, vy, cov = around(x * x) - mx**2, around(y * y) - my**2, around(x * y) - mx * my
        value = (2 * cov + 58.5225) / (vx + vy + 58.5225)
        if scale == scales - 1:
            value = value * (2 * mx * my + 6.5025) / (mx**2 + my**2 + 6.5025)
        result *= max(0, value.mean()) ** (SCALE_WEIGHTS[scale] / total)
        x, y = (
            sum(image[i : image.shape[0] // 2 * 2 : 2, j : image.shape[1] // 2 * 2 : 2] for i in (0, 1) for j in (0, 1))
            / 4
            for image in (x, y)
        )
    return result


@pytest.mark.parametrize(("height", "width", "scales"), [(180, 177, 5), (64, 90, 3), (11, 30, 1)])
def test_ms_ssim_is_its_definition_with_the_scales_that_fit(height, width, scales):
    first, second = waves(height, width)
    assert scales_of(height, width) == scales
    grey = (np.concatenate([image, 255 - image]) for image in (first, second))
    expected = [plainly(a[:, :, 0], b[:, :, 0], scales) for a, b in zip(first, second, strict=True)]
    found = ms_ssim(*grey)
    assert found[0] == pytest.approx(expected[0], rel=1e-9)
    assert found[1] == pytest.approx(plainly(255 - first[0, :, :, 0], 255 - second[0, :, :, 0], scales), rel=1e-9)
    channels = [np.concatenate([image, 255 - image], axis=3) for image in (first, second)]
    assert ms_ssim(*channels) == pytest.approx([found.mean()], rel=1e-9)


def test_a_scale_counts_while_the_window_fits():
    assert [scales_of(side, 400) for side in (10, 11, 21, 22, 175, 176, 999)] == [0, 1, 1, 2, 4, 5, 5]


def test_ms_ssim_is_that_of_monai():
    # MONAI 1.6.1: MultiScaleSSIMMetric(spatial_dims=2, data_range=255), in single precision.
    assert ms_ssim(*waves(180, 180)) == pytest.approx([0.9620581], rel=2e-6)
    assert ms_ssim(*waves(177, 177)) == pytest.approx([0.9612337], rel=2e-6)


def test_equal_images_and_opposite_ones():
    first, _ = noisy(1, (2, 30, 30, 1))
    assert np.isinf(psnr(first, first)).all()
    assert ssim(first, first) == pytest.approx([1, 1]) == ms_ssim(first, first)
    assert (ssim(first, 255 - first) < 0).all()
    assert ms_ssim(first, 255 - first).tolist() == [0, 0]


def test_images_that_cannot_be_compared_are_refused():
    small = np.zeros((1, 10, 30, 1), dtype=np.uint8)
    for measure in (ssim, ms_ssim):
        with pytest.raises(InputError, match="11² pixels"):
            measure(small, small)
    with pytest.raises(InputError, match="one shape"):
        psnr(small, small[:, :9])
