"""VGG16 and EfficientNet-Lite0: shapes with made-up weights, and real weights on a real photograph."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.extractors import efficientnet_lite, vgg16
from synthmed.networks.vgg16 import convolutions
from synthmed.weights import read, registry

CPU = torch.device("cpu")


def made_up_vgg16():
    generator = torch.Generator().manual_seed(0)
    layers = convolutions().state_dict()
    return {
        f"features.{name}": torch.randn(value.shape, generator=generator) * (2 / value[0].numel()) ** 0.5
        if value.ndim == 4
        else torch.zeros_like(value)
        for name, value in layers.items()
    }


@pytest.fixture(scope="module")
def made_up():
    return made_up_vgg16()


def real(name):
    if registry.available(name).source is None:
        pytest.skip(f"no package with {name} is installed (requirements-weights.lock)")
    return read.load(name, None)


@pytest.fixture(scope="module")
def photograph():
    """Grace Hopper in uniform (public domain, shipped with matplotlib): uint8 (1, 3, 224, 224)."""
    import matplotlib

    path = Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(path) as image:
        side = min(image.size)
        pixels = np.array(image.convert("RGB").crop((0, 0, side, side)).resize((224, 224), Image.Resampling.BILINEAR))
    return torch.from_numpy(pixels).permute(2, 0, 1)[None]


@pytest.mark.parametrize(("input_size", "shape"), [(None, (40, 64)), (32, (100, 50)), (64, (20, 20))])
def test_vgg16_shapes(made_up, input_size, shape):
    network = vgg16.VGG16(made_up, "made up", input_size, "fp32", CPU)
    found = network(torch.zeros(2, 1, *shape, dtype=torch.uint8))
    assert found.features.shape == found.squares.shape == (2, 512)
    assert found.probabilities is None


def test_vgg16_pools_the_map_after_the_last_pooling(made_up):
    """A 32 × 32 image leaves one place: the mean of the squares is the square of the mean."""
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = vgg16.VGG16(made_up, "made up", None, "fp32", CPU)(images)
    torch.testing.assert_close(found.squares, found.features.square())
    assert found.features.max() > 0


def test_too_small_images_are_input_errors(made_up):
    network = vgg16.VGG16(made_up, "made up", None, "fp32", CPU)
    with pytest.raises(InputError, match=r"28 × 28.*input_size"):
        network(torch.zeros(1, 1, 28, 28))
    with pytest.raises(InputError, match="input_size is 16"):
        vgg16.VGG16(made_up, "made up", 16, "fp32", CPU)


def test_other_weights_are_input_errors(made_up):
    with pytest.raises(InputError, match=r"x\.pt.*VGG16"):
        vgg16.VGG16({name: tensor for name, tensor in made_up.items() if "28" not in name}, "x.pt", None, "fp32", CPU)
    with pytest.raises(InputError, match=r"x\.pt.*EfficientNet"):
        efficientnet_lite.EfficientNetLite0(made_up, "x.pt", None, "fp32", CPU)


@pytest.mark.weights
def test_vgg16_with_real_weights(photograph):
    network = vgg16.VGG16(*real("vgg16"), input_size=None, precision="fp32", device=CPU)
    with torch.inference_mode():
        found = network(photograph)
        grey = network(photograph[:, :1]).features
    assert found.features.shape == grey.shape == (1, 512)
    assert (found.squares >= found.features.square()).all()
    # ReLU features of a natural image: non-negative, sparse, of order one.
    assert found.features.min() >= 0
    assert 0.05 < found.features.mean() < 5


@pytest.mark.weights
def test_efficientnet_sees_the_uniform(photograph):
    network = efficientnet_lite.EfficientNetLite0(
        *real("efficientnet_lite0"), input_size=None, precision="fp32", device=CPU
    )
    with torch.inference_mode():
        found = network(photograph)
    assert found.features.shape == (1, 1280)
    assert found.probabilities.sum().item() == pytest.approx(1, abs=1e-5)
    assert found.probabilities.argmax().item() == 652, "class 652 of ImageNet is `military uniform`"
