# What the rules of workflow/rules/data.smk ask.
def prepared_by(experiment):
    """The verb that turns the raw files of an experiment into an image set."""
    verbs = {
        "images": "prepare",
        "dicom": "prepare-dicom",
        "volumes": "prepare-volumes",
        "slides": "prepare-slides",
    }
    return verbs[config["experiments"][experiment]["prepare"]["format"]]


def from_slides():
    """Names of the experiments whose images are tiles of whole slides."""
    return [name for name, entry in config["experiments"].items() if entry["prepare"]["format"] == "slides"]


def studied(wildcards):
    """The image set that is split: all images, or what the exclusions leave."""
    chosen = "selected" if "selection" in config["experiments"][wildcards.experiment] else "raw"
    return f"results/{wildcards.experiment}/images/{chosen}.zip"


def original_masks_by(experiment):
    """The verb that gives the masks of the test images at their original size."""
    volumes = config["experiments"][experiment]["prepare"]["format"] == "volumes"
    return "original-volume-masks" if volumes else "original-masks"


def original_masks_of(experiment):
    """Whether a segmenter of an experiment is judged at the size of the raw images."""
    tasks = config["experiments"][experiment]["tasks"].values()
    scoring = [task["model"].get("scoring", {}) for task in tasks]
    scoring += [multi_scale(experiment)["scoring"]] if experiment in having("multi_scale") else []
    return any(one.get("original_size") for one in scoring)


def needs(experiment):
    """How many synthetic images there will be, and what the arms of every task take of them."""
    entry = config["experiments"][experiment]
    own = {name: entry["generators"][name] for name in trained_generators(experiment) if name in entry["generators"]}
    samples = {name: generator["sampling"]["samples"] for name, generator in own.items()}
    samples |= {name: one["samples"] for name, one in derived_sets(experiment).items()}
    if has_pool(experiment):
        pool = dataset_of(experiment)["pool"]
        samples["oracle"] = {label: pool_count(entry, pool, label) for label in entry["classes"]}
    translated = {
        name: {
            label: [other for other in training["labels"] if (other == label) == ("mask" in given)]
            for training in generator["trainings"].values()
            for label in training["labels"]
        }
        for name, generator, given in [(name, one, needs_of(one["model"], one["config"])) for name, one in own.items()]
        if "noise" not in given  # then an image to translate, or a mask, gives one sample
        if masks_painted_by(experiment, name) is None
    }
    arms = {task: arm_settings(experiment, task) for task in entry["tasks"]}
    return {
        "samples": samples,
        "translated_from": translated,
        "arms": arms,
        "external": list(external(experiment)),
        "trainings": planned_trainings(experiment),
    }


def needed_parts(wildcards):
    """The parts that check-needs reads: manifests where a task asks for another column than the label, masks where one
    learns them."""
    tasks = config["experiments"][wildcards.experiment]["tasks"]
    asked = any(task.get("target") or task["kind"] == "segmentation" for task in tasks.values())
    return [f"results/{wildcards.experiment}/images/{part}.zip" for part in ("train", "validation", "test") if asked]


def planned_trainings(experiment):
    """What check-needs builds each generator from, but where weights must be had first."""
    prepare = config["experiments"][experiment]["prepare"]
    return {
        f"generators.{name}.trainings.{part}": {
            "model": generator["model"],
            "config": generator["config"],
            "receptive_field": generator["receptive_field"],
            "labels": training["labels"],
            "image_shape": [
                (
                    0
                    if name in mask_drawers(experiment)
                    else prepare.get("channels", 3 if prepare["format"] == "slides" else 1)
                ),
                *(generator["training"]["size"] or prepare["size"]),
            ],
            "coding": generator["training"]["masks"],
            "masks": prepare.get("masks"),
            "batch_size": generator["training"]["batch_size"],
        }
        for name, generator in trained_generators(experiment).items()
        if not perceptual_weights(experiment, name) and "trained_as" not in generator
        for part, training in generator["trainings"].items()
    }


AS_THE_REAL = ("size", "channels", "crop_black_borders", "resample", "masks", "min_size", "max_rejects")


# How many work on a preparation is told beside its settings: nothing depends on it, so nothing is to be made again for it.
WORKERS = " --workers {threads}"


def without_workers(prepare):
    """The settings of a preparation but for WORKERS, and for the format, which chooses its verb."""
    return {key: value for key, value in prepare.items() if key not in ("format", "workers")}


def workers(w):
    """How many work on the images of the rule's experiment."""
    return config["experiments"][w.experiment]["prepare"]["workers"]
