import numpy as np
import pytest
from PIL import Image

from synthmed.metrics import alignment


def picture(seed, channels=1):
    """Smooth random image, uint8 (64, 64, channels)."""
    small = Image.fromarray(np.random.default_rng(seed).integers(0, 255, (9, 9), dtype=np.uint8))
    grey = np.asarray(small.resize((64, 64), Image.Resampling.BICUBIC))
    return np.stack([np.roll(grey, 9 * channel, axis=0) for channel in range(channels)], axis=2)


def distances(queries, pool, side=32):
    small = [np.stack([alignment.thumbnail(image, side) for image in images]) for images in (queries, pool)]
    aligned = alignment.fit(small[1])
    blocks = list(aligned.blocks(aligned.queries(small[0]), small[1]))
    return np.concatenate([block for _, block in blocks], axis=1)


def shifted(image, down, right):
    padded = np.pad(image, ((8, 8), (8, 8), (0, 0)), mode="edge")
    return padded[8 - down : 72 - down, 8 - right : 72 - right]


def cropped(image, share, left):
    box = (64 * (1 - share) * left, 64 * (1 - share) / 2) * 2
    box = (box[0], box[1], box[0] + 64 * share, box[1] + 64 * share)
    return alignment.each_channel(image, lambda channel: channel.resize((64, 64), Image.Resampling.BICUBIC, box=box))


def turned(image, degrees):
    return alignment.each_channel(image, lambda channel: channel.rotate(degrees, Image.Resampling.BICUBIC))


CHANGES = {
    "mirrored": lambda image: image[:, ::-1],
    "down 2, left 3": lambda image: shifted(image, 2, -3),
    "up 6, right 6": lambda image: shifted(image, -6, 6),
    "mirrored, right 5": lambda image: shifted(image[:, ::-1], 0, 5),
    "crop 95": lambda image: cropped(image, 0.95, 0.5),
    "crop 90 at the left": lambda image: cropped(image, 0.9, 0.0),
    "crop 80": lambda image: cropped(image, 0.8, 0.5),
    "turned 3": lambda image: turned(image, 3),
    "turned 8": lambda image: turned(image, 8),
    "brighter, less contrast": lambda image: image // 2 + 90,
}


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_copy_is_near_and_others_are_far(name, channels):
    pool = [picture(seed, channels) for seed in range(40)]
    found = distances([np.ascontiguousarray(CHANGES[name](image)) for image in pool[:8]], pool)
    own = found[np.arange(8), np.arange(8)].copy()
    found[np.arange(8), np.arange(8)] = np.inf
    assert (found.argmin(axis=1) != np.arange(8)).all()
    assert (own < 0.5 * found.min(axis=1)).all()


def test_an_exact_copy_has_distance_zero_and_a_constant_image_none_to_itself():
    pool = [picture(seed) for seed in range(6)] + [np.full((64, 64, 1), 9, np.uint8)]
    found = distances([pool[2], pool[6]], pool)
    assert found[0, 2] == pytest.approx(0, abs=2e-3)
    assert found[0, [0, 1, 3, 4, 5, 6]].min() > 0.1
    assert found[1, 6] == 0
    assert np.isfinite(found).all()


def test_blocks_do_not_change_the_distances(monkeypatch):
    pool = [picture(seed) for seed in range(30)]
    queries = [picture(seed + 100) for seed in range(5)]
    whole = distances(queries, pool)
    monkeypatch.setattr(alignment, "_BLOCK", 1)  # one image at a time
    assert distances(queries, pool) == pytest.approx(whole, abs=1e-4)


def test_a_block_of_distances_stays_small():
    pool = np.stack([alignment.thumbnail(picture(seed), 32) for seed in range(200)])
    aligned = alignment.fit(pool)
    (_, first), *_ = aligned.blocks(np.repeat(aligned.queries(pool), 8, axis=1), pool)
    assert first.shape[1] * 293 * 3200 <= alignment._BLOCK


def test_thumbnails_are_means_of_blocks_of_any_shape():
    image = np.zeros((4, 8, 1), np.uint8)
    image[:2, :4] = 80
    image[0, 0] = 120
    assert alignment.thumbnail(image, 2)[:, :, 0].tolist() == [[85, 0], [0, 0]]


def test_interpolation_by_hand():
    weights = alignment._interpolation(10, 4, 1.0, 0.0)  # 8 pixels of 10, in cells of 2: centres 2, 4, 6, 8 → 1.5 …
    assert weights @ np.arange(10) == pytest.approx([1.5, 3.5, 5.5, 7.5])
    assert alignment._interpolation(10, 4, 0.5, 1.0) @ np.arange(10) == pytest.approx([4, 5, 6, 7])
    assert np.allclose(weights.sum(axis=1), 1)


def test_of_the_queries_the_second_view_is_mirrored():
    images = np.stack([alignment.thumbnail(picture(seed), 32) for seed in range(20)])
    aligned = alignment.fit(images)
    plain, mirrored = aligned.queries(images)
    assert aligned.queries(np.ascontiguousarray(images[:, :, ::-1]))[0] == pytest.approx(mirrored, abs=1e-4)
    assert np.abs(plain - mirrored).max() > 0.1
