"""A made-up anomaly test whose answers are known, for the evaluation and its section.

Images are grey with a little noise; a nodule is a bright patch in the upper left quarter, a rib fracture one in the
lower right. The search "seeing" reconstructs the grey, so both are in its residual; "blind" reconstructs the query
itself. The classifier knows the upper left quarter only. One of the four nodules is too faint for anybody.
"""

from pathlib import Path

import numpy as np
import torch
from small_generators import write_images
from torch import nn

from synthmed.anomaly.cases import EvaluateSettings
from synthmed.anomaly.evaluate import anomaly_evaluate
from synthmed.anomaly.found import Found, write_found
from synthmed.classifiers import network
from synthmed.core.files import write_json
from synthmed.data.imageset import ImageSet, write_image_set

GREY = 100
TARGETS = ("normal", "nodule")
SETTINGS = EvaluateSettings(
    seed=1,
    searches=("seeing", "blind"),
    search="seeing",
    score="top_positive",
    processing="post-processed",
    normal="normal",
    findings_column="findings",
    kinds=("nodule", "rib fracture", "atelectasis"),
    false_positive_rate=0.1,
    top_share=0.02,
    smoothing=0.03,
    border=0.07,
    level=0.95,
    resamples=200,
    examples=3,
    batch_size=4,
    threads=1,
    device="cpu",
)


class QuarterNetwork(nn.Module):
    """(N, 1, 16, 16) in [-1, 1] → logits (N, 2): the nodule's is steep in the brightest 4 × 4 block of the upper left
    quarter."""

    def __init__(self):
        super().__init__()
        self.blocks = nn.Conv2d(1, 1, 4, 4, bias=False)
        nn.init.constant_(self.blocks.weight, 1 / 16)

    @property
    def last_convolution(self) -> nn.Module:
        return self.blocks

    def forward(self, images):
        brightest = self.blocks(images)[:, 0, :2, :2].amax((1, 2)) - (2 * GREY / 255 - 1)
        return torch.stack([2 - 20 * brightest, 20 * brightest - 2], dim=1)


def classifier() -> network.Classifier:
    models = [QuarterNetwork().eval().requires_grad_(False) for _ in range(2)]
    return network.Classifier("small_cnn", TARGETS, (1, 16, 16), np.full((2, 2), 0.5), models)


def noisy(rng: np.random.Generator, count: int) -> np.ndarray:
    return (GREY + rng.integers(-3, 4, (count, 16, 16, 1))).astype(np.uint8)


def write_search(path: Path, images: Path, *, seeing: bool) -> Path:
    image_set = ImageSet(images)
    pixels, count = image_set.pixels, len(image_set)
    reconstruction = np.full_like(pixels, GREY) if seeing else pixels
    residual = (pixels.astype(np.float32) - reconstruction) / 255
    write_found(
        path,
        Found(
            images=np.array([row["image"] for row in image_set.rows]),
            reconstruction=reconstruction,
            residual=residual.astype(np.float16),
            z=np.zeros((count, 2), dtype=np.float32),
            loss=np.square(residual).mean((1, 2, 3)),
            error=np.square(residual).mean((1, 2, 3)),
            iterations=np.full(count, 7 if seeing else 1, dtype=np.int32),
            passes=np.full(count, 14 if seeing else 1, dtype=np.int32),
            started=np.full(count, "random" if seeing else "encoder"),
        ),
    )
    return path


def write_queries(path: Path) -> Path:
    """10 normal images, nodules (the last faint) with boxes, fractures with masks, 3 of the latter of one patient."""
    rng = np.random.default_rng(1)

    def rows():
        for number, pixels in enumerate(noisy(rng, 10)):
            yield {"image": f"n{number}.png", "label": "normal", "patient": f"n{number}", "findings": ""}, pixels
        for number, pixels in enumerate(noisy(rng, 4)):
            pixels[4:8, 4:8] += 1 if number == 3 else 90
            fields = {"image": f"a{number}.png", "label": "abnormal", "patient": f"a{number}", "findings": "nodule"}
            yield fields | {"boxes": "nodule:3.5,3.5,8.2,8.2"}, pixels
        for number, pixels in enumerate(noisy(rng, 3)):
            pixels[:8, :8] = GREY - 5
            pixels[10:13, 10:13] += 90
            mask = np.zeros((16, 16), dtype=np.uint8)
            mask[10:13, 10:13] = 255
            yield (
                {"image": f"b{number}.png", "label": "abnormal", "patient": "b", "findings": "rib fracture"},
                pixels,
                mask,
            )

    write_image_set(path, rows())
    return path


def write_inputs(folder: Path) -> dict[str, Path | list[Path]]:
    """Everything that the evaluation reads, by argument."""
    held_out = write_images(
        folder / "held.zip", noisy(np.random.default_rng(2), 20), ["normal"] * 20, findings=[""] * 20
    )
    queries = write_queries(folder / "test.zip")
    write_json(folder / "classifier.json", {"targets": list(TARGETS)})
    return {
        "held_out_images": held_out,
        "held_out": [
            write_search(folder / f"held_{name}.npz", held_out, seeing=name == "seeing") for name in SETTINGS.searches
        ],
        "query_images": [queries],
        "queries": [
            write_search(folder / f"test_{name}.npz", queries, seeing=name == "seeing") for name in SETTINGS.searches
        ],
        "classifier": folder / "classifier.pt",
        "classifier_report": folder / "classifier.json",
    }


def evaluate(folder: Path, inputs: dict, settings: EvaluateSettings = SETTINGS) -> dict[str, Path]:
    """Run the step; `network.load` must be patched to give classifier()."""
    outputs = {"out": folder / "out.json", "cases": folder / "cases.csv", "examples": folder / "examples.npz"}
    anomaly_evaluate(settings, **inputs, **outputs)
    return outputs
