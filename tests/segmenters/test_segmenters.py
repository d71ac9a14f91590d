"""Segmenters and their training: what they learn, that they continue bit for bit, what they refuse."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from made_up_pairs import INSTANCES, SIDE, pair_set, rows
from synthmed import segmenters
from synthmed.augment.pairs import augment_pairs, deform_pairs
from synthmed.augment.paste import paste_objects
from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_csv
from synthmed.core.settings import parse
from synthmed.data.arm_lists import COLUMNS
from synthmed.data.channels import MaskChannels, resized_labels
from synthmed.data.imageset import ImageSet, Legend, write_image_set
from synthmed.segmenters import train as module
from synthmed.segmenters.pairs import read_arm, read_set
from synthmed.segmenters.settings import IOU, TrainSegmenterSettings
from synthmed.segmenters.train import choose, classes_of, overlaps, train
from synthmed.segmenters.trained import build, drawn, label_map, load
from synthmed.training.device import derived_seed
from synthmed.training.history import TrainingError
from synthmed.training.images import to_model, to_pixels

AUGMENTATION = {"horizontal_flip": True, "vertical_flip": True, "rotation": 90.0, "zoom": 0.1, "shift": 0.1}
VALUES = {
    "architecture": "unet", "widths": [8, 16], "spectral_norm": False, "masks": "classes", "size": None, "loss": "bce",
    "class_weights": "none", "seeds": 2, "steps": 36, "check_every": 6, "patience": None, "learning_rates": [5.0e-3],
    "dropouts": [0.1],
    "schedule": "constant", "augmentation": AUGMENTATION, "elastic": {"displacement": 0.04, "smoothness": 0.08},
    "save_every": 4, "batch_size": 4, "accumulate": 1, "precision": "fp32", "channels_last": False, "threads": 1,
    "processes": 1, "device": "cpu", "seed": 1, "arm": None, "sets": [], "augment": False,
}  # fmt: skip
WIDTHS = {"unet": [64, 128, 256, 512, 1024], "pix2pix": [64, 128, 256, 512, 512, 512, 512]}
SMALL = {"unet": [8, 16], "pix2pix": [8, 16, 16]}


def settings(**changes):
    return parse(TrainSegmenterSettings, VALUES | changes)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    return {"train": pair_set(folder / "train.zip", 24, 1), "validation": pair_set(folder / "validation.zip", 8, 2)}


def run(folder, sets, chosen=None, **given):
    folder.mkdir(exist_ok=True)
    inputs = {"arms": None, "synthetic": [], "grid": None} | given
    train(chosen or settings(), **sets, **inputs, segmenter=folder / "s.pt", report=folder / "r.json")
    return folder / "s.pt"


@pytest.fixture(scope="module")
def trained(sets, tmp_path_factory):
    return run(tmp_path_factory.mktemp("trained"), sets)


# ---------------------------------------------------------------------------------------------------------- networks
@pytest.mark.parametrize(
    ("name", "inputs", "size", "expected"),
    [
        ("unet", 3, (256, 192), 31_031_745), ("unet", 6, (256, 192), 31_033_473),
        ("pix2pix", 3, (128, 128), 41_825_921), ("pix2pix", 3, (256, 256), 54_410_881),
    ],
)  # fmt: skip
def test_networks_have_the_documents_parameters(name, inputs, size, expected):
    widths = WIDTHS[name] + [512] * (size == (256, 256))
    with torch.device("meta"):
        made = segmenters.load(name).network(inputs, 1, size, widths, 0.0)
    assert sum(parameter.numel() for parameter in made.parameters()) == expected


@pytest.mark.parametrize("name", segmenters.SEGMENTERS)
@pytest.mark.parametrize("spectral", [False, True])
def test_every_segmenter_draws_maps_of_the_images_size_that_every_weight_moves(name, spectral):
    torch.manual_seed(0)
    made = build(name, SMALL[name], spectral, 0.0, (3, 32, 48), 2)
    logits = made(torch.randn(4, 3, 32, 48))
    assert logits.shape == (4, 2, 32, 48)
    (logits * torch.randn(logits.shape)).sum().backward()
    still = [key for key, one in made.named_parameters() if one.grad is None or not one.grad.abs().sum() > 0]
    assert still == []
    if spectral:
        for layer in made.modules():
            if isinstance(layer, nn.Conv2d):
                for _ in range(50):  # the power iteration of training
                    weight = layer.weight.detach()
                assert torch.linalg.matrix_norm(weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def test_the_u_net_is_the_papers():
    """Figure 1 of the paper by hand: down, up, and the map of the same size in front of what comes from below."""
    torch.manual_seed(0)
    made = build("unet", [4, 6, 8], False, 0.0, (3, 16, 24), 2).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))  # biases too
    weights, images = dict(made.named_parameters()), torch.randn(2, 3, 16, 24)

    def twice(x, name):
        for layer in (0, 2):
            x = F.relu(F.conv2d(x, weights[f"{name}.{layer}.weight"], weights[f"{name}.{layer}.bias"], padding=1))
        return x

    first = twice(images, "down.0")
    second = twice(F.max_pool2d(first, 2), "down.1")
    x = twice(F.max_pool2d(second, 2), "down.2")
    for number, beside in enumerate((second, first)):
        x = F.conv_transpose2d(x, weights[f"up.{number}.weight"], weights[f"up.{number}.bias"], stride=2)
        x = twice(torch.cat([beside, x], dim=1), f"join.{number}")
    expected = F.conv2d(x, weights["last.weight"], weights["last.bias"])
    assert torch.allclose(made(images), expected, atol=1e-5)


@pytest.mark.parametrize("name", segmenters.SEGMENTERS)
def test_every_segmenter_sees_far_and_keeps_places(name):
    """A pixel of the image moves the logits there most, and those far away too."""
    torch.manual_seed(0)
    made = build(name, [8, 16, 16, 16], False, 0.0, (1, 64, 64), 1).eval()
    image = torch.zeros(1, 1, 64, 64)
    touched = image.clone()
    touched[0, 0, 40, 24] = 1.0
    with torch.no_grad():
        moved = (made(touched) - made(image))[0, 0].abs()
    row, column = divmod(int(moved.argmax()), 64)
    assert max(abs(row - 40), abs(column - 24)) <= 4
    assert moved[28, 24] > 0


@pytest.mark.parametrize("name", segmenters.SEGMENTERS)
def test_images_that_do_not_fit_are_refused(name):
    with pytest.raises(InputError, match="multiples of"):
        segmenters.load(name).network(1, 1, (33, 32), SMALL[name], 0.0)


def test_an_unknown_segmenter_is_refused():
    with pytest.raises(InputError, match="'unett'"):
        segmenters.load("unett")


# ----------------------------------------------------------------------------------------------------------- training
def test_it_learns_and_reports_what_it_did(sets, trained):
    segmenter = load(trained)
    assert segmenter.image_shape == (1, SIDE, SIDE)
    assert len(segmenter.models) == 2
    assert not any(model.training for model in segmenter.models)
    validation = ImageSet(sets["validation"])
    report = read_json(trained.with_name("r.json"))
    assert report["selection"].startswith(f"the check with the highest {report['checked_by']} on the validation images")
    assert report["checked_by"] == IOU[settings().masks]
    assert report["images"] == {"train": {"images": 24, "patients": 12}, "validation": {"images": 8, "patients": 4}}
    for model, entry in zip(segmenter.models, report["seeds"], strict=True):
        maps = [label_map(segmenter, one, (SIDE, SIDE)) for one in drawn(segmenter, model, list(validation.pixels))]
        ious = [
            ((a > 0) & (b > 0)).sum() / ((a > 0) | (b > 0)).sum() for a, b in zip(maps, validation.masks, strict=True)
        ]
        assert np.mean(ious) > 0.8
        assert entry["validation_iou"] == pytest.approx(np.mean(ious))
        wrong = [((a > 0) & (b == 0)).sum() for a, b in zip(maps, validation.masks, strict=True)]
        assert entry["false_positives"] == pytest.approx(np.mean(wrong))
        best = max(entry["history"], key=lambda row: (row["validation_iou"], -row["validation_loss"]))
        assert entry["best_step"] == best["step"]
        assert [row["step"] for row in entry["history"]] == [6, 12, 18, 24, 30, 36]
        assert 0 < entry["history"][-1]["train_iou"] <= 1
        assert entry["history"][-1]["train_loss"] < entry["history"][0]["train_loss"]


def test_equal_settings_give_equal_bytes_and_another_seed_does_not(tmp_path, sets, trained):
    assert run(tmp_path / "a", sets).read_bytes() == trained.read_bytes()
    assert run(tmp_path / "b", sets, settings(seed=2)).read_bytes() != trained.read_bytes()


@pytest.mark.parametrize("step", [2, 7, 11])
def test_a_killed_training_goes_on_bit_for_bit(tmp_path, sets, trained, monkeypatch, step):
    def interrupted(self, batches, train_step=module.Training.train_step):
        if self.step == step and self.number == 1:
            raise RuntimeError("killed")
        return train_step(self, batches)

    with monkeypatch.context() as patched:
        patched.setattr(module.Training, "train_step", interrupted)
        with pytest.raises(RuntimeError, match="killed"):
            run(tmp_path, sets)
    assert run(tmp_path, sets).read_bytes() == trained.read_bytes()
    assert not list(tmp_path.glob("*.resume.pt"))


@pytest.mark.parametrize(
    "changes",
    [
        {"precision": "bf16"}, {"channels_last": True}, {"loss": "bce_dice"}, {"class_weights": "balanced"},
        {"augment": True}, {"spectral_norm": True}, {"schedule": "cosine"}, {"accumulate": 2, "batch_size": 2},
    ],
)  # fmt: skip
def test_ways_to_run(tmp_path, sets, changes):
    run(tmp_path, sets, settings(**changes, seeds=1, steps=72))
    (entry,) = read_json(tmp_path / "r.json")["seeds"]
    assert entry["validation_iou"] > 0.7
    load(tmp_path / "s.pt")


def test_it_ends_when_the_validation_gets_no_better(sets, monkeypatch):
    chosen = settings(patience=2, steps=60)
    parts, validating = read_arm(chosen, **sets, arms=None, synthetic=[])
    training = module.Training(chosen, 0, (parts[0], validating), torch.device("cpu"), (0.1, 0.0))
    values = iter([0.5, 0.6, 0.55, 0.6])
    monkeypatch.setattr(training, "measure", lambda step: module.Measured({}, (-next(values), 0.0), {}))
    ended = []
    for training.step in (6, 12, 18, 24):
        training.validate(training.step)
        ended.append(training.enough())
    assert ended == [False, False, False, True]
    assert training.best["step"] == 12, "of equals the earliest"


@pytest.mark.parametrize("name", segmenters.SEGMENTERS)
@pytest.mark.parametrize("coding", ["classes", "instances"])
@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_it_begins_with_the_shares_that_are_drawn(tmp_path, name, coding, weights):
    """As long as nothing is told apart by what is seen, no constant answer is better."""
    legend = {"legend": INSTANCES} if coding == "instances" else {}
    sets = {part: pair_set(tmp_path / f"{part}.zip", 24, seed, **legend) for part, seed in (("train", 1), ("val", 2))}
    chosen = settings(architecture=name, widths=SMALL[name], masks=coding, class_weights=weights)
    parts, validating = read_arm(chosen, *sets.values(), arms=None, synthetic=[])
    training = module.Training(chosen, 0, (parts[0], validating), torch.device("cpu"), (1e-3, 0.0))
    share = parts[0].masks.float().mean((0, 2, 3)) / 255
    weighted = training.weight[:, 0, 0] * share
    constant = training.model.last.bias
    assert torch.allclose(constant.sigmoid(), weighted / (weighted + 1 - share), atol=1e-6)
    logits = constant[:, None, None].expand(parts[0].masks.shape)
    (slope,) = torch.autograd.grad(training.loss(logits, parts[0].masks.float() / 255), constant)
    assert slope.abs().max() < 1e-6


@pytest.mark.parametrize("name", segmenters.SEGMENTERS)
@pytest.mark.parametrize("spectral", [False, True])
def test_what_is_seen_raises_logits_as_well_as_it_lowers_them(sets, name, spectral):
    """Of ten networks whose last layer has few inputs; with weights of one sign a U-Net drew nothing in 120 steps."""
    chosen = settings(architecture=name, widths=[2, 4, 4][: len(SMALL[name])], spectral_norm=spectral)
    parts, validating = read_arm(chosen, **sets, arms=None, synthetic=[])
    for number in range(10):
        training = module.Training(chosen, number, (parts[0], validating), torch.device("cpu"), (1e-3, 0.0))
        last = training.model.last
        weights = last.weight if name == "pix2pix" else last.weight.transpose(0, 1)  # inputs first
        assert torch.allclose(weights.mean(0), torch.zeros(()), atol=1e-6)
        assert weights.abs().amax() > 0.01
        seen = []
        last.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        training.model(torch.rand(1, 1, SIDE, SIDE) * 2 - 1)
        assert seen[0].mean() > 0, "what the last layer is given comes out of ReLUs"


def test_a_channel_that_is_nowhere_has_a_finite_beginning(sets):
    chosen = settings(class_weights="balanced")
    parts, validating = read_arm(chosen, **sets, arms=None, synthetic=[])
    nothing = dataclasses.replace(parts[0], masks=torch.zeros_like(parts[0].masks))
    training = module.Training(chosen, 0, (nothing, validating), torch.device("cpu"), (1e-3, 0.0))
    assert training.model.last.bias.isfinite().all()
    assert training.weight.item() == pytest.approx(999)


def test_a_step_is_the_textbooks(sets):
    """One step: the gradient of what the docstring says, by hand."""
    chosen = settings(loss="bce_dice", class_weights="balanced", dropouts=[0.0])
    parts, validating = read_arm(chosen, **sets, arms=None, synthetic=[])
    training = module.Training(chosen, 0, (parts[0], validating), torch.device("cpu"), (1e-3, 0.0))
    (batch,) = training.next_batches()
    share = parts[0].masks.float().mean() / 255
    logits = training.model(batch.images)
    p, t = logits.sigmoid(), batch.masks
    weight = 1 + t * ((1 - share) / share - 1)
    bce = -(weight * (t * p.log() + (1 - t) * (1 - p).log())).mean()
    dice = (2 * (p * t).sum((1, 2, 3)) + 1) / (p.sum((1, 2, 3)) + t.sum((1, 2, 3)) + 1)
    expected = bce + (1 - dice).mean()
    found = training.losses(batch)
    assert found["loss"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert not found["iou"].requires_grad
    assert training.train_step([batch])["loss"] == pytest.approx(expected.item(), rel=1e-5)
    after = training.losses(batch)["loss"]
    assert after < expected, "a step lowers the loss of its batch"


def test_dice_is_of_every_image_and_channel_by_itself_however_large_what_is_drawn_there(sets):
    """Two channels, one nearly full, one nearly empty: over both at once the small one would not count."""
    chosen = settings(loss="bce_dice", class_weights="none", dropouts=[0.0])
    parts, validating = read_arm(chosen, **sets, arms=None, synthetic=[])
    training = module.Training(chosen, 0, (parts[0], validating), torch.device("cpu"), (1e-3, 0.0))
    t = torch.zeros(2, 2, 8, 8)
    t[:, 0, :7], t[0, 1, 3, 3:5], t[1, 1, 0, 0] = 1, 1, 1
    logits = torch.randn(t.shape, generator=torch.Generator().manual_seed(0))
    p = logits.sigmoid()
    expected = []
    for image in range(2):
        dice = [
            (2 * (p[image, k] * t[image, k]).sum() + 1) / (p[image, k].sum() + t[image, k].sum() + 1) for k in range(2)
        ]
        cross = torch.nn.functional.binary_cross_entropy(p[image], t[image])
        expected.append((cross + 1 - (dice[0] + dice[1]) / 2).item())
    training.weight = None
    assert training.loss(logits, t, each=True).tolist() == pytest.approx(expected, rel=1e-5)
    assert training.loss(logits, t).item() == pytest.approx(sum(expected) / 2, rel=1e-5)


@pytest.mark.parametrize("loss", ["bce", "bce_dice"])
def test_many_validation_images_are_measured_at_once_and_each_by_itself(sets, loss):
    chosen = settings(loss=loss, class_weights="balanced")
    parts, validating = read_arm(chosen, sets["train"], sets["validation"], None, [])
    training = module.Training(chosen, 0, (parts[0], validating), torch.device("cpu"), (1e-3, 0.0))
    given = []
    training.model.register_forward_pre_hook(lambda _, inputs: given.append(len(inputs[0])))
    found = training.measure(1)
    assert given == [8]  # and not two batches of four
    alone = []
    for image, mask in zip(validating.images, validating.masks, strict=True):
        with torch.no_grad():
            logits = training.model(to_model(image[None]))
        alone.append(training.loss(logits, mask[None].float() / 255).item())
    assert found.kept["loss"] == pytest.approx(np.mean(alone), rel=1e-5)


def test_what_is_drawn_most_and_how_it_overlaps():
    channels = torch.tensor([[0.2, 0.9, 0.4], [0.6, 0.7, 0.3]]).view(1, 2, 1, 3)
    assert classes_of(channels, False).tolist() == [[[2, 1, 0]]]
    coded = torch.tensor([[0.5, 0.1, 0.2], [0.4, 0.8, 0.1], [0.1, 0.1, 0.7]]).view(1, 3, 1, 3)
    assert classes_of(coded, True).tolist() == [[[0, 1, 1]]]
    ours, theirs = torch.tensor([[[1, 1, 0, 0]], [[0, 0, 0, 0]]]), torch.tensor([[[1, 0, 1, 1]], [[0, 0, 0, 0]]])
    assert overlaps(ours, theirs, 1).tolist() == [[0.25, 1, 2], [1, 0, 0]]
    assert overlaps(ours, theirs, 2)[0].tolist() == [(0.25 + 1) / 2, 0.5, 1], "a class that is nowhere is right"


def test_instances_are_told_apart(tmp_path):
    sets = {
        name: pair_set(tmp_path / f"{name}.zip", count, seed, legend=INSTANCES)
        for name, count, seed in (("train", 40, 1), ("validation", 8, 2))
    }
    path = run(tmp_path, sets, settings(masks="instances", seeds=1, steps=150))
    segmenter, images = load(path), ImageSet(sets["validation"])
    assert segmenter.masks.legend == INSTANCES
    counts = [
        len(np.unique(label_map(segmenter, one, (SIDE, SIDE)))) - 1
        for one in drawn(segmenter, segmenter.models[0], list(images.pixels))
    ]
    truth = [len(np.unique(mask)) - 1 for mask in images.masks]
    assert np.corrcoef(counts, truth)[0, 1] > 0.6


def test_images_are_reduced_alike_in_training_and_use(tmp_path):
    sets = {
        name: pair_set(tmp_path / f"{name}.zip", count, seed, size=64)
        for name, count, seed in (("train", 24, 1), ("validation", 8, 2))
    }
    chosen = settings(size=[32, 32], seeds=1, steps=6)
    segmenter, validation = load(run(tmp_path, sets, chosen)), ImageSet(sets["validation"])
    part = read_set(validation, chosen)
    assert part.images.shape == (8, 1, 32, 32)
    with torch.no_grad():
        expected = segmenter.models[0](to_model(part.images)).sigmoid()
    assert torch.equal(drawn(segmenter, segmenter.models[0], list(validation.pixels)), expected)
    large = label_map(segmenter, expected[0], (64, 64))
    by_hand = F.interpolate(expected[:1], (64, 64), mode="bilinear")[0, 0] >= 0.5
    assert np.array_equal(large > 0, by_hand.numpy())


def test_the_grid_is_trained_and_its_best_point_used(tmp_path, sets):
    chosen = settings(learning_rates=[1.0e-5, 5.0e-3], dropouts=[0.0, 0.2], steps=18)
    choose(chosen, **sets, grid=tmp_path / "grid.csv")
    table = read_csv(tmp_path / "grid.csv")
    assert [(row["learning_rate"], row["dropout"]) for row in table][::3] == [("1e-05", "0.0"), ("0.005", "0.2")]
    best = max(table, key=lambda row: float(row["iou"]))
    assert best["learning_rate"] == "0.005"
    path = run(tmp_path, sets, chosen, grid=tmp_path / "grid.csv")
    report = read_json(tmp_path / "r.json")
    assert (report["learning_rate"], report["dropout"]) == (0.005, float(best["dropout"]))
    assert len(load(path).models) == 2
    with pytest.raises(InputError, match="leave a choice"):
        run(tmp_path, sets, chosen)
    with pytest.raises(InputError, match="leave no choice"):
        run(tmp_path, sets, grid=tmp_path / "grid.csv")


# --------------------------------------------------------------------------------------------------------------- arms
def listed(path, members, arm="a"):
    """arms.csv of one arm: (set, image, draw, mask, weight) each."""
    table = [
        {"arm": arm, "part": "train", "set": of, "image": image, "draw": draw, "label": "discs", "mask": mask}
        | {"weight": weight}
        for of, image, draw, mask, weight in members
    ]
    write_csv(path, table, COLUMNS)
    return path


def test_an_arm_is_trained_on_its_lists(tmp_path, sets):
    made = pair_set(tmp_path / "gan.zip", 6, 9)
    members = [
        ("real", "train003.png", 0, "", 2), ("gan", "gan001.png", 0, "", 1), ("gan", "gan002.png", 0, "gan004.png", 1),
        ("simple", "train005.png", 1, "", 1), ("simple", "train005.png", 2, "", 1),
        ("elastic", "train005.png", 1, "", 1),
        ("real", "train000.png", 0, "", 1),
    ]  # fmt: skip
    arms = listed(tmp_path / "arms.csv", members)
    chosen = settings(arm="a", sets=["gan"])
    (part, again), _ = read_arm(chosen, **sets, arms=arms, synthetic=[made])
    real, fake = read_set(ImageSet(sets["train"]), chosen), read_set(ImageSet(made), chosen)
    assert len(part.images) == 8
    assert torch.equal(part.images, again.images)
    for place, (source, row, mask) in enumerate([(real, 3, 3), (real, 3, 3), (fake, 1, 1), (fake, 2, 4)]):
        assert torch.equal(part.images[place], source.images[row])
        assert torch.equal(part.masks[place], source.masks[mask])
    assert torch.equal(part.images[7], real.images[0])
    moved = [part.images[place] for place in (4, 5, 6)]
    assert all(not torch.equal(one, real.images[5]) for one in moved), "augmented"
    assert not torch.equal(moved[0], moved[1]), "draws differ"
    for place in (4, 5, 6):  # the mask moves with its image: discs are brighter
        inside = part.masks[place] > 0
        assert part.images[place][inside].float().mean() > part.images[place][~inside].float().mean() + 30
        assert set(part.masks[place].unique().tolist()) <= {0, 255}
    assert part.patients[4] == real.patients[5]
    for place, kind, move, how in (
        (4, "simple", augment_pairs, chosen.augmentation),
        (6, "elastic", deform_pairs, chosen.elastic),
    ):
        draws = torch.Generator().manual_seed(derived_seed(1, f"{kind} train005.png 1"))
        image, mask = move(to_model(real.images[5:6]), real.masks[5:6].float(), how, draws)
        assert torch.equal(part.images[place], to_pixels(image)[0])
        assert torch.equal(part.masks[place], mask[0].to(torch.uint8))
    run(tmp_path, sets, settings(arm="a", sets=["gan"], steps=6, seeds=1), arms=arms, synthetic=[made])


@pytest.mark.parametrize("size", [None, [16, 16]])
def test_objects_are_pasted_from_images_of_other_patients(tmp_path, size):
    sets = {name: pair_set(tmp_path / f"{name}.zip", 6, 1, legend=INSTANCES) for name in ("train", "validation")}
    members = [("real", f"train{row:03d}.png", 0, "", 1) for row in range(4)]
    members += [("pasted", "train002.png", draw, "", 1) for draw in (1, 2)]
    arms = listed(tmp_path / "arms.csv", members)
    chosen = settings(arm="a", masks="instances", size=size)
    (part, again), _ = read_arm(chosen, **sets, arms=arms, synthetic=[])
    real, coded = ImageSet(sets["train"]), MaskChannels("instances", INSTANCES)
    entries = list(real.entries())
    for place, draw in ((4, 1), (5, 2)):
        rng = np.random.default_rng(derived_seed(1, f"pasted train002.png {draw}"))
        donor = int(rng.choice([0, 1, 4, 5]))  # two images a patient
        pixels, mask = paste_objects(*entries[2][1:], entries[donor][1:], INSTANCES, rng)
        if size is None:
            assert np.array_equal(part.images[place].numpy().transpose(1, 2, 0), pixels)
        else:
            mask = resized_labels(mask, (16, 16))
        expected = coded.encode(mask)[:, :, :3].transpose(2, 0, 1)
        assert np.array_equal(part.masks[place].numpy(), expected)
        assert part.masks[place, 0].sum() < part.masks[2, 0].sum(), "less background than before"
        assert part.patients[place] == part.patients[2]
    assert torch.equal(part.images, again.images)
    assert not torch.equal(part.masks[4], part.masks[5])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"arm": "b"}, "no arm 'b'"),
        ({"arm": None}, "setting arm is None"),
        ({"sets": []}, "synthetic: 1 files for"),
        ({"batch_size": 16}, "fewer than a step takes"),
    ],
)
def test_arms_that_cannot_be_trained_are_refused(tmp_path, sets, changes, said):
    made = pair_set(tmp_path / "gan.zip", 6, 9)
    arms = listed(tmp_path / "arms.csv", [("gan", f"gan00{n}.png", 0, "", 1) for n in range(6)])
    with pytest.raises(InputError, match=said):
        read_arm(settings(**({"arm": "a", "sets": ["gan"]} | changes)), **sets, arms=arms, synthetic=[made])


def without_masks(source, path, keep=lambda number: False, mask=lambda mask: mask):
    images = ImageSet(source)
    found = (
        (fields, pixels, mask(drawn)) if not keep(number) else (fields, pixels)
        for number, (fields, pixels, drawn) in enumerate(images.entries())
    )
    write_image_set(path, found, images.legend)
    return path


def test_unusable_masks_are_refused_before_training(tmp_path, sets):
    one = without_masks(sets["train"], tmp_path / "one.zip", keep=lambda number: number == 3)
    with pytest.raises(InputError, match=r"one\.zip: 1 of 24 images have no mask, the first is 'train003\.png'"):
        run(tmp_path, sets | {"train": one})
    empty = without_masks(sets["validation"], tmp_path / "empty.zip", mask=np.zeros_like)
    with pytest.raises(
        InputError, match=r"empty\.zip: in the masks of the validation part \(8 images\) nothing is drawn of 'disc';"
    ):
        run(tmp_path, sets | {"validation": empty})
    with pytest.raises(InputError, match="patients are in the training and in the validation part"):
        run(tmp_path, sets | {"validation": sets["train"]})
    larger = pair_set(tmp_path / "larger.zip", 8, 2, size=48)
    with pytest.raises(InputError, match="prepare them alike"):
        run(tmp_path, sets | {"validation": larger})
    with pytest.raises(InputError, match="set's masks are semantic"):
        run(tmp_path, sets, settings(masks="instances"))
    with pytest.raises(InputError, match="lower it"):
        run(tmp_path, sets, settings(size=[64, 64]))
    other = Legend(classes={"ring": 255})
    write_image_set(tmp_path / "other.zip", rows(6, "other"), other)
    arms = listed(tmp_path / "arms.csv", [("real", f"train00{n}.png", 0, "", 1) for n in range(8)])
    chosen = settings(arm="a", sets=["other"])
    with pytest.raises(InputError, match=r"other\.zip: masks are .*ring"):
        run(tmp_path, sets, chosen, arms=arms, synthetic=[tmp_path / "other.zip"])
    assert not (tmp_path / "s.pt").exists()


def test_a_training_that_diverges_says_so(tmp_path, sets):
    with pytest.raises(TrainingError, match=r"learning_rates|lower learning rate"):
        run(tmp_path, sets, settings(learning_rates=[1.0e12], steps=48))


def test_a_file_that_is_no_segmenter_is_refused(tmp_path, trained):
    torch.save({"format": 1}, tmp_path / "x.pt")
    with pytest.raises(InputError, match="no segmenter"):
        load(tmp_path / "x.pt")
    segmenter = load(trained)
    with pytest.raises(InputError, match="does not fit a segmenter for 32×32 and 1"):
        drawn(segmenter, segmenter.models[0], [np.zeros((32, 32, 3), np.uint8)])
