"""What cannot be built or fed is refused before the first training."""

import pytest
from tiny_configs import TINY

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.evaluation.check_models import PlannedTraining, check_models

REAL = {"normal": 90, "abnormal": 51}
NUCLEI = {"kind": "instances", "classes": {"nucleus": 1}, "required": True}


def planned(model: str, **changes: object) -> PlannedTraining:
    values = {
        "model": model,
        "config": TINY[model]["config"],
        "receptive_field": None,
        "labels": ["normal", "abnormal"] if model == "cyclegan" else ["normal"],
        "image_shape": list(TINY[model]["shape"]),
        "coding": "instances" if model == "pix2pix" else None,
        "masks": NUCLEI,
        "batch_size": 4,
    }
    return parse(PlannedTraining, values | changes)


@pytest.mark.parametrize("model", TINY)
def test_every_model_is_built_without_memory(model):
    check_models({"one": planned(model)}, REAL)


def test_a_network_of_gigabytes_takes_a_moment():
    large = TINY["pggan"]["config"] | {"fmap_base": 2**18, "fmap_max": 2**15}
    check_models({"one": planned("pggan", config=large, image_shape=[1, 1024, 1024])}, REAL)


@pytest.mark.parametrize(
    ("model", "changes", "said"),
    [
        (
            "dcgan",
            {"image_shape": [1, 64, 64]},
            r"^one: setting generator_channels has \d entries; images of 64 px need",
        ),
        (
            "dcgan",
            {"config": {**TINY["dcgan"]["config"], "latnet_size": 3}},
            r"unknown setting config\.latnet_size; did",
        ),
        ("dcgan", {"coding": "instances", "masks": None}, "masks are semantic: use 'classes'"),
        ("pix2pix", {"coding": None}, r"makes images for masks, but the setting training\.masks is null"),
        ("pix2pix", {"image_shape": [3, 20, 16]}, r"generator_channels has 3 entries.* multiples of 8 px, not 20×16"),
        ("pix2pix", {"image_shape": [3, 8, 8], "batch_size": 1}, "batch_size is 1, but BatchNorm"),
        ("pix2pix", {"receptive_field": 22}, "receptive_field is 22, but that of its PatchGAN is 10"),
        ("dcgan", {"receptive_field": 46}, "receptive_field is 46, but the model has no PatchGAN"),
        ("cyclegan", {"receptive_field": 46}, r"receptive_field is 46, but that of its PatchGAN is \d+; correct it"),
        ("dcgan", {"batch_size": 91}, "batch_size is 91, but there are 90 training images of normal"),
        ("cyclegan", {"batch_size": 52}, "batch_size is 52, but there are 51 training images of normal or abnormal"),
        ("dcgan", {"labels": ["normal", "abnormal"], "batch_size": 142}, "there are 141 training images of normal or"),
    ],
)
def test_what_cannot_be_is_named_with_its_training(model, changes, said):
    with pytest.raises(InputError, match=said):
        check_models({"one": planned(model, **changes)}, REAL)


def test_a_batch_as_large_as_the_classes_is_fine():
    check_models({"one": planned("dcgan", labels=["normal", "abnormal"], batch_size=141)}, REAL)
