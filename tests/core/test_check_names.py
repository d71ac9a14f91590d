import copy
from contextlib import nullcontext

import pytest
import yaml

from synthmed.core.check_method_names import check_methods
from synthmed.core.check_names import check_keys, check_names, findings_of, pool_count, spread
from synthmed.core.errors import InputError
from synthmed.core.known import check_reserved, check_trainings

NOTHING = {"generators": None, "pairs": [], "class_weights": False, "oracle_sweep": [], "only_share": None}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("labels: {no: normal, 'yes': abnormal}", "labels: false is no text.*write it in quotes"),
        ("labels: {'no': normal, On: abnormal}", "labels: true is no text.*write it in quotes"),
        ("labels: {0: normal}", "labels: 0 is no text"),
        ("labels: {1: normal}", "labels: 1 is no text"),
        ("labels: {null: normal}", "labels: null is no text"),
        ("a: [{b: {2020-01-01: x}}]", r'a\[0\]\.b: "2020-01-01" is no text'),
        ("1: x", "the file: 1 is no text"),
        ("a: [{b: .nan}]", r"a\[0\]\.b: nan is no number"),
        ("a: -.inf", "a: -inf is no number"),
    ],
)
def test_keys_that_yaml_reads_as_something_else_are_refused(written, said):
    with pytest.raises(InputError, match=said):
        check_keys(yaml.safe_load(written))


def test_texts_as_keys_are_fine_whatever_the_values():
    check_keys({"a": {"0": True, "no": None, "x": [1, {"y": 2.0}]}})


# ------------------------------------------------------------------------------------------------ names in settings
ENTRY = {
    "dataset": "films",
    "references": "tuberculosis",
    "classes": ["normal", "abnormal"],
    "positive": "abnormal",
    "prepare": {"labels": {"0": "normal", "1": "abnormal", "2": None}, "masks": {"classes": {"lungs": 255}}},
    "fidelity": {"floor_counts": {"normal": 9, "abnormal": 9}},
    "weights": {"files": {"vgg16": "vgg16.pt"}},
    "extractors": {"domain": {}},
    "generators": {
        "dcgan": {
            "trainings": {"normal": {"labels": ["normal"]}, "abnormal": {"labels": ["abnormal"]}},
            "repeats": 2,
            "sampling": {"samples": {"normal": 2, "abnormal": 2}},
        },
        "pggan": {
            "trainings": {"both": {"labels": ["normal", "abnormal"]}},
            "repeats": 1,
            "sampling": {"samples": {"unlabelled": 9}},
        },
        "elsewhere": {"dataset": "own", "labels": {"a": "normal", "b": "abnormal"}},
    },
    "classifiers": {
        "devices": {"targets": ["device"], "target_column": "device", "pretrained": None},
        "findings": {"targets": ["normal", "nodule"], "target_column": "findings", "pretrained": "vgg16"},
        "labels": {"targets": ["abnormal"], "target_column": "label", "pretrained": None},
    },
    "selection": {
        "normals_with_devices": {"label": "normal", "missing": "keep"},
        "device_classifier": "devices",
        "set_aside_findings": ["nodule"],
    },
    "tasks": {
        "main": {
            "kind": "classification",
            "outcome": "auroc",
            "arms": {"sweep": {"dcgan": [0.5]}, "swap": None, "added_counts": {"normal": 1, "abnormal": 1}} | NOTHING,
            "model": {"kind": "head", "backbone": "domain", "training": {"seeds": 6}},
            "validation": {"train": 9, "method": "heads"},
        },
        "networks": {
            "kind": "classification",
            "outcome": "accuracy",
            "arms": {"sweep": {}, "swap": "pggan", "added_counts": None} | NOTHING,
            "model": {"kind": "network", "training": {"targets": ["abnormal"], "pretrained": "vgg16", "seeds": 4}},
            "validation": None,
        },
    },
    "grad_cam": {"task": "main"},
    "pseudo_labels": {"task": "networks"},
    "background": {"task": "main"},
    "disease_axes": {"generator": "pggan", "classifier": "findings", "axes": {"normal": "normal", "order": ["nodule"]}},
    "anomaly": {
        "generator": {"trainings": {"normal": {"labels": ["normal"]}}},
        "classifier": "findings",
        "searches": {"random": {}},
        "evaluation": {"search": "random"},
    },
}
DATASETS = {
    "films": {"options": {"findings": {"nodule": 3, "fracture": 2}}, "pool": {"0": 9, "1": 9, "seed": 1}},
    "own": {"options": {}, "pool": None},
}
WEIGHTS = ("vgg16", "inception")


def with_change(path: str, value: object) -> dict:
    entry = copy.deepcopy(ENTRY)
    *parents, last = path.split(".")
    part = entry
    for key in parents:
        part = part[key]
    part[last] = value
    return entry


def test_settings_that_name_what_there_is_pass():
    check_names(ENTRY, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("dataset", "flims", r"names 'flims', but the data sets are \['films', 'own'\]; did you mean 'films'"),
        ("references", "tubercolosis", "references names 'tubercolosis'.*did you mean 'tuberculosis'"),
        ("positive", "abnorml", "names 'abnorml', but the classes are .*did you mean 'abnormal'"),
        ("classes", ["normal", "sick"], "positive names 'abnormal'"),
        ("classes", ["normal", "abnormal", "all"], "classes: the name 'all' is the program's own"),
        ("prepare.labels", {"0": "normal"}, "classes names 'abnormal', but the labels of prepare.labels are"),
        (
            "fidelity.floor_counts",
            {"normal": 9, "abnormall": 9},
            "floor_counts names 'abnormall'.*did you mean 'abnormal'",
        ),
        ("weights.files", {"vgg": "x"}, "weights.files names 'vgg'.*did you mean 'vgg16'"),
        ("generators.real", {}, "generators: the name 'real' is the program's own"),
        ("generators.dcgan.trainings.normal.frames", "fsr", r"normal\.frames looks for frames in colour"),
        ("generators.dcgan.trainings.normal.labels", ["no"], r"dcgan\.trainings\.normal\.labels names 'no'"),
        ("generators.dcgan.trainings.normal.labels", ["abnormal"], "asks for 'normal', which 0 trainings have"),
        ("generators.dcgan.sampling.samples", {"norma": 1}, r"dcgan\.sampling\.samples names 'norma'"),
        ("generators.dcgan.repeats", 4, r"tasks\.main\.model\.training\.seeds is 6, no multiple of the 4 repeats"),
        ("generators.pggan.repeats", 2, r"generators\.pggan\.repeats is 2, but its unlabelled samples"),
        ("generators.elsewhere.dataset", "owm", "elsewhere.dataset names 'owm'"),
        ("generators.elsewhere.labels", {"a": "sick"}, "elsewhere.labels names 'sick'"),
        ("grad_cam.task", "mian", "grad_cam.task names .mian., but the tasks are .*did you mean .main."),
        ("pseudo_labels.task", "netwroks", "pseudo_labels.task names .netwroks.*did you mean .networks."),
        ("tasks.main.arms.swap", "dcgn", r"tasks\.main\.arms\.swap names .dcgn."),
        ("tasks.networks.arms.swap", "dcgan", "names 'dcgan', whose images are of no part.*ask it for 'unlabelled'"),
        ("tasks.networks.arms.swap", "elsewhere", "names 'elsewhere', whose images are of no part"),
        (
            "tasks.main.arms.sweep",
            {"dcgn": [1.0]},
            "sweep names 'dcgn', but the generators and .* are .*did you mean 'dcgan'",
        ),
        ("tasks.main.arms.added_counts", {"norml": 1}, "added_counts names 'norml'"),
        ("tasks.main.arms.sweep", {"classic": [{"norml": 1}]}, "sweep.classic names 'norml'"),
        ("tasks.main.arms.oracle_sweep", ["balance", {"norml": 1}], "oracle_sweep names 'norml'"),
        ("background.task", "mian", "background.task names 'mian'"),
        ("background.task", "networks", "whose model is a network; name a task of heads"),
        ("prepare.masks", None, "but prepare.masks is null"),
        ("tasks.networks.arms.class_weights", True, "a network has class_weights of its own"),
        (
            "tasks.networks.validation",
            {"train": 9, "method": "heads"},
            r"tasks\.networks\.validation .* a model of kind head",
        ),
        ("tasks.main.model.backbone", "vgg16", "backbone names 'vgg16', but the extractors are"),
        ("tasks.networks.model.training.targets", ["ill"], "targets names 'ill'"),
        ("tasks.networks.model.training.pretrained", "vgg", "pretrained names 'vgg'"),
        ("classifiers.findings.targets", ["normal", "nodul"], "classifiers.findings.targets names 'nodul'.*'nodule'"),
        ("classifiers.labels.targets", ["abnorm"], "classifiers.labels.targets names 'abnorm'"),
        ("classifiers.findings.pretrained", "resnet", "pretrained names 'resnet'"),
        ("selection.device_classifier", "device", "device_classifier names 'device'.*did you mean 'devices'"),
        ("selection.normals_with_devices.label", "healthy", "label names 'healthy'"),
        ("selection.set_aside_findings", ["fractur"], "set_aside_findings names 'fractur'.*did you mean 'fracture'"),
        ("disease_axes.generator", "pgan", "disease_axes.generator names 'pgan'.*did you mean 'pggan'"),
        ("disease_axes.generator", "elsewhere", "disease_axes.generator names 'elsewhere'"),
        ("disease_axes.generator", "dcgan", "has the trainings .*axes are sought in the latent space of one"),
        ("disease_axes.classifier", "finding", "disease_axes.classifier names 'finding'"),
        ("disease_axes.axes.normal", "nromal", "axes.normal names 'nromal'"),
        ("disease_axes.axes.order", ["noodle"], "axes.order names 'noodle'"),
        ("anomaly.generator.trainings.normal.labels", ["normall"], "anomaly.generator.trainings.normal.labels names"),
        ("anomaly.generator.trainings.normal.labels", ["normal", "abnormal"], "one training on one label"),
        ("anomaly.classifier", "finding", "anomaly.classifier names 'finding'"),
        ("anomaly.evaluation.search", "rnadom", "evaluation.search names 'rnadom'.*did you mean 'random'"),
    ],
)
def test_names_that_there_are_not_are_refused_before_anything_runs(path, value, message):
    with pytest.raises(InputError, match=message):
        check_names(with_change(path, value), DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


EDITING = {
    "generator": "dcgan",
    "training": "normal",
    "label": None,
    "classifier": "findings",
    "editing": {"remove": "nodule", "keep": None},
    "path_length": {"generators": ["dcgan", "pggan"], "label": None},
}


OF_BOTH = EDITING | {"generator": "pggan", "training": "both"}
TAGS = {"classifier": "findings", "generators": ["dcgan"], "images": None}
OTHERS = {"dataset": "own", "labels": {"x": "normal", "y": None}, "classifiers": ["findings"]}
FILTERED = {"kind": "filtered", "generator": "dcgan", "without": ["nodule"], "samples": {"normal": 3}}
EDITED = {"kind": "edited", "method": "svm", "samples": {"normal": 3}}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"tags": {"images": OTHERS}}, None),
        ({"tags": {"classifier": "finding"}}, "tags.classifier names 'finding'"),
        ({"tags": {"classifier": "labels"}}, "classifiers.labels.missing is normal"),
        ({"tags": {"generators": ["dcgna"]}}, "tags.generators names 'dcgna'"),
        ({"tags": {"images": OTHERS | {"dataset": "x"}}}, "tags.images.dataset names 'x'"),
        ({"tags": {"images": OTHERS | {"labels": {"x": "z"}}}}, "tags.images.labels names 'z'"),
        ({"tags": {"images": OTHERS | {"classifiers": ["labels"]}}}, "tags.images.classifiers lacks 'findings'"),
        ({"derived_sets": {"dcgan": FILTERED}}, "a generator has this name, too"),
        ({"derived_sets": {"oracle": FILTERED}}, "the program's own"),
        ({"derived_sets": {"some": FILTERED | {"generator": "pggan"}}}, "derived_sets.some.generator names 'pggan'"),
        ({"derived_sets": {"some": FILTERED | {"without": ["frame"]}}}, "derived_sets.some.without names 'frame'"),
        ({"derived_sets": {"some": FILTERED | {"samples": {"old": 1}}}}, "derived_sets.some.samples names 'old'"),
        ({"derived_sets": {"some": EDITED}, "latent_editing": None}, "ask for it under latent_editing"),
        ({"derived_sets": {"some": EDITED | {"samples": {"abnormal": 1}}}}, "labels of the training that is edited"),
        ({"derived_sets": {"some": FILTERED}, "tags": None}, "say which classifier sees them, under tags"),
        ({"latent_editing": OF_BOTH}, r"derived_sets.gone.samples asks .pggan. for classes, but it is unconditional"),
        ({"removal": {}}, "removal looks for frames in colour"),
        ({"shortcuts": {"task": "netwroks"}}, "shortcuts.task names 'netwroks'"),
        ({"shortcuts": {"task": "main"}}, "whose model is a head; name a task of networks"),
        ({"shortcuts": {"task": "networks"}}, "shortcuts looks for frames in colour"),
    ],
)
def test_tags_derived_sets_and_frames(changes, message):
    entry = copy.deepcopy(ENTRY)
    entry["classifiers"]["findings"]["missing"], entry["classifiers"]["labels"]["missing"] = "skip", "normal"
    entry |= {"latent_editing": EDITING, "derived_sets": {"some": FILTERED, "gone": EDITED}, "tags": TAGS}
    for key, value in changes.items():
        entry[key] = entry.get(key, {}) | value if key == "tags" and value else value
        if value is None:
            del entry[key]
    entry["tasks"]["main"]["arms"]["generators"] = {"added": ["dcgan"], "alone": [*entry["derived_sets"], "dcgan"]}
    if message is None:
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])
        return
    with pytest.raises(InputError, match=message):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


def test_painted_trainings_need_the_tags_beside_which_their_traces_are_counted():
    entry = with_change("generators.dcgan.trainings.normal.frames", "fsr")
    entry["prepare"]["channels"] = 3
    with pytest.raises(InputError, match=r"normal\.frames: traces of its paint are counted beside the tags"):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])
    check_trainings("generators.dcgan", entry["generators"]["dcgan"], entry["classes"], entry | {"tags": TAGS})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, None),
        ({"generator": "elsewhere"}, "latent_editing.generator names 'elsewhere'"),
        ({"training": "norml"}, "latent_editing.training names 'norml'"),
        ({"label": "abnormal"}, "latent_editing.label names 'abnormal'"),
        ({"path_length": {"generators": ["dcgna"], "label": None}}, "path_length.generators names 'dcgna'"),
        ({"classifier": "finding"}, "latent_editing.classifier names 'finding'"),
        ({"editing": {"remove": "noodle", "keep": None}}, "latent_editing.editing names 'noodle'"),
        ({"editing": {"remove": "nodule", "keep": "noraml"}}, "latent_editing.editing names 'noraml'"),
        (OF_BOTH, None),
        (OF_BOTH | {"label": "normal"}, r"latent_editing.label asks 'pggan' for classes, but it is unconditional"),
    ],
)
def test_editing_is_of_what_there_is(changes, message):
    entry = copy.deepcopy(ENTRY) | {"latent_editing": EDITING | changes}
    if message is None:
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])
        return
    with pytest.raises(InputError, match=message):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


@pytest.mark.parametrize(("label", "refused"), [("normal", False), (None, True), ("strange", True)])
def test_both_ends_of_a_path_are_of_a_class_where_there_are_several_to_ask_for(label, refused):
    entry = copy.deepcopy(ENTRY)
    entry["generators"]["pggan"]["sampling"]["samples"] = {"normal": 3, "abnormal": 3}
    entry["tasks"]["networks"]["arms"]["swap"] = None  # whose images would have no part
    entry["latent_editing"] = EDITING | {"path_length": {"generators": ["dcgan", "pggan"], "label": label}}
    if not refused:
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])
        return
    with pytest.raises(InputError, match=r"path_length.label is .*'both' of 'pggan' is of \['normal', 'abnormal'\]"):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


def test_a_generator_of_one_class_may_be_asked_for_it():
    entry = with_change("generators.pggan.trainings.both.labels", ["normal"])
    entry["latent_editing"] = OF_BOTH | {"label": "normal"}
    check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


AGREEMENT = {"dataset": "own", "generators": ["dcgan"], "training": {"learning_rates": [1e-3], "dropouts": [0.1]}}


@pytest.mark.parametrize(
    ("changes", "shape", "message"),
    [
        ({}, "images", None),
        ({"dataset": "owm"}, "images", "mask_agreement.dataset names 'owm'"),
        ({"generators": ["dcgna"]}, "images", "mask_agreement.generators names 'dcgna'"),
        (
            {"training": {"learning_rates": [1e-3, 1e-4], "dropouts": [0]}},
            "images",
            "one learning rate and one dropout",
        ),
        ({}, "dicom", "is for photographs"),
    ],
)
def test_agreement_with_masks_is_of_what_there_is(changes, shape, message):
    entry = with_change("prepare.format", shape) | {"mask_agreement": AGREEMENT | changes}
    with nullcontext() if message is None else pytest.raises(InputError, match=message):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


@pytest.mark.parametrize(
    ("name", "content", "changes", "message"),
    [
        ("real", {"counts": {"normal": 3}, "synthetic": False}, {}, None),
        ("dcgan", {"counts": {"normal": 3}, "synthetic": True}, {}, None),
        ("dcgna", {"counts": {"normal": 3}, "synthetic": True}, {}, "study.sets names 'dcgna'"),
        ("dcgan", {"counts": {"norml": 3}, "synthetic": True}, {}, "sets.dcgan.counts names 'norml'"),
        ("dcgan", {"counts": {"normal": 3}, "synthetic": False}, {}, "dcgan.synthetic is False; it is not so"),
        ("real", {"counts": {"normal": 3}, "synthetic": True}, {}, "real.synthetic is True; it is not so"),
        ("dcgan", {"counts": {"normal": 3}, "synthetic": True}, {"task": "netwroks"}, "task names 'netwroks'"),
        ("dcgan", {"counts": {"normal": 3}, "synthetic": True}, {"screened": {"dcgan": "out"}}, None),
        (
            "dcgan",
            {"counts": {"normal": 3}, "synthetic": True},
            {"screened": {"dcgan": "out"}, "task": "main"},
            "task is 'main', but the outliers of .'dcgan'. are those of a network",
        ),
        (
            "dcgan",
            {"counts": {"normal": 3}, "synthetic": True},
            {"screened": {"dcgan": "out"}, "task": None},
            "task is None, but the outliers",
        ),
        ("dcgan", {"counts": {"normal": 3}, "synthetic": True}, {"task": None}, None),
    ],
)
def test_readers_see_sets_that_there_are(name, content, changes, message):
    study = {"sets": {name: content}, "screened": changes.get("screened", {})}
    entry = copy.deepcopy(ENTRY) | {"reader_study": {"study": study, "task": changes.get("task", "networks")}}
    with nullcontext() if message is None else pytest.raises(InputError, match=message):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


STATES = {"generators": ["dcgan"], "choose": ["dcgan"], "extractor": "domain"}


@pytest.mark.parametrize(
    ("changes", "every", "message"),
    [
        ({}, 50, None),
        ({"generators": ["dcgna"]}, 50, "states.generators names 'dcgna'"),
        ({"choose": ["pggan"]}, 50, "states.choose names 'pggan'"),
        ({"extractor": "inception"}, 50, "states.extractor names 'inception'"),
        ({}, None, "names 'dcgan', of which no state is kept; set generators.dcgan.training.keep_every"),
        ({"generators": ["elsewhere"], "choose": []}, 50, "names 'elsewhere', of which no state is kept"),
    ],
)
def test_states_are_of_generators_that_keep_some(changes, every, message):
    entry = copy.deepcopy(ENTRY) | {"states": STATES | changes}
    entry["generators"]["dcgan"]["training"] = {"keep_every": every}
    if message is None:
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])
        return
    with pytest.raises(InputError, match=message):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


def test_images_of_one_mask_are_of_generators_that_there_are():
    entry = copy.deepcopy(ENTRY) | {"mask_diversity": {"generators": ["dcgan", "pix2pix"]}}
    with pytest.raises(InputError, match=r"mask_diversity\.generators names 'pix2pix'"):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


@pytest.mark.parametrize(("model", "config"), [("edm", {"mask": True, "dropout": 0.1}), ("external", None)])
def test_images_of_one_mask_are_of_generators_that_tell_noise_and_dropout_apart(model, config):
    entry = {"mask_diversity": {"generators": ["painter"]}}
    varied = {"noise": ["channel"], "dropout": 0.5, "dropout_blocks": 1}
    painter = {"model": "pix2pix", "config": varied}
    check_methods(entry | {"generators": {"painter": painter}}, DATASETS, WEIGHTS, ["iou"])
    painter = {"model": model} | ({} if config is None else {"config": config})
    said = rf"names 'painter', whose model '{model}' has no settings .*'noise'.*take it out"
    with pytest.raises(InputError, match=said):
        check_methods(entry | {"generators": {"painter": painter}}, DATASETS, WEIGHTS, ["iou"])


TRAINED = {"trainings": {"normal": {"labels": ["normal"]}}, "repeats": 1, "sampling": {"samples": {"normal": 2}}}
NETWORK = {"model": "stylegan2", "training": {"size": None, "masks": None}}


@pytest.mark.parametrize(
    ("named", "changes", "message"),
    [
        ("first.normal", {}, None),
        ("../RUN/results/melanoma/generators/cgan/both.pt", {}, None),
        ("frist.normal", {}, "initialise_from names 'frist'.*did you mean 'first'"),
        ("first.norml", {}, "initialise_from names 'norml'"),
        ("second.normal", {}, "cannot begin with its own weights"),
        ("elsewhere.normal", {}, "initialise_from names 'elsewhere'"),
        ("first.normal", {"model": "pggan"}, "model is 'stylegan2' here and 'pggan' there"),
        ("first.normal", {"repeats": 2}, "repeats is 1 here and 2 there"),
        ("first.normal", {"training": {"size": [8, 8], "masks": None}}, "training.size is None here"),
    ],
)
def test_a_training_begins_only_with_weights_that_there_are(named, changes, message):
    entry = copy.deepcopy(ENTRY)
    entry["generators"]["first"] = copy.deepcopy(TRAINED) | NETWORK | changes
    entry["generators"]["second"] = copy.deepcopy(TRAINED) | NETWORK
    entry["generators"]["second"]["trainings"]["normal"]["initialise_from"] = named
    if message is None:
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])
        return
    with pytest.raises(InputError, match=message):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


def test_a_pool_has_every_class_whatever_its_source_calls_it():
    assert pool_count(ENTRY, {"0": 5, "2": 9, "seed": 1}, "normal") == 5
    datasets = {**DATASETS, "films": {"options": {}, "pool": {"0": 9, "seed": 1}}}
    with pytest.raises(InputError, match="classes names 'abnormal', but the classes of its pool are"):
        check_names(ENTRY, datasets, WEIGHTS, ["tuberculosis"], ["iou"])


SEGMENTATION = {
    "kind": "segmentation",
    "outcome": "iou",
    "arms": {"sweep": {}, "swap": None, "added_counts": None} | NOTHING | {"augmented_draws": 0},
    "model": {"kind": "segmenter", "training": {"seeds": 4}, "scoring": {"original_size": True, "second_test": None}},
    "validation": None,
}
DRAWN = copy.deepcopy(ENTRY) | {
    "positive": None,
    "tasks": {"masks": SEGMENTATION},
    "split": {"by": "patient"},
    "prepare": {
        "labels": {"0": "normal", "1": "abnormal"},
        "masks": {"required": True, "kind": "semantic"},
        "format": "images",
    },
}
for _generator in ("dcgan", "pggan"):
    DRAWN["generators"][_generator]["training"] = {"masks": "classes"}
for _method in ("grad_cam", "pseudo_labels", "disease_axes", "anomaly", "background"):
    del DRAWN[_method]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("tasks.masks.arms.generators", ["dcgn"], "arms.generators names 'dcgn'.*did you mean 'dcgan'"),
        ("tasks.masks.arms.sweep", {"dcgn": [1.0]}, "arms.sweep names 'dcgn'"),
        ("tasks.masks.arms.pairs", ["pasted"], "masks must be of kind instances"),
        ("tasks.masks.outcome", "auroc", "a segmenter is judged by one of"),
        ("tasks.masks.kind", "classification", "a classification task cannot have a model of kind 'segmenter'"),
        ("tasks.masks.model.kind", "network", "segmentation task cannot have a model of kind 'network'"),
        ("prepare.format", "dicom", "original_size is true, which masks of DICOM films have not"),
        ("prepare.masks", None, "prepare.masks must be given, with required: true"),
        ("prepare.masks.required", False, "prepare.masks must be given, with required: true"),
        (
            "tasks.masks.model.scoring.second_test",
            "isic",
            "whose images must be test images: set by of the split to column",
        ),
        ("tasks.masks.arms.swap", "pggan", "has no swap, no augmented_draws"),
        ("tasks.masks.arms.augmented_draws", 2, "has no swap, no augmented_draws"),
        ("generators.pggan.training.masks", None, r"generators\.pggan\.training\.masks is null"),
    ],
)
def test_a_task_of_segmentation_needs_masks(monkeypatch, path, value, said):
    check_names(DRAWN, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])
    monkeypatch.setitem(globals(), "ENTRY", DRAWN)
    changed = with_change(path, value)
    if changed["tasks"]["masks"]["model"]["kind"] == "network":
        changed["tasks"]["masks"]["model"]["training"] |= {"targets": ["normal"], "pretrained": None}
    with pytest.raises(InputError, match=said):
        check_names(changed, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


@pytest.mark.parametrize(("path", "value"), [("positive", None), ("tasks.main.outcome", "iou")])
def test_a_task_of_classification_needs_classes(path, value):
    with pytest.raises(InputError, match=r"needs two classes and a positive one|judged by 'iou'"):
        check_names(with_change(path, value), DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


@pytest.mark.parametrize(
    ("key", "name"), [("generators", "pggan"), ("mask_generators", "masks"), ("derived_sets", "without_hair")]
)
def test_two_sets_of_one_title_are_refused(key, name):
    entry = with_change("generators.dcgan.title", "A GAN")
    entry.setdefault(key, {}).setdefault(name, {})["title"] = "A GAN"
    said = rf"setting {key}\.{name}\.title is 'A GAN', and so is that of generators\.dcgan"
    with pytest.raises(InputError, match=said):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


def test_names_of_experiments():
    check_reserved("experiments", ["mine"], "experiments")
    with pytest.raises(InputError, match="'settings' is the program's own"):
        check_reserved("experiments", ["settings"], "experiments")


def test_one_number_is_one_for_each_class():
    entry = with_change("fidelity.floor_counts", 30)
    entry["prepare"]["labels"] = None
    entry["generators"]["dcgan"]["sampling"]["samples"] = 7
    found = spread(entry)
    assert found["fidelity"]["floor_counts"] == {"normal": 30, "abnormal": 30}
    assert found["prepare"]["labels"] == {"normal": "normal", "abnormal": "abnormal"}
    assert found["generators"]["dcgan"]["sampling"]["samples"] == {"normal": 7, "abnormal": 7}
    assert found["generators"]["pggan"]["sampling"]["samples"] == {"unlabelled": 9}
    assert found["generators"]["dcgan"]["trainings"] == ENTRY["generators"]["dcgan"]["trainings"]
    assert found["generators"]["elsewhere"] == ENTRY["generators"]["elsewhere"]
    assert spread(ENTRY) == ENTRY


def test_trainings_follow_from_the_classes():
    entry = with_change("generators.dcgan.trainings", 400)
    entry["generators"]["pggan"]["trainings"] = {"all": {"labels": None, "steps": 9}}
    entry["classes"] = ["normal", "COVID-19"]
    entry["anomaly"]["generator"]["trainings"] = {"one": {"labels": None, "steps": 1}}
    found = spread(entry)
    assert found["generators"]["dcgan"]["trainings"] == {
        "normal": {"labels": ["normal"], "steps": 400},
        "class_2": {"labels": ["COVID-19"], "steps": 400},
    }
    assert found["generators"]["pggan"]["trainings"] == {"all": {"labels": ["normal", "COVID-19"], "steps": 9}}
    assert found["anomaly"]["generator"]["trainings"]["one"]["labels"] == ["normal", "COVID-19"]


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"findings": {"nodule": 1}}, {"normal", "nodule"}),
        ({"finding_names": {"none": "normal", "mass": "nodule", "other": None}}, {"normal", "nodule"}),
        ({"labels": {"finding_names": {"none": "normal", "mass": "nodule"}}}, {"normal", "nodule"}),
        ({}, None),
    ],
)
def test_findings_that_a_data_set_can_have(options, found):
    assert findings_of({"options": options}) == found


def test_classes_of_masks_that_are_null_are_left_out():
    entry = {**ENTRY, "prepare": {**ENTRY["prepare"], "masks": {"classes": {"nucleus": 1, "podocyte": None}}}}
    entry |= {"fidelity": {"floor_counts": 5}}
    assert spread(entry)["prepare"]["masks"] == {"classes": {"nucleus": 1}}
    assert entry["prepare"]["masks"]["classes"] == {"nucleus": 1, "podocyte": None}


# ---------------------------------------------------------------------------------------------------- masks to paint
DRAWER = {
    "model": "dcgan",
    "trainings": {"both": {"labels": ["normal", "abnormal"]}},
    "training": {"masks": "classes"},
    "sampling": {"samples": {"normal": 2, "abnormal": 2}},
    "paints": ["dcgan"],
}
ELASTIC = {"model": "elastic", "samples": {"normal": 2, "abnormal": 2}, "paints": ["dcgan"]}


def check_drawers(drawers, masks=None):
    entry = with_change("prepare.masks", masks or {"kind": "semantic"}) | {"mask_generators": drawers}
    check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


def test_mask_generators_that_fit_pass():
    check_drawers({"drawn": DRAWER})
    check_drawers({"deformed": ELASTIC})


@pytest.mark.parametrize(
    ("drawers", "message"),
    [
        ({"dcgan": DRAWER}, r"mask_generators\.dcgan: a generator has this name, too"),
        ({"real": DRAWER}, "the name 'real' is the program's own"),
        ({"drawn": DRAWER | {"paints": ["dcgn"]}}, "paints names 'dcgn', but the generators are .*mean 'dcgan'"),
        ({"drawn": DRAWER | {"paints": ["elsewhere"]}}, "paints names 'elsewhere', whose images were made elsewhere"),
        ({"drawn": DRAWER, "deformed": ELASTIC}, r"deformed\.paints names 'dcgan', which 'drawn' has"),
        ({"deformed": ELASTIC | {"samples": {"normal": 2}}}, "makes no mask of 'abnormal', which 'dcgan' is asked for"),
        ({"deformed": ELASTIC | {"samples": {"normol": 2}}}, "deformed.samples names 'normol'.*mean 'normal'"),
        ({"drawn": DRAWER | {"training": {"masks": None}}}, "training.masks is null, but it learns masks alone"),
        ({"drawn": DRAWER | {"trainings": {"x": {"labels": ["y"]}}}}, "trainings.x.labels names 'y'"),
    ],
)
def test_mask_generators_that_do_not_fit(drawers, message):
    with pytest.raises(InputError, match=message):
        check_drawers(drawers)


def test_mask_generators_need_masks():
    entry = with_change("prepare.masks", None) | {"background": None, "mask_generators": {"drawn": DRAWER}}
    entry.pop("background")  # it needs masks, too
    with pytest.raises(InputError, match=r"setting mask_generators is for masks, but prepare\.masks is null"):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


def test_counts_of_mask_generators_are_spread():
    entry = ENTRY | {"mask_generators": {"deformed": ELASTIC | {"samples": 7}, "drawn": DRAWER | {"trainings": 30}}}
    drawers = spread(entry)["mask_generators"]
    assert drawers["deformed"]["samples"] == {"normal": 7, "abnormal": 7}
    assert drawers["drawn"]["trainings"]["abnormal"] == {"labels": ["abnormal"], "steps": 30}


def test_a_pool_that_counts_by_kind_of_lesion():
    pool = {"images": {"MEL": 4, "NV": 6}, "seed": 3}
    assert pool_count({"prepare": {"labels": {"lesion": "lesion"}}}, pool, "lesion") == 10
    seven = {"prepare": {"labels": {"MEL": "malignant", "NV": "benign", "BCC": "malignant"}}}
    assert pool_count(seven, pool, "malignant") == 4


# ------------------------------------------------------------------------------ several sizes, the mask as a channel
LESIONS = {
    "prepare": ENTRY["prepare"] | {"masks": {"required": True}, "size": [32, 48]},
    "multi_scale": {
        "outcome": "iou",
        "sizes": [[32, 48], [16, 24]],
        "training": {"size": None, "learning_rates": [1e-3], "dropouts": [0.1]},
        "scoring": {"second_test": "isic2018_test"},
    },
    "split": {"by": "column"},
    "mask_channel": {
        "dataset": "films",
        "positive": "mel",
        "outcome": "balanced_accuracy",
        "prepare": {"labels": {"m": "mel", "n": "nv", "x": None}, "size": [32, 48]},
        "training": {"targets": ["mel", "nv"], "target_column": "label", "pretrained": None},
        "second_test": "isic2018_task3_test",
        "split": {"by": "column"},
    },
}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("multi_scale.outcome", "auroc", "multi_scale.outcome names 'auroc'"),
        ("multi_scale.sizes", [[32, 64]], "larger than prepare.size"),
        ("multi_scale.training.size", [16, 16], "size is null"),
        ("multi_scale.training.dropouts", [0.1, 0.2], "one learning rate and one dropout"),
        ("prepare.masks", {"required": False}, "with required: true"),
        ("mask_channel.dataset", "filmz", "mask_channel.dataset names 'filmz'"),
        ("mask_channel.positive", "MEL", "mask_channel.positive names 'MEL'"),
        ("mask_channel.training.targets", ["mel", "nv", "bcc"], "targets names 'bcc'"),
        ("mask_channel.training.targets", ["mel"], "labels names 'nv'|positive"),
        ("mask_channel.training.pretrained", "inceptio", "pretrained names 'inceptio'"),
        ("mask_channel.training.target_column", "findings", "target_column label"),
        ("mask_channel.outcome", "iou", "one of classes, not 'iou'"),
        ("mask_channel.prepare.size", [16, 48], "smaller than prepare.size"),
        ("split.by", "patient", r"multi_scale.scoring.second_test names 'isic2018_test', whose images must be test"),
        ("mask_channel.split.by", "patient", r"mask_channel.second_test names 'isic2018_task3_test'"),
        ("multi_scale", None, "takes the masks of the segmenters of multi_scale"),
    ],
)
def test_settings_of_several_sizes_and_of_the_mask_as_a_channel(path, value, message):
    entry = {**copy.deepcopy(ENTRY), **copy.deepcopy(LESIONS)}
    entry = {key: one for key, one in entry.items() if key != "background"}
    *parents, last = path.split(".")
    node = entry
    for parent in parents:
        node = node[parent]
    if value is None and not parents:
        del node[last]
    else:
        node[last] = value
    with pytest.raises(InputError, match=message):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


def test_several_sizes_and_the_mask_as_a_channel_are_fine_as_they_are():
    entry = {key: one for key, one in copy.deepcopy(ENTRY).items() if key != "background"}
    check_names({**entry, **copy.deepcopy(LESIONS)}, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


# ------------------------------------------------------------------------------------------------- fewer real images
CURVE = {"task": "masks", "generator": "dcgan", "sizes": [40, 160], "added_share": 1.0}
ONE_CLASS = {key: copy.deepcopy(DRAWN[key]) for key in ("tasks", "generators")} | {
    "classes": ["normal"],
    "learning_curve": CURVE,
    "split": {"by": "patient", "of_each_patient": None, "on_near_duplicates": "report"},
}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("learning_curve.task", "mask", "learning_curve.task names 'mask'.*did you mean 'masks'"),
        ("learning_curve.generator", "dcgn", "learning_curve.generator names 'dcgn'"),
        ("classes", ["normal", "abnormal"], "generators of one class that are trained here are"),
        ("learning_curve.sizes", [160, 40], "give the smallest first"),
        ("split.of_each_patient", 2, "learning_curve draws fewer images by split.most"),
        ("split.on_near_duplicates", "move", "learning_curve draws fewer images by split.most"),
    ],
)
def test_a_learning_curve_has_a_segmenter_a_generator_and_sizes(monkeypatch, path, value, message):
    check_methods(ONE_CLASS, DATASETS, WEIGHTS, ["iou"])
    monkeypatch.setitem(globals(), "ENTRY", ONE_CLASS)
    with pytest.raises(InputError, match=message):
        check_methods(with_change(path, value), DATASETS, WEIGHTS, ["iou"])


def of_curve(initial=None, chosen=()):
    entry = copy.deepcopy(ONE_CLASS)
    entry["generators"]["dcgan"]["trainings"]["normal"]["initialise_from"] = initial
    entry["generators"]["dcgan"]["training"]["keep_every"] = 5
    states = {"generators": ["dcgan"], "choose": list(chosen), "extractor": "domain"}
    return entry | {"states": states, "extractors": {"domain": {}}}


def test_a_generator_of_the_curve_knows_no_other_images_than_those_of_its_size():
    check_methods(of_curve(), DATASETS, WEIGHTS, ["iou"])
    check_methods(of_curve("../other/results/x/generators/dcgan/normal.pt"), DATASETS, WEIGHTS, ["iou"])
    again, framed = of_curve(), of_curve()
    again["generators"]["dcgan"]["trained_as"] = "pggan"
    framed["generators"]["dcgan"]["trainings"]["normal"]["frames"] = "fsr"
    for entry, message in (
        (again, "which is not trained: it draws again from 'pggan'; name that"),
        (framed, "'normal' sees images without their frames"),
        (of_curve("dcgan.abnormal"), "'normal' begins with the weights of 'dcgan.abnormal': these have seen all"),
        (of_curve(chosen=["dcgan"]), "of which states.choose takes a state by all training images"),
    ):
        with pytest.raises(InputError, match=message):
            check_methods(entry, DATASETS, WEIGHTS, ["iou"])


# ------------------------------------------------------------------------------------------------ who is recognised
REIDENTIFICATION = {
    "generators": None,
    "extractor": "domain",
    "recogniser": {"kind": "network", "pretrained": "vgg16"},
    "dial": {"task": "main", "generators": ["dcgan", "pggan"]},
}


@pytest.mark.parametrize(
    ("changes", "kept", "message"),
    [
        ({}, 4, None),
        ({"dial": None}, 4, None),
        ({"generators": ["dcgn"]}, 4, "reidentification.generators names 'dcgn'"),
        ({"generators": ["dcgan"]}, 4, "dial.generators names 'pggan', but the generators that are asked are"),
        ({"extractor": "inception"}, 4, "reidentification.extractor names 'inception'"),
        ({"recogniser": {"kind": "network", "pretrained": "vgg"}}, 4, "recogniser.pretrained names 'vgg'"),
        ({"dial": {"task": "mian", "generators": ["dcgan"]}}, 4, "dial.task names 'mian'.*did you mean 'main'"),
        ({}, None, r"set split\.of_each_patient"),
    ],
)
def test_patients_are_looked_for_in_what_there_is(changes, kept, message):
    entry = copy.deepcopy(ENTRY) | {"reidentification": REIDENTIFICATION | changes, "split": {"of_each_patient": kept}}
    with nullcontext() if message is None else pytest.raises(InputError, match=message):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


def test_a_test_on_training_patients_needs_images_that_were_set_aside():
    entry = with_change("tasks.main.leaking", True) | {"split": {"of_each_patient": None}}
    with pytest.raises(InputError, match=r"tasks\.main\.leaking tests on unseen images"):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


@pytest.mark.parametrize(
    ("changes", "others", "message"),
    [
        ({}, {}, None),
        ({"positive": "mcro"}, {}, r"tasks\.main\.target\.positive names 'mcro'.*did you mean 'macro'"),
        ({"classes": ["all", "macro"]}, {}, "'all' is the program's own"),
        ({}, {"validation": {"train": 9, "method": "heads"}}, "is for heads"),
        ({}, {"leaking": True}, "is for heads.*no leaking"),
    ],
)
def test_another_column_than_the_label_is_told_apart_by_heads_alone(changes, others, message):
    target = {"column": "stage", "classes": ["negative", "macro"], "positive": "macro"} | changes
    entry = with_change("tasks.main.target", target) | {"split": {"of_each_patient": 4}}
    arms = entry["tasks"]["main"]["arms"] | {"added_counts": {"macro": 1}}
    entry["tasks"]["main"] |= {"validation": None, "arms": arms} | others
    del entry["background"]  # it asks for the labels
    with nullcontext() if message is None else pytest.raises(InputError, match=message):
        check_names(entry, DATASETS, WEIGHTS, ["tuberculosis"], ["iou"])


def test_what_is_drawn_again_has_the_trainings_of_the_other_and_its_own_sampling():
    generators = {
        "singan": {"model": "singan", "title": "SinGAN", "trainings": {"all": {"labels": None, "steps": 9}},
                   "sampling": {"samples": 5}},
        "again": {"model": "drawn_again", "title": "Finer", "of": "singan",
                  "sampling": {"samples": 3, "start_scale": 1}},
    }  # fmt: skip
    found = spread(copy.deepcopy(ENTRY) | {"generators": generators})["generators"]["again"]
    assert found == {
        "model": "singan",
        "title": "Finer",
        "trained_as": "singan",
        "trainings": {"all": {"labels": ["normal", "abnormal"], "steps": 9}},
        "sampling": {"samples": {"normal": 3, "abnormal": 3}, "start_scale": 1},
    }
    generators["again"]["of"] = "again"
    with pytest.raises(InputError, match=r"generators\.again\.of names 'again'"):
        spread(copy.deepcopy(ENTRY) | {"generators": generators})
