"""Runs that end in the middle: Snakemake killed with -9, and a disk that is full when a step has done its work."""

import contextlib
import json
import os
import signal
import subprocess

import pytest
from checkout import Checkout, new_checkout

from synthmed.core.errors import InputError
from synthmed.core.provenance import SUFFIX, made_from, record, settle

FOLDER = "results/tuberculosis/generators/dcgan"
NAMES = [f"normal.{suffix}" for suffix in ("pt", "history.csv", "samples.png", "states.zip")]


def made(checkout: Checkout) -> dict[str, bytes]:
    """The bytes of what the training made, and of its records."""
    folder = checkout.path / FOLDER
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("normal.")}


@pytest.mark.workflow
@pytest.mark.xdist_group("cluster")
def test_snakemake_killed_in_the_middle_of_a_training(tmp_path):
    """With -9; its training goes on alone, until that is killed, too. The same command then ends in the same bytes."""
    checkout = new_checkout(tmp_path / "project", forked=False)
    training = {"trainings__normal__steps": 600, "training__save_every": 20, "training__log_every": 20}
    checkout.edit_params(**{f"experiments__tuberculosis__generators__dcgan__{name}": v for name, v in training.items()})
    checkout.snakemake(f"{FOLDER}/normal.pt")
    undisturbed = made(checkout)
    assert undisturbed.keys() == {*NAMES, *(name + SUFFIX for name in NAMES)}
    for name in undisturbed:
        (checkout.path / FOLDER / name).unlink()

    command = ["snakemake", "--cores", "2", f"{FOLDER}/normal.pt"]
    with subprocess.Popen(
        command,
        cwd=checkout.path,
        env=checkout.environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as snakemake:
        try:
            assert any("saved the resume state of step 20" in line for line in snakemake.stderr), "it never began"
            snakemake.kill()
            assert any("saved the resume state" in line for line in snakemake.stderr), "it did not go on alone"
        finally:
            os.killpg(snakemake.pid, signal.SIGKILL)
    assert (checkout.path / FOLDER / "normal.resume.pt").exists()
    assert not (checkout.path / FOLDER / "normal.pt").exists()

    again = checkout.snakemake(f"{FOLDER}/normal.pt")
    assert f"continuing {FOLDER}/normal.resume.pt after step" in again.stderr
    assert made(checkout) == undisturbed
    checkout.run("synthmed", "settle", "--check", "results")


def test_a_disk_that_is_full_when_the_record_is_written(small_disk):
    """The old record stays whole and betrays that the artefact is another one; with some space the step is recorded."""
    results = small_disk / "results"
    (results / "settings").mkdir(parents=True)
    settings, table = results / "settings" / "table.json", results / "table.csv"
    settings.write_text("{}")
    table.write_text("old")

    def write_record():
        record([table], step="table", made_from=made_from([settings], [], small_disk), settings={})

    write_record()
    old = (results / f"table.csv{SUFFIX}").read_bytes()
    table.write_text("new")
    with contextlib.suppress(OSError), open(small_disk / "filler", "wb", buffering=0) as filler:
        while True:
            filler.write(bytes(4096))
    with pytest.raises(InputError, match=r"table\.csv\.provenance\.json: no space left on the disk; free some"):
        write_record()
    assert {path.name for path in results.iterdir()} == {"settings", "table.csv", f"table.csv{SUFFIX}"}
    assert (results / f"table.csv{SUFFIX}").read_bytes() == old
    found = settle([results], remove=False, root=small_disk)
    assert found.stale == {"results/table.csv": "its bytes are not the recorded ones"}

    (small_disk / "filler").unlink()
    write_record()
    assert json.loads((results / f"table.csv{SUFFIX}").read_text())["artefact"] == "table.csv"
    assert settle([results], remove=False, root=small_disk).stale == {}
