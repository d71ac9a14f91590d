"""Costs of generators from what their steps left beside their logs: sums, the most, and what is not known."""

import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, write_json
from synthmed.report.costs import COLUMNS, CostsSettings, GeneratorCosts, all_costs, costs


def cost(path, seconds, memory, gpu_memory=None):
    gpu = None if gpu_memory is None else "Some GPU"
    write_json(path, {"seconds": seconds, "memory": memory, "gpu_memory": gpu_memory, "gpu": gpu})


def entry(folder, name, parts=("a", "b")):
    networks = {"generator": [{"parameters": 10}, {"parameters": 4}], "discriminator": [{"parameters": 7}]}
    write_json(folder / f"{name}.networks.json", {"networks": networks})
    return GeneratorCosts(
        title=name.upper(),
        networks=str(folder / f"{name}.networks.json"),
        trainings=tuple(str(folder / f"train.{name}.{part}.log") for part in parts),
        sampling=str(folder / f"sample.{name}.log"),
        samples=60,
    )


@pytest.fixture
def page(tmp_path):
    cost(tmp_path / "train.dcgan.a.cost.json", 10.0, 300.0, 1000.0)
    cost(tmp_path / "train.dcgan.b.cost.json", 2.5, 500.0)
    cost(tmp_path / "sample.dcgan.cost.json", 1.5, 200.0)
    cost(tmp_path / "train.fastgan.a.cost.json", 9.0, 100.0)
    generators = (entry(tmp_path, "dcgan"), entry(tmp_path, "fastgan"))
    costs(CostsSettings("tb", generators), tmp_path / "costs.html")
    return tmp_path / "costs.html"


def test_seconds_add_up_and_memory_is_the_most(page):
    dcgan, fastgan = read_csv(page.with_suffix(".csv"))
    assert {name: dcgan[name] for name in COLUMNS} == {
        "experiment": "tb",
        "generator": "DCGAN",
        "parameters": "21",
        "trainings": "2",
        "training_seconds": "12.5",
        "training_memory": "500.0",
        "training_gpu_memory": "1000.0",
        "samples": "60",
        "sampling_seconds": "1.5",
        "sampling_memory": "200.0",
        "sampling_gpu_memory": "",
        "gpu": "Some GPU",
        "note": "",
    }
    assert (fastgan["training_seconds"], fastgan["sampling_seconds"]) == ("", ""), "one of two trainings is no sum"
    assert "not run on this machine" in fastgan["note"]
    html = page.read_text()
    assert html.count("<tr><td>tb</td>") == 2
    assert "<td>12.5</td>" in html
    assert "(Some GPU)" in html


def test_costs_of_experiments_are_joined(page, tmp_path):
    all_costs([page.with_suffix(".csv")] * 2, tmp_path / "all.html")
    assert len(read_csv(tmp_path / "all.csv")) == 4
    assert (tmp_path / "all.html").read_text().count("<td>12.5</td>") == 2
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"other\.csv: no costs of an experiment"):
        all_costs([tmp_path / "other.csv"], tmp_path / "x.html")


def test_without_generators_the_table_is_empty(tmp_path):
    costs(CostsSettings("judged", ()), tmp_path / "costs.html")
    assert read_csv(tmp_path / "costs.csv") == []
