"""Small image sets with masks: bright discs on noise, the mask is where they are."""

import numpy as np

from synthmed.data.imageset import Legend, write_image_set

SIDE = 32
SEMANTIC = Legend(classes={"disc": 255})
INSTANCES = Legend(masks="instances", classes={"disc": 1})


def discs(rng, count, size=SIDE):
    """An image (H, W, 1) with `count` discs, and the map of their numbers (H, W); later ones lie above."""
    y, x = np.mgrid[:size, :size]
    numbers = np.zeros((size, size), np.uint8)
    for number in range(1, count + 1):
        top, left = rng.uniform(0.2 * size, 0.8 * size, 2)
        radius = rng.uniform(0.1, 0.2) * size
        numbers[(y - top) ** 2 + (x - left) ** 2 < radius**2] = number
    pixels = rng.normal(90, 12, (size, size)) + 70 * (numbers > 0)
    return pixels.clip(0, 255).astype(np.uint8)[:, :, None], numbers


def rows(count, prefix, seed=0, *, most=3, legend=SEMANTIC, size=SIDE, channels=1, wrong=False):
    """(fields, pixels, mask) of `count` images of 1 to `most` discs, two images a patient. wrong: masks of others."""
    rng = np.random.default_rng(seed)
    made = [discs(rng, int(rng.integers(1, most + 1)), size) for _ in range(count)]
    masks = [numbers for _, numbers in made]
    masks = masks[1:] + masks[:1] if wrong else masks
    for number, ((pixels, _), numbers) in enumerate(zip(made, masks, strict=True)):
        mask = numbers if legend.masks == "instances" else np.where(numbers > 0, np.uint8(255), np.uint8(0))
        fields = {"image": f"{prefix}{number:03d}.png", "label": "discs", "patient": f"{prefix}{number // 2}"}
        yield fields, np.repeat(pixels, channels, axis=2), mask


def pair_set(path, count, seed=0, **options):
    legend = options.get("legend", SEMANTIC)
    write_image_set(path, rows(count, path.stem, seed, **options), legend)
    return path
