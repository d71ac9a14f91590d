"""settle is tried on a small chain: settings -> raw -> images -> table, all below one root."""

import os

import pytest

from synthmed.core import provenance
from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.core.provenance import SUFFIX, code_of, made_from, record, settle, source_file, stop_if_stale


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A package of one step file and the chain of artefacts, recorded."""
    package = tmp_path / "src" / "synthmed"
    package.mkdir(parents=True)
    (package / "step.py").write_text("step = 1\n")
    monkeypatch.setattr(provenance, "PACKAGE", package)
    (tmp_path / "results" / "settings").mkdir(parents=True)
    make(tmp_path)
    return tmp_path


CHAIN = [("raw", []), ("images", ["raw"]), ("table", ["images"]), ("figure", ["images"])]


def make(root):
    for name, inputs in CHAIN:
        settings = root / "results" / "settings" / f"{name}.json"
        if not settings.exists():
            settings.write_text(f'{{"of": "{name}"}}')
        (root / "results" / name).write_text(f"content of {name}")
        record(
            [root / "results" / name],
            step=name,
            made_from=made_from(
                [settings, *(root / "results" / source for source in inputs)],
                [root / "src" / "synthmed" / "step.py"],
                root,
            ),
            settings={"of": name},
        )


def judged(root, remove=False, named=None, chosen=None):
    return settle([root / "results"], remove=remove, named=named, chosen=chosen, root=root)


def names(settled):
    return {name.removeprefix("results/") for name in settled.stale}


def test_a_record_says_what_was_used(root):
    made = read_json(root / "results" / f"images{SUFFIX}")
    assert set(made["inputs"]) == {"results/settings/images.json", "results/raw"}
    assert set(made["code"]) == {"synthmed/step.py"}
    assert made["settings"] == {"of": "images"}
    assert "python" in made["versions"]


def test_a_folder_that_cannot_be_read_is_not_taken_for_an_empty_one(root, monkeypatch):
    scan = os.scandir

    def refused(path):
        if str(path).endswith("results"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refused)
    with pytest.raises(PermissionError, match="results"):
        judged(root)


@pytest.mark.parametrize("content", ["[]", "{}", '{"sha256": "0", "inputs": {}}'])
def test_a_damaged_record_is_named(root, content):
    (root / "results" / f"raw{SUFFIX}").write_text(content)
    with pytest.raises(InputError, match=r"raw\.provenance\.json: no record of synthmed, or a damaged one; delete it"):
        judged(root)


def test_equal_runs_write_equal_records(root):
    before = (root / "results" / f"images{SUFFIX}").read_bytes()
    make(root)
    assert (root / "results" / f"images{SUFFIX}").read_bytes() == before


def test_nothing_is_stale_after_a_run(root):
    settled = judged(root)
    assert names(settled) == set()
    assert len(settled.current) == 4
    stop_if_stale(settled)


def test_a_changed_setting_makes_its_artefact_and_what_follows_stale(root):
    (root / "results" / "settings" / "images.json").write_text("{}")
    settled = judged(root)
    assert names(settled) == {"images", "table", "figure"}
    assert settled.stale["results/images"] == "its input results/settings/images.json changed"
    assert "is stale" in settled.stale["results/table"]
    with pytest.raises(InputError, match="3 artefacts are stale"):
        stop_if_stale(settled)


def test_two_changes_at_once(root):
    (root / "results" / "settings" / "table.json").write_text("{}")
    (root / "results" / "settings" / "figure.json").write_text("{}")
    assert names(judged(root)) == {"table", "figure"}


def test_changed_bytes_are_stale(root):
    (root / "results" / "table").write_text("edited")
    assert judged(root).stale == {"results/table": "its bytes are not the recorded ones"}


def test_a_missing_artefact_says_nothing_against_what_was_made_from_it(root):
    (root / "results" / "raw").unlink()
    settled = judged(root, remove=True)
    assert settled.stale == {}
    assert settled.missing == ["results/raw"]
    assert (root / "results" / "images").exists()


def test_edited_code_makes_everything_of_it_stale(root):
    (root / "src" / "synthmed" / "step.py").write_text("step = 2\n")
    assert names(judged(root)) == {"raw", "images", "table", "figure"}


def test_removing_leaves_the_current_ones(root):
    (root / "results" / "settings" / "table.json").write_text("{}")
    half = root / "results" / ".table.7.part.csv"
    half.write_text("of a step that was killed")
    os.utime(half, (0, 0))
    judged(root)
    assert half.exists()
    judged(root, remove=True)
    left = {path.name for path in (root / "results").iterdir() if path.is_file()}
    assert left == {name + suffix for name in ("raw", "images", "figure") for suffix in ("", SUFFIX)}
    assert names(judged(root)) == set()


def test_a_settings_file_that_is_called_like_a_record_is_none(root):
    (root / "results" / "settings" / f"copies{SUFFIX}").write_text('{"generator": "provenance"}')
    assert len(judged(root).current) == 4


def test_what_nothing_names_now_is_left_alone_however_stale(root):
    named = [f"results/settings/{name}.json" for name in ("raw", "images", "figure")]
    before = (root / "results" / "table").read_bytes()
    (root / "src" / "synthmed" / "step.py").write_text("step = 2\n")
    settled = judged(root, remove=True, named=named)
    assert settled.unnamed == ["results/table"]
    assert names(settled) == {"raw", "images", "figure"}
    assert (root / "results" / "table").read_bytes() == before
    assert (root / "results" / f"table{SUFFIX}").exists()
    assert not (root / "results" / "images").exists()


def test_looking_changes_nothing(root):
    (root / "results" / "settings" / "table.json").write_text("{}")
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    judged(root)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_times_are_settled_along_the_chain(root):
    # As after a pull in an unlucky order: outputs older than their inputs, settings and code newest of all.
    for age, path in enumerate(["results/table", "results/figure", "results/images", "results/raw"]):
        os.utime(root / path, (1_000_000 + age, 1_000_000 + age))
    judged(root, remove=True)
    times = {name: (root / "results" / name).stat().st_mtime_ns for name, _ in CHAIN}
    code = (root / "src" / "synthmed" / "step.py").stat().st_mtime_ns
    for name, inputs in CHAIN:
        assert times[name] >= code
        assert times[name] >= (root / "results" / "settings" / f"{name}.json").stat().st_mtime_ns
        for source in inputs:
            assert times[name] >= times[source]


def test_somebody_elses_artefact_gets_the_time_of_now_or_is_told(root, monkeypatch, caplog):
    os.utime(root / "results/images", (1_000_000, 1_000_000))
    os.utime(root / "results/table", (1_000_000, 1_000_000))
    utime = os.utime

    def refused(path, times=None, *, ns=None):
        if path.name == "table" or ns is not None:
            raise PermissionError(1, "Operation not permitted", str(path))
        utime(path, times)

    monkeypatch.setattr(os, "utime", refused)
    judged(root, remove=True)
    assert (root / "results/images").stat().st_mtime > 1_000_000
    assert "results/table: its time stays, it is somebody else's" in caplog.text


def test_a_missing_intermediate_is_no_change_while_its_record_is_gone_too(root):
    (root / "results" / "raw").unlink()
    (root / "results" / f"raw{SUFFIX}").unlink()
    assert names(judged(root)) == set()


def test_what_would_be_made_from_other_files_now_is_stale_with_what_follows(root):
    settings = "results/settings/images.json"
    assert names(judged(root, chosen={"results/images": ["results/raw", settings]})) == set()
    settled = judged(root, chosen={"results/images": ["results/another", settings]})
    assert names(settled) == {"images", "table", "figure"}
    reason = "the settings choose other inputs for it now (results/another, results/raw)"
    assert settled.stale["results/images"] == reason


def test_an_artefact_made_from_itself_is_told(root):
    results = root / "results"
    inputs = [results / "settings" / "raw.json", results / "table"]
    record([results / "raw"], step="raw", made_from=made_from(inputs, [], root), settings={})
    with pytest.raises(InputError, match="made from itself"):
        judged(root)


def test_code_of_follows_imports_and_leaves_plumbing_out():
    found = {path.relative_to(provenance.PACKAGE).as_posix() for path in code_of("synthmed.prepare.images")}
    assert "prepare/images.py" in found
    assert "data/imageset.py" in found
    assert not {"files.py", "errors.py", "settings.py", "provenance.py", "data/sources/__init__.py"} & found
    # Sources are loaded by name: the caller adds the one that is used.
    assert "data/sources/folder.py" not in found


def test_a_module_without_file_is_named():
    with pytest.raises(InputError, match=r"synthmed\.nothing"):
        source_file("synthmed.nothing")


def test_what_changes_while_a_step_runs_makes_its_result_stale(root):
    results = root / "results"
    before = made_from([results / "settings" / "table.json", results / "images"], [], root)
    (results / "settings" / "table.json").write_text('{"of": "another table"}')
    record([results / "table"], step="table", made_from=before, settings={"of": "table"})
    assert names(judged(root)) == {"table"}


def test_an_interrupted_removal_leaves_no_result_without_its_cause(root, monkeypatch):
    (root / "results" / "settings" / "raw.json").write_text('{"of": "something else"}')
    assert names(judged(root)) == {"raw", "images", "table", "figure"}
    removed, unlink = [], type(root).unlink

    def interrupted(path, missing_ok=False):
        if len(removed) == 3:
            raise KeyboardInterrupt
        removed.append(path.name)
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(type(root), "unlink", interrupted)
        with pytest.raises(KeyboardInterrupt):
            judged(root, remove=True)
    left = {path.name.removesuffix(SUFFIX) for path in (root / "results").glob(f"*{SUFFIX}")}
    assert left == {"raw", "images"} | ({"table", "figure"} & left)
    assert names(judged(root)) == left
    judged(root, remove=True)
    assert not list((root / "results").glob(f"*{SUFFIX}"))
