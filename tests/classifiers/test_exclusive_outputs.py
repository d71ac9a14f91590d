"""Classifiers whose targets exclude each other, channels behind the colours, and Inception-v4."""

import numpy as np
import pytest
import torch
from test_network import settings
from torch.nn import functional as F

from synthmed.classifiers import network
from synthmed.classifiers.architectures import InceptionV4, build
from synthmed.classifiers.labelled_images import Part, read_parts, resized
from synthmed.classifiers.network import likelihoods, load, train
from synthmed.core.errors import InputError
from synthmed.data.imageset import Legend, write_image_set

KINDS = ["a", "b", "c"]
THREE = {"targets": KINDS, "target_column": "label", "outputs": "exclusive", "flip": False, "shift": 0.0}


def rows(counts, seed=0, prefix=""):
    """Images (16, 16, 3) whose brightest channel is the number of their kind."""
    rng = np.random.default_rng(seed)
    for number, kind in enumerate([kind for kind, count in counts.items() for _ in range(count)]):
        pixels = rng.integers(0, 120, (16, 16, 3)).astype(np.uint8)
        pixels[:, :, KINDS.index(kind)] += 100
        yield {"image": f"{prefix}{number:02d}.png", "label": kind, "patient": f"{prefix}{number}"}, pixels


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    write_image_set(folder / "train.zip", rows({"a": 24, "b": 12, "c": 6}, 1))
    write_image_set(folder / "validation.zip", rows({"a": 6, "b": 4, "c": 4}, 2, "v"))
    return {"train": folder / "train.zip", "validation": folder / "validation.zip"}


def test_the_loss_is_the_weighted_cross_entropy_of_the_softmax():
    targets = torch.eye(3)[[0] * 4 + [1] * 2 + [2]]
    part = Part(torch.zeros(7, 3, 16, 16, dtype=torch.uint8), targets, [str(number) for number in range(7)])
    logits = torch.randn(7, 3, generator=torch.Generator().manual_seed(0))
    for weights in ("none", "balanced"):
        chosen = settings(**THREE, class_weights=weights, batch_size=2)
        made = network.Training(chosen, 0, (part, part), None, torch.device("cpu"))
        each = -torch.log_softmax(logits, dim=1)[torch.arange(7), targets.argmax(1)]
        # All classes weigh alike: the mean of the three classes' means.
        of_classes = torch.stack([each[:4].mean(), each[4:6].mean(), each[6:].mean()])
        expected = each.mean() if weights == "none" else of_classes.mean()
        assert float(made.loss(logits, targets)) == pytest.approx(float(expected), rel=1e-5)


def test_likelihoods_add_up_and_the_kinds_are_told_apart(sets, tmp_path):
    outputs = {"classifier": tmp_path / "c.pt", "report": tmp_path / "r.json"}
    nothing = {"weights": None, "arms": None, "synthetic": []}
    train(settings(**THREE, steps=40, check_every=10, batch_size=8, seeds=1), **sets, **nothing, **outputs)
    made = load(tmp_path / "c.pt")
    assert made.exclusive
    pixels = np.stack([pixels for _, pixels in rows({"a": 5, "b": 5, "c": 5}, 3)])
    found = likelihoods(made, pixels, 4)
    assert found.sum(axis=2) == pytest.approx(1.0)
    assert (found[0].argmax(axis=1) == np.repeat([0, 1, 2], 5)).mean() > 0.9


def test_exclusive_targets_are_all_classes(sets):
    with pytest.raises(InputError, match="of 6 images in the training part none or several"):
        read_parts(settings(**THREE | {"targets": ["a", "b"]}, batch_size=4), **sets)
    with pytest.raises(InputError, match="needs two targets or more"):
        settings(**THREE | {"targets": ["a"]})


def test_a_class_that_a_part_has_not(tmp_path):
    write_image_set(tmp_path / "train.zip", rows({"a": 4, "b": 4, "c": 4}))
    write_image_set(tmp_path / "validation.zip", rows({"a": 4, "b": 4}, 2, "v"))
    with pytest.raises(InputError, match=r"the validation part \(8 images\) has no positive image of the target 'c'"):
        read_parts(settings(**THREE, batch_size=4), tmp_path / "train.zip", tmp_path / "validation.zip")


# ---------------------------------------------------------------------------------------------------- a fourth channel
def test_a_channel_behind_the_colours_is_not_seen_at_first_and_can_be():
    torch.manual_seed(0)
    made = build("small_cnn", [4, 8], 3, (4, 32, 32), 0.0).eval()
    images = torch.rand(2, 4, 32, 32)
    other = images.clone()
    other[:, 3] = 1 - other[:, 3]
    with torch.no_grad():
        assert torch.equal(made(images), made(other))
        assert not torch.equal(made(images), made(images.flip(1)))
    made(images)[:, 0].sum().backward()
    first = next(made.parameters())
    assert first.shape[1] == 4
    assert first.grad[:, 3].abs().sum() > 0


def test_named_channels_reach_the_network_in_their_order(tmp_path):
    legend = Legend(channels=("red", "green", "blue", "mask"))
    given = [
        (fields, np.dstack([pixels, np.full((16, 16), 200, np.uint8)]))
        for fields, pixels in rows(dict.fromkeys(KINDS, 4))
    ]
    write_image_set(tmp_path / "train.zip", given, legend)
    others = [(fields | {"image": f"v{fields['image']}", "patient": f"v{fields['patient']}"}, p) for fields, p in given]
    write_image_set(tmp_path / "validation.zip", others, legend)
    part, _ = read_parts(settings(**THREE, batch_size=4), tmp_path / "train.zip", tmp_path / "validation.zip")
    assert part.pixels.shape == (12, 4, 16, 16)
    assert (part.pixels[:, 3] == 200).all()
    assert np.array_equal(part.pixels[0, :3].numpy().transpose(1, 2, 0), given[0][1][:, :, :3])
    small = resized(given[0][1], (8, 8))
    assert small.shape == (8, 8, 4)
    assert (small[:, :, 3] == 200).all()


# -------------------------------------------------------------------------------------------------------- Inception-v4
def test_inception_v4_takes_published_weights():
    made = build("inception_v4", None, 7, (4, 80, 80), 0.0)
    assert isinstance(made, InceptionV4)
    # timm's 42,679,816 of 1000 classes, without its last layer but with ours, and a channel more of 32 3×3 filters.
    count = sum(parameter.numel() for parameter in made.parameters())
    assert count == 42_679_816 - 1537 * 1000 + 1537 * 7 + 32 * 9
    published = {name: tensor + 1 for name, tensor in made.net.state_dict().items() if "num_batches" not in name}
    first = "features.0.conv.weight"
    published[first] = published[first][:, :3]
    made.load_imagenet(published)
    assert torch.equal(made.net.features[0].conv.weight[:, :3], published[first])
    assert not made.net.features[0].conv.weight[:, 3].any()
    assert torch.equal(made.net.features[3].conv.conv.weight, published["features.3.conv.conv.weight"])
    with pytest.raises(InputError, match="not the weights of Inception-v4"):
        made.load_imagenet({first: published[first]})
    with pytest.raises(InputError, match="too small for Inception-v4"):
        build("inception_v4", None, 2, (3, 64, 80), 0.0)
    with torch.device("meta"):
        grey = build("inception_v4", None, 2, (1, 80, 80), 0.0)
    with pytest.raises(InputError, match="images are grey"):
        grey.load_imagenet(published)


def test_likelihoods_of_independent_outputs_are_sigmoids():
    logits = torch.tensor([[0.0, 2.0]])
    assert torch.equal(network.likelihood(logits, False), logits.double().sigmoid())
    assert torch.equal(network.likelihood(logits, True), F.softmax(logits.double(), dim=1))
