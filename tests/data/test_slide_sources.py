"""CAMELYON17 and slides of one's own: what is drawn, files from a server, and tables and files that cannot be used."""

import hashlib
import shutil
import subprocess
import threading
import unicodedata
import urllib.parse
from collections import Counter
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import hash_file
from synthmed.data import sources
from synthmed.data.fetch import FetchSettings, fetch
from synthmed.data.phantoms.slide_settings import SlidePhantoms
from synthmed.data.phantoms.slides import asap_xml, draw_slide, stage_of, write_pyramid
from synthmed.data.sources import camelyon17
from synthmed.data.sources.camelyon17 import DownloadOptions, centre_of, draw
from synthmed.data.sources.raw_slide import shell_words, slide_files

PHANTOM = {
    "negative": 2,
    "positive": 2,
    "stages": ["macro", "itc"],
    "unannotated": 1,
    "identity": 0.5,
    "centre_spread": 0.5,
    "difficulty": 0.2,
    "field": 200.0,
    "mpp": 1.0,
    "levels": 3,
    "seed": 4,
}
SETTINGS = SlidePhantoms(**PHANTOM | {"stages": ("macro", "itc")})


def fetched(folder, source, provider, options):
    raw = [folder / name for name in sources.raw_files({"source": source, "provider": provider, "options": options})]
    fetch(FetchSettings(source, provider, options), raw=raw)
    return raw


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    return fetched(tmp_path_factory.mktemp("phantoms"), "camelyon17", "phantom", PHANTOM)


def test_any_number_of_slides_is_named_in_a_short_command():
    names = [f"data/x/raw/{name}" for name in ("a b", *slide_files(10_003))]
    words = shell_words(names)
    assert words == (
        "'data/x/raw/a b' data/x/raw/slides.csv data/x/raw/annotations.zip "
        "data/x/raw/slide_{0000..9999} data/x/raw/slide_{10000..10002}"
    )
    said = subprocess.run(["bash", "-c", f"printf '%s\\n' {words}"], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines() == names
    assert shell_words(names[1:4]) == "data/x/raw/slides.csv data/x/raw/annotations.zip data/x/raw/slide_0000"


# ------------------------------------------------------------------------------------------------------------ phantoms
def test_phantoms_are_pyramids_with_annotations(phantoms):
    from openslide import OpenSlide

    with sources.load("camelyon17").read(phantoms) as slides:
        assert [slide.label for slide in slides] == ["normal", "normal", "", "", ""]
        assert [slide.annotation is not None for slide in slides] == [False, False, True, True, False]
        assert [slide.extra["stage"] for slide in slides] == ["negative", "negative", "macro", "itc", "macro"]
        assert b'PartOfGroup="metastases"' in slides[2].annotation()
        assert b'PartOfGroup="normal"' in slides[2].annotation()
        with OpenSlide(slides[0].path) as file:
            assert file.level_dimensions == ((200, 200), (100, 100), (50, 50))
            assert (float(file.properties["openslide.mpp-x"]), file.properties["openslide.mpp-y"]) == (1.0, "1")
            whole = np.asarray(file.read_region((0, 0), 0, (200, 200)))[:, :, :3]
    np.testing.assert_array_equal(whole, draw_slide(SETTINGS, 0).pixels)


def test_equal_settings_give_equal_bytes(phantoms, tmp_path):
    again = fetched(tmp_path, "camelyon17", "phantom", PHANTOM)
    assert [hash_file(path) for path in again] == [hash_file(path) for path in phantoms]


def test_tumour_is_where_the_outline_says():
    assert stage_of(SETTINGS, 2) == "macro"
    slide = draw_slide(SETTINGS, 2)
    (region,), (hole,) = slide.regions, slide.holes
    x, y = region.mean(axis=0).astype(int)
    assert slide.tumour.sum() > 1000
    assert slide.tumour[slide.tissue].mean() < 0.6
    a, b = hole.mean(axis=0).astype(int)
    assert not slide.tumour[b, a]
    assert (slide.tumour[y, x - 30 : x + 30]).any()
    assert not draw_slide(SETTINGS, 0).tumour.any()


# ------------------------------------------------------------------------------------------------------------- drawing
def stages(patients=100):
    """Every third patient without metastases; else node 1 has them."""
    return {
        f"patient_{patient:03d}_node_{node}": "macro" if patient % 3 and node == 1 else "negative"
        for patient in range(patients)
        for node in range(3)
    }


def test_one_slide_a_patient_evenly_over_the_centres():
    annotated = {name for name, stage in stages().items() if stage == "macro"}
    drawn = draw(stages(), annotated, DownloadOptions("", 10, 15, 1))
    assert len(drawn) == 25
    assert len({name[:11] for name in drawn}) == 25
    assert Counter(map(centre_of, drawn[:10])) == {f"centre {number}": 2 for number in range(5)}
    assert Counter(map(centre_of, drawn[10:])) == {f"centre {number}": 3 for number in range(5)}
    # A negative slide of a patient with metastases is not drawn.
    assert all(int(name[8:11]) % 3 == 0 for name in drawn[:10])
    assert set(drawn[10:]) <= annotated
    assert drawn != draw(stages(), annotated, DownloadOptions("", 10, 15, 2))


def test_a_drawing_that_cannot_be_met():
    with pytest.raises(InputError, match=r"options\.negative is 40, but there are 34 such patients \(all slides neg"):
        draw(stages(), set(), DownloadOptions("", 40, 1, 1))
    with pytest.raises(InputError, match=r"options\.positive is 1, but there are 0 such patients \(with an annot"):
        draw(stages(), set(), DownloadOptions("", 1, 1, 1))


# ------------------------------------------------------------------------------------------------------------ download
class Bucket(SimpleHTTPRequestHandler):
    """A folder as the bucket: files, and its list in two pages."""

    def do_GET(self):
        self.server.asked.append(self.path)
        address = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(address.query))
        if "list-type" not in query:
            return super().do_GET()
        assert query["prefix"] == "CAMELYON17/annotations/"
        second = query.get("continuation-token") == "to+go/on="
        name = f"CAMELYON17/annotations/patient_00{'2' if second else '1'}_node_0.xml"
        more = "" if second else "<NextContinuationToken>to+go/on=</NextContinuationToken>"
        body = (
            '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"{more}<Contents><Key>{name}</Key></Contents></ListBucketResult>"
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None

    def log_message(self, *args):
        pass


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A server with four slides, two of them annotated; its folder."""
    root = tmp_path / "served" / "CAMELYON17"
    for name in ("images", "annotations"):
        (root / name).mkdir(parents=True)
    for number in range(4):
        pixels = np.full((300, 300, 3), 50 * number, np.uint8)
        write_pyramid(root / f"images/patient_00{number}_node_0.tif", pixels, 0.25, 2)
    outline = asap_xml({"metastases": [np.array([[0, 0], [9, 0], [9, 9]], float)]})
    for number in (1, 2):
        (root / f"annotations/patient_00{number}_node_0.xml").write_bytes(outline)
    rows = "".join(
        f"patient_00{n}.zip,pN\npatient_00{n}_node_0.tif,{s}\n"
        for n, s in enumerate(("negative", "itc", "macro", "micro"))
    )
    (root / "stages.csv").write_text(f"patient,stage\n{rows}")
    sums = [
        f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(root)}" for path in sorted(root.rglob("*.*"))
    ]
    (root / "checksums.md5").write_text("\n".join(sums) + "\n")
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Bucket, directory=str(root.parent)))
    server.asked, server.root = [], root
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(camelyon17, "BUCKET", f"http://127.0.0.1:{server.server_port}")
    (tmp_path / "kept").mkdir()
    yield server
    server.shutdown()
    server.server_close()


def options(tmp_path, **changes):
    return {"folder": str(tmp_path / "kept"), "negative": 1, "positive": 1, "seed": 1} | changes


def test_only_the_slides_that_are_drawn_are_downloaded(bucket, tmp_path):
    raw = fetched(tmp_path / "raw", "camelyon17", "download", options(tmp_path))
    images = {path for path in bucket.asked if "/images/" in path}
    assert len(images) == 2
    assert "/CAMELYON17/images/patient_000_node_0.tif" in images
    with sources.load("camelyon17").read(raw) as slides:
        assert [slide.label for slide in slides] == ["normal", ""]
        assert slides[1].extra["stage"] in ("itc", "macro")
        assert slides[1].annotation is not None
        assert slides[0].source == "centre 0"
        assert slides[0].path.samefile(tmp_path / "kept/images/patient_000_node_0.tif")
    bucket.asked.clear()
    fetched(tmp_path / "again", "camelyon17", "download", options(tmp_path))
    assert bucket.asked == []


def test_a_slide_that_nobody_annotated_is_not_taken(bucket, tmp_path):
    fetched(tmp_path / "raw", "camelyon17", "download", options(tmp_path, positive=2))
    assert not any("patient_003_node_0.tif" in path for path in bucket.asked)
    with pytest.raises(InputError, match="positive is 3, but there are 2"):
        fetched(tmp_path / "raw", "camelyon17", "download", options(tmp_path, positive=3))


def test_a_file_with_another_md5_is_refused(bucket, tmp_path):
    image = bucket.root / "images/patient_000_node_0.tif"
    image.write_bytes(image.read_bytes() + b"more")
    with pytest.raises(InputError, match=r"patient_000_node_0\.tif.* has md5 [0-9a-f]+, expected"):
        fetched(tmp_path / "raw", "camelyon17", "download", options(tmp_path))
    assert (tmp_path / "kept/images/patient_000_node_0.tif.unexpected").exists()
    # Placed by hand it is not taken either.
    shutil.copy(image, tmp_path / "kept/images/patient_000_node_0.tif")
    with pytest.raises(InputError, match="published is"):
        fetched(tmp_path / "raw", "camelyon17", "download", options(tmp_path))


def test_a_download_goes_on_where_it_ended(bucket, tmp_path):
    """Its server knows no ranges, so it begins anew; what lies there is not taken for the whole."""
    (tmp_path / "kept/images").mkdir()
    part = tmp_path / "kept/images/patient_000_node_0.tif.part"
    part.write_bytes(b"half")
    fetched(tmp_path / "raw", "camelyon17", "download", options(tmp_path))
    assert not part.exists()


def test_a_missing_folder_and_a_list_that_is_none(bucket, tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        fetched(tmp_path / "raw", "camelyon17", "download", options(tmp_path, folder=str(tmp_path / "nowhere")))
    (bucket.root / "stages.csv").write_text("patient,stage\n")
    (bucket.root / "checksums.md5").write_text("<html>\n")
    with pytest.raises(InputError, match="not lines of md5 and name"):
        fetched(tmp_path / "raw", "camelyon17", "download", options(tmp_path))


# ------------------------------------------------------------------------------------------------- slides of one's own
TABLE = {
    "name": "slides.csv",
    "slide": "{id}.tif",
    "label": "what",
    "annotation": "xml",
    "patient": "who",
    "mpp": "mpp",
}


@pytest.fixture
def folder(tmp_path):
    """Two slides, one annotated."""
    for name in "ab":
        write_pyramid(tmp_path / f"{name}.tif", np.full((300, 300, 3), 99, np.uint8), 0.5, 2)
    (tmp_path / "a.xml").write_bytes(asap_xml({"tumour": [np.array([[0, 0], [9, 0], [9, 9]], float)]}))
    (tmp_path / "slides.csv").write_text("id,what,xml,who,mpp,site\na,,a.xml,7.0,,Ulm\nb,healthy,,P007,0.25,\n")
    return tmp_path


def of_folder(folder, **changes):
    return {"path": str(folder), "name": "ours", "csv": {**TABLE, "source": "site", "split": None} | changes}


def test_a_folder_of_slides(folder):
    raw = fetched(folder / "raw", "slide_folder", "folder", of_folder(folder))
    with sources.load("slide_folder").read(raw) as slides:
        first, second = slides
    assert (first.name, first.label, first.patient, first.source, first.mpp) == ("a", "", "7", "Ulm", None)
    assert (second.label, second.source, second.mpp, second.annotation) == ("healthy", "ours", 0.25, None)
    assert first.path.samefile(folder / "a.tif")


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ("c,healthy,,1,,\n", r"c\.tif"),
        ("a,healthy,,1,,\na,healthy,,2,,\n", r"line 3: 'a\.tif' stands in line 2 already"),
        ("a,,b.xml,1,,\n", r"b\.xml does not exist"),
        ("a,healthy,,1,big,\n", "'big' is no size of a pixel"),
        ("a,healthy,,1,-1,\n", "'-1' is no size of a pixel"),
    ],
)
def test_tables_that_cannot_be_used(folder, rows, words):
    (folder / "slides.csv").write_text(f"id,what,xml,who,mpp,site\n{rows}")
    with pytest.raises(InputError, match=words):
        fetched(folder / "raw", "slide_folder", "folder", of_folder(folder))


def test_a_slide_is_found_however_its_accents_are_written(folder):
    apart, together = (unicodedata.normalize(form, "Läsion") for form in ("NFD", "NFC"))
    (folder / "b.tif").rename(folder / f"{apart}.tif")
    (folder / "slides.csv").write_text(f"id,what,xml,who,mpp,site\n{together},healthy,,1,,\n", encoding="utf-8")
    raw = fetched(folder / "raw", "slide_folder", "folder", of_folder(folder))
    with sources.load("slide_folder").read(raw) as (slide,):
        assert slide.path.samefile(folder / f"{apart}.tif")


def test_slides_of_one_name_or_of_names_not_latin_have_names_of_their_own(folder, caplog):
    for number, name in enumerate(("张敏", "刘洋", "sub/a", "sub/c")):
        (folder / name).parent.mkdir(exist_ok=True)
        write_pyramid(folder / f"{name}.tif", np.full((300, 300, 3), 90 + number, np.uint8), 0.5, 2)
    rows = "".join(f"{name},healthy,,{name},,\n" for name in ("张敏", "刘洋", "a", "sub/a", "b"))
    (folder / "slides.csv").write_text(f"id,what,xml,who,mpp,site\n{rows}", encoding="utf-8")
    raw = fetched(folder / "raw", "slide_folder", "folder", of_folder(folder))
    with sources.load("slide_folder").read(raw) as slides:
        names = [slide.name for slide in slides]
        assert slides[3].path.samefile(folder / "sub/a.tif")
    assert len(set(names)) == 5
    assert [name[:-8] for name in names[:4]] == ["___", "___", "a_", "a_"]
    assert names[4] == "b"
    assert "slides.csv: 1 slides have no line and are left out, e.g. sub/c.tif" in caplog.text


def test_formats_of_several_files_are_refused(folder):
    (folder / "b.mrxs").write_bytes(b"")
    (folder / "slides.csv").write_text("id,what,xml,who,mpp,site\nb,healthy,,1,,\n")
    with pytest.raises(InputError, match=r"'b\.mrxs' is of a format of several files"):
        fetched(folder / "raw", "slide_folder", "folder", of_folder(folder, slide="{id}.mrxs"))


def test_a_missing_column_is_named_before_anything_runs(folder):
    with pytest.raises(InputError, match="no column 'tissue'"):
        sources.raw_files({"source": "slide_folder", "options": of_folder(folder, label="tissue")})
