"""What a step of a run costs before it begins, in CPU seconds: forked by the run's server, and alone.

    python benchmarks/step_start.py [--repeats 5]

`synthmed train --help` imports what a command line needs; the second row also loads the step's module, with PyTorch.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from common import machine

from synthmed.core import forkserver

LOADS = "from synthmed.steps import STEPS\nSTEPS['train'].load()\n"
CLIENT = (
    "import sys; from synthmed.core import forkserver; sys.path.insert(0, {!r}); sys.exit(forkserver.hand_over([]))"
)


def spent() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def alone(repeats: int) -> float:
    before = spent()
    for _ in range(repeats):
        subprocess.run([sys.executable, "-c", LOADS], check=True)
    return (spent() - before) / repeats


def forked(repeats: int) -> tuple[float, float]:
    """CPU seconds of a step, and those of the server, once for all steps."""
    with tempfile.TemporaryDirectory() as folder:
        twin = Path(folder) / "synthmed"  # in place of the command line, the same two lines
        twin.mkdir()
        (twin / "__init__.py").write_text(
            f"__path__.append({str(Path(forkserver.__file__).parents[1])!r})\n__version__ = ''\n"
        )
        (twin / "__main__.py").write_text(LOADS)
        totals = []
        for count in (1, 1 + repeats):
            before = spent()
            with forkserver.started() as server:
                for _ in range(count):
                    subprocess.run([sys.executable, "-c", CLIENT.format(folder)], env=os.environ | server, check=True)
            totals.append(spent() - before)
    one = (totals[1] - totals[0]) / repeats
    return one, totals[0] - one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(machine())
    by_itself = alone(repeats)
    step, once = forked(repeats)
    print(
        f"alone {by_itself:.2f} s, forked {step:.2f} s a step ({by_itself / step:.1f} x), the server {once:.1f} s once"
    )


if __name__ == "__main__":
    main()
