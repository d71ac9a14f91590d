# What the rules of workflow/rules/background.smk ask.
PARTS = ("train", "validation", "test")


def background(experiment):
    return config["experiments"][experiment]["background"]


def background_task(experiment):
    """The task whose classifier is asked what the background tells."""
    return tasks_of(experiment)[background(experiment)["task"]]


def region_features(part):
    """Input function: features of what is left of one part of the images, by the backbone of the task."""
    path = "results/{experiment}/features/{backbone}/plain/background/{region}/{part}.npz"
    return lambda w: path.format(
        experiment=w.experiment,
        backbone=background_task(w.experiment)["model"]["backbone"],
        region=w.region,
        part=part,
    )


def of_regions(path):
    """Input function: a file of every region that the experiment looks at, in their order."""
    return lambda w: [
        path.format(experiment=w.experiment, region=region) for region in background(w.experiment)["regions"]
    ]
