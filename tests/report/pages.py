"""The whole report of made-up results, for the tests of this room."""

from dataclasses import replace
from pathlib import Path
from unittest import mock

from fabricated_results import GENERATORS, write_all
from PIL import Image

from synthmed.core.files import read_csv
from synthmed.core.provenance import PACKAGE
from synthmed.core.settings import parse
from synthmed.report.exhibits import Figure
from synthmed.report.page import PageSettings, page
from synthmed.report.sections import (
    ORDER,
    answer,
    data,
    limits,
    methods,
    provenance,
    quality,
    question,
    sharing,
    task,
    trust,
)

CLASSES = ["normal", "abnormal"]
TUBERCULOSIS = PACKAGE / "report" / "references" / "tuberculosis.yaml"
COMMON = {"classes": CLASSES, "generators": GENERATORS, "pseudo_labelled": []}


def given(inputs, document):
    """Section → (module, settings, inputs)."""
    tasks = {"tasks": 1, "generators": inputs["generators"]}
    common = COMMON | {"generators": inputs["generators"], "pseudo_labelled": inputs.get("pseudo_labelled", [])}
    return {
        "question": (question, question.QuestionSettings, {"task": "tells abnormal from normal"}, {}),
        "answer.classification": (
            answer,
            answer.AnswerSettings,
            tasks | {"phantom": True, "pseudo_labelled": inputs.get("pseudo_labelled", [])},
            {name: inputs[name] for name in ("verdicts", "summary", "copies")} | {"document": document},
        ),
        "data": (
            data,
            data.DataSettings,
            common | {"provider": "phantom", "examples": 2, "seed": 0},
            {name: inputs[name] for name in ("split_report", "train", "synthetics")},
        ),
        "methods": (
            methods,
            methods.MethodsSettings,
            {
                "external": inputs.get("external", []),
                "titles": {row["training"]: row["training"] for row in read_csv(inputs["history"])},
            },
            {
                "verdicts": [inputs["verdicts"]],
                "summaries": [inputs["summary"]],
                **{name: inputs[name] for name in ("trainings", "history")},
            },
        ),
        "quality": (
            quality,
            quality.QualitySettings,
            common | {"domain_only": False},
            {name: inputs[name] for name in ("fidelity", "diversity")}
            | {"verdicts": [inputs["verdicts"]], "document": document},
        ),
        "task.classification": (
            task,
            task.TaskSettings,
            tasks,
            {name: inputs[name] for name in ("verdicts", "summary", "grid", "roc")} | {"document": document},
        ),
        "sharing": (
            sharing,
            sharing.SharingSettings,
            {"generators": inputs["generators"]} | {"mask_generators": {}, "painting_real_masks": []},
            {name: inputs[name] for name in ("copies", "pairs")} | {"mask_copies": [], "mask_pairs": []},
        ),
        "trust.classification": (
            trust,
            trust.TrustSettings,
            {"title": "Do they help?", "tasks": 1},
            {"validation": inputs["validation"]},
        ),
        "limits": (
            limits,
            limits.LimitsSettings,
            {"phantom": True},
            {"verdicts": [inputs["verdicts"]], "validations": [inputs["validation"]], "document": document},
        ),
        "provenance": (
            provenance,
            provenance.ProvenanceSettings,
            {},
            {"files": [inputs["verdicts"]], "settings_files": inputs["trainings"]},
        ),
    }


def undrawn(section):
    """The section with blank pictures where there is anything to draw: drawing takes seconds."""

    def blank(path, found):
        Image.new("L", (300, 200)).save(path)

    exhibits = [replace(entry, draw=blank) if isinstance(entry, Figure) else entry for entry in section.exhibits]
    return replace(section, exhibits=tuple(exhibits))


def write_sections(folder: Path, inputs, document=TUBERCULOSIS, only=None, draw=True) -> dict[str, Path]:
    """Write the sections (those named in `only`); returns the JSON of each, in the order of the page."""
    written = {}
    for instance, (module, settings, values, files) in given(inputs, document).items():
        if only is None or instance in only:
            out = [folder / name for name in module.SECTION.files(instance)]
            written[instance] = folder / f"{instance}.json"
            more = {"out": out} if out else {}
            for path in out:
                path.parent.mkdir(parents=True, exist_ok=True)
            with mock.patch.object(module, "SECTION", module.SECTION if draw else undrawn(module.SECTION)):
                module.section(parse(settings, values), **files, section=written[instance], **more)
    return dict(sorted(written.items(), key=lambda item: ORDER.index(item[0].partition(".")[0])))


def write_page(folder: Path, inputs, document=TUBERCULOSIS) -> str:
    """The HTML of the whole report."""
    sections = write_sections(folder, inputs, document)
    settings = {"title": "Tuberculosis in chest X-rays", "provider": "phantom", "generators": 5, "arms": 14}
    pictures = [*folder.glob("figures/*.png"), *inputs["pairs"]]
    page(parse(PageSettings, settings), sections=list(sections.values()), figures=pictures, out=folder / "r.html")
    return (folder / "r.html").read_text(encoding="utf-8")


def results(folder: Path) -> dict:
    """Made-up results and their generators."""
    return write_all(folder) | {"generators": GENERATORS}
