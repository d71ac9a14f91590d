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


def painting_real_masks(experiment):
    """Generators that paint images for the masks of real training images, as they are."""
    entry = config["experiments"][experiment]
    painted = {name for generator in mask_generators(experiment).values() for name in generator["paints"]}
    return [
        name
        for name, generator in entry["generators"].items()
        if generator["model"] != EXTERNAL
        and "mask" in needs_of(generator["model"], generator["config"])
        and name not in painted
    ]


def audits_of_masks(suffix):
    """Input function: the copy audits of the masks that generators draw, or their pictures."""
    return lambda w: [f"results/{w.experiment}/copies/masks/{name}.{suffix}" for name in drawing_masks(w.experiment)]


def of_drawing(folder, suffix):
    """Input function: files of the generators that draw masks. folder: masks, the comparisons, or images."""
    return lambda w: [
        f"results/{w.experiment}/{folder}/{'synthetic' if folder == 'masks' else place}/{name}.{suffix}"
        for name, place in drawing_masks(w.experiment).items()
    ]
