"""What every artefact was made from, and whether it still is.

Beside every artefact `X` lies `X.provenance.json` with the sha256 of everything it was made from: the settings file,
the input files and the source files of its step. **An artefact is current when every file it was made from still has
the recorded hash, and the artefact itself has its own.** `settle` applies that one sentence to a folder.
"""

import ast
import importlib.metadata
import logging
import os
import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from synthmed import __version__
from synthmed.core.errors import InputError
from synthmed.core.files import hash_file, read_json, remove_left, write_json

logger = logging.getLogger(__name__)

SUFFIX = ".provenance.json"
PACKAGE = Path(__file__).resolve().parents[1]
_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pandas", "pillow", "scikit-learn", "pydicom")


# --------------------------------------------------------------------------------------------------- source files
@cache
def _imports(module: str) -> frozenset[str]:
    path = source_file(module)
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "synthmed":
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names if alias.name.split(".")[0] == "synthmed")
    return frozenset(name for name in found if _is_module(name))


def _is_module(name: str) -> bool:
    return _module_path(name).is_file()


def _module_path(name: str) -> Path:
    return PACKAGE.joinpath(*name.split(".")[1:]).with_suffix(".py")


def source_file(module: str) -> Path:
    """The file of `module` (`synthmed.generators.fastgan`). Raises InputError when there is none."""
    path = _module_path(module)
    if not path.is_file():
        raise InputError(f"no source file for the module {module!r} ({path})")
    return path


def code_of(*modules: str) -> list[Path]:
    """Source files that `modules` are made of: themselves and every synthmed module they import, directly or not.

    Read from the import statements (also those inside functions), sorted, without duplicates; with each module the
    templates, styles and scripts beside it that bear its name (`page.html.j2`, `page.css`). Left out: `__init__.py`
    (registries: names only) and the room `core`, whose modules carry values and compute none, so that adding a
    generator or a better error message does not retrain every other generator.
    """
    todo, done = list(modules), set()
    while todo:
        module = todo.pop()
        if module in done or module == "synthmed.__init__" or module.startswith("synthmed.core."):
            continue
        done.add(module)
        todo.extend(_imports(module))
    files = [source_file(module) for module in done]
    beside = [file.with_suffix(ending) for file in files for ending in (".html.j2", ".css", ".js")]
    return sorted([*files, *filter(Path.is_file, beside)])


def code_hashes(*modules: str) -> dict[str, str]:
    """The first 16 digits of the hash of each file of code_of(modules), by its path inside the package: what an
    interrupted step was begun with, so that no other code goes on with it."""
    return {path.relative_to(PACKAGE).as_posix(): hash_file(path)[:16] for path in code_of(*modules)}


# ---------------------------------------------------------------------------------------------------- recording
def name_in(path: str | Path, root: Path) -> str:
    """What a record calls a file: by its path from the project's root when it lies inside it, so that a clone elsewhere
    agrees."""
    path = Path(os.path.abspath(path))
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)


def versions() -> dict[str, str]:
    """Versions of this package, Python and the packages that compute (those that are installed)."""
    found = {"synthmed": __version__, "python": platform.python_version(), "machine": platform.machine()}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class MadeFrom:
    """Hashes of the input files and of the source files of a step, by their recorded names."""

    inputs: dict[str, str]
    code: dict[str, str]


def made_from(inputs: Iterable[str | Path], code: Iterable[str | Path], root: str | Path | None = None) -> MadeFrom:
    """What a step is about to read. To be called before it runs: a file that changes meanwhile makes its result stale.

    inputs: every file that it reads, the settings file included; code: see code_of.
    """
    root = Path(root or Path.cwd()).resolve()
    return MadeFrom(
        {name_in(path, root): hash_file(path) for path in inputs},
        {f"synthmed/{Path(path).relative_to(PACKAGE).as_posix()}": hash_file(path) for path in code},
    )


_noted: dict[str, str] = {}


def note(name: str, value: str) -> None:
    """Something that the settings leave to the machine, for the records of what this process makes from now on."""
    _noted[name] = value


def record(outputs: Sequence[str | Path], *, step: str, made_from: MadeFrom, settings: Mapping[str, object]) -> None:
    """Write `<output>.provenance.json` beside each of `outputs`, which must exist already.

    step: the verb; settings: the settings as values, for people who read the record. No times and no host names, so
    that equal runs are equal.
    """
    for output in outputs:
        write_json(
            f"{output}{SUFFIX}",
            {
                "artefact": Path(output).name,
                "sha256": hash_file(output),
                "step": step,
                "inputs": made_from.inputs,
                "code": made_from.code,
                "settings": dict(settings),
                "versions": versions(),
                **({"machine_chose": dict(_noted)} if _noted else {}),
            },
        )


# ------------------------------------------------------------------------------------------------------ settling
@dataclass
class Settled:
    """What `settle` found: paths of artefacts, and for the stale ones the reason in words.

    missing: those whose record is there and current, and they are not (an archive deleted to save space). unnamed: made
    under settings that nothing names now; they were not looked at.
    """

    current: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unnamed: list[str] = field(default_factory=list)
    stale: dict[str, str] = field(default_factory=dict)


def is_settings(name: str) -> bool:
    """Whether a record's name of a file is that of a settings file."""
    return "/settings/" in f"/{name}"


def _records(folder: Path) -> list[Path]:
    """All records below a folder; a settings file called so (of the section `provenance`) is none.

    Raises OSError on a folder that cannot be read, which rglob passes over in silence.
    """

    def refused(error: OSError) -> None:
        raise error

    walk = os.walk(folder, onerror=refused) if folder.is_dir() else ()
    found = sorted(Path(place) / name for place, _, names in walk for name in names if name.endswith(SUFFIX))
    return [path for path in found if path.parent.name != "settings"]


def records(folders: Sequence[str | Path], root: Path) -> dict[str, dict]:
    """Every record below `folders` by the name of its artefact. Raises InputError on one that is damaged."""
    found = {}
    for path in [path for folder in folders for path in _records(Path(folder))]:
        found[name_in(str(path).removesuffix(SUFFIX), root)] = made = read_json(path)
        if not isinstance(made, dict) or not {"sha256", "inputs", "code", "step"} <= set(made):
            raise InputError(f"{path}: no record of synthmed, or a damaged one; delete it, then run again")
    return found


def settle(
    folders: Sequence[str | Path],
    *,
    remove: bool,
    named: Collection[str] | None = None,
    chosen: Mapping[str, Collection[str]] | None = None,
    root: str | Path | None = None,
) -> Settled:
    """Compare every artefact below `folders` with what it was made from.

    An artefact whose inputs, settings, code or own bytes changed is stale, and so is everything made from a stale one.
    remove=True deletes stale artefacts (and their records) and what killed steps left half-written, and gives current
    ones a time not older than their inputs', so that Snakemake, which looks at times, rebuilds exactly the stale ones.
    remove=False changes nothing.
    named: the settings files that are in use now; what was made under another one (of an experiment that is left out
    for a while, of another branch) is not stale: it is left alone. None: all are in use.
    chosen: names of the files that an artefact would be made from now, where they were others when somebody looked; one
    made from others is stale.
    """
    root = Path(root or Path.cwd()).resolve()
    made_of = records(folders, root)
    settled = Settled()
    if named is not None:
        in_use = set(named)
        settled.unnamed = [
            name for name, made in made_of.items() if not set(filter(is_settings, made["inputs"])) <= in_use
        ]
        made_of = {name: made for name, made in made_of.items() if name not in settled.unnamed}
    reasons = _Reasons(made_of, chosen or {}, root)
    for name in sorted(made_of):
        if reason := reasons.of(name):
            settled.stale[name] = reason
        else:
            (settled.current if (root / name).exists() else settled.missing).append(name)
    if remove:
        # What follows before its cause: an interruption must not leave a stale result whose cause is gone.
        for name in [name for name in reversed(reasons.found) if name in settled.stale]:
            (root / name).unlink(missing_ok=True)
            (root / f"{name}{SUFFIX}").unlink(missing_ok=True)
        remove_left(folders)
        touched: set[str] = set()
        for name in settled.current:
            _settle_time(name, made_of, root, touched)
    return settled


class _Reasons:
    """Why artefacts are stale. made_of: their records by name; chosen: see settle; found: the reasons so far, each
    after those of what the artefact was made from, None for a current one."""

    def __init__(self, made_of: Mapping[str, dict], chosen: Mapping[str, Collection[str]], root: Path):
        self.made_of, self.chosen, self.root = made_of, chosen, root
        self.found: dict[str, str | None] = {}
        self._visiting: set[str] = set()
        self._hash = cache(lambda path: hash_file(path) if path.is_file() else None)

    def of(self, name: str) -> str | None:
        """The reason in words; None: the artefact is current."""
        if name not in self.found:
            if name in self._visiting:
                raise InputError(f"{name}: its record says that it was made from itself; delete {name}{SUFFIX}")
            self._visiting.add(name)
            self.found[name] = self._look(name)
        return self.found[name]

    def _look(self, name: str) -> str | None:
        made = self.made_of[name]
        if others := set(self.chosen.get(name, made["inputs"])) ^ set(made["inputs"]):
            return f"the settings choose other inputs for it now ({', '.join(sorted(others))})"
        for source, digest in made["code"].items():
            if self._hash(PACKAGE.parent / source) != digest:
                return f"its code {source} changed"
        for source, digest in made["inputs"].items():
            if source in self.made_of and self.of(source) is not None:
                return f"its input {source} is stale"
            # A missing intermediate is no sign of a change (it may be temporary); a missing settings file is.
            found = self._hash(self.root / source)
            if found != digest and (found is not None or is_settings(source)):
                return f"its input {source} changed"
        # A missing artefact (an archive deleted to save space) says nothing against what was made from it.
        if self._hash(self.root / name) not in (None, made["sha256"]):
            return "its bytes are not the recorded ones"
        return None


def _settle_time(name: str, made_of: Mapping[str, dict], root: Path, touched: set[str]) -> None:
    """Make `name` not older than any of its inputs, after doing the same for those."""
    if name in touched:
        return
    touched.add(name)
    newest = 0
    for source in made_of[name]["inputs"]:
        if source in made_of and (root / source).exists():
            _settle_time(source, made_of, root, touched)
        if (root / source).exists():
            newest = max(newest, (root / source).stat().st_mtime_ns)
    for source in made_of[name]["code"]:
        newest = max(newest, (PACKAGE.parent / source).stat().st_mtime_ns)
    status = (root / name).stat()
    if status.st_mtime_ns < newest:
        try:
            os.utime(root / name, ns=(status.st_atime_ns, newest))
        except PermissionError:  # somebody else's, to which everybody with the right to write may give the time of now
            try:
                os.utime(root / name)
            except PermissionError:
                logger.warning("%s: its time stays, it is somebody else's; Snakemake will make it again", name)


def stop_if_stale(settled: Settled) -> None:
    """Raise InputError that lists the stale artefacts (ten of them, causes first) with their reasons."""
    if settled.stale:
        # What changed first, then what only follows from it.
        ordered = sorted(settled.stale.items(), key=lambda item: item[1].endswith(" is stale"))
        lines = [f"  {name}: {reason}" for name, reason in ordered[:10]]
        raise InputError(
            f"{len(settled.stale)} artefacts are stale; run `snakemake settle` and then snakemake again\n"
            + "\n".join(lines)
        )
