"""Whole slides to tiles: places, levels, shares of tissue and annotation by hand, and what is wrong with slides."""

import errno
import importlib.util
import os
import unicodedata
import xml.etree.ElementTree as ElementTree
import zlib

import numpy as np
import pytest
from made_up_slides import SETTINGS, placed, raw_of, set_to, square, stained
from openslide import OpenSlide, OpenSlideError
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.files import hash_file, read_csv
from synthmed.data.imageset import ImageSet
from synthmed.data.sources.raw_slide import Placed
from synthmed.prepare.annotations import AnnotationSettings, area_map, read_outlines
from synthmed.prepare.slide_file import open_slide
from synthmed.prepare.slide_overview import LEGEND, OverviewSettings, overview
from synthmed.prepare.slides import prepare
from synthmed.prepare.tissue import TissueSettings, shares, small_picture, tissue_map

RNG = np.random.default_rng(5)


def run(folder, raw, settings=SETTINGS):
    images, rejects = folder / "images.zip", folder / "rejects.csv"
    prepare(settings, raw=raw, images=images, rejects=rejects)
    return ImageSet(images), read_csv(rejects)


@pytest.fixture(scope="module")
def raw(tmp_path_factory):
    """Two slides without annotation and one with a square and a hole in it, which lies in the tissue."""
    folder = tmp_path_factory.mktemp("slides")
    groups = {"metastases": [square(0, 0, 256)], "normal": [square(64, 64, 64)], "measured": [square(300, 0, 10)]}
    slides = [
        placed(folder, "one", stained(seed=1)),
        placed(folder, "two", stained(seed=2), mpp=0.25, levels=4),
        placed(folder, "three", stained(seed=3), label="", groups=groups),
    ]
    return raw_of(folder, slides)


# -------------------------------------------------------------------------------------------------------------- tiles
def test_tiles_are_the_pixels_of_their_place_on_the_level_of_their_size(raw, tmp_path):
    images, rejects = run(tmp_path, raw)
    assert rejects == []
    row = next(row for row in images.rows if row["slide"] == "one" and (row["x"], row["y"]) == ("64", "128"))
    assert row["image"] == "one_64_128.png"
    assert (row["level"], row["level_mpp"], row["mpp"], row["shows"]) == ("1", "1", "1", "normal")
    halved = stained(seed=1).reshape(256, 2, 320, 2, 3).mean(axis=(1, 3))
    np.testing.assert_array_equal(images[images.rows.index(row)], np.rint(halved[64:96, 32:64]).astype(np.uint8))
    two = next(row for row in images.rows if row["slide"] == "two")
    assert two["level"] == "2"


def test_every_tile_with_tissue_enough_is_there(raw, tmp_path):
    images, _ = run(tmp_path, raw)
    places = {(int(row["x"]), int(row["y"])) for row in images.rows if row["slide"] == "one"}
    assert places == {(x, y) for x in range(0, 320, 64) for y in range(0, 512, 64)}
    tissue = {float(row["tissue"]) for row in images.rows if row["slide"] == "one"}
    assert tissue == {1.0}


def test_a_hole_in_a_region_and_the_rim_of_it_are_no_tumour(raw, tmp_path):
    images, _ = run(
        tmp_path, raw, set_to(labels={"normal": None, "inside": "tumour", "border": None, "outside": "off"})
    )
    shows = {(int(row["x"]), int(row["y"])): row["shows"] for row in images.rows}
    assert shows[0, 0] == shows[192, 192] == "inside"
    assert shows[64, 64] == shows[256, 0] == shows[0, 256] == "outside"
    assert len([one for one in shows.values() if one == "inside"]) == 15


def test_a_tile_half_in_a_region_is_at_the_border(tmp_path):
    groups = {"metastases": [np.array([[0, 0], [80, 0], [80, 512], [0, 512]], float)]}  # 16 of the 64 of the second
    raw = raw_of(tmp_path, [placed(tmp_path, "one", stained(), label="", groups=groups)])
    images, _ = run(tmp_path, raw, set_to(labels={"inside": "tumour", "border": "rim", "outside": "off"}))
    found = {(row["x"], row["shows"], row["annotated"]) for row in images.rows if row["x"] in ("0", "64", "128")}
    assert found == {("0", "inside", "1.000"), ("64", "border", "0.250"), ("128", "outside", "0.000")}


def test_overlap_and_a_size_between_two_levels(tmp_path):
    raw = raw_of(tmp_path, [placed(tmp_path, "one", stained())])
    images, _ = run(tmp_path, raw, set_to(mpp=0.75, overlap=0.5, labels={"normal": "normal"}))
    # A tile is 48 pixels of level 0 wide: each third of two pixels comes of one and a half.
    assert {(int(row["x"]), int(row["y"])) for row in images.rows} >= {(0, 0), (24, 0), (48, 24)}
    row = next(row for row in images.rows if (row["x"], row["y"]) == ("24", "48"))
    assert (row["level"], row["level_mpp"], row["mpp"]) == ("0", "0.5", "0.75")
    cut = Image.fromarray(stained()[48:96, 24:72]).resize((32, 32), Image.Resampling.BOX)
    np.testing.assert_array_equal(images[images.rows.index(row)], np.asarray(cut))


def test_the_draw_depends_on_seed_and_slide_alone(raw, tmp_path):
    few, _ = run(tmp_path, raw, set_to(tiles=4))
    counts = [few.column("slide").count(name) for name in ("one", "two", "three")]
    assert counts == [4, 4, 4]
    alone, _ = run(tmp_path, [*raw[:2], *raw[2:]], set_to(tiles=4, workers=1))
    assert few.rows == alone.rows
    other, _ = run(tmp_path, raw, set_to(tiles=4, seed=2))
    assert few.rows != other.rows


def test_equal_bytes_whatever_the_number_of_threads(raw, tmp_path):
    first, _ = run(tmp_path, raw)
    digest = hash_file(first.path)
    again, _ = run(tmp_path, raw, set_to(workers=1))
    assert hash_file(again.path) == digest


def test_labels_are_found_however_their_accents_are_written(tmp_path):
    apart, together = (unicodedata.normalize(form, "Läsion") for form in ("NFD", "NFC"))
    raw = raw_of(tmp_path, [placed(tmp_path, "one", stained(), label=together)])
    images, _ = run(tmp_path, raw, set_to(labels={apart: "normal"}))
    assert set(images.column("shows")) == {together}


def test_a_stated_size_of_pixels_is_taken_for_that_of_the_file(tmp_path):
    raw = raw_of(tmp_path, [placed(tmp_path, "one", stained(), stated="1.0")])
    images, _ = run(tmp_path, raw, set_to(labels={"normal": "normal"}))
    assert {row["level"] for row in images.rows} == {"0"}


def test_both_readers_give_the_same_pixels(raw, tmp_path):
    if importlib.util.find_spec("tiffslide") is None:
        pytest.skip("tiffslide is not installed")
    first, _ = run(tmp_path, raw)
    digest = hash_file(first.path)
    other, _ = run(tmp_path, raw, set_to(reader="tiffslide"))
    assert hash_file(other.path) == digest


def test_a_reader_that_is_not_installed_is_named(raw, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tiffslide", None)
    with pytest.raises(InputError, match="reader is tiffslide, which is not installed"):
        run(tmp_path, raw, set_to(reader="tiffslide"))


# ------------------------------------------------------------------------------------------------------------- tissue
def test_shares_of_cells_that_tiles_cut():
    inside = np.zeros((4, 4), bool)
    inside[1, 1] = inside[2, 2] = True
    corners = np.array([[0.0, 0.0], [5.0, 5.0], [10.0, 10.0], [15.0, 10.0]])
    # Cells of 10: 20 × 20 from the corner has one of four; from 5, quarters of nine cells: the middle one whole.
    np.testing.assert_allclose(shares(inside, (10.0, 10.0), corners, (20.0, 20.0)), [0.25, 0.3125, 0.5, 0.375])


def test_shares_against_counting_pixels():
    inside = RNG.random((7, 9)) < 0.5
    fine = np.kron(inside, np.ones((6, 4)))  # cells of 4 × 6 pixels
    corners = RNG.integers(0, 15, (20, 2))
    by_hand = [fine[y : y + 13, x : x + 11].mean() for x, y in corners]
    np.testing.assert_allclose(shares(inside, (4.0, 6.0), corners, (11.0, 13.0)), by_hand)


def test_otsu_parts_pink_from_glass_and_finds_nothing_on_an_empty_slide():
    settings = TissueSettings(8.0, "otsu", 0.05, 0.5)
    found = tissue_map(stained(), settings)
    assert found[:, :320].mean() > 0.95  # noise of single pixels may be grey
    assert not found[:, 320:].any()
    noise = np.clip(RNG.normal(240, 1.5, (64, 64, 3)), 0, 255).astype(np.uint8)
    assert not tissue_map(noise, settings).any()
    assert not tissue_map(np.full((8, 8, 3), 240, np.uint8), settings).any()
    ink = np.full((8, 8, 3), (20, 0, 0), np.uint8)
    assert not tissue_map(ink, TissueSettings(8.0, 0.3, 0.05, 0.5)).any()
    assert tissue_map(stained(), TissueSettings(8.0, 0.9, 0.05, 0.5)).mean() < 0.1


def test_the_small_picture_is_the_mean_of_its_cells_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr("synthmed.prepare.tissue._BLOCK", 100)
    placed(tmp_path, "one", stained(), levels=1)
    with open_slide(tmp_path / "one.tif", "openslide", None) as slide:
        picture, cell = small_picture(slide, 8.0)
    assert cell == (16.0, 16.0)
    by_hand = stained().reshape(32, 16, 40, 16, 3).mean(axis=(1, 3))
    assert np.abs(picture - by_hand).max() <= 1


def test_overview_shows_tissue_and_annotation(raw, tmp_path):
    images, _ = run(tmp_path, raw)
    settings = OverviewSettings("camelyon17", "openslide", SETTINGS.tissue, SETTINGS.annotation, 1, 3)
    overview(settings, raw=raw, images=images.path, pictures=tmp_path / "slides.zip")
    found = ImageSet(tmp_path / "slides.zip")
    assert found.legend == LEGEND
    assert sorted(found.column("label")) == ["normal", "tumour"]
    row, pixels, mask = next(entry for entry in found.entries() if entry[0]["slide"] == "three")
    assert (row["width"], row["height"], row["mpp_x"]) == ("640", "512", "0.5")
    assert pixels.shape == (32, 40, 3)
    assert (mask == 2).sum() == 16 * 16 - 4 * 4
    assert (mask > 0).sum() == 32 * 20


# ------------------------------------------------------------------------------------------------------ what is wrong
@pytest.mark.parametrize("error", [OSError(errno.ESTALE, "Stale file handle"), OpenSlideError(os.strerror(errno.EIO))])
def test_a_disk_that_fails_is_no_fault_of_the_slide(tmp_path, monkeypatch, error):
    def failed(*_):
        raise error

    raw = raw_of(tmp_path, [placed(tmp_path, "whole", stained())])
    monkeypatch.setattr(OpenSlide, "read_region", failed)
    with pytest.raises(InputError, match=r"the network disk lost it|the disk or the network failed under it"):
        run(tmp_path, raw)


def test_what_is_wrong_with_a_slide_stands_among_the_rejects(tmp_path):
    whole = placed(tmp_path, "whole", stained())
    cut = placed(tmp_path, "cut", stained())
    cut.path.write_bytes(cut.path.read_bytes()[:-2000])
    damaged = placed(tmp_path, "damaged", stained(), levels=1)
    content = bytearray(damaged.path.read_bytes())
    content[5000:300000] = bytes(295000)  # tiles, not the directory behind them
    damaged.path.write_bytes(content)
    not_tiled = placed(tmp_path, "not_tiled", stained())
    Image.fromarray(stained()).save(not_tiled.path, "TIFF", compression="tiff_deflate")
    raw = raw_of(
        tmp_path,
        [
            *(whole, cut, damaged, not_tiled),
            placed(tmp_path, "empty", np.full((256, 256, 3), 240, np.uint8)),
            placed(tmp_path, "tiny", stained(40, 60), levels=1),
            placed(tmp_path, "outside", stained(), label="", groups={"metastases": [square(600, 400, 90)]}),
            placed(tmp_path, "unknown", stained(), label="", groups={"tumor": [square(0, 0, 90)]}),
            placed(tmp_path, "holes", stained(), label="", groups={"normal": [square(0, 0, 90)]}),
            placed(tmp_path, "nobody", stained(), label=""),
        ],
    )
    images, rejects = run(
        tmp_path, raw, set_to(labels={"normal": "normal", "inside": None, "border": None, "outside": None})
    )
    assert set(images.column("slide")) == {"whole"}
    reasons = {row["file"]: row["reason"] for row in rejects}
    for name, words in {
        "cut": "cut off",
        "damaged": "cannot be read",
        "not_tiled": "no slide that openslide reads",
        "empty": "no tissue",
        "tiny": "too small: 60×40",
        "outside": "lies outside: a point at 690, 400, the slide has 640×512",
        "unknown": "has the group 'tumor'",
        "holes": "marks none of",
        "nobody": "has no annotation that says where",
    }.items():
        assert words in reasons[name], name


def test_a_slide_coarser_than_its_tiles_is_not_enlarged(tmp_path):
    """One of other pixels than the rest, and one that an image editor saved with the 72 dpi of a screen."""
    import tifffile

    screen = placed(tmp_path, "screen", stained())
    tifffile.imwrite(
        screen.path, stained(), tile=(256, 256), photometric="rgb", compression="zlib", metadata=None,
        resolution=(72, 72), resolutionunit="INCH",
    )  # fmt: skip
    slides = [placed(tmp_path, "fine", stained()), placed(tmp_path, "coarse", stained(), mpp=2.0), screen]
    images, rejects = run(tmp_path, raw_of(tmp_path, slides), set_to(labels={"normal": "normal"}))
    assert set(images.column("slide")) == {"fine"}
    reasons = {row["file"]: row["reason"] for row in rejects}
    assert reasons["coarse"].startswith("its finest pixels have 2 µm, coarser than setting mpp (1); raise mpp; or")
    assert reasons["screen"].startswith("its finest pixels have 352.8 µm")
    assert reasons["screen"].endswith("state it in the column mpp of the table of slides")


def test_a_slide_that_does_not_state_its_pixels_is_rejected_and_can_be_told(tmp_path):
    import tifffile

    path = tmp_path / "one.tif"
    tifffile.imwrite(path, stained(), tile=(256, 256), photometric="rgb", compression="zlib", metadata=None)
    one = placed(tmp_path, "other", stained())
    for stated, reason in (("", "no size of its pixels inside"), ("1.0", None)):
        row = {**one.row, "name": "one", "mpp": stated}
        raw = raw_of(tmp_path, [type(one)(row, path, None), one])
        images, rejects = run(tmp_path, raw, set_to(labels={"normal": "normal"}))
        assert [reject["reason"][:28] for reject in rejects] == ([] if reason is None else [reason])
        assert ("one" in images.column("slide")) == (reason is None)


def test_a_slide_that_gives_no_tile_is_listed_and_no_fault(tmp_path, caplog):
    whole, sparse = stained(), np.full((512, 640, 3), 240, np.uint8)
    sparse[:20, :20] = stained()[:20, :20]  # a tenth of one tile
    annotated = {"metastases": [square(0, 0, 512)]}
    slides = [
        placed(tmp_path, "one", whole),
        placed(tmp_path, "sparse", sparse),
        placed(tmp_path, "left_out", whole, label="", groups=annotated),
    ]
    labels = {"normal": "normal", "inside": None, "border": None, "outside": None}
    caplog.set_level("INFO")
    images, rejects = run(tmp_path, raw_of(tmp_path, slides), set_to(labels=labels, max_rejects=0.0))
    assert set(images.column("slide")) == {"one"}
    assert rejects == [
        {"file": "sparse", "reason": "no tile: none has the share 0.5 of tissue (setting tissue.min_share)"},
        {"file": "left_out", "reason": "no tile: setting labels leaves out what its tiles with tissue show"},
    ]
    assert "rejected sparse: no tile" in caplog.text
    assert "1 of 3 slides, tiles: " in caplog.text


def test_too_many_rejects_and_a_class_without_tiles_stop_the_run(raw, tmp_path):
    broken = raw_of(tmp_path, [placed(tmp_path, name, np.full((256, 256, 3), 240, np.uint8)) for name in "ab"])
    with pytest.raises(InputError, match="2 of 2 slides cannot be used"):
        run(tmp_path, broken, set_to(labels={"normal": "normal"}))
    with pytest.raises(InputError, match="no slide has a tile of the class 'rim'"):
        run(tmp_path, raw, set_to(labels={"normal": None, "inside": "tumour", "border": "rim", "outside": None}))
    assert not (tmp_path / "images.zip").exists()


def test_labels_and_annotations_that_settings_do_not_know(raw, tmp_path):
    with pytest.raises(
        InputError, match=r"three: its tiles show 'border'; setting labels knows \['inside', 'normal'\]"
    ):
        run(tmp_path, raw, set_to(labels={"normal": "normal", "inside": "tumour"}))
    with pytest.raises(InputError, match=r"three has an annotation, but setting prepare\.annotation is null"):
        run(tmp_path, raw, set_to(annotation=None))


def test_crc_of_a_name_is_what_the_draw_begins_with():
    assert zlib.crc32(b"one") == 2053932785  # a library that counted otherwise would draw other tiles


# --------------------------------------------------------------------------------------------------------- real slides
@pytest.mark.realdata
def test_a_real_slide_of_aperio(tmp_path, realdata):
    (tmp_path / "real.svs").symlink_to(realdata / "slides/CMU-1-Small-Region.svs")
    row = {"name": "real", "label": "normal", "patient": "1", "split": "", "source": "here", "mpp": ""}
    raw = raw_of(tmp_path, [Placed(row, tmp_path / "real.svs", None)])
    images, _ = run(tmp_path, raw, set_to(size=(128, 128), labels={"normal": "normal"}, tiles=6))
    assert {(row["level"], row["level_mpp"], row["mpp"]) for row in images.rows} == {("0", "0.499", "1")}
    means = images.pixels.mean(axis=(1, 2))
    assert len(means) == 6
    assert (means[:, 1] < means[:, [0, 2]].min(axis=1)).all()  # eosin and haematoxylin: green is darkest


@pytest.mark.realdata
def test_a_real_annotation_of_imagescope_has_the_areas_that_it_states(realdata):
    content = (realdata / "slides/kidney_histology_image.xml").read_bytes()
    settings = AnnotationSettings(("1", "Layer 2", "3"), (), (), 0.5, 0.0)
    outlines = read_outlines(content, settings, (3675, 2930))
    stated = [float(region.get("Area")) for region in ElementTree.fromstring(content).iter("Region")]
    np.testing.assert_allclose([outline.area for outline in outlines], stated, rtol=0.02)
    inside = area_map(outlines[:4], (3675, 2930), (1.0, 1.0))
    assert inside.sum() == pytest.approx(sum(stated[:4]), rel=0.01)
