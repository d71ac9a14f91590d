"""StyleGAN2-ADA: the layer tables of seed 003 (appendix 6.1) and of its conditional kind, and what is not seen in one
training step of textbook/stylegan2.py."""

import dataclasses

import pytest
import torch
from tiny_configs import TINY

from synthmed.core.errors import InputError
from synthmed.core.provenance import PACKAGE
from synthmed.core.settings import parse
from synthmed.generators import stylegan2
from synthmed.generators.layers import layers
from synthmed.generators.stylegan2 import Config, Model
from synthmed.report.references.document import read_document
from synthmed.training.images import Batch

# Name, parameters, buffers, output of one image: as printed (":0" and ":1" there are two outputs of a block; the second
# has nothing of its own).
GENERATOR = """
mapping.fc0 262656 0 512
mapping.fc1 262656 0 512
mapping 0 512 512
synthesis.b4.conv1 2622465 32 512,4,4
synthesis.b4.torgb 264195 0 3,4,4
synthesis.b4 8192 16 512,4,4
synthesis.b8.conv0 2622465 80 512,8,8
synthesis.b8.conv1 2622465 80 512,8,8
synthesis.b8.torgb 264195 0 3,8,8
synthesis.b8 0 16 512,8,8
synthesis.b16.conv0 2622465 272 512,16,16
synthesis.b16.conv1 2622465 272 512,16,16
synthesis.b16.torgb 264195 0 3,16,16
synthesis.b16 0 16 512,16,16
synthesis.b32.conv0 2622465 1040 512,32,32
synthesis.b32.conv1 2622465 1040 512,32,32
synthesis.b32.torgb 264195 0 3,32,32
synthesis.b32 0 16 512,32,32
synthesis.b64.conv0 1442561 4112 256,64,64
synthesis.b64.conv1 721409 4112 256,64,64
synthesis.b64.torgb 132099 0 3,64,64
synthesis.b64 0 16 256,64,64
synthesis.b128.conv0 426369 16400 128,128,128
synthesis.b128.conv1 213249 16400 128,128,128
synthesis.b128.torgb 66051 0 3,128,128
synthesis.b128 0 16 128,128,128
synthesis.b256.conv0 139457 65552 64,256,256
synthesis.b256.conv1 69761 65552 64,256,256
synthesis.b256.torgb 33027 0 3,256,256
synthesis.b256 0 16 64,256,256
"""
DISCRIMINATOR = """
b256.fromrgb 256 16 64,256,256
b256.skip 8192 16 128,128,128
b256.conv0 36928 16 64,256,256
b256.conv1 73856 16 128,128,128
b256 0 16 128,128,128
b128.skip 32768 16 256,64,64
b128.conv0 147584 16 128,128,128
b128.conv1 295168 16 256,64,64
b128 0 16 256,64,64
b64.skip 131072 16 512,32,32
b64.conv0 590080 16 256,64,64
b64.conv1 1180160 16 512,32,32
b64 0 16 512,32,32
b32.skip 262144 16 512,16,16
b32.conv0 2359808 16 512,32,32
b32.conv1 2359808 16 512,16,16
b32 0 16 512,16,16
b16.skip 262144 16 512,8,8
b16.conv0 2359808 16 512,16,16
b16.conv1 2359808 16 512,8,8
b16 0 16 512,8,8
b8.skip 262144 16 512,4,4
b8.conv0 2359808 16 512,8,8
b8.conv1 2359808 16 512,4,4
b8 0 16 512,4,4
b4.mbstd 0 0 513,4,4
b4.conv 2364416 16 512,4,4
b4.fc 4194816 0 512
b4.out 513 0 1
"""
PAPER = Model.paper_config((3, 256, 256))


def table(text):
    rows = [line.split() for line in text.split("\n") if line]
    return {name: (int(a), int(b), tuple(map(int, shape.split(",")))) for name, a, b, shape in rows}


def build(shape=(3, 16, 16), classes=("benign",), **changes):
    torch.manual_seed(0)
    model = Model(parse(Config, TINY["stylegan2"]["config"] | changes), shape, classes)
    model.rng.manual_seed(0)
    model.total_steps = 100
    return model


def batch(count=4, shape=(3, 16, 16), seed=0, classes=1):
    images = torch.rand(count, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Batch(images, torch.arange(count) % classes)


# ------------------------------------------------------------------------------------------------------------- tables
@pytest.fixture(scope="module")
def found():
    # The same layers run at 256 px whatever the batch; what a step does besides is not needed here.
    model = Model(dataclasses.replace(PAPER, augmentation=None), (3, 256, 256), ("melanoma",))
    model.run_all_layers = torch.no_grad()(
        lambda given: model.discriminator(model.fakes(None, 1)[0], None) if len(given.images) else None
    )
    return layers(model)


@pytest.mark.parametrize(
    ("network", "printed", "total"),
    [("generator", GENERATOR, (23_191_522, 175_568)), ("discriminator", DISCRIMINATOR, (24_001_089, 416))],
    ids=["generator", "discriminator"],
)
def test_every_row_of_the_appendix_agrees(found, network, printed, total):
    ours = {layer.name: (layer.parameters, layer.buffers, layer.output) for layer in found if layer.network == network}
    wanted = table(printed)
    assert {name: ours[name] for name in wanted} == wanted
    assert {name for name in ours if ours[name][:2] != (0, 0)} <= wanted.keys()
    assert (sum(row[0] for row in ours.values()), sum(row[1] for row in ours.values())) == total
    document = read_document(PACKAGE / "report" / "references" / "melanoma.yaml")
    assert tuple(document.of("networks", "layers").rows[f"one_class/{network}"]) == total
    assert {layer.statistics for layer in found} == {0}, "filters, noise and w_avg are no statistics of BatchNorm"


def test_the_appendix_prints_14_positions_of_w():
    assert build((3, 256, 256)).generator.synthesis.layers == 14


def test_two_classes_have_the_parameters_of_the_conditional_networks():
    model = Model(PAPER, (3, 256, 256), ("benign", "melanoma"))
    counts = [sum(p.numel() for p in n.parameters()) for n in (model.generator, model.discriminator)]
    assert counts == [23_455_202, 26_366_016]


def test_the_documents_penalty_is_that_of_its_image_size():
    assert PAPER.r1_gamma == pytest.approx(0.8192)


# ------------------------------------------------------------------------------------------------------------- labels
def test_each_class_has_images_of_its_own_and_must_be_named():
    model = build(classes=("benign", "melanoma"))
    made = {}
    for label in model.classes:
        made[label] = model.sample(2, label, torch.Generator().manual_seed(1), None)
        model.label = label
        z = torch.randn(2, model.latent_size, generator=torch.Generator().manual_seed(1))
        assert torch.equal(model.synthesise(z), model.synthesise_w(model.w_of(z)))
    assert not torch.allclose(made["benign"], made["melanoma"])
    model.label = None
    with pytest.raises(InputError, match="say one"):
        model.synthesise(z)
    with pytest.raises(InputError, match="'naevus'"):
        model.sample(1, "naevus", torch.Generator(), None)


def test_one_class_needs_no_name():
    model = build()
    z = torch.zeros(1, model.latent_size)
    assert model.synthesise(z).shape == (1, 3, 16, 16)


# --------------------------------------------------------------------------------------------------------- w and noise
def test_w_is_pulled_to_its_mean_by_the_truncation():
    model = build()
    model.generator_ema.mapping.w_avg.fill_(0.5)
    z = torch.randn(3, model.latent_size)
    whole = model.w_of(z)
    model.truncation = 0.25
    assert torch.allclose(model.w_of(z), 0.5 + 0.25 * (whole - 0.5), atol=1e-6)
    model.truncation = 0.0
    assert torch.allclose(model.w_of(z), torch.full_like(whole, 0.5))


def test_the_mean_of_w_follows_the_drawn_ones():
    model = build()
    model.generator.mapping.w_avg.fill_(3.0)
    drawn = torch.randn(4, model.latent_size, generator=torch.Generator().manual_seed(0))
    w = model.generator.mapping(drawn, None)
    model.fakes(None, 4)
    assert torch.allclose(model.generator.mapping.w_avg, 0.995 * torch.tensor(3.0) + 0.005 * w.mean(dim=0), atol=1e-6)


def test_first_weights_are_those_of_z_without_the_label_and_of_w_in_every_layer():
    model, found = build(classes=("benign", "melanoma")), []
    mapping, synthesis = model.generator_ema.mapping, model.generator_ema.synthesis
    mapping.fc0.register_forward_hook(lambda _m, given, _o: found.append(given[0]))
    model.label = "benign"
    model.w_of(torch.randn(2, model.latent_size))
    (seen,) = found
    moved = seen[0] - seen[1]
    assert not moved[model.latent_size :].any()  # the label's part is the same
    of_z = model.first_weights("z")
    assert torch.allclose(moved[: model.latent_size] @ of_z.T, moved @ mapping.fc0.weight.T, atol=1e-4)
    w = torch.randn(2, model.latent_size)
    styles = torch.cat([layer.styles(w) for layer in synthesis.modules() if hasattr(layer, "styles")], dim=1)
    wanted = (w[0] - w[1]) @ model.first_weights("w").T / model.latent_size**0.5
    assert torch.allclose(styles[0] - styles[1], wanted, atol=1e-5)


def test_what_is_not_regularised_has_the_whole_step_size():
    rates = {
        name: [optimizer.param_groups[0]["lr"] for optimizer in build(**changes).optimizers.values()]
        for name, changes in {"paths": {"r1_gamma": 0.0}, "r1": {"path_weight": 0.0}}.items()
    }
    # 2e-3, times 2/3 where a step of regularisation follows every second one; generator, then discriminator
    assert rates == {"paths": pytest.approx([4e-3 / 3, 2e-3]), "r1": pytest.approx([2e-3, 4e-3 / 3])}


def test_samples_have_fresh_noise_and_syntheses_the_layers_own():
    model = build()
    for name, strength in model.generator_ema.named_parameters():
        if name.endswith("noise_strength"):
            strength.data.fill_(1.0)
    z = torch.randn(1, model.latent_size, generator=torch.Generator().manual_seed(1))
    (drawn,) = model.sample(1, "benign", torch.Generator().manual_seed(1), None)
    (own,) = model.synthesise(z)
    assert not torch.allclose(drawn, own)
    assert torch.equal(own, model.synthesise(z)[0])


def test_the_mean_path_length_follows_the_lengths():
    model, lengths, before = build(path_interval=1), [], 0.0
    for step in range(3):
        weight = model.config.path_weight
        model.train_step([batch(2, seed=step)])  # of two images one has a path length
        model.step += 1
        # penalty = weight · (length − before)²; the length is above the running mean, which begins at 0
        length = before + float(model.penalties[1] / weight) ** 0.5
        lengths.append(length)
        before = 0.99 * before + 0.01 * length
        assert float(model.path_length) == pytest.approx(before, rel=1e-4)
    assert min(lengths) > 0


def test_mixing_gives_later_layers_another_w():
    model = build(style_mixing=1.0)
    w = torch.zeros(50, model.latent_size)
    mixed = (model.mixed(w, None) != 0).any(dim=2)
    assert not mixed[:, 0].any()
    assert mixed[:, -1].all()
    assert (mixed[:, 1:] >= mixed[:, :-1]).all()
    assert len(set(mixed.sum(dim=1).tolist())) == model.generator.synthesis.layers - 1
    assert not (build(style_mixing=0.0).mixed(w, None) != 0).any()


# -------------------------------------------------------------------------------------------------------- augmentation
def test_reals_and_fakes_are_augmented_for_every_loss_but_path_length(monkeypatch):
    model = build()
    model.probability.p.fill_(0.25)
    seen = []
    monkeypatch.setattr(stylegan2, "augmented", lambda images, p, rng: seen.append((images, p)) or images * 0.5)
    given = []
    forward = model.discriminator.forward
    monkeypatch.setattr(
        model.discriminator, "forward", lambda images, labels: given.append(images) or forward(images, labels)
    )
    real = batch()
    model.train_step([real])
    assert [p for _, p in seen] == [0.25] * 4  # fakes of the generator's step; fakes, reals; reals of R1
    assert [torch.equal(images, real.images) for images, _ in seen] == [False, False, True, True]
    assert all(torch.equal(images * 0.5, after) for (images, _), after in zip(seen, given, strict=True))
    assert seen[3][0].requires_grad  # R1 is of the images before


def test_signs_of_reals_move_the_probability(monkeypatch):
    wanted = {"target": 0.6, "interval": 2, "kimg": 1.0, "kimg_after_transfer": 0.5}
    model, real = build(augmentation=wanted), batch()

    def scores(images, labels):
        return (1 if torch.equal(images, real.images) else -1) + 0 * model.discriminator(images, labels)

    monkeypatch.setattr(model, "scores", scores)
    for step, expected in enumerate([0.0, 0.008, 0.008, 0.016]):
        losses = model.train_step([real])
        model.step = step + 1
        assert float(model.probability.p) == pytest.approx(expected)
        assert float(losses["augmentation"]) == pytest.approx(expected)
    assert float(losses["real_signs"]) == 1.0


# --------------------------------------------------------------------------------------------------------- bad settings
@pytest.mark.parametrize("shape", [(3, 16, 32), (3, 4, 4), (3, 48, 48)])
def test_other_sizes_are_refused(shape):
    with pytest.raises(InputError, match="square images of 8, 16"):
        build(shape)


def test_a_batch_without_groups_is_refused():
    model = build(minibatch_group=4)
    assert [model.batch_size(size) for size in (2, 4, 6, 9)] == [2, 4, 6, 9]
    for size in (1, 5, 7):
        with pytest.raises(InputError, match="minibatch standard deviation"):
            model.batch_size(size)
    assert build(minibatch_group=1).batch_size(5) == 5
