"""Patches of tissue: reproducible, with a truth that the picture shows, and with what the settings grade."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from synthmed.core.errors import InputError
from synthmed.data.phantoms.histology import CLASS_OF_INTEREST, PhantomSettings, draws

SETTINGS = PhantomSettings(
    nuclei=6,
    slides=2,
    seed=3,
    image_size=96,
    field=64.0,
    glomerulus_share=1.0,
    crowding=(0.4, 0.6),
    stain_spread=0.5,
    difficulty=0.2,
)


def patches(**changes):
    return [patch for _, _, patch in draws(replace(SETTINGS, **changes))]


@pytest.fixture(scope="module")
def drawn():
    return patches()


def nuclei(patch):
    return np.unique(patch.labels[patch.labels > 0])


def podocytes(patch):
    return nuclei(patch)[nuclei(patch) >= CLASS_OF_INTEREST]


def test_a_larger_set_contains_the_smaller_one(drawn):
    larger = {(slide, number): patch for slide, number, patch in draws(replace(SETTINGS, nuclei=9))}
    more_slides = {(slide, number): patch for slide, number, patch in draws(replace(SETTINGS, nuclei=9, slides=3))}
    for (slide, number), patch in zip([(n % 2, n // 2) for n in range(6)], drawn, strict=True):
        for other in (larger, more_slides):
            assert np.array_equal(other[slide, number].pixels, patch.pixels)
            assert np.array_equal(other[slide, number].labels, patch.labels)


def test_another_seed_gives_other_patches(drawn):
    assert not np.array_equal(patches(seed=4)[0].pixels, drawn[0].pixels)


def test_pictures_are_rgb_and_numbers_have_no_gaps(drawn):
    for patch in drawn:
        assert (patch.pixels.dtype, patch.pixels.shape) == (np.uint8, (96, 96, 3))
        assert patch.labels.dtype == np.uint16
        plain = nuclei(patch)[nuclei(patch) < CLASS_OF_INTEREST]
        assert plain.tolist() == list(range(1, len(plain) + 1))
        assert podocytes(patch).tolist() == list(range(CLASS_OF_INTEREST, CLASS_OF_INTEREST + len(podocytes(patch))))


def test_nuclei_are_bluer_and_darker_than_what_surrounds_them(drawn):
    """Haematoxylin takes red light, eosin does not: the truth must lie where the picture has nuclei."""
    darker = []
    for patch in drawn:
        red = patch.pixels[:, :, 0].astype(float)
        for value in nuclei(patch):
            inside = patch.labels == value
            around = ndimage.binary_dilation(inside, iterations=3) & (patch.labels == 0)
            darker.append(red[inside].mean() < red[around].mean())
    assert len(darker) > 100
    assert np.mean(darker) > 0.97


def test_podocytes_come_with_glomeruli_and_are_large(drawn):
    assert all(len(podocytes(patch)) >= 3 for patch in drawn)
    assert not any(len(podocytes(patch)) for patch in patches(glomerulus_share=0.0))
    areas = {True: [], False: []}
    for patch in drawn:
        for value, area in zip(*np.unique(patch.labels[patch.labels > 0], return_counts=True), strict=True):
            areas[value >= CLASS_OF_INTEREST].append(area)
    assert np.median(areas[True]) > 1.3 * np.median(areas[False])


def test_crowding_grades_how_many_and_how_near():
    sparse, dense = (patches(crowding=(level, level), slides=1, nuclei=3) for level in (0.0, 1.0))
    assert sum(len(nuclei(patch)) for patch in dense) > 1.6 * sum(len(nuclei(patch)) for patch in sparse)

    def touching(patch):
        right, left = patch.labels[:, 1:], patch.labels[:, :-1]
        return ((right != left) & (right > 0) & (left > 0)).sum()

    assert sum(map(touching, dense)) > 5 * sum(map(touching, sparse))


def test_slides_differ_in_stain_as_much_as_is_asked_for():
    def colours(spread):
        means = np.array(
            [patch.pixels.mean(axis=(0, 1)) for patch in patches(nuclei=15, slides=5, stain_spread=spread)]
        )
        return means.reshape(3, 5, 3).mean(axis=0)  # by slide

    alike, different = colours(0.0), colours(1.0)
    assert different.std(axis=0).mean() > 2 * alike.std(axis=0).mean()


def test_difficulty_makes_nuclei_pale_and_soft():
    def contrast(difficulty):
        found = patches(difficulty=difficulty, slides=1, nuclei=3)
        return np.mean([p.pixels[p.labels == 0].mean() - p.pixels[p.labels > 0].mean() for p in found])

    assert contrast(1.0) < 0.75 * contrast(0.0)


def test_more_slides_than_patches_are_refused():
    with pytest.raises(InputError, match=r"slides is 9, but there are 6 patches"):
        replace(SETTINGS, slides=9)


def test_crowding_the_wrong_way_round_is_refused():
    with pytest.raises(InputError, match=r"crowding is \[0.9, 0.1\]: the least crowded slide comes first"):
        replace(SETTINGS, crowding=(0.9, 0.1))
