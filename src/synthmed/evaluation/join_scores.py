"""What `score-segmenters` gave of single arms as that of all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.errors import InputError, check_one_each
from synthmed.core.files import read_csv, read_json, write_csv, write_json
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, write_image_set

BY_ARM = ("arms", "trainings")
"""Entries of a summary that name their arm; all others are the same in every one."""


@dataclass(frozen=True)
class JoinScoresSettings:
    """Settings of `join-scores`."""

    arms: Annotated[tuple[str, ...], Meta(min_length=1, description="Arms, in the order of their files.")]


@step("join-scores")
def join_scores(
    settings: JoinScoresSettings,
    *,
    parts: list[Path],
    drawn: list[Path],
    summaries: list[Path],
    scores: Output,
    predictions: Output,
    summary: Output,
) -> None:
    """Join the scores of single arms.

    parts, drawn, summaries: scores, predictions and summary of `score-segmenters`, one of each for each of
    settings.arms. scores: their rows, number for number as they are. predictions: their images. summary: what they all
    say, with what each says of its arm.

    Raises InputError where a file is of another arm, or says something else than the first one's of what they share.
    """
    check_one_each(settings.arms, parts=parts, drawn=drawn, summaries=summaries)
    said = [read_json(path) for path in summaries]
    for arm, path, one in zip(settings.arms, summaries, said, strict=True):
        if list(one["arms"]) != [arm] or _shared(one) != _shared(said[0]):
            raise InputError(f"{path}: not of {arm!r}, or of other test images or settings; score the arms again")
    rows = [row for path in parts for row in read_csv(path)]
    write_csv(scores, rows, list(rows[0]))
    sets = [ImageSet(path) for path in drawn]
    write_image_set(predictions, chain.from_iterable(one.entries() for one in sets), sets[0].legend)
    joined = {name: {arm: told for one in said for arm, told in one[name].items()} for name in BY_ARM}
    write_json(summary, said[0] | joined)


def _shared(summary: Mapping) -> dict:
    return {name: value for name, value in summary.items() if name not in BY_ARM}
