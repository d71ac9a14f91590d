"""Overhead of the pipeline: wall time of a whole run against the time spent inside its steps. The limit is 25 %.

    python benchmarks/pipeline_overhead.py RUN              # a folder in which snakemake has run everything
    python benchmarks/pipeline_overhead.py --run [--cores 2] [--overlay workflow/scales/x.yaml] [--keep RUN]

A run of W seconds on C cores has C · W core seconds. Those inside steps are the wall seconds of every step (column s of
its benchmark file) times the cores it holds. Overhead is all the rest, as a share of C · W:

- no step is running: Snakemake reads the workflow, hashes, schedules, writes;
- cores without a step: some step is running, but the steps that could keep the other cores busy wait for it.

Two readings are left out on purpose. Time inside steps includes the start of Python and the imports of every step;
--startup measures these one by one. And a finished folder tells the wall time from Snakemake's own clock, which starts
after its imports; with --run the clock is ours, outside.

Reads the newest log in RUN/.snakemake/log and the benchmark files it names; the log must be of a run that finished.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from common import ROOT, machine

LIMIT = 0.25
_FIELD = re.compile(r"^    (rule|benchmark|threads): (.+)$")


@dataclass(frozen=True)
class Job:
    """One finished step: verb, wall seconds, cores it held, and when it ended (seconds since 1970)."""

    verb: str
    seconds: float
    threads: int
    end: float


@dataclass(frozen=True)
class Run:
    """One finished run of Snakemake: wall seconds by its own clock, cores it was given, its steps."""

    wall: float
    cores: int
    jobs: list[Job]


def read_run(folder: Path) -> Run:
    """The newest run in `folder`. Ends the program with a message when there is none or it did not finish."""
    logs = sorted((folder / ".snakemake" / "log").glob("*.snakemake.log"))
    if not logs:
        raise SystemExit(f"{folder}: no log of Snakemake in .snakemake/log; give a folder in which it has run")
    text = logs[-1].read_text(encoding="utf-8")
    elapsed = re.search(r"^Elapsed time: (?:(\d+) days?, )?(\d+):(\d+):([\d.]+)$", text, re.MULTILINE)
    cores = re.search(r"^Provided cores: (\d+)", text, re.MULTILINE)
    if elapsed is None or cores is None or "(100%) done" not in text:
        raise SystemExit(f"{logs[-1]}: this run did not finish, or had nothing to do; run it again from the start")
    days, hours, minutes, seconds = elapsed.groups(default="0")
    wall = timedelta(days=int(days), hours=int(hours), minutes=int(minutes), seconds=float(seconds)).total_seconds()
    jobs = [_job(folder, block) for block in re.split(r"^\[", text, flags=re.MULTILINE) if "    benchmark: " in block]
    return Run(wall, int(cores[1]), jobs)


def _job(folder: Path, block: str) -> Job:
    fields = dict(match.groups() for line in block.splitlines() if (match := _FIELD.match(line)))
    verb = re.search(r"\bsynthmed ([a-z-]+)", block)
    path = folder / fields["benchmark"]
    header, values = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()[:2])
    row = dict(zip(header, values, strict=True))
    name = verb[1] if verb else "other"
    return Job(name, float(row["s"]), int(fields.get("threads", 1)), path.stat().st_mtime)


def covered(jobs: list[Job]) -> float:
    """Seconds in which at least one of the jobs was running: the union of their intervals."""
    total, until = 0.0, 0.0
    for start, end in sorted((job.end - job.seconds, job.end) for job in jobs):
        total += max(0.0, end - max(start, until))
        until = max(until, end)
    return total


def print_overhead(run: Run, wall: float, clock: str) -> None:
    """The table of one run; `wall` in seconds, by `clock` in words."""
    inside = sum(job.seconds * job.threads for job in run.jobs)
    whole = wall * run.cores
    overhead, none_running = 1 - inside / whole, 1 - covered(run.jobs) / wall
    print(f"{machine()}\n{len(run.jobs)} steps on {run.cores} cores; wall {wall:.1f} s by {clock}\n")
    print(f"  inside steps, summed      {inside:9.1f} s   of {whole:.1f} core seconds")
    print(f"  the same / cores          {inside / run.cores:9.1f} s   of {wall:.1f} s wall")
    verdict = "kept" if overhead <= LIMIT else "EXCEEDED"
    print(f"  overhead                  {overhead:9.1%}     limit {LIMIT:.0%}: {verdict}")
    print(f"    no step is running      {none_running:9.1%}")
    print(f"    cores without a step    {overhead - none_running:9.1%}")
    print("\n  seconds  steps  verb")
    for verb, count in Counter(job.verb for job in run.jobs).most_common():
        print(f"  {sum(job.seconds for job in run.jobs if job.verb == verb):7.1f}  {count:5d}  {verb}")


def print_startup(run: Run) -> None:
    """What the steps spend on starting: Python, and the imports of the module that holds the step."""
    total = 0.0
    print("\nStart of a step: Python and its imports, CPU seconds, measured now")
    for verb, count in sorted(Counter(job.verb for job in run.jobs).items()):
        command = [sys.executable, "-c", f"from synthmed.steps import STEPS; STEPS[{verb!r}].load()"]
        before = os.times()
        subprocess.run(command, check=True, env=_environment(ROOT))
        after = os.times()
        seconds = after.children_user + after.children_system - before.children_user - before.children_system
        total += seconds * count
        print(f"  {seconds:5.2f} s × {count:3d}  {verb}")
    inside = sum(job.seconds for job in run.jobs)
    print(f"  {total:5.1f} s in all, {total / inside:.1%} of the time inside steps")


def _environment(project: Path) -> dict[str, str]:
    binaries = Path(sys.executable).parent
    return {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "PYTHONPATH": str(project / "src")}


@contextmanager
def run_folder(keep: Path | None) -> Iterator[Path]:
    """The folder of a fresh run: `keep`, which must not exist yet, or a temporary one that is removed afterwards."""
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep
    else:
        with tempfile.TemporaryDirectory(prefix="synthmed-run-") as folder:
            yield Path(folder)


def fresh_run(folder: Path, cores: int, overlay: Path | None) -> float:
    """Run everything in `folder`; wall seconds of the whole command, from outside."""
    command = ["snakemake", "--snakefile", str(ROOT / "Snakefile"), "--directory", str(folder), "--cores", str(cores)]
    command += ["--configfile", str(overlay.resolve())] if overlay else []
    start = time.perf_counter()
    done = subprocess.run(command, env=_environment(ROOT), cwd=ROOT)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}; its messages stand above")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, nargs="?", metavar="RUN", help="folder of a finished run")
    parser.add_argument("--run", action="store_true", help="make a fresh run first")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="of the fresh run")
    parser.add_argument("--overlay", type=Path, help="of the fresh run: a file for snakemake --configfile")
    parser.add_argument("--keep", type=Path, metavar="RUN", help="make the fresh run in this new folder and leave it")
    parser.add_argument("--startup", action="store_true", help="also measure how long every step takes to start")
    arguments = parser.parse_args()
    if arguments.run == (arguments.folder is not None):
        parser.error("give either the folder of a finished run or --run")
    if arguments.run:
        with run_folder(arguments.keep) as folder:
            wall = fresh_run(folder, arguments.cores, arguments.overlay)
            run = read_run(folder)
        print_overhead(run, wall, "a clock outside the command")
    else:
        run = read_run(arguments.folder)
        print_overhead(run, run.wall, "Snakemake's clock, which starts after its imports")
    if arguments.startup:
        print_startup(run)


if __name__ == "__main__":
    main()
