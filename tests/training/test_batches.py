"""The batches of a training: order, mirroring, classes, and the same bits in memory and on demand."""

import numpy as np
import pytest
import torch

from synthmed.core.errors import InputError
from synthmed.data.channels import resized_labels
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.training import batches as real_images
from synthmed.training.batches import Endless, RealImages

CPU = torch.device("cpu"), torch.contiguous_format
NOISE, IMAGE, MASK = (frozenset({need}) for need in ("noise", "image", "mask"))


def image_set(path, counts, size=16, channels=1, odd=None):
    """Random images, with masks of what is bright in the first channel; `odd`: number of the one that is larger."""
    rng = np.random.default_rng(0)
    rows = []
    for label, count in counts.items():
        for i in range(count):
            side = 2 * size if len(rows) == odd else size
            pixels = rng.integers(0, 256, (side, side, channels), np.uint8)
            fields = {"image": f"{label}_{i}.png", "label": label, "patient": f"{label}{i}"}
            rows.append((fields, pixels, np.where(pixels[..., 0] > 127, 255, 0)))
    write_image_set(path, rows)
    return path


@pytest.fixture
def images(tmp_path):
    return image_set(tmp_path / "train.zip", {"abnormal": 6, "normal": 10})


def opened(path, labels=("normal",), **changes):
    values = {"seed": 3, "batch_size": 4, "needs": NOISE, "size": None, "masks": None, "jitter": None, "flip": False}
    values["learns"] = "images"
    return RealImages(path, ("normal", "abnormal"), labels, threads=2, **values | changes)


def test_every_epoch_shows_every_image_once():
    order, rng = Endless(torch.arange(7)), torch.Generator().manual_seed(0)
    taken = torch.cat([order.take(3, rng) for _ in range(7)])
    for epoch in range(3):
        assert sorted(taken[7 * epoch : 7 * epoch + 7].tolist()) == list(range(7))
    assert taken[:7].tolist() != taken[7:14].tolist()


def test_batches_per_class_come_class_after_class(images):
    data = opened(images, ("abnormal", "normal"), needs=IMAGE)
    batch = data.batch(4, *CPU)
    assert batch.labels.tolist() == [0] * 4 + [1] * 4
    assert batch.images.shape == (8, 1, 16, 16)
    assert -1 <= batch.images.min() < batch.images.max() <= 1


def test_images_that_are_learned_by_themselves_come_in_turn(images):
    data = opened(images, needs=frozenset({"noise", "origin"}))
    real = data.read(torch.arange(10)).float() / 127.5 - 1
    for first, count in [(0, 4), (4, 4), (8, 2), (0, 3)]:
        assert torch.equal(data.batch(count, *CPU).images, real[first : first + count])


def test_flip_mirrors_about_half(images):
    plain = opened(images)
    batch = plain.batch(4, *CPU)
    real = plain.read(torch.arange(10)).float() / 127.5 - 1
    assert all(any(torch.equal(image, other) for other in real) for image in batch.images)
    flipping = opened(images, flip=True)
    batches = [flipping.batch(4, *CPU).images for _ in range(10)]
    seen = torch.cat(batches)
    as_is = sum(any(torch.equal(image, other) for other in real) for image in seen)
    mirrored = sum(any(torch.equal(image.flip(2), other) for other in real) for image in seen)
    assert as_is + mirrored == 40
    assert 8 < mirrored < 32
    alone = [sum(any(torch.equal(image, other) for other in real) for image in batch) for batch in batches]
    assert not {*alone} <= {0, 4}  # each image has its own draw


def windows(image, side):
    """Every part of (C, H, W) with such a side, by its upper left corner."""
    places = range(image.shape[1] - side + 1)
    return {(top, left): image[:, top : top + side, left : left + side] for top in places for left in places}


def test_jitter_takes_parts_as_they_are_where_images_are_large_enough(images):
    data = opened(images, size=(6, 6), masks="classes", needs=MASK, jitter=16 / 6)
    stored = opened(images, masks="classes").read(torch.arange(10)).float() / 127.5 - 1
    known = {part.numpy().tobytes(): place for image in stored for place, part in windows(image, 6).items()}
    places = []
    for _ in range(30):
        batch = data.batch(4, *CPU)
        places += [known[torch.cat(pair).numpy().tobytes()] for pair in zip(batch.images, batch.masks, strict=True)]
    for corner in zip(*places, strict=True):
        assert (min(corner), max(corner)) == (0, 10)
    assert len({*places}) > 60  # each image has its own draw
    assert data.shape == (1, 6, 6)
    assert data.read(torch.arange(3)).shape == (3, 2, 6, 6)


def test_jitter_enlarges_the_image_smoothly_and_the_mask_by_its_nearest_pixel(images):
    data = opened(images, masks="classes", jitter=1.25)
    assert data.shape == (2, 16, 16)
    stored = opened(images, masks="classes").read(torch.arange(10)).float() / 127.5 - 1
    large = torch.nn.functional.interpolate(stored, (20, 20), mode="bilinear")
    nearest = torch.nn.functional.interpolate(stored, (20, 20), mode="nearest-exact")
    large[:, 1] = nearest[:, 1]
    seen = data.batch(4, *CPU).images
    for image in seen:
        parts = [part for one in large for part in windows(one, 16).values()]
        assert min(float((image - part).abs().max()) for part in parts) < 1e-5
    assert set(seen[:, 1].unique().tolist()) == {-1, 1}
    assert torch.equal(data.read(torch.arange(10)), opened(images, masks="classes").read(torch.arange(10)))


def test_whole_images_at_half_the_size_of_those_that_parts_are_taken_of_have_masks_in_their_place(images):
    """Channels by the nearest pixel would have moved by half a pixel of the larger image."""
    data = opened(images, masks="classes", size=(8, 8), jitter=2.0)
    stored = ImageSet(images)
    expected = [resized_labels(mask, (8, 8)) for row, mask in zip(stored.rows, stored.masks, strict=True)
                if row["label"] == "normal"]  # fmt: skip
    assert np.array_equal(data.read(torch.arange(10))[:, 1].numpy(), np.stack(expected))
    assert data.batch(4, *CPU).images.shape == (4, 2, 8, 8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"size": (8, 12)},
        {"flip": True},
        {"size": (8, 12), "jitter": 1.5, "masks": "classes"},
        {"jitter": 1.2, "needs": IMAGE},
        {"needs": IMAGE},
        {"masks": "classes"},
        {"masks": "rgba", "needs": MASK, "flip": True, "size": (8, 12)},
    ],
)
def test_on_demand_gives_the_same_batches_as_memory(tmp_path, monkeypatch, channels, changes):
    path = image_set(tmp_path / "train.zip", {"abnormal": 6, "normal": 10}, channels=channels)
    labels = ("normal", "abnormal")
    in_memory = opened(path, labels, **changes)
    assert in_memory.on_demand is None
    monkeypatch.setattr(real_images, "MEMORY", 100)
    on_demand = opened(path, labels, **changes)
    assert not hasattr(on_demand, "pixels")
    assert on_demand.shape == in_memory.shape
    assert torch.equal(on_demand.read(torch.tensor([15, 0, 3])), in_memory.read(torch.tensor([15, 0, 3])))
    # Batches of changing size, as a growing model asks for, over several epochs.
    for count in (4, 4, 4, 2, 2, 3, 3, 1, 4, 4, 4, 4):
        expected, given = in_memory.batch(count, *CPU), on_demand.batch(count, *CPU)
        assert torch.equal(expected.images, given.images)
        assert expected.images.stride() == given.images.stride()
        assert torch.equal(expected.labels, given.labels)
        assert (expected.masks is None) == (changes.get("needs") != MASK)
        assert expected.masks is None or torch.equal(expected.masks, given.masks)
    resumed = opened(path, labels, **changes)
    resumed.load_state(in_memory.state())
    assert torch.equal(resumed.batch(4, *CPU).images, in_memory.batch(4, *CPU).images)


@pytest.mark.parametrize("needs", [NOISE, MASK])
def test_masks_are_mirrored_with_their_images(images, needs):
    data = opened(images, masks="classes", needs=needs, flip=True)
    apart = needs == MASK
    assert data.shape == (1 if apart else 2, 16, 16)
    as_is = data.read(torch.arange(10)).float() / 127.5 - 1
    mirrored = 0
    for _ in range(5):
        batch = data.batch(4, CPU[0], torch.channels_last)
        image, mask = (batch.images, batch.masks) if apart else batch.images.split([1, 1], dim=1)
        assert torch.equal(image > 0, mask > 0)
        assert set(mask.unique().tolist()) == {-1.0, 1.0}
        mirrored += sum(not any(torch.equal(one, other[:1]) for other in as_is) for one in image)
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        assert (batch.masks is not None) == apart
    assert 3 < mirrored < 17


def test_the_next_batches_are_decoded_ahead_and_no_more(images, monkeypatch):
    monkeypatch.setattr(real_images, "MEMORY", 100)
    data = opened(images, ("normal", "abnormal"))
    for _ in range(3):
        first, second = data.orders[0].left.split(4)[:2] if len(data.orders[0].left) else ([], [])
        if len(first):
            assert set(data.on_demand.ahead) == {*first.tolist(), *second.tolist()}
        data.batch(4, *CPU)
    assert set(data.on_demand.ahead) == set(data.orders[0].left.tolist())
    assert len(data.on_demand.ahead) == 4  # the last batch of the epoch; the next permutation is not drawn yet


@pytest.mark.parametrize("memory", [100, 2**30])
def test_images_of_different_shapes_are_refused(tmp_path, monkeypatch, memory):
    monkeypatch.setattr(real_images, "MEMORY", memory)
    path = image_set(tmp_path / "train.zip", {"normal": 10}, odd=7)
    with pytest.raises(InputError, match=r"train\.zip: images of different shapes .*\(16, 16, 1\), \(32, 32, 1\)"):
        opened(path).read(torch.arange(10))


def test_images_are_not_enlarged(images):
    with pytest.raises(InputError, match=r"training.size is .32, 16., but the images of .* have 16×16 pixels"):
        opened(images, size=(32, 16))
