# Helper functions; no rules.
#
# One idea: the settings of a step are a small file, results/<experiment>/settings/<step>.json, written here only when
# their content changes. So data, settings and code are all files, and an artefact is current when every file that it was
# made from still has the recorded hash (synthmed settle).
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "src"))

from synthmed.errors import InputError
from synthmed.files import dump_json, write_text
from synthmed.lock import hold
from synthmed.steps import step_code

EXPERIMENTS = list(config["experiments"])
ENVIRONMENT = f"{workflow.basedir}/envs/synthmed.yaml"
SETTINGS = {}  # path of a settings file -> (verb, content)


wildcard_constraints:
    dataset="[a-z0-9_]+",
    experiment="[a-z0-9_]+",
    extractor="[a-z0-9_]+",
    generator="[a-z0-9_]+",
    part="[a-z0-9_]+",


def declare(verb, path, content):
    """State the settings of one run of the step `verb`; they will lie in `path`."""
    if path in SETTINGS:
        raise WorkflowError(f"{path}: declared twice")
    SETTINGS[path] = (verb, content)


def code(path):
    """Input function: the source files of the step whose settings lie in `path` (with wildcards)."""

    def files(wildcards):
        verb, content = SETTINGS[path.format(**wildcards)]
        return [relative(file) for file in step_code(verb, content)]

    return files


def relative(path):
    """Relative to the working directory when inside it, so that a moved checkout has the same file names."""
    path = Path(path)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def write_settings():
    """Write the declared settings that changed, and remove those that are declared no more.

    Only the process that the user started does so, under the lock of the results folder: jobs of a cluster read the
    same files, and a second run is refused before it can change a setting under the first one's feet.
    """
    if not workflow.is_main_process:
        return
    # Unsorted: the order of generators and trainings in params.yaml is their order everywhere.
    wanted = {Path(path): dump_json(content, sort_keys=False) for path, (_verb, content) in SETTINGS.items()}
    present = {*Path("data").glob("*/settings/*.json"), *Path("results").glob("*/settings/*.json")}
    changed = [p for p, text in wanted.items() if p not in present or p.read_text(encoding="utf-8") != text]
    try:
        if changed or present - set(wanted) or not workflow.dryrun:
            workflow.globals["run_lock"] = hold("results")  # held as long as this process lives
    except InputError as error:
        raise WorkflowError(str(error))
    for path in changed:
        write_text(path, wanted[path])
    for path in present - set(wanted):
        path.unlink()


def trainings(experiment, generator):
    """Names of the trainings of one generator: one per class, or one for all."""
    return list(config["experiments"][experiment]["generators"][generator]["trainings"])


def generators(experiment):
    """Names of the generators of an experiment, in the order of params.yaml."""
    return list(config["experiments"][experiment]["generators"])
