"""A step that another process does: the same work, the same end, and nothing that is left over."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from synthmed.core import forkserver

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="a fork server needs Linux")

STEP = "import sys; from synthmed.core import forkserver; sys.path.insert(0, {path!r}); {before}; {call}"
CALL = "sys.exit(str(said) if (said := forkserver.hand_over(sys.argv[1:])) is None else said)"
TELL = """
import json, os, sys
found = {"folder": os.getcwd(), "argv": sys.argv, "environment": dict(os.environ), "input": sys.stdin.read()}
print("of the step", file=sys.stderr)
print(json.dumps(found))
"""
WAIT = """
import os, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print(os.getpid(), os.getppid(), flush=True)
while True:
    signal.pause()
"""


@pytest.fixture(scope="module")
def server():
    with forkserver.started(preloaded=()) as environment:
        yield environment


@pytest.fixture
def step(tmp_path):
    """Start a step whose package `synthmed` is what is given, in a folder of its own."""
    package = tmp_path / "package" / "synthmed"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")

    def start(code, server, *arguments, before="0", **given):
        (package / "__main__.py").write_text(code)
        return subprocess.Popen(
            [sys.executable, "-c", STEP.format(path=str(package.parent), before=before, call=CALL), *arguments],
            cwd=tmp_path,
            env=os.environ | server | {"SAID": "here"},
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | given,
        )

    return start


def test_the_twin_has_the_steps_folder_arguments_environment_and_files(server, step, tmp_path):
    done = step(TELL, server, "train", "--steps", "3", stdin=subprocess.PIPE)
    out, err = done.communicate("typed")
    found = json.loads(out)
    assert (found["folder"], found["argv"][1:]) == (str(tmp_path), ["train", "--steps", "3"])
    assert (found["input"], err) == ("typed", "of the step\n")
    assert found["environment"]["SAID"] == "here"
    assert forkserver.VARIABLE not in found["environment"], "what it starts itself is no twin"
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("import sys; sys.exit(0)", 0, ""),
        ("import sys; sys.exit(130)", 130, ""),
        ("print(1 / 0)", 1, "ZeroDivisionError"),
        ("import os; os.kill(os.getpid(), 9)", 137, ""),
        ("import atexit; atexit.register(print, 'last'); print('first')", 0, "first\nlast\n"),
    ],
)
def test_the_step_ends_as_its_twin_did(server, step, code, status, said):
    done = step(code, server, stderr=subprocess.STDOUT)
    out, _ = done.communicate()
    assert (done.returncode, said in out) == (status, True), out


def test_an_edit_between_two_steps_counts(server, step):
    assert step("print('before')", server).communicate()[0] == "before\n"
    assert step("print('afterwards')", server).communicate()[0] == "afterwards\n"


def test_libraries_of_the_server_compute_with_the_threads_of_the_step(step, tmp_path):
    """As without a server, where they read the variable when they are loaded."""
    (tmp_path / "torch.py").write_text("found = []\nset_num_threads = found.append\n")
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    path = f"{tmp_path}{os.pathsep}{environment.get('PYTHONPATH', '')}"
    code = "import threadpoolctl as t, torch; print({i['num_threads'] for i in t.threadpool_info()}, torch.found)"
    with forkserver.started(environment | {"PYTHONPATH": path}, preloaded=("numpy", "torch")) as own:
        assert step(code, own | {"OMP_NUM_THREADS": "1"}).communicate()[0] == "{1} [1]\n"


def test_a_signal_reaches_the_twin(server, step):
    with step(WAIT, server) as waiting:
        assert waiting.stdout.readline()
        waiting.terminate()
        assert waiting.wait() == 7


def test_with_the_step_its_twin_is_killed(server, step):
    with step(WAIT, server) as waiting:
        assert int(waiting.stdout.readline().split()[0]) != waiting.pid
        waiting.kill()
        assert waiting.stdout.read() == "", "ends only when the twin has ended, too"


def test_with_the_server_its_twins_are_killed(step):
    with forkserver.started(preloaded=()) as own, step(WAIT, own) as waiting:
        os.kill(int(waiting.stdout.readline().split()[1]), signal.SIGKILL)
        assert waiting.stdout.read() == ""
        assert waiting.wait() == 137
        done = step(TELL, own)
        assert re.search("None", done.communicate()[1]), "the next step is left to itself"


def test_a_server_ends_with_the_run_but_not_before_its_twins(step):
    with forkserver.started(preloaded=()) as own:
        waiting = step("print('begun', flush=True); input()", own, stdin=subprocess.PIPE)
        assert waiting.stdout.readline() == "begun\n"
        waiting.stdin.write("end\n")
        waiting.stdin.flush()
    assert waiting.wait() == 0
    for stream in (waiting.stdin, waiting.stdout, waiting.stderr):
        stream.close()


def test_without_a_server_for_it_a_step_is_left_to_itself(server, step, tmp_path):
    for environment, before in (
        ({}, "0"),
        ({forkserver.VARIABLE: str(tmp_path / "gone")}, "0"),
        (server, "sys.prefix = '/another/python'"),
    ):
        done = step(TELL, environment, before=before)
        out, err = done.communicate()
        assert (out, err) == ("", "None\n"), environment
