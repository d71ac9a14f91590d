# What the rules of workflow/rules/evaluate.smk ask.
def copies_extractor(experiment):
    """The extractor in whose features copies are looked for: one that was not fitted to the training images, if any."""
    known = config["experiments"][experiment]["extractors"]
    return next((name for name in ("inception", "vgg16", "efficientnet_lite0") if name in known), "domain")


def copies_features(images):
    """Input function: features of an image set, for the copy audit."""
    path = f"results/{{experiment}}/features/{{extractor}}/plain/{images}.npz"
    return lambda w: path.format(extractor=copies_extractor(w.experiment), **w)


def views_of(experiment):
    """What fidelity is measured of, as suffix of file names -> view: images and, where all have masks, the masks of each
    class and both together."""
    masks = config["experiments"][experiment]["prepare"].get("masks")
    if masks is None or not masks["required"]:
        return {"": "image"}
    own = {f".mask_{number}": name for number, name in enumerate(masks["classes"], start=1)}
    return {"": "image", **own, ".both": "both"}


def extractor_weights(wildcards):
    """The weights of an extractor; `domain` learns its own of every view."""
    view = wildcards.view if wildcards.extractor == "domain" else ""
    return f"results/{wildcards.experiment}/extractors/{wildcards.extractor}{view}.pt"


def compared_in(experiment, suffix):
    """Sets whose fidelity is measured of a view, name → folder: what generators make, and of the masks of each class what
    draws masks alone."""
    drawn = mask_generators(experiment) if suffix.startswith(".mask_") else {}
    return {**dict.fromkeys(generators(experiment), "synthetic"), **dict.fromkeys(drawn, "masks")}


def fidelity_of_views(wildcards):
    """Fidelity of images, masks and both, by extractor, view and generator."""
    return [
        f"results/{wildcards.experiment}/fidelity/{extractor}{suffix}/{folder}/{name}.json"
        for extractor in config["experiments"][wildcards.experiment]["extractors"]
        for suffix in views_of(wildcards.experiment)
        for name, folder in compared_in(wildcards.experiment, suffix).items()
    ]


def pair_weights(wildcards):
    """The weights of LPIPS for the diversity of whole sets, or []."""
    name = config["experiments"][wildcards.experiment]["fidelity"]["diversity"]["lpips"]
    return f"results/{wildcards.experiment}/extractors/{name}.pt" if name else []
