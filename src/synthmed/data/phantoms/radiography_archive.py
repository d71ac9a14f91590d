"""Chest X-ray phantoms as the archive in which Kaggle gives away the COVID-19 Radiography Database.

With its traps: a space in a folder's name, masks of another size than the images and in colour, films twice, and the
origin of each film in a workbook beside the folder. So the reader of the real archive is what reads the phantoms.
"""

import io
import logging
import zipfile
from pathlib import Path
from xml.sax.saxutils import escape

import numpy as np
from PIL import Image

from synthmed.core.files import ZIP_TIME, stored_zip
from synthmed.data.imageset import encode_png
from synthmed.data.phantoms.viral_pneumonia import LABELS, ViralPhantomSettings, draws

logger = logging.getLogger(__name__)

ROOT = "COVID-19_Radiography_Dataset"
FOLDERS = {"normal": "Normal", "viral_pneumonia": "Viral Pneumonia"}
MASK_SIDE = 256
"""Side of the masks, whatever that of the images is (published: 299)."""


def write_archive(settings: ViralPhantomSettings, path: Path) -> None:
    """Write the films of `settings` as one zip; the same settings give the same bytes.

    Film i is film i of `draws(settings, settings.seed, …)`, all normal ones first, which also carries its truth.
    """
    wanted = [label for label in LABELS for _ in range(getattr(settings, label))]
    again = np.random.default_rng([settings.seed, len(wanted)]).random(len(wanted)) < settings.duplicate_share
    origins: dict[str, list[str]] = {label: [] for label in LABELS}
    with stored_zip(path) as add:
        for number, film in enumerate(draws(settings, settings.seed, wanted)):
            folder = FOLDERS[film.label]
            for _ in range(1 + int(again[number])):
                origins[film.label].append(film.hospital)
                name = f"{folder}-{len(origins[film.label])}.png"
                add(f"{ROOT}/{folder}/images/{name}", encode_png(film.pixels))
                add(f"{ROOT}/{folder}/masks/{name}", _mask_png(film.lungs))
            if (number + 1) % 200 == 0:
                logger.info("%d of %d phantom films drawn", number + 1, len(wanted))
        for label, hospitals in origins.items():
            add(f"{ROOT}/{FOLDERS[label]}.metadata.xlsx", _workbook(FOLDERS[label], hospitals))


def _mask_png(mask: np.ndarray) -> bytes:
    image = Image.fromarray(mask).resize((MASK_SIDE, MASK_SIDE), Image.Resampling.NEAREST).convert("RGB")
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


_SHEET = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"


def _workbook(folder: str, hospitals: list[str]) -> bytes:
    """An Excel workbook with the columns of the published one. Only its sheet is written, which is all that is read."""
    rows = [("FILE NAME", "FORMAT", "SIZE", "URL")]
    rows += [
        (f"{folder.upper()}-{number}", "PNG", "256*256", f"https://phantom.invalid/{hospital}/data")
        for number, hospital in enumerate(hospitals, 1)
    ]
    lines = "".join(
        f'<row r="{place}">'
        + "".join(
            f'<c r="{column}{place}" t="inlineStr"><is><t>{escape(text)}</t></is></c>'
            for column, text in zip("ABCD", row, strict=True)
        )
        + "</row>"
        for place, row in enumerate(rows, 1)
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as book:
        sheet = f'<worksheet xmlns="{_SHEET}"><sheetData>{lines}</sheetData></worksheet>'
        book.writestr(zipfile.ZipInfo("xl/worksheets/sheet1.xml", ZIP_TIME), sheet.encode())
    return buffer.getvalue()
