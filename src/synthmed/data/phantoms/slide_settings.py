"""Settings of phantom slides, apart from what draws them: the workflow asks them for the number of files."""

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta

from synthmed.core.settings import Count, Seed, Share


@dataclass(frozen=True)
class SlidePhantoms:
    """Phantom slides, one of each patient; patients belong to five centres in turn."""

    negative: Annotated[Count, Meta(description="Patients without metastases.")]
    positive: Annotated[Count, Meta(description="Patients with one.")]
    stages: Annotated[
        tuple[Literal["itc", "micro", "macro"], ...],
        Meta(min_length=1, description="Stages of the positive slides, in turn: how large the metastasis is."),
    ]
    unannotated: Annotated[
        int, Meta(ge=0, description="Positive slides beside these that nobody outlined: tumour, nobody says where.")
    ]
    identity: Annotated[Share, Meta(description="How far patients differ in texture: 0 not at all.")]
    centre_spread: Annotated[Share, Meta(description="How far centres differ in stain, light and focus: 0 not at all.")]
    difficulty: Annotated[Share, Meta(description="From 0, plain metastases, to 1, ones hardly to be seen.")]
    field: Annotated[float, Meta(ge=64, description="Height and width of a slide.", extra_json_schema={"unit": "µm"})]
    mpp: Annotated[
        float,
        Meta(gt=0, description="Micrometres of a pixel of the finest level.", extra_json_schema={"unit": "µm/px"}),
    ]
    levels: Annotated[Count, Meta(description="Of the pyramid, each half as large as the one before.")]
    seed: Seed

    @property
    def count(self) -> int:
        """Slides, one of each patient."""
        return self.negative + self.positive + self.unannotated
