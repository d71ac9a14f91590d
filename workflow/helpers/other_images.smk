# What the rules of workflow/rules/other_images.smk ask.
def other_images(experiment):
    """Images of another data set than the experiment's own, by what they are for: the data set, the settings of their
    preparation and of their division, and of `drop-known` where the experiment must not know them: `all`, before they
    are divided, or those of the `test`, as known ones may be learned from."""
    entry, others = config["experiments"][experiment], {}
    if tagged := tagged_images(experiment):
        prepare = {**entry["prepare"], "labels": tagged["labels"], "masks": None}
        others["tagged"] = {**tagged, "prepare": prepare, "drop": None, "dropped_from": None}
    if experiment in having("mask_channel"):
        channel = mask_channel(experiment)
        drop = {"classes": channel["training"]["targets"], "second_test": channel["second_test"]}
        others["diagnosed"] = {**channel, "drop": drop, "dropped_from": "test"}
    if experiment in having("mask_agreement"):
        drop = {"classes": entry["classes"], "second_test": None}
        judged = {**mask_agreement(experiment), "prepare": entry["prepare"]}
        others["judge"] = {**judged, "drop": drop, "dropped_from": "all"}
    return others


def dropped_from(w):
    return other_images(w.experiment)[w.other]["dropped_from"]


def divided(w):
    """The other images of which the parts are made."""
    return f"results/{w.experiment}/images/{w.other}/{'unseen' if dropped_from(w) == 'all' else 'all'}.zip"


def known_images(w):
    """What the experiment knows: that it learns from, and where all are dropped what it is tested on, too."""
    parts = PARTS if dropped_from(w) == "all" else ("train", "validation")
    return [f"results/{w.experiment}/images/{part}.zip" for part in parts]
