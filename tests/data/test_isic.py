"""ISIC 2018 tasks 1 and 3, SIIM-ISIC 2020: phantoms in their layouts, files from a server, and other files."""

import csv
import dataclasses
import io
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import hash_file
from synthmed.data import sources
from synthmed.data.fetch import FetchSettings, fetch
from synthmed.data.phantoms.dermoscopy import draw, plans
from synthmed.data.phantoms.isic import Task1Phantoms
from synthmed.data.sources import isic, isic2018_tagged, isic2018_task1, isic2018_task3, siim_isic_2020
from synthmed.prepare.masks import MaskSettings, label_map
from synthmed.prepare.rejected import Rejected

PHANTOM = {
    "images": {"MEL": 8, "NV": 16, "VASC": 2},
    "repeat_share": 0.3,
    "lesions_per_patient": 1.5,
    "ita_mean": 45.0,
    "ita_sd": 10.0,
    "artefacts": {"hair": 0.5, "dark_corner": {"MEL": 0.5, "NV": 0.0, "VASC": 0.0}},
    "difficulty": 0.2,
    "image_size": 48,
    "seed": 3,
}
TASK1 = PHANTOM | {"validation_share": 0.125, "test_share": 0.25, "left_out_share": 0.0}
TASK3 = PHANTOM | {"test_share": 0.0}
DOUBLES = PHANTOM | {"duplicate_share": 0.2, "external_share": 0.5}
SETTINGS = {"isic2018_task1": TASK1, "isic2018_task3": TASK3, "siim_isic_2020": DOUBLES}
LESION = MaskSettings("semantic", {"lesion": 255}, True)


def made(folder, source):
    options = SETTINGS[source]
    raw = [folder / name for name in sources.raw_files({"source": source, "provider": "phantom", "options": options})]
    fetch(FetchSettings(source, "phantom", options), raw=raw)
    return raw


@pytest.fixture(scope="module")
def task1(tmp_path_factory):
    return made(tmp_path_factory.mktemp("task1"), "isic2018_task1")


@pytest.fixture(scope="module")
def task3(tmp_path_factory):
    return made(tmp_path_factory.mktemp("task3"), "isic2018_task3")


@pytest.fixture(scope="module")
def set_2020(tmp_path_factory):
    return made(tmp_path_factory.mktemp("2020"), "siim_isic_2020")


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path, folder, change):
    """A copy of an archive in `folder`, its members changed by a function of their dict."""
    copy = folder / path.name
    with zipfile.ZipFile(copy, "w") as archive:
        for name, content in change(members(path)).items():
            archive.writestr(name, content)
    return copy


def replaced(raw, name, path):
    return [path if one.name == name else one for one in raw]


# ------------------------------------------------------------------------------------------------------------ phantoms
def test_equal_settings_give_equal_bytes(task1, tmp_path):
    assert [hash_file(path) for path in made(tmp_path, "isic2018_task1")] == [hash_file(path) for path in task1]


def test_task1_has_its_layout_and_the_truth(task1):
    names = [*members(task1[0])]
    assert names[0].startswith("ISIC2018_Task1-2_Training_Input/ISIC_")
    assert next(iter(members(task1[3]))).startswith("ISIC2018_Task1_Validation_GroundTruth/ISIC_")
    settings = Task1Phantoms(**TASK1)
    truth = {f"ISIC_{plan.number:07d}": draw(settings, plan) for plan in plans(settings)}
    with isic2018_task1.read(task1) as images:
        assert len(images) == 26
        assert {(image.split, image.source) for image in images} == {
            ("train", "isic2018_train"),
            ("test", "isic2018_validation"),
            ("test", "isic2018_test"),
        }
        people = {}
        for image in images:
            phantom, content = truth[image.name], image.load()
            assert content[:3] == b"\xff\xd8\xff"
            assert pixels(content).shape == (48, 64, 3)
            assert np.abs(pixels(content).astype(int) - phantom.pixels).mean() < 6
            assert ((label_map(image.masks, (48, 64), LESION)[0] > 0) == phantom.mask).all()
            assert image.label == "lesion"
            assert not image.patient_known
            assert image.extra["hair"] == ("yes" if "hair" in phantom.plan.artefacts else "no")
            assert image.extra["ita"] == f"{phantom.plan.ita:.1f}"
            assert people.setdefault(phantom.plan.patient, image.source) == image.source


def test_task3_is_one_hot_and_grouped_by_lesion(task3):
    (truth,) = members(task3[1]).values()
    rows = list(csv.DictReader(truth.decode().splitlines()))
    assert list(rows[0]) == ["image", "MEL", "NV", "BCC", "AKIEC", "BKL", "DF", "VASC"]
    assert all(sorted(list(row.values())[1:]) == ["0.0"] * 6 + ["1.0"] for row in rows)
    with isic2018_task3.read(task3) as images:
        assert sorted(image.label for image in images) == ["MEL"] * 8 + ["NV"] * 16 + ["VASC"] * 2
        assert len({image.patient for image in images}) < 26
        by_lesion = {}
        assert all(by_lesion.setdefault(image.patient, image.label) == image.label for image in images)


def test_2020_leaves_out_duplicates_and_knows_no_patient_of_the_external_set(set_2020):
    pairs = list(csv.DictReader(set_2020[2].read_text().splitlines()))
    inside = members(set_2020[0])
    assert len(pairs) == 4  # a fifth of the 22 that are not external
    for pair in pairs:
        first, second = (inside[f"train/{pair[name]}.jpg"] for name in ("image_name_1", "image_name_2"))
        assert first == second
    with siim_isic_2020.read(set_2020) as images:
        assert len(images) == 26
        assert not {image.name for image in images} & {pair["image_name_2"] for pair in pairs}
        external = [image for image in images if image.source == "external"]
        assert [image.label for image in external] == ["malignant"] * 4
        assert all(image.patient == image.name and not image.patient_known for image in external)
        assert all(image.patient_known for image in images if image.source == "isic2020")
        assert sum(image.label == "malignant" for image in images) == 8
        assert {image.extra["diagnosis"] for image in images} == {"melanoma", "nevus", "vascular lesion"}


# -------------------------------------------------------------------------------------------------------------- server
class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setattr(isic, "SERVER", f"http://127.0.0.1:{running.server_port}")
        yield folder
        running.shutdown()
        thread.join()


def served(folder, raw, files):
    """Serve raw files under the addresses of `files`; gives these with what is true of the raw files."""
    found, by_name = [], {path.name: path for path in raw}
    for file in files:
        path = by_name[file.name]
        (folder / file.folder).mkdir(exist_ok=True)
        (folder / file.folder / file.name).write_bytes(path.read_bytes())
        found.append(
            dataclasses.replace(file, holds=isic.contents(path), size=path.stat().st_size, sha256=hash_file(path))
        )
    return tuple(found)


def test_task1_is_downloaded_as_it_was_published(server, task1, tmp_path, monkeypatch):
    parts = {part: served(server, task1, files) for part, files in isic2018_task1.PARTS.items()}
    monkeypatch.setattr(isic2018_task1, "PARTS", parts)
    options = {"tests": ["validation"], "artefact_labels": None}
    names = sources.raw_files({"source": "isic2018_task1", "provider": "download", "options": options})
    assert len(names) == 4
    raw = [tmp_path / "raw" / name for name in names]
    fetch(FetchSettings("isic2018_task1", "download", options), raw=raw)
    assert [hash_file(path) for path in raw] == [hash_file(path) for path in task1[:4]]
    with isic2018_task1.read(raw) as images:
        assert {image.source for image in images} == {"isic2018_train", "isic2018_validation"}
        assert images[0].extra == {}


def test_what_was_downloaded_outlives_the_outputs_of_a_job_that_fails(server, task1, tmp_path, monkeypatch):
    """Snakemake removes these, and whatever is in their place before the job begins again."""
    parts = {part: served(server, task1, files) for part, files in isic2018_task1.PARTS.items()}
    monkeypatch.setattr(isic2018_task1, "PARTS", parts)
    settings = FetchSettings("isic2018_task1", "download", {"tests": [], "artefact_labels": None})
    images, masks = parts["train"]
    raw = [tmp_path / "set" / "raw" / file.name for file in (images, masks)]
    (server / masks.folder / masks.name).rename(server / "away")
    placed = tmp_path / "set" / "download" / masks.name
    with pytest.raises(InputError, match=f"answered 404 .* place the file as {placed}"):
        fetch(settings, raw=raw)
    for path in raw:
        path.unlink(missing_ok=True)
    (server / images.folder / images.name).unlink()
    (server / "away").rename(placed)
    fetch(settings, raw=raw)
    assert [hash_file(path) for path in raw] == [images.sha256, masks.sha256]
    assert placed.exists()


def test_another_file_under_the_name_is_refused(server, task1, tmp_path, monkeypatch):
    parts = {part: served(server, task1, files) for part, files in isic2018_task1.PARTS.items()}
    parts["train"] = (dataclasses.replace(parts["train"][0], sha256="0" * 64), parts["train"][1])
    monkeypatch.setattr(isic2018_task1, "PARTS", parts)
    options = {"tests": [], "artefact_labels": None}
    raw = [tmp_path / "raw" / file.name for file in parts["train"]]
    with pytest.raises(InputError, match=r"Training_Input.zip: .* has sha256 .* expected 0000"):
        fetch(FetchSettings("isic2018_task1", "download", options), raw=raw)


def test_task3_and_2020_are_downloaded(server, task3, set_2020, tmp_path, monkeypatch):
    for module, raw in ((isic2018_task3, task3), (siim_isic_2020, set_2020)):
        monkeypatch.setattr(module, "FILES", served(server, raw, module.FILES))
    got = [tmp_path / "raw" / file.name for file in isic2018_task3.FILES]
    fetch(FetchSettings("isic2018_task3", "download", {"artefact_labels": None}), raw=got)
    with isic2018_task3.read(got) as images:
        assert len(images) == 26
    options = {"external": str(set_2020[3]), "artefact_labels": str(set_2020[4])}
    names = sources.raw_files({"source": "siim_isic_2020", "provider": "download", "options": options})
    got = [tmp_path / "raw" / name for name in names]
    fetch(FetchSettings("siim_isic_2020", "download", options), raw=got)
    with siim_isic_2020.read(got) as images:
        assert len(images) == 26
        assert images[0].extra["ruler"] == "no"


def test_files_that_were_placed_by_hand(task3, tmp_path):
    options = {"path": str(task3[0].parent), "artefact_labels": None, "official_test": False}
    raw = [tmp_path / file.name for file in isic2018_task3.FILES]
    fetch(FetchSettings("isic2018_task3", "file", options), raw=raw)
    with isic2018_task3.read(raw) as images:
        assert len(images) == 26
    with pytest.raises(InputError, match=r"no such file; put ISIC2018_Task3_Training_Input.zip"):
        fetch(FetchSettings("isic2018_task3", "file", options | {"path": str(tmp_path / "else")}), raw=raw)


def test_official_test_images_of_task3_have_a_part_and_no_known_lesion(tmp_path, monkeypatch):
    monkeypatch.setitem(SETTINGS, "isic2018_task3", PHANTOM | {"test_share": 0.3})
    made(tmp_path, "isic2018_task3")
    options = {"path": str(tmp_path), "artefact_labels": None, "official_test": True}
    names = sources.raw_files({"source": "isic2018_task3", "provider": "file", "options": options})
    raw = [tmp_path / "placed" / name for name in names]
    raw[0].parent.mkdir()
    fetch(FetchSettings("isic2018_task3", "file", options), raw=raw)
    with isic2018_task3.read(raw) as images:
        parts = {part: [image for image in images if image.split == part] for part in ("train", "test")}
        assert len(images) == 26 == sum(map(len, parts.values()))
        assert {image.source for image in parts["test"]} == {"isic2018_task3_test"}
        assert all(image.patient == image.name and not image.patient_known for image in parts["test"])
        assert {image.source for image in parts["train"]} == {"isic2018_task3"}
        assert all(image.patient.startswith("HAM_") for image in parts["train"])
        assert len(parts["test"]) in range(3, 8)
    with isic2018_task3.read([path for path in raw if "_Test_" not in path.name]) as images:
        assert {image.split for image in images} == {""}
    few = {name: b"".join(text.splitlines(True)[:-1]) for name, text in members(raw[4]).items()}
    truth = rewritten(raw[4], tmp_path, lambda files: few)
    with pytest.raises(
        InputError, match=r"Test_Input.zip: 1 images have no row in ISIC2018_Task3_Test_GroundTruth.zip"
    ):
        isic2018_task3.read([*raw[:4], truth]).__enter__()


def test_the_published_numbers():
    """Of DATASETS.md: images of the parts, pairs of duplicates."""
    assert [files[0].holds["photographs"] for files in isic2018_task1.PARTS.values()] == [2594, 100, 1000]
    assert all(file.sha256 and len(file.sha256) == 64 for files in isic2018_task1.PARTS.values() for file in files)
    assert siim_isic_2020.FILES[2].holds == {"rows": 425}


# ------------------------------------------------------------------------------------------------------------ bad input
def test_a_mask_of_another_image(task1, tmp_path):
    def wrong_size(files):
        return files | {next(iter(files)): png(255, (20, 10))}

    masks = rewritten(task1[1], tmp_path, wrong_size)
    changed = next(iter(members(masks)))
    with isic2018_task1.read(replaced(task1, task1[1].name, masks)) as images:
        (wrong,) = [image for image in images if image.name in changed]
        with pytest.raises(Rejected, match="its mask has 20×10 pixels, the image 64×48"):
            label_map(wrong.masks, (48, 64), LESION)


def png(value, size=(64, 48)):
    buffer = io.BytesIO()
    Image.new("L", size, value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (png(0), "its mask: all of it is black, and every photograph shows a lesion"),
        (b"no picture", "its mask: not an image"),
        (png(9)[:60], "its mask: truncated or damaged"),
    ],
)
def test_masks_that_are_none(task1, tmp_path, content, message):
    masks = rewritten(task1[1], tmp_path, lambda files: files | {next(iter(files)): content})
    changed = next(iter(members(masks)))
    with isic2018_task1.read(replaced(task1, task1[1].name, masks)) as images:
        (wrong,) = [image for image in images if image.name in changed]
        with pytest.raises(Rejected, match=message):
            label_map(wrong.masks, (48, 64), LESION)


def test_a_jpeg_under_the_name_of_a_mask_counts_where_it_is_bright(task1, tmp_path):
    def lossy(files):
        first = next(iter(files))
        buffer = io.BytesIO()
        Image.open(io.BytesIO(files[first])).save(buffer, "JPEG", quality=60)
        return files | {first: buffer.getvalue()}

    masks = rewritten(task1[1], tmp_path, lossy)
    found = []
    for raw in (task1, replaced(task1, task1[1].name, masks)):
        with isic2018_task1.read(raw) as images:
            (one,) = [image for image in images if image.name in next(iter(members(masks)))]
            found.append(label_map(one.masks, (48, 64), LESION)[0] > 0)
    assert found[0].any()
    assert (found[0] != found[1]).mean() < 0.01


def test_masks_without_photographs(task1, tmp_path):
    def renamed(files):
        return {name.replace("ISIC_0", "ISIC_9"): content for name, content in files.items()}

    masks = rewritten(task1[1], tmp_path, renamed)
    with (
        pytest.raises(InputError, match=r"masks without a photograph, the first is .*ISIC_9.*different sets"),
        isic2018_task1.read(replaced(task1, task1[1].name, masks)),
    ):
        pass


def test_a_photograph_without_mask_is_left_to_the_preparation(task1, tmp_path):
    masks = rewritten(task1[1], tmp_path, lambda files: dict(list(files.items())[1:]))
    with isic2018_task1.read(replaced(task1, task1[1].name, masks)) as images:
        (without,) = [image for image in images if not image.masks]
        with pytest.raises(Rejected, match="no mask"):
            label_map(without.masks, (48, 64), LESION)


def test_archives_without_a_photograph(task1, tmp_path):
    empty = [rewritten(path, tmp_path, lambda files: {}) for path in task1[:6]]
    with pytest.raises(InputError, match="no photograph in any archive"), isic2018_task1.read([*empty, task1[6]]):
        pass


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("1.0", "0.0", "has 0 kinds, where one is expected"),
        ("0.0", "1.0", "has 7 kinds, where one is expected"),
        ("ISIC_0000003,", "ISIC_0009999,", r"1 images have no (row in ISIC2018_Task3_Training_GroundTruth|photograph)"),
        ("VASC", "LUNG", "no column 'VASC'"),
    ],
)
def test_tables_that_do_not_fit(task3, tmp_path, old, new, message):
    def change(files):
        return {name: content.replace(old.encode(), new.encode()) for name, content in files.items()}

    truth = rewritten(task3[1], tmp_path, change)
    with pytest.raises(InputError, match=message), isic2018_task3.read(replaced(task3, task3[1].name, truth)):
        pass


def test_an_image_without_lesion(task3, tmp_path):
    table = tmp_path / task3[2].name
    table.write_text("\n".join(task3[2].read_text().splitlines()[:-1]) + "\n")
    with (
        pytest.raises(InputError, match="1 images have no row in ISIC2018_Task3_Training_LesionGroupings"),
        isic2018_task3.read(replaced(task3, table.name, table)),
    ):
        pass


def test_duplicates_that_nobody_knows(set_2020, tmp_path):
    table = tmp_path / set_2020[2].name
    table.write_text("image_name_1,image_name_2\nISIC_0000001,ISIC_7777777\n")
    with (
        pytest.raises(InputError, match=r"ISIC_7777777 is no image of ISIC_2020_Training_GroundTruth_v2.csv"),
        siim_isic_2020.read(replaced(set_2020, table.name, table)),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image;hair\na.png;1\n", "no column 'dark_corner'"),
        (f"image;{';'.join(isic.TAGS)}\na.png;{';'.join('1110112')}\n", "line 2: ruler is '2'; it must be 0 or 1"),
        ("", "no column 'dark_corner'"),
    ],
)
def test_labels_of_artefacts_that_are_none(tmp_path, text, message):
    (tmp_path / "isic_bias.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        isic.artefacts(tmp_path / "isic_bias.csv")


def test_images_that_the_labels_of_artefacts_do_not_name_have_empty_cells(tmp_path):
    (tmp_path / "isic_bias.csv").write_text(f"image;{';'.join(isic.TAGS)};label\na.png;{';'.join('0101010')};1\n")
    known = isic.artefacts(tmp_path / "isic_bias.csv")
    assert isic.extra_of("a", known)["gel_border"] == "yes"
    assert isic.extra_of("b", known) == dict.fromkeys([*isic.TAGS, isic.ARTEFACTS], "")
    assert isic.extra_of("a", {}) == {}


def labels_of(names):
    """isic_bias.csv of images of these names, with its first column, which has no name; every second is malignant."""
    tags = ";".join("0101010")
    rows = [f"{n};{name}.png;{tags};{n % 2};{('benign', 'malignant')[n % 2]}\n" for n, name in enumerate(names)]
    return f";image;{';'.join(isic.TAGS)};label;label_string\n{''.join(rows)}"


def test_the_photographs_of_the_labels_of_artefacts_have_their_diagnosis(task1, tmp_path):
    names = [image.rpartition("/")[2].removesuffix(".jpg") for image in members(task1[0])]
    table = tmp_path / "isic_bias.csv"
    table.write_text(labels_of([*names[2:], "ISIC_0000999"]))
    options = {"path": str(task1[0].parent), "artefact_labels": str(table)}
    raw = [tmp_path / "raw" / name for name in isic2018_tagged.raw_files({"options": options})]
    raw[0].parent.mkdir()
    fetch(FetchSettings("isic2018_tagged", "file", options), raw=raw)
    with isic2018_tagged.read(raw) as images:
        found = {image.name: image for image in images}
        assert list(found) == names[2:]
        assert [found[name].label for name in names[2:5]] == ["benign", "malignant", "benign"]
        assert found[names[2]].extra["artefacts"] == "gel_border;hair;patches"
        assert pixels(found[names[2]].load()).shape == (48, 64, 3)
        assert not found[names[2]].patient_known
    raw[1].write_text(labels_of(names).replace("malignant", "indeterminate"))
    with pytest.raises(InputError, match="line 3: label_string is 'indeterminate'"), isic2018_tagged.read(raw):
        pass


@pytest.mark.parametrize(
    ("source", "module"),
    [("isic2018_task1", isic2018_task1), ("isic2018_task3", isic2018_task3), ("siim_isic_2020", siim_isic_2020)],
)
def test_labels_of_artefacts_of_other_photographs_are_refused(source, module, tmp_path):
    """The public ones are of ISIC_0000000 to ISIC_0016072, task 3 is ISIC_0024306 to ISIC_0034320."""
    raw = made(tmp_path, source)
    raw[-1].write_text(labels_of(["ISIC_0016071", "ISIC_0016072"]))
    with pytest.raises(InputError, match=r"isic_bias.csv: names none of the \d+ photographs"), module.read(raw):
        pass
    tagged = [tmp_path / name for name in isic2018_tagged.raw_files({})]
    if source == "isic2018_task1":
        with pytest.raises(InputError, match="it begins with ISIC_0016071"), isic2018_tagged.read(tagged):
            pass


def test_photographs_that_task_1_leaves_out_are_in_task_3(tmp_path, monkeypatch):
    """Of the same images and seed, those of one name are the same photographs."""
    monkeypatch.setitem(SETTINGS, "isic2018_task1", TASK1 | {"left_out_share": 0.5})
    (tmp_path / "1").mkdir()
    (tmp_path / "3").mkdir()
    with isic2018_task1.read(made(tmp_path / "1", "isic2018_task1")) as outlined:
        small = {image.name: image.load() for image in outlined}
    with isic2018_task3.read(made(tmp_path / "3", "isic2018_task3")) as diagnosed:
        whole = {image.name: image.load() for image in diagnosed}
    assert 8 <= len(small) <= 16 < len(whole) == 26
    assert all(whole[name] == content for name, content in small.items())
