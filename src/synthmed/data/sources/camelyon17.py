"""CAMELYON17: whole slides of lymph nodes from five centres, with and without metastases of breast cancer.

Bándi et al. 2019, IEEE Trans Med Imaging 38:550. The public bucket is read over HTTPS: stages.csv (stage of every slide
and patient), checksums.md5, and then only the slides that are drawn: one of each patient, patients without metastases
and patients with an annotated one, evenly over the centres. Slides without annotation are not taken for negative.

Raw files: see raw_slide.py.
"""

import csv
import logging
import re
import urllib.parse
import xml.etree.ElementTree as ElementTree
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from synthmed.core.errors import InputError
from synthmed.core.files import hash_file, readable, user_path
from synthmed.core.settings import Count, Seed, parse
from synthmed.data.download import download
from synthmed.data.sources.raw_slide import UNKNOWN, Placed, RawSlide, read_slides, slide_files, write_slides

logger = logging.getLogger(__name__)

LICENCE = "CC0"
SHARING = "allowed"
CITATION = "Bándi P et al., From detection of individual metastases to classification of lymph node status at the "
CITATION += "patient level: the CAMELYON17 challenge, IEEE Trans Med Imaging 38:550, 2019"
PROVIDERS = {"phantom": ("synthmed.data.phantoms.slides",), "download": ()}
OPTIONS = {
    "phantom": "synthmed.data.phantoms.slide_settings:SlidePhantoms",
    "download": "synthmed.data.sources.camelyon17:DownloadOptions",
}

BUCKET = "https://camelyon-dataset.s3.us-west-2.amazonaws.com"
PREFIX = "CAMELYON17"
PATIENTS_PER_CENTRE = 20
NEGATIVE = "negative"
_SLIDE = re.compile(r"patient_(\d{3})_node_(\d)")


@dataclass(frozen=True)
class DownloadOptions:
    """Which slides are drawn, and where they are kept."""

    folder: Annotated[
        str,
        Meta(
            description="Where the downloads (1 to 4 GB a slide) are kept and continued after a break; it must exist. "
            "What you placed there yourself, as images/patient_000_node_0.tif, is checked and used."
        ),
    ]
    negative: Annotated[Count, Meta(description="Patients none of whose slides shows metastases; one slide of each.")]
    positive: Annotated[Count, Meta(description="Patients with an annotated slide; one annotated slide of each.")]
    seed: Seed


def raw_files(settings: Mapping[str, object]) -> list[str]:
    """The table, the annotations, and as many slides as the options ask for."""
    if settings["provider"] == "phantom":
        from synthmed.data.phantoms.slide_settings import SlidePhantoms

        return slide_files(parse(SlidePhantoms, settings["options"], "options").count)
    options = parse(DownloadOptions, settings["options"], "options")
    return slide_files(options.negative + options.positive)


def fetch(provider: str, options: Mapping[str, object], raw: Sequence[Path]) -> None:
    """Draw the phantoms, or download the slides that the drawing names. Raises InputError when it cannot be met, and
    when a file has another md5 than published."""
    if provider == "phantom":
        from synthmed.data.phantoms.slide_settings import SlidePhantoms
        from synthmed.data.phantoms.slides import write_phantoms

        write_phantoms(parse(SlidePhantoms, options, "options"), raw)
        return
    settings = parse(DownloadOptions, options, "options")
    folder = user_path(settings.folder)
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder (setting options.folder); make it, where there is room for slides")
    bucket = _Bucket(folder)
    stages, annotated = _stages(bucket.file("stages.csv")), bucket.listed("annotations/")
    drawn = draw(stages, {name for name in stages if f"annotations/{name}.xml" in annotated}, settings)
    logger.info("CAMELYON17: %d slides drawn of %s", len(drawn), dict(Counter(map(centre_of, drawn))))
    placed = []
    for name in drawn:
        image = bucket.file(f"images/{name}.tif")
        outlined = stages[name] != NEGATIVE
        annotation = bucket.file(f"annotations/{name}.xml").read_bytes() if outlined else None
        row = {
            "name": name,
            "label": UNKNOWN if outlined else "normal",
            "patient": name[: name.index("_node")],
            "split": "",
            "source": centre_of(name),
            "mpp": "",
            "node": _SLIDE.fullmatch(name)[2],
            "stage": stages[name],
        }
        placed.append(Placed(row, image, annotation))
    write_slides(placed, raw)


def read(raw: Sequence[Path]) -> AbstractContextManager[list[RawSlide]]:
    """All drawn slides. Label of negative ones: normal. Source: the centre. Extra columns: node, stage."""
    return read_slides(raw)


def centre_of(name: str) -> str:
    """The centre of a slide by its name: twenty patients each."""
    return f"centre {int(_SLIDE.fullmatch(name)[1]) // PATIENTS_PER_CENTRE}"


# ------------------------------------------------------------------------------------------------------------ drawing
def draw(stages: Mapping[str, str], annotated: set[str], settings: DownloadOptions) -> list[str]:
    """Names of the slides that are taken, one of a patient: negative ones first.

    stages: slide → stage; annotated: slides with an annotation. Centres take turns, so that stain says nothing of
    metastases. Raises InputError when there are too few patients.
    """
    of_patient: dict[str, list[str]] = defaultdict(list)
    for name in sorted(stages):
        of_patient[name[: name.index("_node")]].append(name)
    free = {patient: names for patient, names in of_patient.items() if {stages[name] for name in names} == {NEGATIVE}}
    outlined = {
        patient: kept
        for patient, names in of_patient.items()
        if (kept := [name for name in names if name in annotated and stages[name] != NEGATIVE])
    }
    rng, drawn = np.random.default_rng(settings.seed), []
    for setting, candidates in (("negative", free), ("positive", outlined)):
        wanted = getattr(settings, setting)
        if wanted > len(candidates):
            raise InputError(
                f"setting options.{setting} is {wanted}, but there are {len(candidates)} such patients "
                f"({'all slides negative' if setting == 'negative' else 'with an annotated slide'})"
            )
        turns: dict[str, int] = Counter()
        order = []
        for patient in rng.permutation(sorted(candidates)).tolist():
            name = candidates[patient][int(rng.integers(len(candidates[patient])))]
            order.append((turns[centre_of(name)], centre_of(name), name))
            turns[centre_of(name)] += 1
        drawn += sorted(name for _, _, name in sorted(order)[:wanted])
    return drawn


def _stages(path: Path) -> dict[str, str]:
    """Slide → stage; the rows of patients (.zip) are passed over."""
    with readable(path), open(path, newline="", encoding="utf-8-sig") as handle:
        rows = list(csv.DictReader(handle))
    stages = {row.get("patient", "").removesuffix(".tif"): row.get("stage", "") for row in rows}
    stages = {name: stage for name, stage in stages.items() if _SLIDE.fullmatch(name)}
    if not stages:
        raise InputError(f"{path}: no rows patient_XXX_node_Y.tif with a stage; delete it to download it again")
    return stages


# ----------------------------------------------------------------------------------------------------------- download
class _Bucket:
    """The bucket's files, kept in a folder, each checked by its md5."""

    def __init__(self, folder: Path):
        self.folder = folder
        path = folder / "checksums.md5"
        if not path.exists():
            download(f"{BUCKET}/{PREFIX}/checksums.md5", path, sha256=None, size=None)
        with readable(path):
            lines = [line.split(maxsplit=1) for line in path.read_text().splitlines() if line.strip()]
        if any(len(line) != 2 or not re.fullmatch(r"[0-9a-f]{32}", line[0]) for line in lines):
            raise InputError(f"{path}: not lines of md5 and name; delete it to download it again")
        self.md5 = {name.lstrip("*").strip().removeprefix("./").removeprefix(f"{PREFIX}/"): md5 for md5, name in lines}

    def file(self, name: str) -> Path:
        """The path of a file, downloaded where it is not there yet. Raises InputError when its md5 is another."""
        path, md5 = self.folder / name, self.md5.get(name)
        if md5 is None:
            logger.warning("%s: checksums.md5 does not name it; it is used unchecked", name)
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            download(f"{BUCKET}/{PREFIX}/{name}", path, sha256=None, size=None, md5=md5)
        elif md5 is not None and (found := hash_file(path, "md5")) != md5:
            raise InputError(f"{path}: has md5 {found}, published is {md5}; delete it to download it again")
        return path

    def listed(self, folder: str) -> set[str]:
        """Names of all files below a folder of the bucket, as its server lists them, a thousand at a time."""
        found: set[str] = set()
        for page in self._pages(folder):
            root = ElementTree.parse(page).getroot()
            space = root.tag.partition("}")[0] + "}" if root.tag.startswith("{") else ""
            found |= {key.text.removeprefix(f"{PREFIX}/") for key in root.iter(f"{space}Key")}
        return found

    def _pages(self, folder: str) -> Iterator[Path]:
        token, number = None, 0
        while True:
            query = {"list-type": "2", "prefix": f"{PREFIX}/{folder}"} | (
                {} if token is None else {"continuation-token": token}
            )
            page = self.folder / f"list.{folder.strip('/')}.{number}.xml"
            if not page.exists():
                download(f"{BUCKET}/?{urllib.parse.urlencode(query)}", page, sha256=None, size=None)
            try:
                root = ElementTree.parse(page).getroot()
            except ElementTree.ParseError as error:
                raise InputError(f"{page}: no list of the bucket ({error}); delete it to download it again") from error
            yield page
            token = next((one.text for one in root.iter() if one.tag.endswith("NextContinuationToken")), None)
            number += 1
            if token is None:
                return
