"""From the residuals of a search to scores and localisation of every case."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import numpy as np

from synthmed.anomaly.cases import Case, EvaluateSettings, Processing, read_cases
from synthmed.anomaly.found import Found, places, read_found
from synthmed.core.errors import InputError
from synthmed.data.imageset import ImageSet
from synthmed.metrics import localisation
from synthmed.metrics.difference_maps import SCORES, SIGNS, Score, Sign, difference_maps, image_scores, post_process

PROCESSINGS: tuple[Processing, ...] = get_args(Processing)


@dataclass(frozen=True)
class Measured:
    """What one search gives for N cases. scores: (score, processing) → (N,); hits, precisions: (sign, processing) →
    (N,), NaN where a case has nothing to be located; iterations, passes, errors: (N,); encoder: bool (N,)."""

    scores: dict[tuple[Score, Processing], np.ndarray]
    hits: dict[tuple[Sign, Processing], np.ndarray]
    precisions: dict[tuple[Sign, Processing], np.ndarray]
    iterations: np.ndarray
    passes: np.ndarray
    errors: np.ndarray
    encoder: np.ndarray


def processed_maps(residuals: np.ndarray, settings: EvaluateSettings) -> dict[Processing, dict[Sign, np.ndarray]]:
    """Maps (N, H, W) of residuals (N, H, W, C): as they are, and smoothed with the frame set to 0."""
    raw = {sign: difference_maps(residuals, sign) for sign in SIGNS}
    return {
        "raw": raw,
        "post-processed": {sign: post_process(maps, settings.smoothing, settings.border) for sign, maps in raw.items()},
    }


def chances(regions: Sequence[np.ndarray | None], settings: EvaluateSettings) -> dict[Processing, np.ndarray]:
    """What maps of noise reach by chance in these regions (bool (H, W)), processing → (N,), NaN where there is none.

    Raw: the region's share of all pixels. Post-processed: its share of the pixels inside the frame, because the maximum
    of the map is never in the frame.
    """
    found: dict[Processing, list[float]] = {processing: [] for processing in PROCESSINGS}
    for region in regions:
        if region is None:
            raw = processed = np.nan
        else:
            ones = np.ones((1, *region.shape), dtype=np.float32)
            inner = post_process(ones, smoothing=0.0, border=settings.border)[0] > 0
            raw, processed = localisation.chance(region), localisation.chance(region, inner)
        found["raw"].append(raw)
        found["post-processed"].append(processed)
    return {processing: np.array(values) for processing, values in found.items()}


def measure(found: Found, cases: Sequence[Case], settings: EvaluateSettings) -> Measured:
    """Scores and localisation of the `found` of these cases, in batches."""
    blocks: list[Measured] = []
    for start in range(0, len(cases), settings.batch_size):
        rows = slice(start, start + settings.batch_size)
        maps = processed_maps(found.residual[rows], settings)
        scores = {
            (score, processing): image_scores(maps[processing], score, settings.top_share)
            for score in SCORES
            for processing in PROCESSINGS
        }
        hits, precisions = {}, {}
        for sign in SIGNS:
            for processing in PROCESSINGS:
                own = list(zip(maps[processing][sign], cases[rows], strict=True))
                hits[sign, processing] = np.array(
                    [np.nan if c.boxes is None else localisation.pointing_game(one, c.boxes) for one, c in own]
                )
                precisions[sign, processing] = np.array(
                    [np.nan if c.mask is None else localisation.average_precision(one, c.mask) for one, c in own]
                )
        blocks.append(
            Measured(
                scores, hits, precisions, found.iterations[rows], found.passes[rows], found.error[rows],
                found.started[rows] == "encoder",
            )
        )  # fmt: skip
    return joined(blocks)


def joined(blocks: Sequence[Measured]) -> Measured:
    """Several blocks of cases as one."""

    def together(name: str) -> dict:
        first = getattr(blocks[0], name)
        return {key: np.concatenate([getattr(block, name)[key] for block in blocks]) for key in first}

    return Measured(
        **{name: together(name) for name in ("scores", "hits", "precisions")},
        **{
            name: np.concatenate([getattr(block, name) for block in blocks])
            for name in ("iterations", "passes", "errors", "encoder")
        },
    )


def read_searches(
    settings: EvaluateSettings, sets: Sequence[tuple[str, ImageSet]], paths: dict[str, list[Path]]
) -> tuple[list[Case], dict[str, Measured], list[np.ndarray]]:
    """Cases, measurements of each search, and the positions of the cases in each image set.

    sets: (part, image set); paths: search → its results, one for each set. Raises InputError when the searches differ
    in their images or two sets hold an image of the same name.
    """
    cases: list[Case] = []
    blocks: dict[str, list[Measured]] = {name: [] for name in settings.searches}
    positions: list[np.ndarray] = []
    for number, (part, images) in enumerate(sets):
        own: list[Case] = []
        for name in settings.searches:
            path = paths[name][number]
            found = read_found(path)
            where = places(path, found, images)
            if name == settings.searches[0]:
                own = read_cases(images, where, part, settings)
                positions.append(where)
            elif not np.array_equal(where, positions[-1]):
                raise InputError(
                    f"{path}: searched other images of {images.path} than {paths[settings.searches[0]][number]}; give "
                    "both searches the same labels and limit"
                )
            blocks[name].append(measure(found, own, settings))
        cases += own
    seen: set[str] = set()
    for case in cases:
        if case.image in seen:
            raise InputError(f"two of the image sets hold an image {case.image!r}; give every image once")
        seen.add(case.image)
    return cases, {name: joined(parts) for name, parts in blocks.items()}, positions
