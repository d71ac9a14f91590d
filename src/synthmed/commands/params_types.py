"""Types of settings that several parts of params.py have."""

from typing import Annotated

from msgspec import Meta

from synthmed.core.known import NAME
from synthmed.core.settings import Count

Name = Annotated[str, Meta(pattern=f"^{NAME.pattern}$", description="lower-case letters, digits and _")]
Title = Annotated[str, Meta(min_length=1, description="For the report.")]
Labels = Annotated[
    dict[str, str | None],
    Meta(description="The source's label -> class, null leaves these images out; null alone: labels are classes."),
]
Counts = Annotated[Count, Meta(description="Of each class.")] | dict[str, Count]
"""A number for each class, or one for all classes."""
