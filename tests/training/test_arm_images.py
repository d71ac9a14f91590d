"""The lists of an arm: one in memory at a time, read in pieces, in the order of the list."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from synthmed.core.errors import InputError
from synthmed.data.arm_lists import Members
from synthmed.training import arm_images as module
from synthmed.training.arm_images import Parts, check_together, gathered


@dataclass(frozen=True)
class Part:
    images: torch.Tensor
    patients: list[str]


def members(pairs):
    """Of (set, image) each."""
    sets, images = (np.array(column, object) for column in zip(*pairs, strict=True))
    return Members(sets, images, np.arange(len(pairs)), sets, images)


def test_one_seeds_images_are_in_memory_at_a_time():
    made = []
    first, second = object(), object()
    parts = Parts([first, first, second], lambda key: made.append(key) or len(made))
    assert [parts[0], parts[1], parts[2], parts[0]] == [1, 1, 2, 3]
    assert made == [first, second, first]
    assert len(parts) == 3


def test_a_list_is_read_in_pieces_and_keeps_its_order(monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 3)
    given = [("real", "3"), ("gan", "7"), ("real", "1"), ("real", "3"), ("real", "2"), ("gan", "5"), ("real", "4")]
    read = []

    def reader(name, own):
        assert set(own.sets.tolist()) == {name}
        read.append(own.images.tolist())
        values = torch.tensor([[10.0 * (name == "gan") + int(image)] for image in own.images.tolist()])
        return Part(values, [f"{name}{image}" for image in own.images.tolist()])

    whole = gathered(members(given), reader)
    assert whole.images.flatten().tolist() == [3.0, 17.0, 1.0, 3.0, 2.0, 15.0, 4.0]
    assert whole.patients == [name + image for name, image in given]
    assert read == [["1", "2", "3"], ["3", "4"], ["5", "7"]]


def test_images_of_two_sizes_are_refused_by_the_name_of_their_set():
    sizes = {"real": 8, "gan": 4}
    with pytest.raises(InputError, match=r"the set 'gan' are \(1, 4, 4\).* others of its arm \(1, 8, 8\)"):
        gathered(
            members([("real", "1"), ("gan", "1")]),
            lambda name, own: Part(torch.zeros(len(own.sets), 1, sizes[name], sizes[name]), list(own.images)),
        )


def test_parts_with_a_patient_in_common_or_other_images_are_refused():
    paths = ("train.zip", "validation.zip")
    check_together((["a"], ["b"]), ((1, 1, 8, 8), (1, 1, 8, 8)), paths)
    with pytest.raises(InputError, match="the first is 'a'; split by patient"):
        check_together((["a"], ["a", "b"]), ((1, 1, 8, 8), (2, 1, 8, 8)), paths)
    with pytest.raises(InputError, match="prepare them alike"):
        check_together((["a"], ["b"]), ((1, 1, 8, 8), (1, 3, 8, 8)), paths)
