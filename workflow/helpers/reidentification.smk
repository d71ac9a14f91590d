# What the rules of workflow/rules/reidentification.smk ask.
def reidentification(experiment):
    return config["experiments"][experiment]["reidentification"]


def asked_generators(experiment):
    """The generators whose images patients are looked for in, in the order of params.yaml."""
    named = reidentification(experiment)["generators"]
    return [name for name in generators(experiment) if named is None or name in named]


def asked_images(wildcards):
    """Their image sets."""
    return [
        f"results/{wildcards.experiment}/images/synthetic/{name}.zip" for name in asked_generators(wildcards.experiment)
    ]


def asked_features(wildcards):
    """Features of the real training images, the unseen ones and these sets, or [] where no image is shown as it is."""
    asked = reidentification(wildcards.experiment)
    sets = ["train", "unseen", *(f"synthetic/{name}" for name in asked_generators(wildcards.experiment))]
    folder = f"results/{wildcards.experiment}/features/{asked['extractor']}/plain"
    return [f"{folder}/{name}.npz" for name in sets] if "plain" in asked["variants"] else []


def recogniser_weights(wildcards):
    """Pretrained weights that the network which knows patients starts from, or []."""
    name = reidentification(wildcards.experiment)["recogniser"].get("pretrained")
    return f"results/{wildcards.experiment}/extractors/{name}.pt" if name else []


def asked_extractor(wildcards):
    return f"results/{wildcards.experiment}/extractors/{reidentification(wildcards.experiment)['extractor']}.pt"


def dial_verdicts(wildcards):
    """Verdicts of the task whose outcome is shown along the dial, or []."""
    dial = reidentification(wildcards.experiment)["dial"]
    return f"results/{wildcards.experiment}/tasks/{dial['task']}/verdicts.json" if dial else []
