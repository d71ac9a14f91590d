"""Whether a generator that draws image and masks as channels of one picture mixes them (seed 001, figure 3.3)."""

from itertools import combinations

import numpy as np

GREY = (0.2, 0.8)
"""A pixel of a mask between these, of 0 to 1, is neither in the mask nor outside."""

GREY_SHARE = 0.05
"""A sample leaks with more such pixels in one of its masks."""

TEXTURE_QUANTILE = 0.99
"""A sample leaks when its masks follow the image more closely than so many pairs of real images follow each other."""

COLUMN = "mask_{}"
"""Column of an image set with what leakage() found, by the criterion, where a generator drew masks."""


def leakage(image: np.ndarray, channels: np.ndarray, backgrounds: int) -> dict[str, float]:
    """How far masks are mixed with their image, or with each other: 0 for masks of 0 and 255 that share no pixel.

    image: uint8 (H, W, C); channels: uint8 (H, W, K), one a mask, as the generator drew them, before they are binarised
    at one half; backgrounds: how many of them, the first ones, say where nothing is. Each number is the largest over
    masks or pairs of masks. grey: share of all pixels that are GREY. texture: correlation between the mask's values and
    the image's brightness, without its sign, over the pixels inside the mask, of all but backgrounds: 0 where either is
    even. overlap: pixels inside two masks, as a share of the smaller mask; only where there are two.
    """
    shares = channels / 255
    inside = shares >= 0.5
    brightness = image.mean(axis=2)
    grey = ((shares >= GREY[0]) & (shares <= GREY[1])).mean(axis=(0, 1))
    textures = [
        _correlation(brightness, shares[:, :, k], inside[:, :, k]) for k in range(backgrounds, channels.shape[2])
    ]
    overlaps = [_overlap(inside[:, :, a], inside[:, :, b]) for a, b in combinations(range(channels.shape[2]), 2)]
    found = {"grey": float(grey.max()), "texture": max(textures)}
    return found | {"overlap": max(overlaps)} if overlaps else found


def chance_texture(image: np.ndarray, other: np.ndarray, masks: np.ndarray) -> float:
    """The texture of leakage() that a real image would have if another real image shone through its masks.

    Label maps have no texture of their own, so this is what correlations of real images are like by chance of anatomy.
    image, other: uint8 (H, W, C), of two patients; masks of the first, without background: bool (H, W, K).
    """
    first, second = image.mean(axis=2), other.mean(axis=2)
    return max(_correlation(first, second, masks[:, :, k]) for k in range(masks.shape[2]))


def leaks(found: dict[str, np.ndarray], textures: np.ndarray, overlaps: np.ndarray) -> dict[str, np.ndarray]:
    """Which samples leak by each criterion, and by any: bool (N,).

    found: of leakage(), (N,) each; textures: of chance_texture() of real images; overlaps: of real images, the largest
    of which is allowed.
    """
    criteria = {
        "grey": found["grey"] > GREY_SHARE,
        "texture": found["texture"] > np.quantile(textures, TEXTURE_QUANTILE),
    }
    if "overlap" in found:
        criteria["overlap"] = found["overlap"] > overlaps.max()
    return criteria | {"any": np.any(list(criteria.values()), axis=0)}


def _correlation(first: np.ndarray, second: np.ndarray, where: np.ndarray) -> float:
    """|Pearson correlation| of two arrays (H, W) over the pixels `where`; 0 where one of them is constant."""
    a, b = (values[where] - values[where].mean() if where.any() else np.zeros(1) for values in (first, second))
    scale = np.sqrt((a @ a) * (b @ b))
    return float(abs(a @ b) / scale) if scale > 1e-9 else 0.0


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    smaller = min(np.count_nonzero(first), np.count_nonzero(second))
    return np.count_nonzero(first & second) / smaller if smaller else 0.0
