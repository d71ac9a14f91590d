"""What is special about Pix2Pix: networks of two documents, its distances, who sees what, where noise comes from."""

import pytest
import torch
from tiny_configs import MASK_CHANNELS, TINY
from torch.nn import functional as F

from synthmed import generators
from synthmed.commands.describe import describe
from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.generators.pix2pix import Config, Discriminators, Model, loss_of_fake, loss_of_real
from synthmed.networks import vgg16
from synthmed.networks.perceptual import PerceptualLoss
from synthmed.training.images import Batch

SHAPE = (3, 16, 16)
AT_256 = [64, 128, 256, 512, 512, 512, 512, 512]


def config(**changes):
    return parse(Config, TINY["pix2pix"]["config"] | changes)


def build(shape=SHAPE, **changes):
    torch.manual_seed(0)
    model = Model(config(**changes), shape, ("nuclei",), MASK_CHANNELS)
    model.rng.manual_seed(0)
    return model


def batch(model, count=4, seed=0):
    rng = torch.Generator().manual_seed(seed)
    masks = torch.rand(count, MASK_CHANNELS, *model.image_shape[1:], generator=rng).round() * 2 - 1
    images = torch.rand(count, *model.image_shape, generator=rng) * 2 - 1
    return Batch(images, torch.zeros(count, dtype=torch.int64), masks)


def draw(model, masks, seed=1):
    return model.sample(len(masks), "nuclei", torch.Generator().manual_seed(seed), masks)


# -------------------------------------------------------------------------------------------------------- the networks
def test_describe_shows_the_counts_of_seed_002():
    changes = {"generator_channels": AT_256, "dropout_blocks": 3, "slope": 0.3, "scales": 1, "noise": ["channel"]}
    judges = {"discriminator": "image", "discriminator_channels": [64, 128, 256, 256, 256, 256]}
    settings = TINY["pix2pix"]["config"] | changes | judges
    table = describe("pix2pix", settings, (3, 256, 256), mask_channels=4)
    totals = [line.split() for line in table.splitlines() if line.split()[:1] == ["total"]]
    assert [words[1] for words in totals] == ["54,417,027", "3,814,657"]


def test_the_papers_settings_are_those_of_the_appendix():
    assert Model.paper_config((3, 256, 256)).generator_channels == tuple(AT_256)
    assert Model.paper_config((3, 256, 256)).dropout_blocks == 3
    assert Model.paper_config((3, 128, 128)).generator_channels == tuple(AT_256[:-1])
    assert Model.paper_config((3, 128, 128)).dropout_blocks == 2


@pytest.mark.parametrize("kind", ["patches", "image"])
def test_discriminators_see_mask_and_image_smaller_and_smaller(kind):
    sees = {"discriminator": kind, "discriminator_channels": [4], "scales": 3}
    network, given = Discriminators(config(**sees), MASK_CHANNELS + 3, (16, 32)), []
    for one in network.scales:
        one.register_forward_hook(lambda _module, inputs, _output: given.append(inputs[0]))
    masks, images = torch.randn(2, MASK_CHANNELS, 16, 32), torch.randn(2, 3, 16, 32)
    logits = network(masks, images)
    whole = torch.cat([masks, images], 1)
    for scale, seen in enumerate(given):
        assert torch.allclose(seen, F.avg_pool2d(whole, 2**scale) if scale else whole, atol=1e-6)
    assert [one.shape[1:] for one in logits] == (
        [(1, 7, 15), (1, 3, 7), (1, 1, 3)] if kind == "patches" else [(1,)] * 3
    )


def test_weights_are_drawn_as_the_paper_has_it():
    assert build(generator_channels=[64, 64]).generator.down[1].weight.std().item() == pytest.approx(0.02, rel=0.02)


def test_losses_by_hand():
    logits = [torch.tensor([[0.0, 2.0]]), torch.tensor([[-1.0]])]
    of_first, of_second = torch.sigmoid(logits[0]), torch.sigmoid(logits[1])
    assert loss_of_real(logits).item() == pytest.approx((-of_first.log().mean() - of_second.log()).item(), rel=1e-5)
    expected = -(1 - of_first).log().mean() - (1 - of_second).log()
    assert loss_of_fake(logits).item() == pytest.approx(expected.item(), rel=1e-5)


# -------------------------------------------------------------------------------------------------------- the training
def test_the_discriminator_is_shown_each_mask_with_its_image_and_never_the_noise():
    model = build(noise=["channel"], scales=1)
    given, painted = [], []
    model.discriminator.scales[0].register_forward_hook(lambda _m, inputs, _o: given.append(inputs[0].detach()))
    model.generator.register_forward_hook(lambda _m, inputs, output: painted.append((inputs[0], output.detach())))
    one = batch(model)
    model.train_step([one])
    ((seen, logits),) = painted
    assert torch.equal(seen[:, :-1], one.masks)
    assert seen[:, -1].std() == pytest.approx(1, abs=0.1)
    real, fake, again = given
    assert torch.equal(real, torch.cat([one.masks, one.images], 1))
    assert torch.equal(fake, torch.cat([one.masks, torch.tanh(logits)], 1))
    assert torch.equal(again, fake)


@pytest.mark.parametrize("weight", [0.0, 10.0])
def test_l1_is_there_where_it_has_a_weight(weight):
    assert ("l1" in build(l1_weight=weight).train_step([batch(build())])) == (weight > 0)


def squares(seed, count=8):
    rng = torch.Generator().manual_seed(seed)
    return F.interpolate(torch.rand(count, MASK_CHANNELS, 4, 4, generator=rng).round() * 2 - 1, scale_factor=4)


def test_training_brings_images_near_those_of_their_masks():
    """The L1 term alone can do this; turned round, or with another mask's image, it could not."""
    model = build(learning_rate=5e-3, ema_decay=0.0, l1_weight=100.0, noise=[], dropout=0.0, dropout_blocks=0)
    for step in range(100):
        masks = squares(step)
        model.train_step([Batch(masks, torch.zeros(8, dtype=torch.int64), masks)])  # the image is the mask
        model.step = step + 1
    fresh = squares(1000)
    assert (draw(model, fresh) - fresh).abs().mean() < 0.2
    assert (draw(model, fresh) - fresh.roll(1, 0)).abs().mean() > 0.8


@pytest.fixture(scope="module")
def vgg16_file(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "vgg16.pt"
    torch.save({f"features.{name}": value for name, value in vgg16.convolutions().state_dict().items()}, path)
    return path


def test_perceptual_loss_is_equation_4_11(vgg16_file):
    state = torch.load(vgg16_file)
    a, b = torch.rand(2, 2, 3, 16, 16, generator=torch.Generator().manual_seed(2)) * 2 - 1

    def maps(x):
        mean = torch.tensor([-0.030, -0.088, -0.188]).view(1, 3, 1, 1)
        x, found = (x - mean) / torch.tensor([0.458, 0.448, 0.450]).view(1, 3, 1, 1), []
        for numbers in ((0, 2), (5, 7), (10, 12, 14)):
            x = F.max_pool2d(x, 2) if found else x
            for n in numbers:
                x = F.relu(F.conv2d(x, state[f"features.{n}.weight"], state[f"features.{n}.bias"], padding=1))
            found.append(x)
        return found

    errors = [(ours - theirs).abs().mean() for ours, theirs in zip(maps(a), maps(b), strict=True)]
    two = PerceptualLoss(vgg16_file, {"relu1_2": 100.0, "relu2_2": 200.0})(a, b)
    assert two.item() == pytest.approx(((100 * errors[0] + 200 * errors[1]) / 2).item(), rel=1e-4)
    last = PerceptualLoss(vgg16_file, {"relu3_3": 300.0})(a, b)
    assert last.item() == pytest.approx((300 * errors[2]).item(), rel=1e-4)


def test_perceptual_loss_trains_the_generator_in_the_place_of_l1(vgg16_file):
    layers = {"relu1_2": 100.0, "relu2_2": 200.0}
    model = build(perceptual_layers=layers, perceptual_weights=str(vgg16_file), l1_weight=0.0, noise=[], dropout=0.0)
    kept = set(model.state_dict())
    one, painted = batch(model), []
    model.generator.register_forward_hook(lambda _m, _i, output: painted.append(torch.tanh(output.detach())))
    losses = model.train_step([one])
    assert set(losses) == {"discriminator_real", "discriminator_fake", "adversarial", "perceptual"}
    expected = PerceptualLoss(vgg16_file, layers)(painted[0], one.images)
    assert losses["perceptual"].item() == pytest.approx(expected.item(), rel=1e-5)
    without = build(l1_weight=0.0, noise=[], dropout=0.0)
    without.train_step([one])
    both = (model.generator.last.weight.grad, without.generator.last.weight.grad)
    assert not torch.allclose(*both)
    assert set(model.state_dict()) == kept  # VGG16 belongs to no checkpoint
    assert not any("vgg" in name or "perceptual" in name for name in kept)


def test_distances_are_weighted_and_move_the_generator_alone(vgg16_file):
    layers = {"relu1_2": 1.0}
    model = build(perceptual_layers=layers, perceptual_weights=str(vgg16_file), l1_weight=7.0)
    images = torch.rand(2, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1
    fakes = (0.5 * images).requires_grad_()
    found = model._distances(fakes, images)
    assert found["l1"].item() == pytest.approx(7 * (0.5 * images).abs().mean().item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(found["perceptual"], fakes)
    assert gradient.abs().max() > 0
    assert not any(one.requires_grad for one in model._perceptual[0].parameters())


# -------------------------------------------------------------------------------------------------------- the samples
@pytest.mark.parametrize("noise", [[], ["channel"], ["dropout"], ["channel", "dropout"]])
def test_a_mask_has_one_image_without_noise_and_many_with(noise):
    model = build(noise=noise)
    model.train_step([batch(model)])
    masks = batch(model).masks[:1].expand(3, -1, -1, -1)
    images = draw(model, masks)
    assert torch.equal(draw(model, masks), images)
    assert bool((images[0] == images[1]).all()) == (not noise)
    assert bool((draw(model, masks, seed=2) == images).all()) == (not noise)
    assert ("noise" in model.needs) == bool(noise)
    assert generators.needs("pix2pix", TINY["pix2pix"]["config"] | {"noise": noise}) == model.needs


def test_noise_and_dropout_are_switched_apart():
    model = build(noise=["channel", "dropout"])
    model.train_step([batch(model)])
    masks, noise = batch(model).masks, torch.randn(4, 1, 16, 16)

    def painted(noise, seed):
        return model.paint(masks, noise, None if seed is None else torch.Generator().manual_seed(seed))

    assert torch.equal(painted(noise, None), painted(noise, None))
    assert not torch.equal(painted(noise, None), painted(-noise, None))
    assert not torch.equal(painted(noise, 1), painted(noise, None))
    assert not torch.equal(painted(noise, 1), painted(noise, 2))
    wanted = noise.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(painted(wanted, None)[0].sum(), wanted)
    assert gradient[0].abs().max() > 0
    assert gradient[1:].abs().max() == 0  # running statistics: an image depends on its own noise and mask only


def test_an_image_depends_on_its_own_mask_only():
    model = build(noise=[])
    model.train_step([batch(model)])
    masks = batch(model).masks
    assert torch.allclose(draw(model, masks)[1:2], draw(model, masks[1:2]), atol=1e-5)
    assert not torch.allclose(draw(model, masks)[:1], draw(model, masks[1:2]), atol=1e-3)


# ------------------------------------------------------------------------------------------------------------ bad input
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"generator_channels": [4] * 5}, "generator_channels has 5 entries.*multiples of 32 px, not 16×16"),
        ({"dropout_blocks": 3}, "dropout_blocks is 3, but the decoder of 3 widths has 2 blocks"),
        ({"dropout": 0.0}, "names dropout, but nothing is dropped"),
        ({"dropout_blocks": 0}, "names dropout, but nothing is dropped"),
        ({"discriminator_channels": [4, 4, 4]}, "has 3 entries, too many for the 8×8 px that the smallest"),
        ({"discriminator": "image", "discriminator_channels": [4] * 4}, "too many for the 8×8 px"),
        ({"discriminator_last_stride": 1, "discriminator_channels": [4] * 4}, "too many for the 16×16 px"),
        ({"perceptual_layers": {"relu1_2": 1.0}}, "needs layers and a file of weights"),
        ({"perceptual_weights": "vgg16.pt"}, "needs layers and a file of weights"),
        ({"perceptual_weights": "no.pt", "perceptual_layers": {"relu1_2": 1.0}}, r"no\.pt: no such weights file"),
    ],
)
def test_impossible_settings_are_refused(changes, said):
    with pytest.raises(InputError, match=said):
        build(**changes)


@pytest.mark.parametrize(
    ("shape", "changes", "least"),
    [
        (SHAPE, {}, 1),
        ((3, 8, 8), {}, 2),
        ((3, 8, 8), {"inner_norm": False}, 1),
        ((3, 8, 16), {}, 1),
        (SHAPE, {"discriminator": "image", "discriminator_channels": [4, 4, 4]}, 2),
        (SHAPE, {"discriminator": "image", "discriminator_channels": [4, 4, 4], "scales": 1}, 1),
        (SHAPE, {"discriminator_channels": [4, 4]}, 1),
    ],
)
def test_one_image_is_a_batch_where_every_norm_has_more_than_one_number(shape, changes, least):
    model = build(shape, **changes)
    if least == 2:
        with pytest.raises(InputError, match="batch_size is 1, but BatchNorm"):
            model.batch_size(1)
        with pytest.raises(ValueError, match="more than 1 value"):
            model.train_step([batch(model, 1)])
    assert model.batch_size(least) == least
    model.train_step([batch(model, least)])


def test_without_a_mask_there_is_no_image():
    with pytest.raises(InputError, match="one mask for each of the 2 images"):
        build().sample(2, "nuclei", torch.Generator(), None)
