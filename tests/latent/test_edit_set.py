"""A whole set from which something was edited out, in a world where what does what is known (linear_world)."""

import linear_world
import numpy as np
import pytest
import torch

from synthmed.core.errors import InputError
from synthmed.data.imageset import ImageSet, not_made
from synthmed.latent.edit_set import EditSetSettings, edit_set
from synthmed.latent.sample_file import write_arrays
from synthmed.latent.space import draw_codes
from synthmed.training.device import derived_seed


@pytest.fixture
def world(monkeypatch, tmp_path):
    return linear_world.in_the_linear_world(monkeypatch, tmp_path)


def run(folder, reason="", **changes):
    arrays = (
        {}
        if reason
        else {"svm": -2 * linear_world.LEFT, "sefa": 3 * np.eye(linear_world.D)[5], "up": 2 * linear_world.LEFT}
    )
    shared = {"space": np.array("z"), "remove": np.array("left"), "reason": np.array(reason)}
    write_arrays(folder / "directions.npz", arrays | shared)
    values = {
        "method": "svm", "name": "gone", "samples": {"a": 30}, "model": "dcgan", "several": False,
        "distances": (0.0, 0.5, 1.0, 2.0), "keep_length": False, "seed": 4, "batch_size": 20, "threads": 1,
        "device": "cpu",
    }  # fmt: skip
    edit_set(
        EditSetSettings(**(values | changes)),
        checkpoint=folder / "generator.pt",
        classifier=folder / "classifier.pt",
        directions=folder / "directions.npz",
        edited=folder / "edited.zip",
    )
    return folder / "edited.zip"


def test_no_image_shows_it_and_codes_go_no_further_than_they_must(world, tmp_path):
    found = ImageSet(run(tmp_path))
    judge = linear_world.toy_classifier()
    left = judge.targets.index("left")
    codes = draw_codes(world, "z", 150, derived_seed(4, "edited a"))
    for row, pixels, code in zip(found.rows, [found[n] for n in range(len(found))], codes, strict=False):
        along = float(code @ linear_world.LEFT)
        # A disease shows from one standard deviation on; a step of 1 takes 2 of them away.
        steps = [step for step in (0.0, 0.5, 1.0, 2.0) if along - 2 * step < 1]
        assert float(row["distance"]) == steps[0]
        assert row["edited"] == ("yes" if steps[0] else "no")
        moved = torch.tensor(code - 2 * steps[0] * linear_world.LEFT, dtype=torch.float32)
        expected = world.synthesise(moved[None])[0, 0].numpy()
        np.testing.assert_allclose(pixels[:, :, 0] / 127.5 - 1, expected, atol=0.01)
    assert 0 < found.column("edited").count("yes") < 20
    assert left == 1


def test_codes_of_which_it_never_goes_are_drawn_again(world, tmp_path):
    found = ImageSet(run(tmp_path, method="sefa"))
    assert set(found.column("edited")) == {"no"}
    assert len(found) == 30


def test_what_cannot_be_is_refused(world, tmp_path):
    with pytest.raises(InputError, match="no direction of 'pca'; there are"):
        run(tmp_path, method="pca")


def test_what_does_not_go_away_is_a_finding(world, tmp_path):
    assert not_made(run(tmp_path, method="up", distances=(5.0, 6.0))) == (
        "of 150 codes, the direction of 'up' led 0 to 'a' images without it, and 30 were asked for"
    )
    assert not_made(run(tmp_path, reason="0 of the 9 samples show it")) == (
        "nothing could be edited out: 0 of the 9 samples show it; 30 'a' images were asked for"
    )
    assert [path.name for path in tmp_path.iterdir() if "edited" in path.name] == ["edited.zip"]
