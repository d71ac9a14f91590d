"""Names in the settings of methods that only some experiments ask for."""

from collections.abc import Collection, Mapping

from synthmed.core.errors import InputError
from synthmed.core.known import (
    REAL,
    UNLABELLED,
    VARIED,
    check_known,
    check_pretrained,
    check_reserved,
    check_second_test,
    check_trainings,
    is_file,
)


def check_methods(
    entry: Mapping,
    datasets: Mapping[str, Mapping],
    weights: Collection[str],
    of_masks: Collection[str],
) -> None:
    """Raise InputError where a method that an experiment asks for names what there is not; arguments: check_names."""
    checks = {
        "pseudo_labels": lambda: _check_task_of("pseudo_labels", entry),
        "grad_cam": lambda: _check_task_of("grad_cam", entry),
        "states": lambda: _check_states(entry),
        "mask_diversity": lambda: _check_diversity(entry),
        "disease_axes": lambda: _check_axes(entry),
        "latent_editing": lambda: _check_editing(entry),
        "anomaly": lambda: _check_anomaly(entry),
        "reader_study": lambda: _check_readers(entry),
        "background": lambda: _check_background(entry),
        "shortcuts": lambda: _check_shortcuts(entry),
        "tags": lambda: _check_tags(entry, datasets),
        "removal": lambda: _check_colour("removal", entry),
        "derived_sets": lambda: _check_derived(entry),
        "mask_generators": lambda: _check_mask_generators(entry),
        "multi_scale": lambda: _check_multi_scale(entry, of_masks),
        "learning_curve": lambda: _check_learning_curve(entry),
        "mask_agreement": lambda: _check_agreement(entry, datasets),
        "mask_channel": lambda: _check_mask_channel(entry, datasets, weights, of_masks),
        "reidentification": lambda: _check_reidentification(entry, weights),
    }
    for method, check in checks.items():
        if method in entry:
            check()


def _check_task_of(method: str, entry: Mapping) -> str:
    """Name of the task that a method asks, which must be one of the experiment's."""
    task = entry[method]["task"]
    check_known(f"{method}.task", [task], entry["tasks"], "tasks")
    return task


def _check_colour(method: str, entry: Mapping) -> None:
    if entry["prepare"].get("channels") != 3:
        raise InputError(f"setting {method} looks for frames in colour: set prepare.channels to 3")


def _check_states(entry: Mapping) -> None:
    states, known = entry["states"], entry["generators"]
    check_known("states.generators", states["generators"], known, "generators")
    check_known("states.choose", states["choose"], states["generators"], "generators whose states are scored")
    check_known("states.extractor", [states["extractor"]], entry["extractors"], "extractors")
    for name in states["generators"]:
        if known[name].get("training", {}).get("keep_every") is None:
            raise InputError(
                f"setting states.generators names {name!r}, of which no state is kept; set "
                f"generators.{name}.training.keep_every, or take it out"
            )


def _check_diversity(entry: Mapping) -> None:
    named, known = entry["mask_diversity"]["generators"], entry["generators"]
    check_known("mask_diversity.generators", named, known, "generators")
    for name in named:
        if not set(known[name].get("config", {})) >= VARIED:
            raise InputError(
                f"setting mask_diversity.generators names {name!r}, whose model {known[name].get('model')!r} has no "
                f"settings {sorted(VARIED)}: what makes its images of one mask differ cannot be told apart; take it out"
            )


def _check_axes(entry: Mapping) -> None:
    axes, classifiers = entry["disease_axes"], entry.get("classifiers", {})
    trained = {name: one["trainings"] for name, one in entry["generators"].items() if "trainings" in one}
    check_known("disease_axes.generator", [axes["generator"]], trained, "generators")
    if len(trained[axes["generator"]]) != 1:
        raise InputError(
            f"setting disease_axes.generator is {axes['generator']!r}, which has the trainings "
            f"{list(trained[axes['generator']])}; axes are sought in the latent space of one"
        )
    check_known("disease_axes.classifier", [axes["classifier"]], classifiers, "classifiers")
    targets = classifiers[axes["classifier"]]["targets"]
    check_known("disease_axes.axes.normal", [axes["axes"]["normal"]], targets, "targets of its classifier")
    check_known("disease_axes.axes.order", axes["axes"]["order"], targets, "targets of its classifier")


def _check_asked(setting: str, name: str, training: str, entry: Mapping) -> None:
    """Raise InputError where a label is asked of a training of several classes whose images have none (UNLABELLED)."""
    generator = entry["generators"][name]
    labels = generator["trainings"][training]["labels"]
    if len(labels) > 1 and UNLABELLED in generator["sampling"]["samples"]:
        raise InputError(
            f"setting {setting} asks {name!r} for classes, but it is unconditional and was trained on {list(labels)}; "
            "name a training on one class, or a generator that can be asked for one"
        )


def asked_trainings(generator: Mapping) -> dict[str, list[str]]:
    """Training → the classes that it can be asked for; none where it is of one, or makes images of all at once."""
    several = UNLABELLED not in generator["sampling"]["samples"]
    return {
        name: list(one["labels"]) if several and len(one["labels"]) > 1 else []
        for name, one in generator["trainings"].items()
    }


def _check_editing(entry: Mapping) -> None:
    editing, classifiers = entry["latent_editing"], entry.get("classifiers", {})
    trained = {name: one["trainings"] for name, one in entry["generators"].items() if "trainings" in one}
    check_known("latent_editing.generator", [editing["generator"]], trained, "generators")
    trainings = trained[editing["generator"]]
    check_known("latent_editing.training", [editing["training"]], trainings, "trainings of its generator")
    if editing["label"] is not None:
        labels = trainings[editing["training"]]["labels"]
        check_known("latent_editing.label", [editing["label"]], labels, "labels of its training")
        _check_asked("latent_editing.label", editing["generator"], editing["training"], entry)
    check_known("latent_editing.classifier", [editing["classifier"]], classifiers, "classifiers")
    named = [editing["editing"][key] for key in ("remove", "keep") if editing["editing"][key] is not None]
    targets = classifiers[editing["classifier"]]["targets"]
    check_known("latent_editing.editing", named, targets, "targets of its classifier")
    lengths = editing["path_length"]
    check_known("latent_editing.path_length.generators", lengths["generators"], trained, "generators")
    for name in lengths["generators"]:
        for training, labels in asked_trainings(entry["generators"][name]).items():
            if labels and lengths["label"] not in labels:
                raise InputError(
                    f"setting latent_editing.path_length.label is {lengths['label']!r}, but the training {training!r} "
                    f"of {name!r} is of {labels}, and both ends of a path are of one class; name it"
                )


def _check_anomaly(entry: Mapping) -> None:
    anomaly, classifiers = entry["anomaly"], entry.get("classifiers", {})
    labels = check_trainings("anomaly.generator", anomaly["generator"], entry["classes"], entry)
    if len(labels) != 1:
        raise InputError(
            f"setting anomaly.generator.trainings is of {labels}; one training on one label, the normal one"
        )
    check_known("anomaly.classifier", [anomaly["classifier"]], classifiers, "classifiers")
    check_known("anomaly.evaluation.search", [anomaly["evaluation"]["search"]], anomaly["searches"], "searches")


def _check_readers(entry: Mapping) -> None:
    study = entry["reader_study"]["study"]
    known = [REAL, *entry["generators"], *entry.get("derived_sets", {})]
    check_known("reader_study.study.sets", study["sets"], known, "sets of images")
    for name, wanted in study["sets"].items():
        check_known(f"reader_study.study.sets.{name}.counts", wanted["counts"], entry["classes"], "classes")
        if wanted["synthetic"] == (name == REAL):
            raise InputError(f"setting reader_study.study.sets.{name}.synthetic is {wanted['synthetic']}; it is not so")
    task = entry["reader_study"]["task"]
    check_known("reader_study.task", [task] if task else [], entry["tasks"], "tasks")
    if study["screened"] and (task is None or entry["tasks"][task]["model"]["kind"] != "network"):
        raise InputError(
            f"setting reader_study.task is {task!r}, but the outliers of {list(study['screened'])} are those of a "
            "network; name a task of networks, or set screened to {}"
        )


def _check_background(entry: Mapping) -> None:
    task = _check_task_of("background", entry)
    model = entry["tasks"][task]["model"]["kind"]
    if model != "head":
        raise InputError(f"setting background.task is {task!r}, whose model is a {model}; name a task of heads")
    if entry["tasks"][task].get("target"):
        raise InputError(
            f"setting background.task is {task!r}, which has a target; name a task that asks for the labels"
        )
    if entry["prepare"].get("masks") is None:
        raise InputError("setting background asks for what lies outside of the masks, but prepare.masks is null")


def _check_shortcuts(entry: Mapping) -> None:
    task = _check_task_of("shortcuts", entry)
    if (model := entry["tasks"][task]["model"]["kind"]) != "network":
        raise InputError(f"setting shortcuts.task is {task!r}, whose model is a {model}; name a task of networks")
    _check_colour("shortcuts", entry)


def _check_tags(entry: Mapping, datasets: Mapping[str, Mapping]) -> None:
    tags, known = entry["tags"], entry.get("classifiers", {})
    check_known("tags.classifier", [tags["classifier"]], known, "classifiers")
    if known[tags["classifier"]]["missing"] == "normal":
        raise InputError(
            f"setting classifiers.{tags['classifier']}.missing is normal, but it is judged by tags that are known; set "
            "it to error or skip"
        )
    if tags["images"] is not None:
        prepared = {label for label in tags["images"]["labels"].values() if label is not None}
        check_known("tags.images.dataset", [tags["images"]["dataset"]], datasets, "data sets")
        check_known("tags.images.labels", sorted(prepared), entry["classes"], "classes")
        check_known("tags.images.classifiers", tags["images"]["classifiers"], known, "classifiers")
        if tags["classifier"] not in tags["images"]["classifiers"]:
            raise InputError(f"setting tags.images.classifiers lacks {tags['classifier']!r}, which is judged on them")
    check_known("tags.generators", tags["generators"], entry["generators"], "generators")


def _check_derived(entry: Mapping) -> None:
    derived = entry["derived_sets"]
    check_reserved("generators", derived, "derived_sets")
    for name, one in derived.items():
        where = f"derived_sets.{name}"
        if name in entry["generators"]:
            raise InputError(f"{where}: a generator has this name, too; choose another one")
        check_known(f"{where}.samples", one["samples"], entry["classes"], "classes")
        if one["kind"] == "edited":
            if "latent_editing" not in entry:
                raise InputError(f"setting {where} is made by latent editing; ask for it under latent_editing")
            editing = entry["latent_editing"]
            training = entry["generators"][editing["generator"]]["trainings"][editing["training"]]
            check_known(f"{where}.samples", one["samples"], training["labels"], "labels of the training that is edited")
            _check_asked(f"{where}.samples", editing["generator"], editing["training"], entry)
            continue
        if "tags" not in entry:
            raise InputError(f"setting {where} is made by tags; say which classifier sees them, under tags")
        tagged = entry["tags"]
        check_known(f"{where}.generator", [one["generator"]], tagged["generators"], "generators that are tagged")
        targets = entry["classifiers"][tagged["classifier"]]["targets"]
        check_known(f"{where}.without", one["without"], targets, "targets of the tagger")


def _check_mask_generators(entry: Mapping) -> None:
    drawers, classes = entry["mask_generators"], list(entry["classes"])
    check_reserved("generators", drawers, "mask_generators")
    if entry["prepare"].get("masks") is None:
        raise InputError("setting mask_generators is for masks, but prepare.masks is null")
    painted: dict[str, str] = {}
    for name, drawer in drawers.items():
        where = f"mask_generators.{name}"
        if name in entry["generators"]:
            raise InputError(f"{where}: a generator has this name, too; choose another one")
        samples = drawer["samples"] if "samples" in drawer else drawer["sampling"]["samples"]
        check_known(f"{where}.samples", samples, classes, "classes")
        if "trainings" in drawer:
            check_trainings(where, drawer, classes, entry)
            if drawer["training"]["masks"] is None:
                raise InputError(f"setting {where}.training.masks is null, but it learns masks alone; name a coding")
        check_known(f"{where}.paints", drawer["paints"], entry["generators"], "generators")
        for painter in drawer["paints"]:
            if painter in painted:
                raise InputError(f"{where}.paints names {painter!r}, which {painted[painter]!r} has; it takes one")
            painted[painter] = name
            if "sampling" not in entry["generators"][painter]:
                raise InputError(f"{where}.paints names {painter!r}, whose images were made elsewhere")
            if missing := sorted(set(entry["generators"][painter]["sampling"]["samples"]) - set(samples)):
                raise InputError(f"{where} makes no mask of {missing[0]!r}, which {painter!r} is asked for")


def _check_multi_scale(entry: Mapping, of_masks: Collection[str]) -> None:
    several, masks = entry["multi_scale"], entry["prepare"].get("masks")
    training = several["training"]
    check_known("multi_scale.outcome", [several["outcome"]], of_masks, "outcomes of masks")
    if masks is None or not masks["required"]:
        raise InputError("setting multi_scale is for masks: prepare.masks must be given, with required: true")
    if training["size"] is not None or len(training["learning_rates"]) * len(training["dropouts"]) > 1:
        raise InputError(
            "setting multi_scale.training: size is null (multi_scale.sizes gives it), and there is one learning rate "
            "and one dropout"
        )
    whole = entry["prepare"]["size"]
    for size in several["sizes"]:
        if size[0] > whole[0] or size[1] > whole[1]:
            raise InputError(f"setting multi_scale.sizes has {size}, which is larger than prepare.size, {whole}")
    check_second_test("multi_scale.scoring", several["scoring"], entry["split"])


def _check_learning_curve(entry: Mapping) -> None:
    curve, sizes = entry["learning_curve"], entry["learning_curve"]["sizes"]
    tasks = {name: one for name, one in entry["tasks"].items() if one["kind"] == "segmentation"}
    trained = [name for name, one in entry["generators"].items() if "trainings" in one and len(entry["classes"]) == 1]
    check_known("learning_curve.task", [curve["task"]], tasks, "tasks of segmentation")
    check_known(
        "learning_curve.generator", [curve["generator"]], trained, "generators of one class that are trained here"
    )
    _check_of_curve(curve["generator"], entry)
    if sizes != sorted(sizes):
        raise InputError(f"setting learning_curve.sizes is {sizes}; give the smallest first")
    if entry["split"]["of_each_patient"] is not None or entry["split"]["on_near_duplicates"] == "move":
        raise InputError(
            "setting learning_curve draws fewer images by split.most: set split.of_each_patient to null and "
            "on_near_duplicates to report or stop"
        )


def _check_of_curve(name: str, entry: Mapping) -> None:
    """Raise InputError where a generator cannot be trained on fewer images as it was on all."""
    generator, where = entry["generators"][name], f"setting learning_curve.generator names {name!r}"
    if "trained_as" in generator:
        raise InputError(f"{where}, which is not trained: it draws again from {generator['trained_as']!r}; name that")
    for training, content in generator["trainings"].items():
        if content.get("frames") is not None:
            raise InputError(
                f"{where}, whose training {training!r} sees images without their frames; those of the curve have them"
            )
        begun = content.get("initialise_from")
        if begun is not None and not is_file(begun):
            raise InputError(
                f"{where}, whose training {training!r} begins with the weights of {begun!r}: these have seen all "
                "training images, and the curve is of fewer; name another generator, or begin with a file of another "
                "experiment, or with none"
            )
    if name in entry.get("states", {}).get("choose", ()):
        raise InputError(
            f"{where}, of which states.choose takes a state by all training images; the curve takes the last one. Name "
            "another generator, or take it out of states.choose"
        )


def _check_agreement(entry: Mapping, datasets: Mapping[str, Mapping]) -> None:
    agreement, training = entry["mask_agreement"], entry["mask_agreement"]["training"]
    check_known("mask_agreement.dataset", [agreement["dataset"]], datasets, "data sets")
    check_known("mask_agreement.generators", agreement["generators"], entry["generators"], "generators")
    if len(training["learning_rates"]) * len(training["dropouts"]) > 1:
        raise InputError("setting mask_agreement.training: there is one learning rate and one dropout")
    if entry["prepare"]["format"] != "images":
        raise InputError("setting mask_agreement is for photographs (prepare.format images)")


def _check_mask_channel(
    entry: Mapping, datasets: Mapping[str, Mapping], weights: Collection[str], of_masks: Collection[str]
) -> None:
    channel = entry["mask_channel"]
    classes = channel["training"]["targets"]
    prepared = sorted({one for one in channel["prepare"]["labels"].values() if one is not None})
    if "multi_scale" not in entry:
        raise InputError("setting mask_channel takes the masks of the segmenters of multi_scale; name it, too")
    check_known("mask_channel.dataset", [channel["dataset"]], datasets, "data sets")
    check_known("mask_channel.positive", [channel["positive"]], classes, "targets of its training")
    check_known("mask_channel.prepare.labels", prepared, classes, "targets")
    check_known("mask_channel.training.targets", classes, prepared, "labels of mask_channel.prepare")
    check_pretrained("mask_channel.training", channel["training"], weights)
    if channel["outcome"] in of_masks or channel["training"]["target_column"] != "label":
        raise InputError(
            "setting mask_channel: the classifiers learn the labels (training.target_column label), and outcome is one "
            f"of classes, not {channel['outcome']!r}"
        )
    own, whole = channel["prepare"]["size"], entry["prepare"]["size"]
    if own[0] < whole[0] or own[1] < whole[1]:
        raise InputError(
            f"setting mask_channel.prepare.size is {own}, smaller than prepare.size, {whole}, which the segmenters are "
            "given; prepare the images as large, or larger"
        )
    check_second_test("mask_channel", channel, channel["split"])


def _check_reidentification(entry: Mapping, weights: Collection[str]) -> None:
    asked, known = entry["reidentification"], entry["generators"]
    named = list(known if asked["generators"] is None else asked["generators"])
    check_known("reidentification.generators", named, known, "generators")
    check_known("reidentification.extractor", [asked["extractor"]], entry["extractors"], "extractors")
    if asked["recogniser"]["kind"] == "network":
        check_pretrained("reidentification.recogniser", asked["recogniser"], weights)
    if entry["split"]["of_each_patient"] is None:
        raise InputError(
            "setting reidentification asks for unseen images of training patients: set split.of_each_patient to how "
            "many of each are trained on, fewer than there are"
        )
    if asked["dial"] is not None:
        check_known("reidentification.dial.task", [asked["dial"]["task"]], entry["tasks"], "tasks")
        check_known("reidentification.dial.generators", asked["dial"]["generators"], named, "generators that are asked")
