"""Numbers that a document printed for its own data at its own scale.

They stand beside ours in columns named `reference_*`, headed HEADER, and nowhere else: they are no target, no threshold
and no stand-in for a result that is missing here. An experiment without a document has no references.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from synthmed.core.errors import InputError

HEADER = "document (its data and scale)"


@dataclass(frozen=True)
class Document:
    """What one document reports. A key that is missing was not reported.

    citation: where the numbers stand, for people.
    translation_quality: (receptive field in pixels, label) -> (inception score, FID); its Table 3.1
    synthesis_quality: label -> (inception score, FID) of FastGAN; its Table 3.2
    grid: (learning rate, dropout) -> (validation accuracy, false positives, false negatives); its Table 4.1
    arms: name of the training set -> (test accuracy, false positives, false negatives); its Table 4.2. Names: `real`,
        `<model>` or `<model>-<receptive field>`.
    synthetic_accuracy: (model, label or `all`) -> accuracy of the real-trained classifier on its images; its Table 4.4
        and section 4.3.4
    classic: `real` or `classic` -> test accuracy without and with classic augmentation; its Table 4.5
    """

    citation: str
    translation_quality: Mapping[tuple[int, str], tuple[float, float]]
    synthesis_quality: Mapping[str, tuple[float, float]]
    grid: Mapping[tuple[float, float], tuple[float, int, int]]
    arms: Mapping[str, tuple[float, int, int]]
    synthetic_accuracy: Mapping[tuple[str, str], float]
    classic: Mapping[str, float]


# 366 + 355 training and 40 + 39 test radiographs (Montgomery and Shenzhen), 256x256 pixels, one run of each model.
# Table 4.2 does not fit a test set of 79: 17 + 20 errors would be an accuracy of 0.53, not 0.76. Given as printed.
# Tables 4.1/4.2 and 4.4/4.5 come from two different versions of the experiment in that document.
TUBERCULOSIS = Document(
    citation=(
        "M. Sobolev, Comparison of Generative Adversarial Networks on medical imaging data, bachelor's thesis, "
        "Czech Technical University in Prague, 2021, Tables 3.1, 3.2, 4.1, 4.2, 4.4, 4.5 (Montgomery and Shenzhen "
        "chest X-rays, 721 for training and 79 for testing, Keras VGG16, one run each; numbers as printed)"
    ),
    translation_quality={
        (46, "normal"): (2.25, 136.55),
        (46, "abnormal"): (2.42, 133.73),
        (22, "normal"): (2.47, 143.81),
        (22, "abnormal"): (2.54, 114.94),
        (10, "normal"): (2.39, 92.98),
        (10, "abnormal"): (2.55, 91.13),
    },
    synthesis_quality={"normal": (1.58, 104.99), "abnormal": (1.40, 143.91)},
    grid={
        (0.0003, 0.3): (0.90, 8, 8),
        (0.0002, 0.4): (0.90, 8, 8),
        (0.0002, 0.5): (0.90, 8, 9),
        (0.0001, 0.4): (0.90, 8, 9),
        (0.0003, 0.5): (0.90, 9, 9),
        (0.0001, 0.3): (0.90, 9, 9),
        (0.0002, 0.3): (0.89, 9, 9),
        (0.0003, 0.4): (0.89, 8, 11),
        (0.0001, 0.5): (0.89, 9, 11),
    },
    arms={
        "real": (0.76, 17, 20),
        "fastgan": (0.76, 18, 19),
        "cyclegan-46": (0.76, 18, 19),
        "cyclegan-22": (0.80, 15, 15),
        "cyclegan-10": (0.70, 28, 23),
    },
    synthetic_accuracy={("dcgan", "all"): 0.695, ("dcgan", "abnormal"): 0.02},
    classic={"real": 0.70, "classic": 0.76},
)

# Its numbers belong to tables that only this experiment has; they stand in the modules of its sections.
CHEST_FINDINGS = Document(
    citation=(
        "M. Kim, Image synthesis and anomaly detection on chest radiographs using generative adversarial networks, "
        "master's thesis, University of Ulsan, 2021, Tables 1 to 6 (radiographs of Asan Medical Center and Seoul "
        "National University Bundang Hospital, PGGAN at 1024×1024 pixels, one run; numbers as printed)"
    ),
    translation_quality={},
    synthesis_quality={},
    grid={},
    arms={},
    synthetic_accuracy={},
    classic={},
)

DOCUMENTS: Mapping[str, Document] = {"tuberculosis": TUBERCULOSIS, "chest_findings": CHEST_FINDINGS}
"""Documents by the name that settings give in `references`."""


def document_of(references: str | None) -> Document | None:
    """The document that the setting `references` names, None for none. Raises InputError on an unknown name."""
    if references is None:
        return None
    if references not in DOCUMENTS:
        raise InputError(f"setting references is {references!r}; choose one of {list(DOCUMENTS)} or null")
    return DOCUMENTS[references]
