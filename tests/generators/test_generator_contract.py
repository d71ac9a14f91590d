"""What every generator of the registry must do. A new one is covered as soon as it has an entry in tiny_configs."""

import dataclasses

import pytest
import torch
from tiny_configs import MASK_CHANNELS, TINY

from synthmed import generators
from synthmed.commands.describe import describe
from synthmed.core.errors import InputError
from synthmed.core.settings import parse, schema
from synthmed.generators.base import Generator
from synthmed.generators.layers import layers
from synthmed.training.checkpoint import Checkpoint, load, save
from synthmed.training.images import Batch

CLASSES = ("normal", "abnormal")

pytestmark = pytest.mark.parametrize("name", sorted(generators.GENERATORS))


@pytest.fixture(autouse=True)
def deterministic():
    torch.set_deterministic_debug_mode("error")
    torch.utils.deterministic.fill_uninitialized_memory = False
    yield
    torch.set_deterministic_debug_mode("default")


def build(name, seed=0, total_steps=10):
    model_class = generators.load(name)
    tiny = TINY[name]
    torch.manual_seed(seed)
    classes = CLASSES if "image" in model_class.needs else CLASSES[:1]
    config = parse(model_class.Config, tiny["config"])
    model = model_class(config, tiny["shape"], classes, *mask_channels(model_class))
    model.rng.manual_seed(seed)
    model.plan((batch.images for batch in batches(model)), total_steps)
    return model


def mask_channels(model_class):
    return [MASK_CHANNELS] if "mask" in model_class.needs else []


def without_dropout(model):
    """Dropout draws its mask in the order of memory, so layouts and precisions can be compared only without it."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.p = 0.0
    return model


def without_random_weights(model):
    """Spectral norm changes the weights in every forward pass in training."""
    for module in without_dropout(model).modules():
        if torch.nn.utils.parametrize.is_parametrized(module, "weight"):
            torch.nn.utils.parametrize.remove_parametrizations(module, "weight")
    return model


def batches(model, count=1, size=4, seed=0):
    """`count` micro-batches of smooth random images."""
    rng = torch.Generator().manual_seed(seed)
    groups = len(model.classes) if "image" in model.needs else 1
    made = []
    for _ in range(count):
        coarse = torch.rand((size * groups, model.image_shape[0], 4, 4), generator=rng) * 2 - 1
        images = torch.nn.functional.interpolate(coarse, model.image_shape[1:], mode="bilinear")
        masks = torch.rand((size, model.mask_channels, *model.image_shape[1:]), generator=rng).round() * 2 - 1
        labels = torch.arange(groups).repeat_interleave(size)
        made.append(Batch(images, labels, masks if "mask" in model.needs else None))
    return made


def steps(model, first, last):
    """Training steps first … last − 1, each on its own batch; returns the losses of each."""
    losses = []
    for step in range(first, last):
        losses.append(model.train_step(batches(model, seed=step)))
        model.step = step + 1
    return losses


def draw(model, count=3, seed=5):
    label = model.classes[0]
    given = batches(model, size=count, seed=9)[0]
    source = given.images[:count] if "image" in model.needs else given.masks
    if "origin" in model.needs:
        source = batches(model)[0].images[:count]  # those that it was told of
    return model.sample(count, label, torch.Generator().manual_seed(seed), source)


def test_samples_have_the_shape_and_range_of_images(name):
    model = build(name)
    steps(model, 0, 1)
    samples = draw(model)
    assert samples.shape == (3, *model.image_shape)
    assert samples.dtype == torch.float32
    assert not samples.requires_grad
    assert samples.abs().max() <= 1
    assert samples.std() > 0


def test_samples_depend_on_the_noise_given_and_on_nothing_else(name):
    model = build(name)
    steps(model, 0, 1)
    before = model.rng.get_state().clone()
    first = draw(model)
    torch.rand(3)  # the global RNG must not matter
    assert torch.equal(first, draw(model))
    assert torch.equal(before, model.rng.get_state())
    if "image" not in model.needs:
        assert not torch.equal(first, draw(model, seed=6))


def test_steps_are_finite_and_give_every_parameter_a_gradient(name):
    model = build(name)
    trained = {id(p) for o in model.optimizers.values() for group in o.param_groups for p in group["params"]}
    without = {path for path, parameter in model.named_parameters() if id(parameter) in trained}
    assert without
    for step in range(10):  # more than one for a model that grows
        (losses,) = steps(model, step, step + 1)
        assert losses
        for loss in losses.values():
            assert loss.ndim == 0
            assert not loss.requires_grad
            assert torch.isfinite(loss)
        for path, parameter in model.named_parameters():
            assert (id(parameter) in trained) == parameter.requires_grad, path
            if parameter.grad is not None:
                assert torch.isfinite(parameter.grad).all(), path
                without.discard(path)
        if not without:
            break
    assert not without, "got no gradient"


def test_saved_and_resumed_equals_uninterrupted_bit_for_bit(name, tmp_path):
    whole = build(name)
    expected = steps(whole, 0, 5)

    before = build(name)
    steps(before, 0, 2)
    rng = torch.get_rng_state()
    torch.save(before.training_state(), tmp_path / "state.pt")
    after = build(name, seed=77)  # other weights: everything must come from the state
    after.load_training_state(torch.load(tmp_path / "state.pt", weights_only=True))
    torch.set_rng_state(rng)
    assert after.step == 2
    continued = steps(after, 2, 5)

    assert [{key: float(value) for key, value in row.items()} for row in continued] == [
        {key: float(value) for key, value in row.items()} for row in expected[2:]
    ]
    for key, value in whole.state_dict().items():
        assert torch.equal(value, after.state_dict()[key]), key
    assert torch.equal(draw(whole), draw(after))


def test_a_latent_vector_makes_the_same_image_in_any_batch_and_has_a_gradient(name):
    model = build(name)
    if model.latent_size is None:
        with pytest.raises(InputError, match="no latent vector"):
            model.synthesise(torch.zeros(1, 1))
        return
    steps(model, 0, 3)
    z = torch.randn(3, model.latent_size, generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    images = model.synthesise(z)
    assert images.shape == (3, *model.image_shape)
    assert images.dtype == torch.float32
    assert images.abs().max() <= 1
    assert torch.allclose(model.synthesise(z[1:2]), images[1:2], atol=1e-5)
    (gradient,) = torch.autograd.grad(images[0].sum(), z)
    assert gradient[0].abs().max() > 0
    assert gradient[1:].abs().max() == 0


def test_first_weights_are_what_a_latent_vector_is_multiplied_by(name):
    model, found = build(name), []
    if type(model).first_weights is Generator.first_weights:  # SeFa is then refused
        assert name not in ("dcgan", "fastgan", "pggan", "stylegan2")
        with pytest.raises(InputError, match="does not say which weights"):
            model.first_weights("z")
        return
    z = torch.randn(2, model.latent_size, generator=torch.Generator().manual_seed(1))
    z /= z.square().mean(dim=1, keepdim=True).sqrt()  # some models bring it to this length themselves
    for module in model.generator_ema.modules():
        module.register_forward_hook(lambda _m, _i, output: found.append(output[0].flatten() - output[1].flatten()))
        module.activate = False  # StyleGAN2's dense layers contain their activation
    model.synthesise(z)
    wanted = (z[0] - z[1]) @ model.first_weights("z").T
    alike = [torch.cosine_similarity(one, wanted, dim=0) for one in found if one.shape == wanted.shape]
    assert max(alike) > 1 - 1e-5


def test_discriminator_features_are_there_when_the_checkpoint_has_them(name):
    model = build(name)
    images = batches(model)[0].images[:2].requires_grad_(True)
    if "discriminator" not in model.inference_modules:
        with pytest.raises(InputError, match="hold no discriminator"):
            model.discriminator_features(images)
        return
    steps(model, 0, 3)
    features = model.discriminator_features(images)
    assert features.ndim == 2
    assert features.dtype == torch.float32
    assert torch.allclose(model.discriminator_features(images[1:]), features[1:], atol=1e-5)
    (gradient,) = torch.autograd.grad(features[0].sum(), images)
    assert gradient[0].abs().max() > 0
    assert gradient[1:].abs().max() == 0


def test_checkpoint_brings_back_the_samples(name, tmp_path):
    model = build(name)
    steps(model, 0, 2)
    content = Checkpoint(
        name, dataclasses.asdict(model.config), model.image_shape, model.classes, 2, model.inference_state()
    )
    save(tmp_path / "a.pt", content)
    save(tmp_path / "another_name.pt", content)
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "another_name.pt").read_bytes()

    read = load(tmp_path / "a.pt", model=name, config=TINY[name]["config"])
    model_class = generators.load(name)
    config = parse(model_class.Config, read.config)
    restored = model_class(config, read.image_shape, read.classes, *mask_channels(model_class))
    restored.load_inference_state(read.state)
    assert torch.equal(draw(model), draw(restored))


def test_weights_of_another_model_are_refused(name):
    model = build(name)
    state = model.inference_state()
    state.pop(next(iter(state)))
    with pytest.raises(InputError, match="do not fit"):
        model.load_inference_state(state)


def test_every_setting_has_a_description_and_none_a_default(name):
    config = generators.load(name).Config
    described = schema(config)["$defs"][f"generators.{name}.Config"]["properties"]
    for field in dataclasses.fields(config):
        assert field.default is dataclasses.MISSING, f"{field.name} has a hidden default"
        assert len(described[field.name]["description"]) > 20, field.name
    with pytest.raises(InputError, match="unknown setting"):
        parse(config, TINY[name]["config"] | {"misspelt": 1})


def test_layer_table_lists_every_trained_parameter(name):
    model = build(name)
    trained = sum(p.numel() for o in model.optimizers.values() for group in o.param_groups for p in group["params"])
    assert sum(layer.parameters for layer in layers(model)) == trained
    assert f"{name}, images" in describe(name, TINY[name]["config"], TINY[name]["shape"], MASK_CHANNELS)


def test_gradients_of_micro_batches_add_up(name, monkeypatch):
    """Of several micro-batches, each with the same noise, losses and gradients are the mean of those of each alone."""
    monkeypatch.setattr("synthmed.training.optimizer.Adam.step", lambda self: None)
    model = build(name)
    given = batches(model, count=2, size=4 if "origin" in model.needs else 2)  # networks of each image's own: all four

    def gradients(chosen):
        model = without_random_weights(build(name))
        model.noise = lambda *shape: torch.randn(shape, generator=torch.Generator().manual_seed(1))
        update = model.update

        def with_the_same_noise(optimizer, loss_fn, own):
            def begun_anew(batch):
                model.rng.manual_seed(1)
                return loss_fn(batch)

            return update(optimizer, begun_anew, own)

        model.update = with_the_same_noise
        losses = model.train_step(chosen)
        return losses, [p.grad for p in model.parameters() if p.grad is not None]

    together, (first, second) = gradients(given), [gradients([batch]) for batch in given]
    for key, loss in together[0].items():
        assert loss.item() == pytest.approx((first[0][key] + second[0][key]).item() / 2, rel=1e-4, abs=1e-5), key
    scale = max(float(gradient.abs().max()) for gradient in together[1])
    for found, one, two in zip(together[1], first[1], second[1], strict=True):
        assert float((found - (one + two) / 2).abs().max()) < 1e-4 * scale
    assert any(float((one - two).abs().max()) > 0.1 * scale for one, two in zip(first[1], second[1], strict=True))


def test_bf16_step_is_finite_and_near_fp32(name):
    model, reference = without_dropout(build(name)), without_dropout(build(name))
    model.precision = "bf16"
    (losses,), (expected,) = steps(model, 0, 1), steps(reference, 0, 1)
    for key, loss in losses.items():
        assert torch.isfinite(loss)
        assert loss.item() == pytest.approx(expected[key].item(), rel=0.1, abs=0.1), key
    assert any(loss != expected[key] for key, loss in losses.items())  # it was rounded, so it was bf16
    assert all(p.dtype == torch.float32 for p in model.parameters())


def test_channels_last_computes_the_same(name):
    model, reference = without_dropout(build(name)), without_dropout(build(name))
    model.to(memory_format=torch.channels_last)
    (given,) = batches(model)
    masks = None if given.masks is None else given.masks.contiguous(memory_format=torch.channels_last)
    losses = model.train_step([Batch(given.images.contiguous(memory_format=torch.channels_last), given.labels, masks)])
    expected = reference.train_step([given])
    for key, loss in losses.items():
        assert loss.item() == pytest.approx(expected[key].item(), rel=1e-3, abs=1e-4), key


def test_what_it_needs_is_read_from_its_source(name):
    model_class = generators.load(name)
    assert generators.needs(name, {}) == model_class.needs
    assert generators.needs(name, TINY[name]["config"]) == build(name).needs
    assert model_class.needs
    assert model_class.needs <= generators.NEEDS
    assert not {"image", "mask"} <= model_class.needs
