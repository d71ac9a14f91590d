"""SinGAN: the document's numbers, many patches as one model, samples that begin at any scale, the steps as a whole."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny_configs import TINY

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.generators import singan
from synthmed.generators.layers import layers
from synthmed.generators.sampling import SampleSettings, load_generator, sample
from synthmed.generators.train import TrainSettings, train
from synthmed.training.images import Batch

TINY_CONFIG = TINY["singan"]["config"]
DOCUMENT = TINY_CONFIG | {"coarsest": 16, "kernels": 32, "discriminator_steps": 3, "generator_steps": 3}


def images(count, side=24, channels=1, seed=0):
    """Smooth random images, no two alike."""
    coarse = torch.rand(count, channels, 5, 5, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, (side, side), mode="bicubic").clamp(-1, 1)


def build(given, steps, seed=0, **changes):
    torch.manual_seed(seed)
    model = singan.Model(parse(singan.Config, TINY_CONFIG | changes), tuple(given.shape[1:]), ("tissue",))
    model.plan([given], steps)
    model.rng.manual_seed(seed)
    return model


def trained(model, given):
    """The whole training, with the images in turn as the loop gives them."""
    turn = 0
    while model.step < model.total_steps:
        count = model.batch_size(99)
        model.train_step([Batch(given[turn : turn + count], torch.zeros(count))])
        turn = (turn + count) % len(given)
        model.step += 1
    return model


def test_networks_have_the_documents_sizes():
    model = singan.Model(parse(singan.Config, DOCUMENT), (3, 256, 256), ("tumour",))
    assert model.sizes == [(16, 16), (32, 32), (64, 64), (128, 128), (256, 256)]
    counts = {}
    for layer in layers(model):
        counts[layer.network] = counts.get(layer.network, 0) + layer.parameters
    assert counts == {"generator": 29763, "discriminator": 29185}


@pytest.mark.parametrize(
    ("shape", "coarsest", "factor", "sizes"),
    [
        (
            (3, 250, 188),
            25,
            0.75,
            [(33, 25), (44, 33), (59, 45), (79, 59), (105, 79), (141, 106), (188, 141), (250, 188)],
        ),
        ((1, 48, 64), 12, 0.5, [(12, 16), (24, 32), (48, 64)]),
        ((1, 16, 16), 16, 0.5, [(16, 16)]),
    ],
)
def test_scales_go_from_the_coarsest_to_the_size_of_the_images(shape, coarsest, factor, sizes):
    model = singan.Model(parse(singan.Config, TINY_CONFIG | {"coarsest": coarsest, "factor": factor}), shape, ("a",))
    assert model.sizes == sizes


def test_the_first_step_of_each_scale_stands_where_the_groups_say():
    model = build(images(5), 7, group_sizes=[2, 5])
    # 7 iterations of two scales, 3 and 4; of groups of 2, 2 and 1, then of one of all five.
    assert model.total_steps == 3 * 3 + 4
    found = [dataclasses.astuple(model.place(step)) for step in range(model.total_steps)]
    assert found[:9] == [(0, iteration, 3, group) for iteration in range(3) for group in range(3)]
    assert found[9:] == [(1, iteration, 4, 0) for iteration in range(4)]
    model.step = 2
    assert model.batch_size(5) == 1


def test_many_patches_at_once_are_each_trained_as_alone(monkeypatch):
    """The same first weights and noise: a patch gets the same networks in a group of any size, or alone.

    In double precision, to 1e-6 of [-1, 1]: what differs is the order of sums, 1e-16 of a gradient. In single precision
    Adam makes a step of full size of the rounding that is left where a gradient is 0, as of biases before a norm, which
    the running mean follows with a delay.
    """
    given, steps, label = images(5).double(), 4, "tissue"
    numbers = {}

    def of_patch(function, count, *shape, generator):
        """What is drawn for a patch depends on the step and on the patch, not on who is trained with it."""
        place = model.place(model.step)
        numbers[place] = numbers.get(place, -1) + 1
        seeds = [
            [place.scale, place.iteration, numbers[place], patch]
            for patch in known[model._groups(place.scale)[place.group]]
        ]
        seeds = [int(np.random.SeedSequence(seed).generate_state(1)[0]) for seed in seeds]
        drawn = [function(shape, generator=torch.Generator().manual_seed(seed)) for seed in seeds]
        return torch.stack(drawn).double()

    monkeypatch.setattr("synthmed.training.distributed.draw", of_patch)
    model, known = build(given, steps, group_sizes=[3, 2]).double(), list(range(5))
    first = {name: singan.joined(getattr(model, name)) for name in ("generator", "discriminator")}
    together = trained(model, given)
    noise = torch.Generator()
    for patch in known[:]:
        image, numbers, known = given[patch : patch + 1], {}, [patch]
        model = build(image, steps, group_sizes=[1]).double()
        model._regroup(0, *(singan.taken(first[name], 5, slice(patch, patch + 1)) for name in first))
        trained(model, image)
        found, expected = (one.sample(1, label, noise.manual_seed(5), image) for one in (together, model))
        assert (found - expected).abs().max() < 1e-6
        assert torch.allclose(together.amplitudes[:, patch], model.amplitudes[:, 0], rtol=1e-6)
        of_another = together.sample(1, label, noise.manual_seed(5), given[patch - 1 : patch] if patch else given[4:])
        assert (found - of_another).abs().max() > 0.01


def numbers(state):
    """How many numbers the tensors of a state hold, but for single ones."""
    if isinstance(state, torch.Tensor):
        return state.numel() if state.ndim else 0
    return sum(map(numbers, state.values())) if isinstance(state, dict) else 0


def test_what_is_kept_of_a_patch_is_what_the_page_says():
    """docs/singan.md reckons the memory of 400 patches at five scales with these numbers."""
    kept, saved = {}, {}
    for count in (1, 3):
        model = trained(
            build(images(count, side=32, channels=3), 2, coarsest=16, kernels=32, group_sizes=[2]), images(count, 32, 3)
        )
        state = model.training_state()
        kept[count] = numbers(state["modules"]) + numbers(state["optimizers"])
        saved[count] = numbers(model.inference_state())
    # Both networks with their running statistics and moments; the generator of the finished scale; the patch at 16 px,
    # z*, and the strength of the noise at both scales.
    networks, running, patch = 29763 + 29185, 4 * 2 * 32, 2 * 3 * 16**2 + 2
    assert (kept[3] - kept[1]) / 2 == 3 * networks + 2 * running + 29763 + running + patch
    assert (saved[3] - saved[1]) / 2 == 2 * (29763 + running) + patch


@pytest.mark.parametrize("count", [1, 2])
def test_patches_in_channels_last_are_trained_like_others(count):
    given, losses = images(count, side=32, channels=3), {}
    for memory_format in (torch.contiguous_format, torch.channels_last):
        model = build(given, 2, group_sizes=[2], coarsest=16, kernels=32).to(memory_format=memory_format)
        batch = Batch(given.contiguous(memory_format=memory_format), torch.zeros(count))
        for model.step in range(2):
            losses[memory_format, model.step] = model.train_step([batch])
        assert model.generator[0][3].weight.is_contiguous(memory_format=memory_format)
    for step in range(2):
        found, expected = losses[torch.channels_last, step], losses[torch.contiguous_format, step]
        for name, loss in found.items():
            assert loss.item() == pytest.approx(expected[name].item(), rel=1e-2, abs=1e-3), name


def test_samples_begin_with_the_image_of_the_scale_before():
    given = images(3)
    model = trained(build(given, 4, group_sizes=[2]), given)
    noise, seen = torch.Generator(), []
    finished = model._finished
    model._finished = lambda scale, rows, noise, before: (
        seen.append((scale, before)) or finished(scale, rows, noise, before)
    )
    drawn = {}
    for model.start_scale in (0, 1):
        seen.clear()
        drawn[model.start_scale] = model.sample(3, "tissue", noise.manual_seed(1), given)
        assert [scale for scale, _ in seen] == list(range(model.start_scale, 2))
        of_12 = torch.nn.functional.interpolate(given, (12, 12), mode="bilinear", antialias=True)
        enlarged = torch.nn.functional.interpolate(of_12, (24, 24), mode="bilinear")
        before = torch.zeros(3, 1, 12, 12) if model.start_scale == 0 else enlarged
        assert torch.allclose(seen[0][1], before, atol=1e-6)
    assert (drawn[1] - given).abs().mean() < (drawn[0] - given).abs().mean()
    model.start_scale = 2
    with pytest.raises(
        InputError, match=r"start_scale is 2; singan has the scales 0 \(the coarsest\) to 1 on images of 24"
    ):
        model.sample(3, "tissue", noise, given)


def test_a_sample_is_of_the_patch_that_is_asked_for():
    given = images(4)
    model, grey = trained(build(given, 2), given), torch.tensor([-0.1, 0.0, 0.2, 0.3])
    last, order = model.generator[0][12], [2, 0, 3, 3, 1]
    with torch.no_grad():  # at either scale a patch adds its own grey
        for layer in (last, model.scales[0][12]):
            layer.weight.zero_()
            layer.bias.copy_(grey.atanh())
    drawn = model.sample(5, "tissue", torch.Generator().manual_seed(0), given[order])
    assert torch.allclose(drawn, 2 * grey[order, None, None, None].expand_as(drawn), atol=1e-6)
    with pytest.raises(InputError, match="1 of 2 images are none of the 4 that this SinGAN was trained on"):
        model.sample(2, "tissue", torch.Generator(), torch.cat([given[:1], given[:1] + 0.01]))


def test_images_need_not_be_square():
    given = images(2, side=32)[:, :, :24]
    model = trained(build(given, 2), given)
    assert model.sizes == [(12, 16), (24, 32)]
    assert model.sample(2, "tissue", torch.Generator(), given).shape == (2, 1, 24, 32)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"coarsest": 10}, "coarsest is 10; five convolutions need 11 px or more, and the images have 24×24"),
        ({"coarsest": 25}, "coarsest is 25; five convolutions"),
    ],
)
def test_scales_that_there_cannot_be_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        build(images(2), 4, **changes)


def test_plans_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="setting steps is 1, but there are 2 scales"):
        build(images(2), 1)
    with pytest.raises(InputError, match="batch_size is 3, but group_sizes has 4; raise the one or lower the other"):
        build(images(5), 2).batch_size(3)
    with pytest.raises(InputError, match="cannot begin with those of another training"):
        build(images(2), 2).initialise_from(build(images(2), 2))


# ------------------------------------------------------------------------------------------------- the steps as a whole
LOOP = {
    "steps": 4, "batch_size": 3, "size": None, "masks": None, "accumulate": 1, "precision": "fp32", "flip": False,
    "channels_last": False, "threads": 1, "processes": 1, "log_every": 2, "sample_every": 7, "save_every": 4,
    "jitter": None, "keep_every": 5, "device": "cpu",
}  # fmt: skip


def training(**loop):
    values = {"model": "singan", "classes": ["normal", "tumour"], "labels": ["tumour", "normal"], "learns": "images"}
    config = TINY_CONFIG | {"group_sizes": [3, 2]}
    return parse(TrainSettings, values | {"seed": 1, "config": config, "training": LOOP | loop})


@pytest.fixture
def patches(tmp_path):
    pixels = ((images(8, channels=3) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    labels = ["tumour", "normal"] * 4
    rows = [
        ({"image": f"p{i}.png", "label": label, "patient": f"{i // 2}"}, image)
        for i, (label, image) in enumerate(zip(labels, pixels, strict=True))
    ]
    write_image_set(tmp_path / "train.zip", rows)
    return tmp_path / "train.zip"


def outputs(folder):
    folder.mkdir()
    names = {"checkpoint": "c.pt", "history": "h.csv", "samples": "s.png", "states": "states.zip"}
    return {name: folder / file for name, file in names.items()}


def test_stopped_in_the_middle_of_a_scale_it_goes_on_bit_for_bit(patches, tmp_path, monkeypatch):
    whole, stopped = outputs(tmp_path / "whole"), outputs(tmp_path / "stopped")
    train(training(), images=patches, **whole)
    step = singan.Model.train_step

    def failing(model, batches):
        if model.step == 9:  # 6 steps at 12 px (2 iterations of groups of 3, 3, 2), 3 at 24 px (groups of 2)
            raise RuntimeError("power cut")
        return step(model, batches)

    monkeypatch.setattr(singan.Model, "train_step", failing)
    with pytest.raises(RuntimeError, match="power cut"):
        train(training(), images=patches, **stopped)
    assert (tmp_path / "stopped" / "c.resume.pt").exists()
    monkeypatch.setattr(singan.Model, "train_step", step)
    train(training(), images=patches, **stopped)
    for name in whole:
        assert whole[name].read_bytes() == stopped[name].read_bytes(), name
    assert load_generator(whole["checkpoint"]).step == 6 + 8


@pytest.mark.parametrize(
    ("loop", "said"),
    [
        ({"flip": True}, "set training.flip to false and training.jitter to null"),
        ({"jitter": 1.2}, "set training.flip to false and training.jitter to null"),
        ({"accumulate": 2}, "accumulate is 2, but singan learns each image by itself; set it to 1"),
    ],
)
def test_images_that_are_not_as_they_are_are_refused(patches, tmp_path, loop, said):
    with pytest.raises(InputError, match=said):
        train(training(**loop), images=patches, **outputs(tmp_path / "out"))


def sampling(**changes):
    values = {
        "samples": {"tumour": 6, "normal": 2}, "batch_size": 4, "threads": 1, "device": "cpu", "model": "singan",
        "generator": "sin", "classes": ["normal", "tumour"], "trainings": {"all": ["tumour", "normal"]}, "repeats": 1,
        "seed": 3, "truncation": None, "start_scale": None,
    }  # fmt: skip
    return parse(SampleSettings, values | changes)


def test_one_training_of_several_classes_gives_samples_with_label_and_origin(patches, tmp_path):
    made = outputs(tmp_path / "out")
    train(training(), images=patches, **made)
    real, drawn = ImageSet(patches), {}
    for start in (None, 0, 1):
        drawn[start] = tmp_path / f"{start}.zip"
        sample(sampling(start_scale=start), checkpoints=[made["checkpoint"]], images=patches, synthetic=drawn[start])
    assert drawn[None].read_bytes() == drawn[0].read_bytes() != drawn[1].read_bytes()
    found = ImageSet(drawn[1])
    labels = dict(zip(real.column("image"), real.column("label"), strict=True))
    assert [labels[row["origin"]] for row in found.rows] == [row["label"] for row in found.rows]
    tumours = [row["origin"] for row in found.rows if row["label"] == "tumour"]
    assert len(tumours) == 6
    assert set(tumours) == {name for name, label in labels.items() if label == "tumour"}  # each before any again
    near = ImageSet(drawn[1])[0].astype(float)
    origin = real[real.column("image").index(found.rows[0]["origin"])].astype(float)
    others = [real[row].astype(float) for row in range(8) if real.rows[row]["image"] != found.rows[0]["origin"]]
    assert np.abs(near - origin).mean() < min(np.abs(near - other).mean() for other in others)


def test_scales_that_it_does_not_have_are_refused(patches, tmp_path):
    made = outputs(tmp_path / "out")
    train(training(), images=patches, **made)
    with pytest.raises(InputError, match="start_scale is 9; singan has the scales 0"):
        sample(sampling(start_scale=9), checkpoints=[made["checkpoint"]], images=patches, synthetic=tmp_path / "s.zip")
    assert not (tmp_path / "s.zip").exists()
