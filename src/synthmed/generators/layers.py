"""The layers of a generator's networks, as they really run: output shapes and parameter counts."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from synthmed.generators.base import Generator
from synthmed.training.device import derived_seed
from synthmed.training.images import Batch

BATCH = 2
"""Images (of each class) in the step that shows the shapes; BatchNorm needs two."""


@dataclass(frozen=True)
class Layer:
    """network: attribute of the model; name: path inside it; kind: class of the layer; output: shape for one image,
    None when it has several outputs; kernel, stride: of a convolution (square ones are all there are), else None;
    parameters: numbers that are trained; buffers: those that are kept and not trained (filters, noise, running
    statistics), of which `statistics` are running means and variances, which Keras counts as parameters too."""

    network: str
    name: str
    kind: str
    output: tuple[int, ...] | None
    kernel: int | None
    stride: int | None
    parameters: int
    buffers: int
    statistics: int


def layers(model: Generator) -> list[Layer]:
    """The layers of all networks of `model` that a training step runs, in the order in which they first run.

    A layer is a module without children or with numbers of its own. The model runs on noise, as in a training step,
    so what is listed is what runs; EMA copies do not run and are left out.
    """
    found: dict[str, Layer] = {}

    def watch(name: str, module: nn.Module):
        network, _, inside = name.partition(".")

        def note(_module: nn.Module, _inputs: tuple, output: object) -> None:
            shape = tuple(output.shape[1:]) if isinstance(output, Tensor) else None
            convolution = isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
            kernel, stride = (module.kernel_size[0], module.stride[0]) if convolution else (None, None)
            buffers = {name: buffer.numel() for name, buffer in module.named_buffers(recurse=False)}
            layer = Layer(
                *(network, inside, type(module).__name__, shape, kernel, stride),
                parameters=sum(p.numel() for p in module.parameters(recurse=False)),
                buffers=sum(buffers.values()),
                statistics=buffers.get("running_mean", 0) + buffers.get("running_var", 0),
            )
            found.setdefault(name, layer)

        return module.register_forward_hook(note)

    hooks = [
        watch(name, module)
        for name, module in model.named_modules()
        if name and (not list(module.children()) or [*module.parameters(recurse=False), *module.buffers(recurse=False)])
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
