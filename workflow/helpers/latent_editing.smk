# What the rules of workflow/rules/latent_editing.smk ask.
from synthmed.core.check_method_names import asked_trainings

EDIT_USE = ("batch_size", "threads", "device")


def derived_pattern(kind):
    """Where derived sets of one kind lie, as a pattern; one that nothing matches where there are none."""
    paths = [
        f"{experiment}/images/derived/{name}[.]"
        for experiment in EXPERIMENTS
        for name, one in derived_sets(experiment).items()
        if one["kind"] == kind
    ]
    return "|".join(paths) or "(?!)"


EDITED = derived_pattern("edited")


def edited_checkpoint(wildcards):
    """The first repeat of the training whose latent space is edited in."""
    editing = config["experiments"][wildcards.experiment]["latent_editing"]
    return checkpoint_of(wildcards.experiment, editing["generator"], editing["training"])


def path_lengths(experiment):
    """Generator, training and label of every path length, of the first repeat of each training."""
    entry = config["experiments"][experiment]
    asked = entry["latent_editing"]["path_length"]
    return [
        (name, training, asked["label"] if labels else None)
        for name in asked["generators"]
        for training, labels in asked_trainings(entry["generators"][name]).items()
    ]


def path_length_files(wildcards):
    folder = f"results/{wildcards.experiment}/latent_editing/path_length"
    return [f"{folder}/{name}.{training}.json" for name, training, _ in path_lengths(wildcards.experiment)]


def path_length_weights(wildcards):
    """The weights of LPIPS, or []."""
    name = config["experiments"][wildcards.experiment]["latent_editing"]["path_length"]["lpips"]
    return f"results/{wildcards.experiment}/extractors/{name}.pt" if name else []
