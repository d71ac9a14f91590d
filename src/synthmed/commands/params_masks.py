"""Settings of methods that are about masks, a part of params.py."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from synthmed.classifiers.network_settings import NetworkOptions
from synthmed.core.settings import Count, Names
from synthmed.data.second_test import SecondTest
from synthmed.data.split import SplitSettings
from synthmed.evaluation.compare import StatisticsOptions
from synthmed.evaluation.compose_scales import Folds
from synthmed.evaluation.mask_agreement import AgreementOptions
from synthmed.evaluation.score_networks import ScoringOptions
from synthmed.evaluation.score_segmenters import SegmenterScoringOptions
from synthmed.metrics.outcomes import OUTCOMES
from synthmed.prepare.images import PrepareOptions
from synthmed.segmenters.settings import SegmenterOptions


@dataclass(frozen=True)
class MultiScale:
    """Segmenters at several sizes, and a last network that sees what they all draw."""

    sizes: Annotated[
        tuple[tuple[Annotated[int, Meta(ge=8)], Annotated[int, Meta(ge=8)]], ...],
        Meta(
            min_length=2,
            description="Height and width of each, the largest first: at most that of the prepared images.",
            extra_json_schema={"unit": "px", "uniqueItems": True},
        ),
    ]
    folds: Folds
    outcome: Annotated[Literal[tuple(OUTCOMES)], Meta(description="The outcome that decides.")]
    training: Annotated[
        SegmenterOptions,
        Meta(description="Of every network, the last ones included; `size` is null, and nothing is left to choose."),
    ]
    scoring: SegmenterScoringOptions
    statistics: StatisticsOptions


@dataclass(frozen=True)
class MaskAgreement(AgreementOptions):
    """Whether what generators paint follows masks that they have and have not seen, by a segmenter of other images."""

    dataset: Annotated[str, Meta(description="The data set that the judging segmenter is trained on.")]
    split: Annotated[
        SplitSettings, Meta(description="Of those of its images that the experiment has not; the test part is unused.")
    ]
    generators: Annotated[Names, Meta(description="Generators that paint images for masks.")]
    training: Annotated[SegmenterOptions, Meta(description="Of the judge; nothing is left to choose.")]


@dataclass(frozen=True)
class LearningCurve:
    """Whether the images of a generator help a segmenter where there are fewer real ones, which both learn from."""

    task: Annotated[str, Meta(description="The task of segmentation whose segmenter, scoring and statistics it takes.")]
    generator: Annotated[
        str, Meta(description="Trained anew at every size. It paints images for the masks of its own real images.")
    ]
    sizes: Annotated[
        tuple[Count, ...],
        Meta(
            min_length=1,
            description="Real training images, ascending; a smaller number is a part of a larger one. Validation and "
            "test images are those of the experiment.",
            extra_json_schema={"uniqueItems": True},
        ),
    ]
    added_share: Annotated[float, Meta(gt=0, description="Generated images that are added for each real one.")]


@dataclass(frozen=True)
class MaskChannel:
    """Classifiers of another data set that are given the mask that a segmenter of this experiment draws."""

    dataset: Annotated[str, Meta(description="The data set that they are trained and tested on.")]
    positive: Annotated[str, Meta(description="The class that sensitivity and areas under the curve refer to.")]
    prepare: PrepareOptions
    split: SplitSettings
    training: Annotated[NetworkOptions, Meta(description="Of every classifier; its targets are the classes.")]
    scoring: ScoringOptions
    second_test: SecondTest
    outcome: Annotated[Literal[tuple(OUTCOMES)], Meta(description="The outcome that decides.")]
    statistics: StatisticsOptions
    examples: Annotated[Count, Meta(description="Test images that are shown.")]
