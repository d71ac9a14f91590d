# What the rules of workflow/rules/learning_curve.smk ask.
def learning_curve(experiment):
    return config["experiments"][experiment]["learning_curve"]


def curve_arms(experiment):
    """Settings of the arms at every size: the real images, these twice, and with those of the generator."""
    curve = learning_curve(experiment)
    alike = {"added_share": curve["added_share"], "sets": [curve["generator"]], "added": [curve["generator"]]}
    nothing = {"added_counts": None, "only_share": None, "swap": None, "oracle": None, "alone": []}
    nothing |= {"undersampled": [], "pairs": [], "sweep": {}, "oracle_sweep": [], "only_sweep": []}
    return {**arm_settings(experiment, curve["task"]), **nothing, **alike}


def curve_arm_names(experiment):
    return arm_names(parsed(ArmSettings, curve_arms(experiment), f"experiments.{experiment}.learning_curve"))


def curve_generator(wildcards):
    return trained_generators(wildcards.experiment)[learning_curve(wildcards.experiment)["generator"]]


def curve_checkpoints(wildcards):
    """The generator's trainings on the real images of this size."""
    generator = learning_curve(wildcards.experiment)["generator"]
    parts = trainings(wildcards.experiment, generator)
    return [f"results/{wildcards.experiment}/curve/{wildcards.size}/{generator}.{part}.pt" for part in parts]


def curve_models(suffix):
    """Input function: files of the segmenters of all arms at a size."""
    return lambda w: [
        f"results/{w.experiment}/curve/{w.size}/models/{arm}.{suffix}" for arm in curve_arm_names(w.experiment)
    ]


def curve_segmenter(wildcards):
    return tasks_of(wildcards.experiment)[learning_curve(wildcards.experiment)["task"]]["model"]


def curve_grid(wildcards):
    """Where the task leaves a choice of learning rate and dropout, what was chosen there holds at all sizes."""
    task = learning_curve(wildcards.experiment)["task"]
    several = chosen_by_grid(wildcards.experiment, task)
    return f"results/{wildcards.experiment}/tasks/{task}/grid.csv" if several else []


def of_curve(name):
    """Input function: a file of every size."""
    return lambda w: [f"results/{w.experiment}/curve/{size}/{name}" for size in learning_curve(w.experiment)["sizes"]]
