# What the rules of workflow/rules/latent_editing.smk ask.
def edited_checkpoint(wildcards):
    """The first repeat of the training whose latent space is edited in."""
    editing = config["experiments"][wildcards.experiment]["latent_editing"]
    return f"results/{wildcards.experiment}/generators/{editing['generator']}/{editing['training']}.pt"
