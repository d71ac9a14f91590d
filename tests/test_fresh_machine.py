"""A machine without .venv: which Python it gets, what it is told where there is none, and which Pythons are named."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SERVED = ["3.11", "3.12", "3.13"]


@pytest.fixture
def machine(tmp_path):
    """A folder with make_venv.sh, and one of programs, the only ones that it finds; `run` runs it."""

    class Machine:
        programs = tmp_path / "programs"

        def program(self, name, text):
            path = self.programs / name
            path.write_text(f"#!/bin/sh\n{text}\n")
            path.chmod(0o755)

        def python(self, name, version):
            """Says its version, and makes an environment whose Python is itself and that holds uv."""
            served = "exit 0" if version in SERVED else "exit 1"
            self.program(
                name,
                f'echo "{name} $*" >> log\ncase "$1" in\n-c) {served} ;;\n--version) echo "Python {version}" ;;\n'
                f'*) mkdir -p .venv/bin && cp "$0" .venv/bin/python && cp "$0" .venv/bin/uv ;;\nesac',
            )

        def run(self, **environment):
            return subprocess.run(
                ["sh", "envs/make_venv.sh"],
                cwd=tmp_path,
                env={"PATH": str(self.programs), **environment},
                capture_output=True,
                text=True,
                check=False,
            )

        def log(self):
            return (tmp_path / "log").read_text()

    (tmp_path / "programs").mkdir()
    (tmp_path / "envs").mkdir()
    shutil.copy(ROOT / "envs" / "make_venv.sh", tmp_path / "envs")
    for name in ("sh", "mkdir", "cp", "mktemp", "rm"):
        (tmp_path / "programs" / name).symlink_to(shutil.which(name))
    return Machine()


def test_the_machines_python_is_taken_where_it_serves(machine):
    machine.python("python3", "3.12")
    machine.python("python3.13", "3.13")
    assert machine.run().returncode == 0
    assert "python3 -m venv" in machine.log()
    assert "python3.13" not in machine.log()


def test_another_python_of_the_machine_is_taken_where_it_does_not(machine):
    machine.python("python3", "3.14")
    machine.python("python3.12", "3.12")
    assert machine.run().returncode == 0
    assert "python3.12 -m venv" in machine.log()
    machine.python("mine", "3.11")
    shutil.rmtree(machine.programs.parent / ".venv")
    assert machine.run(PYTHON="mine").returncode == 0
    assert "mine -m venv" in machine.log()


def test_uv_brings_a_python_where_the_machine_has_none(machine):
    machine.python("python3", "3.14")
    machine.program("uv", 'echo "uv $*" >> log\nmkdir -p .venv/bin && cp "$0" .venv/bin/uv')
    assert machine.run().returncode == 0
    assert "uv venv --clear --python >=3.11,<3.14 .venv" in machine.log()
    assert "uv pip install --python .venv/bin/python --require-hashes -r requirements-uv.lock" in machine.log()


def test_one_sentence_says_which_pythons_serve_where_none_can_be_had(machine):
    machine.python("python3", "3.15")
    machine.program("uv", "exit 2")
    done = machine.run()
    assert done.returncode == 1
    (sentence,) = done.stderr.splitlines()
    assert "runs with Python 3.11, 3.12 and 3.13" in sentence
    assert "here is Python 3.15" in sentence
    assert "make results PYTHON=/path/to/python3.13" in sentence


def test_every_place_names_the_same_pythons():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    script = (ROOT / "envs" / "make_venv.sh").read_text()
    assert "(3, 11) <= sys.version_info[:2] <= (3, 13)" in script
    assert re.search(r"--python '(.*?)'", script).group(1) == project["requires-python"]
    assert f"PYTHONS = {tuple(SERVED)}".replace("'", '"') in (ROOT / "envs" / "check_lock.py").read_text()
    assert "Python 3.11, 3.12 or 3.13" in (ROOT / "README.md").read_text()


def test_a_lock_that_does_not_serve_a_machine_is_named(tmp_path):
    stub = tmp_path / "uv"
    stub.write_text(
        '#!/bin/sh\ncase "$*" in *"3.12 --python-platform aarch64-apple"*) echo "no torch" >&2; exit 1;; esac'
    )
    stub.chmod(0o755)
    done = subprocess.run(
        [sys.executable, ROOT / "envs" / "check_lock.py"],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "Python 3.12, macOS 14, Apple silicon: does not resolve\nno torch" in done.stdout
    assert done.stdout.count(": resolves") == 8


def test_a_clone_has_the_page_of_the_results_and_git_ignores_what_will_be_made():
    def ignored(path):
        done = subprocess.run(["git", "check-ignore", "--no-index", "-q", path], cwd=ROOT, check=False)
        return done.returncode == 0

    assert ignored("results/tuberculosis/report.html")
    assert ignored("results/leaderboard.csv")
    assert ignored("results/.run.lock")
    assert not ignored("results/README.md")
    assert not ignored("metrics/tuberculosis.json")
    assert (ROOT / "results" / "README.md").exists()


def test_an_environment_without_cuda_is_the_locked_one_less_what_a_gpu_needs(tmp_path):
    done = subprocess.run(
        [sys.executable, "envs/without_cuda.py", "requirements.lock", str(tmp_path / "lock")],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    pinned = re.compile(r"^([a-z0-9._-]+)==(\S+)", re.MULTILINE)
    lock, rest = (dict(pinned.findall(path.read_text())) for path in (ROOT / "requirements.lock", tmp_path / "lock"))
    assert done.stdout.split() == [f"torch=={lock['torch']}", f"torchvision=={lock['torchvision']}"]
    left_out = set(lock) - set(rest)
    assert {"torch", "torchvision", "triton"} < left_out
    assert all(name in ("torch", "torchvision", "triton") or name.startswith(("nvidia-", "cuda-")) for name in left_out)
    assert all(rest[name] == lock[name] for name in rest)
    hashes = sum(line.startswith("    --hash") for line in (tmp_path / "lock").read_text().splitlines())
    assert hashes > len(rest), "each with its hashes"
