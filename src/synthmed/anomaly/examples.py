"""Cases for the figures of the report, drawn by chance, with their maps."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from synthmed.anomaly.cases import Case, EvaluateSettings
from synthmed.anomaly.found import read_found
from synthmed.anomaly.measured import processed_maps
from synthmed.anomaly.supervised import Supervised, class_maps
from synthmed.classifiers import network
from synthmed.core.files import atomic_path
from synthmed.data.imageset import ImageSet
from synthmed.training.device import derived_seed


def draw_examples(settings: EvaluateSettings, cases: Sequence[Case]) -> list[int]:
    """Query cases for the figures, by chance: `examples` abnormal ones, of one finding after another in the order of
    the settings, and as many normal ones. Nobody chose the ones that look best."""
    rng = np.random.default_rng(derived_seed(settings.seed, "examples of the anomaly test"))
    queue = {
        kind: rng.permutation(
            [number for number, case in enumerate(cases) if case.part == "query" and kind in case.findings]
        ).tolist()
        for kind in settings.kinds
    }
    chosen: list[int] = []
    while len(chosen) < settings.examples and any(queue.values()):
        for own in queue.values():
            if own and len(chosen) < settings.examples and (drawn := int(own.pop())) not in chosen:
                chosen.append(drawn)
    normal = [number for number, case in enumerate(cases) if case.part == "query" and not case.findings]
    return chosen + [int(number) for number in rng.permutation(normal)[: settings.examples]]


def write_examples(
    path: Path,
    settings: EvaluateSettings,
    cases: Sequence[Case],
    sets: Sequence[tuple[str, ImageSet]],
    positions: Sequence[np.ndarray],
    paths: Sequence[Path],
    classifier: network.Classifier,
    supervised: Supervised,
) -> None:
    """The example cases: image (E,) names; query, reconstruction uint8 (E, H, W, C); difference float16 (E, H, W),
    signed; positive, processed float16 (E, H, W): positive map before and after post-processing; activation float16
    (E, H, W): Grad-CAM of the classifier's loudest finding; boxes, (E,) text as in the manifest."""
    chosen = draw_examples(settings, cases)
    place = {case.image: number for number, case in enumerate(cases)}
    parts: dict[int, dict[str, np.ndarray | str]] = {}
    for (_, images), where, result in zip(sets, positions, paths, strict=True):
        names = [images.rows[int(position)]["image"] for position in where]
        own = [number for number, name in enumerate(names) if place[name] in chosen]
        if not own:
            continue
        found = read_found(result)
        pixels = np.stack([entry[1] for entry in images.entries(where[own])])
        maps = processed_maps(found.residual[own], settings)
        targets = supervised.target[[place[names[number]] for number in own]]
        activations = class_maps(classifier, pixels, targets)
        for row, number in enumerate(own):
            parts[place[names[number]]] = {
                "image": names[number],
                "query": pixels[row],
                "reconstruction": found.reconstruction[number],
                "difference": found.residual[number].astype(np.float32).mean(axis=2).astype(np.float16),
                "positive": maps["raw"]["positive"][row].astype(np.float16),
                "processed": maps["post-processed"]["positive"][row].astype(np.float16),
                "activation": activations[row].astype(np.float16),
                "boxes": images.rows[int(where[number])].get("boxes", ""),
            }
    # Through a handle, because savez appends .npz to names of its own liking.
    with atomic_path(path) as temporary, open(temporary, "wb") as handle:
        np.savez(handle, **{name: np.stack([parts[number][name] for number in chosen]) for name in parts[chosen[0]]})
