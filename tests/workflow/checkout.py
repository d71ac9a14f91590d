"""A copy of the repository in a temporary folder, with a tiny params.yaml, in which Snakemake and DVC really run."""

import atexit
import json
import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import yaml

from synthmed.core import forkserver

ROOT = Path(__file__).parents[2]
CARRIED = (
    "src",
    "workflow",
    "envs",
    "profiles",
    "Snakefile",
    "params.yaml",
    "dvc.yaml",
    ".dvc",
    ".dvcignore",
    ".gitignore",
)


# Variables of the calling process that are none of the checkout's business; without byte code everything starts slowly.
FOREIGN = ("SNAKEMAKE", "DVC", "GIT_", "PYTHONDONTWRITEBYTECODE")


def merge(base: dict, overlay: dict) -> dict:
    """The overlay wins, recursively; null in the overlay removes an entry, and is the value of a plain setting."""
    gone = {key for key, value in overlay.items() if value is None and isinstance(base.get(key), dict | list)}
    merged = {key: None if overlay.get(key, "") is None else value for key, value in base.items() if key not in gone}
    for key, value in overlay.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            merged[key] = merge(base[key], value)
        elif value is not None:
            merged[key] = value
    return merged


@cache
def fork_server() -> dict[str, str]:
    """One for all checkouts of this process, as `synthmed run` starts one: half of their time would be imports."""
    server = forkserver.started()
    atexit.register(server.__exit__, None, None, None)
    return server.__enter__()


class Checkout:
    """One checkout with its own working tree; `run` runs a command in it as a user would, with steps of a fork server
    or without."""

    def __init__(self, path: Path, forked: bool = True):
        self.path = path
        binaries = Path(sys.executable).parent
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith(FOREIGN)},
            "PATH": f"{binaries}:{os.environ['PATH']}",
            "PYTHONPATH": str(path / "src"),
            "OMP_NUM_THREADS": "1",
            "HOME": str(path.parent / "home"),
            "XDG_CACHE_HOME": str(path.parent / "home" / ".cache"),
            "DVC_NO_ANALYTICS": "1",
            "MPLCONFIGDIR": str(path.parent / "home"),
        }
        self.forked = forked
        (path.parent / "home").mkdir(exist_ok=True)

    def run(self, *command: str, check: bool = True) -> subprocess.CompletedProcess:
        steps = self.forked and command[0] in ("snakemake", "dvc") and not {"-n", "settle"} & {*command}
        done = subprocess.run(
            command,
            cwd=self.path,
            env=self.environment | (fork_server() if steps else {}),
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode != 0:
            raise AssertionError(
                f"{' '.join(command)} ended with {done.returncode}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}"
            )
        return done

    def snakemake(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess:
        return self.run("snakemake", "--cores", "2", *arguments, check=check)

    def planned(self, *arguments: str) -> set[str]:
        """Names of the rules that a dry run would run, `rule all` and its like left out."""
        done = self.snakemake("-n", "--quiet", "host", *arguments)
        rules, listing = set(), False
        for line in (done.stdout + done.stderr).splitlines():
            if line.startswith("job "):
                listing = True
            elif listing and (not line.strip() or line.startswith("total")):
                listing = False
            elif listing and not line.startswith("-"):
                rules.add(line.split()[0])
        return {rule for rule in rules if rule != "all" and not rule.startswith(("experiment_", "data_"))}

    def git(self, *arguments: str) -> str:
        return self.run("git", *arguments).stdout

    def edit_params(self, **changes: object) -> None:
        """Change settings of params.yaml, named by dotted paths with double underscores for dots."""
        params = yaml.safe_load((self.path / "params.yaml").read_text())
        for name, value in changes.items():
            *parents, last = name.split("__")
            node = params
            for parent in parents:
                node = node[parent]
            assert last in node, f"{name} is no setting"
            node[last] = value
        (self.path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def tiny_params(overlay: str = "tiny.yaml") -> dict:
    base = yaml.safe_load((ROOT / "params.yaml").read_text())
    tiny = yaml.safe_load((Path(__file__).parent / overlay).read_text())
    for kind in ("datasets", "experiments"):  # what a test does not name it does not run
        base[kind] = {name: entry for name, entry in base[kind].items() if name in tiny[kind]}
    # By way of JSON: a block that several take by its anchor becomes one for each, so that a test changes one of them.
    return json.loads(json.dumps(merge(base, tiny)))


def new_checkout(folder: Path, overlay: str | None = "tiny.yaml", *, forked: bool = True) -> Checkout:
    """overlay: which tiny settings, a file beside this one; None: params.yaml as it is."""
    folder.mkdir(parents=True)
    for name in CARRIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(
                source, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info", "tmp", "cache")
            )
        elif source.exists():
            shutil.copy(source, folder / name)
    if overlay is not None:
        (folder / "params.yaml").write_text(yaml.safe_dump(tiny_params(overlay), sort_keys=False))
    checkout = Checkout(folder, forked)
    checkout.git("init", "-q", "-b", "main")
    checkout.git("config", "user.name", "test")
    checkout.git("config", "user.email", "test@localhost")
    checkout.git("add", "-A")
    checkout.git("commit", "-q", "-m", "tiny")
    return checkout
