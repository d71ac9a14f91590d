"""The layer table of a generator: layers, output shapes and parameter counts, as the networks really run."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from synthmed import generators
from synthmed.core.settings import parse
from synthmed.generators.base import Generator
from synthmed.training.checkpoint import plain
from synthmed.training.device import derived_seed
from synthmed.training.images import Batch

BATCH = 2
"""Images (of each class) in the step that shows the shapes; BatchNorm needs two."""


@dataclass(frozen=True)
class Layer:
    """network: attribute of the model; name: path inside it; kind: class of the layer; output: shape for one image,
    None when it has several outputs; parameters: numbers that are trained; buffers: running statistics and the like."""

    network: str
    name: str
    kind: str
    output: tuple[int, ...] | None
    parameters: int
    buffers: int


def layers(model: Generator) -> list[Layer]:
    """The layers of all networks of `model` that a training step runs, in the order in which they first run.

    A layer is a module without children or with parameters of its own. The model runs on noise, as in a training step,
    so what is listed is what runs; EMA copies do not run and are left out.
    """
    found: dict[str, Layer] = {}

    def watch(name: str, module: nn.Module):
        network, _, inside = name.partition(".")

        def note(_module: nn.Module, _inputs: tuple, output: object) -> None:
            shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else None
            parameters = sum(p.numel() for p in module.parameters(recurse=False))
            buffers = sum(b.numel() for b in module.buffers(recurse=False))
            found.setdefault(name, Layer(network, inside, type(module).__name__, shape, parameters, buffers))

        return module.register_forward_hook(note)

    hooks = [
        watch(name, module)
        for name, module in model.named_modules()
        if name and (not list(module.children()) or list(module.parameters(recurse=False)))
    ]
    generator = torch.Generator().manual_seed(derived_seed(0, "describe"))
    count = BATCH * len(model.classes) if "image" in model.needs else BATCH
    images = torch.rand((count, *model.image_shape), generator=generator) * 2 - 1
    masks = torch.rand((count, model.mask_channels, *model.image_shape[1:]), generator=generator) * 2 - 1
    labels = torch.arange(len(model.classes)).repeat_interleave(-(-count // len(model.classes)))[:count]
    model.total_steps = 1
    try:
        model.run_all_layers(Batch(images, labels, masks if "mask" in model.needs else None))
    finally:
        for hook in hooks:
            hook.remove()
    networks = list(dict.fromkeys(layer.network for layer in found.values()))
    return [layer for network in networks for layer in found.values() if layer.network == network]


def describe(
    model: str, config: Mapping[str, Any] | None, image_shape: tuple[int, int, int], mask_channels: int = 1
) -> str:
    """The layer table of a generator as text, with totals for each network.

    model: name in generators.GENERATORS; config: its settings, None for those of the paper; image_shape: (C, H, W);
    mask_channels: of the masks that it is given, if it needs such.
    Raises InputError on unusable settings.
    """
    model_class = generators.load(model)
    if config is None:
        settings = model_class.paper_config(image_shape)
    else:
        settings = parse(model_class.Config, plain(config), "settings.config")
    classes = ("first", "second") if "image" in model_class.needs else ("first",)
    given = [mask_channels] if "mask" in model_class.needs else []
    rows = layers(model_class(settings, image_shape, classes, *given))
    lines = [f"{model}, images {_shape(image_shape)} (channels × height × width)", f"{settings}"]
    width = max(len(name) for layer in rows for name in (layer.name, layer.network)) + 4
    for network in dict.fromkeys(layer.network for layer in rows):
        own = [layer for layer in rows if layer.network == network]
        lines += ["", f"{network:{width}}{'layer':20}{'output':>18}{'parameters':>14}{'buffers':>10}"]
        for layer in own:
            lines.append(
                f"  {layer.name:{width - 2}}{layer.kind:20}{_shape(layer.output):>18}{layer.parameters:>14,}"
                f"{layer.buffers:>10,}"
            )
        total, buffers = sum(layer.parameters for layer in own), sum(layer.buffers for layer in own)
        lines.append(f"  {'total':{width - 2}}{'':20}{'':>18}{total:>14,}{buffers:>10,}")
    return "\n".join(lines)


def _shape(shape: tuple[int, ...] | None) -> str:
    return "several" if shape is None else " × ".join(str(side) for side in shape)
