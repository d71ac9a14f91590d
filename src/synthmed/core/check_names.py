"""Names in the settings that must exist: data sets, classes, generators; checked before anything runs."""

import json
import math
from collections.abc import Collection, Iterable, Mapping, Sequence

from synthmed.core.check_method_names import check_methods
from synthmed.core.errors import InputError
from synthmed.core.known import (
    DRAWN_AGAIN,
    EXTERNAL,
    NAME,
    UNLABELLED,
    check_known,
    check_pretrained,
    check_reserved,
    check_second_test,
    check_trainings,
)


def check_keys(settings: object, where: str = "") -> None:
    """Raise InputError on a key of settings that is no text, because YAML reads no and off as false and 1 as a number;
    and on a number that is none (.nan, .inf)."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            if not isinstance(key, str):
                raise InputError(
                    f"{where or 'the file'}: {json.dumps(key, default=str)} is no text, because YAML reads yes, no, "
                    "on, off and numbers as what they mean; write it in quotes"
                )
            check_keys(value, f"{where}.{key}".removeprefix("."))
    elif isinstance(settings, list):
        for number, value in enumerate(settings):
            check_keys(value, f"{where}[{number}]")
    elif isinstance(settings, float) and not math.isfinite(settings):
        raise InputError(f"{where}: {settings} is no number that can be computed with")


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
    check_known("dataset", [entry["dataset"]], datasets, "data sets")
    check_known("positive", [entry["positive"]] if entry["positive"] else [], classes, "classes")
    check_known("references", [entry["references"]] if entry["references"] else [], documents, "documents")
    prepared = {label for label in entry["prepare"]["labels"].values() if label is not None}
    check_known("prepare.labels", sorted(prepared), classes, "classes")
    check_known("classes", classes, sorted(prepared), "labels of prepare.labels")
    if datasets[entry["dataset"]]["pool"] is not None:
        drawn = [label for label in classes if pool_count(entry, datasets[entry["dataset"]]["pool"], label)]
        check_known("classes", classes, drawn, "classes of its pool")
    check_known("fidelity.floor_counts", entry["fidelity"]["floor_counts"], classes, "classes")
    check_known("weights.files", entry["weights"]["files"], weights, "weights")
    _check_titles(entry)
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
    check_methods(entry, datasets, weights, of_masks)


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
    check_known(f"generators.{name}.of", [own["of"]], trained, "generators that are trained here")
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
    """Generators of a task by their role, as its setting arms.generators names them: `added` to the real images,
    `alone`, or `undersampled`, added to fewer real ones. generators: all of the experiment."""
    if isinstance(named, Mapping):
        return {role: list(named.get(role, ())) for role in ("added", "alone", "undersampled")}
    both = list(generators if named is None else named)
    return {"added": both, "alone": both, "undersampled": []}


def findings_of(dataset: Mapping) -> set[str] | None:
    """Names of the findings that a data set can have, as its options state them; None where they do not."""
    options = dataset["options"]
    names = options.get("finding_names") or options.get("labels", {}).get("finding_names")
    if names is not None:
        return {ours for ours in names.values() if ours is not None}
    return {"normal", *options["findings"]} if "findings" in options else None


def _check_titles(entry: Mapping) -> None:
    """Raise InputError where two sets of images have one title: tables and figures know them by it."""
    titled: dict[str, str] = {}
    for key in ("generators", "mask_generators", "derived_sets"):
        for name, one in entry.get(key, {}).items():
            where, title = f"{key}.{name}", one.get("title")
            if title in titled:
                raise InputError(
                    f"setting {where}.title is {title!r}, and so is that of {titled[title]}: tables and figures could "
                    "not tell them apart; give each its own"
                )
            titled |= {title: where} if title is not None else {}


def _check_generators(entry: Mapping, datasets: Mapping[str, Mapping]) -> None:
    classes = list(entry["classes"])
    for name, generator in entry["generators"].items():
        where = f"generators.{name}"
        if "dataset" in generator:  # its images were made elsewhere
            check_known(f"{where}.dataset", [generator["dataset"]], datasets, "data sets")
            labels = [label for label in (generator["labels"] or {}).values() if label is not None]
            check_known(f"{where}.labels", labels, classes, "classes")
            continue
        trained = check_trainings(where, generator, classes, entry)
        samples = generator["sampling"]["samples"]
        check_known(f"{where}.sampling.samples", samples, [*classes, UNLABELLED], "classes")
        for label in samples:
            if label != UNLABELLED and trained.count(label) != 1:
                raise InputError(
                    f"setting {where}.sampling.samples asks for {label!r}, which {trained.count(label)} trainings have "
                    f"among their labels; name it in one of {where}.trainings"
                )
        _check_repeats(where, generator, entry["tasks"])


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


def _check_tasks(entry: Mapping, dataset: Mapping, weights: Collection[str]) -> None:
    classes, generators = list(entry["classes"]), [*entry["generators"], *entry.get("derived_sets", {})]
    for task, content in entry["tasks"].items():
        where, arms, model = f"tasks.{task}", content["arms"], content["model"]
        if asked := content.get("target"):
            _check_target(f"{where}.target", asked, content)
        roles = used_generators(arms["generators"], generators)
        used = list(dict.fromkeys(name for names in roles.values() for name in names))
        check_known(f"{where}.arms.generators", used, generators, "generators")
        check_known(f"{where}.arms.sweep", arms["sweep"], [*used, "duplicates", "classic"], "generators and controls")
        check_known(f"{where}.arms.swap", [arms["swap"]] if arms["swap"] else [], used, "generators")
        swapped = entry["generators"].get(arms["swap"], {}).get("sampling", {}).get("samples", ())
        if arms["swap"] and UNLABELLED not in swapped:
            raise InputError(
                f"setting {where}.arms.swap names {arms['swap']!r}, whose images are of no part: training, validation "
                f"and test part come with the labels of a classifier; ask it for {UNLABELLED!r} (sampling.samples), or "
                "set swap to null"
            )
        doses = {name: [arms[name]] for name in ("added_counts", "only_share")} | {"oracle_sweep": arms["oracle_sweep"]}
        doses |= {f"sweep.{name}": points for name, points in arms["sweep"].items()}
        for setting, points in doses.items():
            for point in [point for point in points if isinstance(point, Mapping)]:
                check_known(f"{where}.arms.{setting}", point, asked["classes"] if asked else classes, "classes")
        if model["kind"] == "head":
            check_known(f"{where}.model.backbone", [model["backbone"]], entry["extractors"], "extractors")
        elif model["kind"] == "network":
            check_known(f"{where}.model.training.targets", model["training"]["targets"], classes, "classes")
            check_pretrained(f"{where}.model.training", model["training"], weights)
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


def _check_target(where: str, target: Mapping, task: Mapping) -> None:
    check_reserved("classes", target["classes"], where)
    check_known(f"{where}.positive", [target["positive"]], target["classes"], "classes of the task")
    if task["model"]["kind"] != "head" or task["validation"] is not None or task.get("leaking"):
        raise InputError(
            f"setting {where} takes another column than the label for the classes: that is for heads on frozen "
            "features, tested on other patients (no leaking), with validation null"
        )


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
    check_second_test(f"{where}.model.scoring", task["model"]["scoring"], entry["split"])
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


def _check_classifiers(entry: Mapping, dataset: Mapping, weights: Collection[str]) -> None:
    classifiers, findings = entry.get("classifiers", {}), findings_of(dataset)
    for name, network in classifiers.items():
        where = f"classifiers.{name}"
        check_pretrained(where, network, weights)
        if network["target_column"] == "label":
            check_known(f"{where}.targets", network["targets"], entry["classes"], "classes")
        elif network["target_column"] == "findings" and findings is not None:
            check_known(f"{where}.targets", network["targets"], sorted(findings), "findings of the data set")
    if "selection" in entry:
        selection = entry["selection"]
        rule, chosen = selection["normals_with_devices"], selection["device_classifier"]
        check_known("selection.device_classifier", [chosen] if chosen else [], classifiers, "classifiers")
        labels = [rule["label"]] if rule else []
        check_known("selection.normals_with_devices.label", labels, entry["classes"], "classes")
        if findings is not None:
            set_aside = selection["set_aside_findings"] or ()
            check_known("selection.set_aside_findings", set_aside, sorted(findings), "findings of the data set")
