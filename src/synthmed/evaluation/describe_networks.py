"""Step `describe-networks`: what the networks of a trained generator consist of."""

from dataclasses import asdict, dataclass
from pathlib import Path

from synthmed import generators
from synthmed.core.files import write_json
from synthmed.core.settings import ModelName, parse
from synthmed.core.step import Output, step
from synthmed.generators.layers import layers
from synthmed.training import checkpoint as checkpoints


@dataclass(frozen=True)
class DescribeNetworksSettings:
    """Settings of `describe-networks`."""

    model: ModelName


@step("describe-networks")
def describe_networks(settings: DescribeNetworksSettings, *, checkpoint: Path, out: Output) -> None:
    """List the layers of a generator's networks: `out`, by network in order, each layer with its shape and counts.

    A training step on noise shows them, of a model built as the checkpoint's was; its weights do not matter. Raises
    InputError when the checkpoint is unreadable or of another model.
    """
    saved = checkpoints.load(checkpoint, model=settings.model)
    kind = generators.load(saved.model)
    config = parse(kind.Config, saved.config, f"{checkpoint}: config")
    model = kind.build(config, saved.image_shape, saved.classes, saved.legend, saved.masks)
    found: dict[str, list[dict]] = {}
    for layer in layers(model):
        found.setdefault(layer.network, []).append(asdict(layer))
    write_json(out, {"image_shape": list(saved.image_shape), "networks": found})
