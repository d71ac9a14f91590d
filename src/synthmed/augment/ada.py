"""Adaptive discriminator augmentation: Karras et al., "Training generative adversarial networks with limited data",
NeurIPS 2020 (arXiv:2006.06676), section 3 and appendix B: pixel blits, geometry and colour ("bgc").

Reals and fakes go through the same pipeline; each of its transforms happens to an image with probability p, which is
raised while the discriminator is too sure of the real training images and lowered while it is not. Everything is twice
differentiable in the images, for R1.

Decided here: blits copy pixels exactly. Geometry goes through the wavelet filters; an image that none of its
transforms happened to is left as it is (inside of the border that is what the filters give, up to rounding). Beyond the
border images are mirrored without end, there and in the doubled image alike, instead of being padded first by as much
as the transforms of a batch reach, so the doubled map is no larger than twice the image.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.training.distributed import average, draw

SYM6 = (
    *(0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633, 0.491055941926746),
    *(0.787641141030194, 0.3379294217276218, -0.07263752278646252, -0.021060292512300564, 0.04472490177066578),
    *(0.0017677118642428036, -0.007800708325034148),
)
"""Low-pass filter of the symlet with 6 vanishing moments (Daubechies 1992): orthogonal to itself shifted by two, so
doubling and halving an image by it gives the image back."""
CENTRE = sum(tap * place for place, tap in enumerate(SYM6)) / sum(SYM6)
"""Where its mean lies, in taps from the first."""

# Strengths of appendix B.
INTEGER_SHIFT, FRACTIONAL_SHIFT = 0.125, 0.125  # largest, and deviation, in sides of the image
SCALE, ANISOTROPY = 0.2, 0.2  # deviation of log2
BRIGHTNESS, CONTRAST, SATURATION = 0.2, 0.5, 1.0  # deviation, in half the range; of log2; of log2


# ------------------------------------------------------------------------------------------------------------- sampling
class _Sample(torch.autograd.Function):
    """grid_sample with reflection about the outermost pixels, as the linear map of the images that it is: its gradient
    can be differentiated again, which torch's own cannot. `grid` gets no gradient. mode: 0 bilinear, 1 nearest."""

    @staticmethod
    def forward(context, images: Tensor, grid: Tensor, mode: int) -> Tensor:
        context.save_for_backward(grid)
        context.mode, context.shape = mode, images.shape
        return torch.ops.aten.grid_sampler_2d(images, grid, mode, 2, True)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None]:
        (grid,) = context.saved_tensors
        return _Spread.apply(gradient, grid, context.mode, context.shape), None, None


class _Spread(torch.autograd.Function):
    """The transpose of _Sample: what lies at each place of `grid` is spread to the pixels there."""

    @staticmethod
    def forward(context, values: Tensor, grid: Tensor, mode: int, shape: torch.Size) -> Tensor:
        context.save_for_backward(grid)
        context.mode = mode
        # The images' numbers do not matter for this half of the gradient, only their shape.
        empty = values.new_zeros(()).expand(shape)
        spread, _ = torch.ops.aten.grid_sampler_2d_backward(values, empty, grid, mode, 2, True, (True, False))
        return spread

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        (grid,) = context.saved_tensors
        return _Sample.apply(gradient, grid, context.mode), None, None, None


def sampled(images: Tensor, rows: Tensor, columns: Tensor, *, nearest: bool = False) -> Tensor:
    """Values of `images` (N, C, h, w) at places `rows`, `columns` (N, H, W) in pixels from the first one's middle, not
    rounded: bilinear, or of the nearest pixel; mirrored beyond the outermost pixels. (N, C, H, W)."""
    height, width = images.shape[2:]
    grid = torch.stack([2 * columns / (width - 1) - 1, 2 * rows / (height - 1) - 1], dim=3).to(images)
    return _Sample.apply(images, grid, int(nearest))


def places(matrices: Tensor, positions: Tensor, side: int) -> tuple[Tensor, Tensor]:
    """Where in an image of `side` pixels what is seen at rows and columns `positions` (n,) came from.

    matrices: (N, 3, 3), applied to the image: (x, y, 1) with the origin in its middle, x to the right, y down, in units
    of half a side. Returns rows and columns (N, n, n) in pixels from the first one's middle.
    """
    middle, half = (side - 1) / 2, side / 2
    line = (positions - middle) / half
    y, x = torch.meshgrid(line, line, indexing="ij")
    seen = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    came = (torch.linalg.inv(matrices) @ seen).unflatten(2, x.shape)
    return came[:, 1] * half + middle, came[:, 0] * half + middle


def blitted(images: Tensor, matrices: Tensor) -> Tensor:
    """Images (N, C, H, H) under mirroring, quarter turns and shifts by whole pixels: pixels are copied."""
    side = images.shape[2]
    return sampled(images, *places(matrices, torch.arange(side, dtype=torch.float64), side), nearest=True)


def transformed(images: Tensor, matrices: Tensor) -> Tensor:
    """Images (N, C, H, H) under any affine transform, without aliasing: doubled by the wavelet's low-pass filter,
    sampled bilinearly, and halved by it (appendix B, "geometric transformations")."""
    side, maps = images.shape[2], images.shape[1]
    taps = torch.tensor(SYM6, dtype=images.dtype, device=images.device)
    down, across = taps.view(1, 1, -1, 1), taps.view(1, 1, 1, -1)
    x = F.pad(images, (3, 3, 3, 3), mode="reflect")
    for kernel, stride in ((down, (2, 1)), (across, (1, 2))):
        x = F.conv_transpose2d(x, math.sqrt(2) * kernel.expand(maps, 1, -1, -1), stride=stride, groups=maps)
    # Place m of the doubled map is at (m − CENTRE) / 2 − 3 pixels; it is cut to about the pixels of the image.
    first = 2 * 3 + 5
    x = x[:, :, first : first + 2 * side - 1, first : first + 2 * side - 1]
    wanted = (torch.arange(2 * side + len(SYM6) - 2, dtype=torch.float64) - CENTRE) / 2
    rows, columns = (2 * came - (5 - CENTRE) for came in places(matrices, wanted, side))
    x = sampled(x, rows, columns)
    for kernel, stride in ((down, (2, 1)), (across, (1, 2))):
        x = F.conv2d(x, kernel.expand(maps, 1, -1, -1) / math.sqrt(2), stride=stride, groups=maps)
    return x


# ------------------------------------------------------------------------------------------------------------- matrices
def scaling(x: Tensor, y: Tensor) -> Tensor:
    """(N,) factors → (N, 3, 3)."""
    return torch.diag_embed(torch.stack([x, y, torch.ones_like(x)], dim=1))


def turning(angle: Tensor) -> Tensor:
    """(N,) radians, from x towards y → (N, 3, 3)."""
    matrix = torch.eye(3, dtype=angle.dtype).repeat(len(angle), 1, 1)
    matrix[:, 0, 0] = matrix[:, 1, 1] = angle.cos()
    matrix[:, 0, 1], matrix[:, 1, 0] = -angle.sin(), angle.sin()
    return matrix


def shifting(x: Tensor, y: Tensor) -> Tensor:
    """(N,) in units of half a side → (N, 3, 3)."""
    matrix = torch.eye(3, dtype=x.dtype).repeat(len(x), 1, 1)
    matrix[:, 0, 2], matrix[:, 1, 2] = x, y
    return matrix


class _Draws:
    """Numbers for each image, float64 on the CPU, of which a share p is kept and the others are replaced by what
    changes nothing; so devices agree."""

    def __init__(self, count: int, p: float, rng: torch.Generator):
        self.count, self.p, self.rng = count, p, rng

    def uniform(self, low: float, high: float, neutral: float, share: float | None = None) -> Tensor:
        return self._kept(low + (high - low) * self._drawn(torch.rand), neutral, share)

    def normal(self, deviation: float, neutral: float) -> Tensor:
        return self._kept(deviation * self._drawn(torch.randn), neutral, None)

    def log_normal(self, deviation: float) -> Tensor:
        """2 to the power of normal numbers."""
        return self._kept(torch.exp2(deviation * self._drawn(torch.randn)), 1.0, None)

    def choice(self, options: int) -> Tensor:
        """0 … options − 1; 0 changes nothing."""
        return self._kept((options * self._drawn(torch.rand)).floor(), 0.0, None)

    def together(self, *values: Tensor, neutral: float) -> tuple[Tensor, ...]:
        """Of several numbers of one transform all are kept or none."""
        gate = self._drawn(torch.rand) < self.p
        return tuple(torch.where(gate, value, neutral) for value in values)

    def raw(self, function: Callable[..., Tensor]) -> Tensor:
        return self._drawn(function)

    def _drawn(self, function: Callable[..., Tensor]) -> Tensor:
        return draw(function, self.count, generator=self.rng, dtype=torch.float64)

    def _kept(self, values: Tensor, neutral: float, share: float | None) -> Tensor:
        return torch.where(self._drawn(torch.rand) < (self.p if share is None else share), values, neutral)


def blit_matrices(draws: _Draws, side: int) -> Tensor:
    """Mirroring, quarter turns, shifts by whole pixels: (N, 3, 3)."""
    flip, turn = draws.choice(2), draws.choice(4)
    shifts = [(2 * draws.raw(torch.rand) - 1) * INTEGER_SHIFT * side for _ in range(2)]
    x, y = draws.together(*(2 * shift.round() / side for shift in shifts), neutral=0.0)
    return shifting(x, y) @ turning(-math.pi / 2 * turn) @ scaling(1 - 2 * flip, torch.ones_like(flip))


def geometry_matrices(draws: _Draws) -> Tensor:
    """Scale, turn, stretch, turn, shift: (N, 3, 3). Either turn has the chance by which the image is turned, by one or
    both, with probability p."""
    share = 1 - math.sqrt(1 - draws.p)
    scale = draws.log_normal(SCALE)
    before = draws.uniform(-math.pi, math.pi, 0.0, share)
    stretch = draws.log_normal(ANISOTROPY)
    after = draws.uniform(-math.pi, math.pi, 0.0, share)
    shifts = [2 * FRACTIONAL_SHIFT * draws.raw(torch.randn) for _ in range(2)]
    x, y = draws.together(*shifts, neutral=0.0)
    return shifting(x, y) @ turning(after) @ scaling(stretch, 1 / stretch) @ turning(before) @ scaling(scale, scale)


def colour_matrices(draws: _Draws) -> Tensor:
    """Brightness, contrast, inversion of luma, hue, saturation, on (red, green, blue, 1) in [-1, 1]: (N, 4, 4)."""
    luma = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64) / math.sqrt(3)
    along, one = torch.outer(luma, luma), torch.eye(4, dtype=torch.float64)

    def per_image(values: Tensor) -> Tensor:
        return values[:, None, None]

    matrix = one.repeat(draws.count, 1, 1)
    matrix[:, :3, 3] = draws.normal(BRIGHTNESS, 0.0)[:, None]
    contrast = draws.log_normal(CONTRAST)
    matrix = torch.diag_embed(torch.stack([contrast] * 3 + [torch.ones_like(contrast)], dim=1)) @ matrix
    matrix = (one - 2 * per_image(draws.choice(2)) * along) @ matrix
    angle = draws.uniform(-math.pi, math.pi, 0.0)
    # Rodrigues' formula about the grey axis u: cos·I + sin·[u]× + (1 − cos)·uuᵀ.
    cross = torch.zeros(4, 4, dtype=torch.float64)
    cross[0, 1] = cross[1, 2] = cross[2, 0] = -1 / math.sqrt(3)
    cross = cross - cross.T
    colours = torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64))
    turned = per_image(angle.cos()) * colours + per_image(angle.sin()) * cross + per_image(1 - angle.cos()) * along
    matrix = (turned + one - colours) @ matrix
    saturation = per_image(draws.log_normal(SATURATION))
    return (along + saturation * (colours - along) + one - colours) @ matrix


def recoloured(images: Tensor, matrices: Tensor) -> Tensor:
    """Images (N, C, H, W) under matrices (N, 4, 4). Of three channels they are colours; of any other number each is
    grey, for which hue and saturation change nothing."""
    matrices = matrices.to(images)
    if images.shape[1] == 3:
        gain, shift = matrices[:, :3, :3], matrices[:, :3, 3]
        return (gain @ images.flatten(2) + shift[:, :, None]).view_as(images)
    gain, shift = matrices[:, :3, :3].sum(dim=2).mean(dim=1), matrices[:, :3, 3].mean(dim=1)
    return images * gain[:, None, None, None] + shift[:, None, None, None]


def _where_changed(images: Tensor, matrices: Tensor, apply: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """`apply` to those images alone whose matrix changes anything."""
    one = torch.eye(matrices.shape[1], dtype=matrices.dtype)
    (changed,) = torch.nonzero((matrices != one).flatten(1).any(dim=1), as_tuple=True)
    if not len(changed):
        return images
    where = changed.to(images.device)
    return images.index_copy(0, where, apply(images[where], matrices[changed]))


def augmented(images: Tensor, p: float, rng: torch.Generator) -> Tensor:
    """Images (N, C, H, H) in [-1, 1] (afterwards perhaps beyond), every transform of bgc with probability p, 0 to 1.

    At p = 0 nothing is drawn from `rng`. float32, whatever the autocast.
    """
    if p == 0:
        return images
    with torch.autocast(images.device.type, enabled=False):
        draws, images = _Draws(len(images), p, rng), images.float()
        images = _where_changed(images, blit_matrices(draws, images.shape[2]), blitted)
        images = _where_changed(images, geometry_matrices(draws), transformed)
        return _where_changed(images, colour_matrices(draws), recoloured)


# --------------------------------------------------------------------------------------------------------- p, adapted
class AdaptiveProbability(nn.Module):
    """p and what it is adapted by: r_t = E[sign D(real)], the overfitting heuristic of equation 1.

    target: of r_t (paper 0.6); interval: steps between two changes (4); kimg: real images, in thousands, in which p can
    go from 0 to 1 (500). p and the signs since the last change are buffers, so they are saved with the networks.
    """

    def __init__(self, target: float, interval: int, kimg: float):
        super().__init__()
        self.target, self.interval, self.kimg = target, interval, kimg
        self.register_buffer("p", torch.zeros(()))
        self.register_buffer("signs", torch.zeros(3))
        """Sum of the signs since the last change, their number, and r_t at that change."""

    @torch.no_grad()
    def observe(self, real_scores: Tensor) -> None:
        """Note the discriminator's scores (N,) of (augmented) real training images."""
        self.signs[0] += real_scores.sign().sum()
        self.signs[1] += len(real_scores)

    @torch.no_grad()
    def adapt(self, step: int, images: int) -> None:
        """After the `step`-th step, counted from 1, of so many images (of all ranks): every `interval` steps p moves by
        the images since, up where r_t is above its target and down where it is below; it stays in [0, 1]."""
        if step % self.interval:
            return
        seen = self.signs[:2].clone()
        average([seen])
        found = seen[0] / seen[1]
        change = torch.sign(found - self.target) * images * self.interval / (1000 * self.kimg)
        self.p.add_(change).clamp_(0, 1)
        self.signs.copy_(torch.stack([torch.zeros_like(found), torch.zeros_like(found), found]))
