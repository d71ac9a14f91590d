"""The Slurm profile as it stands, with real jobs on a throw-away Slurm of one node (../shared/tools)."""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
import yaml
from checkout import ROOT, Checkout, new_checkout

TOOLS = ROOT.parent / "shared" / "tools"
GENERATOR = "results/tuberculosis/generators/dcgan"

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("cluster")]


@pytest.fixture
def slurm():
    """A Slurm with the partitions cpu and gpu, whose node pretends to have two GPUs and 64 GB. Yields its variables."""
    if not TOOLS.is_dir():
        pytest.skip(f"no tools to start a Slurm in {TOOLS}")
    if os.geteuid() != 0:
        pytest.skip("needs root to start a Slurm")
    if os.path.lexists("/etc/slurm/slurm.conf"):
        pytest.skip("this machine has a Slurm already (/etc/slurm/slurm.conf)")
    state = Path(tempfile.mkdtemp(prefix="synthmed-slurm-"))
    state.chmod(0o755)  # munge wants a folder that everybody may enter, which those of pytest are not
    installed = shutil.which("slurmctld", path=f"{os.environ['PATH']}:/usr/sbin")
    try:
        command = [TOOLS / "slurm_up.sh", state]
        up = subprocess.run(command, env={**os.environ, "MEM_MB": "64000"}, capture_output=True, text=True, check=False)
        if up.returncode and not installed:
            pytest.skip(f"Slurm could not be installed: {up.stderr.strip()[-500:]}")
        assert up.returncode == 0, up.stdout + up.stderr
        variables = {"SLURM_CONF": str(state / "slurm.conf")}
        # The profile asks for the hours of the paper scale.
        for partition in ("cpu", "gpu"):
            change = ["scontrol", "update", f"PartitionName={partition}", "MaxTime=UNLIMITED"]
            subprocess.run(change, env={**os.environ, **variables}, check=True)
        yield variables
    finally:
        subprocess.run([TOOLS / "slurm_down.sh", state], check=True)


def jobs(checkout: Checkout) -> list[list[str]]:
    """Of every job: rule with wildcards, partition, GPUs, state."""
    listing = checkout.run(
        "squeue", "--all", "--states=all", "--noheader", "--Format=Comment:90,Partition,tres-per-job,State"
    )
    return [line.split() for line in listing.stdout.splitlines()]


def test_jobs_run_on_the_cluster_and_a_cancelled_training_goes_on(slurm, tmp_path):
    checkout = new_checkout(tmp_path / "project", forked=False)
    checkout.environment.update(slurm)
    training = {"trainings__normal__steps": 1000, "training__save_every": 20, "training__log_every": 20}
    checkout.edit_params(**{f"experiments__tuberculosis__generators__dcgan__{name}": v for name, v in training.items()})
    checkout.snakemake("results/tuberculosis/images/train.zip")

    targets = [f"{GENERATOR}/normal.pt", "data/tuberculosis_xrays/pool/NLM-MontgomeryCXRSet.zip"]
    command = ["snakemake", "--workflow-profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "2"]
    command += targets
    log = checkout.path / "logs/tuberculosis/train.dcgan.normal.log"
    with (
        open(tmp_path / "snakemake.log", "w") as out,
        subprocess.Popen(command, cwd=checkout.path, env=checkout.environment, stdout=out, stderr=out) as snakemake,
        subprocess.Popen(
            ["tail", "-F", "-n", "+1", f"--pid={snakemake.pid}", log],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as lines,
    ):
        try:
            assert any("saved the resume state" in line for line in lines.stdout), "the training never began"
            checkout.run("scancel", "--partition=gpu", "--state=RUNNING")
            assert snakemake.wait() == 0, (tmp_path / "snakemake.log").read_text()
        finally:
            snakemake.kill()
            lines.kill()

    assert sorted(jobs(checkout)) == [
        ["rule_fetch_tuberculosis_xrays_pool", "cpu", "N/A", "COMPLETED"],
        ["rule_train_wildcards_tuberculosis_dcgan_normal", "gpu", "gres:gpu:1", "CANCELLED"],
        ["rule_train_wildcards_tuberculosis_dcgan_normal", "gpu", "gres:gpu:1", "COMPLETED"],
    ]
    assert f"continuing {GENERATOR}/normal.resume.pt after step" in log.read_text()
    assert not (checkout.path / GENERATOR / "normal.resume.pt").exists()
    checkout.run("synthmed", "settle", "--check", "results")
    assert checkout.planned("--", *targets) == set()


def test_rules_that_ask_for_a_gpu_are_sent_to_the_partition_that_has_them(tmp_path):
    """Of all experiments; a dry run, which needs no Slurm."""
    checkout = new_checkout(tmp_path / "project", forked=False)
    shutil.copy(ROOT / "params.yaml", checkout.path)
    planned = checkout.snakemake("-n", "--workflow-profile", "profiles/slurm")
    rules = re.findall(r"^(?:local)?rule (\w+):\n(?:    .*\n)*?    resources: (.*)", planned.stdout, flags=re.MULTILINE)
    assert len(rules) > 30
    for rule, resources in rules:
        assert ("gpu=1" in resources) == ("slurm_partition=gpu" in resources), f"{rule} in profiles/slurm: {resources}"


def test_what_comes_by_the_internet_is_fetched_by_the_machine_that_submits(tmp_path):
    """As Snakemake itself counts its rules; a dry run does not tell."""
    checkout = new_checkout(tmp_path / "project", overlay=None)
    with open(checkout.path / "Snakefile", "a", encoding="utf-8") as snakefile:
        snakefile.write('print("BY THE SUBMITTER", *sorted(workflow._localrules))\n')
    planned = checkout.snakemake(
        "-n", "--quiet", "all", "--configfile", "workflow/scales/paper.yaml", "--", "data_montgomery_shenzhen"
    )
    (local,) = {line for line in (planned.stdout + planned.stderr).splitlines() if line.startswith("BY THE SUBMITTER")}
    fetched = {name for name in local.split() if name.startswith("fetch_")}
    assert {"fetch_weights", "fetch_montgomery_shenzhen_raw", "fetch_vindr_cxr_raw"} <= fetched
    assert "fetch_tuberculosis_xrays_raw" not in fetched, "phantoms are drawn by any node"


def test_the_profile_names_the_rules_that_ask_for_a_gpu_and_no_others():
    """Also those that the default settings have no job for."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("workflow/rules/*.smk")))
    rules = re.findall(r"^rule (\w+):\n(.*(?:\n(?: .*)?)*)", text, flags=re.MULTILINE)
    asking = {name for name, body in rules if re.search(r"^ +gpu=", body, flags=re.MULTILINE)}
    used_again = re.findall(r"^use rule (\w+) as (\w+) with:", text, flags=re.MULTILINE)
    asking |= {name for other, name in used_again if other in asking}
    assert len(asking) > 30
    profile = yaml.safe_load((ROOT / "profiles/slurm/config.yaml").read_text(encoding="utf-8"))
    assert set(profile["set-resources"]) == asking
