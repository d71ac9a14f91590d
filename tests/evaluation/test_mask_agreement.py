"""Painted images and their masks: of a painter that knows the masks of its training, and no others."""

import numpy as np
import pytest
import torch
from torch import nn

from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.provenance import PACKAGE
from synthmed.data.channels import MaskChannels
from synthmed.data.imageset import PLAIN, write_image_set
from synthmed.evaluation import mask_agreement as module
from synthmed.evaluation.mask_agreement import AgreementSettings, mask_agreement
from synthmed.report.sections import mask_agreement as report
from synthmed.segmenters.trained import Segmenter

SIZE = (16, 16)
SETTINGS = AgreementSettings(
    masks=6, examples=2, batch_size=4, threads=1, device="cpu", generator="painter", level=0.9, seed=1
)


def mask_at(left):
    mask = np.zeros(SIZE, np.uint8)
    mask[4:12, left : left + 8] = 255
    return mask


class Painter:
    """Paints the mask white if its left edge is one it knows; else half of it, and as much beside it."""

    needs = frozenset({"mask", "noise"})
    image_shape, classes, device, masks, step = (1, *SIZE), ("lesion",), torch.device("cpu"), None, 7

    def __init__(self, known):
        self.known, self.masks = known, MaskChannels("classes", PLAIN)

    def to(self, device):
        return self

    def sample(self, count, label, noise, masks):
        left = (masks[:, 0] > 0).any(1).int().argmax(1).tolist()
        painted = [one if at in self.known else one.roll(4, 2) for one, at in zip(masks, left, strict=True)]
        return torch.stack(painted)


class ByLabel(Painter):
    """One that knows all masks, and moves one where it is asked for another label than the mask is of."""

    classes = ("lesion", "scar")

    def sample(self, count, label, noise, masks):
        left = (masks[:, 0] > 0).any(1).int().argmax(1).tolist()
        right = [(label == "scar") == (at in (3, 4)) for at in left]
        return torch.stack([one if found else one.roll(4, 2) for found, one in zip(right, masks, strict=True)])


class Bright(nn.Module):
    def __init__(self):
        super().__init__()
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return 9 * images


@pytest.fixture
def run(tmp_path, monkeypatch):
    def write(part, lefts):
        fields = [
            {"image": f"{left}.png", "label": "scar" if left in (3, 4) else "lesion", "patient": f"{part}{left}"}
            for left in lefts
        ]
        rows = [(row, mask_at(left), mask_at(left)) for row, left in zip(fields, lefts, strict=True)]
        write_image_set(tmp_path / f"{part}.zip", rows)

    judge = Segmenter("bright", (1, *SIZE), SIZE, MaskChannels("classes", PLAIN), [Bright(), Bright()])
    monkeypatch.setattr(module, "load", lambda path: judge)

    def do(known, needs=Painter.needs, seen=(0, 1, 2), kind=Painter):
        write("train", seen)
        write("test", (5, 6, 7, 8))
        painter = kind(known)
        painter.needs = needs
        monkeypatch.setattr(module, "load_generator", lambda path: painter)
        files = {"out": tmp_path / "o.json", "pictures": tmp_path / "p.npz"}
        parts = {"train": tmp_path / "train.zip", "test": tmp_path / "test.zip"}
        mask_agreement(SETTINGS, checkpoint=tmp_path / "c.pt", judge=tmp_path / "j.pt", **parts, **files)
        return read_json(tmp_path / "o.json"), tmp_path

    return do


def test_a_painter_that_knows_seen_masks_only_is_found_out(run):
    found, folder = run({0, 1, 2})
    assert (found["train"]["masks"], found["test"]["masks"]) == (3, 4)
    assert found["train"]["painted"]["value"] == 1
    assert found["test"]["painted"]["value"] == pytest.approx(1 / 3)  # half of it, and as much beside it
    assert found["difference"]["value"] == pytest.approx(1 / 3 - 1)
    assert [found[part]["real"]["value"] for part in ("train", "test")] == [1, 1]
    arrays = np.load(folder / "p.npz")
    assert arrays["train_painted"].shape == (2, *SIZE, 1)
    assert np.array_equal(arrays["train_drawn"] > 0, arrays["train_masks"] > 0)
    assert not np.array_equal(arrays["test_drawn"] > 0, arrays["test_masks"] > 0)


def test_one_that_follows_all_masks_is_not(run):
    found, _ = run(set(range(16)))
    assert found["difference"]["value"] == 0
    assert found["p"] == 1


def test_masks_of_labels_that_the_training_had_not_are_no_seen_ones(run):
    found, _ = run({0, 1, 2}, seen=(0, 1, 2, 3, 4))
    assert found["train"]["masks"] == 3
    assert found["train"]["painted"]["value"] == 1


def test_every_mask_is_painted_under_its_own_label(run):
    found, folder = run(set(), seen=(3, 0, 4, 1), kind=ByLabel)
    assert (found["train"]["masks"], found["test"]["masks"]) == (4, 4)
    assert [found[part]["painted"]["value"] for part in ("train", "test")] == [1, 1]
    arrays = np.load(folder / "p.npz")
    assert np.array_equal(arrays["train_painted"][..., 0] > 127, arrays["train_masks"] > 0)


def test_a_generator_without_masks_is_refused(run):
    with pytest.raises(InputError, match=r"take it out of mask_agreement\.generators"):
        run({0}, frozenset({"noise"}))


def test_the_section_shows_both_and_the_difference(run):
    _, folder = run({0, 1, 2})
    for name in ("tables", "figures"):
        (folder / name).mkdir()
    write_json(folder / "split.json", {"counts": {"train": {"lesion": 123}}})

    def do(count):
        report.section(
            report.MaskAgreementSettings({"pix2pix_1": "One", "pix2pix_2": "Two"}),
            agreement=[folder / "o.json"] * count,
            pictures=[folder / "p.npz"] * count,
            others=folder / "split.json",
            document=PACKAGE / "report" / "references" / "melanoma_small.yaml",
            section=folder / "mask_agreement.json",
            out=[folder / path for path in report.SECTION.files("mask_agreement")],
        )

    do(2)
    page, rows = read_json(folder / "mask_agreement.json"), read_csv(folder / "tables/mask_agreement.agreement.csv")
    assert [row["generator"] for row in rows] == ["One", "Two"]
    assert rows[0]["difference"].startswith("-0.66")
    assert rows[0]["train_real"] == "1.0"
    assert "123 other photographs" in page["html"]
    assert "of the segmenter, with 90 % intervals" in page["html"]
    assert "overfitted generator" in page["html"]
    assert (folder / "figures/mask_agreement.painted.png").stat().st_size > 5000
    with pytest.raises(InputError, match="agreement: 1 files for"):
        do(1)
