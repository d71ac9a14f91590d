"""Captions of the tables and figures of the page."""

from collections.abc import Mapping, Sequence

from synthmed.report.page_words import joined
from synthmed.report.references import Document
from synthmed.report.results import GeneratorEntry


def table_captions(
    document: Document | None, generators: Mapping[str, GeneratorEntry], pseudo_labelled: Sequence[str]
) -> dict[str, str]:
    """Captions by the name of the output.

    document: whose numbers the tables carry, if any; pseudo_labelled: generators whose images a classifier labelled.
    """

    def theirs(number: str, reported: str) -> str:
        if document is None or not getattr(document, reported):
            return ""
        return f" (The document's Table {number}.) Shaded columns: the document's numbers, for its own data."

    others = [entry.title for entry in generators.values() if entry.model not in ("cyclegan", "fastgan")]
    labelled = _labelled(generators, pseudo_labelled)
    quality = (
        "Each value with its 95 % interval; below it the value of only as many generated images as the floor has, "
        "and the floor: the same measure between the training images and held-out real ones."
    )
    return {
        "table_4_2": (
            "Every training set, tested on the same real images: mean over seeds with 95 % interval; false "
            "positives and negatives are means over seeds. The verdict follows from the comparison with the "
            f"real-only arm.{theirs('4.2', 'arms')}"
        ),
        "table_data": "Images and patients in each part. No patient is in two parts.",
        "table_3_1": (
            f"Quality of images translated between classes by CycleGAN. {quality}{theirs('3.1', 'translation_quality')}"
        ),
        "table_3_2": f"Quality of images made by FastGAN. {quality}{theirs('3.2', 'synthesis_quality')}",
        "table_quality": f"Quality of images made by {joined(others or ['other generators'])}. {quality}",
        "table_4_4": (
            "Accuracy on generated images of the classifier that was trained on real ones: do they show the class "
            f"they claim?{labelled}{theirs('4.4', 'synthetic_accuracy')}"
        ),
        "table_4_1": f"Choice of learning rate and dropout by validation, real images only.{theirs('4.1', 'grid')}",
        "table_4_5": f"Classic augmentation (flips, rotations, zooms) against none.{theirs('4.5', 'classic')}",
        "table_sweep": "The share of generated images among all training images, from none upwards.",
        "table_copies": "Copy audit. A suspect is nearer to a training image than nearly all held-out real images are.",
        "table_validation": "Verdicts where the truth is known: how often each was given, with 95 % interval.",
    }


def figure_captions(generators: Mapping[str, GeneratorEntry], pseudo_labelled: Sequence[str]) -> dict[str, str]:
    """Captions by the name of the output; generators, pseudo_labelled: see table_captions."""
    return {
        "figure_verdicts": (
            "The main result. Effect of each training set on the AUROC of the classifier, against training on real "
            "images only, with 95 % intervals. Blue triangles: helps; grey circles: no evidence of a difference; "
            "orange triangles: harms."
        ),
        "figure_samples": (
            "Real training images and generated ones, drawn at random, not picked."
            f"{_labelled(generators, pseudo_labelled)}"
        ),
        "figure_training": (
            "Losses of every training over its optimiser steps; dashed, the diversity of samples from fixed noise "
            "(1: as varied as real images, 0: all the same)."
        ),
        "figure_fidelity": (
            "Quality of the generated images, all classes together, with 95 % bootstrap intervals. Dashed line and "
            "band: the same measure between real and held-out real images, the floor, with as many images. Dotted: "
            "repeated training images."
        ),
        "figure_sweep": (
            "AUROC on real test images against the share of generated images in training; band: 95 % interval; "
            "dashed: real images only."
        ),
        "figure_roc": "ROC curves on the real test images, mean over seeds. Dashed: real images only.",
        "figure_confusion": "Decisions on the real test images, mean number over seeds and share of the row.",
        "figure_validation": "How often each verdict is given where the truth is known, with 95 % intervals.",
    }


def copy_caption(title: str) -> str:
    """Caption of the closest pairs of the generator called `title`."""
    return (
        f"{title}: the generated images that lie closest to a training image, each beside the nearest training "
        "image by features and by pixels."
    )


def _labelled(generators: Mapping[str, GeneratorEntry], pseudo_labelled: Sequence[str]) -> str:
    if not pseudo_labelled:
        return ""
    titles = joined([generators[name].title for name in pseudo_labelled])
    return f" The labels of the images of {titles} were given by a classifier trained on real images."
