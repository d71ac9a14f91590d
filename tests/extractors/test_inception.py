"""Inception: the resize against a formula by hand, and the features against torch-fidelity with the same weights."""

import pytest
import torch

from synthmed.core.errors import InputError
from synthmed.extractors import inception
from synthmed.weights import read, registry

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def state():
    if registry.available("inception").source is None:
        pytest.skip("no package with the FID Inception is installed (requirements-weights.lock)")
    return read.load("inception", None)[0]


def test_the_resize_is_tensorflow_1s():
    """Output pixel i reads input position i × size / 299; the last ones repeat the edge."""
    matrix = inception._resize_matrix(100)
    assert matrix.shape == (299, 100)
    torch.testing.assert_close(matrix.sum(1), torch.ones(299))
    position = 150 * 100 / 299
    assert matrix[150, 50] == pytest.approx(1 - (position - 50), abs=1e-6)
    assert matrix[150, 51] == pytest.approx(position - 50, abs=1e-6)
    assert matrix[298, 99] == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("shape", [(299, 299), (64, 64), (400, 350), (1, 1)])
def test_the_resize_agrees_with_torch_fidelity(shape):
    from torch_fidelity.interpolate_compat_tensorflow import interpolate_bilinear_2d_like_tensorflow1x

    pixels = torch.randint(0, 256, (2, 3, *shape), generator=torch.Generator().manual_seed(0)).float()
    theirs = interpolate_bilinear_2d_like_tensorflow1x(pixels, size=(299, 299), align_corners=False)
    torch.testing.assert_close(inception.resize(pixels), theirs, atol=1e-3, rtol=0)


def test_input_size_is_refused():
    with pytest.raises(InputError, match="input_size"):
        inception.load(None, 64, "fp32", CPU)


def test_other_weights_are_refused():
    with pytest.raises(InputError, match=r"other\.pt.*Inception"):
        inception.Inception({"layer": torch.zeros(1)}, "other.pt", "fp32", CPU)


@pytest.mark.weights
def test_features_agree_with_torch_fidelity(state, tmp_path):
    """The tolerance of the project: 1e-3 absolute, 1e-4 relative; with a made-up classifier the probabilities too."""
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    classifier = torch.randn(1008, 2048, generator=torch.Generator().manual_seed(1)) * 0.05
    full = {**state, "fc.weight": classifier, "fc.bias": torch.zeros(1008)}
    torch.save(full, tmp_path / "inception.pth")
    theirs = FeatureExtractorInceptionV3(
        "inception", ["2048", "logits_unbiased"], feature_extractor_weights_path=str(tmp_path / "inception.pth")
    )
    ours = inception.load(tmp_path / "inception.pth", None, "fp32", CPU)
    images = torch.randint(0, 256, (2, 3, 96, 80), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        features, logits = theirs(images)
        pooled = ours(images)
    torch.testing.assert_close(pooled.features, features, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(pooled.probabilities, logits.softmax(1), atol=1e-5, rtol=1e-3)
    assert (pooled.squares >= pooled.features.square() - 1e-5).all(), "the mean square is never below the squared mean"


@pytest.mark.weights
def test_grey_equals_three_equal_channels(state):
    network = inception.Inception(state, "package", "fp32", CPU)
    grey = torch.randint(0, 256, (1, 1, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        found = network(grey)
        torch.testing.assert_close(found.features, network(grey.expand(-1, 3, -1, -1)).features)
    assert found.features.shape == (1, 2048)
    assert found.probabilities is None, "the TorchScript has no classifier"


@pytest.mark.weights
def test_the_torchscript_agrees_with_the_converted_network(state):
    """The conversion maps every layer to its place: the package's own graph gives the same features."""
    package = registry.WEIGHTS["inception"].sources[1].locate()
    with pytest.warns(DeprecationWarning, match="jit"):
        script = torch.jit.load(package, map_location="cpu").eval()
    pixels = torch.randint(0, 256, (1, 3, 299, 299), dtype=torch.uint8, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        theirs = script((pixels.float() - 128) / 128)
        ours = inception.Inception(state, "package", "fp32", CPU)(pixels).features
    torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-4)
