# What the rules of workflow/rules/multi_scale.smk ask.
JOINS = ("maps", "out_of_fold", "constant", "mean", "best")


def multi_scale(experiment):
    return config["experiments"][experiment]["multi_scale"]


def scales_of(experiment):
    """Name of each size, `<height>x<width>`, → the size, in the order of params.yaml."""
    return {f"{height}x{width}": [height, width] for height, width in multi_scale(experiment)["sizes"]}


def folds_of(experiment):
    return [f"fold_{number}" for number in range(1, multi_scale(experiment)["folds"] + 1)]


def first_networks(experiment, fold=""):
    """The segmenters of all sizes; of those that were trained without a fold, `.fold_<number>`."""
    return [f"results/{experiment}/multi_scale/first/{scale}{fold}.pt" for scale in scales_of(experiment)]


def networks_of_folds(wildcards):
    """Those of each fold, fold after fold; none where the join needs none."""
    folds = folds_of(wildcards.experiment) if wildcards.join == "out_of_fold" else []
    return [path for fold in folds for path in first_networks(wildcards.experiment, f".{fold}")]


def networks_of_scale(suffix):
    """Input function: the network of a size alone, and those that join the maps of all sizes there."""
    return lambda w: [
        f"results/{w.experiment}/multi_scale/first/{w.scale}.{suffix}",
        *(f"results/{w.experiment}/multi_scale/{w.scale}/{join}.{suffix}" for join in JOINS),
    ]


def first_names(experiment):
    return [f"alone_{scale}" for scale in scales_of(experiment)]


def forms_of(experiment):
    """Whose drawings are looked at: the networks alone, then those that see all maps; name → file."""
    joined = {f"joined_{scale}": f"results/{experiment}/multi_scale/{scale}/maps.pt" for scale in scales_of(experiment)}
    return {**dict(zip(first_names(experiment), first_networks(experiment), strict=True)), **joined}


def of_scales(name):
    """Input function: a file of the comparison at each size."""
    return lambda w: [f"results/{w.experiment}/multi_scale/{scale}/{name}" for scale in scales_of(w.experiment)]
