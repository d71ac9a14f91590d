"""`synthmed run`: Snakemake, with a line for each finished experiment in place of hundreds for its steps.

It starts the same `snakemake` that anyone can start, keeps all that this says in `logs/run.log`, and reads there what
is done: nothing else depends on it. On one machine its steps are forked by a server (see core/forkserver.py).
"""

import os
import re
import statistics
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from pathlib import Path

from synthmed.core import forkserver
from synthmed.core.errors import InputError
from synthmed.core.lock import hold

LOG = Path("logs") / "run.log"
_COUNT = re.compile(r"^(\w+) +(\d+)$")
_STARTED = re.compile(r"^(?:local)?rule (\w+):$")
_JOB = re.compile(r"^    jobid: (\d+)$")
_EXPERIMENT = re.compile(r"^    wildcards: (?:.*, )?experiment=([^,]+)")
_FINISHED = re.compile(r"^Finished jobid: (\d+) \(Rule: (\w+)\)$")
_ELSEWHERE = re.compile("--executor|-e|--profile|--workflow-profile|--sdm|--software-deployment|--deployment|--use-")
"""Options by which jobs run on another machine, or in another environment than this one."""
REPORT = "page"
"""Rule that ends an experiment."""
INDEX = "All experiments and the leaderboard: "
"""What the workflow says at its end, and behind it the page, as it lies in its folder (workflow/helpers/costs.smk)."""
_ERRORS = re.compile(r"Error|error|Exception|^synthmed|^No such|not found|cannot|refused|^ {4}message:")
_FAILED = re.compile(
    r"^Error in rule [^\n]*$|^    log: [^\n]*\(check[^\n]*$|^Logfile [^\n]*:\n=+\n(?P<said>.*?)^=+$",
    re.MULTILINE | re.DOTALL,
)
"""A job that failed, and what its log said, in Snakemake's words."""
SHOWN = 12
"""Lines of a failed run that are shown, at most, and a third of these of a log."""


class Progress:
    """What is done of a run, from the lines of Snakemake's log as they come.

    Jobs of one rule are taken to last alike, those of a rule of which none is done yet as long as the middle one of the
    others', and as many to run at a time as have done so far.
    """

    def __init__(self, started: float):
        self.started = started
        self.planned: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._begun: dict[str, float] = {}
        self._experiments: dict[str, str] = {}
        self._job = ""
        self._rule = ""
        self._counting = False

    @property
    def total(self) -> int:
        return sum(self.planned.values())

    @property
    def done(self) -> int:
        return sum(map(len, self.seconds.values()))

    def left(self, now: float) -> float | None:
        """Seconds that are left, None before anything is known."""
        worked = sum(map(sum, self.seconds.values()))
        if not worked or now <= self.started:
            return None
        typical = {rule: sum(spent) / len(spent) for rule, spent in self.seconds.items() if spent}
        middle = statistics.median(typical.values())
        left = sum(
            (count - len(self.seconds[rule])) * typical.get(rule, middle) for rule, count in self.planned.items()
        )
        return max(0.0, left) / (worked / (now - self.started))

    def read(self, line: str, now: float) -> str | None:
        """Take a line. Returns the experiment whose report it finished, else None."""
        if line.startswith("Job stats:"):
            self._counting, self.planned = True, Counter()
        elif self._counting and (found := _COUNT.match(line)):
            rule, count = found.groups()
            if rule == "total":
                self._counting = False
            elif rule != "all" and rule != "job":
                self.planned[rule] = int(count)
        elif found := _STARTED.match(line):
            self._rule = found[1]
        elif self._rule and (found := _JOB.match(line)):
            self._job = found[1]
            self._begun[self._job] = now
        elif self._job and (found := _EXPERIMENT.match(line)):
            self._experiments[self._job] = found[1]
        elif found := _FINISHED.match(line):
            job, rule = found.groups()
            if rule in self.planned:
                self.seconds[rule].append(now - self._begun.pop(job, now))
            return self._experiments.get(job) if rule == REPORT else None
        return None


def run(arguments: Sequence[str]) -> int:
    """Run Snakemake with `arguments`, which are its own. Returns its exit status.

    Raises InputError where its log cannot be written or is that of a run that is going on, or it is not there.
    """
    folder = directory(arguments)
    log = folder / LOG
    # An experiment that fails does not stop the others.
    command = [sys.executable, "-m", "snakemake", "--keep-going", *arguments]
    elsewhere = any(_ELSEWHERE.match(one) for one in arguments)
    with (
        hold(log.parent),
        open(log, "w", encoding="utf-8") as kept,
        nullcontext({}) if elsewhere else forkserver.started() as server,
    ):
        try:
            with subprocess.Popen(
                command,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                encoding="utf-8",
                errors="replace",
                env=os.environ | server,
            ) as process:
                try:
                    for said in told(_kept(process.stdout, kept), folder, time.monotonic):
                        print(said, flush=True)
                except KeyboardInterrupt:  # Snakemake got it too, and ends its jobs in order
                    process.wait()
                    raise
        except OSError as error:
            raise InputError(f"{command[0]}: cannot start Snakemake ({error})") from error
    if process.returncode:
        lines = log.read_text(encoding="utf-8").splitlines()
        print("\n".join(wrong(lines)), file=sys.stderr)
        print(f"The run stopped; all it said: {log}", file=sys.stderr)
    return process.returncode


def directory(arguments: Sequence[str]) -> Path:
    """Where Snakemake works: that of --directory or -d, else here."""
    for place, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name in ("--directory", "-d"):
            return Path(value or "".join(arguments[place + 1 : place + 2]))
    return Path()


def _kept(lines: Iterable[str], log) -> Iterator[str]:
    for line in lines:
        log.write(line)
        log.flush()
        yield line.rstrip("\n")


def told(lines: Iterable[str], folder: Path, clock) -> Iterator[str]:
    """What to tell of a run: how much there is to do, then a line for each finished report."""
    progress = Progress(clock())
    announced = False
    for line in lines:
        now = clock()
        finished = progress.read(line, now)
        if progress.planned and not announced and line.startswith("Select jobs"):
            announced = True
            count = progress.planned[REPORT]
            yield f"{progress.total} steps to {count} report{'' if count == 1 else 's'}; details: {folder / LOG}"
        if finished:
            report = folder / "results" / finished / "report.html"
            yield f"{_clock(now - progress.started)}  {finished}: {report}{_rest(progress, now)}"
        elif line.startswith(INDEX):
            yield f"{INDEX}{folder / line.removeprefix(INDEX)}"
        elif line.startswith(("Nothing to be done", "Error in rule")):
            yield line


def _rest(progress: Progress, now: float) -> str:
    left = progress.left(now)
    if left is None or progress.done >= progress.total:
        return ""
    return f"  ({progress.done} of {progress.total} steps done, about {_clock(left)} left)"


def _clock(seconds: float) -> str:
    """Minutes and seconds: 3:07; 75:00."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"


def wrong(lines: Sequence[str]) -> list[str]:
    """The lines of a failed run that say why: the first jobs that failed with the end of their logs, else the first
    lines that sound like it, else the last."""
    failed = []
    for found in _FAILED.finditer("\n".join(lines)):
        failed += [found[0]] if found["said"] is None else found["said"].splitlines()[-SHOWN // 3 :]
    if failed:
        return failed[:SHOWN]
    return [line for line in lines if _ERRORS.search(line)][:SHOWN] or list(lines[-SHOWN:])
