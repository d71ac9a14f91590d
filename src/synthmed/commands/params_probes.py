"""Settings of methods that ask what images give away (a frame, an artefact, a patient, that they are synthetic), and of
the sets that are made without it: a part of params.py."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from synthmed import extractors
from synthmed.classifiers.embedding import EmbedSettings
from synthmed.commands.params_types import Counts, Labels, Title
from synthmed.core.settings import Names
from synthmed.data.split import SplitSettings
from synthmed.evaluation.change_images import ChangeOptions
from synthmed.evaluation.compare_identities import CompareIdentitiesOptions
from synthmed.evaluation.filter_samples import FilterOptions
from synthmed.evaluation.reidentify import ReidentifyOptions
from synthmed.evaluation.shortcuts import ShortcutOptions
from synthmed.evaluation.tags import TagOptions
from synthmed.latent.edit_set import EditSetOptions
from synthmed.readers.analyse import AnalysisOptions
from synthmed.readers.simulate import SimulationOptions
from synthmed.readers.study import StudyOptions


@dataclass(frozen=True)
class Shortcuts:
    """Whether the classifiers of a task look at the frame, how specific they are where few positives may be missed, and
    for whom they work."""

    task: Annotated[str, Meta(description="The task, of networks, whose classifiers are asked.")]
    frames: ChangeOptions
    measures: ShortcutOptions


@dataclass(frozen=True)
class Dial:
    """Generators in order, of which each gives away less, or is of more use, than the one before."""

    task: Annotated[str, Meta(description="The task whose outcome, of each generator's images alone, is shown.")]
    generators: Annotated[Names, Meta(description="In the order of the figure.")]


@dataclass(frozen=True)
class Reidentification(ReidentifyOptions, CompareIdentitiesOptions):
    """Whether patients are recognised in generated images."""

    extractor: Annotated[
        Literal[tuple(extractors.EXTRACTORS)],
        Meta(description="The network whose features nearest images are sought in, a key of `extractors`."),
    ]
    generators: Annotated[Names | None, Meta(description="Generators whose images are asked; null: all.")]
    dial: Annotated[Dial | None, Meta(description="A figure of re-identification and use side by side; null: none.")]


@dataclass(frozen=True)
class TaggedImages:
    """Images of another data set whose tags are known, where nobody knows those of the experiment's own."""

    dataset: Annotated[str, Meta(description="A name of `datasets`.")]
    labels: Labels
    split: SplitSettings
    classifiers: Annotated[Names, Meta(description="Classifiers that are trained on them.")]


@dataclass(frozen=True)
class Tags(TagOptions):
    """What is seen on images and is no finding: how frequent it is in every set, by a tagger."""

    classifier: Annotated[str, Meta(description="Name of the classifier whose outputs are the tags.")]
    generators: Annotated[tuple[str, ...], Meta(description="Generators whose images are tagged.")]
    images: Annotated[TaggedImages | None, Meta(description="null: the tags of the experiment's own images are known.")]


_DERIVED = (
    "filtered: without those on which the tagger sees something; edited: what latent_editing removes is edited out of "
    "all that show it."
)


@dataclass(frozen=True)
class Filtered(FilterOptions):
    """Images of a generator without those that the tagger of `tags` marks."""

    kind: Annotated[Literal["filtered"], Meta(description=_DERIVED)]
    title: Title
    samples: Annotated[Counts, Meta(description="Images of each label.")]


@dataclass(frozen=True)
class Edited(EditSetOptions):
    """Images of the generator of `latent_editing`, from which something is edited out."""

    kind: Annotated[Literal["edited"], Meta(description=_DERIVED)]
    title: Title
    samples: Annotated[Counts, Meta(description="Images of each label.")]


_ANSWERS = "simulated: readers of known skill, who see nothing; files: what people sent back."


@dataclass(frozen=True)
class Simulated(SimulationOptions):
    """Simulated readers, labelled so everywhere."""

    kind: Annotated[Literal["simulated"], Meta(description=_ANSWERS)]


@dataclass(frozen=True)
class Sent:
    """Answers that people sent back."""

    kind: Annotated[Literal["files"], Meta(description=_ANSWERS)]
    files: Annotated[Names, Meta(description="Files as the form saved them, CSV or JSON, outside of results/.")]


@dataclass(frozen=True)
class ReaderStudy:
    """People are asked which images are synthetic."""

    task: Annotated[
        str | None,
        Meta(
            description="Name of the task whose network, trained on the real images, tells the outliers of `screened`; "
            "null: there are none to tell."
        ),
    ]
    embedding: EmbedSettings
    study: StudyOptions
    answers: Simulated | Sent
    analysis: AnalysisOptions
