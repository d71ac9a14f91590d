# What the rules of workflow/rules/masks.smk ask.
def drawing_masks(experiment):
    """Generators whose images come with masks of their own, not with those of real images."""
    entry = config["experiments"][experiment]
    masks = entry["prepare"]["masks"]
    if masks is None or not masks["required"]:
        return []
    return [name for name, generator in entry["generators"].items() if draws_masks(generator)]


def draws_masks(generator):
    if generator["model"] == EXTERNAL:
        return True
    return generator["training"]["masks"] is not None and "mask" not in needs_of(
        generator["model"], generator["config"]
    )


def of_drawing(folder, suffix):
    """Input function: files of the generators that draw masks."""
    return lambda w: [
        f"results/{w.experiment}/{folder}/synthetic/{name}.{suffix}" for name in drawing_masks(w.experiment)
    ]
