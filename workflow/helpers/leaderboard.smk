# What the rules of workflow/rules/leaderboard.smk ask.
def fidelity_files(wildcards):
    """Of the images, by extractor and generator."""
    extractors = config["experiments"][wildcards.experiment]["extractors"]
    return [path for name in extractors for path in synthetic(wildcards.experiment, f"fidelity/{name}", "json")]


def of_generators(folder, suffix):
    return lambda w: synthetic(w.experiment, folder, suffix)


def of_tasks(name):
    """Input function: a file of every task of the experiment, in the order of params.yaml."""
    return lambda w: [f"results/{w.experiment}/tasks/{task}/{name}" for task in tasks_of(w.experiment)]
