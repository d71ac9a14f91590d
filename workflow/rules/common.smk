# Helper functions; no rules.
#
# One idea: the settings of a step are a small file, results/<experiment>/settings/<step>.json, written here only when
# their content changes. So data, settings and code are all files, and an artefact is current when every file that it was
# made from still has the recorded hash (synthmed settle).
import sys
from pathlib import Path

sys.path.insert(0, str(Path(workflow.basedir) / "src"))

from synthmed.data.sources import raw_files
from synthmed.errors import InputError
from synthmed.files import dump_json, write_text
from synthmed.lock import hold
from synthmed.steps import FIGURES, TABLES, step_code
from synthmed.weights import WEIGHTS, available

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


def stand_in():
    """Leave out the extractors whose weights cannot be had here, say so, and let `domain` be the backbone instead.

    What was used stands in every settings file and table.
    """
    for experiment, entry in config["experiments"].items():
        for name in [name for name in entry["extractors"] if name in WEIGHTS]:
            source, reasons = available(name)
            if source is None and not entry["weights"]["download"] and name not in entry["weights"]["files"]:
                print(
                    f"{experiment}: no weights for the extractor {name} ({'; '.join(reasons)}); it is left out, and the "
                    "small CNN trained on the real training images stands in",
                    file=sys.stderr,
                )
                del entry["extractors"][name]
                if entry["classifier"]["backbone"] == name:
                    entry["classifier"]["backbone"] = "domain"


def write_settings():
    """Write the declared settings that changed, and remove those that are declared no more.

    Only the process that the user started does so, under the lock of the results folder: jobs of a cluster read the
    same files, and a second run is refused before it can change a setting under the first one's feet.
    """
    if not workflow.is_main_process:
        return
    # Unsorted: the order of generators and trainings in params.yaml is their order everywhere.
    wanted = {Path(path): dump_json(content, sort_keys=False) for path, (_verb, content) in SETTINGS.items()}
    present = {path for folder in ("data", "results") for path in Path(folder).glob("**/settings/*.json")}
    changed = [path for path, text in wanted.items() if path not in present or path.read_text("utf-8") != text]
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


def dataset_of(experiment):
    return config["datasets"][config["experiments"][experiment]["dataset"]]


def raw(dataset, kind):
    return [f"data/{dataset}/{kind}/{name}" for name in raw_files(config["datasets"][dataset])]


def backbone(experiment):
    """The extractor whose frozen features the classifiers stand on."""
    return config["experiments"][experiment]["classifier"]["backbone"]


def synthetic(experiment, folder, suffix):
    """One file for every generator, in the order of params.yaml."""
    return [f"results/{experiment}/{folder}/synthetic/{name}.{suffix}" for name in generators(experiment)]


def arm_sources(experiment):
    """Names of the sets that arms draw from: the generators, and the pool of true draws where there is one."""
    return generators(experiment) + (["oracle"] if has_pool(experiment) else [])


def has_pool(experiment):
    return dataset_of(experiment)["pool"] is not None


def perceptual_weights(experiment, generator):
    """The file of weights that a generator's perceptual loss needs, or []."""
    return config["experiments"][experiment]["generators"][generator]["config"].get("perceptual_weights") or []


def pretrained(experiment):
    """Names of the pretrained weights that an experiment uses."""
    losses = [perceptual_weights(experiment, name) for name in generators(experiment)]
    names = [
        *config["experiments"][experiment]["extractors"],
        *(Path(path).stem for path in losses if path),
    ]
    return [name for name in dict.fromkeys(names) if name != "domain"]


def plain(images):
    return lambda w: f"results/{w.experiment}/features/{backbone(w.experiment)}/plain/{images}.npz"


def arm_features(wildcards):
    folder = f"features/{backbone(wildcards.experiment)}/plain"
    pool = [f"results/{wildcards.experiment}/{folder}/pool.npz"] if has_pool(wildcards.experiment) else []
    return synthetic(wildcards.experiment, folder, "npz") + pool


def all_trainings(experiment):
    return [(name, part) for name in generators(experiment) for part in trainings(experiment, name)]


def settings_files(wildcards):
    """Settings that the report prints in full."""
    folder = f"results/{wildcards.experiment}/settings"
    training = [f"{folder}/train.{name}.{part}.json" for name, part in all_trainings(wildcards.experiment)]
    fixed = ["prepare.raw", "split", "train_extractor", "classify", "compare"]
    fixed += ["validate_verdict"] if has_pool(wildcards.experiment) else []
    return [f"{folder}/{name}.json" for name in fixed] + training


def of_generators(folder, suffix):
    return lambda w: synthetic(w.experiment, folder, suffix)


def fidelity_files(wildcards):
    extractors = config["experiments"][wildcards.experiment]["extractors"]
    return [path for name in extractors for path in synthetic(wildcards.experiment, f"fidelity/{name}", "json")]


def validation(wildcards):
    pool = has_pool(wildcards.experiment)
    return f"results/{wildcards.experiment}/classification/verdict_validation.json" if pool else []


def with_validation(wildcards, input):
    return f"--validation {input.validation}" if input.validation else ""


def as_options(names, paths):
    """Command-line options `--name path`."""
    return " ".join(f"--{name.replace('_', '-')} {path}" for name, path in zip(names, paths))
