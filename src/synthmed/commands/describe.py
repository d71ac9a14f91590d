"""The layer table of a generator: layers, output shapes and parameter counts, as the networks really run."""

from collections.abc import Mapping
from typing import Any

from synthmed import generators
from synthmed.core.settings import parse
from synthmed.generators.layers import layers
from synthmed.training.checkpoint import plain


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
