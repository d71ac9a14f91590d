"""Images of one mask: of painters whose noise and dropout do what is known."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.data.channels import MaskChannels
from synthmed.data.imageset import PLAIN, ImageSet, write_image_set
from synthmed.evaluation import mask_diversity as module
from synthmed.evaluation.mask_diversity import DiversitySettings, mask_diversity

SIZE = (24, 32)
SETTINGS = DiversitySettings(
    part="test", masks=6, samples=4, shown=2, lpips=None, level=0.95, resamples=200, threads=1, device="cpu",
    generator="painter", seed=1,
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Config:
    noise: tuple[str, ...] = ("channel", "dropout")
    dropout: float = 0.5
    dropout_blocks: int = 1


@dataclasses.dataclass(frozen=True)
class Diffusion:
    mask: bool = True
    dropout: float = 0.1


class Painter(nn.Module):
    """The image is the mask, ± gain · noise, and minus 0.1 where dropout strikes."""

    needs = frozenset({"mask", "noise"})
    image_shape = (1, *SIZE)
    classes = ("nuclei",)
    device = torch.device("cpu")
    masks = MaskChannels("classes", PLAIN)
    step = 7

    def __init__(self, gain, config=None):
        super().__init__()
        self.gain, self.config = gain, config or Config()

    def paint(self, masks, noise, dropout):
        images = 0.5 * masks
        if noise is not None:
            images = images + self.gain * noise
        if dropout is not None:
            images = images - 0.1 * (torch.rand(images.shape, generator=dropout) < 0.5)
        return images.clamp(-1, 1)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    rng, rows = np.random.default_rng(0), []
    for number in range(8):
        mask = np.zeros(SIZE, np.uint8)
        mask[number : number + 8, 4:20] = 255
        pixels = rng.integers(0, 256, (*SIZE, 1), np.uint8)
        pixels[0, 0, 0] = number  # where its mask begins
        rows.append(({"image": f"{number}.png", "label": "nuclei", "patient": f"slide{number // 2}"}, pixels, mask))
    path = tmp_path_factory.mktemp("diversity") / "test.zip"
    write_image_set(path, rows)
    return path


def measured(monkeypatch, tmp_path, images, painter, weights=None, **changes):
    monkeypatch.setattr(module, "load_generator", lambda _path: painter)
    settings = dataclasses.replace(SETTINGS, **changes)
    files = {"out": tmp_path / "d.json", "pictures": tmp_path / "d.npz"}
    mask_diversity(settings, checkpoint=tmp_path / "c.pt", images=images, weights=weights, **files)
    return read_json(files["out"]), dict(np.load(files["pictures"]))


def test_each_source_varies_alone(monkeypatch, tmp_path, images):
    found, pictures = measured(monkeypatch, tmp_path, images, Painter(0.05))
    of = {source: values["deviation"]["value"] for source, values in found["sources"].items()}
    assert of["channel"] == pytest.approx(0.05 * 127.5, rel=0.05)
    assert of["dropout"] == pytest.approx(0.05 * 127.5, rel=0.05)  # a half of them, 0.1 away: a deviation of 0.05
    assert of["both"] == pytest.approx(np.hypot(of["channel"], of["dropout"]), rel=0.05)
    assert found["sensitivity"]["value"] == pytest.approx(0.05 / 2, rel=0.05)  # in the image's range of 2
    assert found["sensitivity"]["n"] == found["masks"] == 6
    assert found["sources"]["both"]["ms_ssim"]["value"] < 1
    assert found["real"]["deviation"]["value"] > 60
    assert pictures["sources"].tolist() == ["channel", "dropout", "both"]
    assert pictures["images"].shape == (3, 2, 4, *SIZE, 1)
    assert pictures["real"].shape == (2, *SIZE, 1)
    # What is shown was painted for the mask beside it.
    for real, mask, painted in zip(*(pictures[name] for name in ("real", "masks")), pictures["images"][0], strict=True):
        assert mask.any(axis=1).argmax() == real[0, 0, 0]
        assert painted[:, mask > 0].min() > 150
        assert painted[:, mask == 0].max() < 105


def test_a_collapsed_generator_gives_one_image_of_a_mask(monkeypatch, tmp_path, images):
    found, pictures = measured(monkeypatch, tmp_path, images, Painter(0.0))
    channel = found["sources"]["channel"]
    assert channel["deviation"]["value"] == 0
    assert channel["ms_ssim"]["value"] == pytest.approx(1)
    assert found["sensitivity"]["value"] == 0
    assert found["sources"]["dropout"]["deviation"]["value"] > 5
    assert (pictures["images"][0][:, :1] == pictures["images"][0]).all()


def test_intervals_are_over_patients(monkeypatch, tmp_path, images):
    class Uneven(Painter):
        def paint(self, masks, noise, dropout):
            return super().paint(masks, noise * (1 + masks[:, :, :4].mean()), dropout)

    found, _ = measured(monkeypatch, tmp_path, images, Uneven(0.1), masks=8)
    estimate = found["sources"]["channel"]["deviation"]
    assert estimate["low"] < estimate["value"] < estimate["high"]
    one = measured(monkeypatch, tmp_path, images, Uneven(0.1), masks=2, seed=2)[0]
    assert one["masks"] == 2


@pytest.mark.parametrize(
    ("config", "there"),
    [(Config(noise=("dropout",)), {"dropout"}), (Config(dropout=0.0), {"channel"}), (Config(), set(module.SOURCES))],
)
def test_what_a_generator_lacks_has_a_reason(monkeypatch, tmp_path, images, config, there):
    found, pictures = measured(monkeypatch, tmp_path, images, Painter(0.05, config))
    assert set(pictures["sources"].tolist()) == there
    for source, values in found["sources"].items():
        assert (values["deviation"]["value"] is not None) == (source in there)
        if source not in there:
            assert values["deviation"]["reason"] in ("no noise beside the mask", "nothing is dropped")
    assert (found["sensitivity"]["value"] is None) == ("channel" not in there)
    assert found["sources"]["both"]["lpips"]["value"] is None


def test_masks_of_other_labels_than_the_generator_learnt_are_left_out(monkeypatch, tmp_path, images):
    entries = ImageSet(images).entries()
    rows = [(row | {"label": "debris" if n % 4 == 0 else "nuclei"}, *rest) for n, (row, *rest) in enumerate(entries)]
    write_image_set(tmp_path / "both.zip", rows)
    found, _ = measured(monkeypatch, tmp_path, tmp_path / "both.zip", Painter(0.05), masks=8)
    assert found["masks"] == 6


def test_lpips_is_that_of_all_pairs(monkeypatch, tmp_path, images):
    class Distance(nn.Module):
        def __init__(self, weights):
            super().__init__()
            self.register_buffer("lin0", torch.zeros(1))

        def between_all(self, images, batch):
            return (images[:, None] - images[None]).square().mean(dim=(2, 3, 4))

    monkeypatch.setattr(module, "PerceptualDistance", Distance)
    found, _ = measured(monkeypatch, tmp_path, images, Painter(0.05), weights=tmp_path / "w.pt")
    assert found["sources"]["channel"]["lpips"]["value"] == pytest.approx(2 * 0.05**2, rel=0.05)


def test_who_paints_nothing_or_always_the_same_is_refused(monkeypatch, tmp_path, images):
    with pytest.raises(InputError, match="nothing varies between its images of one mask"):
        measured(monkeypatch, tmp_path, images, Painter(0.1, Config(noise=(), dropout=0.0)))
    painter = Painter(0.1)
    painter.needs = frozenset({"noise"})
    with pytest.raises(InputError, match=r"c\.pt: this generator paints no masks"):
        measured(monkeypatch, tmp_path, images, painter)


def test_who_does_not_tell_noise_and_dropout_apart_is_refused(monkeypatch, tmp_path, images):
    """As EDM, whose samples begin as noise of their own shape."""
    with pytest.raises(InputError, match=r"c\.pt: this generator has no settings .*take it out of mask_diversity"):
        measured(monkeypatch, tmp_path, images, Painter(0.1, Diffusion()))


def test_masks_are_needed(monkeypatch, tmp_path):
    rows = [({"image": "a.png", "label": "nuclei", "patient": "a"}, np.zeros((*SIZE, 1), np.uint8))]
    write_image_set(tmp_path / "none.zip", rows)
    with pytest.raises(InputError, match=r"none\.zip: no image of \['nuclei'\] has a mask"):
        measured(monkeypatch, tmp_path, tmp_path / "none.zip", Painter(0.1))
