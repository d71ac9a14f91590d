"""What lies on dermoscopic photographs and is no skin, found and taken out of the pixels.

Seed 003, sections 3.2.1 and 4.1: crops, random skin colours, frequency selective reconstruction and nearest neighbours
for the black frame; nearest neighbours for hair and rulers. All functions take and give uint8 images (H, W, 3); masks
are bool (H, W). Its author drops all of them, because none looks real; here each is measured (evaluation/removal.py).
"""

import numpy as np
from PIL import Image
from scipy import ndimage

from synthmed.core.errors import InputError
from synthmed.prepare.fsr import reconstruct

DARK = 60
"""Brightness (mean of red, green, blue) below which a pixel may belong to a frame."""
LEAST = 0.01
"""Share of the image below which dark pixels at its border are no frame."""


# --------------------------------------------------------------------------------------------------------- finding them
def frame_mask(pixels: np.ndarray) -> np.ndarray:
    """The black frame: dark pixels that hang together with a corner of the image, grown by the soft edge.

    A lesion may be as dark, but reaches no corner. Empty where they are less than LEAST of the image.
    """
    dark = pixels.mean(axis=2) < DARK
    parts, _ = ndimage.label(dark)
    corners = {parts[row, column] for row in (0, -1) for column in (0, -1)} - {0}
    frame = np.isin(parts, list(corners))
    if frame.mean() < LEAST:
        return np.zeros(frame.shape, bool)
    return ndimage.binary_dilation(frame, iterations=max(1, round(0.02 * min(frame.shape))))


def hair_mask(pixels: np.ndarray, *, contrast: float = 30.0) -> np.ndarray:
    """Dark thin straight structures: hairs and the ticks of rulers.

    Closings by lines in eight directions, as in DullRazor (Lee, Ng, Gallagher, Coldman & McLean 1997); but what counts
    is how much they differ: a hair vanishes under a line across it and stays under one along it, while grain vanishes
    under all. Where the largest is `contrast` (of 255) brighter than the smallest, and than the image, a pixel belongs
    to one. Nothing that is as wide as the lines are long (1/12 of the side) is, and no part that is not long and thin:
    the square of its extent must be four times its area. Pixels of the frame are none.
    """
    grey, plus = pixels.mean(axis=2), ndimage.generate_binary_structure(2, 1)
    lines = _lines(max(5, min(grey.shape) // 12))
    across = np.max([ndimage.grey_closing(grey, footprint=line) for line in lines], axis=0)
    thick = ndimage.grey_erosion(grey, footprint=plus)  # so that a hair between two directions still holds a line
    along = np.min([ndimage.grey_closing(thick, footprint=line) for line in lines], axis=0)
    thin = (across - along > contrast) & (across - grey > contrast) & ~frame_mask(pixels)
    parts, _ = ndimage.label(thin, np.ones((3, 3)))
    long = np.zeros(thin.shape, bool)
    for number, box in enumerate(ndimage.find_objects(parts), 1):
        own = parts[box] == number
        if own.sum() >= 4 and own.shape[0] ** 2 + own.shape[1] ** 2 >= 4 * own.sum():
            long[box] |= own
    return ndimage.binary_dilation(long, plus)


def _lines(length: int) -> list[np.ndarray]:
    """Footprints, bool (length, length), of lines in eight directions; length is made odd."""
    length |= 1
    reach = length // 2
    found = []
    for angle in np.pi * np.arange(8) / 8:
        line, steps = np.zeros((length, length), bool), np.linspace(-reach, reach, 4 * length)
        line[np.rint(reach + steps * np.sin(angle)).astype(int), np.rint(reach + steps * np.cos(angle)).astype(int)] = (
            True
        )
        found.append(line)
    return found


def skin_tone(pixels: np.ndarray) -> float:
    """Individual typology angle of the skin in degrees, arctan((L* − 50) / b*) (Chardon, Cretois & Hourseau 1991).

    L* and b* (D65) are medians over the brighter half of the pixels outside of the frame, in which neither lesion nor
    hair lies. It knows nothing of lamp and white balance, so of photographs it is a rough measure.
    """
    from skimage.color import rgb2lab  # imports much of scikit-image

    rest = pixels[~frame_mask(pixels)]
    bright = rest.mean(axis=1)
    lab = np.median(rgb2lab(rest[bright >= np.median(bright)][None]), axis=1)[0]
    return float(np.degrees(np.arctan2(lab[0] - 50, lab[2])))


# ----------------------------------------------------------------------------------------------------- taking them out
def _resized(pixels: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize(shape[::-1], Image.Resampling.LANCZOS))


def crop_share(frame: np.ndarray, left: float) -> float:
    """The share of the sides that the largest part around the middle has, of the image's own shape, in which at most
    the share `left` is frame.

    Raises InputError when even a tenth of the side has more.
    """
    for share in np.arange(1.0, 0.095, -0.01):
        if frame[_middle(frame.shape, share)].mean() <= left:
            return float(share)
    raise InputError("the frame covers the middle of the image; take the image out")


def _middle(shape: tuple[int, int], share: float) -> tuple[slice, slice]:
    rows, columns = (round(side * (1 - share) / 2) for side in shape)
    return np.s_[rows : shape[0] - rows, columns : shape[1] - columns]


def crop(pixels: np.ndarray, frame: np.ndarray, left: float = 0.0) -> np.ndarray:
    """The part of the image that crop_share says, brought back to the size (Lanczos, Pillow).

    left 0: the document's full crop; above: its partial one. Raises InputError as crop_share.
    """
    part = pixels[_middle(frame.shape, crop_share(frame, left))]
    return pixels if part.shape == pixels.shape else _resized(np.ascontiguousarray(part), frame.shape)


def paint_skin(pixels: np.ndarray, frame: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The frame painted with colours drawn, pixel by pixel, from a normal fitted to the skin.

    Skin are the brighter half of the pixels outside of the frame, so that the lesion is none. Mean and covariance of
    their colours. Seed 003, section 3.2.1.
    """
    rest = pixels[~frame].astype(np.float64)
    if len(rest) < 8:
        raise InputError("hardly a pixel lies outside of the frame; take the image out")
    bright = rest.mean(axis=1)
    skin = rest[bright >= np.median(bright)]
    drawn = rng.multivariate_normal(skin.mean(axis=0), np.cov(skin.T), int(frame.sum()), method="eigh")
    found = pixels.copy()
    found[frame] = np.rint(np.clip(drawn, 0, 255))
    return found


def fill_nearest(pixels: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Every missing pixel becomes the nearest known one. Raises InputError when none is known."""
    if missing.all():
        raise InputError("every pixel is missing; there is nothing to fill in from")
    rows, columns = ndimage.distance_transform_edt(missing, return_distances=False, return_indices=True)
    return pixels[rows, columns]


def fill_fsr(pixels: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Missing pixels by frequency selective reconstruction (see fsr)."""
    return reconstruct(pixels, missing)


def remove_hair(pixels: np.ndarray) -> np.ndarray:
    """Hairs and ticks of rulers filled in with the nearest pixels that are none."""
    return fill_nearest(pixels, hair_mask(pixels))


def paste_frame(pixels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The image with a black frame: what lies outside of a round field of view, softly, as in the phantoms."""
    height, width = pixels.shape[:2]
    y, x = np.mgrid[:height, :width]
    centre = np.array([height, width]) / 2 + rng.normal(0, 0.02, 2) * min(height, width)
    radius = rng.uniform(0.47, 0.58) * min(height, width)
    distance = np.hypot(y - centre[0], x - centre[1])
    cover = np.clip((distance - radius) / (0.03 * min(height, width)) + 0.5, 0, 1)[..., None]
    return np.rint(pixels * (1 - cover) + 5 * cover).astype(np.uint8)


CROPS = {"crop": 0.0, "partial_crop": 0.05}
"""Ways of cropping → share of what stays that may be frame."""
FRAME_METHODS = {
    **{name: lambda pixels, frame, rng, left=left: crop(pixels, frame, left) for name, left in CROPS.items()},
    "skin_colours": paint_skin,
    "nearest": lambda pixels, frame, rng: fill_nearest(pixels, frame),
    "fsr": lambda pixels, frame, rng: fill_fsr(pixels, frame),
}
"""Name → function (pixels, frame, rng) → pixels."""


def remove_frame(pixels: np.ndarray, method: str, rng: np.random.Generator) -> np.ndarray:
    """The image without its frame by a method of FRAME_METHODS, itself where it has none."""
    frame = frame_mask(pixels)
    return FRAME_METHODS[method](pixels, frame, rng) if frame.any() else pixels
