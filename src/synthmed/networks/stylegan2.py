"""The networks of StyleGAN2-ADA: Karras et al., "Analyzing and improving the image quality of StyleGAN", CVPR 2020
(arXiv:1912.04958), sections 2 and 4.1, appendix B; Karras et al., "Training generative adversarial networks with
limited data", NeurIPS 2020 (arXiv:2006.06676), appendix D; seed 003, appendix 6.1 (names, parameters and buffers).

Everything is torch operations. Modulation scales the maps instead of the weights, so that one convolution serves the
batch (against weights of their own: benchmarks/stylegan2_step.py); the 4×4 filter is one depthwise convolution; the
gain √2 behind every LeakyReLU stands in the numbers before it, because the LeakyReLU of √2·x is √2 times that of x.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.networks.blocks import MinibatchDeviation, PixelNorm

GAIN = math.sqrt(2)
"""Behind a LeakyReLU of slope 0.2, so that maps keep their size (about; He's constant for a ReLU)."""
MAPPING_RATE = 0.01
"""Learning rate of the mapping layers, as a share of that of the rest."""
LABEL_LAYERS = 8
"""Layers behind the label embedding of a conditional discriminator."""

Noise = Callable[[int], Tensor]
"""Side in pixels → standard normal noise (N, 1, side, side)."""


def channels_at(sides: list[int], base: int, most: int) -> dict[int, int]:
    """Maps at each side in pixels: base / side, at most `most`, at least 1."""
    return {side: max(1, min(base // side, most)) for side in sides}


# --------------------------------------------------------------------------------------------------------- resampling
def binomial_filter() -> Tensor:
    """The 4×4 low-pass filter [1, 3, 3, 1] ⊗ [1, 3, 3, 1] / 64: sum 1."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    return torch.outer(line, line)


def filtered(x: Tensor, kernel: Tensor, padding: int, stride: int = 1) -> Tensor:
    """Every map of `x` (N, C, H, W), zeros around it, correlated with `kernel` (k, k)."""
    maps = x.shape[1]
    return F.conv2d(x, kernel.to(x.dtype).expand(maps, 1, -1, -1), padding=padding, stride=stride, groups=maps)


def upsampled(x: Tensor, kernel: Tensor) -> Tensor:
    """Zeros between the pixels, then the 4×4 filter with gain 4: (N, C, h, w) → (N, C, 2h, 2w)."""
    maps = x.shape[1]
    return F.conv_transpose2d(x, (4 * kernel).to(x.dtype).expand(maps, 1, -1, -1), padding=1, stride=2, groups=maps)


# ------------------------------------------------------------------------------------------------------------- layers
class FullyConnected(nn.Module):
    """Linear layer with equalised learning rate, in float32 under any autocast; with `activate` LeakyReLU and gain.

    rate: its learning rate as a share of the optimiser's: weights start from N(0, 1 / rate²) and are multiplied by
    rate / √inputs, the bias by rate (Karras et al. 2018, section 4.1; 2019, appendix C). (N, inputs) → (N, outputs).
    """

    def __init__(self, inputs: int, outputs: int, *, activate: bool = False, rate: float = 1.0, bias: float = 0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.full((outputs,), bias))
        self.activate, self.rate, self.scale = activate, rate, rate / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            x = F.linear(x.float(), self.weight * self.scale, self.bias * self.rate)
        return F.leaky_relu(x, 0.2) * GAIN if self.activate else x


class Mapping(nn.Module):
    """z and label → w (Karras et al. 2019, section 2; label: appendix D of 2020b, its embedding behind z).

    latent_size: length of z, 0: none (the discriminator's label mapping); classes: 0 is unconditional. Both inputs are
    scaled to a mean square of 1. `w_avg`, with a z: running mean of w, for truncation.
    """

    def __init__(self, latent_size: int, classes: int, outputs: int, layers: int):
        super().__init__()
        self.normalise = PixelNorm()
        inputs = latent_size
        if classes:
            self.embed = FullyConnected(classes, outputs)
            inputs += outputs
        self.layers = layers
        for number in range(layers):
            layer = FullyConnected(inputs if number == 0 else outputs, outputs, activate=True, rate=MAPPING_RATE)
            self.add_module(f"fc{number}", layer)
        if latent_size:
            self.register_buffer("w_avg", torch.zeros(outputs))

    def forward(self, z: Tensor | None, labels: Tensor | None) -> Tensor:
        """z: (N, latent_size); labels: (N, classes) one-hot, None where unconditional. Returns (N, outputs)."""
        parts = [] if z is None else [self.normalise(z)]
        if labels is not None:
            parts.append(self.normalise(self.embed(labels)))
        x = torch.cat(parts, dim=1)
        for number in range(self.layers):
            x = getattr(self, f"fc{number}")(x)
        return x


class _Styled(nn.Module):
    """A convolution whose input maps are scaled by an affine function of w (section 2.2). One module with all its
    numbers, as the layer table of the document counts them."""

    def __init__(self, w_size: int, inputs: int, outputs: int, side: int):
        super().__init__()
        self.affine_weight = nn.Parameter(torch.randn(inputs, w_size))
        self.affine_bias = nn.Parameter(torch.ones(inputs))
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs))

    def styles(self, w: Tensor) -> Tensor:
        """(N, w_size) → the scale of each input map (N, inputs), float32."""
        with torch.autocast(w.device.type, enabled=False):
            return F.linear(w.float(), self.affine_weight / math.sqrt(w.shape[1]), self.affine_bias)


def modulated_convolution(x: Tensor, weight: Tensor, styles: Tensor, kernel: Tensor | None) -> tuple[Tensor, Tensor]:
    """Convolution with weight·styles, before demodulation, and the factor of each output map that demodulates it
    (equations 1 and 3): the product of both is the convolution with weights of their own for each image.

    x: (N, in, h, w); weight: (out, in, k, k), k odd; styles: (N, in) float32. kernel: None, or the low-pass filter
    behind a transposed convolution of stride 2 (k = 3), its gain included. Returns (N, out, h or 2h, w or 2w) and
    (N, out) float32.
    """
    squares = weight.float().square().sum(dim=(2, 3))
    factors = (styles.square() @ squares.T + 1e-8).rsqrt()
    x = x * styles[:, :, None, None].to(x.dtype)
    if kernel is None:
        return F.conv2d(x, weight, padding=weight.shape[2] // 2), factors
    return filtered(F.conv_transpose2d(x, weight.transpose(0, 1), stride=2), 4 * kernel, padding=1), factors


class SynthesisLayer(_Styled):
    """3×3 modulated convolution, upsampling or not, with demodulation; noise; bias; LeakyReLU with gain √2."""

    def __init__(self, w_size: int, inputs: int, outputs: int, side: int, *, up: bool):
        super().__init__(w_size, inputs, outputs, 3)
        self.up, self.side = up, side
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("resample_filter", binomial_filter())
        self.register_buffer("noise_const", torch.randn(side, side))

    def forward(self, x: Tensor, w: Tensor, noise: Noise | None) -> Tensor:
        x, factors = modulated_convolution(x, self.weight, self.styles(w), self.resample_filter if self.up else None)
        drawn = self.noise_const[None, None] if noise is None else noise(self.side)
        added = (drawn * self.noise_strength + self.bias[:, None, None]) * GAIN
        return F.leaky_relu(torch.addcmul(added.to(x), x, (factors * GAIN)[:, :, None, None].to(x)), 0.2, inplace=True)


class ToImage(_Styled):
    """1×1 modulated convolution without demodulation: maps → what is added to the image."""

    def __init__(self, w_size: int, inputs: int, image_channels: int):
        super().__init__(w_size, inputs, image_channels, 1)
        self.scale = 1 / math.sqrt(inputs)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        styles = self.styles(w) * self.scale
        return F.conv2d(x * styles[:, :, None, None].to(x.dtype), self.weight, self.bias)


# ---------------------------------------------------------------------------------------------------------- generator
class SynthesisBlock(nn.Module):
    """The layers of one resolution; the first, at 4×4, begins with a learned constant. `torgb` is called by the
    network, which adds the images up."""

    def __init__(self, w_size: int, inputs: int, outputs: int, side: int, image_channels: int):
        super().__init__()
        self.register_buffer("resample_filter", binomial_filter())
        if side == 4:
            self.const = nn.Parameter(torch.randn(outputs, side, side))
        else:
            self.conv0 = SynthesisLayer(w_size, inputs, outputs, side, up=True)
        self.conv1 = SynthesisLayer(w_size, outputs, outputs, side, up=False)
        self.torgb = ToImage(w_size, outputs, image_channels)

    def forward(self, x: Tensor | None, ws: list[Tensor], noise: Noise | None) -> Tensor:
        """ws: (N, w_size) for each convolution of the block."""
        x = self.const.expand(len(ws[0]), -1, -1, -1) if x is None else self.conv0(x, ws[0], noise)
        return self.conv1(x, ws[-1], noise)


class Synthesis(nn.Module):
    """(N, layers, w_size) → images (N, image_channels, side, side), about [-1, 1]: skip architecture, one image a
    resolution, upsampled and summed (2020a, section 4.1). channels: maps at each side, 4 px first."""

    def __init__(self, w_size: int, channels: dict[int, int], image_channels: int):
        super().__init__()
        for side, maps in channels.items():
            block = SynthesisBlock(w_size, channels.get(side // 2, 0), maps, side, image_channels)
            self.add_module(f"b{side}", block)
        self.sides = list(channels)
        self.layers = 2 * len(channels)
        """Positions of w: one a convolution, and one for the last `torgb`; the others share with the next layer."""

    def forward(self, ws: Tensor, noise: Noise | None) -> Tensor:
        """noise: None takes the layers' own, so that an image depends on w alone."""
        x = images = None
        position = 0
        for side in self.sides:
            block, layers = getattr(self, f"b{side}"), 1 if side == 4 else 2
            x = block(x, [ws[:, position + layer] for layer in range(layers)], noise)
            position += layers
            made = block.torgb(x, ws[:, position]).float()
            images = made if images is None else upsampled(images, block.resample_filter) + made
        return images


class GeneratorNetwork(nn.Module):
    """Mapping and synthesis; w is as long as z."""

    def __init__(self, latent_size: int, classes: int, layers: int, channels: dict[int, int], image_channels: int):
        super().__init__()
        self.mapping = Mapping(latent_size, classes, latent_size, layers)
        self.synthesis = Synthesis(latent_size, channels, image_channels)

    def forward(self, z: Tensor, labels: Tensor | None, noise: Noise | None) -> Tensor:
        w = self.mapping(z, labels)
        return self.synthesis(w[:, None].expand(-1, self.synthesis.layers, -1), noise)


# ------------------------------------------------------------------------------------------------------ discriminator
class Convolution(nn.Module):
    """Convolution with equalised learning rate, halving the map or not behind the low-pass filter.

    gain: of the output; LeakyReLU with gain √2 where there is a bias, nothing where there is none (the skip path).
    (N, inputs, H, W) → (N, outputs, H or H/2, W or W/2).
    """

    def __init__(self, inputs: int, outputs: int, side: int, *, down: bool, bias: bool = True, gain: float = 1.0):
        super().__init__()
        self.register_buffer("resample_filter", binomial_filter())
        self.weight = nn.Parameter(torch.randn(outputs, inputs, side, side))
        self.bias = nn.Parameter(torch.zeros(outputs)) if bias else None
        self.down, self.gain = down, gain * (GAIN if bias else 1.0)
        self.scale = self.gain / math.sqrt(inputs * side * side)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias, reach = self.weight * self.scale, self.bias, self.weight.shape[2] // 2
        if bias is not None:
            bias = bias * self.gain
        if not self.down:
            x = F.conv2d(x, weight, bias, padding=reach)
        elif reach:
            x = F.conv2d(filtered(x, self.resample_filter, padding=1 + reach), weight, bias, stride=2)
        else:  # of what a 1×1 kernel leaves out nothing need be computed
            x = F.conv2d(filtered(x, self.resample_filter, padding=1, stride=2), weight, bias)
        return x if bias is None else F.leaky_relu(x, 0.2, inplace=True)


class DiscriminatorBlock(nn.Module):
    """Residual block that halves the map; at the full side the image enters by `fromrgb` (2020a, section 4.1)."""

    def __init__(self, inputs: int, outputs: int, image_channels: int | None):
        super().__init__()
        self.register_buffer("resample_filter", binomial_filter())
        self.fromrgb = None if image_channels is None else Convolution(image_channels, inputs, 1, down=False)
        half = math.sqrt(0.5)
        self.skip = Convolution(inputs, outputs, 1, down=True, bias=False, gain=half)
        self.conv0 = Convolution(inputs, inputs, 3, down=False)
        self.conv1 = Convolution(inputs, outputs, 3, down=True, gain=half)

    def forward(self, x: Tensor) -> Tensor:
        if self.fromrgb is not None:
            x = self.fromrgb(x)
        return self.skip(x) + self.conv1(self.conv0(x))


class Epilogue(nn.Module):
    """Maps at 4×4 → `outputs` numbers an image: minibatch deviation, convolution, two dense layers."""

    def __init__(self, maps: int, outputs: int, group: int):
        super().__init__()
        self.mbstd = MinibatchDeviation(group)
        self.conv = Convolution(maps + 1, maps, 3, down=False)
        self.fc = FullyConnected(16 * maps, maps, activate=True)
        self.out = FullyConnected(maps, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.fc(self.conv(self.mbstd(x)).flatten(1)))


class Discriminator(nn.Module):
    """(N, image_channels, side, side) → (N,) scores, higher for real.

    With classes the score is the product of the image's vector and the label's, over √length (projection; Miyato &
    Koyama 2018, here without the unconditional term).
    """

    def __init__(self, channels: dict[int, int], classes: int, image_channels: int, group: int):
        """channels: maps at each side, 4 px first; as many as at 4 px are the numbers of a label's vector."""
        super().__init__()
        *_, full = channels
        self.sides = [side for side in reversed(channels) if side > 4]
        for side in self.sides:
            block = DiscriminatorBlock(channels[side], channels[side // 2], image_channels if side == full else None)
            self.add_module(f"b{side}", block)
        self.mapping = Mapping(0, classes, channels[4], LABEL_LAYERS) if classes else None
        self.b4 = Epilogue(channels[4], channels[4] if classes else 1, group)

    def features(self, images: Tensor) -> Tensor:
        """The maps at 4×4, of each image by itself: (N, channels, 4, 4)."""
        x = images
        for side in self.sides:
            x = getattr(self, f"b{side}")(x)
        return x

    def forward(self, images: Tensor, labels: Tensor | None) -> Tensor:
        """labels: (N, classes) one-hot; None where unconditional."""
        x = self.b4(self.features(images)).float()
        if self.mapping is None:
            return x.flatten()
        return (x * self.mapping(None, labels)).sum(dim=1) / math.sqrt(x.shape[1])
