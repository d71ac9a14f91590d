"""The command line as people and Snakemake use it: what it prints, what it writes, and its exit status."""

import csv
import errno
import json
import logging
import os
import re
import signal
import subprocess
import sys
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from synthmed import __version__
from synthmed.cli import main
from synthmed.core import provenance
from synthmed.core.files import hash_file, read_json
from synthmed.data import split as split_module
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.prepare import exclusions
from synthmed.steps import STEPS
from synthmed.training import distributed

SPLIT = {
    "by": "patient",
    "validation": 0.25,
    "test": 0.25,
    "seed": 1,
    "near_duplicate_bits": 0,
    "near_duplicate_correlation": 1.0,
    "on_near_duplicates": "report",
    "most": None,
    "of_each_patient": None,
}
PARTS = ("train", "validation", "test", "report")


@pytest.fixture(autouse=True)
def as_before():
    """main() sets up logging and signals for a process of its own; put back what the tests had."""
    root = logging.getLogger()
    handlers, level, on_term = root.handlers[:], root.level, signal.getsignal(signal.SIGTERM)
    yield
    for handler in set(root.handlers) - set(handlers):
        handler.close()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(False)
    signal.signal(signal.SIGTERM, on_term)


def run(*arguments: object) -> int:
    """Exit status of the command line; a step that ends well returns without one."""
    logging.getLogger().handlers.clear()  # pytest's own, which a process of its own does not have
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return stop.code or 0
    return 0


@pytest.fixture
def images(tmp_path):
    """An image set of 16 patients and 2 classes, 16 × 16 pixels, a ramp with noise."""
    ramp = np.add.outer(6 * np.arange(16), 6 * np.arange(16))
    rng = np.random.default_rng(0)
    path = tmp_path / "images.zip"
    write_image_set(
        path,
        (
            (
                {"image": f"{number:02d}.png", "label": ("normal", "abnormal")[number % 2], "patient": f"p{number}"},
                (ramp + rng.integers(0, 60, (16, 16))).astype(np.uint8),
            )
            for number in range(16)
        ),
    )
    return path


@pytest.fixture
def broken(tmp_path, images):
    """The same with one image cut off, one missing, one of another size, and one that the manifest does not know."""
    path = tmp_path / "broken.zip"
    with zipfile.ZipFile(images) as whole, zipfile.ZipFile(path, "w") as archive:
        for name in whole.namelist():
            content = whole.read(name)
            if name == "images/03.png":
                continue
            archive.writestr(name, content[: len(content) // 2] if name == "images/02.png" else content)
        archive.writestr("images/stranger.png", whole.read("images/00.png"))
    return path


def split_command(folder, images, settings):
    (folder / "split.json").write_text(settings if isinstance(settings, str) else json.dumps(settings))
    outputs = {name: folder / "out" / f"{name}.{'json' if name == 'report' else 'zip'}" for name in PARTS}
    options = [text for name, path in outputs.items() for text in (f"--{name}", path)]
    return ["split", "--settings", folder / "split.json", "--images", images, *options], outputs


# ------------------------------------------------------------------------------------------------- verbs for people
def test_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out == f"synthmed {__version__}\n"


def test_help_names_every_verb(capsys):
    assert run("--help") == 0
    text = capsys.readouterr().out
    for verb in (*STEPS, "images", "describe", "doctor", "settle"):
        assert f"    {verb} " in text or f"    {verb}\n" in text


def test_describe_prints_layers_with_shapes_and_parameter_counts(capsys):
    assert run("describe", "dcgan", "--size", 16, 16) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "1 × 16 × 16" in lines[0]
    # The projection of 100 numbers of noise to 256 maps of 4 × 4 pixels, without a bias.
    (project,) = [line.split() for line in lines if line.split()[:1] == ["project"]]
    assert project[1:] == ["Linear", "4096", "409,600", "0"]
    assert [line.split()[0] for line in lines if line.strip().startswith("total")] == ["total", "total"]


def test_describe_reads_the_settings_of_a_training(tmp_path, capsys):
    config = {"latent_size": 8, "generator_channels": [8, 4], "discriminator_channels": [4, 8], "kernel_size": 4}
    config |= {"learning_rate": 0.1, "beta1": 0.5, "dropout": 0.0, "ema_decay": 0.0}
    (tmp_path / "train.json").write_text(json.dumps({"config": config}))
    assert run("describe", "dcgan", "--settings", tmp_path / "train.json", "--size", 16, 16) == 0
    (project,) = [line.split() for line in capsys.readouterr().out.splitlines() if line.split()[:1] == ["project"]]
    assert project[1:] == ["Linear", "128", "1,024", "0"]


def test_describe_refuses_what_it_cannot_describe(tmp_path, capsys):
    assert run("describe", "dcgann") == 2
    assert "'cyclegan', 'dcgan', 'edm'" in capsys.readouterr().err
    assert run("describe", "dcgan", "--size", 50, 50) == 2
    assert "not 50×50" in capsys.readouterr().err


def test_describe_refuses_settings_of_another_step(tmp_path, capsys):
    (tmp_path / "split.json").write_text(json.dumps(SPLIT))
    assert run("describe", "dcgan", "--settings", tmp_path / "split.json") == 2
    error = capsys.readouterr().err
    assert "split.json" in error
    assert "config" in error


def test_images_show_draws_a_contact_sheet_beside_the_set(images, capsys):
    assert run("images", "show", images, "--count", 6, "--columns", 3) == 0
    sheet = images.with_suffix(".png")
    assert capsys.readouterr().out == f"{sheet}\n"
    with Image.open(sheet) as picture:
        assert picture.width > picture.height > 0


def test_images_show_refuses_a_broken_set(broken, capsys):
    assert run("images", "show", broken) == 2
    assert "broken.zip" in capsys.readouterr().err
    assert not broken.with_suffix(".png").exists()


def test_images_check_finds_nothing_wrong_with_a_good_set(images, capsys):
    assert run("images", "check", images) == 0
    assert capsys.readouterr().out == f"{images}: nothing is wrong with it\n"


def test_images_check_lists_everything_that_is_wrong(broken, capsys):
    assert run("images", "check", broken) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    for name in ("images/02.png", "images/03.png", "images/stranger.png"):
        assert sum(line.startswith(f"{name}: ") for line in lines) == 1


def test_images_check_of_a_file_that_is_none(tmp_path, capsys):
    assert run("images", "check", tmp_path / "nothing.zip") == 1
    assert "no such file" in capsys.readouterr().out


def test_doctor_prints_a_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("synthmed.commands.doctor.findings", lambda folder: [])
    assert run("doctor", "--folder", tmp_path) == 0
    assert capsys.readouterr().out.startswith("Python 3.")


# ------------------------------------------------------------------------------------------------------------- steps
@pytest.fixture
def done(tmp_path, images, monkeypatch):
    """A split, run through the command line."""
    monkeypatch.chdir(tmp_path)
    command, outputs = split_command(tmp_path, images, SPLIT)
    assert run(*command) == 0
    return outputs


def test_a_step_writes_its_outputs_and_what_they_were_made_from(tmp_path, images, done):
    sizes = [len(ImageSet(done[name])) for name in ("train", "validation", "test")]
    assert sum(sizes) == 16
    assert min(sizes) == 4
    for path in done.values():
        record = read_json(f"{path}{provenance.SUFFIX}")
        assert record["step"] == "split"
        assert record["settings"] == SPLIT
        assert record["sha256"] == hash_file(path)
        assert record["inputs"] == {"split.json": hash_file(tmp_path / "split.json"), "images.zip": hash_file(images)}
        assert record["code"]["synthmed/data/split.py"] == hash_file(split_module.__file__)
        assert "synthmed/cli.py" not in record["code"]
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        name for path in done.values() for name in (path.name, path.name + provenance.SUFFIX)
    }


def test_a_step_logs_to_the_terminal_and_to_its_file(tmp_path, images, capsys):
    command, _ = split_command(tmp_path, images, SPLIT)
    assert run(*command, "--log", tmp_path / "logs" / "split.log") == 0
    written = (tmp_path / "logs" / "split.log").read_text()
    assert read_json(tmp_path / "logs" / "split.cost.json")["seconds"] >= 0, "what it took, beside its log"
    assert " split: " in written
    assert written == capsys.readouterr().err


def test_a_step_run_twice_writes_the_same_bytes(tmp_path, images, done):
    before = {path: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    command, _ = split_command(tmp_path, images, SPLIT)
    assert run(*command) == 0
    assert {path: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_settle_keeps_what_is_current(tmp_path, done, capsys):
    assert run("settle", tmp_path / "out") == 0
    assert capsys.readouterr().out.splitlines() == ["4 artefacts are current, 0 were stale"]
    assert run("settle", "--check", tmp_path / "out") == 0


def test_settle_check_tells_what_is_stale_and_removes_nothing(tmp_path, done, capsys):
    (tmp_path / "split.json").write_text(json.dumps({**SPLIT, "seed": 2}))
    assert run("settle", "--check", tmp_path / "out") == 1
    output = "".join(capsys.readouterr())
    assert "4 artefacts are stale" in output
    assert "its input split.json changed" in output
    assert all(path.exists() for path in done.values())


def test_settle_removes_what_is_stale(tmp_path, done, capsys):
    (tmp_path / "split.json").write_text(json.dumps({**SPLIT, "seed": 2}))
    assert run("settle", tmp_path / "out") == 0
    assert "removed out/train.zip: its input split.json changed" in capsys.readouterr().out
    assert list((tmp_path / "out").iterdir()) == []


def test_workers_are_told_beside_the_settings_and_change_no_record(tmp_path, images):
    (tmp_path / "prepare.json").write_text(
        json.dumps(
            {
                "source": "image_set",
                "labels": {"normal": "normal", "abnormal": "abnormal"},
                "size": [8, 8],
                "channels": 1,
            }
            | {"crop_black_borders": False, "resample": "box", "masks": None, "min_size": 8, "max_rejects": 0.0}
            | {"prefix": "", "synthetic": None}
        )
    )
    records = []
    for workers in (1, 3):
        files = ("--raw", images, "--images", tmp_path / "out.zip", "--rejects", tmp_path / "rejects.csv")
        assert run("prepare", "--settings", tmp_path / "prepare.json", *files, "--workers", workers) == 0
        records.append((tmp_path / "out.zip.provenance.json").read_bytes())
    assert records[0] == records[1]
    assert run("prepare", "--settings", tmp_path / "prepare.json", *files) == 2


def test_settle_leaves_alone_what_is_not_named(tmp_path, images, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings").mkdir()
    command, outputs = split_command(tmp_path / "settings", images, SPLIT)
    assert run(*command) == 0
    (tmp_path / "settings" / "split.json").write_text(json.dumps({**SPLIT, "seed": 2}))
    (tmp_path / "named.json").write_text('{"settings": {}, "inputs": {}}')
    assert run("settle", "settings", "--named", "named.json") == 0
    assert "4 artefacts are of nothing that is named now; they were left alone" in capsys.readouterr().out
    assert all(path.exists() for path in outputs.values())
    (tmp_path / "named.json").write_text('{"settings": {"settings/split.json": "split"}, "inputs": {}}')
    assert run("settle", "settings", "--named", "named.json") == 0
    assert not any(path.exists() for path in outputs.values())


def test_settle_check_refuses_a_folder_that_is_not_there(tmp_path, capsys):
    assert run("settle", tmp_path / "reslts") == 0  # a fresh clone has no results yet
    assert run("settle", "--check", tmp_path / "reslts") == 2
    assert "reslts" in capsys.readouterr().err


# --------------------------------------------------------------------------------------------------- unusable input
def refused(capsys, *command: object) -> str:
    """Run a command that must be refused: exit status 2 and, after its log, one line on stderr, which is returned."""
    assert run(*command) == 2
    *log, line = capsys.readouterr().err.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d split: ", entry) for entry in [*log, line]), "a traceback?"
    return line


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({**SPLIT, "sed": 1}, r"unknown setting .*split\.json\.sed; did you mean 'seed'\?"),
        ({key: value for key, value in SPLIT.items() if key != "seed"}, r"setting .*split\.json\.seed is missing"),
        ({**SPLIT, "seed": "1"}, r"split\.json\.seed is '1'; it must be of type int"),
        ({**SPLIT, "by": "hospital"}, r"split\.json\.by is 'hospital'; choose one of \['patient', 'column'\]"),
        ([SPLIT], r"split\.json must be a mapping"),
        ("{", r"split\.json: not valid JSON"),
    ],
)
def test_unusable_settings_are_named(tmp_path, images, capsys, settings, said):
    command, outputs = split_command(tmp_path, images, settings)
    assert re.search(said, refused(capsys, *command))
    assert not any(path.exists() for path in outputs.values())


def test_a_missing_settings_file_is_named(tmp_path, images, capsys):
    command, _ = split_command(tmp_path, images, SPLIT)
    (tmp_path / "split.json").unlink()
    assert "split.json: no such file" in refused(capsys, *command)


def test_a_missing_input_is_named(tmp_path, capsys):
    command, _ = split_command(tmp_path, tmp_path / "nothing.zip", SPLIT)
    assert "nothing.zip: no such file" in refused(capsys, *command)


def test_processes_are_started_for_the_device_of_the_training(tmp_path, monkeypatch):
    started = []
    training = SimpleNamespace(processes=2, device="cuda")

    def exclude(settings: object, **files: object) -> None:
        pass

    monkeypatch.setattr(exclusions, "exclude", exclude)
    monkeypatch.setattr(provenance, "record", lambda *_, **__: None)
    monkeypatch.setattr("synthmed.core.settings.parse", lambda *_, **__: SimpleNamespace(training=training))
    monkeypatch.setattr(distributed, "launched", lambda: False)
    monkeypatch.setattr(distributed, "launch", lambda argv, *processes: started.append(processes))
    (tmp_path / "exclude.json").write_text("{}")
    (tmp_path / "images.zip").write_bytes(b"")
    files = ["--settings", tmp_path / "exclude.json", "--images", tmp_path / "images.zip"]
    outputs = ["--selected", tmp_path / "selected.zip", "--report", tmp_path / "report.json"]
    assert run("exclude", *files, "--device-report", "--device-likelihoods", *outputs) == 0
    assert started == [(2, "cuda")]


def test_an_option_with_nothing_after_it_leaves_the_file_out(tmp_path, monkeypatch):
    """As rules write it where an input is []."""
    given = {}

    def excluded(settings: exclusions.ExcludeSettings, **files: object) -> None:
        given.update(files)

    monkeypatch.setattr(exclusions, "exclude", excluded)
    monkeypatch.setattr(provenance, "record", lambda *_, **__: None)
    monkeypatch.setattr("synthmed.core.settings.parse", lambda *_, **__: None)
    (tmp_path / "exclude.json").write_text("{}")
    (tmp_path / "images.zip").write_bytes(b"")
    files = ["--settings", tmp_path / "exclude.json", "--images", tmp_path / "images.zip"]
    outputs = ["--selected", tmp_path / "selected.zip", "--report", tmp_path / "report.json"]
    assert run("exclude", *files, "--device-report", "--device-likelihoods", *outputs) == 0
    assert given["device_report"] is None
    assert given["images"] == tmp_path / "images.zip"


def test_an_unreadable_input_is_named(tmp_path, broken, capsys):
    command, outputs = split_command(tmp_path, broken, SPLIT)
    assert "broken.zip" in refused(capsys, *command)
    assert not any(path.exists() for path in outputs.values())


def test_a_full_disk_is_named(small_disk, images, tmp_path, capsys):
    command, outputs = split_command(tmp_path, images, SPLIT)
    (small_disk / "filler").write_bytes(bytes(128 * 1024))
    command = [small_disk / "train.zip" if part == outputs["train"] else part for part in command]
    assert "no space left on the disk" in refused(capsys, *command)
    assert [path.name for path in small_disk.iterdir()] == ["filler"]


def test_a_missing_option_and_an_unknown_verb_are_refused(capsys):
    assert run("split") == 2
    assert "--settings" in capsys.readouterr().err
    assert run("spilt") == 2
    assert "invalid choice: 'spilt'" in capsys.readouterr().err


def test_a_log_that_cannot_be_written_is_named(tmp_path, images, capsys):
    command, outputs = split_command(tmp_path, images, SPLIT)
    (tmp_path / "split.log").mkdir()
    assert run(*command, "--log", tmp_path / "split.log") == 2
    assert re.fullmatch(r"synthmed: .*split\.log: a folder, where a file belongs.*\n", capsys.readouterr().err)
    assert not any(path.exists() for path in outputs.values())


def test_a_log_on_a_full_disk_is_said_once_and_the_step_goes_on(tmp_path, images, capsys):
    command, outputs = split_command(tmp_path, images, SPLIT)
    assert run(*command, "--log", "/dev/full") == 0
    error = capsys.readouterr().err
    assert error.count("/dev/full: no space left on the disk") == 1
    assert "Traceback" not in error
    assert all(path.exists() for path in outputs.values())


def failing(monkeypatch, error):
    """The step split fails with `error`, as nobody has foreseen."""

    def broken_step(settings: split_module.SplitSettings, **files: object) -> None:
        raise error

    monkeypatch.setattr(split_module, "split", broken_step)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (PermissionError(errno.EACCES, "Permission denied", "films/1.png"), "films/1.png: no permission"),
        (OSError(errno.ENXIO, "No such device", "films/1.png"), "films/1.png: No such device"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), r"one of .*split\.json.* not UTF-8 text"),
        (UnicodeEncodeError("utf-8", "\udcfc", 0, 1, "surrogates not allowed"), "a name that is not UTF-8; rename it"),
        (csv.Error("line contains NUL"), "not readable as a table"),
        (MemoryError("640 GiB"), r"not enough memory \(640 GiB\)"),
    ],
)
def test_the_last_net_has_a_sentence_for_what_no_step_foresaw(tmp_path, images, monkeypatch, capsys, error, said):
    failing(monkeypatch, error)
    assert re.search(said, refused(capsys, *split_command(tmp_path, images, SPLIT)[0]))


def test_a_fault_of_the_program_shows_its_traceback_and_asks_for_a_report(tmp_path, images, monkeypatch, capsys):
    failing(monkeypatch, KeyError("validation"))
    command, _ = split_command(tmp_path, images, SPLIT)
    assert run(*command, "--log", tmp_path / "split.log") == 1
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert "KeyError: 'validation'\nThis is a fault of synthmed, not of your input: please report it" in error
    assert error == (tmp_path / "split.log").read_text()


def test_a_closed_pipe_is_no_fault(tmp_path, images):
    command = f"{sys.executable} -c 'from synthmed.cli import main; main([\"--help\"])'"
    done = subprocess.run(["bash", "-c", f"set -o pipefail; {command} | true"], capture_output=True, text=True)
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr


# ------------------------------------------------------------------------------------------------------- interrupted
def test_an_interrupted_step_says_so_and_ends_with_130(tmp_path, images, monkeypatch, capsys):
    def interrupted(settings: split_module.SplitSettings, **files: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(split_module, "split", interrupted)
    command, outputs = split_command(tmp_path, images, SPLIT)
    assert run(*command) == 130
    error = capsys.readouterr().err
    assert "run the same command again" in error
    assert "Traceback" not in error
    assert not any(path.exists() for path in outputs.values())


PHANTOMS = {"normal": 2000, "abnormal": 2000, "seed": 1, "difficulty": 0.3, "image_size": 256, "device_share": 0.1}
PHANTOMS |= {"text_share": 0.1, "black_border_share": 0.1, "palette_share": 0.1}


@pytest.mark.parametrize(
    ("number", "deaf_to_ctrl_c"),
    [(signal.SIGINT, False), (signal.SIGTERM, False), (signal.SIGTERM, True)],
    ids=["Ctrl-C", "SIGTERM", "SIGTERM in the background"],
)
def test_a_stopped_process_leaves_nothing_behind(tmp_path, number, deaf_to_ctrl_c):
    """Stopped by Ctrl-C, or by SIGTERM as a cluster does it; also when a script started it with `&`, in which case the
    shell makes it deaf to Ctrl-C."""
    settings = {"source": "montgomery_shenzhen", "provider": "phantom", "options": PHANTOMS}
    (tmp_path / "fetch.json").write_text(json.dumps(settings))
    raw = [tmp_path / "raw" / name for name in ("NLM-MontgomeryCXRSet.zip", "ChinaSet_AllFiles.zip")]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "synthmed",
            "fetch",
            "--settings",
            str(tmp_path / "fetch.json"),
            "--raw",
            *map(str, raw),
        ],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN if deaf_to_ctrl_c else signal.SIG_DFL),
    )
    try:
        # Not earlier: while a compiled module is imported, Python may lose the interruption.
        lines = [process.stderr.readline() for _ in range(2)]
        assert "200 of 4000 phantom films drawn" in lines[1], lines + process.stderr.readlines()
        assert list(tmp_path.rglob("*.part.zip"))
        process.send_signal(number)
        _, rest = process.communicate(timeout=30)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "fetch.json"]
