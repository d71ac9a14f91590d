# What the rules of workflow/rules/train.smk ask.
def training_of(w):
    """Settings of the training loop of the rule's generator."""
    return trained_generators(w.experiment)[w.generator]["training"]


def part_of(w):
    """Settings of the rule's training, and which of its repeats it is."""
    parts = {
        part: (training, repeat) for part, training, repeat in repeated(trained_generators(w.experiment)[w.generator])
    }
    return parts[w.part]


def images_to_learn(w):
    """The images of the rule's training: those of the training part, or these without their frames."""
    method = part_of(w)[0].get("frames")
    return f"results/{w.experiment}/images/" + ("train.zip" if method is None else f"painted/{method}.zip")


def initial_checkpoint(w):
    """The checkpoint whose weights a training begins with, of the same repeat, or []."""
    training, repeat = part_of(w)
    begun = training.get("initialise_from")
    if begun is None:
        return []
    if is_file(begun):
        return str(user_path(begun))
    generator, _, part = begun.partition(".")
    return checkpoint_of(w.experiment, generator, f"{part}_r{repeat + 1}" if repeat else part)


def sources_of_samples(w):
    """The images or masks that the samples of the rule's generator are made from."""
    drawer = masks_painted_by(w.experiment, w.generator)
    return f"results/{w.experiment}/images/" + ("train.zip" if drawer is None else f"masks/{drawer}.zip")
