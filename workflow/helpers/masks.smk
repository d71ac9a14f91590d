# What the rules of workflow/rules/masks.smk ask.
def drawing_masks(experiment):
    """Generators whose images come with masks of their own, not with those of real images, and what draws masks alone:
    name → where its set lies."""
    entry = config["experiments"][experiment]
    masks = entry["prepare"].get("masks")
    if masks is None or not masks["required"]:
        return {}
    own = {name: "synthetic" for name, generator in entry["generators"].items() if draws_masks(generator)}
    return {**dict.fromkeys(mask_generators(experiment), "masks"), **own}


def draws_masks(generator):
    if generator["model"] == EXTERNAL:
        return True
    return generator["training"]["masks"] is not None and "mask" not in needs_of(
        generator["model"], generator["config"]
    )


def of_drawing(folder, suffix):
    """Input function: files of the generators that draw masks. folder: masks, the comparisons, or images."""
    return lambda w: [
        f"results/{w.experiment}/{folder}/{'synthetic' if folder == 'masks' else place}/{name}.{suffix}"
        for name, place in drawing_masks(w.experiment).items()
    ]
