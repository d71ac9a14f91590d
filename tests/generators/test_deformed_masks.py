"""Real masks, elastically deformed: as many as asked, each of a real one, never the same."""

import numpy as np
import pytest
from scipy import ndimage

from synthmed.augment.pairs import Elastic
from synthmed.commands.check_images import check
from synthmed.core.errors import InputError
from synthmed.data.imageset import ImageSet, Legend, write_image_set
from synthmed.generators.deformed_masks import DeformSettings, deform_masks

LESIONS = Legend(masks="semantic", classes={"lesion": 255})
NUCLEI = Legend(masks="instances", classes={"nucleus": 1})


def images(path, legend, without=()):
    rows = []
    for number in range(5):
        mask = np.zeros((32, 32), np.uint8)
        mask[8:24, 6 + number : 20] = 255 if legend == LESIONS else 1
        mask[26:30, 26:30] = 255 if legend == LESIONS else 7
        fields = {"image": f"real{number}.png", "label": "lesion", "patient": f"p{number}"}
        rows.append((fields, np.full((32, 32, 3), 90, np.uint8), mask)[: 2 if number in without else 3])
    write_image_set(path, rows, legend)
    return path


def settings(count=8, **changes):
    values = {"samples": {"lesion": count}, "generator": "elastic", "seed": 1, "threads": 1}
    return DeformSettings(elastic=Elastic(displacement=0.05, smoothness=0.1), **values | changes)


@pytest.mark.parametrize("legend", [LESIONS, NUCLEI])
def test_masks_are_deformed_and_keep_their_values(tmp_path, legend):
    real = images(tmp_path / "train.zip", legend)
    deform_masks(settings(), images=real, deformed=tmp_path / "m.zip")
    assert check(tmp_path / "m.zip") == []
    made, real = ImageSet(tmp_path / "m.zip"), ImageSet(real)
    origins = made.column("origin")
    assert sorted(origins.count(name) for name in set(origins)) == [1, 1, 2, 2, 2]
    assert len({mask.tobytes() for mask in made.masks}) == 8
    assert np.array_equal(made.pixels[..., 0], np.where(made.masks > 0, 255, 0))
    for origin, mask in zip(origins, made.masks, strict=True):
        before = real.masks[real.column("image").index(origin)]
        assert set(np.unique(mask)) <= set(np.unique(before))
        assert not np.array_equal(mask, before)
        # Moved by a twentieth of the side or so, not somewhere else.
        centres = [np.array(ndimage.center_of_mass(one > 0)) for one in (mask, before)]
        assert np.abs(centres[0] - centres[1]).max() < 5
        assert 0.5 < (mask > 0).sum() / (before > 0).sum() < 2


def test_equal_settings_give_equal_bytes_and_another_seed_others(tmp_path):
    real = images(tmp_path / "train.zip", LESIONS)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        deform_masks(settings(seed=seed), images=real, deformed=tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() != (tmp_path / "c").read_bytes()


def test_images_without_masks_give_none(tmp_path):
    some = images(tmp_path / "some.zip", LESIONS, without=(0, 1, 2))
    deform_masks(settings(4), images=some, deformed=tmp_path / "m.zip")
    assert set(ImageSet(tmp_path / "m.zip").column("origin")) == {"real3.png", "real4.png"}
    none = images(tmp_path / "none.zip", LESIONS, without=range(5))
    with pytest.raises(InputError, match=r"none\.zip: no mask of 'lesion', which setting samples names"):
        deform_masks(settings(), images=none, deformed=tmp_path / "n.zip")
