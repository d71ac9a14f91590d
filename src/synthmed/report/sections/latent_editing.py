"""Section "Latent editing": what each method takes out of images, and what goes with it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import read_result
from synthmed.report.section import write_section
from synthmed.report.words import artefact

NAMES = {
    "svm": "SVM",
    "svm_orthogonal": "SVM, orthogonal to the class",
    "regression": "regression",
    "regression_orthogonal": "regression, orthogonal to the class",
    "pca": "PCA",
    "pca_orthogonal": "PCA, orthogonal to the class",
    "sefa": "SeFa",
    "sefa_orthogonal": "SeFa, orthogonal to the class",
    "random": "random direction",
}
"""Method → its name for people, in the order of tables and figures."""


@dataclass(frozen=True)
class LatentEditingSectionSettings:
    """Settings of `section-latent-editing`."""

    generator: Annotated[str, Meta(description="Name of the generator that is edited.")]
    titles: Annotated[dict[str, str], Meta(description="Generator → its name for people.")]


def best_step(entry: Mapping) -> Mapping:
    """The step of a method's curve at which it is compared: where most samples lose the thing before their class flips
    or, without a class, lose it at all; of several the nearest."""
    outcome = "in_time" if "in_time" in entry["path"][0] else "removed"
    return max(entry["path"], key=lambda point: (point[outcome].value, -point["distance"]))


def _method_rows(found: Found) -> list[dict]:
    return [
        {
            "method": NAMES[entry["method"]],
            "direction": f"{entry['candidate']} of {entry['of']}" if entry["of"] > 1 else "",
            "cosine": entry["cosine_to_svm"],
            **{key: value for key, value in best_step(entry).items() if key != "likelihood"},
            "likelihood": best_step(entry)["likelihood"],
        }
        for entry in found["methods"]
    ]


def _method_columns(found: Found) -> list[Column]:
    about_class = [
        Column("in_time", "removed before the class flips", interval=True),
        Column("kept", "class kept", interval=True),
        Column("class_change", "change of the class's likelihood", interval=True),
    ]
    return [
        Column("method"),
        Column("direction"),
        Column("cosine", "cosine to SVM"),
        Column("distance"),
        Column("removed", "share removed", interval=True),
        *(about_class if found["editing"]["keep"] is not None else []),
        Column("likelihood", interval=True),
        Column("identity", "distance to the start", interval=True),
    ]


def _rejection_rows(found: Found) -> list[dict]:
    rejection = found["editing"]["rejection"]
    if rejection is None:
        return []
    rows = [{"what": f"samples with {found['editing']['remove']}", **_two(rejection, "before", "after")}]
    if "class_before" in rejection:
        rows.append(
            {"what": f"samples of {found['editing']['keep']}", **_two(rejection, "class_before", "class_after")}
        )
    return rows


def _two(rejection: Mapping, before: str, after: str) -> dict:
    return {"drawn": rejection[before], "accepted": rejection[after]}


def _length_rows(found: Found) -> list[dict]:
    return [
        {
            "keys": (f"{measured['generator']}/{measured['training']}/{space}",),
            "generator": found["settings"].titles[measured["generator"]],
            "training": measured["training"],
            "label": measured["label"] or "",
            "space": space,
            **lengths,
        }
        for measured in found["path_lengths"]
        for space, lengths in measured["spaces"].items()
    ]


def _drawn(name: str):
    """Drawing function: `charts.latent_editing.<name>`, where something was edited."""

    def draw(path: Path, found: Found) -> str | None:
        if not found["methods"]:
            return found["none"]
        from synthmed.report.charts import latent_editing

        return getattr(latent_editing, name)(path, found)

    return draw


_LEVEL = "{{ editing.level | confidence }}"

SECTION = Section(
    link="Can {{ editing.remove }} be edited out of an image?",
    title="Can {{ editing.remove }} be edited out of an image?",
    exhibits=(
        Table(
            "methods",
            "What each method does to {{ counted(editing.starts, 'sample', 'samples') }} with {{ editing.remove }} "
            "that served neither to find nor to choose its way, at the step (in standard deviations of the codes) "
            "where it does best. Removed: its likelihood is below one half. Distance to the start: in the "
            f"classifier's features, 1 = as far as between two samples. With {_LEVEL} interval over samples.",
            _method_rows,
            _method_columns,
            empty="{{ none }}",
        ),
        Table(
            "rejection",
            "Drawing again instead of editing: share of samples before, and of those on the accepted side of the "
            "support vector machine's boundary, of samples that did not serve to find it.",
            _rejection_rows,
            (Column("what"), Column("drawn", interval=True), Column("accepted", interval=True)),
            empty="{{ none }}",
        ),
        Table(
            "path_length",
            "Perceptual path length of each training (LPIPS on VGG16, steps of {{ '%g' % path_length.epsilon }} of the "
            "way between two random codes, {{ counted(path_length.pairs, 'path', 'paths') }}): lower is smoother, "
            "easier to edit. End: at the ends of the paths; full: anywhere on them. Class: of both ends, where a "
            f"training is of several. Not to be compared across sizes of images. With {_LEVEL} interval over paths.",
            _length_rows,
            (
                *(Column("generator"), Column("training"), Column("label", "class"), Column("space")),
                *(Column("end", interval=True), Column("full", interval=True)),
            ),
        ),
        Figure(
            "trade_off",
            "Left: share of samples that have lost {{ editing.remove }}"
            "{% if editing.keep is not none %} before their class flipped{% endif %}, by distance. Right: the same "
            "against the distance of the image to its start: further up and further left is better.",
            _drawn("draw_trade_off"),
        ),
        Figure(
            "images",
            "The first sample edited by every method, with the likelihood of {{ editing.remove }}; not picked.",
            _drawn("draw_images"),
        ),
        Figure(
            "components",
            "The same sample along some directions of PCA and of SeFa, by their number, both ways, with the "
            "likelihood of {{ editing.remove }}; by distance in standard deviations of the codes. None was chosen by "
            "what it does.",
            _drawn("draw_components"),
        ),
    ),
)


@step("section-latent-editing")
def section(
    settings: LatentEditingSectionSettings,
    *,
    editing: Path,
    path_lengths: list[Path],
    images: Path,
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on editing something out of generated images.

    editing, images: outputs `out` and `images` of `edit-latents`; path_lengths: of `path-length`, one
    for each training.
    """
    result = read_result(editing)
    order = list(NAMES)
    found = {
        "settings": settings,
        "editing": result | {"remove": artefact(result["remove"])},
        "methods": sorted(result["methods"], key=lambda entry: order.index(entry["method"])),
        "path_lengths": [read_result(path) for path in path_lengths],
        "best": best_step,
        "names": NAMES,
        "none": f"Nothing was edited: {result['reason']}.",
        "images": ImageSet(images),
    }
    found["path_length"] = found["path_lengths"][0]  # what they have in common
    write_section(section, out, SECTION, found, document=document)
