"""Drawing a reader study from image sets: which images are shown, in which order, and what is asked of each.

Seed 003, section 3.4.1: half synthetic, half real, each half melanoma and benign, in random order, 256² each; of every
image the diagnosis, whether it is synthetic, and how certain the reader is. Images with rulers are left out of both
halves. Of the synthetic ones "we also picked images that were outliers", "images that fell close to images of the other
label" (section 4.3.1), to see whether they are what they claim to be. The questions are settings, so that other
readings (how severe a finding is, what a difference map shows) are other questions of the same form.
"""

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import dump_json, read_json, write_text
from synthmed.core.settings import Count, Seed
from synthmed.core.step import Output, step
from synthmed.data.features import Features, read_features
from synthmed.data.imageset import NOT_MADE, ImageSet, encode_png, made_sets, write_image_set
from synthmed.data.tag_tables import check_given, read_tags
from synthmed.metrics.outliers import nearer_to_another, two_components
from synthmed.training.seeds import seed_of

SYNTHETIC, REAL = "synthetic", "real"
"""Answers to the question whether an image is synthetic."""

EMBEDDED = 2000
"""Images of a screened set, at most, whose place among the others is kept."""

logger = logging.getLogger(__name__)

QuestionName = Annotated[str, Meta(pattern="^[a-z][a-z0-9_]*$", description="lower-case letters, digits and _")]
OUTLIER = "outlier"
"""Column of the key: whether an image of a screened set is an outlier."""
TAKEN = ("study", "code", "background", "comment", "item", "position", "seconds", "simulated", "checksum")
"""Columns of the answers that no question may be called like."""


@dataclass(frozen=True)
class Question:
    """A question that is asked of every image: one of several answers."""

    text: Annotated[str, Meta(min_length=1, description="As the reader sees it.")]
    answers: Annotated[
        dict[str, str],
        Meta(min_length=2, max_length=9, description="Answer, as it is written down → its words for the reader."),
    ]
    required: Annotated[bool, Meta(description="Whether the next image comes only after an answer.")]


@dataclass(frozen=True)
class ShownSet:
    """Images of one set that are shown."""

    counts: Annotated[dict[str, Count], Meta(min_length=1, description="Images of each label.")]
    synthetic: Annotated[bool, Meta(description="Whether they were made by a generator.")]
    edited: Annotated[bool, Meta(description="Whether something was edited out of them in latent space.")]


@dataclass(frozen=True)
class StudyOptions:
    """A reader study."""

    title: Annotated[str, Meta(min_length=1, description="Of the form.")]
    purpose: Annotated[
        tuple[Annotated[str, Meta(min_length=1)], ...],
        Meta(min_length=1, description="Paragraphs of the first page: what the study is for, how long it takes."),
    ]
    consent: Annotated[str, Meta(min_length=1, description="What readers agree to by a tick.")]
    backgrounds: Annotated[
        dict[str, str], Meta(min_length=1, description="Background of a reader, as it is written down → its words.")
    ]
    questions: Annotated[dict[QuestionName, Question], Meta(min_length=1, description="In the order of the page.")]
    sets: Annotated[dict[str, ShownSet], Meta(min_length=1, description="Image sets by name.")]
    examples: Annotated[Count, Meta(description="Real images of each label on the first page.")]
    skip: Annotated[
        tuple[str, ...],
        Meta(description="Columns of the sets, or tags: images of which one says `yes` are not shown; []: all may be."),
    ]
    screened: Annotated[
        dict[str, Literal["first", "out", "as_is"]],
        Meta(
            description="Synthetic set → what becomes of its outliers, images that lie nearer to the real images of "
            "another class than to those of their own, as a classifier sees them: they are drawn first, other images "
            "only where there are too few; they stay out; or they are drawn as_is, like all others. {}: nobody looks "
            "for outliers."
        ),
    ]
    display_size: Annotated[
        int, Meta(ge=64, le=2048, description="Longest side on the screen.", extra_json_schema={"unit": "px"})
    ]

    def __post_init__(self) -> None:
        if wrong := [name for name in self.questions if name in TAKEN]:
            raise InputError(f"setting questions has {wrong[0]!r}, a column of the answers; choose another name")
        for name in self.screened:
            if name not in self.sets or not self.sets[name].synthetic:
                raise InputError(f"setting screened names {name!r}, which is no synthetic one of {list(self.sets)}")


@dataclass(frozen=True)
class StudySettings(StudyOptions):
    """Settings of `draw-study`."""

    tagged: Annotated[dict[str, str], Meta(description="Set → its name in the table of tags; {}: none is tagged.")]
    seed: Seed


@dataclass(frozen=True)
class Study:
    """What a form asks, and of which items; without any truth about them.

    identity: 16 hexadecimal digits that follow from all the rest and from the pixels; items: names in the order of the
    set, whose order says nothing.
    """

    identity: str
    title: str
    purpose: tuple[str, ...]
    consent: str
    backgrounds: Mapping[str, str]
    questions: Mapping[str, Question]
    items: tuple[str, ...]
    display_size: int


@dataclass(frozen=True)
class Roles:
    """Which questions mean what."""

    synthetic: Annotated[str, Meta(description="Question whether an image is synthetic; answers: synthetic, real.")]
    diagnosis: Annotated[str | None, Meta(description="Question of its class; its answers are labels. null: none.")]
    certainty: Annotated[
        str | None,
        Meta(description="Question how certain the answer to `synthetic` is, the least certain first; null: none."),
    ]
    scores: Annotated[
        tuple[str, ...],
        Meta(description="Questions whose answers are numbers (how severe a finding is, say), for means of each set."),
    ]

    def check(self, study: Study) -> None:
        """Raises InputError on a question that the study does not ask, or whose answers are others."""
        named = [self.synthetic, self.diagnosis, self.certainty, *self.scores]
        for name in filter(None, named):
            if name not in study.questions:
                raise InputError(f"settings roles name {name!r}, but the questions are {list(study.questions)}")
        if set(study.questions[self.synthetic].answers) != {SYNTHETIC, REAL}:
            raise InputError(
                f"setting roles.synthetic is {self.synthetic!r}, whose answers are not {SYNTHETIC!r} and {REAL!r}"
            )
        for name in self.scores:
            if not all(re.fullmatch(r"-?\d+(\.\d+)?", answer) for answer in study.questions[name].answers):
                raise InputError(f"setting roles.scores names {name!r}, whose answers are no numbers")


def read_study(path: Path) -> Study:
    """A study as `draw-study` wrote it. Raises InputError when the file is something else."""
    content = read_json(path)
    try:
        questions = {name: Question(**one) for name, one in content["questions"].items()}
        chosen = {name: content[name] for name in Study.__dataclass_fields__}
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: no reader study ({error}); give the file that `synthmed draw-study` wrote"
        ) from error
    return Study(**chosen | {"questions": questions, "items": tuple(content["items"])})


# ----------------------------------------------------------------------------------------------------------- the step
@step("draw-study")
def draw_study(
    settings: StudySettings,
    *,
    sets: list[Path],
    features: list[Path],
    real_features: Path | None,
    tags: Path | None,
    real: Path,
    key: Output,
    examples: Output,
    out: Output,
) -> None:
    """Draw the images of a reader study.

    Draw the images that readers see, in random order under names that tell nothing, and the examples of the first page.

    sets: image sets in the order of the settings; features: of `embed`, those of the sets that are screened, in that
    order; real_features: those of the real images that they are screened by, where any is. tags: CSV of `measure-tags`,
    where sets are tagged. real: image set that the examples are drawn of; patients who are shown as items are left out.
    key: image set item_001 … in the order of the form, with the columns and tags of the sets, `set`, `name`,
    `synthetic`, `edited`, and OUTLIER of screened sets, which readers must not have. examples: image set of the
    examples. out: JSON, see Study, and `left_out`, by set, `embedded`, by screened set (see _embedded), and `not_made`,
    of the sets that could not be made and are not shown why. Raises InputError when no synthetic set is left, a set has
    too few images of a label, or nobody knows what shall be left out of it.
    """
    if len(sets) != len(settings.sets):
        raise InputError(f"{len(sets)} image sets for {list(settings.sets)}; give one each, in that order")
    made, reasons = made_sets(list(settings.sets), sets)
    if reasons and not any(settings.sets[name].synthetic for name in made):
        raise InputError(f"no synthetic set is left to ask about ({reasons}); name others in sets")
    rng = np.random.default_rng(seed_of(settings.seed, "reader study"))
    outliers, embedded = _outliers(settings, features, real_features)
    tables = _tables(settings, tags, made)
    chosen, left_out = [], {}
    for name, path in made.items():
        wanted = settings.sets[name]
        images = ImageSet(path)
        rows = [row | tables[name].get(row["image"], {}) for row in images.rows]
        if name in outliers:
            rows = [row | {OUTLIER: _word(row["image"] in outliers[name])} for row in rows]
        places, left_out[name] = _drawn(settings, name, rows, path, rng)
        about = {"set": name, "synthetic": _word(wanted.synthetic)}
        for place, (row, pixels, *_) in zip(places, images.entries(places), strict=True):
            # Of a set with edited images the set itself knows which they are: not every code needs a change.
            edited = row.get("edited") or _word(wanted.edited)
            chosen.append((rows[place] | about | {"edited": edited, "name": row["image"]}, pixels))
        if name in outliers:
            shown = [rows[place][OUTLIER] for place in places]
            embedded[name] |= {"shown": len(shown), "shown_outliers": shown.count("yes")}
    order, digits = rng.permutation(len(chosen)), len(str(len(chosen)))
    rows = [
        (chosen[place][0] | {"image": f"item_{number:0{digits}d}.png"}, chosen[place][1])
        for number, place in enumerate(order, 1)
    ]
    shown = _examples(settings, ImageSet(real), {row["patient"] for row, _ in rows}, rng)
    write_image_set(key, rows)
    write_image_set(examples, shown)
    study = asdict(_study(settings, [*rows, *shown], len(rows)))
    # Unsorted: questions and answers are asked in this order.
    write_text(
        out, dump_json({**study, "left_out": left_out, "embedded": embedded, NOT_MADE: reasons}, sort_keys=False)
    )
    logger.info("%s: %d images, left out %s", out, len(rows), left_out)


def _word(flag: bool) -> str:
    return "yes" if flag else "no"


def _tables(settings: StudySettings, tags: Path | None, sets: Collection[str]) -> dict[str, dict[str, dict[str, str]]]:
    """Each of the `sets` → image → its tags, yes or no; none of an image that is not tagged."""
    check_given(tags, dict(settings.tagged), "tagged")
    return {name: read_tags(tags, settings.tagged[name]) if name in settings.tagged else {} for name in sets}


def _outliers(
    settings: StudySettings, features: Sequence[Path], real: Path | None
) -> tuple[dict[str, set[str]], dict[str, dict]]:
    """Names of the outliers of each screened set, and how it is embedded."""
    if len(features) != len(settings.screened) or (real is None) != (not settings.screened):
        raise InputError(
            f"{len(features)} files of features for the screened sets {list(settings.screened)}; give one each, in "
            "that order, and real_features where any is"
        )
    if real is None:
        return {}, {}
    known, found, embedded = read_features(real).as_is(), {}, {}
    for name, path in zip(settings.screened, features, strict=True):
        own = read_features(path).as_is()
        away = nearer_to_another(own.features, own.labels, known.features, known.labels)
        found[name] = set(own.names[away].tolist())
        embedded[name] = {"way": settings.screened[name], "outliers": int(away.sum()), **_embedded(own, away)}
    return found, embedded


def _embedded(own: Features, away: np.ndarray) -> dict:
    """Images on the two principal components of their features, as seed 003 shows them in Figure 3.7.

    `count`: how many; `explained`: share of the variance of each; `images`: of every so many-th, so that at most
    EMBEDDED are kept, x, y, label and whether it is an outlier; without names.
    """
    places, explained = two_components(own.features.astype(np.float64))
    images = [
        {"x": round(float(x), 4), "y": round(float(y), 4), "label": str(label), "outlier": bool(out)}
        for (x, y), label, out in zip(places, own.labels, away, strict=True)
    ]
    every = -(-len(images) // EMBEDDED)
    shares = [round(float(share), 4) for share in explained]
    return {"count": len(images), "explained": shares, "images": images[::every]}


def _drawn(
    settings: StudySettings, name: str, rows: Sequence[Mapping[str, str]], path: Path, rng: np.random.Generator
) -> tuple[list[int], dict[str, int]]:
    """Places of the images that are shown of a set, and how many were left out for which reason. rows: of the set, with
    their tags, and OUTLIER where it is screened."""
    skipped = {}
    for column in settings.skip:
        if not any(column in row for row in rows):
            raise InputError(
                f"{path}: has no column {column!r}, and no tag of that name, so that setting skip cannot leave images "
                f"out of {name}; tag the set (tags.generators), or take {column} out of skip"
            )
        skipped[column] = {place for place, row in enumerate(rows) if row.get(column) == "yes"}
    way, outliers = settings.screened.get(name), {place for place, row in enumerate(rows) if row.get(OUTLIER) == "yes"}
    if way == "out":
        skipped["outliers"] = outliers
    out, places = set().union(*skipped.values()), []
    for label, count in settings.sets[name].counts.items():
        left = [place for place, row in enumerate(rows) if row["label"] == label and place not in out]
        if len(left) < count:
            raise InputError(
                f"{path}: {len(left)} images of {label!r} may be shown, but sets.{name}.counts asks for {count}; ask "
                "for fewer, make more, or loosen skip and screened"
            )
        first = [place for place in left if way == "first" and place in outliers]
        some = rng.choice(first, min(count, len(first)), replace=False).tolist()
        rest = [place for place in left if way != "first" or place not in outliers]
        places += [*some, *rng.choice(rest, count - len(some), replace=False).tolist()]
    return places, {reason: len(found) for reason, found in skipped.items()}


def _examples(
    settings: StudySettings, images: ImageSet, shown: set[str], rng: np.random.Generator
) -> list[tuple[dict, np.ndarray]]:
    """Real images of each label of the items, of patients that are no item."""
    labels = dict.fromkeys(label for one in settings.sets.values() for label in one.counts)
    places = []
    for label in labels:
        free = [n for n, row in enumerate(images.rows) if row["label"] == label and row["patient"] not in shown]
        if len(free) < settings.examples:
            raise InputError(
                f"{images.path}: {len(free)} images of {label!r} are of nobody who is shown as an item, but examples "
                f"is {settings.examples}; ask for fewer"
            )
        places += rng.choice(free, settings.examples, replace=False).tolist()
    return [(row, pixels) for row, pixels, *_ in images.entries(places)]


def _study(settings: StudySettings, rows: Sequence[tuple[Mapping, np.ndarray]], items: int) -> Study:
    """The study of the first `items` rows; its identity follows from all of them."""
    asked = ("title", "purpose", "consent", "backgrounds", "questions", "display_size")
    content = {name: getattr(settings, name) for name in asked} | {
        "items": tuple(row["image"].removesuffix(".png") for row, _ in rows[:items])
    }
    study = Study(identity="", **content)
    digest = sha256(dump_json(asdict(study), sort_keys=False).encode())
    for _row, pixels in rows:
        digest.update(encode_png(pixels))
    return replace(study, identity=digest.hexdigest()[:16])
