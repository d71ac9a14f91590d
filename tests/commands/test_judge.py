"""Two folders of a user become settings: what they hold, what follows from the numbers, and what is refused."""

import json
import os
import shutil
import struct
import subprocess
import unicodedata
import zlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from made_up_images import image_set
from synthmed.commands import judge as module
from synthmed.commands.judge import channels_of, columns_of, judge, look, pipeline, positive_of, settings
from synthmed.core.errors import InputError
from synthmed.core.lock import hold
from synthmed.data import sources
from synthmed.data.fetch import FetchSettings, fetch
from synthmed.data.imageset import ImageSet


def folder_of(path, counts, *, colour=False, prefix="p"):
    rng = np.random.default_rng(len(str(path)))
    for label, count in counts.items():
        (path / label).mkdir(parents=True)
        for number in range(count):
            pixels = rng.integers(0, 256, (24, 20, 3) if colour else (24, 20), dtype=np.uint8)
            Image.fromarray(pixels).save(path / label / f"{prefix}{number // 2:03d}_{number}.png")
    return path


@pytest.fixture
def ran(monkeypatch):
    """What the pipeline would have been given; it packs the data sets that it shall, and writes a report."""
    found = {}

    def run(folder, cores, anew):
        found.update(json.loads((folder / "judge.json").read_text()), folder=folder, cores=cores, anew=anew)
        for name in anew:
            (folder / "data" / name / "raw").mkdir(parents=True, exist_ok=True)
            (folder / "data" / name / "raw" / "folder.zip").write_bytes(b"")
        (folder / "results" / "judge").mkdir(parents=True, exist_ok=True)
        (folder / "results" / "judge" / "report.html").write_text("the report")

    monkeypatch.setattr(module, "run", run)
    return found


def given(tmp_path, **changes):
    return {
        "real": tmp_path / "real", "synthetic": tmp_path / "synthetic", "test": None, "out": tmp_path / "out.html",
        "folder": None, "patient_pattern": None, "positive": None, "size": 64, "cores": 2,
    } | changes  # fmt: skip


def test_two_folders_become_an_experiment(tmp_path, ran):
    folder_of(tmp_path / "real", {"normal": 40, "tumour": 30})
    folder_of(tmp_path / "synthetic", {"normal": 30, "tumour": 30}, colour=True)
    folder = judge(**given(tmp_path, patient_pattern="(p[0-9]+)_"))
    assert (tmp_path / "out.html").read_text() == "the report"
    assert folder == tmp_path / "out-run" == ran["folder"]
    experiment = ran["experiments"]["judge"]
    assert (experiment["classes"], experiment["positive"]) == (["normal", "tumour"], "tumour")
    assert experiment["prepare"]["channels"] == 1, "the real images decide"
    assert experiment["generators"]["synthetic"]["model"] == "external"
    # 30 synthetic images for 0.45 · 40 = 18 real training images of a class: 1.67 times as many.
    arms = experiment["tasks"]["classification"]["arms"]
    assert (arms["added_share"], arms["sweep"], arms["only_share"]) == (1.0, {"synthetic": [0.25, 0.5]}, 1.0)
    assert ran["datasets"]["real"]["options"]["patient_pattern"] == "(p[0-9]+)_"
    assert experiment["split"] == {"by": "patient", "validation": 0.15, "test": 0.4}
    assert ran["datasets"]["synthetic"]["options"]["path"] == str(tmp_path / "synthetic")


def test_the_pipeline_takes_the_settings_that_were_written_and_nothing_of_the_project(tmp_path, ran):
    folder_of(tmp_path / "real", {"normal": 40, "tumour": 30})
    folder_of(tmp_path / "synthetic", {"normal": 30, "tumour": 30})
    folder = judge(**given(tmp_path))
    *command, _, target = pipeline(folder, cores=1)
    planned = subprocess.run([*command, "-n", "--", target], capture_output=True, text=True)
    assert planned.returncode == 0, planned.stdout + planned.stderr
    listed = subprocess.run([*command, "--list-rules"], capture_output=True, text=True)
    names = (listed.stdout + listed.stderr).split()
    assert [name for name in names if name.startswith("experiment_")] == [target]
    assert {name for name in names if name.startswith("data_")} == {"data_real", "data_synthetic"}


def test_real_test_images_are_the_test_part(tmp_path, ran):
    folder_of(tmp_path / "real", {"0": 40, "1": 40})
    folder_of(tmp_path / "more", {"0": 10, "1": 10})
    folder_of(tmp_path / "synthetic", {"0": 40, "1": 40})
    folder = judge(**given(tmp_path, test=tmp_path / "more"))
    assert ran["experiments"]["judge"]["split"] == {"by": "column", "validation": 0.15, "test": None}
    with open(folder / "input" / "images.csv") as handle:
        lines = [line.strip().split(",") for line in handle][1:]
    assert Counter((line[1], line[3]) for line in lines) == {
        ("0", "train"): 40, ("1", "train"): 40, ("0", "test"): 10, ("1", "test"): 10,
    }  # fmt: skip
    assert all((folder / "input" / line[0]).is_file() for line in lines)
    assert {line[2] for line in lines} == {""}
    assert ran["datasets"]["real"]["options"]["csv"]["patient"] is None
    assert judge(**given(tmp_path, test=tmp_path / "more", folder=tmp_path / "again", out=tmp_path / "b.html"))


def test_a_second_run_packs_what_changed_anew(tmp_path, ran):
    folder_of(tmp_path / "real", {"0": 40, "1": 40})
    folder_of(tmp_path / "synthetic", {"0": 40, "1": 40})
    both, image = ["real", "synthetic"], tmp_path / "real" / "0" / "p000_0.png"
    for change, anew in (
        (lambda: None, both),
        (lambda: None, []),
        (lambda: os.utime(image, ns=(1, 1)), ["real"]),
        (image.unlink, ["real"]),
        (
            lambda: shutil.rmtree(tmp_path / "synthetic") or folder_of(tmp_path / "synthetic", {"0": 40, "1": 41}),
            ["synthetic"],
        ),
        (lambda: (tmp_path / "out-run" / "given.json").unlink(), both),  # a folder of a version that wrote none
        (lambda: (tmp_path / "out-run/data/real/raw/folder.zip").unlink(), ["real"]),  # stopped before it was packed
    ):
        change()
        judge(**given(tmp_path))
        assert ran["anew"] == anew


def test_a_second_run_with_other_folders_judges_these(tmp_path, ran):
    for name in ("real", "more", "real2", "more2", "synthetic"):
        folder_of(tmp_path / name, {"0": 40, "1": 40}, prefix=name[-1])
    judge(**given(tmp_path, test=tmp_path / "more"))
    folder = judge(**given(tmp_path, real=tmp_path / "real2", test=tmp_path / "more2"))
    assert ran["anew"] == ["real"]
    assert {path.name[0] for path in (folder / "input").rglob("*.png")} == {"2"}
    image = min((tmp_path / "more2" / "0").iterdir())
    Image.new("L", (20, 24), 99).save(image)
    judge(**given(tmp_path, real=tmp_path / "real2", test=tmp_path / "more2"))
    assert ran["anew"] == ["real"]
    assert (folder / "input" / "test" / "0" / image.name).read_bytes() == image.read_bytes()
    judge(**given(tmp_path, real=tmp_path / "real2", test=tmp_path / "more2"))
    assert ran["anew"] == []


@pytest.mark.workflow
def test_other_images_of_a_second_run_arrive_in_the_image_set(tmp_path, monkeypatch):
    """Snakemake itself fetches nothing where only what was made of the raw files is left."""
    for name in ("real", "more", "real2", "more2", "synthetic"):
        folder_of(tmp_path / name, {"0": 30, "1": 30}, prefix=name[-1])

    def run(folder, cores, anew):
        report = folder / "results" / "judge" / "report.html"
        report.unlink(missing_ok=True)
        *command, _, _ = pipeline(folder, cores, anew)
        done = subprocess.run([*command, "--", "results/judge/images/raw.zip"], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        report.write_text("the report")

    monkeypatch.setattr(module, "run", run)
    for real, test in (("real", "more"), ("real2", "more2")):
        folder = judge(**given(tmp_path, real=tmp_path / real, test=tmp_path / test))
        images = ImageSet(folder / "results" / "judge" / "images" / "raw.zip")
        assert len(images) == 120
        assert {name.split("_")[2][0] for name in images.column("image")} == {real[-1], test[-1]}


def test_a_folder_that_no_judge_made_is_not_emptied(tmp_path, ran):
    folder_of(tmp_path / "input" / "train", {"0": 40, "1": 40})
    for name in ("real", "more", "synthetic"):
        folder_of(tmp_path / name, {"0": 40, "1": 40})
    with pytest.raises(InputError, match=r"input: this is no folder of an earlier `judge`; give another --folder"):
        judge(**given(tmp_path, test=tmp_path / "more", folder=tmp_path))
    with pytest.raises(InputError, match=r"input: holds images that were given"):
        judge(**given(tmp_path, real=tmp_path / "input" / "train", test=tmp_path / "more", folder=tmp_path))
    assert len(list((tmp_path / "input").rglob("*.png"))) == 80


def written(path):
    """What changes when somebody writes a file, and not when it is read or linked."""
    return path.stat().st_mtime_ns, path.stat().st_size


def test_a_second_judge_leaves_the_files_of_one_that_runs_alone(tmp_path, ran):
    for name in ("real", "more", "synthetic"):
        folder_of(tmp_path / name, {"0": 40, "1": 40})
    asked = given(tmp_path, test=tmp_path / "more")
    folder = judge(**asked)
    before = {path: written(path) for path in folder.rglob("*") if path.is_file() and path.name != ".run.lock"}
    with hold(folder), pytest.raises(InputError, match="a run is going on there"):
        judge(**asked)
    assert {path: written(path) for path in folder.rglob("*") if path in before} == before
    judge(**asked)


@pytest.mark.parametrize(("pattern", "known"), [(None, [False]), ("(p[0-9]+)_", [True])])
def test_patients_are_known_where_somebody_names_them(tmp_path, ran, pattern, known):
    for name, prefix in (("real", "p1"), ("more", "p2"), ("synthetic", "p")):
        folder_of(tmp_path / name, {"0": 40, "1": 40}, prefix=prefix)
    judge(**given(tmp_path, test=tmp_path / "more", patient_pattern=pattern))
    raw = [tmp_path / "folder.zip"]
    entry = ran["datasets"]["real"]
    fetch(FetchSettings(entry["source"], entry["provider"], entry["options"]), raw=raw)
    with sources.load("folder").read(raw) as images:
        assert len(images) == 160
        assert sorted({image.patient_known for image in images}) == known
        assert {image.split for image in images} == {"train", "test"}


def test_a_pattern_of_patients_that_serves_nothing_is_refused_and_one_that_serves_some_told(tmp_path, ran, caplog):
    for name in ("real", "more", "synthetic"):
        folder_of(tmp_path / name, {"0": 40, "1": 40})
        files = [path.relative_to(tmp_path / name) for path in sorted((tmp_path / name).rglob("*.png"))]
        rows = "".join(f"{file},{file.parent}\n" for file in files)
        (tmp_path / name / "list.csv").write_text(f"path,class\n{rows}")
    table, more = tmp_path / "real" / "list.csv", tmp_path / "more" / "list.csv"
    said = r"real/list\.csv \(--real\): --patient-pattern is for class sub-folders; give the table a column patient"
    for changes in ({"real": table}, {"real": table, "test": more}):
        with pytest.raises(InputError, match=said):
            judge(**given(tmp_path, patient_pattern="(p[0-9]+)_", **changes))
    assert not ran
    caplog.set_level("INFO")
    judge(**given(tmp_path, patient_pattern="(p[0-9]+)_", test=more))
    assert "more/list.csv (--test): --patient-pattern is for class sub-folders" in caplog.text
    assert "more/list.csv: file is column 'path', label is column 'class', no column of the patient" in caplog.text
    assert "(--real): --patient-pattern" not in caplog.text


def test_csv_and_image_sets_are_understood(tmp_path):
    folder_of(tmp_path / "films", {"a": 3, "b": 3})
    rows = [f"a/p{n // 2:03d}_{n}.png,benign,{n}\n" for n in range(3)]
    (tmp_path / "films" / "list.csv").write_text("Image,Diagnosis,Patient_ID\n" + "".join(rows))
    assert columns_of(tmp_path / "films" / "list.csv") == {
        "name": "list.csv", "file": "Image", "label": "Diagnosis", "patient": "Patient_ID", "mask": None, "split": None,
        "keep": [],
    }  # fmt: skip
    found = look(tmp_path / "films" / "list.csv", "real", None)
    assert [(row["label"], row["patient"]) for row in found.rows] == [("benign", str(n)) for n in range(3)]
    image_set(tmp_path / "set.zip", 10, seed=1)
    found = look(tmp_path / "set.zip", "real", None)
    assert found.dataset["source"] == "image_set"
    assert sum(found.counts.values()) == 10
    assert channels_of(found) == 1


def test_colour_is_seen_and_grey_saved_as_colour_is_grey(tmp_path):
    folder_of(tmp_path / "c", {"a": 1, "b": 1}, colour=True)
    assert channels_of(look(tmp_path / "c", "real", None)) == 3
    folder_of(tmp_path / "g", {"a": 1, "b": 1})
    for path in (tmp_path / "g").rglob("*.png"):
        Image.open(path).convert("RGB").save(path)
    assert channels_of(look(tmp_path / "g", "real", None)) == 1


def test_colour_is_looked_for_in_images_of_every_class(tmp_path):
    folder_of(tmp_path / "f", {"a": 40})
    folder_of(tmp_path / "f" / "more", {"b": 40}, colour=True)
    (tmp_path / "f" / "more" / "b").rename(tmp_path / "f" / "b")
    assert channels_of(look(tmp_path / "f", "real", None)) == 3


def test_images_that_the_preparation_reads_or_passes_over_do_not_stop_the_look(tmp_path):
    folder_of(tmp_path / "f", {"a": 3, "b": 3})
    note = PngImagePlugin.PngInfo()
    note.add_text("History", "x" * 2_000_000, zip=True)
    first, second, third = sorted((tmp_path / "f" / "a").iterdir())
    Image.fromarray(np.eye(24, dtype=np.uint8)).save(first, pnginfo=note)
    header = b"IHDR" + struct.pack(">LLBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    parts = [struct.pack(">L", 13) + header, b"\0\0\0\0IDAT"]
    second.write_bytes(
        b"\x89PNG\r\n\x1a\n" + b"".join(part + struct.pack(">L", zlib.crc32(part[4:])) for part in parts)
    )
    third.write_bytes(b"no picture")
    assert channels_of(look(tmp_path / "f", "real", None)) == 1


def test_files_are_found_however_their_accents_are_written(tmp_path, ran):
    for name in ("real", "more", "synthetic"):
        folder_of(tmp_path / name, {"0": 40, "Läsion": 40}, prefix=unicodedata.normalize("NFD", "Müller"))
        (tmp_path / name / "Läsion").rename(tmp_path / name / unicodedata.normalize("NFD", "Läsion"))
    folder = judge(**given(tmp_path, test=tmp_path / "more"))
    assert len(list((folder / "input").rglob("*.png"))) == 160


def test_links_of_git_annex_lead_to_the_images_from_the_folder_of_the_run(tmp_path, ran):
    for name in ("real", "more", "synthetic"):
        folder_of(tmp_path / name, {"0": 40, "1": 40})
        (tmp_path / name / ".annex").mkdir()
        for path in [*(tmp_path / name).glob("[01]/*.png")]:
            kept = path.rename(tmp_path / name / ".annex" / f"{path.parent.name}_{path.name}")
            path.symlink_to(f"../.annex/{kept.name}")
    folder = judge(**given(tmp_path, test=tmp_path / "more"))
    found = list((folder / "input").rglob("*.png"))
    assert len(found) == 160
    assert all(path.is_file() and not path.is_symlink() for path in found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file;label;patient\n1.png;a;7\n", r"no column of the file; .*separated by semicolons: save it"),
        ("file\tlabel\n1.png\ta\n", "it is separated by tabs"),
        ("file;label;size\n1.png;a;1,5\n", r"line 2: it has not 1 cells .*; it is separated by semicolons"),
        ('file,label\n1.png,"a\n2.png,b\n', r"t\.csv, line 2: not readable as a table"),
        ("file,label\n", r"t\.csv: no rows below the first line"),
        (b"file,label\n\xe9.png,a\n", r"t\.csv: not UTF-8 text"),
    ],
)
def test_tables_that_are_none_are_told_as_by_the_pipeline(tmp_path, text, message):
    (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=message):
        columns_of(tmp_path / "t.csv")


def test_empty_lines_before_the_columns_are_passed_over(tmp_path):
    (tmp_path / "t.csv").write_text("\n,,\nfile,label\n1.png,a\n")
    assert columns_of(tmp_path / "t.csv")["label"] == "label"


def test_the_positive_class_is_the_one_that_is_not_called_healthy():
    assert positive_of(["Healthy", "abnormal"], None) == "abnormal"
    assert positive_of(["abnormal", "normal"], None) == "abnormal"
    assert positive_of(["a", "b"], None) == "b"
    assert positive_of(["a", "b"], "a") == "a"
    with pytest.raises(InputError, match="--positive 'c'"):
        positive_of(["a", "b"], "c")


def test_three_classes_are_judged_by_balanced_accuracy():
    counts = dict.fromkeys("abc", 40)
    found = settings(counts, counts, None, positive="c", image={}, names={"real": "r", "synthetic": "s"})
    assert found["experiments"]["judge"]["tasks"]["classification"]["outcome"] == "balanced_accuracy"


@pytest.mark.parametrize(
    ("real", "synthetic", "message"),
    [
        ({"a": 40}, {"a": 40}, "only the class"),
        ({"a": 40, "b": 40}, {"a": 40, "c": 40}, r"synthetic \(--synthetic\): the class 'c' is not among"),
        ({"a": 40, "b": 40}, {"a": 40}, r"\(--synthetic\): no image of the class 'b'"),
        ({"a": 40, "b": 40}, {"a": 40, "b": 4}, "4 images of 'b' are less than a quarter"),
        ({"a": 40, "b": 5}, {"a": 40, "b": 40}, "5 images of 'b' are too few"),
    ],
)
def test_what_cannot_be_judged_is_refused_by_its_folder(tmp_path, ran, real, synthetic, message):
    folder_of(tmp_path / "real", real)
    folder_of(tmp_path / "synthetic", synthetic)
    with pytest.raises(InputError, match=message):
        judge(**given(tmp_path))
    assert not ran
    assert not (tmp_path / "out.html").exists()


def test_paths_that_are_nothing_are_named(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        look(tmp_path / "nowhere", "real", None)
    with pytest.raises(InputError, match=r"absent\.csv: no such file"):
        look(tmp_path / "absent.csv", "real", None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no images in sub-folders"):
        look(tmp_path / "empty", "real", None)
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"t\.csv: no column of the file"):
        look(tmp_path / "t.csv", "real", None)
    folder_of(tmp_path / "bad", {"a": 1, "b": 1})
    for path in (tmp_path / "bad").rglob("*.png"):
        path.write_bytes(b"no picture")
    with pytest.raises(InputError, match="not a readable image"):
        channels_of(look(tmp_path / "bad", "real", None))
