# Settings of steps as files, and what was made under others.
#
# One idea: the settings of a step are a small file, results/<experiment>/settings/<step>.json, written here only when
# their content changes. So data, settings and code are all files, and an artefact is current when every file that it was
# made from still has the recorded hash (synthmed settle).
import sys
import time
from functools import cache
from pathlib import Path

from snakemake.output_index import OutputIndex

from synthmed.core.errors import InputError
from synthmed.core.files import dump_json, write_text
from synthmed.core.lock import hold
from synthmed.core.provenance import is_settings, name_in, records
from synthmed.steps import STEPS, step_code

SETTINGS = {}  # path of a settings file -> (verb, content)
FILES = {}  # path -> text of other small files that are written like settings
NAMED = "results/.named.json"  # the paths in SETTINGS with their verbs, and OTHERWISE, for `synthmed settle`
OTHERWISE = {}  # artefact -> what it would be made from now, where that is not what it was made from


def declare(verb, path, content):
    """State the settings of one run of the step `verb`; they will lie in `path`."""
    if path in SETTINGS:
        raise WorkflowError(f"{path}: declared twice")
    SETTINGS[path] = (verb, content)


def code(path):
    """Input function: the source files of the step whose settings lie in `path` (with wildcards)."""

    return lambda wildcards: code_files(path.format(**wildcards))


@cache
def code_files(path):
    """The source files of the step whose settings lie in `path`."""
    verb, content = SETTINGS[path]
    return [relative(file) for file in step_code(verb, content)]


def command(verb, run=None, **words):
    """The shell command of the step `verb`, whose files are the inputs and outputs of the rule under the same names.

    run: what stands in the command instead, where a rule chooses among verbs that take the same files.
    words: what stands there for files of these names.
    """
    step = STEPS[verb]
    kinds = [("input", file) for file in step.inputs] + [("output", file) for file in step.outputs]
    files = [f"{file.option} {words.get(file.name, f'{{{kind}.{file.name}:q}}')}" for kind, file in kinds]
    return " ".join([f"synthmed {run or verb} --settings {{input.settings}}", *files, "--log {log}"])


def relative(path):
    """Relative to the working directory when inside it, so that a moved checkout has the same file names."""
    path = Path(path)
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def write_settings():
    """Write the declared settings that changed. Those that are declared no more are left alone, with what was made under
    them: an experiment may be left out for a while.

    Only the process that the user started does so, under the lock of the results folder: jobs of a cluster read the
    same files, and a second run is refused before it can change a setting under the first one's feet.
    """
    if not workflow.is_main_process:
        return
    # Unsorted: the order of generators and trainings in params.yaml is their order everywhere.
    wanted = {Path(path): dump_json(content, sort_keys=False) for path, (_verb, content) in SETTINGS.items()}
    OTHERWISE.update(chosen_otherwise())
    verbs = {path: verb for path, (verb, _content) in SETTINGS.items()}
    # With its time, or Snakemake might know its bytes, and think that nothing has changed.
    wanted[Path(NAMED)] = dump_json(
        {"settings": verbs, "inputs": OTHERWISE, "at": time.time_ns() if OTHERWISE else None}
    )
    present = {path for folder in ("data", "results") for path in Path(folder).glob("**/settings/*.json")}
    present |= {path for path in [Path(NAMED)] if path.exists()}
    wanted |= {Path(path): text for path, text in FILES.items()}
    present |= {path for path in map(Path, FILES) if path.exists()}
    changed = [path for path, text in wanted.items() if path not in present or path.read_bytes() != text.encode()]
    try:
        if changed or not workflow.dryrun:
            workflow.globals["run_lock"] = hold("results")  # held as long as this process lives
    except InputError as error:
        raise WorkflowError(str(error))
    for path in changed:
        write_text(path, wanted[path])
    left_alone(present - set(wanted))


def chosen_otherwise():
    """Artefacts for which params.yaml chooses other input files now than their records name: artefact -> these files.

    Which files a step reads stands in no settings file, and Snakemake's own memory of it in no clone.
    """
    producers, root, found = OutputIndex(list(workflow.rules)), Path.cwd().resolve(), {}
    try:
        made = records(["data", "results", "metrics"], root)
    except (InputError, OSError) as error:
        raise WorkflowError(str(error))
    for artefact, record in made.items():
        of_now = {name for name in record["inputs"] if is_settings(name)} <= SETTINGS.keys()
        for maker in producers.match_producers(artefact) if of_now and record["step"] in STEPS else ():
            try:
                given = maker.expand_input(maker.get_wildcards(artefact))[0]
            except WorkflowError:  # of something that params.yaml names no more
                continue
            paths = [given.settings]
            for file in STEPS[record["step"]].inputs:
                value = given.get(file.name, [])
                paths += [value] if isinstance(value, str) else value
            chosen = sorted({name_in(path, root) for path in paths})
            if chosen != sorted(record["inputs"]):
                found[artefact] = chosen
    return found


def remade(rule):
    """Input function: a file newer than the outputs of `rule` where they were made from others than they would be now."""
    return lambda w: [NAMED] if any(output.apply_wildcards(w) in OTHERWISE for output in rule.output) else []


def left_alone(settings):
    """Say which settings files, with what was made under them, belong to nothing that params.yaml names now."""
    folders = {}
    for path in sorted(settings):
        folders.setdefault(path.parents[1], []).append(path.stem)
    for folder, names in folders.items():
        what = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
        print(f"{folder}: params.yaml does not name {what} now; left alone, with all that was made so", file=sys.stderr)
