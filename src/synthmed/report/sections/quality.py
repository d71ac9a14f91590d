"""Section "Image quality": distances of generated images from real ones, and whether they show what they claim."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from synthmed.core.known import MEAN, REAL
from synthmed.core.settings import Classes
from synthmed.core.step import Output, step
from synthmed.metrics.estimate import Estimate
from synthmed.report.exhibits import Column, Figure, Found, Section, Table
from synthmed.report.results import Generators, check_generators, label_fidelity, read_result, read_task
from synthmed.report.section import write_section

DIVERSITY = {"ms_ssim": "MS-SSIM", "lpips": "LPIPS"}

VIEWS = {"image": "images", "both": "images with masks"}
"""What fidelity is measured of, in words; any other view is a class of the masks."""


def _metrics() -> Mapping:
    from synthmed.metrics.quality import METRICS  # with scipy, which the workflow need not import

    return METRICS


def _floors() -> str:
    """What held-out real images reach, in words, each with the metrics that it holds for."""
    titles: dict[str, list[str]] = {}
    for metric in _metrics().values():
        titles.setdefault(metric.floor, []).append(metric.title)
    return "; ".join(f"{words} ({', '.join(own)})" for words, own in titles.items())


@dataclass(frozen=True)
class QualitySettings:
    """Settings of `section-quality`."""

    classes: Classes
    generators: Generators
    pseudo_labelled: Annotated[
        tuple[str, ...], Meta(description="Generators whose images got their label from a classifier.")
    ]
    domain_only: Annotated[bool, Meta(description="Whether the only features are those learnt from these images.")]


def _columns(found: Found) -> list[Column]:
    measured = [
        Column(
            metric.name,
            metric.header,
            interval=True,
            # FID∞ stands in the figure.
            page=metric.name != "fid_infinity",
            below=(("of {n_floor}:", f"matched_{metric.name}"), ("floor", f"floor_{metric.name}")),
        )
        for metric in _metrics().values()
    ]
    beside = [Column(f"{kind}_{name}", page=False) for kind in ("matched", "floor", "duplicate") for name in _metrics()]
    return [
        Column("generator"),
        Column("receptive_field", "receptive field (px)"),
        Column("view", "of", page=found["several_views"]),
        Column("label"),
        Column("extractor", once="Features of {}.", group=True),
        *(Column(name, page=False) for name in ("n_real", "n_floor")),
        Column("n_fake", "generated images", once="Generated images: {}."),
        *measured,
        *beside,
    ]


def _rows(found: Found) -> list[dict]:
    settings, rows = found["settings"], []
    for result in found["quality"]:
        entry = settings.generators[result["generator"]]
        labels = [label for label in settings.classes if label in result["groups"]]
        pooled = [label for label in (MEAN, "all") if label in result["groups"]]
        # Of one class the mean and all images are the class itself.
        for label in labels if len(labels) == 1 else (*labels, *pooled):
            group, known_as = result["groups"][label], (label, *pooled) if len(labels) == 1 else (label,)
            beside = {
                f"{kind}_{name}": result[kind].get(label, {}).get(name, Estimate.missing("not measured")).value
                for kind in ("matched", "floor", "duplicate")
                for name in _metrics()
            }
            rows.append(
                {
                    "keys": tuple(
                        f"{key}/{name}{_suffix(result['view'])}"
                        for name in known_as
                        for key in (result["generator"], *entry.keys)
                    ),
                    "generator": entry.title,
                    "receptive_field": entry.receptive_field,
                    "view": VIEWS.get(result["view"], f"masks of {result['view']}"),
                    "label": label,
                    "extractor": result["extractor"],
                    "n_real": group["n_real"],
                    "n_fake": group["n_fake"],
                    "n_floor": result["floor"].get(label, {}).get("n_fake"),
                    **{name: group[name] for name in _metrics()},
                    **beside,
                }
            )
    return rows


def _suffix(view: str) -> str:
    """Behind the key of a document's row, for other views than the images."""
    return "" if view == "image" else f"/{view}"


def _draw(path: Path, found: Found) -> str | None:
    if not found["quality"]:
        return "No generator was compared with the real images in this experiment."
    from synthmed.report.charts.quality import draw_fidelity

    titles = {name: entry.title for name, entry in found["settings"].generators.items()}
    draw_fidelity(
        path,
        [result for result in found["quality"] if result["view"] == "image"],
        titles,
        MEAN,
        {metric.name: (metric.title, metric.direction) for metric in _metrics().values()},
    )
    return None


def _fidelity_rows(found: Found) -> list[dict]:
    settings = found["settings"]
    return [
        {
            "keys": tuple(f"{key}/{label}" for key in settings.generators[name].keys),
            "generator": settings.generators[name].title,
            "label": label,
            "task": task["title"],
            "n": measured.n,
            "accuracy": measured,
        }
        for task in found["tasks"]
        if task["kind"] == "classification"  # how far masks and images agree stands in the section of the task
        for name, labels in label_fidelity(task, settings.generators).items()
        for label, measured in labels.items()
    ]


def _diversity_rows(found: Found) -> list[dict]:
    settings, rows = found["settings"], []
    titles = {REAL: "real training images", "held_out": "real held-out images"}
    of_real = {}
    for measured in found["diversity"]["sets"]:
        entry = settings.generators.get(measured["name"])
        keys = (measured["name"], *(entry.keys if entry else ()))
        for label in (*settings.classes, MEAN):
            if label not in measured["groups"]:
                continue
            group = measured["groups"][label]
            of_real.setdefault(label, group)  # the first set is the real one
            row = {
                "keys": tuple(f"{key}/{label}" for key in keys),
                "generator": entry.title if entry else titles[measured["name"]],
                "label": label,
                "size": "×".join(map(str, measured["size"])),
                "n": group["n"],
            }
            for measure in DIVERSITY:
                row |= {measure: group[measure], f"real_{measure}": of_real[label][measure].value}
                row |= {f"{measure}_excess": group.get(f"{measure}_excess")}
            rows.append(row)
    return rows


def _diversity_columns(found: Found) -> list[Column]:
    columns = [
        Column("generator", "set"),
        Column("label", once="Label: {}."),
        Column("n", "images", once="Images: {}."),
    ]
    columns.append(Column("size", once="Compared at {} pixels."))
    for measure, title in DIVERSITY.items():
        columns.append(Column(measure, title, interval=True))
        columns.append(Column(f"{measure}_excess", f"{title}, less that of real training images", interval=True))
        columns.append(Column(f"real_{measure}", page=False))
    return columns


SECTION = Section(
    link="Image quality",
    title="How good are the images?",
    exhibits=(
        Figure(
            "fidelity",
            "Quality of the generated images, mean of the classes, with {{ diversity.level | confidence }} intervals"
            "{% if matched %}, of {{ matched | joined }} of the generated images, as many as the floor has{% endif %}. "
            "Dashed line and band: the same measure between real and held-out real images, the floor, with as many "
            "images. Dotted: repeated training images. Where the floor lies: {{ floors }}.",
            _draw,
        ),
        Table(
            "fidelity_by_class",
            "Quality of the generated images. Each value with its {{ diversity.level | confidence }} interval; below "
            "it the value of only as many generated images as the floor has, and the floor: the same measure between "
            "the training images and held-out real ones.{% if several_views %} Masks are shown to the network white on "
            "black, images with masks as three channels: the image and its two masks, or twice the image, grey, and "
            "its mask. Networks that learnt photographs know little of masks; their form stands in a section of its "
            "own.{% endif %}",
            _rows,
            _columns,
            empty="no generator was compared with the real images",
        ),
        Table(
            "set_diversity",
            "How different the images of a set are from one another: mean MS-SSIM (1: all are equal){{ ' and LPIPS (0: "
            "all are equal)' if lpips }} over all pairs of a random draw of its images, within a label and never of "
            "one patient, with {{ diversity.level | confidence }} intervals over patients; and how far that lies above "
            "the same of the real training images. More MS-SSIM{{ ' or less LPIPS' if lpips }}: less variety than real "
            "images have. Noise makes images differ as well, so more of it than real images have is no merit.",
            _diversity_rows,
            _diversity_columns,
        ),
        Table(
            "label_fidelity",
            "Accuracy on generated images of the classifier that was trained on real ones: do they show the class "
            "they claim?{% if labelled %} The labels of the images of {{ labelled | joined }} were given by a "
            "classifier trained on real images.{% endif %}",
            _fidelity_rows,
            (
                Column("generator"),
                Column("label"),
                Column("task", once="Models of the task “{}”."),
                Column("n", "images"),
                Column("accuracy", interval=True),
            ),
            empty="no synthetic images in this experiment",
        ),
    ),
)


@step("section-quality")
def section(
    settings: QualitySettings,
    *,
    fidelity: list[Path],
    diversity: Path,
    verdicts: list[Path],
    document: Path | None,
    section: Output,
    out: list[Output],
) -> None:
    """The report's section on the quality of the images.

    fidelity: of `fidelity`, by extractor, view and generator; diversity: of `set-diversity`; verdicts: of the tasks,
    which say how often a model trained on real images sees in generated ones what they claim.
    """
    quality = check_generators([read_result(path) for path in fidelity], settings.generators)
    varied = read_result(diversity)
    found = {
        "settings": settings,
        "quality": quality,
        "diversity": varied,
        "lpips": any(group["lpips"].value is not None for one in varied["sets"] for group in one["groups"].values()),
        "several_views": len({result["view"] for result in quality}) > 1,
        "tasks": [read_task(path, settings.generators) for path in verdicts],
        "floors": _floors(),
        "matched": [
            f"{n:,}" for n in sorted({one["matched"][MEAN]["n_fake"] for one in quality if one["view"] == "image"})
        ],
        "labelled": [settings.generators[name].title for name in settings.pseudo_labelled],
    }
    write_section(section, out, SECTION, found, document=document)
