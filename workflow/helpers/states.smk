# What the rules of workflow/rules/states.smk ask.
def scored_generators(experiment):
    """Generators whose kept states are scored."""
    return list(config["experiments"][experiment]["states"]["generators"])


def scored_trainings(experiment):
    """(generator, training) of each of their trainings, every repeat."""
    return [(name, part) for name in scored_generators(experiment) for part in trainings(experiment, name)]


def states_threads(wildcards):
    entry = config["experiments"][wildcards.experiment]
    return entry["extractors"][entry["states"]["extractor"]]["threads"]


def states_weights(wildcards):
    extractor = config["experiments"][wildcards.experiment]["states"]["extractor"]
    return f"results/{wildcards.experiment}/extractors/{extractor}.pt"


def states_features(images):
    """Input function: features of an image set, by the extractor of the states."""
    return lambda w: (
        f"results/{w.experiment}/features/{config['experiments'][w.experiment]['states']['extractor']}/plain/{images}.npz"
    )


def state_scores(wildcards):
    return [
        f"results/{wildcards.experiment}/states/{name}/{part}.json"
        for name, part in scored_trainings(wildcards.experiment)
    ]


def state_pictures(wildcards):
    """Of the first training of each generator."""
    return [
        f"results/{wildcards.experiment}/states/{name}/{trainings(wildcards.experiment, name)[0]}.npz"
        for name in scored_generators(wildcards.experiment)
    ]
