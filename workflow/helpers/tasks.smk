# What the rules of workflow/rules/tasks.smk ask.
from synthmed.core.check_names import used_generators
from synthmed.core.known import AUGMENTED
from synthmed.data.targets import LABEL
from synthmed.evaluation.arms import UNDERSAMPLED, ArmSettings, arm_names, define_arms


def tasks_of(experiment):
    """The tasks of an experiment, by name."""
    return config["experiments"][experiment]["tasks"]


def task_of(wildcards):
    return tasks_of(wildcards.experiment)[wildcards.task]


def target_of(experiment, task):
    """What a task tells apart: a column of the manifest, its classes, the positive one."""
    entry = config["experiments"][experiment]
    own = {"column": LABEL, "classes": entry["classes"], "positive": entry["positive"]}
    return tasks_of(experiment)[task].get("target") or own


def of_model(kind):
    """Constraint of the wildcard `experiment` to tasks whose model under test is of this kind."""
    paths = [
        f"{experiment}/tasks/{task}/"
        for experiment in EXPERIMENTS
        for task, entry in tasks_of(experiment).items()
        if entry["model"]["kind"] == kind
    ]
    return f"(?={'|'.join(paths) or '(?!)'})[a-z0-9_]+"


def task_sets(experiment, task):
    """Names of the synthetic sets of a task: its generators, and the pool of true draws where there is one."""
    return task_generators(experiment, task) + (["oracle"] if oracle_of(experiment, task) else [])


def task_generators(experiment, task, role=None):
    """The generators and derived sets that a task uses, in the order of params.yaml; role: `added`, `alone` or
    `undersampled`, None: any."""
    known = [*generators(experiment), *derived_sets(experiment)]
    named = used_generators(tasks_of(experiment)[task]["arms"]["generators"], known)
    return [name for name in known if any(name in named[one] for one in ([role] if role else named))]


def oracle_of(experiment, task):
    return "oracle" if has_pool(experiment) and tasks_of(experiment)[task]["arms"]["swap"] is None else None


def arm_settings(experiment, task):
    entry = tasks_of(experiment)[task]
    model = entry["model"]["training"]
    oracle = oracle_of(experiment, task)
    roles = {
        role: task_generators(experiment, task, role) + ([oracle] if oracle else []) for role in ("added", "alone")
    }
    return {
        **{name: value for name, value in entry["arms"].items() if name != "generators"},
        **{name: target_of(experiment, task)[name] for name in ("classes", "column")},
        "sets": task_sets(experiment, task),
        **roles,
        "undersampled": task_generators(experiment, task, "undersampled"),
        "oracle": oracle,
        "masks": entry["kind"] == "segmentation",
        "seeds": model["seeds"],
        "seed": config["experiments"][experiment]["seed"],
    }


def arms_of(experiment, task):
    """Names of the arms of a task, the real one first."""
    return arm_names(parsed(ArmSettings, arm_settings(experiment, task), f"experiments.{experiment}.tasks.{task}.arms"))


def augmented_arms(experiment, task):
    """Names of the arms that are given augmented draws of the real images."""
    settings = parsed(ArmSettings, arm_settings(experiment, task))
    return [arm.name for arm in define_arms(settings, dict.fromkeys(settings.classes, 1)) if arm.set == AUGMENTED]


def of_task_sets(wildcards, folder, suffix):
    """A file for each synthetic set of the task, in their order."""
    derived = derived_sets(wildcards.experiment)
    places = {"oracle": "pool", **{name: f"derived/{name}" for name in derived}}
    return [
        f"results/{wildcards.experiment}/{folder}/{places.get(name, f'synthetic/{name}')}.{suffix}"
        for name in task_sets(wildcards.experiment, wildcards.task)
    ]


def task_images(wildcards):
    """Image sets of the task's synthetic sets, in their order."""
    return of_task_sets(wildcards, "images", "zip")


def task_backbone(wildcards):
    return task_of(wildcards)["model"]["backbone"]


def task_features(name, variant="plain"):
    """Input function: the features of an image set, by the backbone of the task."""
    return lambda w: f"results/{w.experiment}/features/{task_backbone(w)}/{variant}/{name}.npz"


def task_synthetic_features(wildcards):
    return of_task_sets(wildcards, f"features/{task_backbone(wildcards)}/plain", "npz")


def target_images(wildcards):
    """The images whose manifests say what class they are of, where the task asks for another column than the label."""
    if target_of(wildcards.experiment, wildcards.task)["column"] == LABEL:
        return []
    real = [f"results/{wildcards.experiment}/images/{part}.zip" for part in ("train", "validation", "test")]
    return real + task_images(wildcards)


def augmented_features(wildcards):
    draws = task_of(wildcards)["arms"]["augmented_draws"]
    return task_features("train", "augmented")(wildcards) if draws else []


def leaking(experiment, task):
    """Whether a task is tested on unseen images of the patients that were trained on."""
    return bool(tasks_of(experiment)[task].get("leaking"))


def task_test(wildcards):
    """Name of the images that a task is tested on."""
    return "unseen" if leaking(wildcards.experiment, wildcards.task) else "test"


def of_arms(file):
    """Input function: `file` in the folder of a task, with the wildcard `arm`, of all its arms in their order."""
    return lambda w: [
        f"results/{w.experiment}/tasks/{w.task}/{file.format(arm=arm)}" for arm in arms_of(w.experiment, w.task)
    ]


def arm_weights(wildcards):
    """Pretrained weights that the networks of a task start from, or []."""
    name = task_of(wildcards)["model"]["training"]["pretrained"]
    return f"results/{wildcards.experiment}/extractors/{name}.pt" if name else []


def beyond_real(path):
    """Input function: what the arms are trained on that have other images than all the real ones."""
    return lambda w: (path(w) if callable(path) else path.format(**w)) if w.arm not in ("real", "on_the_fly") else []


def chosen_by_grid(experiment, task):
    """Whether the settings leave a choice of learning rate and dropout of a segmenter."""
    training = tasks_of(experiment)[task]["model"]["training"]
    return len(training["learning_rates"]) * len(training["dropouts"]) > 1


def segmenter_grid(wildcards):
    several = chosen_by_grid(wildcards.experiment, wildcards.task)
    return f"results/{wildcards.experiment}/tasks/{wildcards.task}/grid.csv" if several else []


def scored_masks(wildcards):
    """The masks that segmenters are judged by, where these are not the prepared ones."""
    original = task_of(wildcards)["model"]["scoring"]["original_size"]
    return f"results/{wildcards.experiment}/images/test_masks.zip" if original else []
