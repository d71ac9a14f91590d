"""A last network over the drawings of others: what it is given, what moves, what it draws, and what is refused."""

import numpy as np
import pandas as pd
import pytest
import torch
from test_segmenters import VALUES

from made_up_pairs import pair_set
from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet
from synthmed.evaluation.compose_scales import ScalesSettings, compose_scales
from synthmed.networks.blocks import count_parameters
from synthmed.segmenters import train_multi_scale as module
from synthmed.segmenters.multi_scale import FirstNetworks, MultiScale, at_size, joined
from synthmed.segmenters.pairs import read_set
from synthmed.segmenters.settings import TrainSegmenterSettings
from synthmed.segmenters.train import train as train_one
from synthmed.segmenters.train_multi_scale import TrainMultiScaleSettings, train
from synthmed.segmenters.trained import drawn, load, network_of
from synthmed.training import distributed
from synthmed.training.images import resized_masks, to_model

SIZES = [(32, 32), (16, 16)]
TINY = VALUES | {
    "widths": [4, 8],
    "steps": 24,
    "check_every": 6,
    "augment": True,
    "learning_rates": [3.0e-3],
    "dropouts": [0.0],
}


def settings(join, **changes):
    return parse(TrainMultiScaleSettings, TINY | {"size": [16, 16], "join": join} | changes)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    paths = {"train": pair_set(folder / "train.zip", 16, 1), "validation": pair_set(folder / "validation.zip", 6, 2)}
    compose_scales(
        ScalesSettings(2, 1), train=paths["train"], out=folder / "folds.csv", description=folder / "arms.json"
    )
    return paths, folder / "folds.csv"


def single(path, sets, size, arm=None, folds=None, seed=1):
    values = TINY | {"size": list(size), "arm": arm, "seed": seed}
    given = {"arms": folds, "synthetic": [], "grid": None, "segmenter": path, "report": path.with_suffix(".json")}
    train_one(parse(TrainSegmenterSettings, values), **sets, **given)
    return path


@pytest.fixture(scope="module")
def first(sets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("first")
    paths, folds = sets
    whole = [single(folder / f"{size[0]}.pt", paths, size) for size in SIZES]
    apart = [
        single(folder / f"{size[0]}_{fold}.pt", paths, size, f"fold_{fold}", folds) for fold in (1, 2) for size in SIZES
    ]
    return whole, apart


def run(folder, sets, first, join, **changes):
    paths, folds = sets
    apart = {"folds": folds, "of_folds": first[1]} if join == "out_of_fold" else {"folds": None, "of_folds": []}
    outputs = {"segmenter": folder / f"{join}.pt", "report": folder / f"{join}.json"}
    train(settings(join, **changes), **paths, first=first[0], **apart, **outputs)
    return outputs["segmenter"]


def constant(value):
    """A network that draws one probability everywhere."""

    class Constant(torch.nn.Module):
        def forward(self, images):
            return torch.full((len(images), 1, *images.shape[2:]), float(torch.logit(torch.tensor(value))))

    return Constant()


# ---------------------------------------------------------------------------------------------------------- networks
def test_the_whole_has_the_documents_parameters(monkeypatch):
    monkeypatch.setattr(torch.nn.init, "kaiming_normal_", lambda weight, **_: weight)  # slow without memory
    design = {"architecture": "unet", "widths": [64, 128, 256, 512, 1024], "spectral_norm": False, "dropout": 0.0}
    sizes = [[192, 256], [128, 192], [96, 128]]
    whole = design | {"first": [design | {"size": size} for size in sizes], "size": sizes[0], "join": "maps", "best": 0}
    with torch.device("meta"):
        made = network_of(whole, (3, 192, 256), 1)
    assert count_parameters(made.last) == 31_033_473
    assert sum(parameter.numel() for parameter in made.parameters()) == 124_128_708


def test_the_last_network_is_given_the_image_and_behind_it_each_map_in_its_range():
    images = torch.linspace(-1, 1, 2 * 3 * 4 * 4).view(2, 3, 4, 4)
    first = FirstNetworks([constant(0.25), constant(0.875)], [(4, 4), (2, 2)])
    found = joined(images, first(images, (4, 4)), "maps")
    assert torch.equal(found[:, :3], images)
    assert torch.allclose(found[:, 3], torch.tensor(-0.5))
    assert torch.allclose(found[:, 4], torch.tensor(0.75))
    placebo = joined(images, first(images, (4, 4)), "constant")
    assert torch.equal(placebo[:, :3], images)
    assert not placebo[:, 3:].any()


def test_mean_and_best_are_those_of_the_maps():
    first = FirstNetworks([constant(0.2), constant(0.6)], [(4, 4), (2, 2)])
    images = torch.zeros(1, 1, 4, 4)
    for made, expected in (
        (MultiScale(first, (4, 4), "mean", None), 0.4),
        (MultiScale(first, (4, 4), "best", None, 1), 0.6),
    ):
        assert torch.allclose(made(images).sigmoid(), torch.tensor(expected), atol=1e-5)


def test_images_are_brought_to_a_size_as_sets_are_read(sets):
    paths, _ = sets
    chosen = parse(TrainSegmenterSettings, TINY)
    whole = read_set(ImageSet(paths["train"]), chosen)
    small = read_set(ImageSet(paths["train"]), parse(TrainSegmenterSettings, TINY | {"size": [16, 16]}))
    assert torch.allclose(at_size(to_model(whole.images), (16, 16)), to_model(small.images), atol=1e-6)
    assert torch.equal(255 * resized_masks(whole.masks / 255, (16, 16)), small.masks)


# ---------------------------------------------------------------------------------------------------------- training
@pytest.mark.parametrize("join", ["maps", "out_of_fold", "constant"])
def test_a_last_network_is_trained_and_the_first_ones_stay(join, sets, first, tmp_path):
    made = load(run(tmp_path, sets, first, join))
    assert made.image_shape == (1, 32, 32)
    assert made.size == (16, 16)
    assert len(made.models) == 2
    for seed, model in enumerate(made.models):
        assert model.join == ("constant" if join == "constant" else "maps")
        for own, path in zip(model.first.networks, first[0], strict=True):
            theirs = load(path).models[seed].state_dict()
            assert all(torch.equal(value, theirs[name]) for name, value in own.state_dict().items())
    one, two = (model.last.state_dict() for model in made.models)
    assert not torch.equal(one["last.weight"], two["last.weight"])
    assert drawn(made, made.models[0], list(ImageSet(sets[0]["validation"]).pixels)).shape == (6, 1, 16, 16)
    report = read_json(tmp_path / f"{join}.json")
    assert len(report["seeds"]) == 2
    assert report["learning_rate"] == 3.0e-3
    assert report["join"] == made.models[0].join


def test_maps_of_training_images_are_those_of_networks_that_did_not_see_them(sets, first):
    paths, folds = sets
    images, table = ImageSet(paths["train"]), pd.read_csv(folds)
    number = module._folds(folds, images, 2)
    for fold in (0, 1):
        seen = set(table[table["arm"] == f"fold_{fold + 1}"]["image"])
        out = {name for name, of in zip(images.column("image"), number.tolist(), strict=True) if of == fold}
        assert out
        assert not out & seen
        assert out | seen == set(images.column("image"))
    patients = np.array(images.column("patient"))
    assert all(len(set(number[patients == one].tolist())) == 1 for one in set(patients))

    pairs = read_set(images, settings("maps", size=None))
    full = FirstNetworks([constant(0.9), constant(0.9)], SIZES)
    apart = [FirstNetworks([constant(value)] * 2, SIZES) for value in (0.25, 0.75)]
    made = module.LastTraining(settings("out_of_fold"), 0, (pairs, pairs), torch.device("cpu"), full, apart, number)
    rows = torch.arange(len(images))
    given = made.batch(rows).images
    expected = torch.where(number == 0, -0.5, 0.5)
    assert torch.allclose(given[:, 1], expected[:, None, None].expand(-1, 16, 16), atol=1e-5)
    shown = made._on_device(to_model(pairs.images), pairs.masks.float() / 255).images
    assert torch.allclose(shown[:, 1:], torch.tensor(0.8), atol=1e-5)  # of images that nobody saw, the whole ones


def test_the_first_networks_draw_the_validation_images_once(sets):
    pairs = read_set(ImageSet(sets[0]["validation"]), settings("maps", size=None))
    first = FirstNetworks([constant(0.9), constant(0.25)], SIZES)
    made = module.LastTraining(settings("maps"), 0, (pairs, pairs), torch.device("cpu"), first, [], torch.zeros(0))
    calls = []
    first.register_forward_pre_hook(lambda module, given: calls.append(len(given[0])))
    found = [made.measure(step) for step in (1, 2)]
    assert calls == [6]
    assert found[0] == found[1]
    ((anew,), (kept,)) = (module.Training.validating(made), made.validating())
    assert torch.equal(anew.images, kept.images)
    assert torch.equal(anew.masks, kept.masks)


def test_the_best_map_is_chosen_by_the_validation_images(sets, first, tmp_path):
    report_of = {}
    for join in ("mean", "best"):
        path = run(tmp_path, sets, first, join)
        report_of[join] = read_json(tmp_path / f"{join}.json")
        assert load(path).models[0].last is None
        assert load(path).architecture == join
    chosen = report_of["best"]["best"]
    validating = read_set(ImageSet(sets[0]["validation"]), settings("best", size=None))
    scores = []
    for place in range(2):
        models = [
            MultiScale(module._first([load(path) for path in first[0]], seed, "cpu"), (16, 16), "best", None, place)
            for seed in range(2)
        ]
        device = torch.device("cpu")
        scores.append(np.mean([module._validation_iou(settings("best"), one, validating, device) for one in models]))
    assert chosen == int(np.argmax(scores))
    assert scores[0] != scores[1]
    assert np.mean([one["validation_iou"] for one in report_of["best"]["seeds"]]) == pytest.approx(max(scores))


def test_of_several_processes_the_first_writes_the_join_that_trains_nothing(sets, first, tmp_path, monkeypatch):
    monkeypatch.setattr(distributed, "size", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    with pytest.raises(SystemExit) as ended:
        run(tmp_path, sets, first, "mean", processes=2)
    assert ended.value.code == 0
    assert list(tmp_path.iterdir()) == []
    monkeypatch.setattr(distributed, "rank", lambda: 0)
    assert run(tmp_path, sets, first, "mean", processes=2).is_file()


# ----------------------------------------------------------------------------------------------------------- refusals
def test_inputs_that_do_not_fit_the_join_are_refused(sets, first, tmp_path):
    paths, folds = sets
    outputs = {"segmenter": tmp_path / "s.pt", "report": tmp_path / "r.json"}
    for join, given in (
        ("maps", {"folds": folds, "of_folds": first[1]}),
        ("out_of_fold", {"folds": None, "of_folds": []}),
        ("out_of_fold", {"folds": folds, "of_folds": first[1][:3]}),
    ):
        with pytest.raises(InputError, match="out_of_fold needs both"):
            train(settings(join), **paths, first=first[0], **given, **outputs)
    nothing = {"folds": None, "of_folds": []}
    with pytest.raises(InputError, match="2 seeds for images"):
        train(settings("maps", seeds=1), **paths, first=first[0], **nothing, **outputs)
    with pytest.raises(InputError, match="give its size"):
        train(settings("maps", size=None), **paths, first=first[0], **nothing, **outputs)


def test_folds_need_patients(sets, tmp_path):
    with pytest.raises(InputError, match="8 patients for 9 folds"):
        compose_scales(
            ScalesSettings(9, 1), train=sets[0]["train"], out=tmp_path / "f.csv", description=tmp_path / "a.json"
        )
