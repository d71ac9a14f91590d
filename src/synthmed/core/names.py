"""Names in the settings that must exist: data sets, classes, generators; checked before anything runs."""

import difflib
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from synthmed.core.errors import InputError

NAME = re.compile("[a-z][a-z0-9_]*")
"""What names of files and rules are made of."""
UNLABELLED = "unlabelled"
"""Key of `samples` of generators whose images get their class from a classifier."""
EXTERNAL = "external"
"""The model of generators whose images were made elsewhere: nothing is trained, a data set holds them."""
DRAWN_AGAIN = "drawn_again"
"""The model of further images of another generator of the experiment, sampled in another way: nothing is trained."""


def check_keys(settings: object, where: str = "") -> None:
    """Raise InputError on a key of settings that is no text, because YAML reads no and off as false and 1 as a number;
    and on a number that is none (.nan, .inf)."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            if not isinstance(key, str):
                written = ("yes" if key else "no") if isinstance(key, bool) else "null" if key is None else key
                kept = f" (!!str {written} if `dvc exp run -S` may write this file: it takes the quotes away)"
                raise InputError(
                    f"{where or 'the file'}: {json.dumps(key, default=str)} is no text, because YAML reads yes, no, "
                    f'on, off and numbers as what they mean; write "{written}" in quotes'
                    f"{kept if isinstance(key, bool) else ''}"
                )
            check_keys(value, f"{where}.{key}".removeprefix("."))
    elif isinstance(settings, list):
        for number, value in enumerate(settings):
            check_keys(value, f"{where}[{number}]")
    elif isinstance(settings, float) and not math.isfinite(settings):
        raise InputError(f"{where}: {settings} is no number that can be computed with")


RESERVED = {
    "classes": {"all", "mean of classes", UNLABELLED},
    "generators": {
        *("real", "augmented", "test", "oracle", "oracle_shuffled", "classic", "class_weights", "duplicates"),
        *("classic_part", "duplicates_part", "on_the_fly", "simple", "elastic", "pasted", "test_small"),
        *("unseen", "seen", "changed"),
        *("anomaly", "raw", "pool", "train", "validation", "planted", "set_aside", "selected"),
    },
    "experiments": {"settings"},
}
"""Names that the results use themselves, so that no class, generator or experiment can have them."""


def check_reserved(kind: str, names: Iterable[str], where: str) -> None:
    """Raise InputError where a name of the settings is one of the program's own (see RESERVED)."""
    for name in names:
        if name in RESERVED[kind]:
            raise InputError(f"{where}: the name {name!r} is the program's own; choose another one")


def check_names(
    entry: Mapping,
    datasets: Mapping[str, Mapping],
    weights: Collection[str],
    documents: Collection[str],
    of_masks: Collection[str],
) -> None:
    """Raise InputError where an experiment names what there is not, or takes a name that is the program's own.

    entry: the settings of the experiment, as spread() leaves them; datasets: those of all data sets; weights,
    documents: the pretrained weights and the documents with references that there are; of_masks: the outcomes that a
    segmenter is judged by. Called before anything runs.
    """
    classes = list(entry["classes"])
    check_reserved("classes", classes, "classes")
    check_reserved("generators", entry["generators"], "generators")
    _known("dataset", [entry["dataset"]], datasets, "data sets")
    _known("positive", [entry["positive"]] if entry["positive"] else [], classes, "classes")
    _known("references", [entry["references"]] if entry["references"] else [], documents, "documents")
    prepared = {label for label in entry["prepare"]["labels"].values() if label is not None}
    _known("prepare.labels", sorted(prepared), classes, "classes")
    _known("classes", classes, sorted(prepared), "labels of prepare.labels")
    if datasets[entry["dataset"]]["pool"] is not None:
        drawn = [label for label in classes if pool_count(entry, datasets[entry["dataset"]]["pool"], label)]
        _known("classes", classes, drawn, "classes of its pool")
    _known("fidelity.floor_counts", entry["fidelity"]["floor_counts"], classes, "classes")
    _known("weights.files", entry["weights"]["files"], weights, "weights")
    _check_generators(entry, datasets)
    _check_tasks(entry, datasets[entry["dataset"]], weights)
    for task, content in entry["tasks"].items():
        _check_kind(f"tasks.{task}", content, entry, of_masks)
        if content.get("leaking") and (content["kind"] == "segmentation" or not entry["split"]["of_each_patient"]):
            raise InputError(
                f"setting tasks.{task}.leaking tests on unseen images of training patients: that needs a "
                "classification, and split.of_each_patient to set such images aside"
            )
    _check_classifiers(entry, datasets[entry["dataset"]], weights)
    _check_states(entry)
    _check_diversity(entry)
    if "disease_axes" in entry:
        _check_axes(entry)
    if "latent_editing" in entry:
        _check_editing(entry)
    if "anomaly" in entry:
        _check_anomaly(entry)
    if "reader_study" in entry:
        _check_readers(entry)
    if "background" in entry:
        _check_background(entry)
    if "shortcuts" in entry:
        _check_shortcuts(entry)
    if "tags" in entry:
        _check_tags(entry, datasets)
    if "removal" in entry and entry["prepare"].get("channels") != 3:
        raise InputError("setting removal looks for frames in colour: set prepare.channels to 3")
    _check_derived(entry)
    if "mask_generators" in entry:
        _check_mask_generators(entry)
    if "multi_scale" in entry:
        _check_multi_scale(entry, of_masks)
    if "mask_agreement" in entry:
        _check_agreement(entry, datasets)
    if "mask_channel" in entry:
        _check_mask_channel(entry, datasets, weights, of_masks)
    if "reidentification" in entry:
        _check_reidentification(entry, weights)


def spread(entry: Mapping) -> dict:
    """The settings of an experiment with what follows from its classes written out: a count of each class where one
    number was given for all, a training of each class where `trainings` was a number of steps, the classes
    themselves where `labels` was null, masks without the classes that are null."""
    classes = entry["classes"]
    labels = entry["prepare"]["labels"]
    prepare = {**entry["prepare"], "labels": {label: label for label in classes} if labels is None else labels}
    if prepare.get("masks") is not None:
        drawn = {name: value for name, value in prepare["masks"]["classes"].items() if value is not None}
        prepare["masks"] = {**prepare["masks"], "classes": drawn}
    fidelity = {**entry["fidelity"], "floor_counts": _of_each(entry["fidelity"]["floor_counts"], classes)}
    generators = {
        name: _spread_generator(_trained_as(entry["generators"], name), classes) for name in entry["generators"]
    }
    whole = {**entry, "prepare": prepare, "fidelity": fidelity, "generators": generators}
    if "anomaly" in entry:
        generator = _spread_generator(entry["anomaly"]["generator"], classes)
        whole["anomaly"] = {**entry["anomaly"], "generator": generator}
    if "mask_generators" in entry:
        drawn = {name: _spread_generator(one, classes) for name, one in entry["mask_generators"].items()}
        whole["mask_generators"] = drawn
    for name, one in entry.get("derived_sets", {}).items():
        whole["derived_sets"] = whole["derived_sets"] | {name: {**one, "samples": _of_each(one["samples"], classes)}}
    return whole


def _trained_as(generators: Mapping[str, Mapping], name: str) -> Mapping:
    """The settings of a generator; of one that is drawn again those of the one that was trained, named in `trained_as`,
    with its own title and sampling."""
    own = generators[name]
    if own.get("model") != DRAWN_AGAIN:
        return own
    trained = [other for other, one in generators.items() if one.get("model") not in (DRAWN_AGAIN, EXTERNAL)]
    _known(f"generators.{name}.of", [own["of"]], trained, "generators that are trained here")
    kept = {key: own[key] for key in ("title", "sampling")}
    return {**generators[own["of"]], **kept, "trained_as": own["of"]}


def _of_each(counts: int | Mapping[str, int], classes: Sequence[str]) -> Mapping[str, int]:
    return counts if isinstance(counts, Mapping) else dict.fromkeys(classes, counts)


def _spread_generator(generator: Mapping, classes: Sequence[str]) -> dict:
    spread_out = dict(generator)
    if "samples" in generator:  # of deformed masks
        spread_out["samples"] = _of_each(generator["samples"], classes)
    if "sampling" in generator:
        samples = _of_each(generator["sampling"]["samples"], classes)
        spread_out["sampling"] = {**generator["sampling"], "samples": samples}
    if "trainings" in generator:
        given = generator["trainings"]
        if not isinstance(given, Mapping):
            names = [label if NAME.fullmatch(label) else f"class_{number}" for number, label in enumerate(classes, 1)]
            given = {name: {"labels": [label], "steps": given} for name, label in zip(names, classes, strict=True)}
        spread_out["trainings"] = {
            name: {**one, "labels": list(classes) if one["labels"] is None else one["labels"]}
            for name, one in given.items()
        }
    return spread_out


def pool_count(entry: Mapping, pool: Mapping[str, object], label: str) -> int:
    """Images of a class in the pool of true draws, which counts them by the source's own labels: itself, or in its
    setting `images`, whose counts all are of the class where the source has one label only."""
    labels, counts = entry["prepare"]["labels"], pool.get("images", pool)
    theirs = [name for name, ours in labels.items() if ours == label]
    if "images" in pool and theirs == list(labels) and not set(theirs) & set(counts):
        return sum(counts.values())
    return sum(counts[name] for name in theirs if isinstance(counts.get(name), int))


def used_generators(
    named: Sequence[str] | Mapping[str, Sequence[str]] | None, generators: Iterable[str]
) -> dict[str, list[str]]:
    """Generators of a task by their role, as its setting arms.generators names them: `added` to the real images, or
    `alone`. generators: all of the experiment."""
    if isinstance(named, Mapping):
        return {role: list(named.get(role, ())) for role in ("added", "alone")}
    return {role: list(generators if named is None else named) for role in ("added", "alone")}


def findings_of(dataset: Mapping) -> set[str] | None:
    """Names of the findings that a data set can have, as its options state them; None where they do not."""
    options = dataset["options"]
    names = options.get("finding_names") or options.get("labels", {}).get("finding_names")
    if names is not None:
        return {ours for ours in names.values() if ours is not None}
    return {"normal", *options["findings"]} if "findings" in options else None


def _check_generators(entry: Mapping, datasets: Mapping[str, Mapping]) -> None:
    classes = list(entry["classes"])
    for name, generator in entry["generators"].items():
        where = f"generators.{name}"
        if "dataset" in generator:  # its images were made elsewhere
            _known(f"{where}.dataset", [generator["dataset"]], datasets, "data sets")
            labels = [label for label in (generator["labels"] or {}).values() if label is not None]
            _known(f"{where}.labels", labels, classes, "classes")
            continue
        trained = _check_trainings(where, generator, classes, entry)
        samples = generator["sampling"]["samples"]
        _known(f"{where}.sampling.samples", samples, [*classes, UNLABELLED], "classes")
        for label in samples:
            if label != UNLABELLED and trained.count(label) != 1:
                raise InputError(
                    f"setting {where}.sampling.samples asks for {label!r}, which {trained.count(label)} trainings have "
                    f"among their labels; name it in one of {where}.trainings"
                )
        _check_repeats(where, generator, entry["tasks"])


def _check_states(entry: Mapping) -> None:
    if "states" not in entry:
        return
    states, known = entry["states"], entry["generators"]
    _known("states.generators", states["generators"], known, "generators")
    _known("states.choose", states["choose"], states["generators"], "generators whose states are scored")
    _known("states.extractor", [states["extractor"]], entry["extractors"], "extractors")
    for name in states["generators"]:
        if known[name].get("training", {}).get("keep_every") is None:
            raise InputError(
                f"setting states.generators names {name!r}, of which no state is kept; set "
                f"generators.{name}.training.keep_every, or take it out"
            )


def _check_diversity(entry: Mapping) -> None:
    if "mask_diversity" in entry:
        _known("mask_diversity.generators", entry["mask_diversity"]["generators"], entry["generators"], "generators")


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
        _known(f"{where}.samples", samples, classes, "classes")
        if "trainings" in drawer:
            _check_trainings(where, drawer, classes, entry)
            if drawer["training"]["masks"] is None:
                raise InputError(f"setting {where}.training.masks is null, but it learns masks alone; name a coding")
        _known(f"{where}.paints", drawer["paints"], entry["generators"], "generators")
        for painter in drawer["paints"]:
            if painter in painted:
                raise InputError(f"{where}.paints names {painter!r}, which {painted[painter]!r} has; it takes one")
            painted[painter] = name
            if "sampling" not in entry["generators"][painter]:
                raise InputError(f"{where}.paints names {painter!r}, whose images were made elsewhere")
            if missing := sorted(set(entry["generators"][painter]["sampling"]["samples"]) - set(samples)):
                raise InputError(f"{where} makes no mask of {missing[0]!r}, which {painter!r} is asked for")


def _check_repeats(where: str, generator: Mapping, tasks: Mapping[str, Mapping]) -> None:
    repeats = generator["repeats"]
    if repeats > 1 and UNLABELLED in generator["sampling"]["samples"]:
        raise InputError(
            f"setting {where}.repeats is {repeats}, but its {UNLABELLED} samples are judged as one set; set it to 1"
        )
    for task, settings in tasks.items():
        seeds = settings["model"]["training"]["seeds"]
        if seeds % repeats:
            raise InputError(
                f"setting tasks.{task}.model.training.seeds is {seeds}, no multiple of the {repeats} repeats of "
                f"{where}; each training of a generator serves equally many seeds"
            )


def _check_trainings(where: str, generator: Mapping, classes: Sequence[str], entry: Mapping) -> list[str]:
    """The labels of all trainings, one after the other."""
    for training, content in generator["trainings"].items():
        _known(f"{where}.trainings.{training}.labels", content["labels"], classes, "classes")
        _check_initial(f"{where}.trainings.{training}.initialise_from", generator, content, entry)
    return [label for content in generator["trainings"].values() for label in content["labels"]]


def _check_initial(where: str, generator: Mapping, training: Mapping, entry: Mapping) -> None:
    """Whether a training can begin with the weights of the one that it names."""
    named = training.get("initialise_from")
    if named is None:
        return
    name, _, part = named.partition(".")
    _known(where, [name], [name for name, other in entry["generators"].items() if "dataset" not in other], "generators")
    other = entry["generators"][name]
    _known(where, [part], other["trainings"], f"trainings of {name}")
    if other["trainings"][part].get("initialise_from") == named or other["trainings"][part] is training:
        raise InputError(f"setting {where} is {named!r}: a training cannot begin with its own weights")
    for setting, ours, theirs in (
        ("model", generator["model"], other["model"]),
        ("training.size", generator["training"]["size"], other["training"]["size"]),
        ("training.masks", generator["training"]["masks"], other["training"]["masks"]),
        ("repeats", generator.get("repeats", 1), other["repeats"]),
    ):
        if ours != theirs:
            raise InputError(
                f"setting {where} is {named!r}, but {setting} is {ours!r} here and {theirs!r} there; only the same "
                "networks can take over weights, each repeat those of its own repeat"
            )


def _check_tasks(entry: Mapping, dataset: Mapping, weights: Collection[str]) -> None:
    classes, generators = list(entry["classes"]), [*entry["generators"], *entry.get("derived_sets", {})]
    for task, content in entry["tasks"].items():
        where, arms, model = f"tasks.{task}", content["arms"], content["model"]
        roles = used_generators(arms["generators"], generators)
        used = list(dict.fromkeys(name for names in roles.values() for name in names))
        _known(f"{where}.arms.generators", used, generators, "generators")
        _known(f"{where}.arms.sweep", arms["sweep"], [*used, "duplicates", "classic"], "generators and controls")
        _known(f"{where}.arms.swap", [arms["swap"]] if arms["swap"] else [], used, "generators")
        doses = {name: [arms[name]] for name in ("added_counts", "only_share")} | {"oracle_sweep": arms["oracle_sweep"]}
        doses |= {f"sweep.{name}": points for name, points in arms["sweep"].items()}
        for setting, points in doses.items():
            for point in [point for point in points if isinstance(point, Mapping)]:
                _known(f"{where}.arms.{setting}", point, classes, "classes")
        if model["kind"] == "head":
            _known(f"{where}.model.backbone", [model["backbone"]], entry["extractors"], "extractors")
        elif model["kind"] == "network":
            _known(f"{where}.model.training.targets", model["training"]["targets"], classes, "classes")
            _check_pretrained(f"{where}.model.training", model["training"], weights)
            if arms["class_weights"]:
                raise InputError(
                    f"setting {where}.arms.class_weights is for heads; a network has class_weights of its own, under "
                    f"{where}.model.training, for all arms"
                )
        methods = {"head": "heads", "segmenter": "pixels"}
        if content["validation"] is not None and (
            content["validation"]["method"] != methods.get(model["kind"]) or dataset["pool"] is None
        ):
            raise InputError(
                f"setting {where}.validation tries the verdict where the truth is known: that needs a pool of the data "
                "set, and a model of kind head (method heads) or segmenter (method pixels); set it to null"
            )
    for method in ("pseudo_labels", "grad_cam"):
        _known(f"{method}.task", [entry[method]["task"]] if method in entry else [], entry["tasks"], "tasks")


def _check_kind(where: str, task: Mapping, entry: Mapping, of_masks: Collection[str]) -> None:
    """Raise InputError where a task of segmentation has no masks to learn, or one of classification no classes."""
    segments, outcome = task["kind"] == "segmentation", task["outcome"]
    if segments != (task["model"]["kind"] == "segmenter") or segments != (outcome in of_masks):
        raise InputError(
            f"setting {where}: a {task['kind']} task cannot have a model of kind {task['model']['kind']!r} that is "
            f"judged by {outcome!r}; a segmenter is judged by one of {sorted(of_masks)}, any other model by none"
        )
    if not segments:
        if entry["positive"] is None or len(entry["classes"]) < 2:
            raise InputError(f"setting {where}.kind is classification, which needs two classes and a positive one")
        return
    masks, arms = entry["prepare"].get("masks"), task["arms"]
    if masks is None or not masks["required"]:
        raise InputError(f"setting {where}.kind is segmentation: prepare.masks must be given, with required: true")
    if arms["swap"] is not None or arms["augmented_draws"] or arms["class_weights"]:
        raise InputError(
            f"setting {where}.arms: a segmenter has no swap, no augmented_draws and no arm class_weights; set them to "
            "null, 0 and false, and name augmented arms under pairs"
        )
    if "pasted" in arms["pairs"] and masks["kind"] != "instances":
        raise InputError(
            f"setting {where}.arms.pairs names pasted, which pastes single objects: masks must be of kind instances"
        )
    if task["model"]["scoring"]["original_size"] and entry["prepare"]["format"] == "dicom":
        raise InputError(
            f"setting {where}.model.scoring.original_size is true, which masks of DICOM films have not "
            "(prepare.format dicom); set it to false"
        )
    for name, generator in entry["generators"].items():
        if "training" in generator and generator["training"]["masks"] is None:
            raise InputError(
                f"setting generators.{name}.training.masks is null: it would make images without masks, which "
                f"{where} cannot use; name a coding, for example classes"
            )


def _check_pretrained(where: str, network: Mapping, weights: Collection[str]) -> None:
    _known(f"{where}.pretrained", [network["pretrained"]] if network["pretrained"] else [], weights, "weights")


def _check_classifiers(entry: Mapping, dataset: Mapping, weights: Collection[str]) -> None:
    classifiers, findings = entry.get("classifiers", {}), findings_of(dataset)
    for name, network in classifiers.items():
        where = f"classifiers.{name}"
        _check_pretrained(where, network, weights)
        if network["target_column"] == "label":
            _known(f"{where}.targets", network["targets"], entry["classes"], "classes")
        elif network["target_column"] == "findings" and findings is not None:
            _known(f"{where}.targets", network["targets"], sorted(findings), "findings of the data set")
    if "selection" in entry:
        selection = entry["selection"]
        rule, chosen = selection["normals_with_devices"], selection["device_classifier"]
        _known("selection.device_classifier", [chosen] if chosen else [], classifiers, "classifiers")
        labels = [rule["label"]] if rule else []
        _known("selection.normals_with_devices.label", labels, entry["classes"], "classes")
        if findings is not None:
            set_aside = selection["set_aside_findings"] or ()
            _known("selection.set_aside_findings", set_aside, sorted(findings), "findings of the data set")


def _check_axes(entry: Mapping) -> None:
    axes, classifiers = entry["disease_axes"], entry.get("classifiers", {})
    trained = {name: one["trainings"] for name, one in entry["generators"].items() if "trainings" in one}
    _known("disease_axes.generator", [axes["generator"]], trained, "generators")
    if len(trained[axes["generator"]]) != 1:
        raise InputError(
            f"setting disease_axes.generator is {axes['generator']!r}, which has the trainings "
            f"{list(trained[axes['generator']])}; axes are sought in the latent space of one"
        )
    _known("disease_axes.classifier", [axes["classifier"]], classifiers, "classifiers")
    targets = classifiers[axes["classifier"]]["targets"]
    _known("disease_axes.axes.normal", [axes["axes"]["normal"]], targets, "targets of its classifier")
    _known("disease_axes.axes.order", axes["axes"]["order"], targets, "targets of its classifier")


def _check_editing(entry: Mapping) -> None:
    editing, classifiers = entry["latent_editing"], entry.get("classifiers", {})
    trained = {name: one["trainings"] for name, one in entry["generators"].items() if "trainings" in one}
    _known("latent_editing.generator", [editing["generator"]], trained, "generators")
    trainings = trained[editing["generator"]]
    _known("latent_editing.training", [editing["training"]], trainings, "trainings of its generator")
    if editing["label"] is not None:
        labels = trainings[editing["training"]]["labels"]
        _known("latent_editing.label", [editing["label"]], labels, "labels of its training")
    _known("latent_editing.classifier", [editing["classifier"]], classifiers, "classifiers")
    named = [editing["editing"][key] for key in ("remove", "keep") if editing["editing"][key] is not None]
    _known("latent_editing.editing", named, classifiers[editing["classifier"]]["targets"], "targets of its classifier")


def _check_anomaly(entry: Mapping) -> None:
    anomaly, classifiers = entry["anomaly"], entry.get("classifiers", {})
    labels = _check_trainings("anomaly.generator", anomaly["generator"], entry["classes"], entry)
    if len(labels) != 1:
        raise InputError(
            f"setting anomaly.generator.trainings is of {labels}; one training on one label, the normal one"
        )
    _known("anomaly.classifier", [anomaly["classifier"]], classifiers, "classifiers")
    _known("anomaly.evaluation.search", [anomaly["evaluation"]["search"]], anomaly["searches"], "searches")


def _check_readers(entry: Mapping) -> None:
    study = entry["reader_study"]["study"]
    known = ["real", *entry["generators"], *entry.get("derived_sets", {})]
    _known("reader_study.study.sets", study["sets"], known, "sets of images")
    for name, wanted in study["sets"].items():
        _known(f"reader_study.study.sets.{name}.counts", wanted["counts"], entry["classes"], "classes")
        if wanted["synthetic"] == (name == "real"):
            raise InputError(f"setting reader_study.study.sets.{name}.synthetic is {wanted['synthetic']}; it is not so")
    _known("reader_study.extractor", [entry["reader_study"]["extractor"]], entry["extractors"], "extractors")


def _check_background(entry: Mapping) -> None:
    task = entry["background"]["task"]
    _known("background.task", [task], entry["tasks"], "tasks")
    model = entry["tasks"][task]["model"]["kind"]
    if model != "head":
        raise InputError(f"setting background.task is {task!r}, whose model is a {model}; name a task of heads")
    if entry["prepare"].get("masks") is None:
        raise InputError("setting background asks for what lies outside of the masks, but prepare.masks is null")


def _check_shortcuts(entry: Mapping) -> None:
    task = entry["shortcuts"]["task"]
    _known("shortcuts.task", [task], entry["tasks"], "tasks")
    if (model := entry["tasks"][task]["model"]["kind"]) != "network":
        raise InputError(f"setting shortcuts.task is {task!r}, whose model is a {model}; name a task of networks")
    if entry["prepare"].get("channels") != 3:
        raise InputError("setting shortcuts looks for frames in colour: set prepare.channels to 3")


def _check_tags(entry: Mapping, datasets: Mapping[str, Mapping]) -> None:
    tags, known = entry["tags"], entry.get("classifiers", {})
    _known("tags.classifier", [tags["classifier"]], known, "classifiers")
    if known[tags["classifier"]]["missing"] == "normal":
        raise InputError(
            f"setting classifiers.{tags['classifier']}.missing is normal, but it is judged by tags that are known; set "
            "it to error or skip"
        )
    if tags["images"] is not None:
        prepared = {label for label in tags["images"]["labels"].values() if label is not None}
        _known("tags.images.dataset", [tags["images"]["dataset"]], datasets, "data sets")
        _known("tags.images.labels", sorted(prepared), entry["classes"], "classes")
        _known("tags.images.classifiers", tags["images"]["classifiers"], known, "classifiers")
        if tags["classifier"] not in tags["images"]["classifiers"]:
            raise InputError(f"setting tags.images.classifiers lacks {tags['classifier']!r}, which is judged on them")
    _known("tags.generators", tags["generators"], entry["generators"], "generators")


def _check_derived(entry: Mapping) -> None:
    derived = entry.get("derived_sets", {})
    check_reserved("generators", derived, "derived_sets")
    for name, one in derived.items():
        where = f"derived_sets.{name}"
        if name in entry["generators"]:
            raise InputError(f"{where}: a generator has this name, too; choose another one")
        _known(f"{where}.samples", one["samples"], entry["classes"], "classes")
        if one["kind"] == "edited":
            if "latent_editing" not in entry:
                raise InputError(f"setting {where} is made by latent editing; ask for it under latent_editing")
            editing = entry["latent_editing"]
            training = entry["generators"][editing["generator"]]["trainings"][editing["training"]]
            _known(f"{where}.samples", one["samples"], training["labels"], "labels of the training that is edited")
            continue
        if "tags" not in entry:
            raise InputError(f"setting {where} is made by tags; say which classifier sees them, under tags")
        tagged = entry["tags"]
        _known(f"{where}.generator", [one["generator"]], tagged["generators"], "generators that are tagged")
        targets = entry["classifiers"][tagged["classifier"]]["targets"]
        _known(f"{where}.without", one["without"], targets, "targets of the tagger")


def _check_multi_scale(entry: Mapping, of_masks: Collection[str]) -> None:
    several, masks = entry["multi_scale"], entry["prepare"].get("masks")
    training = several["training"]
    _known("multi_scale.outcome", [several["outcome"]], of_masks, "outcomes of masks")
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


def _check_reidentification(entry: Mapping, weights: Collection[str]) -> None:
    asked, known = entry["reidentification"], entry["generators"]
    named = list(known if asked["generators"] is None else asked["generators"])
    _known("reidentification.generators", named, known, "generators")
    _known("reidentification.extractor", [asked["extractor"]], entry["extractors"], "extractors")
    if asked["recogniser"]["kind"] == "network":
        _check_pretrained("reidentification.recogniser", asked["recogniser"], weights)
    if entry["split"]["of_each_patient"] is None:
        raise InputError(
            "setting reidentification asks for unseen images of training patients: set split.of_each_patient to how "
            "many of each are trained on, fewer than there are"
        )
    if asked["dial"] is not None:
        _known("reidentification.dial.task", [asked["dial"]["task"]], entry["tasks"], "tasks")
        _known("reidentification.dial.generators", asked["dial"]["generators"], named, "generators that are asked")


def _check_agreement(entry: Mapping, datasets: Mapping[str, Mapping]) -> None:
    agreement, training = entry["mask_agreement"], entry["mask_agreement"]["training"]
    _known("mask_agreement.dataset", [agreement["dataset"]], datasets, "data sets")
    _known("mask_agreement.generators", agreement["generators"], entry["generators"], "generators")
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
    _known("mask_channel.dataset", [channel["dataset"]], datasets, "data sets")
    _known("mask_channel.positive", [channel["positive"]], classes, "targets of its training")
    _known("mask_channel.prepare.labels", prepared, classes, "targets")
    _known("mask_channel.training.targets", classes, prepared, "labels of mask_channel.prepare")
    _check_pretrained("mask_channel.training", channel["training"], weights)
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


def _known(setting: str, names: Iterable[str], known: Iterable[str], what: str) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            advice = f"; did you mean {close[0]!r}?" if close else ""
            raise InputError(f"setting {setting} names {name!r}, but the {what} are {known}{advice}")
