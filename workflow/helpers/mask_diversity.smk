# What the rules of workflow/rules/mask_diversity.smk ask.
def diverse_generators(experiment):
    """Generators whose images of one mask are compared."""
    return list(config["experiments"][experiment]["mask_diversity"]["generators"])


def diversity_checkpoint(wildcards):
    """Of the first training of the generator."""
    part = trainings(wildcards.experiment, wildcards.generator)[0]
    return checkpoint_of(wildcards.experiment, wildcards.generator, part)


def diversity_images(wildcards):
    part = config["experiments"][wildcards.experiment]["mask_diversity"]["part"]
    return f"results/{wildcards.experiment}/images/{part}.zip"


def diversity_weights(wildcards):
    """The weights of LPIPS, or []."""
    name = config["experiments"][wildcards.experiment]["mask_diversity"]["lpips"]
    return f"results/{wildcards.experiment}/extractors/{name}.pt" if name else []


def diversity_files(suffix):
    """Input function: results of all these generators, in their order."""
    return lambda w: [f"results/{w.experiment}/diversity/{name}.{suffix}" for name in diverse_generators(w.experiment)]
