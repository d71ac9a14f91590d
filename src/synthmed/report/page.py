"""The report: one HTML file that reads as a small paper and needs nothing beside it (figures are inside)."""

import base64
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from markupsafe import Markup
from msgspec import Meta
from PIL import Image, UnidentifiedImageError

from synthmed.core.errors import InputError
from synthmed.core.files import read_json, write_text
from synthmed.core.settings import Count
from synthmed.core.step import Output, step
from synthmed.report.section import TOKEN
from synthmed.report.words import environment

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PageSettings:
    """Settings of `page`."""

    title: Annotated[str, Meta(description="Of the experiment, for people.")]
    provider: Annotated[
        Literal["phantom", "download", "kaggle", "file", "folder"], Meta(description="Where the images come from.")
    ]
    generators: Annotated[Count, Meta(description="How many there are; of sets of one training, one.")]
    arms: Annotated[Count, Meta(description="How many there are, of all tasks.")]


@step("page")
def page(settings: PageSettings, *, sections: list[Path], figures: list[Path], out: Output) -> None:
    """The report.

    sections: what the steps of its sections wrote, in the order of the page; figures: all pictures that they name, by
    their file names. Tables and figures without content are left out, and numbers run through what is left.
    """
    pictures = {path.name: path for path in figures}
    found = [read_json(path) for path in sections]
    shown = [entry for section in found for entry in section["exhibits"] if entry["shown"]]
    numbers, counts = {}, {"table": 0, "figure": 0}
    for entry in shown:
        counts[entry["kind"]] += 1
        numbers[entry["name"]] = counts[entry["kind"]]
    files = {entry["name"]: entry["file"] for entry in shown if entry["kind"] == "figure"}

    def fill(match) -> str:
        kind, name = match.groups()
        if kind == "number":
            return str(numbers.get(name, "–"))
        if files[name] not in pictures:
            raise InputError(f"figures: {files[name]}, which a section shows, is not among them; give it too")
        return _picture(pictures[files[name]])

    for section in found:
        section["html"] = Markup(TOKEN.sub(fill, section["html"]))
    style = Markup((Path(__file__).with_suffix(".css")).read_text(encoding="utf-8"))
    html = environment(html=True).get_template("page.html.j2")
    answers = [section["key"] for section in found if section["key"].startswith("answer")]
    write_text(out, html.render(settings=settings, style=style, sections=found, answers=answers))
    logger.info("wrote %s (%.1f MB)", out, out.stat().st_size / 1e6)


def _picture(path: Path) -> str:
    """A PNG as data URI, with its size so that the page does not jump while it loads. Shown at half its pixels."""
    content = path.read_bytes()
    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            width, height = picture.size
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise InputError(f"{path}: not a PNG picture ({error}); make it again") from error
    size = f'width="{round(width / 1.5625)}" height="{round(height / 1.5625)}"'  # 150 dpi on a screen of 96
    return f'src="data:image/png;base64,{base64.b64encode(content).decode("ascii")}" {size}'
