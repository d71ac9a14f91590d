# What the rules of workflow/rules/mask_channel.smk ask.
VARIANTS = {
    "real": ("Image alone", None, None),
    "soft": ("Image and soft mask, last U-Net", "soft", "joined"),
    "thresholded": ("Image and thresholded mask, last U-Net", "thresholded", "joined"),
    "alone": ("Image and soft mask, U-Net alone", "soft", "alone"),
    "other": ("Image and another lesion's mask", "other", "joined"),
    "ones": ("Image and a mask of ones", "ones", None),
}
"""Arm → its title, what the channel is, and whose drawing: that of the last network, or of the largest one alone."""


def mask_channel(experiment):
    return config["experiments"][experiment]["mask_channel"]


def variant_images(experiment, variant, part):
    """One part of the images that are diagnosed, as a variant takes them; `test` without those that are known."""
    part = "unseen" if part == "test" else part
    within = "" if VARIANTS[variant][1] is None else f"{variant}/"
    return f"results/{experiment}/images/diagnosed/{within}{part}.zip"


def of_variants(path):
    """Input function: a file of the classifier of every variant, in their order."""
    return lambda w: [path.format(experiment=w.experiment, variant=variant) for variant in VARIANTS]


def drawing_segmenter(wildcards):
    """The segmenter whose drawing becomes a channel, at the largest size; [] where none is asked."""
    whose = VARIANTS[wildcards.variant][2]
    scale = next(iter(scales_of(wildcards.experiment)))
    folder = f"results/{wildcards.experiment}/multi_scale"
    return {"joined": f"{folder}/{scale}/maps.pt", "alone": f"{folder}/first/{scale}.pt"}.get(whose, [])


def variant_weights(wildcards):
    """Pretrained weights that the classifiers start from, or []."""
    name = mask_channel(wildcards.experiment)["training"]["pretrained"]
    return f"results/{wildcards.experiment}/extractors/{name}.pt" if name else []
