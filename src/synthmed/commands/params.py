"""What the file of all settings looks like: data sets and experiments, made of the options of the steps.

The workflow reads the file and checks it against the JSON schema of these dataclasses (`synthmed schemas` writes it). A
step's settings are its options, inherited, and what follows from the experiment.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from synthmed import extractors
from synthmed.anomaly.cases import EvaluateOptions
from synthmed.anomaly.encoder import EncoderOptions
from synthmed.anomaly.search import SearchOptions
from synthmed.augment.classic import ClassicAugmentation
from synthmed.classifiers.network import PredictSettings
from synthmed.classifiers.network_settings import NetworkOptions
from synthmed.commands.params_generators import OfImages, OfMasks, TrainedHere
from synthmed.commands.params_masks import LearningCurve, MaskAgreement, MaskChannel, MultiScale
from synthmed.commands.params_probes import Edited, Filtered, ReaderStudy, Reidentification, Shortcuts, Tags
from synthmed.commands.params_types import Labels, Name, Title
from synthmed.core.settings import Count, Names, Seed, schema
from synthmed.data import sources
from synthmed.data.split import SplitSettings
from synthmed.data.targets import TargetColumn
from synthmed.evaluation.arms import ArmOptions
from synthmed.evaluation.classify import HeadOptions
from synthmed.evaluation.compare import StatisticsOptions
from synthmed.evaluation.copies import CopiesOptions
from synthmed.evaluation.grad_cam import GradCamOptions
from synthmed.evaluation.mask_diversity import DiversityOptions
from synthmed.evaluation.pair_distances import PairOptions
from synthmed.evaluation.plant_copies import PlantCopiesOptions
from synthmed.evaluation.pseudo_labels import PseudoLabelOptions
from synthmed.evaluation.removal import RemovalOptions
from synthmed.evaluation.score_networks import ScoringOptions
from synthmed.evaluation.score_segmenters import SegmenterScoringOptions
from synthmed.evaluation.states import StateOptions
from synthmed.evaluation.validate_segmentation import PixelValidationOptions
from synthmed.evaluation.validate_verdict import ValidationOptions
from synthmed.extractors.domain import DomainOptions
from synthmed.extractors.features import FeatureOptions
from synthmed.latent.axes import AxesOptions
from synthmed.latent.editing import EditingOptions
from synthmed.latent.path_length import PathLengthOptions
from synthmed.latent.paths import PathsOptions
from synthmed.latent.samples import LatentSamplesOptions
from synthmed.metrics.outcomes import OUTCOMES
from synthmed.metrics.quality import MetricOptions
from synthmed.prepare.dicom import PrepareDicomOptions
from synthmed.prepare.exclusions import ExcludeOptions
from synthmed.prepare.images import PrepareOptions
from synthmed.prepare.mask_out import MaskOutOptions, Region
from synthmed.prepare.slides import PrepareSlidesOptions
from synthmed.prepare.volumes import PrepareVolumesOptions
from synthmed.segmenters.settings import SegmenterOptions


# ---------------------------------------------------------------------------------------------------------- data sets
@dataclass(frozen=True)
class DataSet:
    """Raw images, and where they come from."""

    source: Annotated[
        Literal[tuple(sources.SOURCES)],
        Meta(description="Which reader understands the raw files, a file of src/synthmed/data/sources/."),
    ]
    provider: Annotated[
        Literal["phantom", "download", "file", "folder", "kaggle"],
        Meta(
            description="Where they come from: drawn, downloaded, placed by hand, packed from a folder of your own, or "
            "downloaded by Kaggle's client."
        ),
    ]
    options: Annotated[dict, Meta(description="What the provider needs; {} for a download.")]
    pool: Annotated[
        dict | None,
        Meta(
            description="A second draw of phantoms from the same distribution, for arms of known truth; null where "
            "there is none."
        ),
    ]


# -------------------------------------------------------------------------------------------------------- preparation
_FORMAT = "images: photographs, X-rays as PNG; dicom: DICOM films; volumes: CT; slides: whole slides."


@dataclass(frozen=True)
class Pictures(PrepareOptions):
    """From raw pictures to one image set."""

    format: Annotated[Literal["images"], Meta(description=_FORMAT)]
    labels: Labels | None


@dataclass(frozen=True)
class Films(PrepareDicomOptions):
    """From raw DICOM films to one anonymised image set."""

    format: Annotated[Literal["dicom"], Meta(description=_FORMAT)]
    labels: Labels | None


@dataclass(frozen=True)
class Volumes(PrepareVolumesOptions):
    """From CT volumes with masks to one anonymised image set of slices."""

    format: Annotated[Literal["volumes"], Meta(description=_FORMAT)]
    labels: Labels | None


@dataclass(frozen=True)
class Slides(PrepareSlidesOptions):
    """From whole slides to one image set of tiles."""

    format: Annotated[Literal["slides"], Meta(description=_FORMAT)]
    labels: Labels | None


# -------------------------------------------------------------------------------------------------------------- tasks
_MODEL = "head: on frozen features; network: every weight is trained; segmenter: so is every one, for masks."


@dataclass(frozen=True)
class Head:
    """A head on frozen features is under test."""

    kind: Annotated[Literal["head"], Meta(description=_MODEL)]
    backbone: Annotated[
        Literal[tuple(extractors.EXTRACTORS)], Meta(description="The frozen network, a key of `extractors`.")
    ]
    training: HeadOptions


@dataclass(frozen=True)
class Network:
    """A network is under test, of which every weight is trained."""

    kind: Annotated[Literal["network"], Meta(description=_MODEL)]
    training: NetworkOptions
    scoring: ScoringOptions


@dataclass(frozen=True)
class Segmenter:
    """A segmenter is under test, of which every weight is trained."""

    kind: Annotated[Literal["segmenter"], Meta(description=_MODEL)]
    training: SegmenterOptions
    scoring: SegmenterScoringOptions


@dataclass(frozen=True)
class Arms(ArmOptions):
    """What a task adds to the real training images, and of which generators."""

    generators: Annotated[
        Names | dict[Literal["added", "alone", "undersampled"], tuple[str, ...]] | None,
        Meta(
            description="Generators and derived sets that this task uses: a list; or apart, those that are added to "
            "the real images, those whose images are training sets of their own, and those that are added to as many "
            "real images of each class as the smallest has (undersampled; only_sweep names smallest, too); null: all, "
            "for the first two."
        ),
    ]


@dataclass(frozen=True)
class Target:
    """What a task tells apart."""

    column: TargetColumn
    classes: Annotated[tuple[str, ...], Meta(min_length=2, description="Its values, in order.")]
    positive: Annotated[str, Meta(description="The class of sensitivity and of the area under the curve.")]


@dataclass(frozen=True)
class Task:
    """What is asked of the synthetic images."""

    kind: Annotated[Literal["classification", "segmentation"], Meta(description="What the models under test do.")]
    title: Annotated[str, Meta(min_length=1, description="The question, for the report.")]
    outcome: Annotated[Literal[tuple(OUTCOMES)], Meta(description="The outcome that decides.")]
    model: Head | Network | Segmenter
    arms: Arms
    statistics: StatisticsOptions
    validation: Annotated[
        ValidationOptions | PixelValidationOptions | None,
        Meta(description="Of the verdict, on a pool of phantoms; null: none."),
    ]
    leaking: Annotated[
        bool | None,
        Meta(
            description="Whether the models are tested on unseen images of the patients that they were trained on "
            "(split.of_each_patient), as after a split by images, which flatters; without it on other patients."
        ),
    ] = None
    target: Annotated[
        Target | None, Meta(description="What is told apart in place of the labels; of heads. Without it the labels.")
    ] = None


# ---------------------------------------------------------------------------------- methods that only some ask for
@dataclass(frozen=True)
class Selection(ExcludeOptions):
    """Who is studied: rules in the order in which they are applied, null for none."""

    device_classifier: Annotated[
        str | None,
        Meta(description="Name of the classifier that says of empty cells of the column `device`; null: none does."),
    ]


@dataclass(frozen=True)
class PseudoLabels(PseudoLabelOptions):
    """Labels for generated images, by the real arm's network of a task."""

    task: Annotated[str, Meta(description="Name of the task.")]


@dataclass(frozen=True)
class GradCam(GradCamOptions):
    """Where the networks of a task look."""

    task: Annotated[str, Meta(description="Name of the task.")]


@dataclass(frozen=True)
class States(StateOptions):
    """Quality of images over the training of generators whose states are kept."""

    generators: Annotated[Names, Meta(description="Generators whose states are scored; keep_every of each is set.")]
    extractor: Annotated[
        Literal[tuple(extractors.EXTRACTORS)],
        Meta(description="The network that distances are measured with, a key of `extractors`."),
    ]
    choose: Annotated[
        tuple[str, ...],
        Meta(
            description="Those of them whose state with the lowest FID against the training images is used; of all "
            "others the last one is."
        ),
    ]
    marks: Annotated[tuple[Count, ...], Meta(description="Steps that the figures mark, as a document names them.")]
    steps_shown: Annotated[
        tuple[Count, ...],
        Meta(
            min_length=1,
            description="Steps whose images are shown, each by the nearest state (seed 002: 50, 450, 850, 1250).",
        ),
    ]


@dataclass(frozen=True)
class MaskDiversity(DiversityOptions):
    """Images of one mask: how they differ, and by what."""

    generators: Annotated[Names, Meta(description="Generators that paint images for masks.")]


@dataclass(frozen=True)
class DiseaseAxes:
    """Directions of findings in latent space, and what moving along them does."""

    generator: Annotated[str, Meta(description="Name of the generator, one with a latent vector and one training.")]
    classifier: Annotated[str, Meta(description="Name of the classifier whose outputs are the findings.")]
    samples: LatentSamplesOptions
    axes: AxesOptions
    paths: PathsOptions


@dataclass(frozen=True)
class PathLength(PathLengthOptions):
    """Perceptual path length of generators, the edited one and others."""

    generators: Annotated[Names, Meta(description="Generators with a latent vector; every training of each, once.")]
    label: Annotated[
        str | None,
        Meta(
            description="The class of both ends, of a training on several that can be asked for one; null where none "
            "can."
        ),
    ]


@dataclass(frozen=True)
class LatentEditing:
    """Something is edited out of generated images, by every method."""

    generator: Annotated[str, Meta(description="Name of the generator, one with a latent vector.")]
    training: Annotated[str, Meta(description="Name of its training whose first repeat is edited.")]
    label: Annotated[
        str | None, Meta(description="The class it makes; null where that training is of one class or cannot be asked.")
    ]
    classifier: Annotated[str, Meta(description="Name of the classifier whose outputs are removed and kept.")]
    samples: LatentSamplesOptions
    editing: EditingOptions
    path_length: PathLength


@dataclass(frozen=True)
class Search(SearchOptions):
    """A search in latent space."""

    title: Title


@dataclass(frozen=True)
class Anomaly:
    """A generator of normal images, the search for the nearest one, detection and localisation."""

    generator: Annotated[
        TrainedHere,
        Meta(description="The generator of normal images whose latent space is searched; one training, on one label."),
    ]
    classifier: Annotated[str, Meta(description="Name of the supervised classifier that it is compared with.")]
    held_out_limit: Annotated[
        Annotated[int, Meta(ge=2)] | None,
        Meta(
            description="Normal images of the validation part that are searched for, to set the threshold; null: all "
            "of them. The false-positive rate can be set in steps of 1 / their number."
        ),
    ]
    query_limit: Annotated[
        Count | None,
        Meta(description="Images of each label of each set of the test that are searched for; null: all."),
    ]
    encoder: EncoderOptions
    searches: Annotated[dict[Name, Search], Meta(min_length=1, description="Searches in latent space, by name.")]
    evaluation: EvaluateOptions


@dataclass(frozen=True)
class Background(MaskOutOptions):
    """What classifiers find in a part of the image, beside those of the whole image."""

    task: Annotated[str, Meta(description="The task, of heads on frozen features, whose classifier is asked.")]
    regions: Annotated[
        tuple[Region, ...],
        Meta(
            min_length=1,
            description="outside: the masked part is covered; inside: all but it.",
            extra_json_schema={"uniqueItems": True},
        ),
    ]


# --------------------------------------------------------------------------------------------------------- experiments
@dataclass(frozen=True)
class Weights:
    """Where pretrained weights come from: tried in order a file named here, a download, an installed package."""

    download: Annotated[bool, Meta(description="Whether they may be downloaded.")]
    files: Annotated[dict[str, str], Meta(description="Name of the weights -> a file with them.")]


@dataclass(frozen=True)
class Fidelity:
    """Distances between real and synthetic images."""

    floor_counts: Annotated[
        Annotated[int, Meta(ge=2)] | dict[str, Annotated[int, Meta(ge=2)]],
        Meta(description="Held-out images of each label for the real-versus-real floor, at most as many as there are."),
    ]
    metrics: MetricOptions
    diversity: PairOptions


@dataclass(frozen=True)
class Figures:
    """The figures of the report."""

    examples: Annotated[Count, Meta(description="Images of each class in a row of real against generated.")]


@dataclass(frozen=True)
class Experiment:
    """One experiment."""

    title: Title
    task: Annotated[str, Meta(description='For the report, to follow "a model that ...".')]
    references: Annotated[
        str | None,
        Meta(description="The document whose numbers are printed beside ours, labelled as theirs; null: none."),
    ]
    dataset: Annotated[str, Meta(description="A name of `datasets`.")]
    classes: Annotated[
        tuple[str, ...],
        Meta(
            min_length=1,
            description="Labels, in order; one will do where masks are learned.",
            extra_json_schema={"uniqueItems": True},
        ),
    ]
    positive: Annotated[
        str | None,
        Meta(description="The class that sensitivity and the area under the curve refer to; null: masks are learned."),
    ]
    seed: Seed
    prepare: Pictures | Films | Volumes | Slides
    split: SplitSettings
    generators: Annotated[
        dict[Name, OfImages],
        Meta(min_length=1, description="Generators by name; several may have the same model."),
    ]
    domain_extractor: DomainOptions
    classic_augmentation: ClassicAugmentation
    weights: Weights
    extractors: Annotated[
        dict[Literal[tuple(extractors.EXTRACTORS)], FeatureOptions],
        Meta(min_length=1, description="Networks whose features fidelity is measured with, and that tasks stand on."),
    ]
    fidelity: Fidelity
    copies: CopiesOptions
    planted_copies: PlantCopiesOptions
    tasks: Annotated[
        dict[Name, Task], Meta(min_length=1, description="What is asked of the synthetic images, by name.")
    ]
    figures: Figures
    selection: Annotated[Selection | None, Meta(description="Without it everybody is studied.")] = None
    classifiers: Annotated[
        dict[Name, NetworkOptions] | None,
        Meta(description="Classifiers of which every weight is trained on the real training images, by name."),
    ] = None
    prediction: Annotated[PredictSettings | None, Meta(description="Use of the classifier of devices.")] = None
    pseudo_labels: PseudoLabels | None = None
    grad_cam: GradCam | None = None
    states: States | None = None
    mask_diversity: MaskDiversity | None = None
    disease_axes: DiseaseAxes | None = None
    latent_editing: LatentEditing | None = None
    anomaly: Anomaly | None = None
    reader_study: ReaderStudy | None = None
    background: Background | None = None
    shortcuts: Shortcuts | None = None
    tags: Tags | None = None
    removal: RemovalOptions | None = None
    derived_sets: Annotated[
        dict[Name, Filtered | Edited] | None,
        Meta(
            min_length=1,
            description="Sets that are made of the images of generators, by name; arms can be made of them.",
        ),
    ] = None
    multi_scale: MultiScale | None = None
    mask_channel: MaskChannel | None = None
    mask_agreement: MaskAgreement | None = None
    learning_curve: LearningCurve | None = None
    reidentification: Reidentification | None = None
    mask_generators: Annotated[
        dict[Name, OfMasks] | None,
        Meta(min_length=1, description="What draws the masks that generators paint images for, by name."),
    ] = None


@dataclass(frozen=True)
class Params:
    """Every setting of every data set and experiment. Nothing has a default; a misspelt setting is refused."""

    datasets: Annotated[dict[Name, DataSet], Meta(min_length=1, description="By name (that of their folder in data/).")]
    experiments: Annotated[
        dict[Name, Experiment], Meta(min_length=1, description="By name (that of their folder in results/).")
    ]
    shared: Annotated[
        dict | None,
        Meta(description="Blocks that others take by YAML anchors (&name, *name); nothing else reads them."),
    ] = None


def params_schema() -> dict:
    """The JSON schema of Params, in which the options of a data set follow from its source and provider."""
    whole = schema(Params)
    definitions = whole["$defs"]
    conditions = definitions[f"commands.params.{DataSet.__name__}"]["allOf"] = []
    for source in sources.SOURCES:
        options = sources.options_of(source)
        known = {"source": {"const": source}}
        conditions.append({"if": {"properties": known}, "then": {"properties": {"provider": {"enum": list(options)}}}})
        for provider, config in options.items():
            one = schema(config)
            definitions |= one["$defs"]
            reference = {"$ref": one["$ref"]}
            pool = {"anyOf": [{"type": "null"}, reference]} if provider == "phantom" else {"type": "null"}
            chosen = {"properties": {**known, "provider": {"const": provider}}}
            conditions.append({"if": chosen, "then": {"properties": {"options": reference, "pool": pool}}})
    return whole
