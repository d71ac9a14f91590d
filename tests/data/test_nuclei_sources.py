"""NuInsSeg and the Data Science Bowl: phantoms in their layouts, archives from a server, others that are wrong."""

import io
import zipfile
from functools import partial

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import hash_file
from synthmed.data import download as whole
from synthmed.data.fetch import FetchSettings, fetch
from synthmed.data.phantoms.histology import PhantomSettings, draws
from synthmed.data.sources import dsb2018, nuinsseg
from synthmed.prepare.masks import MaskSettings, label_map

PHANTOM = {
    "nuclei": 4,
    "slides": 2,
    "seed": 5,
    "image_size": 64,
    "field": 48.0,
    "glomerulus_share": 1.0,
    "crowding": [0.5, 0.5],
    "stain_spread": 0.5,
    "difficulty": 0.2,
}
KINDS = MaskSettings("instances", {"nucleus": 1, "podocyte": 10001}, True)
NUCLEI = MaskSettings("instances", {"nucleus": 1}, True)


def truth():
    """By slide, as the names of the archives sort."""
    drawn = draws(PhantomSettings(**PHANTOM | {"crowding": (0.5, 0.5)}))
    return [patch for _, _, patch in sorted(drawn, key=lambda one: one[:2])]


@pytest.fixture(scope="module", params=[nuinsseg, dsb2018])
def source(request):
    return request.param


@pytest.fixture(scope="module")
def archive(source, tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / source.ARCHIVE
    fetch(FetchSettings(source.__name__.rpartition(".")[2], "phantom", PHANTOM), raw=[path])
    return path


def pixels(content):
    return np.asarray(Image.open(io.BytesIO(content)))


def png(colour, size=(20, 16)):
    buffer = io.BytesIO()
    Image.new("RGBA", size, colour).save(buffer, "PNG")
    return buffer.getvalue()


def changed(archive, path, keep=lambda name: True, **new):
    """A copy of an archive at `path`, without some members and with new ones."""
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(path, "w") as target:
        for name in old.namelist():
            if keep(name):
                target.writestr(name, old.read(name))
        for name, content in new.items():
            target.writestr(name, content)
    return path


def found_in(source, path):
    with source.read([path]) as found:
        return found


# ----------------------------------------------------------------------------------------------------------- phantoms
def test_same_settings_same_bytes(source, archive, tmp_path):
    fetch(
        FetchSettings(source.__name__.rpartition(".")[2], "phantom", PHANTOM), raw=[again := tmp_path / source.ARCHIVE]
    )
    assert hash_file(again) == hash_file(archive)


def test_a_folder_is_a_slide_and_the_label_map_the_truth(tmp_path):
    fetch(FetchSettings("nuinsseg", "phantom", PHANTOM), raw=[path := tmp_path / "NuInsSeg.zip"])
    with nuinsseg.read([path]) as found:
        assert [image.patient for image in found] == ["phantom kidney 01"] * 2 + ["phantom kidney 02"] * 2
        assert found[0].name == "phantom_kidney_01_001"
        assert {image.label for image in found} == {"nuclei"}
        for image, patch in zip(found, truth(), strict=True):
            assert np.array_equal(pixels(image.load()), patch.pixels)
            assert np.array_equal(label_map(image.masks, (64, 64), KINDS)[0], patch.labels)


def test_every_nucleus_has_a_file_of_its_own(tmp_path):
    fetch(FetchSettings("dsb2018", "phantom", PHANTOM), raw=[path := tmp_path / "stage1_train.zip"])
    patches = {patch.pixels.tobytes(): patch for patch in truth()}
    with dsb2018.read([path]) as found:
        assert {(image.label, image.patient_known) for image in found} == {("stained", False)}
        for image in found:
            patch = patches.pop(np.ascontiguousarray(pixels(image.load())[:, :, :3]).tobytes())
            mask = label_map(image.masks, (64, 64), NUCLEI)[0]
            assert np.array_equal(mask > 0, patch.labels > 0)
            pairs = set(zip(mask.ravel().tolist(), patch.labels.ravel().tolist(), strict=True))
            assert len(pairs) == len(np.unique(patch.labels))  # one number for one nucleus
    assert not patches


# ------------------------------------------------------------------------------------------------------- the archives
def test_files_beside_images_and_masks_are_passed_over(source, archive, tmp_path):
    more = {"a/Thumbs.db": b"x", "__MACOSX/b/tissue images/._x.png": b"x", "__MACOSX/b/images/._x.png": b"x"}
    more |= {"phantom kidney 01/mask binary/phantom_kidney_01_001.png": png("white"), "readme.txt": b"x"}
    path = changed(archive, tmp_path / "more.zip", **more)
    assert [image.name for image in found_in(source, path)] == [image.name for image in found_in(source, archive)]


def test_another_archive_is_not_taken_for_the_set(source, tmp_path):
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as other:
        other.writestr("pictures/one.png", png("red"))
    with pytest.raises(InputError, match=rf"other\.zip: no <.*inside; this is not {source.ARCHIVE}"):
        found_in(source, tmp_path / "other.zip")


def test_a_mask_without_its_image_is_named(tmp_path, source, archive):
    with zipfile.ZipFile(archive) as old:
        gone = next(name for name in old.namelist() if "/tissue images/" in name or "/images/" in name)
    path = changed(archive, tmp_path / "gone.zip", lambda name: name != gone)
    message = {"nuinsseg": r"1 masks without an image, the first is 'phantom kidney", "dsb2018": r"masks and 0 images"}
    with pytest.raises(InputError, match=message[source.__name__.rpartition(".")[2]]):
        found_in(source, path)


def test_an_image_without_its_mask_has_none(tmp_path, source, archive):
    first = found_in(source, archive)[0].name
    path = changed(archive, tmp_path / "bare.zip", lambda name: first not in name or "mask" not in name)
    assert [len(image.masks) > 0 for image in found_in(source, path)] == [False, True, True, True]


def test_the_bowl_is_told_apart_by_colour_and_light(tmp_path):
    with zipfile.ZipFile(tmp_path / "mixed.zip", "w") as mixed:
        for name, content in {
            "a": png((200, 100, 180)),
            "b": png((20, 20, 24)),
            "c": png((220, 215, 220)),
            "d": b"torn",
        }.items():
            mixed.writestr(f"stage1_train/{name}/images/{name}.png", content)
    labels = {image.name: image.label for image in found_in(dsb2018, tmp_path / "mixed.zip")}
    assert labels == {"a": "stained", "b": "fluorescence", "c": "grey", "d": "unreadable"}


# ------------------------------------------------------------------------------------------------------------ download
def download(source, monkeypatch, server, path, images=4):
    monkeypatch.setattr(source, "URL", server.url)
    monkeypatch.setattr(source, "CONTENTS", {"images": images})
    monkeypatch.setattr("synthmed.data.published.download", partial(whole.download, sleep=lambda seconds: None))
    fetch(FetchSettings(source.__name__.rpartition(".")[2], "download", {}), raw=[path])


def test_the_archive_comes_over_a_line_that_breaks(source, archive, server, tmp_path, monkeypatch):
    server.content = archive.read_bytes()
    server.cut = len(server.content) // 2 + 1
    download(source, monkeypatch, server, path := tmp_path / "raw" / source.ARCHIVE)
    assert path.read_bytes() == archive.read_bytes()
    assert server.requests == [None, f"bytes={server.cut}-"]
    download(source, monkeypatch, server, path)  # is there: no further request
    assert len(server.requests) == 2


def test_a_cut_set_does_not_pass_for_the_published_one(source, archive, server, tmp_path, monkeypatch):
    server.content = archive.read_bytes()
    with pytest.raises(InputError, match=r"holds \{'images': 4\}, the published set \{'images': 5\}; delete it"):
        download(source, monkeypatch, server, tmp_path / "raw" / source.ARCHIVE, images=5)


def test_a_placed_archive_is_copied_and_its_size_said(source, archive, tmp_path, caplog):
    name = source.__name__.rpartition(".")[2]
    fetch(FetchSettings(name, "file", {"path": str(archive)}), raw=[tmp_path / source.ARCHIVE])
    assert (tmp_path / source.ARCHIVE).read_bytes() == archive.read_bytes()
    assert "holds {'images': 4}, the published set {'images': 6" in caplog.text
    with pytest.raises(InputError, match=rf"no such file; put {source.ARCHIVE} \(from https://"):
        fetch(FetchSettings(name, "file", {"path": str(tmp_path / "none")}), raw=[tmp_path / "x" / source.ARCHIVE])
