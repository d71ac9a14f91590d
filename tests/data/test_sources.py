"""The registry, the step fetch, and what every source reads."""

import contextlib
import csv
import io
import itertools
import logging
import os
import re
import subprocess
import sys
import unicodedata
import zipfile

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.data import sources
from synthmed.data.fetch import FetchSettings, fetch
from synthmed.data.imageset import write_image_set
from synthmed.data.sources import folder, image_set, medmnist, montgomery_shenzhen


def png(value=0, size=(20, 16)):
    buffer = io.BytesIO()
    Image.new("L", size, value).save(buffer, "PNG")
    return buffer.getvalue()


def make_zip(path, members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


# ---------------------------------------------------------------------------------------------------------- registry
SLIDES = {
    "phantom": {
        "negative": 1, "positive": 1, "stages": ["macro"], "unannotated": 0, "identity": 0.5, "centre_spread": 0.5,
        "difficulty": 0.3, "field": 512.0, "mpp": 1.0, "levels": 3, "seed": 1,
    },
    "download": {"folder": "slides", "negative": 1, "positive": 1, "seed": 1},
}  # fmt: skip
"""Options of camelyon17, from which the number of its files follows."""


@pytest.mark.parametrize("name", sources.SOURCES)
def test_every_source_keeps_the_contract(name):
    source = sources.load(name)
    assert source.LICENCE
    assert source.CITATION
    assert source.SHARING in ("allowed", "forbidden", "ask")
    for provider, modules in source.PROVIDERS.items():
        settings = {"source": name, "provider": provider, "options": SLIDES[provider] if name == "camelyon17" else {}}
        if name == "slide_folder":  # its files are those of your table: test_slide_sources
            with pytest.raises(InputError, match=r"options\.path is missing"):
                sources.raw_files(settings)
        else:
            assert sources.raw_files(settings)
        assert sources.made_by(settings) == list(modules)
    with pytest.raises(InputError, match="no provider 'mail'"):
        sources.made_by({"source": name, "provider": "mail"})


def test_an_unknown_source_is_named_with_the_known_ones():
    with pytest.raises(InputError, match=re.escape(f"'xray'; known are {sorted(sources.SOURCES)}")):
        sources.load("xray")


def test_the_snakefile_can_ask_for_raw_files_without_torch():
    code = (
        "import sys; from synthmed.data import sources\n"
        "for name in sources.SOURCES:\n"
        "    sources.load(name)\n"
        f"    options = {SLIDES['phantom']!r} if name == 'camelyon17' else {{}}\n"
        "    asked = {'source': name, 'provider': 'phantom', 'options': options}\n"
        "    if name != 'slide_folder': sources.raw_files(asked)\n"
        "assert not {'torch', 'pandas', 'scipy'} & set(sys.modules), sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fetch_refuses_other_file_names(tmp_path):
    settings = FetchSettings("medmnist", "file", {"path": "x.npz"})
    with pytest.raises(InputError, match=r"makes the files \['medmnist.npz'\], not \['other.npz'\]"):
        fetch(settings, raw=[tmp_path / "other.npz"])


# ------------------------------------------------------------------------------------------------------------ folder
CSV = {
    "name": "labels.csv",
    "file": "file",
    "label": "finding",
    "patient": "person",
    "mask": None,
    "split": None,
    "keep": (),
}


def options(path, csv=None, pattern=None):
    return {"path": str(path), "name": "clinic", "csv": csv, "patient_pattern": pattern}


def fetch_folder(tmp_path, chosen):
    raw = tmp_path / "raw" / "folder.zip"
    fetch(FetchSettings("folder", "folder", chosen), raw=[raw])
    with folder.read([raw]) as found:
        return found


@pytest.fixture
def class_folders(tmp_path):
    for number, file in enumerate(["sick/p1_a.png", "sick/p1_b.png", "well/p2_a.png", "well/deep er/p1_a.PNG"]):
        path = tmp_path / "clinic" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    (tmp_path / "clinic" / "sick" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "clinic" / "sick" / "._p1_a.png").write_bytes(b"x")
    (tmp_path / "clinic" / "loose.png").write_bytes(png())
    return tmp_path / "clinic"


def test_class_folders(tmp_path, class_folders, caplog):
    caplog.set_level(logging.INFO)
    found = fetch_folder(tmp_path, options(class_folders))
    assert [(image.name, image.label, image.patient) for image in found] == [
        ("sick_p1_a", "sick", "sick/p1_a.png"),
        ("sick_p1_b", "sick", "sick/p1_b.png"),
        ("well_deep_er_p1_a", "well", "well/deep er/p1_a.PNG"),
        ("well_p2_a", "well", "well/p2_a.png"),
    ]
    assert {image.source for image in found} == {"clinic"}
    assert "packed 4 images of 4 patients (sick 2, well 2), 0 with a mask" in caplog.text
    assert "1 files lie beside the class sub-folders and are left out (1 .png), e.g. loose.png" in caplog.text
    assert "Thumbs.db" not in caplog.text
    assert "patients unknown, every image counts as its own patient; name them by options.patient_" in caplog.text


def test_linked_folders_are_read_too(tmp_path, class_folders):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "new.png").write_bytes(png(9))
    (class_folders / "third").symlink_to(elsewhere)
    (class_folders / "sick" / "batch2").symlink_to(elsewhere)
    found = fetch_folder(tmp_path, options(class_folders))
    assert [image.name for image in found if "new" in image.name] == ["sick_batch2_new", "third_new"]
    (elsewhere / "loop").symlink_to(class_folders)
    with pytest.raises(InputError, match=r"loop: links to a folder that it lies in"):
        fetch_folder(tmp_path / "again", options(class_folders))


def test_class_folders_with_patients_in_the_names(tmp_path, class_folders):
    found = fetch_folder(tmp_path, options(class_folders, pattern=r"^(p\d+)_"))
    assert [image.patient for image in found] == ["p1", "p1", "p1", "p2"]


def test_a_name_without_patient_is_an_error(tmp_path, class_folders):
    with pytest.raises(InputError, match=r"p2_a\.png: options\.patient_pattern .* finds no patient"):
        fetch_folder(tmp_path, options(class_folders, pattern=r"^(p1)_"))
    with pytest.raises(InputError, match="no regular expression"):
        fetch_folder(tmp_path, options(class_folders, pattern="("))
    with pytest.raises(InputError, match="needs a group"):
        fetch_folder(tmp_path, options(class_folders, pattern="p1"))


def test_one_class_only_is_an_error(tmp_path, class_folders):
    for path in (class_folders / "well").rglob("*.[pP]*"):
        path.unlink()
    with pytest.raises(InputError, match=r"only one class \(sick\)"):
        fetch_folder(tmp_path, options(class_folders))


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        fetch_folder(tmp_path, options(tmp_path / "nowhere"))


def test_equal_folders_give_equal_bytes(tmp_path, class_folders):
    archives = []
    for name in ("a", "b"):
        raw = tmp_path / name / "folder.zip"
        fetch(FetchSettings("folder", "folder", options(class_folders)), raw=[raw])
        archives.append(raw.read_bytes())
    assert archives[0] == archives[1]


def write_csv(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "labels.csv").write_text(text, encoding="utf-8-sig")
    for name in ("1.png", "2.png", "3.png", "m1.png"):
        (folder / name).write_bytes(png())
    return folder


def test_a_csv_with_masks_patients_split_and_further_columns(tmp_path):
    path = write_csv(
        tmp_path / "clinic",
        "file,finding,person,mask,part,age\n1.png,tb,7,m1.png,train,44\n2.png,none,7,,val,\n3.png,none,,,test,9\n",
    )
    chosen = options(path, CSV | {"mask": "mask", "split": "part", "keep": ("age",)})
    found = fetch_folder(tmp_path, chosen)
    assert [(image.name, image.label, image.patient, image.split, len(image.masks)) for image in found] == [
        ("1", "tb", "7", "train", 1),
        ("2", "none", "7", "validation", 0),
        ("3", "none", "3.png", "test", 0),  # without a number it is a patient of its own
    ]
    assert [image.extra for image in found] == [{"age": "44"}, {"age": ""}, {"age": "9"}]


@pytest.mark.parametrize(("second", "enough"), [("m1.png", True), ("", False)])
def test_one_class_is_enough_where_every_image_has_a_mask(tmp_path, second, enough):
    path = write_csv(tmp_path / "clinic", f"file,finding,person,mask\n1.png,tb,7,m1.png\n2.png,tb,8,{second}\n")
    chosen = options(path, CSV | {"mask": "mask"})
    if enough:
        assert [len(image.masks) for image in fetch_folder(tmp_path, chosen)] == [1, 1]
        return
    with pytest.raises(
        InputError, match=r"1 of 2 images have no mask, the first is '2\.png'; where there is one class only"
    ):
        fetch_folder(tmp_path, chosen)


def test_a_csv_with_a_pattern_for_the_file(tmp_path):
    for label in ("tb", "none"):
        (tmp_path / "clinic" / label).mkdir(parents=True)
        (tmp_path / "clinic" / label / "1.png").write_bytes(png())
    (tmp_path / "clinic" / "labels.csv").write_text("file,finding,person\n1.png,tb,7\n1.png,none,8\n")
    found = fetch_folder(tmp_path, options(tmp_path / "clinic", CSV | {"file": "{finding}/{file}"}))
    assert [image.name for image in found] == ["none_1", "tb_1"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,finding,person\n1.png,tb,7\n9.png,none,8\n", r"labels\.csv, line 3: .*9\.png does not exist"),
        ("file,finding,person\n1.png,tb,7\n1.png,none,8\n", r"line 3: '1\.png' stands in line 2 already"),
        ("file,finding,person\n1.png,tb,7\n2.png,tb,8\n", r"only one class \(tb\)"),
        ("file,finding,person\n1.png,,7\n2.png,tb,8\n", r"line 2: no finding"),
        ("file,finding,person\n1.png,a,7\nlabels.csv,tb,8\n", r"line 3: 'labels\.csv' is no image file"),
        ("file,finding,person\n../1.png,a,7\n2.png,tb,8\n", r"line 2: '\.\./1\.png' is not the name"),
        ("file,finding,person\n1.png,a\n2.png,tb,8\n", r"line 2: it has not 3 cells"),
        ("file,finding\n1.png,a\n", r"no column 'person'; it has \['file', 'finding'\]"),
        ("file;finding;person\n1.png;a;7\n", r"separated by semicolons"),
        ("file,finding,person,finding\n1.png,a,7,b\n", r"labels\.csv: the column 'finding' occurs 2 times"),
        ("file,finding,person\n\n1.png,a,7\n\n\n2.png,b\n", r"line 6: it has not 3 cells"),
        ("file,finding,person\n1.png,a,7,9\n2.png,b,8\n", r"line 2: it has not 3 cells"),
        ("file\tfinding\tperson\n1.png\ta\t7\n", r"separated by tabs: save it with commas"),
        ("\n\n", r"labels\.csv: the file is empty"),
        ("file,finding,person\n,,\n", r"labels\.csv: no rows below the first line"),
        ("file,finding,person\n1\0.png,a,7\n2.png,b,8\n", r"clinic/1\\x00\.png does not exist"),
        ("file,finding,person\n1.PNG,a,7\n2.png,b,8\n", r"1\.PNG does not exist; is '1\.png' meant\?"),
        ("file,finding,person\n1,a,7\n2.png,b,8\n", r"clinic/1 does not exist; is '1\.png' meant\?"),
        ("file,finding,person\n1.png,a," + "x" * 200_000 + "\n", r"line 2: not readable as a table \(field larger"),
        ('file,finding,person\n1.png,a,7\n2.png,b,"8\n3.png,a,9\n', r"line 3: not readable .*unexpected end"),
        ('file,finding,person\n1.png,a,"7\n2.png,b,"8\n3.png,a,9\n', r"line 2: not readable .*close the quote"),
        (
            'file,finding,person\n1.png,a,7\n2.png,b,"8\n3.png,a,9"\n',
            r"line 3: its 'person' has a line break in it \('8\\n3\.png,a,9' …\); close the quote",
        ),
        ("file,finding,person,note\n1.png,a\n2.png,b,8\n", r"line 2: it has not 4 cells"),
        ("file,finding,person\n" + "x" * 300 + ".png,a,7\n", r"labels\.csv, line 2: .*x\.png: its name is too long"),
        ('file,finding,person\n1.png,a,7\n2.png,b,"8\n' + "3.png,a,7\n" * 20_000, r"line 3: .*close the quote"),
    ],
)
def test_a_wrong_csv_is_told_with_its_line(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        fetch_folder(tmp_path, options(write_csv(tmp_path / "clinic", text), CSV))


def test_a_csv_that_is_missing_or_no_utf8(tmp_path):
    (tmp_path / "clinic").mkdir()
    with pytest.raises(InputError, match=r"labels\.csv: no such file"):
        fetch_folder(tmp_path, options(tmp_path / "clinic", CSV))
    (tmp_path / "clinic" / "labels.csv").write_bytes(b"file,finding,person\n\xe9.png,a,1\n")
    with pytest.raises(InputError, match="not UTF-8"):
        fetch_folder(tmp_path, options(tmp_path / "clinic", CSV))


@pytest.mark.parametrize("column", ["source", "origin", "patient_known"])
def test_a_column_of_the_image_set_cannot_be_carried(tmp_path, column):
    path = write_csv(tmp_path / "clinic", f"file,finding,person,{column}\n1.png,a,1,x\n2.png,b,2,x\n")
    with pytest.raises(InputError, match=f"keep names '{column}'"):
        fetch_folder(tmp_path, options(path, CSV | {"keep": (column,)}))


def test_a_misspelt_option_is_named(tmp_path):
    with pytest.raises(InputError, match=r"unknown setting options\.pth; did you mean 'path'"):
        fetch_folder(tmp_path, {"pth": "x", "name": "clinic", "csv": None, "patient_pattern": None})


@pytest.mark.parametrize(
    ("index", "said"),
    [
        (b"file,label\na.png,x\n", "lacks one of"),
        (b"file,label\n\xff\n", "index.csv: 'utf-8' codec"),
        (b"", "lacks one of"),
    ],
)
def test_an_archive_with_another_index_is_refused(tmp_path, index, said):
    path = make_zip(tmp_path / "folder.zip", {"index.csv": index})
    with pytest.raises(InputError, match=said), folder.read([path]):
        pass


def test_a_full_disk_while_packing(class_folders, small_disk):
    (class_folders / "sick" / "large.png").write_bytes(bytes(500_000))
    with pytest.raises(InputError, match="no space left"):
        fetch_folder(small_disk, options(class_folders))
    assert list((small_disk / "raw").iterdir()) == []


def test_what_spreadsheets_and_pandas_leave_in_a_table_is_no_fault(tmp_path):
    text = "file , finding, person,,\n1.png, a ,7.0,,\n2.png,b,nan,,\n,,,,\n3.png,b,7,,\n,,,,\n"
    found = fetch_folder(tmp_path, options(write_csv(tmp_path / "clinic", text), CSV))
    assert [(image.name, image.label, image.patient, image.patient_known) for image in found] == [
        ("1", "a", "7", True),
        ("2", "b", "2.png", False),
        ("3", "b", "7", True),
    ]


def test_quotes_after_a_space_and_commas_at_the_end_of_a_row_are_no_fault(tmp_path):
    text = 'file,finding,person\n1.png, "a, or b", 7,\n2.png,b,8\n'
    found = fetch_folder(tmp_path, options(write_csv(tmp_path / "clinic", text), CSV))
    assert [(image.label, image.patient) for image in found] == [("a, or b", "7"), ("b", "8")]


def test_a_line_break_in_a_column_that_is_not_asked_for_is_no_fault(tmp_path):
    text = 'file,finding,person,note\n1.png,a,7,"first\nsecond"\n2.png,b,8,\n'
    found = fetch_folder(tmp_path, options(write_csv(tmp_path / "clinic", text), CSV))
    assert [image.patient for image in found] == ["7", "8"]


def test_empty_cells_that_spreadsheets_leave_out_at_the_end_of_rows_are_no_fault(tmp_path):
    text = "file,finding,person,note,\n1.png,a,7,x,\n2.png,b,8\n3.png,b,9,y\n"
    path = write_csv(tmp_path / "clinic", text)
    found = fetch_folder(tmp_path, options(path, CSV))
    assert [image.patient for image in found] == ["7", "8", "9"]
    with pytest.raises(InputError, match="line 3: it has not 5 cells"):
        fetch_folder(tmp_path, options(path, CSV | {"keep": ("note",)}))


def test_patients_whose_numbers_differ_in_spelling_or_are_none_are_told(tmp_path, caplog):
    text = "file,finding,person\n1.png,a,007\n2.png,b,7\n3.png,b,unknown\n"
    found = fetch_folder(tmp_path, options(write_csv(tmp_path / "clinic", text), CSV))
    assert [image.patient for image in found] == ["007", "007", "3.png"]
    assert "1 patients are written in several ways, e.g. '007' and '7'" in caplog.text
    assert "1 of 3 images have no patient" in caplog.text
    assert "patients unknown" not in caplog.text


def test_a_table_without_patients_says_so_and_looks_at_the_names(tmp_path, caplog):
    folder_ = tmp_path / "clinic"
    for number, name in enumerate(("00003847_004", "00003847_005", "00000061_001")):
        (folder_ / name).parent.mkdir(exist_ok=True)
        (folder_ / f"{name}.png").write_bytes(png(number))
    (folder_ / "labels.csv").write_text("file,finding\n00003847_004.png,a\n00003847_005.png,b\n00000061_001.png,b\n")
    found = fetch_folder(tmp_path, options(folder_, CSV | {"patient": None}))
    assert not any(image.patient_known for image in found)
    assert "patients unknown, every image counts as its own patient" in caplog.text
    assert (
        "2 images look by their names like several of one patient (1 such patients), e.g. 00003847_004" in caplog.text
    )


def test_images_without_a_line_are_told(tmp_path, caplog):
    fetch_folder(tmp_path, options(write_csv(tmp_path / "clinic", "file,finding,person\n1.png,a,1\n2.png,b,2\n"), CSV))
    assert "labels.csv: 2 images of the same folders have no line and are left out, e.g. 3.png" in caplog.text


def test_a_pattern_without_any_image_is_told_as_no_image(tmp_path):
    for kind in ("sick", "well"):
        (tmp_path / "clinic" / kind).mkdir(parents=True)
        (tmp_path / "clinic" / kind / "p1.gif").write_bytes(b"x")
    with pytest.raises(InputError, match=r"only one class \(no image\)"):
        fetch_folder(tmp_path, options(tmp_path / "clinic", pattern="(p[0-9])"))


def test_masks_without_an_image_are_refused(tmp_path):
    clinic = write_csv(tmp_path / "clinic", "file,finding,person,mask\n1.png,a,1,masks/1.png\n2.png,b,2,masks/2.png\n")
    (clinic / "masks").mkdir()
    for number in range(1, 5):
        (clinic / "masks" / f"{number}.png").write_bytes(png(255))
    with pytest.raises(
        InputError, match=r"labels\.csv: 2 masks belong to no image of the table, the first is masks/3\.png"
    ):
        fetch_folder(tmp_path, options(clinic, CSV | {"mask": "mask"}))


def test_names_are_found_however_their_accents_are_written(tmp_path):
    apart = unicodedata.normalize("NFD", "Müller.png")
    path = write_csv(tmp_path / "clinic", "file,finding,person\nMüller.png,a,1\n2.png,b,2\n")
    (path / apart).write_bytes(png(77))
    found = fetch_folder(tmp_path, options(path, CSV))
    with folder.read([tmp_path / "raw" / "folder.zip"]) as images:
        assert images[1].load() == png(77)
    assert found[1].file == "Müller.png"
    (path / "Müller.png").write_bytes(png(1))
    (path / "labels.csv").write_text("file,finding,person\n9.png,a,1\n2.png,b,2\n")
    with pytest.raises(InputError, match=r"two files of this name, which differ in nothing but how their accents"):
        fetch_folder(tmp_path, options(path, CSV))


def test_patients_as_folders_are_found_by_a_pattern_with_the_folder(tmp_path, caplog):
    caplog.set_level("WARNING")
    for kind, patient, number in itertools.product(("sick", "well"), range(4), range(3)):
        path = tmp_path / "clinic" / kind / f"{kind[0]}P{patient}" / f"slice_{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    found = fetch_folder(tmp_path, options(tmp_path / "clinic", pattern="([sw]P[0-9]+)/"))
    assert len({image.patient for image in found}) == 8
    assert caplog.text == ""
    fetch_folder(tmp_path, options(tmp_path / "clinic", pattern="([0-9]+)"))
    assert "finds 3 patients, and patient '0' in 8 sub-folders, e.g. 'sick/sP0'; where each folder is" in caplog.text
    caplog.clear()
    fetch_folder(tmp_path, options(tmp_path / "clinic"))
    assert "24 images lie in 8 sub-folders, e.g. 'sP0'; if each is a patient" in caplog.text


def test_files_that_may_be_images_are_not_passed_over_in_silence(tmp_path, class_folders, caplog):
    (class_folders / "sick" / "a.jfif").write_bytes(png(5))  # a JPEG, as Windows saves it
    (class_folders / "sick" / "b.heic").write_bytes(b"x")
    (class_folders / "sick" / "c").write_bytes(b"x")
    found = fetch_folder(tmp_path, options(class_folders))
    assert "sick_a" in [image.name for image in found]
    assert (
        "2 files of 'sick' are left out, their endings are none of images (1 .heic, 1 without an ending)" in caplog.text
    )


def test_patients_in_several_folders_are_no_fault_of_the_pattern(tmp_path, caplog):
    caplog.set_level("WARNING")
    for kind, patient, visit in itertools.product(("sick", "well"), range(4), range(3)):
        path = tmp_path / "clinic" / kind / f"visit{visit}" / f"{kind[0]}{patient}_{visit}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(visit))
    found = fetch_folder(tmp_path, options(tmp_path / "clinic", pattern="^([sw][0-9])_"))
    assert len({image.patient for image in found}) == 8
    assert caplog.text == ""


def test_what_is_hidden_is_not_even_looked_at(tmp_path, class_folders):
    (class_folders / ".git").mkdir()
    (class_folders / ".git" / "loop").symlink_to(class_folders)  # refused anywhere else
    assert len(fetch_folder(tmp_path, options(class_folders))) == 4


def test_macos_leaves_no_class_behind(tmp_path, class_folders, caplog):
    (class_folders / "__MACOSX" / "sick").mkdir(parents=True)
    (class_folders / "__MACOSX" / "sick" / "p1.png").write_bytes(b"x")
    assert {image.label for image in fetch_folder(tmp_path, options(class_folders))} == {"sick", "well"}


def test_files_that_cannot_be_read_are_named(tmp_path, class_folders):
    (class_folders / "sick" / "annex.png").symlink_to("../.git/annex/objects/1.png")
    with pytest.raises(InputError, match=r"annex\.png: a link that leads nowhere .*datalad get"):
        fetch_folder(tmp_path, options(class_folders))
    (class_folders / "sick" / "annex.png").unlink()
    os.mkfifo(class_folders / "sick" / "pipe.png")  # reading it would wait for ever
    with pytest.raises(InputError, match=r"pipe\.png: no ordinary file"):
        fetch_folder(tmp_path, options(class_folders))


def test_a_dangling_link_in_a_table_is_named(tmp_path):
    path = write_csv(tmp_path / "clinic", "file,finding,person\nannex.png,a,1\n2.png,b,2\n")
    (path / "annex.png").symlink_to(".git/annex/objects/1.png")
    with pytest.raises(InputError, match=r"annex\.png: a link that leads nowhere"):
        fetch_folder(tmp_path, options(path, CSV))


def test_a_name_that_is_no_utf8_is_told_with_its_bytes(tmp_path, class_folders):
    os.rename(class_folders / "sick" / "p1_a.png", os.fsencode(class_folders / "sick") + b"/M\xfcller.png")
    with pytest.raises(InputError, match=r"M\\udcfcller\.png: its name is not UTF-8.*convmv"):
        fetch_folder(tmp_path, options(class_folders))


def test_a_tilde_is_the_home_folder(tmp_path, class_folders, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(fetch_folder(tmp_path, options("~/clinic"))) == 4
    rows = "sick/p1_a.png,a,1\nwell/p2_a.png,b,2\n"
    (tmp_path / "labels.csv").write_text(f"file,finding,person\n{rows}")
    assert len(fetch_folder(tmp_path, options("~/clinic", CSV | {"name": "~/labels.csv"}))) == 2
    with pytest.raises(InputError, match=f"{tmp_path}/films: no such folder"):
        fetch_folder(tmp_path, options("~/films"))


def test_columns_of_a_pattern_may_have_any_name(tmp_path):
    path = write_csv(tmp_path / "clinic", "image.path,finding,person\n1,a,1\n2,b,2\n")
    found = fetch_folder(tmp_path, options(path, CSV | {"file": "{image.path}.png"}))
    assert [image.name for image in found] == ["1", "2"]


@pytest.mark.parametrize("form", [":03d", "!r"])
def test_a_pattern_that_asks_for_a_form_is_refused(tmp_path, form):
    path = write_csv(tmp_path / "clinic", "number,finding,person\n1,a,1\n2,b,2\n")
    with pytest.raises(InputError, match=r"asks for a form of 'number', and cells are taken as they are"):
        fetch_folder(tmp_path, options(path, CSV | {"file": f"{{number{form}}}.png"}))


def test_patients_of_an_image_set_are_those_of_a_table(tmp_path):
    """In a set made elsewhere they are as pandas wrote them."""
    patients = ["007", "7", "7.0", "nan", "nan", "8"]
    rows = [
        {"image": f"{n}.png", "label": "ab"[n % 2], "patient": patient, "split": "", "source": "x"}
        for n, patient in enumerate(patients)
    ]
    write_image_set(tmp_path / "set.zip", [(row, np.zeros((8, 8), np.uint8)) for row in rows])
    with image_set.read([tmp_path / "set.zip"]) as images:
        found = [(image.patient, image.patient_known) for image in images]
    assert found == [("007", True)] * 3 + [("3.png", False), ("4.png", False), ("8", True)]


def test_names_of_an_image_set_made_elsewhere_become_names_of_one_made_here(tmp_path):
    names = ["fake 1.png", "fake_1.png", "张敏.png", "刘洋.png", "sub/4.png"]
    rows = "".join(f"{name},{'ab'[n % 2]},,p{n},,x\n" for n, name in enumerate(names))
    members = {f"images/{name}": png(n) for n, name in enumerate(names)} | {"images/": b""}
    path = make_zip(tmp_path / "set.zip", members | {"manifest.csv": f"image,label,mask,patient,split,source\n{rows}"})
    with image_set.read([path]) as images:
        found = [image.name for image in images]
        assert [image.load()[0, 0, 0] for image in images] == list(range(5))
    assert len(set(found)) == 5
    assert all(re.fullmatch(r"[A-Za-z0-9_.]+", name) for name in found)
    assert found[4] == "sub_4"


def test_a_row_without_an_image_is_no_folder_of_the_archive(tmp_path):
    manifest = "image,label,mask,patient,split,source\n,a,,p,,x\n"
    path = make_zip(tmp_path / "set.zip", {"manifest.csv": manifest, "images/": b""})
    with pytest.raises(InputError, match=r"set\.zip: the manifest has a row without an image"):
        fetch(FetchSettings("image_set", "file", {"path": str(path)}), raw=[tmp_path / "images.zip"])


def test_an_image_whose_patient_a_set_does_not_know_is_its_own_patient(tmp_path):
    """Whatever it has in the column of patients."""
    rows = [
        {"image": f"{n}.png", "label": "ab"[n % 2], "patient": f"{n // 2}", "patient_known": known}
        for n, known in enumerate(["", "", "no", "no"])
    ]
    write_image_set(tmp_path / "set.zip", [(row, np.zeros((8, 8), np.uint8)) for row in rows])
    with image_set.read([tmp_path / "set.zip"]) as images:
        found = [(image.patient, image.patient_known) for image in images]
    assert found == [("0", True), ("0", True), ("2.png", False), ("3.png", False)]


def test_a_pattern_of_columns_that_does_not_close_is_named(tmp_path):
    path = write_csv(tmp_path / "clinic", "file,finding,person\n1.png,a,1\n2.png,b,2\n")
    with pytest.raises(InputError, match=r"'\{finding/\{file\}' is no pattern of columns"):
        fetch_folder(tmp_path, options(path, CSV | {"file": "{finding/{file}"}))


# ---------------------------------------------------------------------------------------------- Montgomery, Shenzhen
MONTGOMERY = {
    "MontgomerySet/CXR_png/MCUCXR_0001_0.png": png(1),
    "MontgomerySet/CXR_png/MCUCXR_0104_1.png": png(2),
    "MontgomerySet/CXR_png/Thumbs.db": b"x",
    "MontgomerySet/CXR_png/._MCUCXR_0001_0.png": b"x",
    "MontgomerySet/ClinicalReadings/MCUCXR_0001_0.txt": b"Patient's Sex: F\nPatient's Age: 027Y\nnormal\n",
    "MontgomerySet/ClinicalReadings/MCUCXR_0104_1.txt": b"Patient's Sex: M\r\nPatient's Age: 40Y\r\ncavity,\r\nright",
    "MontgomerySet/ManualMask/leftMask/MCUCXR_0001_0.png": png(255),
    "MontgomerySet/ManualMask/rightMask/MCUCXR_0001_0.png": png(255),
}
SHENZHEN = {
    "ChinaSet_AllFiles/CXR_png/CHNCXR_0001_0.png": png(3),
    "ChinaSet_AllFiles/CXR_png/CHNCXR_0327_1.png": png(4),
    "ChinaSet_AllFiles/CXR_png/CHNCXR_0400_1.png": png(4),
    "ChinaSet_AllFiles/ClinicalReadings/CHNCXR_0001_0.txt": b"male 45yrs\r\nnormal",
    "ChinaSet_AllFiles/ClinicalReadings/CHNCXR_0327_1.txt": b"Female , 3 months\nbilateral PTB\n",
}


@pytest.fixture
def placed(tmp_path):
    (tmp_path / "placed").mkdir()
    make_zip(tmp_path / "placed" / "NLM-MontgomeryCXRSet.zip", MONTGOMERY)
    make_zip(tmp_path / "placed" / "ChinaSet_AllFiles.zip", SHENZHEN)
    return tmp_path / "placed"


def raw_of(folder):
    return [folder / "NLM-MontgomeryCXRSet.zip", folder / "ChinaSet_AllFiles.zip"]


def test_the_real_layout_is_read(placed):
    with montgomery_shenzhen.read(raw_of(placed)) as found:
        assert [(image.name, image.label, image.source, image.patient) for image in found] == [
            ("MCUCXR_0001_0", "normal", "montgomery", "MCUCXR_0001_0"),
            ("MCUCXR_0104_1", "abnormal", "montgomery", "MCUCXR_0104_1"),
            ("CHNCXR_0001_0", "normal", "shenzhen", "CHNCXR_0001_0"),
            ("CHNCXR_0327_1", "abnormal", "shenzhen", "CHNCXR_0327_1"),
            ("CHNCXR_0400_1", "abnormal", "shenzhen", "CHNCXR_0400_1"),
        ]
        assert [image.extra for image in found] == [
            {"sex": "F", "age": "27", "finding": "normal"},
            {"sex": "M", "age": "40", "finding": "cavity, right"},
            {"sex": "M", "age": "45", "finding": "normal"},
            {"sex": "F", "age": "0.25", "finding": "bilateral PTB"},
            {"sex": "", "age": "", "finding": ""},
        ]
        assert [len(image.masks) for image in found] == [2, 0, 0, 0, 0]
        assert found[1].load() == png(2)


def test_placed_files_are_copied_and_a_cut_set_is_said(placed, tmp_path, caplog):
    raw = raw_of(tmp_path / "raw")
    fetch(FetchSettings("montgomery_shenzhen", "file", {"path": str(placed)}), raw=raw)
    assert [path.read_bytes() for path in raw] == [path.read_bytes() for path in raw_of(placed)]
    assert "holds {'normal': 1, 'abnormal': 1}, the published set {'normal': 80" in caplog.text


def test_a_missing_placed_file_says_where_to_get_it(tmp_path):
    with pytest.raises(InputError, match=r"NLM-MontgomeryCXRSet\.zip: no such file; put .* \(from https://openi"):
        fetch(FetchSettings("montgomery_shenzhen", "file", {"path": str(tmp_path)}), raw=raw_of(tmp_path / "raw"))


def test_another_archive_is_not_taken_for_the_set(placed, tmp_path):
    make_zip(placed / "ChinaSet_AllFiles.zip", MONTGOMERY)
    with pytest.raises(InputError, match=r"ChinaSet_AllFiles\.zip: no ChinaSet_AllFiles/CXR_png"):
        fetch(FetchSettings("montgomery_shenzhen", "file", {"path": str(placed)}), raw=raw_of(tmp_path / "raw"))


def test_phantoms_or_cut_files_do_not_pass_for_the_published_set(placed):
    settings = FetchSettings("montgomery_shenzhen", "download", {})
    placed.rename(placed.parent / "download")
    with pytest.raises(InputError, match=r"expected 54601e95.*delete it to download it again, or use provider: file"):
        fetch(settings, raw=raw_of(placed.parent / "raw"))


def test_a_file_that_is_in_its_place_is_checked_and_used(placed, monkeypatch):
    cut = [
        montgomery_shenzhen.Collection(**(vars(collection) | {"sha256": None, "counts": counts}))
        for collection, counts in zip(
            montgomery_shenzhen.COLLECTIONS,
            ({"normal": 1, "abnormal": 1}, {"normal": 1, "abnormal": 2}),
            strict=True,
        )
    ]
    monkeypatch.setattr(montgomery_shenzhen, "COLLECTIONS", cut)
    settings, raw = FetchSettings("montgomery_shenzhen", "download", {}), raw_of(placed.parent / "raw")
    placed = placed.rename(placed.parent / "download")
    fetch(settings, raw=raw)  # opens no connection
    make_zip(placed / "ChinaSet_AllFiles.zip", {})
    with pytest.raises(InputError, match=r"no ChinaSet_AllFiles/CXR_png"):
        fetch(settings, raw=raw)


def test_an_archive_that_escapes_is_refused(placed):
    make_zip(placed / "ChinaSet_AllFiles.zip", SHENZHEN | {"../../etc/cron.d/x": b"x"})
    with pytest.raises(InputError, match="outside"), montgomery_shenzhen.read(raw_of(placed)):
        pass


@pytest.mark.parametrize(
    ("text", "sex", "age"),
    [("femal 26yrs", "F", "26"), ("Male  63yr", "M", "63"), ("female, 11day", "F", "0.0301"), ("", "", "")],
)
def test_clinical_readings_as_they_are_written(tmp_path, text, sex, age):
    with montgomery_shenzhen.Archive(make_zip(tmp_path / "a.zip", {"r.txt": text})) as archive:
        reading = montgomery_shenzhen.clinical_reading(archive, "r.txt")
    assert (reading["sex"], reading["age"], reading["finding"]) == (sex, age, "")


# ---------------------------------------------------------------------------------------------------------- MedMNIST
def arrays(seed=0, shape=(8, 8), **changes):
    rng = np.random.default_rng(seed)
    made = {}
    for part, count in (("train", 6), ("val", 3), ("test", 4)):
        made[f"{part}_images"] = rng.integers(0, 256, (count, *shape), dtype=np.uint8)
        made[f"{part}_labels"] = (np.arange(count) % 2)[:, None]
    return made | changes


def test_medmnist_keeps_the_official_split_and_reports_identical_images(tmp_path, caplog):
    made = arrays()
    made["val_images"][1] = made["train_images"][4]
    np.savez(tmp_path / "x.npz", **made)
    raw = [tmp_path / "raw" / "medmnist.npz"]
    fetch(FetchSettings("medmnist", "file", {"path": str(tmp_path / "x.npz")}), raw=raw)
    with medmnist.read(raw) as found:
        assert [image.split for image in found] == ["train"] * 6 + ["validation"] * 3 + ["test"] * 4
        assert [image.label for image in found[:3]] == ["0", "1", "0"]
        assert {image.name: image.extra["same_as"] for image in found if image.extra["same_as"]} == {
            "validation_00001": "train_00004"
        }
        assert np.array_equal(found[5].load(), made["train_images"][5])
    assert "1 images are byte-identical to one of another part, e.g. validation_00001 and train_00004" in caplog.text


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        (np.array(["well", "sick", "well"]), ["well", "sick", "well"]),
        (np.array([[0.0], [1.0], [0.0]]), ["0", "1", "0"]),
    ],
)
def test_medmnist_labels_may_be_texts_and_whole_numbers(tmp_path, labels, found):
    np.savez(tmp_path / "x.npz", **arrays(val_labels=labels))
    fetch(FetchSettings("medmnist", "file", {"path": str(tmp_path / "x.npz")}), raw=[tmp_path / "medmnist.npz"])
    with medmnist.read([tmp_path / "medmnist.npz"]) as images:
        assert [image.label for image in images if image.split == "validation"] == found
        assert not any(image.patient_known for image in images)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": np.zeros((3, 14))}, "one label for each"),
        (
            {"val_labels": np.array([0, np.nan, 1])},
            r"val_labels has 1 labels that are none, .* is 'nan' at \[1\]",
        ),
        ({"val_labels": np.array([0, 0.5, 1])}, r"val_labels has 1 labels that are none, the first is '0.5' at \[1\]"),
        ({"val_labels": np.array(["a", "", "b"])}, r"the first is '' at \[1\]"),
        ({"val_labels": np.zeros(3, complex)}, "val_labels is complex128; labels are whole numbers or texts"),
        ({"val_images": np.zeros((3, 8, 8))}, "not uint8"),
        ({"val_images": np.array([None])}, r"Python objects, which are not read because they can run any code"),
    ],
)
def test_medmnist_of_another_kind_is_refused(tmp_path, changes, message):
    np.savez(tmp_path / "x.npz", **arrays(**changes))
    with pytest.raises(InputError, match=message):
        fetch(FetchSettings("medmnist", "file", {"path": str(tmp_path / "x.npz")}), raw=[tmp_path / "medmnist.npz"])


def test_medmnist_missing_incomplete_or_not_npz(tmp_path):
    def attempt(name):
        fetch(FetchSettings("medmnist", "file", {"path": str(tmp_path / name)}), raw=[tmp_path / "medmnist.npz"])

    with pytest.raises(InputError, match=r"none\.npz: no such file"):
        attempt("none.npz")
    made = arrays()
    del made["test_labels"]
    np.savez(tmp_path / "cut.npz", **made)
    with pytest.raises(InputError, match=r"cut\.npz: no array 'test_labels'"):
        attempt("cut.npz")
    (tmp_path / "page.npz").write_text("<html>")
    with pytest.raises(InputError, match=r"page\.npz: not a readable"):
        attempt("page.npz")
    np.save(tmp_path / "one.npy", np.zeros(3))
    (tmp_path / "one.npy").rename(tmp_path / "one.npz")
    with pytest.raises(InputError, match=r"one\.npz: not a readable"):
        attempt("one.npz")


def test_medmnist_damaged_inside_or_with_a_password_is_no_readable_file(tmp_path):
    np.savez_compressed(tmp_path / "whole.npz", **arrays(shape=(28, 28)))
    whole = (tmp_path / "whole.npz").read_bytes()
    damaged = [whole[:at] + b"\xff" * 8 + whole[at + 8 :] for at in range(60, len(whole) - 200, 97)]
    locked = bytearray(whole)
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        for found in re.finditer(re.escape(mark), whole):
            locked[found.start() + flags] |= 1

    def attempt(content):
        (tmp_path / "x.npz").write_bytes(content)
        fetch(FetchSettings("medmnist", "file", {"path": str(tmp_path / "x.npz")}), raw=[tmp_path / "medmnist.npz"])

    for content in damaged:  # a damaged time of a member is no fault
        with contextlib.suppress(InputError):
            attempt(content)
    with pytest.raises(InputError, match=r"x\.npz: not a readable \.npz file"):
        attempt(damaged[10])  # in the first images
    with pytest.raises(InputError, match=r"x\.npz: not a readable \.npz file \(.*password required"):
        attempt(bytes(locked))


def test_index_of_a_packed_folder_is_readable_by_hand(tmp_path, class_folders):
    fetch_folder(tmp_path, options(class_folders))
    with zipfile.ZipFile(tmp_path / "raw" / "folder.zip") as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("index.csv").decode())))
    assert rows[0] == {
        "file": "sick/p1_a.png",
        "label": "sick",
        "patient": "",
        "mask": "",
        "split": "",
        "source": "clinic",
    }
