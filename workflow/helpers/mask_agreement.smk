# What the rules of workflow/rules/mask_agreement.smk ask.
def mask_agreement(experiment):
    return config["experiments"][experiment]["mask_agreement"]


def first_checkpoint(wildcards):
    """Of the first training of the generator."""
    part = trainings(wildcards.experiment, wildcards.generator)[0]
    return checkpoint_of(wildcards.experiment, wildcards.generator, part)


def agreement_files(suffix):
    """Input function: results of all generators that are judged, in their order."""
    return lambda w: [
        f"results/{w.experiment}/agreement/{name}.{suffix}" for name in mask_agreement(w.experiment)["generators"]
    ]
