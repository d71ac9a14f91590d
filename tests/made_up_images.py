"""Small image sets for classifiers: noise, and in abnormal images a bright square whose box is known."""

import numpy as np

from synthmed.data.imageset import write_image_set

SIDE = 32


def rows(count, prefix, seed, size=SIDE, channels=1, **fields):
    """(fields, pixels) of `count` images, every second one abnormal; a patient an image."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        pixels = rng.normal(100, 15, (size, size))
        abnormal = number % 2 == 1
        boxes = ""
        if abnormal:
            top, left = rng.integers(2, size - 10, 2).tolist()
            pixels[top : top + 8, left : left + 8] += 70
            boxes = f"square:{left},{top},{left + 8},{top + 8}"
        pixels = np.repeat(pixels.clip(0, 255).astype(np.uint8)[:, :, None], channels, axis=2)
        yield (
            {
                "image": f"{prefix}{number:03d}.png",
                "label": "abnormal" if abnormal else "normal",
                "patient": f"{prefix}{number}",
                "findings": "square" if abnormal else "",
                "boxes": boxes,
                **fields,
            },
            pixels,
        )


def image_set(path, count, seed=0, **extra):
    write_image_set(path, rows(count, path.stem, seed, **extra))
    return path
