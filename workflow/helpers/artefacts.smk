# What the rules of workflow/rules/artefacts.smk ask.
FILTERED = derived_pattern("filtered")


def tagged_sets(experiment):
    """Sets that the tagger is asked about: name → where its images lie. Those of real images where the tags of others
    are known; of the derived ones those that are edited and shown to readers, as the others are images of generators.
    """
    folder = f"results/{experiment}/images"
    names = config["experiments"][experiment]["tags"]["generators"]
    own = {"real": f"{folder}/train.zip", REAL_TEST: f"{folder}/test.zip"} if tagged_images(experiment) else {}
    return {
        **own,
        **{name: f"{folder}/synthetic/{name}.zip" for name in names},
        **{name: f"{folder}/derived/{name}.zip" for name in edited_and_read(experiment)},
    }


def edited_and_read(experiment):
    """Names of the derived sets that are edited and shown to readers."""
    shown = reader_study(experiment)["study"]["sets"] if experiment in having("reader_study") else ()
    return [name for name, one in derived_sets(experiment).items() if one["kind"] == "edited" and name in shown]


def labelled_images(part):
    """Input function: a part of the images whose tags are known."""
    return lambda w: (f"results/{w.experiment}/images/{'tagged/' if tagged_images(w.experiment) else ''}{part}.zip")


def removal_tags(wildcards):
    """The table of tags, where nobody but the tagger knows those of the training images."""
    return f"results/{wildcards.experiment}/artefacts/tags.csv" if tagged_images(wildcards.experiment) else []


def of_removal(name):
    """Input function: a file of the ways of taking artefacts out of pixels, or [] where nobody asks for them."""
    return lambda w: (
        f"results/{w.experiment}/artefacts/{name}" if "removal" in config["experiments"][w.experiment] else []
    )


def painted(experiment):
    """Generators of whose training images the frames are taken out: name → how."""
    return {
        name: training["frames"]
        for name, generator in config["experiments"][experiment]["generators"].items()
        for training in generator.get("trainings", {}).values()
        if training.get("frames") is not None
    }


def of_paint(w):
    """What was found of that in their samples, or [] where there are none."""
    return f"results/{w.experiment}/artefacts/paint.json" if painted(w.experiment) else []


def searched_for_paint(experiment):
    """Their sets and those of all other generators, the control: name → where its images lie."""
    names = config["experiments"][experiment]["generators"]
    return {name: f"results/{experiment}/images/synthetic/{name}.zip" for name in names}
