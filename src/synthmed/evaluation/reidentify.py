"""Step `reidentify`: are patients recognised in generated images?

Seed 000, section 3.2.1: a classifier whose classes are patients is trained on real images until it knows them by heart,
and asked whose the generated ones are. There the images that it was trained on stand beside the generated ones, which
cannot tell privacy from ordinary generalisation; here also unseen real images of the same patients do.
"""

import logging
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np
import torch
from msgspec import Meta

from synthmed.classifiers.frozen_backbone import Head, Schedule, TrainedHeads, train_heads
from synthmed.classifiers.labelled_images import Part, augmented, resized
from synthmed.classifiers.network import Classifier, Training, likelihoods
from synthmed.classifiers.network_settings import LearnerOptions, NetworkSettings
from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import hash_file, write_json
from synthmed.core.provenance import code_hashes
from synthmed.core.settings import Classes, Count, Seed, Share, SyntheticSets
from synthmed.core.step import Output, step
from synthmed.data.features import read_features
from synthmed.data.imageset import ImageSet
from synthmed.evaluation.scores import Cases, Scores, write_scores
from synthmed.extractors.extractor import Extractor
from synthmed.extractors.features import FeatureOptions, load_extractor
from synthmed.metrics.reidentification import CHANGED, SEEN, TOP, UNSEEN, chance, rank_of, sources_found
from synthmed.metrics.stains import colours_of, normalised
from synthmed.training.checked import train_seeds
from synthmed.training.device import choose_device
from synthmed.training.resume import ResumeState
from synthmed.training.seeds import seed_of
from synthmed.weights import read as weight_files

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Changes:
    """Mild changes of real images, drawn for each."""

    flip: Annotated[bool, Meta(description="Mirror half of them.")]
    shift: Annotated[float, Meta(ge=0, lt=0.5, description="Largest shift, share of the side; the border repeats.")]
    colour: Annotated[
        Share, Meta(description="Largest factor of each channel, apart from 1: 0.1 for factors from 0.9 to 1.1.")
    ]


@dataclass(frozen=True)
class HeadRecogniser:
    """A head on frozen features, whose classes are patients."""

    kind: Annotated[Literal["head"], Meta(description="head: on frozen features; network: every weight is trained.")]
    learning_rate: Annotated[float, Meta(gt=0, description="Of Adam.")]
    dropout: Annotated[float, Meta(ge=0, lt=1, description="Share of the features that is dropped in training.")]
    seeds: Annotated[Count, Meta(description="Trainings.")]
    steps: Annotated[Count, Meta(description="Optimiser steps.")]
    batch_size: Annotated[int, Meta(ge=2, description="Images of a step.")]
    check_every: Annotated[Count, Meta(description="Steps between looks at its loss on the images it is trained on.")]


@dataclass(frozen=True)
class NetworkRecogniser(LearnerOptions):
    """A network of which every weight is trained, whose classes are patients."""

    kind: Annotated[Literal["network"], Meta(description="head: on frozen features; network: every weight is trained.")]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.processes != 1:
            raise InputError(f"setting recogniser.processes is {self.processes}; several are not supported here: 1")


@dataclass(frozen=True)
class ReidentifyOptions:
    """Whether patients are recognised in generated images."""

    patients: Annotated[
        tuple[Annotated[int, Meta(ge=2)], ...],
        Meta(
            min_length=1,
            description="Numbers of training patients that are told apart, ascending; the fewer are among the more, "
            "and the classes of the experiment take turns.",
            extra_json_schema={"uniqueItems": True},
        ),
    ]
    variants: Annotated[
        tuple[Literal["plain", "normalised"], ...],
        Meta(
            min_length=1,
            description="plain: images as they are; normalised: all colour images with the same means and deviations "
            "of their colours, because stain tells the slide.",
            extra_json_schema={"uniqueItems": True},
        ),
    ]
    changes: Changes
    recogniser: HeadRecogniser | NetworkRecogniser


@dataclass(frozen=True)
class ReidentifySettings(ReidentifyOptions, FeatureOptions):
    """Settings of `reidentify`."""

    extractor: Annotated[
        str, Meta(description="The network whose features the head stands on, and the nearest image is sought in.")
    ]
    classes: Classes
    sets: SyntheticSets
    seed: Seed

    def __post_init__(self) -> None:
        if list(self.patients) != sorted(self.patients):
            raise InputError(f"setting patients is {list(self.patients)}; fewer come first")


@dataclass(frozen=True, eq=False)
class Images:
    """names, patients, labels: str (N,); pixels: uint8 (N, H, W, C); features, squares: float32 (N, D), or None as
    long as there are none."""

    names: np.ndarray
    patients: np.ndarray
    labels: np.ndarray
    pixels: np.ndarray
    features: np.ndarray | None = None
    squares: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: np.ndarray) -> "Images":
        """Those at `rows`: positions, or bool (N,)."""
        every = {name: values for name, values in vars(self).items() if values is not None}
        return replace(self, **{name: values[rows] for name, values in every.items()})


@step("reidentify")
def reidentify(
    settings: ReidentifySettings,
    *,
    train: Path,
    unseen: Path,
    synthetic: list[Path],
    features: list[Path],
    weights: Path | None,
    pretrained: Path | None,
    scores: Output,
    retrieval: Output,
    summary: Output,
) -> None:
    """Train classifiers of patients on real images, and ask them whose other images are.

    train: image set that the generators learned from; unseen: further images of its patients; synthetic: in the order
    of settings.sets; features: of all these sets, in this order, by settings.extractor, where settings.variants has
    plain, else none; weights: of the extractor; pretrained: those that a network starts from. An image that was made
    from a training image (column `origin`) is that one's patient's; a set without such images has no right patients,
    and is not asked. Every classifier is trained on all training images of its patients, and its weights are those with
    the lowest loss on these, as an attacker who has them would choose.

    scores: as scores.py says, an arm for each variant, a test set `<patients>.<set>` for each number of patients and
    each of SEEN, CHANGED, UNSEEN and the asked sets; columns reidentified, reidentified_top5 (0 or 1) and chance
    (metrics.reidentification.chance, by the label of the training image that an image was made from, else its own).
    retrieval: of CHANGED and the sets with origins, without trainings: whether the nearest training image is the
    source, `retrieved`, or one of the five nearest is, `retrieved_top5`. summary: JSON, counts and names. Raises
    InputError where there are too few patients with seen and unseen images, and where colours of grey images shall be
    normalised.
    """
    torch.set_num_threads(settings.threads)
    inputs, origins = _inputs(settings, train, unseen, synthetic, features)
    order = patients_in_order(inputs[SEEN], set(inputs[UNSEEN].patients), settings.classes, settings.seed)
    if len(order) < settings.patients[-1]:
        raise InputError(
            f"setting patients asks for {settings.patients[-1]}, but {len(order)} patients of {train} have images in "
            f"{unseen}, too; ask for fewer, or set more images of patients aside (split.of_each_patient)"
        )
    extractor, device = load_extractor(settings, weights), choose_device(settings.device)
    outcome = _Outcome({}, {}, {}, {}, [])
    for variant in settings.variants:
        shown = _variant(variant, inputs, train)
        shown = {
            name: _computed(extractor, images, settings, device) if images.features is None else images
            for name, images in shown.items()
        }
        for count in settings.patients:
            _ask(settings, variant, order[:count], shown, origins, pretrained, scores, outcome)
    columns = ("reidentified", "reidentified_top5", "chance")
    write_scores(scores, Scores(columns, outcome.cases, outcome.values))
    write_scores(retrieval, Scores(("retrieved", "retrieved_top5"), outcome.sources, outcome.found))
    write_json(
        summary,
        {
            "patients": list(settings.patients),
            "variants": list(settings.variants),
            "seeds": settings.recogniser.seeds,
            "recogniser": settings.recogniser.kind,
            "network": getattr(settings.recogniser, "architecture", extractor.human),
            "extractor": extractor.human,
            "sets": [name for name in settings.sets if name in origins],
            "not_asked": [name for name in settings.sets if name not in origins],
            "classes": {str(n): _classes_of(inputs[SEEN], order[:n]) for n in settings.patients},
        },
    )
    for resume in outcome.resumes:
        resume.remove()


class _Outcome(NamedTuple):
    """What all questions gave, for the two tables; resumes: of trainings that the tables contain."""

    cases: dict[str, Cases]
    values: dict[tuple[str, str], np.ndarray]
    sources: dict[str, Cases]
    found: dict[tuple[str, str], np.ndarray]
    resumes: list[ResumeState]


# ------------------------------------------------------------------------------------------------------------- images
def _inputs(
    settings: ReidentifySettings, train: Path, unseen: Path, synthetic: Sequence[Path], features: Sequence[Path]
) -> tuple[dict[str, Images], dict[str, np.ndarray]]:
    """Name → images, of SEEN, UNSEEN, CHANGED and the sets with origins; of the last two also the positions among the
    training images of what they were made from."""
    check_one_each(settings.sets, synthetic=synthetic)
    if len(features) != ("plain" in settings.variants) * (2 + len(synthetic)):
        raise InputError(
            f"{len(features)} feature files for {2 + len(synthetic)} sets; give those of train, unseen, synthetic in "
            "this order, or none where setting variants does not name plain"
        )
    files = dict(zip([train, unseen, *synthetic], features, strict=True)) if features else {}
    seen = _read(train, files.get(train))
    inputs = {SEEN: seen, UNSEEN: _read(unseen, files.get(unseen)), CHANGED: _changed(seen, settings)}
    origins = {CHANGED: np.arange(len(seen))}
    for name, path in zip(settings.sets, synthetic, strict=True):
        if (found := _made(_read(path, files.get(path)), path, seen)) is not None:
            inputs[name], origins[name] = found
    return inputs, origins


def _read(path: Path, features: Path | None) -> Images:
    """An image set, with the features of its images where their file is given."""
    images = ImageSet(path)
    names, patients, labels = (np.array(images.column(name)) for name in ("image", "patient", "label"))
    if features is None:
        return Images(names, patients, labels, images.pixels)
    found = read_features(features).as_is()
    if found.names.tolist() != names.tolist():
        raise InputError(f"{features}: of other images than {path}; compute the features again")
    return Images(names, patients, labels, images.pixels, found.features, found.needed_squares())


def _made(images: Images, path: Path, train: Images) -> tuple[Images, np.ndarray] | None:
    """The generated images whose source is a training image, and its position; None where no image has one."""
    place = {name: row for row, name in enumerate(train.names.tolist())}
    source = np.array([place.get(row.get("origin", ""), -1) for row in ImageSet(path).rows])
    kept = source >= 0
    return (replace(images.take(kept), patients=train.patients[source[kept]]), source[kept]) if kept.any() else None


def _changed(images: Images, settings: ReidentifySettings) -> Images:
    """The images, mildly changed."""
    changes, rng = settings.changes, torch.Generator().manual_seed(seed_of("changes", settings.seed))
    pixels = torch.from_numpy(np.ascontiguousarray(images.pixels.transpose(0, 3, 1, 2)))
    pixels = augmented(pixels, changes.flip, changes.shift, rng).numpy().transpose(0, 2, 3, 1)
    factor = 1 + changes.colour * (2 * torch.rand((len(pixels), 1, 1, pixels.shape[3]), generator=rng).numpy() - 1)
    return _shown_as(images, np.clip(np.rint(pixels * factor), 0, 255).astype(np.uint8))


def _shown_as(images: Images, pixels: np.ndarray) -> Images:
    """The images with other pixels, whose features are not known yet."""
    return replace(images, pixels=pixels, features=None, squares=None)


def _variant(variant: str, inputs: Mapping[str, Images], train: Path) -> dict[str, Images]:
    if variant == "plain":
        return dict(inputs)
    if inputs[SEEN].pixels.shape[3] != 3:
        raise InputError(f"{train}: setting variants names normalised, but its images have no colours; take it out")
    target = colours_of(inputs[SEEN].pixels)
    return {name: _shown_as(images, normalised(images.pixels, target)) for name, images in inputs.items()}


def _computed(extractor: Extractor, images: Images, settings: FeatureOptions, device: torch.device) -> Images:
    """The images with their features."""
    found = []
    with torch.inference_mode():
        for start in range(0, len(images), settings.batch_size):
            part = torch.from_numpy(images.pixels[start : start + settings.batch_size].transpose(0, 3, 1, 2).copy())
            pooled = extractor(part.to(device))
            found.append([values.float().cpu().numpy() for values in (pooled.features, pooled.squares)])
    features, squares = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return replace(images, features=features, squares=squares)


# ----------------------------------------------------------------------------------------------------------- patients
def patients_in_order(train: Images, unseen: set[str], classes: Sequence[str], seed: int) -> list[str]:
    """Patients with images of both kinds, of which the first n are those that n patients mean: drawn at random, the
    classes in turn. The class of a patient is that of most of their images, of equals the first."""
    labels: dict[str, Counter] = defaultdict(Counter)
    for patient, label in zip(train.patients.tolist(), train.labels.tolist(), strict=True):
        labels[patient][label] += 1
    rng, by_class = np.random.default_rng(seed_of("patients", seed)), []
    for label in classes:
        own = [name for name in sorted(labels) if max(classes, key=lambda one: labels[name][one]) == label]
        by_class.append(rng.permutation([name for name in own if name in unseen]).tolist())
    return [name for turn in zip_longest(*by_class) for name in turn if name is not None]


def _classes_of(train: Images, people: Sequence[str]) -> dict[str, int]:
    """How many of these patients have training images of each class."""
    own = np.isin(train.patients, people)
    pairs = set(zip(train.patients[own].tolist(), train.labels[own].tolist(), strict=True))
    return dict(sorted(Counter(label for _, label in pairs).items()))


# ---------------------------------------------------------------------------------------------------------- questions
def _ask(
    settings: ReidentifySettings,
    variant: str,
    people: Sequence[str],
    images: Mapping[str, Images],
    origins: Mapping[str, np.ndarray],
    pretrained: Path | None,
    scores: Path,
    outcome: _Outcome,
) -> None:
    """Train the classifiers of `people` in one variant, and add what they say to `outcome`."""
    number = {name: place for place, name in enumerate(people)}
    rows = np.flatnonzero(np.isin(images[SEEN].patients, people))
    train = images[SEEN].take(rows)
    tests, right = {}, {}
    for name, found in images.items():
        tests[name] = found.take(np.isin(found.patients, people))
        right[name] = np.array([number[patient] for patient in tests[name].patients.tolist()])
        if not len(tests[name]):
            raise InputError(f"of the set {name!r} no image is of these {len(people)} patients; draw more images of it")
    said = _recognised(settings, variant, train, number, tests, pretrained, scores, outcome)
    of_patients = [set(train.labels[train.patients == name].tolist()) for name in people]
    sources = {name: rows_of[np.isin(images[name].patients, people)] for name, rows_of in origins.items()}
    for name, found in tests.items():
        rank = rank_of(said[name], right[name])
        # A translated image has the label of its target, which the patient of its source may not have.
        labels = images[SEEN].labels[sources[name]] if name in sources else found.labels
        guess = np.broadcast_to(chance(labels, of_patients), rank.shape)
        test = f"{len(people)}.{name}"
        outcome.cases[test] = Cases(found.names, found.patients, found.labels)
        outcome.values[variant, test] = np.stack([rank < 1, rank < TOP, guess], axis=2).astype(float)
        if name in sources:
            rank = sources_found(found.features, train.features, np.searchsorted(rows, sources[name]))
            outcome.sources[test] = outcome.cases[test]
            outcome.found[variant, test] = np.stack([rank < 1, rank < TOP], axis=1)[None].astype(float)
    unseen = outcome.values[variant, f"{len(people)}.{UNSEEN}"][:, :, 0].mean()
    logger.info("%s, %d patients: unseen real images %.3f, chance %.3f", variant, len(people), unseen, 1 / len(people))


def _recognised(
    settings: ReidentifySettings,
    variant: str,
    train: Images,
    number: Mapping[str, int],
    tests: Mapping[str, Images],
    pretrained: Path | None,
    scores: Path,
    outcome: _Outcome,
) -> dict[str, np.ndarray]:
    """Likelihoods (S, N, patients) of the images of each test set."""
    labels = np.array([number[name] for name in train.patients.tolist()])
    if isinstance(settings.recogniser, HeadRecogniser):
        trained = _heads(settings, train, labels, len(number))
        return {name: trained.probabilities(images.features) for name, images in tests.items()}
    own = {name: value for name, value in asdict(settings.recogniser).items() if name != "kind"}
    fixed = {"target_column": "patient", "missing": "error", "holdout": None, "outputs": "exclusive"}
    network = NetworkSettings(
        **own, **fixed, targets=tuple(number), seed=settings.seed, arm=None, sets=(), augmentation=None
    )
    part = _part(network, train, labels)
    imagenet = None if pretrained is None else weight_files.load(network.pretrained, pretrained)[0]

    def said(training: Training, _history: object) -> dict[str, torch.Tensor]:
        training.model.load_state_dict(training.best["state"])
        training.model.eval()
        shape = tuple(part.pixels.shape[1:])
        one = Classifier(network.architecture, network.targets, shape, np.zeros(0), [training.model], True)
        found = {name: likelihoods(one, images.pixels, network.batch_size)[0] for name, images in tests.items()}
        return {name: torch.from_numpy(values) for name, values in found.items()}

    made_from = asdict(settings) | {"variant": variant, "patients": list(number), "code": code_hashes(__name__)}
    made_from |= {"weights": hash_file(pretrained) if pretrained else None}
    results, resume = train_seeds(
        network,
        Path(scores).with_name(f"{Path(scores).stem}.{variant}.{len(number)}.pt"),
        made_from,
        lambda seed, device: Training(network, seed, (part, part), imagenet, device),
        said,
    )
    outcome.resumes.append(resume)
    return {name: np.stack([one[name].numpy() for one in results]) for name in tests}


def _heads(settings: ReidentifySettings, train: Images, labels: np.ndarray, patients: int) -> TrainedHeads:
    """Heads on the features of the training images, chosen by these. labels: whose each is, int (N,)."""
    recogniser, rows = settings.recogniser, np.arange(len(train))
    heads = [
        Head(
            *(rows, labels, rows, labels),
            seed=seed_of("recogniser", settings.seed, seed),
            learning_rate=recogniser.learning_rate,
            dropout=recogniser.dropout,
        )
        for seed in range(recogniser.seeds)
    ]
    schedule = Schedule(recogniser.steps, recogniser.batch_size, recogniser.check_every)
    given = {"classes": patients, "positive": 0, "threads": settings.threads}
    return train_heads(train.features, train.squares, heads, schedule, **given)


def _part(network: NetworkSettings, train: Images, labels: np.ndarray) -> Part:
    """The training images as a network takes them, with a target for each patient."""
    size = tuple(network.size or train.pixels.shape[1:3])
    pixels = np.stack([resized(image, size) for image in train.pixels]).transpose(0, 3, 1, 2)
    targets = torch.from_numpy(np.eye(len(network.targets), dtype=np.float32)[labels])
    return Part(torch.from_numpy(np.ascontiguousarray(pixels)), targets, train.patients.tolist())
