"""Section "Can people tell?": the reader study, its images, its readers, and what their answers show."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.files import read_json
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import read_result
from synthmed.report.section import write_section
from synthmed.report.words import decimals, p_value


@dataclass(frozen=True)
class ReaderSectionSettings:
    """Settings of `section-reader-study`."""

    names: Annotated[
        dict[str, str], Meta(description="Code of a reader → its name, by which a document may know it; {}: codes.")
    ]
    sets: Annotated[dict[str, str], Meta(description="Set of images → its name for people.")]
    form: Annotated[str, Meta(description="Where the form lies, from the report.")]
    tagged: Annotated[tuple[str, ...], Meta(description="Sets of images whose tags are those of a table of tags.")]
    labelled: Annotated[
        bool, Meta(description="Whether these are, of real images, as somebody labelled them; else as a tagger says.")
    ]


def _name(found: Found, reader: Mapping) -> str:
    name = found["settings"].names.get(reader["code"], reader["code"])
    return f"{name} (simulated)" if reader["simulated"] else name


def _keys(found: Found, reader: Mapping) -> tuple[str, ...]:
    return (found["settings"].names.get(reader["code"], reader["code"]),)


def _confusion_rows(found: Found) -> list[dict]:
    return [
        {"reader": _name(found, one), "keys": _keys(found, one), "background": one["background"], **one["confusion"]}
        for one in found["study"]["readers"]
    ]


def _rate_rows(found: Found) -> list[dict]:
    rates = ("accuracy", "p", "sensitivity", "specificity", "precision", "d_prime", "bias")
    rows = [
        {"reader": _name(found, one), "keys": _keys(found, one), **{name: one[name] for name in rates}}
        for one in found["study"]["readers"]
    ]
    pooled = found["study"]["pooled"]
    shown = {name: pooled[name] for name in ("p", "sensitivity", "specificity")}
    return [*rows, {"reader": "all", "keys": ("all",), "accuracy": pooled["balanced_accuracy"], **shown}]


def _diagnosis_rows(found: Found) -> list[dict]:
    diagnosis = found["study"]["diagnosis"]
    return (
        [
            {
                "images": kind,
                "truth": label,
                **{f"said_{place}": count for place, count in enumerate(diagnosis[kind]["confusion"][row])},
                "blank": diagnosis[kind]["blank"][row],
                "balanced_accuracy": diagnosis[kind]["balanced_accuracy"] if row == 0 else None,
            }
            for kind in ("real", "synthetic")
            for row, label in enumerate(diagnosis["classes"])
        ]
        if diagnosis
        else []
    )


def _diagnosis_columns(found: Found) -> list[Column]:
    classes = found["study"]["diagnosis"]["classes"] if found["study"]["diagnosis"] else []
    said = [Column(f"said_{place}", f"called {label}") for place, label in enumerate(classes)]
    return [
        *(Column("images"), Column("truth"), *said, Column("blank", "no answer")),
        Column("balanced_accuracy", interval=True),
    ]


def _comment_rows(found: Found) -> list[dict]:
    return [
        {"reader": _name(found, one), "comment": one["comment"]} for one in found["study"]["readers"] if one["comment"]
    ]


def _left_out_rows(found: Found) -> list[dict]:
    return [
        {"set": found["settings"].sets.get(name, name), "reason": reason, "images": count}
        for name, reasons in found["drawn"]["left_out"].items()
        for reason, count in reasons.items()
    ]


def _tag_words(settings: ReaderSectionSettings) -> str:
    """Whose word the tags are."""
    if not settings.tagged:
        return ""
    return (
        "Tags of real images are as labelled, of synthetic ones as the tagger says. "
        if settings.labelled
        else "Tags are as the tagger says. "
    )


_WAYS = {
    "first": "which come first: {shown_outliers} of the {shown} that readers see are such",
    "out": "which readers do not see",
    "as_is": "which are drawn like all others: {shown_outliers} of the {shown} that readers see are such",
}


def _screening(found: Found) -> str:
    """How many outliers the screened sets have, and what became of them."""
    titles = found["settings"].sets
    return "; ".join(
        f"of {titles.get(name, name)} {one['outliers']} of {one['count']}, {_WAYS[one['way']].format(**one)}"
        for name, one in found["drawn"]["embedded"].items()
    )


def _score_rows(found: Found) -> list[dict]:
    names = found["settings"].sets
    return [{**row, "set": names.get(row["set"], row["set"])} for row in found["study"]["scores"]]


def _drawn(name: str) -> Callable:
    """Drawing function: `charts.reader_study.<name>`."""

    def draw(path: Path, found: Found) -> str | None:
        from synthmed.report.charts import reader_study

        return getattr(reader_study, name)(path, found)

    return draw


RANDOM = "readers and images as random"
ONE = "images as random; with one reader his own chance is not in it, and it holds for him alone"
_LEVEL = "{{ study.level | confidence }}"

SECTION = Section(
    link="Can people tell?",
    title="Can people tell synthetic images from real ones?",
    exhibits=(
        Table(
            "confusion",
            "Answers of each reader to “Is the image synthetic?” for {{ study.synthetic }} synthetic and "
            "{{ study.count - study.synthetic }} real images; positive: called synthetic.",
            _confusion_rows,
            (
                Column("reader"),
                Column("background"),
                *(Column(name, name.upper()) for name in ("tp", "fp", "fn", "tn")),
            ),
        ),
        Table(
            "rates",
            f"What each reader is worth. With {_LEVEL} interval (exact binomial; of d′ by its standard error); p: "
            "against guessing, {% if halves %}exact binomial{% else %}Fisher's exact test, because not half of the "
            "images are synthetic, and a guess need not be right in one half of them{% endif %}. d′ 0: cannot tell; c "
            "above 0: reluctant to say synthetic. All: mean balanced accuracy and rates, {{ random }}.",
            _rate_rows,
            (
                Column("reader"),
                Column("accuracy", interval=True),
                Column("p", form=p_value),
                Column("sensitivity", interval=True),
                Column("specificity", interval=True),
                Column("precision", interval=True),
                Column("d_prime", "d′", interval=True, form=decimals),
                Column("bias", "c", form=decimals),
            ),
        ),
        Figure(
            "rates_figure",
            "Rates of each reader{% if halves %}; dashed: guessing{% endif %}.",
            _drawn("draw_rates"),
        ),
        Figure(
            "recognised",
            "How many readers called each image synthetic: of the synthetic ones all should be far right, of the real "
            "ones far left.",
            _drawn("draw_recognised"),
        ),
        Figure(
            "extremes",
            "Images on which all readers agree: at most {{ shown }} of each kind, in the order of the form. "
            "Frame in orange: edited in latent space.",
            _drawn("draw_extremes"),
        ),
        Figure(
            "certainty",
            f"Share of right answers by how certain readers were, with {_LEVEL} interval over images; below each its "
            "number of answers{% if halves %}; dashed: guessing{% endif %}. A reader who knows what he knows rises "
            "from left to right.",
            _drawn("draw_certainty"),
        ),
        Figure(
            "certainty_by_image",
            "How certain readers were of their answer to each image: the mean of those who said it"
            "{{ ' (%d of %d readers are simulated)' % (simulated|length, study.readers|length) if simulated }}; "
            "dashed: of all answers{{ ', %.2f' % mean_certainty if mean_certainty }}."
            "{{ ' Of %s nobody said it.' % counted(unsaid, 'image', 'images') if unsaid }}",
            _drawn("draw_certainty_by_image"),
        ),
        Table(
            "diagnosis",
            "Diagnosis against class, answers of "
            "{{ counted(study.diagnosis.readers if study.diagnosis else 0, 'reader', 'readers') }} together, of real "
            f"and of synthetic images; balanced accuracy with {_LEVEL} interval, {{{{ random }}}}.",
            _diagnosis_rows,
            _diagnosis_columns,
            empty="no diagnosis was asked of readers whose diagnoses count",
        ),
        Table(
            "tags",
            "What is seen in an image, and the answer: how much more often images with it are called synthetic than "
            f"other images of their kind (real or synthetic). {{{{ tag_words }}}}With {_LEVEL} interval, "
            "{{ random }}; p not adjusted for their number. Of: images of which it is known.",
            lambda found: [{**row, "tag": row["tag"].replace("_", " ")} for row in found["study"]["tags"]],
            (
                *(Column("tag"), Column("images", "images with it"), Column("known", "of")),
                *(Column("difference", interval=True), Column("p", form=p_value)),
            ),
            empty="the images carry no tags",
        ),
        Table(
            "scores",
            f"Mean scores, with {_LEVEL} interval, {{{{ random }}}}.",
            _score_rows,
            (Column("question"), Column("set"), Column("label"), Column("mean", interval=True)),
            empty="no question asks for a number",
        ),
        Figure(
            "screened",
            "Generated images as the classifier that was trained on real images sees them just before it says a class: "
            "along the two directions in which that varies most (principal components, with their share of the "
            "variance). Circles: outliers, nearer to the real images of another class than to those of their own"
            "{{ ': ' ~ screening if screening }}.",
            _drawn("draw_screened"),
        ),
        Table(
            "left_out",
            "Images that were not shown, and why (an image may have two reasons).",
            _left_out_rows,
            (Column("set"), Column("reason"), Column("images")),
            empty="none was left out",
        ),
        Table("comments", "What readers said.", _comment_rows, (Column("reader"), Column("comment")), empty="nothing"),
    ),
)


@step("section-reader-study")
def section(
    settings: ReaderSectionSettings,
    *,
    analysis: Path,
    study: Path,
    key: Path,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on the reader study.

    analysis: of `analyse-readers`; study, key: of `draw-study`.
    """
    from synthmed.report.charts.reader_study import SHOWN

    found = {
        "settings": settings,
        "study": read_result(analysis),
        "drawn": read_json(study),
        "items": ImageSet(key),
        "shown": SHOWN,
        "name": _name,
    }
    found["halves"] = 2 * found["study"]["synthetic"] == found["study"]["count"]
    found["random"] = RANDOM if len(found["study"]["readers"]) > 1 else ONE
    found |= {"tag_words": _tag_words(settings), "screening": _screening(found)}
    certainty = found["study"]["certainty"]
    found["mean_certainty"] = certainty["mean"] if certainty else None
    found["unsaid"] = sum(one["certainty"] is None for one in found["study"]["images"]["items"])
    found["simulated"] = [one for one in found["study"]["readers"] if one["simulated"]]
    write_section(section, out, SECTION, found, document=document)
