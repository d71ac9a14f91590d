# What the rules of workflow/rules/other_images.smk ask.
def other_images(experiment):
    """Images of another data set than the experiment's own, by what they are for: the data set, the settings of their
    preparation and of their division, and of `drop-known` where the experiment must not know them."""
    entry, others = config["experiments"][experiment], {}
    if tagged := tagged_images(experiment):
        prepare = {**entry["prepare"], "labels": tagged["labels"], "masks": None}
        others["tagged"] = {**tagged, "prepare": prepare, "drop": None}
    if experiment in having("mask_channel"):
        channel = mask_channel(experiment)
        drop = {"classes": channel["training"]["targets"], "second_test": channel["second_test"]}
        others["diagnosed"] = {**channel, "drop": drop}
    if experiment in having("mask_agreement"):
        drop = {"classes": entry["classes"], "second_test": None}
        others["judge"] = {**mask_agreement(experiment), "prepare": entry["prepare"], "drop": drop}
    return others


# Of those that judge, none is known. Of those that are diagnosed, known ones may be learned from: the test has none.
DROPPED_FROM = {"judge": "all", "diagnosed": "test"}


def divided(w):
    """The other images of which the parts are made."""
    return f"results/{w.experiment}/images/{w.other}/{'unseen' if DROPPED_FROM.get(w.other) == 'all' else 'all'}.zip"


def known_images(w):
    """What the experiment knows: that it learns from, and where all are dropped what it is tested on, too."""
    parts = PARTS if DROPPED_FROM[w.other] == "all" else ("train", "validation")
    return [f"results/{w.experiment}/images/{part}.zip" for part in parts]
