import pytest
import torch

from synthmed.core.errors import InputError
from synthmed.training import checkpoint
from synthmed.training.checkpoint import Checkpoint, differences, plain

CONFIG = {"channels": (8, 4), "learning_rate": 0.1}


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "c.pt"
    checkpoint.save(path, Checkpoint("dcgan", CONFIG, (1, 16, 16), ("normal",), 7, {"a.weight": torch.arange(4.0)}))
    return path


def test_round_trip(saved):
    read = checkpoint.load(saved, model="dcgan", config=CONFIG)
    assert read.config == {"channels": [8, 4], "learning_rate": 0.1}
    assert (read.image_shape, read.classes, read.step) == ((1, 16, 16), ("normal",), 7)
    assert torch.equal(read.state["a.weight"], torch.arange(4.0))


def test_the_file_holds_no_code(saved):
    content = torch.load(saved, weights_only=True)
    assert content["format"] == 1
    assert content["classes"] == ["normal"]


def test_another_model_is_refused(saved):
    with pytest.raises(InputError, match=r"c\.pt: checkpoint of 'dcgan', but the setting model is 'fastgan'"):
        checkpoint.load(saved, model="fastgan")


def test_another_config_is_refused_and_the_setting_named(saved):
    with pytest.raises(InputError, match=r"another config \(learning_rate was 0.1, is 0.2\)"):
        checkpoint.load(saved, model="dcgan", config=CONFIG | {"learning_rate": 0.2})


@pytest.mark.parametrize("keep", [0, 10, 300, -20])
def test_a_cut_off_file_is_refused(saved, keep):
    saved.write_bytes(saved.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"c\.pt: .*train the generator again"):
        checkpoint.load(saved, model="dcgan")


def test_a_flipped_byte_in_the_index_is_refused(saved):
    content = bytearray(saved.read_bytes())
    content[-22] ^= 0xFF
    saved.write_bytes(content)
    with pytest.raises(InputError, match="train the generator again"):
        checkpoint.load(saved, model="dcgan")


def test_foreign_files_are_refused(tmp_path):
    torch.save({"weights": torch.zeros(1)}, tmp_path / "foreign.pt")
    with pytest.raises(InputError, match="no checkpoint of a generator"):
        checkpoint.load(tmp_path / "foreign.pt", model="dcgan")
    torch.save({"run": print}, tmp_path / "code.pt")
    with pytest.raises(InputError, match="not readable"):
        checkpoint.load(tmp_path / "code.pt", model="dcgan")
    with pytest.raises(InputError, match="no such file"):
        checkpoint.load(tmp_path / "missing.pt", model="dcgan")


def test_a_newer_format_is_refused(saved):
    content = torch.load(saved, weights_only=True) | {"format": 2}
    torch.save(content, saved)
    with pytest.raises(InputError, match="format 2, this version reads 1"):
        checkpoint.load(saved, model="dcgan")


def test_differences_are_named_with_their_path():
    old = {"training": {"steps": 1, "flip": True}, "seed": 0}
    new = {"training": {"steps": 2, "flip": True}, "seed": 0, "extra": 1}
    assert differences(old, new) == ["extra was 'absent', is 1", "training.steps was 1, is 2"]
    assert differences(old, old) == []


def test_plain_turns_tuples_into_lists_at_any_depth():
    assert plain({"a": (1, (2, 3)), "b": {"c": ("x",)}}) == {"a": [1, [2, 3]], "b": {"c": ["x"]}}
