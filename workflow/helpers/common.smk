# What rules of several topics ask of the settings.
import os
import sys
from pathlib import Path

from synthmed.core.check_names import check_names, pool_count
from synthmed.core.errors import InputError
from synthmed.core.files import dump_json, read_json, user_path
from synthmed.core.known import EXTERNAL, REAL_TEST, UNLABELLED, check_reserved, is_file
from synthmed.core.settings import parse as parsed
from synthmed.data.sources import raw_files
from synthmed.data.sources.raw_slide import shell_words
from synthmed.generators import needs as needs_of
from synthmed.metrics.outcomes import OUTCOMES
from synthmed.training.seeds import seed_of
from synthmed.weights.registry import WEIGHTS, available

EXPERIMENTS = list(config["experiments"])
ENVIRONMENT = f"{workflow.basedir}/envs/synthmed.yaml"
os.environ.update(SYNTHMED_REPOSITORY=workflow.basedir)  # for envs/synthmed.post-deploy.sh
OUTSIDE = "results/.experiments.json"  # what experiments say, for `synthmed doctor`


wildcard_constraints:
    dataset="[a-z0-9_]+",
    experiment="[a-z0-9_]+",
    extractor="[a-z0-9_]+",
    generator="[a-z0-9_]+",
    join="[a-z_]+",
    other="diagnosed|judge|tagged",
    part="[a-z0-9_]+",
    scale="[0-9]+x[0-9]+",
    size="[0-9]+",
    variant="[a-z]+",
    view="(|[.][a-z0-9_]+)",


def check_all_names():
    """Stop before anything runs where an experiment names what there is not."""
    of_masks = [name for name, outcome in OUTCOMES.items() if outcome.decides_on == "column" and name != "reidentified"]
    documents = [path.stem for path in Path(workflow.basedir, "src/synthmed/report/references").glob("*.yaml")]
    for experiment, entry in config["experiments"].items():
        try:
            check_reserved("experiments", [experiment], "experiments")
            check_names(entry, config["datasets"], WEIGHTS, sorted(documents), of_masks)
            check_painters(experiment)
        except InputError as error:
            raise WorkflowError(f"experiments.{experiment}: {error}")


def check_painters(experiment):
    """Stop where a generator cannot paint the masks that are drawn for it, or would need more of them."""
    generators = config["experiments"][experiment]["generators"]
    for name, drawer in mask_generators(experiment).items():
        drawn = drawer["samples"] if "samples" in drawer else drawer["sampling"]["samples"]
        for painter in drawer["paints"]:
            generator, where = generators[painter], f"mask_generators.{name}.paints names {painter!r}"
            given = needs_of(generator["model"], generator["config"]) if "config" in generator else frozenset()
            if "mask" not in given:
                raise InputError(f"{where}, whose model {generator['model']} paints no images for masks")
            for label, count in generator["sampling"]["samples"].items():
                if "noise" not in given and count > drawn[label]:
                    raise InputError(
                        f"{where}: without noise a mask gives one image, and it is asked for {count} of {label!r}, but "
                        f"{drawn[label]} masks are drawn; draw more, or ask for fewer"
                    )


def stand_in():
    """Leave out the extractors whose weights cannot be had here, say so, and let `domain` be the backbone instead.

    What was used stands in every settings file and table. That LPIPS is not measured is said once a run, of all
    experiments together.
    """
    unmeasured = {}
    for experiment, entry in config["experiments"].items():
        for name in [name for name in entry["extractors"] if name in WEIGHTS]:
            source, reasons = available(name)
            if source is None and not entry["weights"]["download"] and name not in entry["weights"]["files"]:
                print(
                    f"{experiment}: no weights for the extractor {name} ({'; '.join(reasons)}); it is left out, and the "
                    "filters learnt by k-means on the real training images stand in",
                    file=sys.stderr,
                )
                if "domain" not in entry["extractors"]:
                    raise WorkflowError(
                        f"{experiment}: no weights for the extractor {name} ({'; '.join(reasons)}), and no extractor "
                        "`domain` to stand in; add it under extractors, or give the weights under weights.files"
                    )
                del entry["extractors"][name]
                for method in ("states", "reidentification"):
                    if entry.get(method, {}).get("extractor") == name:
                        entry[method]["extractor"] = "domain"
                for task in entry["tasks"].values():
                    if task["model"].get("backbone") == name:
                        task["model"]["backbone"] = "domain"
        for part in [part for part in with_lpips(entry) if part["lpips"]]:
            lpips = part["lpips"]
            source, reasons = available(lpips)
            if source is None and not entry["weights"]["download"] and lpips not in entry["weights"]["files"]:
                unmeasured[experiment] = "; ".join(reasons)
                part["lpips"] = None
    if unmeasured and workflow.is_main_process:
        why = "; ".join(dict.fromkeys(unmeasured.values()))
        print(f"no weights of LPIPS ({why}); it is not measured in {', '.join(unmeasured)}", file=sys.stderr)


def trained_generators(experiment):
    """Everything that the training loop trains: the generators by name, those of masks, and that of the anomaly search
    as `anomaly`."""
    entry = config["experiments"][experiment]
    anomaly = {"anomaly": entry["anomaly"]["generator"]} if "anomaly" in entry else {}
    own = {name: generator for name, generator in entry["generators"].items() if generator["model"] != EXTERNAL}
    return {**own, **mask_drawers(experiment), **anomaly}


def tagged_images(experiment):
    """Images of another data set whose tags are known, as its settings say; None: those of the experiment are."""
    return config["experiments"][experiment].get("tags", {}).get("images")


def derived_sets(experiment):
    """Sets that are made of the images of generators, by name."""
    return config["experiments"][experiment].get("derived_sets", {})


def mask_generators(experiment):
    """What draws masks for other generators, by name."""
    return config["experiments"][experiment].get("mask_generators", {})


def mask_drawers(experiment):
    """Those of them that are trained."""
    return {name: one for name, one in mask_generators(experiment).items() if one["model"] != "elastic"}


def masks_painted_by(experiment, generator):
    """Name of what draws the masks that a generator paints images for; None: they are those of the training part."""
    drawers = mask_generators(experiment).items()
    return next((name for name, drawer in drawers if generator in drawer["paints"]), None)


def external(experiment):
    """Generators whose images were made elsewhere, by name."""
    entries = config["experiments"][experiment]["generators"].items()
    return {name: generator for name, generator in entries if generator["model"] == EXTERNAL}


def trained_here(experiment):
    """Names of the generators whose images, or masks, are sampled from a training of this experiment."""
    own = config["experiments"][experiment]["generators"]
    again = [name for name in own if "trained_as" in own[name]]
    return [name for name in (*own, *mask_drawers(experiment)) if name not in (*external(experiment), *again)]


def threads_of(training):
    """CPU threads of a training, by its settings: those of all its processes."""
    return training["threads"] * training["processes"]


def repeats_of(generator):
    """How often each training of a generator is run; the one of the anomaly search once."""
    return generator.get("repeats", 1)


def repeated(generator):
    """Name, settings and repeat of each training of a generator: all of the first repeat, then all of the next."""
    return [
        (part if repeat == 0 else f"{part}_r{repeat + 1}", training, repeat)
        for repeat in range(repeats_of(generator))
        for part, training in generator["trainings"].items()
    ]


def trainings(experiment, generator):
    """Names of the trainings of one generator, as `repeated` orders them; none where it was made elsewhere."""
    return [part for part, _, _ in repeated(trained_generators(experiment).get(generator, {"trainings": {}}))]


def checkpoint_of(experiment, generator, part):
    """The state of a generator that everything after the training uses: the last one, or the one that was chosen."""
    generator = trained_generators(experiment)[generator].get("trained_as", generator)
    chosen = generator in config["experiments"][experiment].get("states", {}).get("choose", ())
    return f"results/{experiment}/generators/{generator}/{part}{'.chosen' if chosen else ''}.pt"


def generators(experiment):
    """Names of the generators of an experiment, in the order of params.yaml."""
    return list(config["experiments"][experiment]["generators"])


def urgency(wildcards):
    """Priority of a job: the earlier its experiment stands in params.yaml, the higher; of what all share, none."""
    return {name: place for place, name in enumerate(reversed(EXPERIMENTS), 1)}.get(wildcards.get("experiment"), 0)


def urgency_of_data(dataset):
    """That of the first experiment on these images; of images that only accompany others, the highest."""
    users = [name for name in EXPERIMENTS if config["experiments"][name]["dataset"] == dataset]
    return urgency({"experiment": (users or EXPERIMENTS)[0]})


def dataset_of(experiment):
    return config["datasets"][config["experiments"][experiment]["dataset"]]


def raw(dataset, kind):
    return [f"data/{dataset}/{kind}/{name}" for name in raw_files(config["datasets"][dataset])]


def synthetic(experiment, folder, suffix):
    """One file for every generator, in the order of params.yaml."""
    return [f"results/{experiment}/{folder}/synthetic/{name}.{suffix}" for name in generators(experiment)]


def has_pool(experiment):
    return dataset_of(experiment)["pool"] is not None


def augmented_draws(experiment, extractor):
    """Augmented draws of the training images that tasks on features of this extractor ask for."""
    tasks = config["experiments"][experiment]["tasks"].values()
    draws = [task["arms"]["augmented_draws"] for task in tasks if task["model"].get("backbone") == extractor]
    return max(draws, default=0)


def perceptual_weights(experiment, generator):
    """The file of weights that a generator's perceptual loss needs, or []."""
    return trained_generators(experiment)[generator]["config"].get("perceptual_weights") or []


def with_lpips(entry):
    """The methods of an experiment that measure by LPIPS: their settings."""
    return [
        entry["fidelity"]["diversity"],
        *([entry["mask_diversity"]] if "mask_diversity" in entry else []),
        *([entry["latent_editing"]["path_length"]] if "latent_editing" in entry else []),
    ]


def pretrained(experiment):
    """Names of the pretrained weights that an experiment uses."""
    losses = [perceptual_weights(experiment, name) for name in trained_generators(experiment)]
    tasks = [task["model"] for task in config["experiments"][experiment]["tasks"].values()]
    networks = [*trained_classifiers(experiment).values(), *(m["training"] for m in tasks if m["kind"] == "network")]
    networks += [mask_channel(experiment)["training"]] if experiment in having("mask_channel") else []
    networks += [reidentification(experiment)["recogniser"]] if experiment in having("reidentification") else []
    starts = [settings.get("pretrained") for settings in networks]
    names = [
        *config["experiments"][experiment]["extractors"],
        *(Path(path).stem for path in losses if path),
        *starts,
        *(part["lpips"] for part in with_lpips(config["experiments"][experiment])),
    ]
    return [name for name in dict.fromkeys(names) if name not in ("domain", None)]


def titled(experiment, name, part):
    """What a training is called in the report: its generator, and the part where there are several of it."""
    title = named_in_report(name, trained_generators(experiment)[name])["title"]
    return title if len(trainings(experiment, name)) == 1 else f"{title}: {part.replace('_', ' ')}"


def all_trainings(experiment):
    return [(name, part) for name in trained_here(experiment) for part in trainings(experiment, name)]


def settings_files(wildcards):
    """Settings that the report prints in full."""
    folder = f"results/{wildcards.experiment}/settings"
    training = [f"{folder}/train.{name}.{part}.json" for name, part in all_trainings(wildcards.experiment)]
    fixed = ["prepare.raw", "split", "train_extractor"]
    for task, entry in config["experiments"][wildcards.experiment]["tasks"].items():
        fixed += [f"compose_arms.{task}", f"compare.{task}"] + (
            [f"classify.{task}"] if entry["model"]["kind"] == "head" else []
        )
    return [f"{folder}/{name}.json" for name in fixed] + training


# ------------------------------------------------------------------------ methods that only some experiments ask for
def having(method):
    """Names of the experiments that ask for `method`."""
    return [name for name, entry in config["experiments"].items() if method in entry]


def pseudo_labelled(experiment):
    """Generators of several classes that cannot be asked for one: their samples get labels from a classifier."""
    entries = config["experiments"][experiment]["generators"].items()
    return [name for name, entry in entries if UNLABELLED in entry.get("sampling", {}).get("samples", ())]


# Where the pseudo-labelled sets lie, as a pattern; one that nothing matches where there are none.
PSEUDO_LABELLED = "|".join(
    f"{experiment}/images/synthetic/{name}[.]" for experiment in EXPERIMENTS for name in pseudo_labelled(experiment)
)
PSEUDO_LABELLED = PSEUDO_LABELLED or "(?!)"
# And the sets that were made elsewhere.
EXTERNAL_SETS = "|".join(
    f"{experiment}/images/synthetic/{name}[.]" for experiment in EXPERIMENTS for name in external(experiment)
)
EXTERNAL_SETS = EXTERNAL_SETS or "(?!)"
# And the masks that are real ones, deformed.
DEFORMED_MASKS = "|".join(
    f"{experiment}/images/masks/{name}[.]"
    for experiment in EXPERIMENTS
    for name in mask_generators(experiment)
    if name not in mask_drawers(experiment)
)
DEFORMED_MASKS = DEFORMED_MASKS or "(?!)"


def trained_classifiers(experiment):
    """Classifiers of which every weight is trained, by name, with their settings."""
    return config["experiments"][experiment].get("classifiers", {})


def classifier_of(method, suffix=".pt"):
    """Input function: a file of the classifier that a method (`disease_axes`, `anomaly`) names."""
    return lambda w: (
        f"results/{w.experiment}/classifiers/{config['experiments'][w.experiment][method]['classifier']}{suffix}"
    )


def findings(experiment):
    """Names of the findings that are studied: the outputs, but for classes, of the classifier that a method names."""
    entry = config["experiments"][experiment]
    named = [entry[method]["classifier"] for method in ("anomaly", "disease_axes") if method in entry]
    targets = trained_classifiers(experiment)[named[0]]["targets"] if named else []
    return [target for target in targets if target not in entry["classes"]]


def set_aside(experiment):
    """Findings that are not studied, for the anomaly test only."""
    return config["experiments"][experiment].get("selection", {}).get("set_aside_findings") or []
