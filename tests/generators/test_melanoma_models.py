"""The eleven Pix2Pix models of melanoma_segmentation at the paper scale, and the six of melanoma_small: each paints."""

from pathlib import Path

import pytest
import torch
import yaml
from test_pix2pix import vgg16_file  # noqa: F401  (a fixture)

from synthmed import generators
from synthmed.core.settings import parse
from synthmed.generators.pix2pix import Config, Model
from synthmed.networks.patchgan import patchgan_receptive_field
from synthmed.training.images import Batch

ROOT = Path(__file__).parents[2]
PAPER = yaml.safe_load((ROOT / "workflow/scales/paper.yaml").read_text(encoding="utf-8"))["experiments"]
BOTH = {"melanoma_segmentation": 11, "melanoma_small": 6}
MODELS = [(experiment, f"pix2pix_{number}") for experiment, count in BOTH.items() for number in range(1, count + 1)]


def thin(config: dict, weights: Path) -> dict:
    """As many layers and scales, a sixteenth of their channels, small images; the same losses."""
    thinner = {
        name: [max(2, one // 16) for one in config[name]] for name in ("generator_channels", "discriminator_channels")
    }
    kept = {"generator_channels": thinner["generator_channels"][:6], "dropout_blocks": 2}
    given = {"perceptual_weights": str(weights)} if config["perceptual_layers"] else {}
    return config | thinner | kept | given


@pytest.mark.parametrize(("experiment", "name"), MODELS)
def test_every_model_learns_and_paints(experiment, name, vgg16_file):  # noqa: F811
    entry = PAPER[experiment]["generators"][name]
    assert entry["model"] == "pix2pix"
    torch.manual_seed(0)
    model = Model(parse(Config, thin(entry["config"], vgg16_file)), (3, 64, 64), ("lesion",), 1)
    rng = torch.Generator().manual_seed(0)
    masks = torch.rand(2, 1, 64, 64, generator=rng).round() * 2 - 1
    before = {key: value.clone() for key, value in model.generator.state_dict().items()}
    images = torch.rand(2, 3, 64, 64, generator=rng) * 2 - 1
    losses = model.train_step([Batch(images, torch.zeros(2, dtype=torch.int64), masks)])
    assert all(torch.isfinite(loss) for loss in losses.values())
    assert ("perceptual" in losses) == bool(entry["config"]["perceptual_layers"])
    assert ("l1" in losses) == (not entry["config"]["perceptual_layers"])  # the one in the place of the other
    assert any(not torch.equal(value, before[key]) for key, value in model.generator.state_dict().items())
    painted = model.sample(2, "lesion", torch.Generator().manual_seed(1), masks)
    assert painted.shape == (2, 3, 64, 64)
    assert len(model.discriminator.scales) == entry["config"]["scales"]


@pytest.mark.parametrize(("experiment", "name"), MODELS)
def test_receptive_fields_are_those_of_the_titles(experiment, name):
    entry = PAPER[experiment]["generators"][name]
    config = entry["config"]
    field = patchgan_receptive_field(config["discriminator_channels"], config["discriminator_last_stride"])
    assert field == entry["receptive_field"]
    assert f"receptive field {field}" in entry["title"] or config["scales"] > 1
    assert "mask" in generators.needs("pix2pix", config | {"perceptual_weights": None, "perceptual_layers": {}})
