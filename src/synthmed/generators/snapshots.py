"""Watching the training of a generator: samples from fixed noise, and the signs that it collapses."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path
from synthmed.generators.base import Generator
from synthmed.training import distributed
from synthmed.training.device import derived_seed
from synthmed.training.history import TrainingError
from synthmed.training.images import reduced, to_model, to_pixels

logger = logging.getLogger(__name__)
COLLAPSE_SHARE = 0.05
"""Samples whose diversity is below this share of the real images' look all the same."""
COLLAPSE_CHECKS = 3
"""Consecutive checks with such samples, in the second half of the training, that end it."""
COLUMNS = 8
ROWS = 4
"""The final grid has ROWS × COLUMNS samples a class; a snapshot shows the first COLUMNS."""
SNAPSHOT_ROWS = 6
"""Snapshots shown above the final grid, evenly spaced over the training."""
TILE = 128
"""Snapshots and grid tiles are reduced to at most this many pixels a side."""


def diversity(images: Tensor) -> float:
    """Mean over pixels of the standard deviation over images, in units of the pixels. images: (N ≥ 2, C, H, W)."""
    return images.float().std(dim=0).mean().item()


class Samples:
    """Samples from the same noise (and sources) during the whole training: the pictures and their diversity.

    The diversity is relative to that of as many real images of the class: about 1 when samples vary as real images do,
    0 when they are all the same.
    """

    def __init__(self, model: Generator, real: Callable[[Tensor], Tensor], labels: Tensor, seed: int):
        """real: positions (n,) → real images, uint8 (n, C, H, W), with the channels of their masks behind theirs where
        the model needs masks; labels: of all of them, (N,) positions in the model's classes."""
        self.model, self.seed = model, seed
        self.final: list[Tensor] = []
        """For each class the last drawn samples, uint8 (n, C, H, W)."""
        self.snapshots: list[dict[str, Any]] = []
        """step and, for each class, the first COLUMNS samples, reduced."""
        self.low = 0
        """Consecutive checks below COLLAPSE_SHARE."""
        self.sources: list[Tensor | None] = []
        """What the samples of each class are made from, uint8 (n, C, H, W); None: from noise alone."""
        self.real_diversity: list[float] = []
        for position, label in enumerate(model.classes):
            own = real(torch.nonzero(labels == position)[: ROWS * COLUMNS, 0])
            own, masks = own.tensor_split([model.image_shape[0]], dim=1)
            if len(own) < 2 or diversity(own) == 0:
                raise InputError(f"the real images of {label!r} are all the same; a generator needs different images")
            self.real_diversity.append(diversity(to_model(own)))
            if "mask" in model.needs:
                self.sources.append(masks)
            elif "origin" in model.needs:
                self.sources.append(own)
            elif "image" in model.needs:
                self.sources.append(real(torch.nonzero(labels != position)[: ROWS * COLUMNS, 0]))
            else:
                self.sources.append(None)

    def draw(self) -> list[Tensor]:
        """For each class the samples of the fixed noise: float32 (n, C, H, W) on the CPU."""
        drawn = []
        for label, sources in zip(self.model.classes, self.sources, strict=True):
            noise = torch.Generator().manual_seed(derived_seed(self.seed, f"grid {label}"))
            parts = []
            for start in range(0, ROWS * COLUMNS if sources is None else len(sources), COLUMNS):
                source = None
                if sources is not None:
                    source = to_model(sources[start : start + COLUMNS].to(self.model.device))
                count = COLUMNS if source is None else len(source)
                parts.append(self.model.sample(count, label, noise, source).cpu())
            drawn.append(torch.cat(parts))
        return drawn

    def check(self, step: int, total_steps: int) -> float:
        """Draw samples, keep them, return the lowest diversity over the classes.

        Raises TrainingError when a sample is not finite, or when the generator collapsed.
        """
        drawn = self.draw()
        if not all(torch.isfinite(images).all() for images in drawn):
            raise TrainingError(f"training step {step}: samples are not finite; start again with a lower learning rate")
        self.final = [to_pixels(images) for images in drawn]
        self.snapshots.append({"step": step, "images": [_tiles(images[:COLUMNS]) for images in self.final]})
        shares = [diversity(images) / real for images, real in zip(drawn, self.real_diversity, strict=True)]
        lowest = min(shares)
        if lowest >= COLLAPSE_SHARE:
            self.low = 0
            return lowest
        label = self.model.classes[shares.index(lowest)]
        logger.warning(f"step {step}: samples of {label!r} look all the same (diversity {lowest:.3f} of real images')")
        # Young generators make nearly equal images too, so only the second half of the training counts.
        if step > total_steps / 2:
            self.low += 1
        if self.low >= COLLAPSE_CHECKS:
            raise TrainingError(
                f"training step {step}: the generator collapsed: all samples of {label!r} are the same in {self.low} "
                "checks in a row. Try a lower learning rate, more images or augmentation, or another seed"
            )
        return lowest

    def write(self, path: Path) -> None:
        """PNG: rows of snapshots with their step, then the final grid; above, the images or masks that the model needs.
        Of several ranks, rank 0 writes."""
        if distributed.rank() > 0:
            return
        chosen = self.snapshots[:-1]
        if len(chosen) > SNAPSHOT_ROWS:
            evenly = np.linspace(0, len(chosen) - 1, SNAPSHOT_ROWS).round().astype(int)
            chosen = [chosen[i] for i in evenly]
        lines: list[tuple[str, Tensor]] = []
        for position, label in enumerate(self.model.classes):
            source, final = self.sources[position], _tiles(self.final[position])
            if source is not None:
                lines.append(("source", _tiles(source[:COLUMNS])))
            lines += [(f"step {snapshot['step']}", snapshot["images"][position]) for snapshot in chosen]
            lines += [
                (f"{label}\nstep {self.snapshots[-1]['step']}" if start == 0 else "", final[start : start + COLUMNS])
                for start in range(0, len(final), COLUMNS)
            ]
        with atomic_path(path) as temporary:
            draw_lines(lines).save(temporary)

    def state(self) -> dict[str, Any]:
        return {"snapshots": self.snapshots, "final": self.final, "low": self.low}

    def load_state(self, state: dict[str, Any]) -> None:
        self.snapshots, self.final, self.low = state["snapshots"], state["final"], state["low"]


def _tiles(images: Tensor) -> Tensor:
    """uint8 (N, C, H, W), reduced to at most TILE pixels a side."""
    return reduced(images.float(), TILE).round().to(torch.uint8)


def draw_lines(lines: list[tuple[str, Tensor]]) -> Image.Image:
    """A picture of rows of images, each (text, uint8 (n, C, H, W)), with the text at the left."""
    gutter, gap = 80, 2
    height, width = (side + gap for side in lines[0][1].shape[2:])
    canvas = Image.new("RGB", (gutter + width * max(len(images) for _, images in lines), height * len(lines)), "white")
    pen = ImageDraw.Draw(canvas)
    for row, (text, images) in enumerate(lines):
        pen.multiline_text((4, row * height + 4), text, fill="black")
        for column, image in enumerate(images):
            pixels = image.permute(1, 2, 0).numpy()
            # Of two channels the second is shown as green and blue, of more than three the first three.
            pixels = pixels[:, :, 0] if pixels.shape[2] == 1 else pixels[:, :, [0, 1, min(2, pixels.shape[2] - 1)]]
            picture = Image.fromarray(pixels)
            canvas.paste(picture, (gutter + column * width, row * height))
    return canvas
