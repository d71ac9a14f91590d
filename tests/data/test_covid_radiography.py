"""The COVID-19 Radiography Database as it is published: folders, masks, doubles, origins, and what can be wrong."""

import io
import logging
import zipfile

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv
from synthmed.data.sources import covid_radiography as source
from synthmed.data.xlsx import read_rows
from synthmed.prepare.common import Rejected
from synthmed.prepare.masks import MaskSettings, label_map

ROOT = "archive/COVID-19_Radiography_Dataset"
LUNGS = MaskSettings(kind="semantic", classes={"lungs": 255}, required=False)


def png(value, size=(12, 10), mode="L"):
    buffer = io.BytesIO()
    Image.fromarray(np.full(size[::-1], value, np.uint8)).convert(mode).save(buffer, "PNG")
    return buffer.getvalue()


def mask_png():
    """Lungs in the left half, as a colour picture of another size than the film."""
    buffer = io.BytesIO()
    Image.fromarray(np.tile(np.array([255] * 4 + [0] * 4, np.uint8), (6, 1))).convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def workbook(rows, *, damaged=False):
    """As Excel writes it: texts in a table of their own, numbers in place, empty cells left out."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    texts = sorted({text for row in rows for text in row if isinstance(text, str) and text})
    lines = []
    for place, row in enumerate(rows, 1):
        cells = [
            f'<c r="{column}{place}" t="s"><v>{texts.index(value)}</v></c>' if isinstance(value, str) else
            f'<c r="{column}{place}"><v>{value}</v></c>'
            for column, value in zip("ABCD", row, strict=True) if value != ""
        ]  # fmt: skip
        lines.append(f'<row r="{place}">{"".join(cells)}</row>')
    shared = "".join(f"<si><r><t>{text[:3]}</t></r><r><t>{text[3:]}</t></r></si>" for text in texts)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as book:
        book.writestr("xl/sharedStrings.xml", f'<sst xmlns="{main}">{shared}</sst>')
        sheet = f'<worksheet xmlns="{main}"><sheetData>{"".join(lines)}</sheetData></worksheet>'
        book.writestr("xl/worksheets/sheet1.xml", sheet[:60] if damaged else sheet)
    return buffer.getvalue()


HEADER = ("FILE NAME", "FORMAT", "SIZE", "URL")
ORIGINS = workbook(
    [
        HEADER,
        ("NORMAL-1", "PNG", "256*256", "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data"),
        ("NORMAL-2", "PNG", "256*256", "https://www.kaggle.com/paultimothymooney/chest-xray-pneumonia"),
        ("NORMAL-10", "PNG", 256, ""),
    ]
)
FILES = {
    f"{ROOT}/Normal/images/Normal-10.png": png(10, mode="RGB"),
    f"{ROOT}/Normal/images/Normal-2.png": png(20),
    f"{ROOT}/Normal/images/Normal-1.png": png(30),
    f"{ROOT}/Normal/masks/Normal-1.png": mask_png(),
    f"{ROOT}/Viral Pneumonia/images/Viral Pneumonia-1.png": png(40),
    f"{ROOT}/Viral Pneumonia/images/Viral Pneumonia-2.PNG": png(40, mode="RGB"),
    f"{ROOT}/Viral Pneumonia/images/Viral Pneumonia-3.png": png(50),
    f"{ROOT}/Lung_Opacity/images/Lung_Opacity-1.png": png(50),
    f"{ROOT}/COVID/images/COVID-1.png": png(40, size=(10, 12)),
    f"{ROOT}/Normal.metadata.xlsx": ORIGINS,
    f"{ROOT}/README.md.txt": b"read me",
}


def fetched(folder, files, provider="file"):
    folder.mkdir()
    raw = [folder / name for name in source.raw_files({})]
    if provider == "file":
        placed = folder / "placed.zip"
        with zipfile.ZipFile(placed, "w") as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        placed = folder / "placed"
        for name, content in files.items():
            (placed / name).parent.mkdir(parents=True, exist_ok=True)
            (placed / name).write_bytes(content)
    source.fetch(provider, {"path": str(placed)}, raw)
    return raw


def test_films_are_found_with_their_masks_and_origins_and_doubles_are_left_out(tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        raw = fetched(tmp_path / "a", FILES)
    with source.read(raw) as found:
        facts = {image.name: (image.label, image.source, len(image.masks)) for image in found}
        assert list(facts.items()) == [
            ("covid-1", ("covid", "unknown", 0)),
            ("normal-1", ("normal", "rsna-pneumonia-detection-challenge", 1)),
            ("normal-2", ("normal", "chest-xray-pneumonia", 0)),
            ("normal-10", ("normal", "unknown", 0)),
            ("viral_pneumonia-1", ("viral_pneumonia", "unknown", 0)),
        ]
        mask = label_map(found[1].masks, (10, 12), LUNGS)[0]
        assert mask[:, :6].min() == 255
        assert mask[:, 6:].max() == 0
        assert found[0].load() == png(40, size=(10, 12)), "the same bytes in another shape are another film"
        assert not any(image.patient_known for image in found)
    same = {row["name"]: row["same_as"] for row in read_csv(raw[1]) if row["same_as"]}
    assert same == {
        "viral_pneumonia-2": "viral_pneumonia-1",
        "viral_pneumonia-3": source.CONFLICT,
        "lung_opacity-1": source.CONFLICT,
    }
    assert "1 with the pixels of another one, 2 whose pixels occur in two classes" in caplog.text
    assert "NO patient numbers" in caplog.text
    assert "the published set" in caplog.text


def test_a_folder_is_packed_and_reads_the_same(tmp_path):
    packed, archive = fetched(tmp_path / "a", FILES, "folder"), fetched(tmp_path / "b", FILES)
    assert packed[1].read_bytes() == archive[1].read_bytes()
    again = fetched(tmp_path / "c", FILES, "folder")
    assert packed[0].read_bytes() == again[0].read_bytes()
    with zipfile.ZipFile(packed[0]) as content:
        assert f"{ROOT}/README.md.txt" not in content.namelist()


def test_the_download_of_kaggle_is_kept_in_your_folder_and_read_like_the_file(tmp_path, monkeypatch):
    asked = []

    def download(dataset, folder):
        asked.append((dataset, folder))
        return tmp_path / "a" / "placed.zip"

    placed = fetched(tmp_path / "a", FILES)
    monkeypatch.setattr(source.kaggle, "download_dataset", download)
    (tmp_path / "b").mkdir()
    raw = [tmp_path / "b" / name for name in source.raw_files({})]
    source.fetch("kaggle", {"folder": str(tmp_path)}, raw)
    assert asked == [("tawsifurrahman/covid19-radiography-database", tmp_path)]
    assert raw[0].read_bytes() == placed[0].read_bytes()
    assert raw[1].read_bytes() == placed[1].read_bytes()


def test_what_is_no_such_archive_is_refused(tmp_path):
    without = {name: content for name, content in FILES.items() if "/images/" not in name}
    with pytest.raises(InputError, match=r"no <Class>/images/\*\.png inside"):
        fetched(tmp_path / "a", without)
    twice = FILES | {f"{ROOT}/NORMAL/Images/normal-1.png": png(3)}
    with pytest.raises(InputError, match="two files are the image 'normal-1' of 'normal'"):
        fetched(tmp_path / "b", twice)
    with pytest.raises(InputError, match="no such file"):
        source.fetch("file", {"path": str(tmp_path / "none.zip")}, [tmp_path / "x", tmp_path / "y"])
    other = FILES | {f"{ROOT}/Normal.metadata.xlsx": workbook([("A", "B", "C", "D"), ("1", "2", "3", "4")])}
    with pytest.raises(InputError, match="has no columns FILE NAME and URL"):
        fetched(tmp_path / "c", other)


def test_damaged_pictures_are_left_to_preparation_which_rejects_them(tmp_path, caplog):
    damaged = FILES | {
        f"{ROOT}/Normal/images/Normal-2.png": png(20)[:30],
        f"{ROOT}/Normal/masks/Normal-1.png": b"no picture",
    }
    raw = fetched(tmp_path / "a", damaged)
    assert "Normal-2.png cannot be read" in caplog.text
    with source.read(raw) as found:
        names = {image.name: image for image in found}
        assert "normal-2" in names
        with pytest.raises(Rejected, match=r"its mask: .*cannot be read"):
            label_map(names["normal-1"].masks, (10, 12), LUNGS)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data", "rsna-pneumonia-detection-challenge"),
        ("https://bimcv.cipf.es/", "bimcv.cipf.es"),
        ("", "unknown"),
    ],
)
def test_the_origin_is_the_longest_part_of_the_address(address, name):
    assert source.origin(address) == name


def test_workbooks():
    rows = read_rows(ORIGINS, "book")
    assert rows[1] == {
        "file name": "NORMAL-2",
        "format": "PNG",
        "size": "256*256",
        "url": "https://www.kaggle.com/paultimothymooney/chest-xray-pneumonia",
    }
    assert rows[2] == {"file name": "NORMAL-10", "format": "PNG", "size": "256", "url": ""}
    assert read_rows(workbook([HEADER]), "book") == []
    for content in (b"no zip", workbook([HEADER], damaged=True), png(1)):
        with pytest.raises(InputError, match="book: no readable Excel workbook"):
            read_rows(content, "book")
