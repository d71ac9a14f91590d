"""Classifiers that learn all their weights: what they learn, that they continue bit for bit, what they refuse."""

import copy
import csv
import logging
import math
import weakref

import numpy as np
import pytest
import torch
from textbook import Adam, batch_norm
from torch.nn import functional as F
from trainings import CLASSIFIER

from made_up_images import SIDE, image_set, rows
from synthmed.classifiers import network
from synthmed.classifiers.architectures import ResNet50, SmallCNN, build
from synthmed.classifiers.embedding import EmbedSettings, embed
from synthmed.classifiers.labelled_images import augmented, read_arm, read_parts, read_targets
from synthmed.classifiers.network import NetworkSettings, PredictSettings, likelihoods, load, predict, train
from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_csv
from synthmed.core.settings import parse
from synthmed.data.arm_lists import COLUMNS
from synthmed.data.features import read_features
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.metrics.classification import auroc
from synthmed.training.history import History, TrainingError
from synthmed.training.images import to_model
from synthmed.weights import read as weight_files

VALUES = CLASSIFIER | {"steps": 12, "check_every": 3, "batch_size": 16}


def settings(**changes):
    return parse(NetworkSettings, VALUES | changes)


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets")
    return {
        "train": image_set(folder / "train.zip", 60, seed=1),
        "validation": image_set(folder / "validation.zip", 30, seed=2),
    }


def run(folder, sets, chosen=None, weights=None):
    folder.mkdir(exist_ok=True)
    nothing = {"weights": weights, "arms": None, "synthetic": []}
    train(chosen or settings(), **sets, **nothing, classifier=folder / "c.pt", report=folder / "r.json")
    return folder / "c.pt"


@pytest.fixture(scope="module")
def trained(sets, tmp_path_factory):
    return run(tmp_path_factory.mktemp("trained"), sets)


# --------------------------------------------------------------------------------------------------------- the result
def test_it_learns_and_reports_what_it_did(sets, trained):
    classifier = load(trained)
    assert classifier.targets == ("abnormal",)
    assert classifier.image_shape == (1, SIDE, SIDE)
    assert classifier.thresholds.shape == (2, 1)
    assert len(classifier.models) == 2
    assert not any(model.training for model in classifier.models)
    assert not any(p.requires_grad for model in classifier.models for p in model.parameters())
    validation = ImageSet(sets["validation"])
    positive = np.array(validation.column("label")) == "abnormal"
    found = likelihoods(classifier, validation.pixels, 16)  # batches of the training: the same last digits
    assert found.shape == (2, 30, 1)
    assert found.dtype == np.float64
    assert auroc(found.mean(axis=0)[:, 0], positive) > 0.95

    report = read_json(trained.with_name("r.json"))
    assert report["images"]["train"] == {"images": 60, "patients": 60, "positives": {"abnormal": 30}}
    assert report["images"]["validation"]["positives"] == {"abnormal": 15}
    assert report["parameters"] == sum(p.numel() for p in classifier.models[0].parameters())
    for seed, entry in enumerate(report["seeds"]):
        of_target = entry["validation"]["abnormal"]
        scores, threshold = found[seed, :, 0], classifier.thresholds[seed, 0]
        assert of_target["auroc"] == pytest.approx(auroc(scores, positive))
        assert of_target["threshold"] == threshold
        assert of_target["true_positives"] == (scores[positive] >= threshold).sum()
        assert of_target["false_positives"] == (scores[~positive] >= threshold).sum()
        assert of_target["true_positives"] + of_target["false_negatives"] == 15
        assert of_target["false_positives"] + of_target["true_negatives"] == 15
        losses = [row["validation_loss"] for row in entry["history"]]
        assert [row["step"] for row in entry["history"]] == [3, 6, 9, 12]
        assert entry["best_step"] == 3 + 3 * int(np.argmin(losses))
        assert entry["validation_loss"] == min(losses)
    assert report["seeds"][0]["history"] != report["seeds"][1]["history"]


def test_equal_settings_give_equal_bytes_and_another_seed_does_not(tmp_path, sets, trained, caplog):
    caplog.set_level(logging.INFO)
    assert run(tmp_path / "a", sets).read_bytes() == trained.read_bytes()
    assert (tmp_path / "a" / "r.json").read_bytes() == trained.with_name("r.json").read_bytes()
    assert run(tmp_path / "b", sets, settings(seed=2)).read_bytes() != trained.read_bytes()
    said = [record.getMessage() for record in caplog.records if " step 12/12 " in record.getMessage()]
    assert [line.split("  ")[0] for line in said] == ["seed 1 of 2", "seed 2 of 2"] * 2


@pytest.mark.parametrize("changes", [{"precision": "bf16"}, {"channels_last": True}, {"select": "auroc"}])
def test_ways_to_run(tmp_path, sets, trained, changes):
    path = run(tmp_path / "a", sets, settings(**changes, seeds=1, steps=24))
    pixels = ImageSet(sets["validation"]).pixels
    found = likelihoods(load(path), pixels, 30)[0, :, 0]
    positive = np.arange(30) % 2 == 1
    assert auroc(found, positive) > 0.9
    if "select" in changes:
        (entry,) = read_json(tmp_path / "a" / "r.json")["seeds"]
        best = max(entry["history"], key=lambda row: (row["validation_auroc"], -row["validation_loss"]))
        assert entry["best_step"] == best["step"]


@pytest.mark.parametrize(("select", "step"), [("loss", 6), ("auroc", 9)])
def test_the_best_check_and_each_targets_threshold(sets, select, step):
    """Three checks: all images in order but near 1/2; sure, and wrong about one image; in order and surer than first.

    The second target's logits are higher by 2, and so is its threshold, midway between the classes.
    """
    chosen = settings(targets=["abnormal", "normal"], select=select)
    training = network.Training(chosen, 0, read_parts(chosen, **sets), None, torch.device("cpu"))
    signs, shift = 2 * training.validation.targets - 1, torch.tensor([0.0, 2.0])
    wrong = signs.clone()
    wrong[0] *= -1
    logits = iter([0.1 * signs + shift, 4 * wrong, 0.2 * signs + shift])
    training._validation_logits = lambda: next(logits)
    for at in (3, 6, 9):
        training.validate(at)
    result = training.result(History())
    assert result["entry"]["best_step"] == step
    if step == 9:
        middle = [(torch.sigmoid(torch.tensor([low, low + 0.4])).sum() / 2).item() for low in (-0.2, 1.8)]
        assert result["thresholds"] == pytest.approx(middle)


def test_the_learning_rate_follows_the_schedule(tmp_path, sets):
    run(tmp_path / "a", sets, settings(seeds=1))
    (entry,) = read_json(tmp_path / "a" / "r.json")["seeds"]
    # The rate of the last step before each check, steps 2, 5, 8, 11 of 12.
    expected = [0.01 * (1 + np.cos(np.pi * step / 12)) / 2 for step in (2, 5, 8, 11)]
    assert [row["learning_rate"] for row in entry["history"]] == pytest.approx(expected)
    run(tmp_path / "b", sets, settings(seeds=1, schedule="constant"))
    (entry,) = read_json(tmp_path / "b" / "r.json")["seeds"]
    assert {row["learning_rate"] for row in entry["history"]} == {0.01}


def test_balanced_weights_count_each_class_alike(tmp_path, sets):
    few = [entry for entry in rows(60, "t", 1) if entry[0]["label"] == "normal" or int(entry[0]["image"][1:4]) % 6 == 1]
    write_image_set(tmp_path / "few.zip", few)
    parts = read_parts(settings(), tmp_path / "few.zip", sets["validation"])
    assert parts[0].targets.sum() == 10  # of 40
    logits, targets = torch.tensor([[0.5], [-1.0]]), torch.tensor([[1.0], [0.0]])
    for weights, factor in (("balanced", 3.0), ("none", 1.0)):
        training = network.Training(settings(class_weights=weights), 0, parts, None, torch.device("cpu"))
        own = factor * F.softplus(torch.tensor(-0.5)) + F.softplus(torch.tensor(-1.0))
        assert training.loss(logits, targets).item() == pytest.approx(own.item() / 2)


def small_cnn(network, images, dropout):
    """Stem of stride 2; a residual block a stage, halved before all but the first; mean and maximum; a linear layer."""
    stem, scale, shift = network.stem.parameters()
    x = F.relu(batch_norm(F.conv2d(images, stem, stride=2, padding=1), scale, shift))
    for number, stage in enumerate(network.stages):
        if number:
            x = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5))
        first, scale, shift, second, scale_two, shift_two, *shortcut = stage.parameters()
        inside = F.relu(batch_norm(F.conv2d(x, first, padding=1), scale, shift))
        inside = batch_norm(F.conv2d(inside, second, padding=1), scale_two, shift_two)
        x = F.relu(inside + (F.conv2d(x, shortcut[0]) if shortcut else x))
    pooled = torch.cat([x.mean((2, 3)), x.flatten(2).max(2).values], dim=1)
    weight, bias = network.head.parameters()
    return F.dropout(pooled, dropout) @ weight.T + bias


def test_a_step_is_the_textbooks(sets):
    """Order, augmentation, network, weighted cross-entropy, cosine and Adam of three steps, written out by hand."""
    chosen = settings(channels=[4, 8, 8], steps=6, targets=["abnormal", "normal"])
    parts = read_parts(chosen, **sets)
    parts[0].targets[:20] = 0.0  # few positives, so that the weights of the classes differ from 1
    training = network.Training(chosen, 1, parts, None, torch.device("cpu"))
    rng, adam, order = copy.deepcopy(training.rng), Adam(0.01, (0.9, 0.999)), None
    for step in range(4):
        if step % 3 == 0:  # 60 images are 3 batches of 16; the rest of the order is left out
            order = torch.randperm(60, generator=rng)
        rows = order[16 * (step % 3) : 16 * (step % 3 + 1)]
        pixels = augmented(parts[0].pixels[rows], True, 0.05, rng)
        before = copy.deepcopy(training.model)
        torch.manual_seed(step)  # of dropout
        logits, truth = small_cnn(before, pixels.float() / 127.5 - 1, 0.2), parts[0].targets[rows]
        positives = parts[0].targets.sum(0)
        p = torch.sigmoid(logits)
        expected = -((60 - positives) / positives * truth * p.log() + (1 - truth) * (1 - p).log()).mean()
        gradients = torch.autograd.grad(expected, list(before.parameters()))
        torch.manual_seed(step)
        training.train_step(training.next_batches())
        training.step = step + 1
        scale = max(float(gradient.abs().max()) for gradient in gradients)
        found = [parameter.grad for parameter in training.model.parameters()]
        assert max(float((a - b).abs().max()) for a, b in zip(found, gradients, strict=True)) < 1e-3 * scale
        adam.rate = 0.01 * (1 + math.cos(math.pi * step / 6)) / 2
        for parameter, value in zip(
            training.model.parameters(), adam.moved(list(before.parameters()), found), strict=True
        ):
            assert torch.allclose(parameter, value, rtol=1e-5, atol=1e-5)


def test_a_step_of_several_micro_batches_sees_as_many_times_the_images(sets):
    chosen = settings(accumulate=3, flip=False, shift=0.0)
    parts = read_parts(chosen, **sets)
    training = network.Training(chosen, 0, parts, None, torch.device("cpu"))
    batches = training.next_batches()
    assert [len(batch.images) for batch in batches] == [16, 16, 16]
    shown = torch.cat([batch.images for batch in batches])
    images = to_model(parts[0].pixels)
    places = [[n for n in range(60) if torch.equal(images[n], image)] for image in shown]
    assert len({place for (place,) in places}) == 48  # each once
    assert torch.equal(torch.cat([batch.labels for batch in batches]), parts[0].targets[[p for (p,) in places]])


def test_a_network_that_broke_in_the_last_step_is_not_chosen(sets):
    """The loss of a step is that before it; what the step made of the weights shows in the validation."""
    training = network.Training(settings(), 0, read_parts(settings(), **sets), None, torch.device("cpu"))
    with torch.no_grad():
        next(training.model.parameters()).fill_(torch.nan)
    with pytest.raises(TrainingError, match="training step 3: the validation loss is nan; lower learning_rate"):
        training.validate(3)
    assert training.best is None


# ------------------------------------------------------------------------------------------------- which images it uses
def test_targets_come_from_a_list_of_findings(tmp_path, sets):
    several = [
        (fields | {"findings": ["", "square", "square; line", "line"][number % 4]}, pixels)
        for number, (fields, pixels) in enumerate(rows(24, "v", 3))
    ]
    write_image_set(tmp_path / "v.zip", several)
    chosen = settings(targets=["normal", "square", "line"], target_column="findings", missing="normal")
    write_image_set(
        tmp_path / "t.zip", [({**f, "image": "t" + f["image"], "patient": "t" + f["patient"]}, p) for f, p in several]
    )
    part, _ = read_parts(chosen, tmp_path / "t.zip", tmp_path / "v.zip")
    assert part.targets[:4].tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 1]]
    skipping, _ = read_parts(
        settings(targets=["line"], target_column="findings", missing="skip"), tmp_path / "t.zip", tmp_path / "v.zip"
    )
    assert len(skipping.targets) == 18
    assert skipping.targets[:3, 0].tolist() == [0, 1, 1]
    with pytest.raises(InputError, match="6 of 24 images have no findings"):
        read_parts(settings(targets=["line"], target_column="findings"), tmp_path / "t.zip", tmp_path / "v.zip")


def test_an_arm_is_trained_on_its_lists_and_validated_on_its_own_images(tmp_path):
    real = image_set(tmp_path / "real.zip", 40, seed=1)
    check = image_set(tmp_path / "check.zip", 20, seed=2)
    write_image_set(tmp_path / "gan.zip", rows(60, "gan", 3))
    made, truth = ImageSet(tmp_path / "gan.zip"), ImageSet(real)
    listed = [
        {"arm": "gan", "seed": seed, "part": "train", "set": name, "image": image, "draw": 0, "label": label,
         "weight": n}
        for seed in (0, 1)
        for name, image, label, n in [
            ("real", truth.rows[0]["image"], truth.rows[0]["label"], 1),
            *(("gan", row["image"], "abnormal", 1 + seed) for row in made.rows[:20]),
            *(("gan", row["image"], "normal", 1) for row in made.rows[20:30]),
        ]
    ]  # fmt: skip
    own = [
        {"arm": "gan", "seed": "", "part": "validation", "set": "gan", "image": row["image"], "draw": 0,
         "label": row["label"], "weight": 1}
        for row in made.rows[40:]
    ]  # fmt: skip
    write_csv(tmp_path / "arms.csv", [*listed, *own], COLUMNS)
    chosen = settings(arm="gan", sets=["gan"], seeds=2, batch_size=4)
    parts, validation = read_arm(chosen, real, check, tmp_path / "arms.csv", [tmp_path / "gan.zip"])
    assert [len(part.targets) for part in parts] == [31, 51], "an image of weight 2 stands in the list twice"
    assert parts[0].targets[1:, 0].tolist() == [1.0] * 20 + [0.0] * 10, "labels are those of the list"
    assert torch.equal(parts[0].pixels[0], torch.from_numpy(truth[0].transpose(2, 0, 1)))
    assert torch.equal(parts[1].pixels[1], parts[1].pixels[2])
    held = weakref.ref(parts[0].pixels)
    assert len(parts[1].patients) == 51
    assert held() is None, "images of one seed are in memory, not of all"
    assert len(validation.targets) == 20
    write_csv(tmp_path / "arms.csv", listed, COLUMNS)
    assert len(read_arm(chosen, real, check, tmp_path / "arms.csv", [tmp_path / "gan.zip"])[1].patients) == 20
    with pytest.raises(InputError, match="no arm 'gna'"):
        read_arm(settings(arm="gna", sets=["gan"]), real, check, tmp_path / "arms.csv", [tmp_path / "gan.zip"])
    write_csv(tmp_path / "arms.csv", [row | {"draw": 1} for row in listed], COLUMNS)
    with pytest.raises(InputError, match="augmented draws"):
        read_arm(chosen, real, check, tmp_path / "arms.csv", [tmp_path / "gan.zip"])


def test_targets_of_several_columns(tmp_path):
    given = [
        (fields | {"tags": "hair" if number % 3 else "none"}, pixels)
        for number, (fields, pixels) in enumerate(rows(12, "s", 1))
    ]
    given[0][0]["tags"] = ""
    write_image_set(tmp_path / "s.zip", given)
    chosen = settings(targets=["hair", "abnormal"], target_column="tags;label", missing="skip", batch_size=4, seeds=1)
    found = read_targets(ImageSet(tmp_path / "s.zip"), chosen)
    assert found == {number: [int(number % 3 > 0), number % 2] for number in range(1, 12)}


def test_a_column_of_yes_and_no_names_itself(tmp_path):
    cells = ["yes", "no", ""] * 4
    given = [
        (fields | {"device": cell}, pixels) for cell, (fields, pixels) in zip(cells, rows(12, "s", 1), strict=True)
    ]
    write_image_set(tmp_path / "s.zip", given)
    chosen = settings(targets=["device"], target_column="device", missing="skip", batch_size=4, seeds=1)
    found = read_targets(ImageSet(tmp_path / "s.zip"), chosen)
    assert found == {number: [int(cell == "yes")] for number, cell in enumerate(cells) if cell}


def test_augmented_draws_of_an_arm_are_made_of_its_real_images(tmp_path, sets):
    names = ImageSet(sets["train"]).column("image")
    shared = {"arm": "classic", "seed": "", "part": "train", "mask": "", "weight": 1}
    labels = dict(zip(names, ImageSet(sets["train"]).column("label"), strict=True))
    listed = [
        shared | {"set": kind, "image": name, "draw": draw, "label": labels[name]}
        for kind, draw in (("real", 0), ("augmented", 1), ("augmented", 2))
        for name in names
    ]
    write_csv(tmp_path / "arms.csv", listed, COLUMNS)
    flips = {"horizontal_flip": True, "rotation": 0.0, "zoom": 0.0, "padding": "black"}
    chosen = settings(arm="classic", seeds=1, batch_size=4, augmentation=flips)
    (part,), _ = read_arm(chosen, sets["train"], sets["validation"], tmp_path / "arms.csv", [])
    real, first, second = part.pixels.split(len(names))
    mirrored = [
        [torch.equal(drawn, one.flip(-1)) for drawn, one in zip(draws, real, strict=True)] for draws in (first, second)
    ]
    kept = [[torch.equal(drawn, one) for drawn, one in zip(draws, real, strict=True)] for draws in (first, second)]
    for moved, same in zip(mirrored, kept, strict=True):
        assert all(one != other for one, other in zip(moved, same, strict=True))
        assert 0.25 * len(names) < sum(moved) < 0.75 * len(names)
    assert mirrored[0] != mirrored[1], "each draw is another one"
    assert part.targets[: len(names)].tolist() == part.targets[len(names) : 2 * len(names)].tolist()
    several = settings(arm="classic", seeds=3, batch_size=4, augmentation=flips)
    again, _ = read_arm(several, sets["train"], sets["validation"], tmp_path / "arms.csv", [])
    assert torch.equal(again[0].pixels, part.pixels)
    assert again[0] is again[2], "a list of all seeds is read once"


def test_a_holdout_is_drawn_by_patient_and_target(tmp_path):
    given = [(f | {"patient": f"p{number // 4}"}, p) for number, (f, p) in enumerate(rows(80, "s", 1))]
    write_image_set(tmp_path / "s.zip", given)
    train_part, held_out = read_parts(settings(holdout=0.2), tmp_path / "s.zip", tmp_path / "s.zip")
    assert not {*train_part.patients} & {*held_out.patients}
    assert len(held_out.targets) == 16
    assert held_out.targets.sum() == 8
    again = read_parts(settings(holdout=0.2), tmp_path / "s.zip", tmp_path / "s.zip")[1]
    assert again.patients == held_out.patients
    other = read_parts(settings(holdout=0.2, seed=5), tmp_path / "s.zip", tmp_path / "s.zip")[1]
    assert other.patients != held_out.patients


def test_images_are_reduced_alike_in_training_and_use(tmp_path, sets):
    path = run(tmp_path / "a", sets, settings(size=[16, 16], seeds=1, steps=3))
    classifier = load(path)
    assert classifier.image_shape == (1, 16, 16)
    pixels = ImageSet(sets["validation"]).pixels
    small = np.stack([network.resized(image, (16, 16)) for image in pixels])
    assert np.array_equal(likelihoods(classifier, pixels, 8), likelihoods(classifier, small, 8))
    assert abs(int(small[0].mean()) - int(pixels[0].mean())) <= 1
    with pytest.raises(InputError, match="32 × 32 pixels and 3 channels do not fit"):
        likelihoods(classifier, np.repeat(pixels, 3, axis=3), 8)
    with pytest.raises(InputError, match="do not fit"):
        likelihoods(classifier, pixels[:, :10, :10], 8)


def test_augmentation_mirrors_half_and_shifts_with_the_border_repeated():
    images = torch.arange(200 * 4 * 4).remainder(251).to(torch.uint8).view(200, 1, 4, 4)
    assert torch.equal(augmented(images, False, 0.0, torch.Generator()), images)
    flipped = augmented(images, True, 0.0, torch.Generator().manual_seed(0))
    mirrored = [torch.equal(one, two.flip(2)) for one, two in zip(flipped, images, strict=True)]
    as_is = [torch.equal(one, two) for one, two in zip(flipped, images, strict=True)]
    assert sum(mirrored) + sum(as_is) == 200
    assert 70 < sum(mirrored) < 130
    padded = F.pad(images.float(), (1, 1, 1, 1), mode="replicate").to(torch.uint8)
    seen = set()
    for one, source in zip(augmented(images, False, 0.3, torch.Generator().manual_seed(0)), padded, strict=True):
        places = [(y, x) for y in range(3) for x in range(3) if torch.equal(one, source[:, y : y + 4, x : x + 4])]
        assert places
        seen.update(places)
    assert len(seen) == 9  # every shift by up to round(0.3 · 4) = 1 pixel


# ------------------------------------------------------------------------------------------------------------- refusals
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"targets": ["ill"]}, "unknown target 'ill'; the column 'label' names .'abnormal', 'normal'"),
        ({"target_column": "finding"}, "no column 'finding'"),
        ({"batch_size": 61}, "60 images in the training part are too few"),
        ({"channels": [4] * 6}, "too small for 6 stages"),
        ({"architecture": "resnet50", "channels": None, "pretrained": "resnet50"}, "pretrained is 'resnet50', and the"),
        ({"holdout": 0.2}, "must be that file too"),
        ({"arm": "gan"}, "give both or none"),
        ({"size": [64, 64]}, r"less than the setting size, \[64, 64\]"),
    ],
)
def test_unusable_settings_are_refused(tmp_path, sets, changes, words):
    with pytest.raises(InputError, match=words):
        run(tmp_path / "a", sets, settings(**changes))
    assert not list((tmp_path / "a").iterdir())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": None}, "setting channels"),
        ({"architecture": "resnet50"}, "setting channels"),
        ({"pretrained": "resnet50"}, "no such weights of the small CNN"),
        ({"arm": "gan", "target_column": "findings"}, "the lists of arms give labels"),
        ({"size": [8, 16]}, r"size\[0\] is 8"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_refused(changes, words):
    with pytest.raises(InputError, match=words):
        settings(**changes)


@pytest.mark.parametrize(
    ("part", "label", "words"),
    [
        ("train", "normal", "the training part .* has no positive image of the target 'abnormal'"),
        ("train", "abnormal", "the training part .* has no negative image"),
        ("validation", "abnormal", "the validation part .* has no negative image"),
    ],
)
def test_a_part_with_one_class_is_refused(tmp_path, sets, part, label, words):
    write_image_set(tmp_path / "one.zip", [(f, p) for f, p in rows(80, "one", 1) if f["label"] == label])
    with pytest.raises(InputError, match=words):
        run(tmp_path / "a", sets | {part: tmp_path / "one.zip"})


def test_a_patient_in_both_parts_is_refused(tmp_path, sets):
    with pytest.raises(InputError, match="60 patients are in the training and in the validation part"):
        run(tmp_path / "a", {"train": sets["train"], "validation": sets["train"]})


def test_images_of_different_sizes_are_refused(tmp_path, sets):
    mixed = [*rows(40, "a", 1), *rows(2, "b", 1, size=40)]
    write_image_set(tmp_path / "mixed.zip", mixed)
    with pytest.raises(InputError, match=r"b000\.png has the shape \(1, 40, 40\) and the first image"):
        run(tmp_path / "a", sets | {"train": tmp_path / "mixed.zip"})
    image_set(tmp_path / "large.zip", 30, size=40)
    with pytest.raises(InputError, match="prepare them alike"):
        run(tmp_path / "a", sets | {"validation": tmp_path / "large.zip"})


def test_another_file_is_no_classifier(tmp_path, trained):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="no classifier"):
        load(tmp_path / "other.pt")
    with pytest.raises(InputError, match="no such file"):
        load(tmp_path / "absent.pt")
    content = torch.load(trained, weights_only=True)
    torch.save(content | {"format": 99}, tmp_path / "new.pt")
    with pytest.raises(InputError, match="format 99"):
        load(tmp_path / "new.pt")
    with pytest.raises(InputError, match="no output 'ill'; it has"):
        load(trained).position("ill")


# -------------------------------------------------------------------------------------------------------------- predict
def test_predict_writes_the_mean_over_seeds(tmp_path, sets, trained):
    out = tmp_path / "l.csv"
    predict(PredictSettings(7, 1, "cpu"), classifier=trained, images=sets["validation"], likelihoods=out)
    with open(out, newline="") as handle:
        found = list(csv.DictReader(handle))
    images = ImageSet(sets["validation"])
    expected = likelihoods(load(trained), images.pixels, 30).mean(axis=0)[:, 0]
    assert list(found[0]) == ["image", "abnormal"]
    assert [row["image"] for row in found] == images.column("image")
    assert [float(row["abnormal"]) for row in found] == pytest.approx(expected, abs=1e-6)


def test_an_embedding_is_what_the_last_layer_of_the_first_network_gets(tmp_path, sets, trained):
    out = tmp_path / "e.npz"
    embed(EmbedSettings(7, 1, "cpu"), classifier=trained, images=sets["validation"], out=out)
    found, judge, images = read_features(out).as_is(), load(trained), ImageSet(sets["validation"])
    assert found.names.tolist() == images.column("image")
    assert found.labels.tolist() == images.column("label")
    said = judge.models[0].head(torch.from_numpy(found.features)).double().sigmoid().numpy()
    assert len(judge.models) > 1, "of which the first is asked"
    assert said == pytest.approx(likelihoods(judge, images.pixels, 30)[0], abs=1e-5)


# ------------------------------------------------------------------------------------------------------------- networks
def test_the_last_map_of_the_small_cnn():
    torch.manual_seed(0)
    model = build("small_cnn", [4, 8, 16], 2, (1, 64, 64), 0.0)
    assert isinstance(model, SmallCNN)
    maps = []
    model.last_convolution.register_forward_hook(lambda module, inputs, output: maps.append(output))
    assert model(torch.zeros(3, 1, 64, 64)).shape == (3, 2)
    assert maps[0].shape == (3, 16, 8, 8)  # 64 / 2^3


def test_resnet50_takes_grey_images_and_published_weights(tmp_path):
    torch.manual_seed(0)
    model = build("resnet50", None, 6, (1, 32, 32), 0.0).eval()
    assert isinstance(model, ResNet50)
    # He et al. 2016: 25.6 million with 1000 classes; torchvision's 25,557,032 minus its last layer plus ours.
    assert sum(p.numel() for p in model.parameters()) == 25_557_032 - 2049 * 1000 + 2049 * 6
    grey = torch.rand(2, 1, 32, 32) * 2 - 1
    with torch.no_grad():
        logits = model(grey)
        assert logits.shape == (2, 6)
        assert torch.allclose(logits, model(grey.repeat(1, 3, 1, 1)), atol=1e-5)
        # ImageNet's statistics are for images in [0, 1].
        standardised = (grey.repeat(1, 3, 1, 1) / 2 + 0.5 - torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)) / (
            torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
        )
        assert torch.allclose(logits, model.net(standardised), atol=1e-4)

    published = {name: tensor + 1 for name, tensor in model.net.state_dict().items() if not name.startswith("fc.")}
    published |= {"fc.weight": torch.zeros(1000, 2048), "fc.bias": torch.zeros(1000)}
    torch.save(published, tmp_path / "resnet50.pt")
    state, _ = weight_files.load("resnet50", tmp_path / "resnet50.pt")
    model.load_imagenet(state)
    assert torch.equal(model.net.conv1.weight, published["conv1.weight"])
    assert torch.equal(model.net.layer4[2].bn3.running_var, published["layer4.2.bn3.running_var"])
    assert model.net.fc[1].weight.shape == (6, 2048)
    with pytest.raises(InputError, match=r"not the weights of ResNet-50: bn1\.bias"):
        model.load_imagenet({"conv1.weight": state["conv1.weight"]})
    with pytest.raises(InputError, match=r"grey \(1\) or RGB \(3\)"):
        build("resnet50", None, 1, (2, 32, 32), 0.0)


def test_efficientnet_b2_is_torchvisions_but_for_the_last_layer():
    """9,109,994 parameters with 1,000 classes (torchvision), of which the last layer has 1,409,000."""
    model = build("efficientnet_b2", None, 1, (3, 64, 64), 0.3).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == 9_109_994 - 1_409_000 + 1_409
    assert model(torch.zeros(2, 3, 64, 64)).shape == (2, 1)
    published = {name: torch.full_like(value, 0.5) for name, value in model.net.state_dict().items()}
    model.load_imagenet({name: value for name, value in published.items() if not name.startswith("classifier")})
    assert (next(model.net.parameters()) == 0.5).all()
    assert not (model.net.classifier[1].weight == 0.5).any()
    with pytest.raises(InputError, match="not the weights of EfficientNet-B2"):
        model.load_imagenet({})
