"""Seconds of `snakemake -n` and `dvc repro` with nothing to do, beside what these tools take to print their version.

    python benchmarks/nothing_to_do.py CHECKOUT [--targets experiment_tuberculosis] [--repeats 3]

CHECKOUT: a checkout of the project in which everything is made and `dvc repro` has run. targets: of Snakemake, default
everything. The benchmark refuses to start
where either tool would do anything, so it never makes or changes a result. Repeats are interleaved; medians of wall
seconds and of CPU seconds (of the command and everything it starts).
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from common import machine

NOTHING = {"snakemake": "Nothing to be done", "dvc": "are up to date"}
"""Tool → what it says when it has nothing to do."""


def environment(checkout: Path) -> dict[str, str]:
    """As a user has it: the environment's commands first, the checkout's own source files, no analytics calls."""
    binaries = Path(sys.executable).parent
    return {
        **os.environ,
        "PATH": f"{binaries}:{os.environ['PATH']}",
        "PYTHONPATH": str(checkout / "src"),
        "DVC_NO_ANALYTICS": "1",
    }


def run(command: list[str], checkout: Path) -> tuple[float, float, str]:
    """Wall seconds, CPU seconds, and what was printed. Ends the program when the command fails."""
    before, start = os.times(), time.perf_counter()
    done = subprocess.run(
        command, cwd=checkout, env=environment(checkout), capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    wall, after = time.perf_counter() - start, os.times()
    text = done.stdout + done.stderr
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} in {checkout} ended with {done.returncode}:\n{text[-2000:]}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, cpu, text


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkout", type=Path, metavar="CHECKOUT")
    parser.add_argument("--targets", nargs="+", default=[])
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    checkout = arguments.checkout.resolve()
    if not (checkout / "dvc.lock").is_file():
        raise SystemExit(f"{checkout}: no dvc.lock; give a checkout in which `dvc repro` has run")
    dry_run = ["snakemake", "-n", *arguments.targets]
    for command in (dry_run, ["dvc", "status"]):
        text = run(command, checkout)[2]
        if NOTHING[command[0]] not in text:
            raise SystemExit(f"`{' '.join(command)}` has something to do in {checkout}:\n{text[-1500:]}")

    pairs = [(["snakemake", "--version"], dry_run), (["dvc", "--version"], ["dvc", "repro"])]
    commands = [command for pair in pairs for command in pair]
    times: dict[str, list[tuple[float, float]]] = {" ".join(command): [] for command in commands}
    for _ in range(arguments.repeats):
        for command in commands:
            wall, cpu, _ = run(command, checkout)
            times[" ".join(command)].append((wall, cpu))
    median = {name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in times.items()}

    print(f"{machine()}\n{checkout}\n\n  wall s   CPU s")
    for start, work in pairs:
        for command in (start, work):
            wall, cpu = median[" ".join(command)]
            ratio = cpu / median[" ".join(start)][1]
            note = "" if command is start else f"   {ratio:.1f} × the CPU time of its start"
            print(f"  {wall:6.2f}  {cpu:6.2f}   {' '.join(command)}{note}")


if __name__ == "__main__":
    main()
