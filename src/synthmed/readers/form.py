"""The form of a reader study: one HTML file that any browser opens without a server, a network or an account."""

import base64
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from synthmed.core.errors import InputError
from synthmed.core.files import write_text
from synthmed.core.step import Output, step
from synthmed.data.imageset import ImageSet, encode_png
from synthmed.readers.study import read_study

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class FormSettings:
    """Settings of `write-form`."""


@step("write-form")
def write_form(settings: FormSettings, *, study: Path, key: Path, examples: Path, out: Output) -> None:
    """Write the form of a reader study, one HTML file.

    study, key, examples: of `draw-study`. Of the items nothing but pixels and names gets into the file, so that no
    reader can look up an answer. Its answers are what `merge-answers` reads. Raises InputError when the files are not
    of one study.
    """
    asked, shown, labelled = read_study(study), ImageSet(key), ImageSet(examples)
    if tuple(name.removesuffix(".png") for name in shown.column("image")) != asked.items:
        raise InputError(f"{key}: not the images of {study}; run draw-study again")
    content = {
        **asdict(asked),
        "items": {name: _data_uri(pixels) for name, (_, pixels, *_) in zip(asked.items, shown.entries(), strict=True)},
        "examples": [{"label": row["label"], "image": _data_uri(pixels)} for row, pixels, *_ in labelled.entries()],
    }
    write_text(out, _page(content))
    logger.info("%s: %d images, %.1f MB", out, len(asked.items), out.stat().st_size / 1e6)


def _data_uri(pixels: np.ndarray) -> str:
    return f"data:image/png;base64,{base64.b64encode(encode_png(pixels)).decode('ascii')}"


def _page(content: Mapping[str, object]) -> str:
    here = Path(__file__)
    beside = {name: Markup(here.with_suffix(f".{name}").read_text(encoding="utf-8")) for name in ("css", "js")}
    # Inside a script element only "<" could end it.
    data = Markup(json.dumps(content, ensure_ascii=False).replace("<", "\\u003c"))
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(here.parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    return environment.get_template("form.html.j2").render(title=content["title"], data=data, **beside)
