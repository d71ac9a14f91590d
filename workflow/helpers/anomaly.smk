# What the rules of workflow/rules/anomaly.smk ask.
def anomaly_checkpoint(wildcards):
    (part,) = trainings(wildcards.experiment, "anomaly")
    return f"results/{wildcards.experiment}/generators/anomaly/{part}.pt"


def kinds(experiment):
    """All findings that the anomaly search is tested on: the studied ones, and those that were set aside."""
    return [*findings(experiment), *set_aside(experiment)]


def searches(experiment):
    return list(config["experiments"][experiment]["anomaly"]["searches"])


def query_sets(experiment):
    """Image sets of the anomaly test: the test part, and the films that were set aside for it."""
    return ["test", "set_aside"] if set_aside(experiment) else ["test"]


def search_encoder(wildcards):
    """The encoder that starts a search, or [] where chance does."""
    settings = config["experiments"][wildcards.experiment]["anomaly"]["searches"][wildcards.search]
    return f"results/{wildcards.experiment}/anomaly/encoder.pt" if settings["start"] == "encoder" else []


def searched(suffix):
    """Input function: results of all searches of the query images, search after search."""
    return lambda w: [
        f"results/{w.experiment}/anomaly/{search}/{images}.{suffix}"
        for search in searches(w.experiment)
        for images in query_sets(w.experiment)
    ]
