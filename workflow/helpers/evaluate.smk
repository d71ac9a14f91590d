# What the rules of workflow/rules/evaluate.smk ask.
def copies_extractor(experiment):
    """The extractor in whose features copies are looked for: one that was not fitted to the training images, if any."""
    known = config["experiments"][experiment]["extractors"]
    return next((name for name in ("inception", "vgg16", "efficientnet_lite0") if name in known), "domain")


def copies_features(images):
    """Input function: features of an image set, for the copy audit."""
    path = f"results/{{experiment}}/features/{{extractor}}/plain/{images}.npz"
    return lambda w: path.format(extractor=copies_extractor(w.experiment), **w)
