# What the rules of workflow/rules/disease_axes.smk ask.
def axes_checkpoint(wildcards):
    """The one training, or its first repeat, of the generator whose latent space is searched for axes."""
    generator = config["experiments"][wildcards.experiment]["disease_axes"]["generator"]
    (part,) = trained_generators(wildcards.experiment)[generator]["trainings"]
    return checkpoint_of(wildcards.experiment, generator, part)
