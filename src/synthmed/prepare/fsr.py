"""Frequency selective reconstruction: missing pixels from a sparse sum of waves that fits the known ones around them.

Seiler, Jonscher, Schöberl & Kaup, "Resampling images to a regular grid from a non-regular subset of pixel positions
using frequency selective reconstruction", IEEE Transactions on Image Processing 24 (2015) 4540-4555.
"""

from dataclasses import dataclass

import numpy as np

from synthmed.core.errors import InputError


@dataclass(frozen=True)
class Fsr:
    """Its parameters. block, border: side of a block and of what is looked at around it, px; decay: weight of a known
    pixel for each pixel of distance from the block's centre; again: factor for pixels that were reconstructed before;
    compensation: of the waves not being orthogonal under the weights (γ); iterations: waves that are chosen."""

    block: int = 4
    border: int = 8
    decay: float = 0.8
    again: float = 0.5
    compensation: float = 0.5
    iterations: int = 20


def reconstruct(pixels: np.ndarray, missing: np.ndarray, options: Fsr | None = None) -> np.ndarray:
    """Fill in missing pixels: uint8 (H, W, C) → the same, known pixels unchanged; missing bool (H, W).

    Blocks next to known pixels are filled first, from the outside in, and serve those behind them. In each, waves are
    chosen one by one: that whose weighted residual, times a prior that prefers low frequencies, is largest (its
    equations 6 to 13). Raises InputError when nothing is known.
    """
    options = options or Fsr()
    if missing.all():
        raise InputError("every pixel is missing; there is nothing to reconstruct from")
    filled, state = pixels.astype(np.float64), np.where(missing, 0.0, 1.0)
    side, block = options.block + 2 * options.border, options.block
    height, width = missing.shape
    rows, columns = -(-height // block), -(-width // block)
    pad = (
        (options.border, options.border + rows * block - height),
        (options.border, options.border + columns * block - width),
    )
    filled, state = np.pad(filled, (*pad, (0, 0))), np.pad(state, pad)
    open_blocks = {
        (row, column)
        for row in range(rows)
        for column in range(columns)
        if missing[row * block : (row + 1) * block, column * block : (column + 1) * block].any()
    }
    weights, prior = _weights(side, options), _prior(side)
    while open_blocks:
        places = _ready(sorted(open_blocks), state, side, block)
        windows = np.stack([filled[r * block : r * block + side, c * block : c * block + side] for r, c in places])
        known = np.stack([state[r * block : r * block + side, c * block : c * block + side] for r, c in places])
        models = _models(windows, known * weights, prior, options)
        inner = slice(options.border, options.border + block)
        for (row, column), model in zip(places, models, strict=True):
            where = np.s_[
                options.border + row * block : options.border + (row + 1) * block,
                options.border + column * block : options.border + (column + 1) * block,
            ]
            hole = state[where] == 0
            filled[where][hole] = np.clip(model[inner, inner], 0, 255)[hole]
            state[where][hole] = options.again
            open_blocks.remove((row, column))
    found = filled[options.border :, options.border :][:height, :width]
    return np.where(missing[..., None], np.rint(found), pixels).astype(np.uint8)


def _weights(side: int, options: Fsr) -> np.ndarray:
    """Isotropic decay from the middle of the window, (side, side)."""
    away = np.arange(side) - (side - 1) / 2
    return options.decay ** np.hypot(away[:, None], away)


def _prior(side: int) -> np.ndarray:
    """Preference for low frequencies, (side, side): (1 − √2 |f| / side)², |f| up to side / √2 (equation 12)."""
    frequency = np.abs(np.fft.fftfreq(side) * side)
    return (1 - np.sqrt(2) * np.hypot(frequency[:, None], frequency) / side).clip(0) ** 2


def _ready(places: list[tuple[int, int]], state: np.ndarray, side: int, block: int) -> list[tuple[int, int]]:
    """Blocks with the most known pixels near them: those above half of the best count."""
    near = (side - 3 * block) // 2
    counts = np.array(
        [
            (
                state[r * block + near : r * block + near + 3 * block, c * block + near : c * block + near + 3 * block]
                > 0
            ).sum()
            for r, c in places
        ]
    )
    if counts.max() == 0:  # far from everything that is known: by the whole window
        counts = np.array(
            [(state[r * block : r * block + side, c * block : c * block + side] > 0).sum() for r, c in places]
        )
    if counts.max() == 0:
        raise InputError("some missing pixels have no known one within reach; enlarge the border")
    return [place for place, count in zip(places, counts, strict=True) if count >= 0.5 * counts.max()]


def _models(windows: np.ndarray, weights: np.ndarray, prior: np.ndarray, options: Fsr) -> np.ndarray:
    """Sums of waves (B, side, side, C) that fit the windows (B, side, side, C) under the weights (B, side, side)."""
    count, side, _, channels = windows.shape
    fitted = np.moveaxis(windows * weights[..., None], 3, 1).reshape(-1, side, side)
    spectrum = np.repeat(np.fft.fft2(weights), channels, axis=0)
    residual, total = np.fft.fft2(fitted), spectrum[:, 0, 0].real
    chosen, index = np.zeros_like(residual), np.arange(len(fitted))
    twice = np.tile(spectrum, (1, 2, 2))  # so that a shifted spectrum is a part of it
    windows_of = np.lib.stride_tricks.sliding_window_view(twice, (side, side), axis=(1, 2))
    for _wave in range(options.iterations):
        row, column = np.divmod((np.abs(residual) ** 2 * prior).reshape(len(fitted), -1).argmax(axis=1), side)
        size = options.compensation * residual[index, row, column] / total
        own = (row == -row % side) & (column == -column % side)  # a wave that is its own conjugate
        for part, k, m in ((size, row, column), (np.where(own, 0, size.conj()), -row % side, -column % side)):
            chosen[index, k, m] += side**2 * part
            residual -= part[:, None, None] * windows_of[index, -k % side, -m % side]
    models = np.fft.ifft2(chosen).real
    return np.moveaxis(models.reshape(count, channels, side, side), 1, 3)
