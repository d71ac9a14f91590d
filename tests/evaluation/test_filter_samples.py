"""Generated images without those that a tagger marks."""

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import write_csv
from synthmed.data.imageset import ImageSet, not_made, write_image_set
from synthmed.evaluation.filter_samples import FilterSettings, filter_samples


@pytest.fixture
def run(tmp_path):
    """12 images; every third has a frame, every fourth hair."""
    rows, tags = [], []
    for number in range(12):
        fields = {"image": f"{number:02d}.png", "label": "ab"[number % 2], "patient": f"{number}"}
        rows.append((fields, np.full((4, 4), number, np.uint8)))
        marks = {"frame": "yes" if number % 3 == 0 else "no", "hair": "yes" if number % 4 == 0 else "no"}
        tags.append({"set": "gan", "image": f"{number:02d}.png", **marks})
    tags.append({"set": "other", "image": "01.png", "frame": "yes", "hair": "yes"})
    write_image_set(tmp_path / "gan.zip", rows)
    write_csv(tmp_path / "tags.csv", tags, ["set", "image", "frame", "hair"])

    def do(without, samples, tags="tags.csv"):
        chosen = FilterSettings("gan", without, samples)
        filter_samples(chosen, images=tmp_path / "gan.zip", tags=tmp_path / tags, filtered=tmp_path / "out.zip")
        return ImageSet(tmp_path / "out.zip")

    return do


def test_what_is_marked_stays_out_and_the_counts_are_met(run):
    found = run(("frame",), {"a": 3, "b": 2})
    assert found.column("image") == ["01.png", "02.png", "04.png", "05.png", "08.png"]
    assert found[0][0, 0, 0] == 1, "with its own pixels"
    assert run(("frame", "hair"), {"a": 2, "b": 4}).column("image") == [f"{n:02d}.png" for n in (1, 2, 5, 7, 10, 11)]


def test_every_training_of_a_generator_gives_as_many(run, tmp_path):
    """The last half is of another training."""
    images = ImageSet(tmp_path / "gan.zip")
    rows = [(row | {"training": "1" if n < 6 else "2"}, images[n]) for n, row in enumerate(images.rows)]
    write_image_set(tmp_path / "gan.zip", rows)
    assert run(("hair",), {"a": 1, "b": 1}).column("image") == ["01.png", "02.png", "06.png", "07.png"]
    with pytest.raises(
        InputError, match="1 of 3 'a' images of gan, training 1, have none of hair, and 3 were asked for"
    ):
        run(("hair",), {"a": 3, "b": 3})


def test_too_few_images_are_a_finding_and_said_with_their_numbers(run, tmp_path):
    with pytest.raises(InputError, match="could not be made"):
        run(("frame", "hair"), {"a": 3, "b": 1})
    assert not_made(tmp_path / "out.zip") == "2 of 6 'a' images of gan have none of frame, hair, and 3 were asked for"
    run(("frame",), {"a": 1})
    assert not_made(tmp_path / "out.zip") is None


def test_unknown_tags_are_refused(run, tmp_path):
    with pytest.raises(InputError, match="no column 'ruler'"):
        run(("ruler",), {"a": 1})
    write_csv(tmp_path / "few.csv", [{"set": "gan", "image": "00.png", "frame": "no"}], ["set", "image", "frame"])
    with pytest.raises(InputError, match=r"'01\.png' of .* was not tagged"):
        run(("frame",), {"a": 1}, tags="few.csv")
