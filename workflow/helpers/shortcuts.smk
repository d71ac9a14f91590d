# What the rules of workflow/rules/shortcuts.smk ask.
def shortcuts_task(wildcards):
    """The task whose classifiers are asked what they look at."""
    experiment = config["experiments"][wildcards.experiment]
    return experiment["tasks"][experiment["shortcuts"]["task"]]


def of_shortcuts(name):
    """Input function: a file of that task."""
    return lambda w: (f"results/{w.experiment}/tasks/{config['experiments'][w.experiment]['shortcuts']['task']}/{name}")


def of_shortcuts_arms(wildcards):
    """The networks of all its arms, in their order."""
    task = config["experiments"][wildcards.experiment]["shortcuts"]["task"]
    return [
        f"results/{wildcards.experiment}/tasks/{task}/models/{arm}.pt" for arm in arms_of(wildcards.experiment, task)
    ]


def shortcut_tags(wildcards):
    """The table of tags, where nobody but the tagger knows those of the test images."""
    asked = config["experiments"][wildcards.experiment]["shortcuts"]["measures"]["tags"]
    known_by_tagger = asked and tagged_images(wildcards.experiment)
    return f"results/{wildcards.experiment}/artefacts/tags.csv" if known_by_tagger else []
