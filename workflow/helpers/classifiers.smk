# What the rules of workflow/rules/classifiers.smk ask.
def classifier_weights(wildcards):
    """Pretrained weights that the training of a classifier starts from, or []."""
    name = trained_classifiers(wildcards.experiment)[wildcards.classifier]["pretrained"]
    return f"results/{wildcards.experiment}/extractors/{name}.pt" if name else []


def classifier_images(part):
    """Input function: the images that a classifier is trained on, or validated with: of all images where it has patients
    of its own held out (it serves the exclusions, before the split), else of the parts."""

    def images(wildcards):
        held_out = trained_classifiers(wildcards.experiment)[wildcards.classifier]["holdout"] is not None
        tagged = tagged_images(wildcards.experiment)
        own = "tagged/" if tagged and wildcards.classifier in tagged["classifiers"] else ""
        return f"results/{wildcards.experiment}/images/{'raw' if held_out else own + part}.zip"

    return images


def swapped(experiment):
    """The generator whose images replace the real ones in the task that Grad-CAM looks at."""
    entry = config["experiments"][experiment]
    return entry["tasks"][entry["grad_cam"]["task"]]["arms"]["swap"]


def of_task(key, path):
    """Input function: a file of the task that the experiment's block `key` names; {swap} is its swapped generator."""
    return lambda w: path.format(
        experiment=w.experiment,
        task=config["experiments"][w.experiment][key]["task"],
        swap=swapped(w.experiment) if key == "grad_cam" else "",
    )
