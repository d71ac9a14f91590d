"""The fast PNG: Pillow, which checks its sums, reads the same pixels."""

import io

import numpy as np
import pytest
from PIL import Image

from synthmed.data.png import encode_rgb


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (37, 53)])
def test_pillow_reads_the_same_pixels(shape):
    pixels = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(encode_rgb(pixels))) as image:
        image.load()
        assert (image.mode, image.size) == ("RGB", shape[::-1])
        np.testing.assert_array_equal(np.asarray(image), pixels)
