# What the rules of workflow/rules/train.smk ask.
def training_of(w):
    """Settings of the training loop of the rule's generator."""
    return trained_generators(w.experiment)[w.generator]["training"]
