# What the rules of workflow/rules/latent_editing.smk ask.
def edited_checkpoint(wildcards):
    """The first repeat of the training whose latent space is edited in."""
    editing = config["experiments"][wildcards.experiment]["latent_editing"]
    return checkpoint_of(wildcards.experiment, editing["generator"], editing["training"])


def path_length_weights(wildcards):
    """The weights of LPIPS, or []."""
    name = config["experiments"][wildcards.experiment]["latent_editing"]["path_length"]["lpips"]
    return f"results/{wildcards.experiment}/extractors/{name}.pt" if name else []
