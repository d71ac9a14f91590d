"""Captions of the tables and figures of the page."""


def table_captions(document: bool) -> dict[str, str]:
    """Captions by the name of the output; document: whether the tables carry a document's numbers."""
    shaded = " Shaded columns: the document's numbers, for its own data." if document else ""

    def theirs(number: str) -> str:
        return f" (The document's Table {number}.)" if document else ""

    quality = (
        "Each value with its 95 % interval; below it the value of only as many generated images as the floor has, "
        "and the floor: the same measure between the training images and held-out real ones."
    )
    return {
        "table_4_2": (
            "Every training set, tested on the same real images: mean over seeds with 95 % interval; false "
            "positives and negatives are means over seeds. The verdict follows from the comparison with the "
            f"real-only arm.{theirs('4.2')}{shaded}"
        ),
        "table_data": "Images and patients in each part. No patient is in two parts.",
        "table_3_1": f"Quality of images translated between classes by CycleGAN. {quality}{theirs('3.1')}{shaded}",
        "table_3_2": f"Quality of images made by FastGAN. {quality}{theirs('3.2')}{shaded}",
        "table_quality": f"Quality of images made by the other generators. {quality}",
        "table_4_4": (
            "Accuracy on generated images of the classifier that was trained on real ones: do they show the class "
            f"they claim?{theirs('4.4')}{shaded}"
        ),
        "table_4_1": f"Choice of learning rate and dropout by validation, real images only.{theirs('4.1')}{shaded}",
        "table_4_5": f"Classic augmentation (flips, rotations, zooms) against none.{theirs('4.5')}{shaded}",
        "table_sweep": "The share of generated images among all training images, from none upwards.",
        "table_copies": "Copy audit. A suspect is nearer to a training image than nearly all held-out real images are.",
        "table_validation": "Verdicts where the truth is known: how often each was given, with 95 % interval.",
    }


def figure_captions() -> dict[str, str]:
    """Captions by the name of the output."""
    return {
        "figure_verdicts": (
            "The main result. Effect of each training set on the AUROC of the classifier, against training on real "
            "images only, with 95 % intervals. Blue triangles: helps; grey circles: no evidence of a difference; "
            "orange triangles: harms."
        ),
        "figure_samples": "Real training images and generated ones, drawn at random, not picked.",
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
