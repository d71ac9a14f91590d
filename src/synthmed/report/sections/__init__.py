"""Sections of the report, one file each, with its template beside it."""

import importlib

ORDER = (
    "question",
    "answer",
    "data",
    "slides",
    "multi_scale",
    "mask_channel",
    "artefacts",
    "selection",
    "methods",
    "networks",
    "states",
    "mask_diversity",
    "quality",
    "mask_quality",
    "mask_agreement",
    "task",
    "segmentation",
    "learning_curve",
    "background",
    "shortcuts",
    "three_steps",
    "disease_axes",
    "latent_editing",
    "reader_study",
    "anomaly",
    "sharing",
    "reidentification",
    "trust",
    "limits",
    "provenance",
)
"""Keys of all sections, in the order of the page; an experiment has those whose rules it asks for."""


def statement(key: str):
    """The statement of the section `key`: its headings, and its exhibits (see exhibits.Section)."""
    return importlib.import_module(f"synthmed.report.sections.{key}").SECTION
