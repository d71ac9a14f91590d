"""The section on networks: counts of a network counted by hand, and a document's beside them."""

import csv

import numpy as np
import pytest
import torch

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_text
from synthmed.core.settings import parse
from synthmed.data.imageset import write_image_set
from synthmed.evaluation.describe_networks import DescribeNetworksSettings, describe_networks
from synthmed.generators import dcgan
from synthmed.report.sections.networks import SECTION, NetworksSettings, section
from synthmed.training.checkpoint import Checkpoint, save

CONFIG = {
    "latent_size": 3,
    "generator_channels": [4, 2],
    "discriminator_channels": [2, 4],
    "kernel_size": 4,
    "learning_rate": 1.0e-3,
    "beta1": 0.5,
    "dropout": 0.0,
    "ema_decay": 0.9,
}
DOCUMENT = """
citation: somebody
exhibits:
  networks.parameters:
    caption: The document's Table 4.
    columns: {parameters: parameters}
    rows: {first/generator: [54427907]}
  networks.layers:
    columns: {layer: layer}
    rows:
      dcgan/discriminator of 16 × 16/Conv2d 8 × 8 × 2: [Downsample_1]
      dcgan/discriminator of 64 × 64/Conv2d 8 × 8 × 2: [of a larger network]
      dcgan/discriminator of 16 × 16/Conv2d 64 × 64 × 64: [other]
      second/generator: [theirs in all]
"""


@pytest.fixture
def networks(tmp_path):
    torch.manual_seed(0)
    model = dcgan.Model(parse(dcgan.Config, CONFIG), (1, 16, 16), ("nuclei",))
    save(tmp_path / "dcgan.pt", Checkpoint("dcgan", CONFIG, (1, 16, 16), ("nuclei",), 1, model.inference_state()))
    describe_networks(
        DescribeNetworksSettings("dcgan"), checkpoint=tmp_path / "dcgan.pt", out=tmp_path / "networks.json"
    )
    return tmp_path / "networks.json"


def write(tmp_path, networks, document=None, jitter=None):
    entry = {"model": "dcgan", "receptive_field": None, "of": "dcgan"}
    settings = {
        "costs": "../costs.html",
        "generators": {"first": entry | {"title": "First"}, "second": entry | {"title": "Second"}},
        "jitter": jitter,
        "flip": True,
        "seed": 1,
    }
    out = [tmp_path / name for name in SECTION.files("networks")]
    section(
        parse(NetworksSettings, settings),
        networks=[networks, networks],
        train=pairs(tmp_path / "train.zip"),
        document=document,
        section=tmp_path / "sections" / "networks.json",
        out=out,
    )
    return [list(csv.DictReader(path.open())) for path in out if path.suffix == ".csv"]


def pairs(path):
    """One image, bright inside its mask."""
    mask = np.zeros((24, 32), np.uint8)
    mask[4:12, 8:20] = 255
    fields = {"image": "a.png", "label": "nuclei", "patient": "a", "split": "train", "source": "s"}
    write_image_set(path, [(fields, np.dstack([mask] * 3), mask)])
    return path


def test_parameters_and_running_statistics_are_those_counted_by_hand(tmp_path, networks):
    found = read_json(networks)["networks"]
    learned = {name: sum(layer["parameters"] for layer in layers) for name, layers in found.items()}
    statistics = {name: sum(layer["statistics"] for layer in layers) for name, layers in found.items()}
    model = dcgan.Model(parse(dcgan.Config, CONFIG), (1, 16, 16), ("nuclei",))
    for name in found:
        network = getattr(model, name)
        normed = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        assert learned[name] == sum(parameter.numel() for parameter in network.parameters())
        assert statistics[name] == 2 * sum(module.num_features for module in normed)  # a mean and a variance each
        # A BatchNorm also keeps how many batches there were, which nobody counts as a parameter.
        assert sum(layer["buffers"] for layer in found[name]) == statistics[name] + len(normed)
    assert statistics["generator"] > 0
    convolutions = [layer for layer in found["discriminator"] if layer["kind"] == "Conv2d"]
    assert convolutions[0] | {"name": ""} == {
        "network": "discriminator",
        "name": "",
        "kind": "Conv2d",
        "output": [2, 8, 8],
        "kernel": 4,
        "stride": 2,
        "parameters": convolutions[0]["parameters"],
        "buffers": 0,
        "statistics": 0,
    }


def test_a_network_that_two_generators_share_is_listed_once_and_counted_for_both(tmp_path, networks):
    counts, layers = write(tmp_path, networks)
    assert sorted((row["generator"], row["network"]) for row in counts) == [
        *(("First", "discriminator"), ("First", "generator"), ("Second", "discriminator"), ("Second", "generator")),
    ]
    for row in counts:
        assert int(row["parameters"]) == int(row["learned"]) + int(row["statistics"])
    assert {row["network"] for row in layers} == {"generator of First, Second", "discriminator of First, Second"}
    for network in ("generator", "discriminator"):
        (*each, total) = [row for row in layers if row["network"].startswith(network)]
        assert (total["layer"], total["output"]) == ("total", "")
        of_first = next(row for row in counts if (row["generator"], row["network"]) == ("First", network))
        for kind, in_counts in (("parameters", "learned"), ("buffers", "buffers"), ("statistics", "statistics")):
            assert int(total[kind]) == sum(int(row[kind]) for row in each) == int(of_first[in_counts]), (network, kind)


def test_the_documents_counts_stand_beside_the_generator_they_belong_to(tmp_path, networks):
    write_text(tmp_path / "document.yaml", DOCUMENT)
    counts, layers = write(tmp_path, networks, tmp_path / "document.yaml")
    beside = {row["layer"]: row["reference_layer"] for row in layers if row["reference_layer"]}
    assert list(beside.values()) == ["Downsample_1", "theirs in all"]  # that gives what ours gives
    assert beside["total"] == "theirs in all"
    beside = {(row["generator"], row["network"]): row["reference_parameters"] for row in counts}
    assert beside.pop(("First", "generator")) == "54427907"
    assert set(beside.values()) == {""}
    assert "54,427,907" in read_json(tmp_path / "sections" / "networks.json")["html"]


def test_the_jitter_is_shown_where_there_is_one(tmp_path, networks):
    write(tmp_path, networks)
    page = read_json(tmp_path / "sections" / "networks.json")
    assert [one["shown"] for one in page["exhibits"] if one["name"] == "networks.jitter"] == [False]
    write(tmp_path, networks, jitter=1.5)
    page = read_json(tmp_path / "sections" / "networks.json")
    (shown,) = [one for one in page["exhibits"] if one["name"] == "networks.jitter"]
    assert shown["shown"]
    assert "and its mask: as it is, enlarged 1.5 times" in shown["caption"]
    assert "mirrored" in shown["caption"]


def test_a_missing_file_of_networks_is_refused(tmp_path, networks):
    with pytest.raises(InputError, match=r"networks: 1 files for \['a', 'b'\]"):
        section(
            parse(
                NetworksSettings,
                {"generators": {n: {"model": "dcgan", "title": n, "receptive_field": None, "of": n} for n in "ab"}}
                | {"costs": "", "jitter": None, "flip": False, "seed": 1},
            ),
            networks=[networks],
            train=tmp_path / "none.zip",
            document=None,
            section=tmp_path / "sections" / "networks.json",
            out=[],
        )
