"""Who may know whom (docs/design.md): read from the import statements of every source file."""

import ast
from pathlib import Path

import pytest

from synthmed.core.provenance import source_file
from synthmed.generators import GENERATORS

PACKAGE = Path(__file__).parents[1] / "src" / "synthmed"

# A file may import files of its own room, and files of rooms on a strictly lower level. A longer name goes first.
LEVELS = [
    {"core.errors"},
    {"core.files"},
    {"core"},
    {"metrics"},
    {"training.distributed", "training.device", "training.images", "data.imageset"},
    {"networks", "augment", "data"},
    {"weights", "prepare"},
    {"training"},
    {"generators", "segmenters", "classifiers", "extractors"},
    {"evaluation", "latent", "anomaly", "readers", "report", "commands.describe", "commands"},
    {"steps"},
    {
        "commands.params_generators",
        "commands.params_masks",
        "commands.params_probes",
        "commands.params",
        "commands.schemas",
    }
    | {"commands.doctor", "commands.release"},
    {"cli"},
    {"__main__"},
]


def level(module: str) -> int:
    parts = module.split(".")
    for name in (".".join(parts[:2]), parts[0]):
        for number, rooms in enumerate(LEVELS):
            if name in rooms:
                return number
    raise AssertionError(f"{module} is in no level; add it to LEVELS in this test")


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        if name != "__init__":
            yield name.removesuffix(".__init__"), path


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] + [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found.update(names)
    return found


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_imports_point_downwards(module, path):
    room = module.split(".")[0]
    known = {name for name, _ in modules()}
    for name in imports(path):
        if not name.startswith("synthmed.") or name.removeprefix("synthmed.") not in known:
            continue
        other = name.removeprefix("synthmed.")
        if other.split(".")[0] == room or other == module:
            continue
        assert level(other) < level(module), f"{module} imports {other}, which is not below it"


@pytest.mark.parametrize("module", GENERATORS.values())
def test_generators_do_not_know_each_other(module):
    others = imports(source_file(module)) & set(GENERATORS.values())
    assert not others, f"{module} imports {others}: what two generators share lives below them"


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_the_package_knows_neither_the_workflow_nor_the_environment(module, path):
    names = {name.split(".")[0] for name in imports(path)}
    # Numbers of documents are YAML; settings never reach the package as such.
    known = set() if module == "report.references.document" else {"yaml"}
    assert not names & {"snakemake", "dvc", *known}
    text = path.read_text(encoding="utf-8")
    assert "params.yaml" not in text, "the package never opens params.yaml"
    if module not in (
        "commands.doctor",
        "commands.judge",
        "commands.run",
        "core.forkserver",
        "training.device",
    ):  # they hand it on
        assert "os.environ" not in text, "a setting never comes from an environment variable"


@pytest.mark.parametrize(("module", "path"), list(modules()), ids=lambda value: value if isinstance(value, str) else "")
def test_metrics_know_no_model(module, path):
    if module.startswith("metrics"):
        assert not {name for name in imports(path) if name.split(".")[0] in ("torch", "torchvision")}
