"""The textbook training step of every generator: what training_step.py measures ours against.

Written as the papers' public implementations are: torch.optim.Adam as it comes, one backward pass a loss term, one
forward pass a term, upsampling as two layers. Same networks, same losses, same random numbers as ours, so the losses of
the first step must agree.
"""

import types
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Adam

from synthmed.augment.diffaugment import diff_augment
from synthmed.generators import pggan
from synthmed.generators.base import Generator
from synthmed.networks.blocks import UpsamplingConvolution
from synthmed.training.images import Batch

Step = Callable[[Batch], dict[str, Tensor]]


def plain_step(name: str, model: Generator) -> Step:
    """The textbook step of the generator `name` on the networks of `model` (fp32, contiguous)."""
    for layer in model.modules():
        if isinstance(layer, UpsamplingConvolution):
            layer.forward = types.MethodType(_two_layers, layer)
        elif isinstance(layer, pggan.UpsamplingConvolution):
            layer.forward = types.MethodType(_two_equalised_layers, layer)
    optimizers = {
        key: Adam(ours.parameters, ours.param_groups[0]["lr"], ours.betas) for key, ours in model.optimizers.items()
    }
    return STEPS[name](model, optimizers)


def _two_layers(layer: UpsamplingConvolution, x: Tensor) -> Tensor:
    return F.conv2d(F.interpolate(x, scale_factor=2, mode="nearest"), layer.weight, padding=1)


def _two_equalised_layers(layer: pggan.UpsamplingConvolution, x: Tensor) -> Tensor:
    x = F.interpolate(x, scale_factor=2, mode="nearest")
    return F.conv2d(x, layer.weight * layer.scale, layer.bias, padding=1)


def _dcgan(model: Generator, optimizers: dict[str, Adam]) -> Step:
    def against(logits: Tensor, target: float) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, target))

    def step(batch: Batch) -> dict[str, Tensor]:
        fake = model.generator(model.noise(len(batch.images), model.config.latent_size))
        model.discriminator.zero_grad()
        on_real = against(model.discriminator(batch.images), 1.0)
        on_real.backward()
        on_fake = against(model.discriminator(fake.detach()), 0.0)
        on_fake.backward()
        optimizers["discriminator"].step()
        model.generator.zero_grad()
        generator = against(model.discriminator(fake), 1.0)
        generator.backward()
        optimizers["generator"].step()
        model.ema_update(model.generator_ema, model.generator, model.config.ema_decay)
        return {"discriminator_real": on_real, "discriminator_fake": on_fake, "generator": generator}

    return step


def _pix2pix(model: Generator, optimizers: dict[str, Adam]) -> Step:
    def against(masks: Tensor, images: Tensor, target: float) -> Tensor:
        logits = model.discriminator(masks, images)
        return sum(F.binary_cross_entropy_with_logits(one, torch.full_like(one, target)) for one in logits)

    def step(batch: Batch) -> dict[str, Tensor]:
        masks, noise = batch.masks, []
        if "channel" in model.config.noise:
            noise = [model.noise(len(masks), 1, *masks.shape[2:])]
        fake = torch.tanh(model.generator(torch.cat([masks, *noise], dim=1)))
        model.discriminator.requires_grad_(True)
        optimizers["discriminator"].zero_grad()
        on_real = against(masks, batch.images, 1.0)
        on_real.backward()
        on_fake = against(masks, fake.detach(), 0.0)
        on_fake.backward()
        optimizers["discriminator"].step()

        model.discriminator.requires_grad_(False)
        optimizers["generator"].zero_grad()
        losses = {"adversarial": against(masks, fake, 1.0)}
        if model.config.l1_weight > 0:
            losses["l1"] = model.config.l1_weight * F.l1_loss(fake, batch.images)
        if model.config.perceptual_layers:
            losses["perceptual"] = model._perceptual[0](fake, batch.images)
        sum(losses.values()).backward()
        optimizers["generator"].step()
        model.ema_update(model.generator_ema, model.generator, model.config.ema_decay)
        return {"discriminator_real": on_real, "discriminator_fake": on_fake, **losses}

    return step


def _cyclegan(model: Generator, optimizers: dict[str, Adam]) -> Step:
    discriminators = (model.discriminator_first, model.discriminator_second)
    cycle_weight, identity_weight = model.config.cycle_weight, model.config.identity_weight

    def against(logits: Tensor, target: float) -> Tensor:
        return F.mse_loss(logits, torch.full_like(logits, target))

    def step(batch: Batch) -> dict[str, Tensor]:
        first, second = batch.images[batch.labels == 0], batch.images[batch.labels == 1]
        for discriminator in discriminators:
            discriminator.requires_grad_(False)
        optimizers["generators"].zero_grad()
        fake_second, fake_first = model.to_second(first), model.to_first(second)
        cycle = F.l1_loss(model.to_first(fake_second), first) + F.l1_loss(model.to_second(fake_first), second)
        identity = F.l1_loss(model.to_second(second), second) + F.l1_loss(model.to_first(first), first)
        adversarial = against(discriminators[1](fake_second), 1.0) + against(discriminators[0](fake_first), 1.0)
        cycle, identity = cycle_weight * cycle, identity_weight * cycle_weight * identity
        (adversarial + cycle + identity).backward()
        optimizers["generators"].step()

        optimizers["discriminators"].zero_grad()
        judged = first.new_zeros(())
        pools = (model.pool_first, model.pool_second)
        for discriminator, pool, real, fake in zip(
            discriminators, pools, (first, second), (fake_first, fake_second), strict=True
        ):
            discriminator.requires_grad_(True)
            shown = pool.exchange(fake.detach(), model.rng)
            loss = 0.5 * (against(discriminator(real), 1.0) + against(discriminator(shown), 0.0))
            loss.backward()
            judged = judged + loss.detach()
        optimizers["discriminators"].step()
        return {"adversarial": adversarial, "cycle": cycle, "identity": identity, "discriminator": judged}

    return step


def _fastgan(model: Generator, optimizers: dict[str, Adam]) -> Step:
    policy = model.config.augmentation

    def step(batch: Batch) -> dict[str, Tensor]:
        count = len(batch.images)
        fake = model.generator(
            model.noise(count, model.config.latent_size), lambda side: model.noise(count, 1, side, side)
        )
        model.generator.zero_grad()
        generator = -model.discriminator(diff_augment(fake, policy, model.rng))[0].mean()
        generator.backward()
        optimizers["generator"].step()
        model.ema_update(model.generator_ema, model.generator, model.config.ema_decay)

        model.discriminator.zero_grad()
        real = diff_augment(batch.images, policy, model.rng)
        shown = diff_augment(fake.detach(), policy, model.rng)
        logits, full, half = model.discriminator(real)
        on_real = F.relu(1 - logits).mean()
        reconstruction = model.reconstruction_loss(real, full, half)
        (on_real + reconstruction).backward()
        on_fake = F.relu(1 + model.discriminator(shown)[0]).mean()
        on_fake.backward()
        optimizers["discriminator"].step()
        return {
            "generator": generator,
            "discriminator_real": on_real,
            "discriminator_fake": on_fake,
            "reconstruction": reconstruction,
        }

    return step


def _pggan(model: Generator, optimizers: dict[str, Adam]) -> Step:
    config, growth = model.config, model.growth()

    def step(batch: Batch) -> dict[str, Tensor]:
        count, real = len(batch.images), model.at_growth(batch.images)
        model.discriminator.zero_grad()
        fake = model.generator(model.noise(count, config.latent_size), *growth).detach()
        on_real = model.discriminator(real, *growth)
        drift = config.drift * on_real.square().mean()
        (drift - on_real.mean()).backward()
        on_fake = model.discriminator(fake, *growth).mean()
        on_fake.backward()
        share = torch.rand(count, 1, 1, 1, generator=model.rng).to(real.device)
        mixed = (fake + share * (real - fake)).requires_grad_(True)
        scores = model.discriminator(mixed, *growth)
        (gradients,) = torch.autograd.grad(scores.sum(), mixed, create_graph=True)
        penalty = config.gradient_penalty * (gradients.flatten(1).norm(dim=1) - 1).square().mean()
        penalty.backward()
        optimizers["discriminator"].step()
        model.generator.zero_grad()
        generator = -model.discriminator(
            model.generator(model.noise(count, config.latent_size), *growth), *growth
        ).mean()
        generator.backward()
        optimizers["generator"].step()
        model.ema_update(model.generator_ema, model.generator, config.ema_decay)
        return {
            "discriminator": on_fake - on_real.mean(),
            "gradient_penalty": penalty,
            "drift": drift,
            "generator": generator,
        }

    return step


STEPS = {"dcgan": _dcgan, "cyclegan": _cyclegan, "fastgan": _fastgan, "pggan": _pggan, "pix2pix": _pix2pix}
"""Generator → what makes its step of the networks and optimisers."""
