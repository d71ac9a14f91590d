"""Dermoscopy phantoms: skin tone, lesions, artefacts, and that what is said of a photograph is true of its pixels."""

import dataclasses

import numpy as np
import pytest
from scipy import ndimage

from synthmed.core.errors import InputError
from synthmed.data.phantoms.canvas import make_grid
from synthmed.data.phantoms.dermoscopy import DermoscopySettings, draw, draws, plans
from synthmed.data.phantoms.dermoscopy_artefacts import ARTEFACTS, SHOWS
from synthmed.data.phantoms.lesions import KINDS, network, outline
from synthmed.data.phantoms.skin import Layers, encoded, healthy, ita, melanin_of

SETTINGS = DermoscopySettings(
    images=dict.fromkeys(KINDS, 3),
    repeat_share=0.0,
    lesions_per_patient=1.0,
    ita_mean=45.0,
    ita_sd=10.0,
    artefacts={},
    difficulty=0.0,
    image_size=72,
    seed=4,
)


def changed(**values):
    return dataclasses.replace(SETTINGS, **values)


# -------------------------------------------------------------------------------------------------------------- skin
def test_skin_without_a_lesion_has_the_tone_that_was_asked_for():
    grid = make_grid(48, 64, 0.02, 32, 24)
    for angle in (60.0, 45.0, 20.0, -20.0):
        skin = healthy(np.random.default_rng(1), grid, angle)
        assert ita(encoded(skin.light()).reshape(-1, 3).mean(axis=0)) == pytest.approx(angle, abs=3)
    assert melanin_of(60.0) < melanin_of(45.0) < melanin_of(-20.0)


def test_ita_of_known_colours():
    """sRGB (219, 181, 156) has L* 76.38, b* 17.89 by the formulas of CIE 15 for D65, written out by hand."""
    assert ita(np.array([219, 181, 156]) / 255) == pytest.approx(55.86, abs=0.05)
    assert encoded(np.array([0.0, 0.001, 0.5, 1.0])) == pytest.approx([0, 0.01292, 0.73536, 1], abs=1e-4)


def pigment(**units):
    empty = {name: np.zeros((1, 1), np.float32) for name in ("melanin", "deep", "blood", "white", "yellow")}
    return Layers(**empty | {name: np.full((1, 1), value, np.float32) for name, value in units.items()}).light()[0, 0]


def test_pigments_have_their_colours():
    red, green, blue = pigment(melanin=1.0)
    assert red > green > blue
    red, green, blue = pigment(deep=2.0)
    assert blue > green > red
    red, green, blue = pigment(blood=2.0)
    assert red > 2 * green
    assert red > 2 * blue
    assert np.ptp(pigment(melanin=2.0, white=1.0)) < 0.1


# ----------------------------------------------------------------------------------------------------------- lesions
@pytest.mark.parametrize("kind", KINDS)
def test_the_mask_is_where_the_lesion_shows(kind):
    for phantom in draws(changed(images={kind: 4})):
        assert phantom.pixels.shape == (72, 96, 3)
        assert phantom.mask.shape == (72, 96)
        assert 0.02 < phantom.mask.mean() < 0.9
        assert ndimage.label(phantom.mask)[1] == 1
        assert (ndimage.binary_fill_holes(phantom.mask) == phantom.mask).all()
    inside = np.concatenate([one.pixels[one.mask] for one in draws(changed(images={kind: 8}))]).astype(float)
    outside = np.concatenate([one.pixels[~one.mask] for one in draws(changed(images={kind: 8}))]).astype(float)
    assert np.abs(inside.mean(axis=0) - outside.mean(axis=0)).max() > 15


def test_difficult_lesions_show_less():
    def contrast(difficulty):
        found = draws(changed(images={"NV": 6}, difficulty=difficulty))
        return np.mean([one.pixels[~one.mask].mean() - one.pixels[one.mask].mean() for one in found])

    assert contrast(0.0) > 2 * contrast(1.0) > 0


def test_an_irregular_outline_is_longer_than_a_regular_one_of_the_same_size():
    grid = make_grid(120, 160, 0.01, 80, 60)

    def compactness(irregular):
        shapes = [outline(np.random.default_rng(k), grid, (0, 0), 0.35, irregular, 0.2).inside for k in range(6)]
        rims = [shape & ~ndimage.binary_erosion(shape) for shape in shapes]
        return np.mean([rim.sum() ** 2 / shape.sum() for shape, rim in zip(shapes, rims, strict=True)])

    assert compactness(1.0) > 1.3 * compactness(0.0)


def test_the_holes_of_a_network_are_as_far_apart_as_asked():
    """Of a regular mesh the strongest wave in every row of the spectrum lies near 1 / (0.866 · spacing)."""
    grid = make_grid(200, 200, 0.01, 100, 100)
    mesh = network(np.random.default_rng(0), grid, 0.08, 0.0)
    power = np.abs(np.fft.fft2(mesh - mesh.mean())) ** 2
    waves = np.hypot(*np.meshgrid(np.fft.fftfreq(200, 0.01), np.fft.fftfreq(200, 0.01)))
    strongest = waves.ravel()[np.argsort(power.ravel())[-12:]].mean()
    assert strongest == pytest.approx(1 / (0.866 * 0.08), rel=0.15)


# -------------------------------------------------------------------------------------------------------------- plans
def test_shares_are_met_exactly_and_by_kind():
    shares = {"hair": 0.4, "dark_corner": {"MEL": 0.5, "NV": 0.1}}
    found = plans(changed(images={"MEL": 20, "NV": 30}, artefacts=shares))
    count = {
        (kind, name): sum(name in plan.artefacts for plan in found if plan.kind == kind)
        for kind in ("MEL", "NV")
        for name in ARTEFACTS
    }
    assert count["MEL", "dark_corner"] == 10
    assert count["NV", "dark_corner"] == 3
    assert count["MEL", "hair"] == 8
    assert count["NV", "hair"] == 12
    assert sum(count.values()) == 33
    assert [plan.number for plan in found] == list(range(50))
    assert all(bool(plan.hair) == ("hair" in plan.artefacts) for plan in found)
    # Numbers are dealt: they do not tell the kind.
    assert {plan.kind for plan in found[:12]} == {"MEL", "NV"}


def test_photographs_of_a_lesion_share_kind_patient_and_skin():
    found = plans(changed(images={"MEL": 40, "NV": 40}, repeat_share=0.5, lesions_per_patient=2.0))
    lesions, people = {}, {}
    for plan in found:
        assert lesions.setdefault(plan.lesion, (plan.kind, plan.patient)) == (plan.kind, plan.patient)
        assert people.setdefault(plan.patient, plan.ita) == plan.ita
    assert len(lesions) < 65
    assert len(people) == round(len(lesions) / 2)
    alone = plans(changed(images={"MEL": 40, "NV": 40}))
    assert len({plan.lesion for plan in alone}) == len({plan.patient for plan in alone}) == 80


def test_a_photograph_depends_on_its_plan_alone():
    settings = changed(artefacts=dict.fromkeys(ARTEFACTS, 0.5))
    found = plans(settings)
    last = draw(settings, found[-1])
    assert (draw(settings, found[-1]).pixels == last.pixels).all()
    assert (list(draws(settings))[-1].pixels == last.pixels).all()
    assert (draw(settings, found[-2]).pixels != last.pixels).any()


# ---------------------------------------------------------------------------------------------------------- artefacts
@pytest.mark.parametrize("name", ARTEFACTS)
def test_an_artefact_changes_its_mask_and_nothing_else(name):
    settings = changed(images={"NV": 6, "MEL": 6}, artefacts={name: 1.0})
    for plan in plans(settings):
        phantom = draw(settings, plan)
        clean = draw(settings, dataclasses.replace(plan, artefacts=(), hair=""))
        assert list(phantom.artefacts) == [name]
        assert not clean.artefacts
        mask = phantom.artefacts[name]
        assert (phantom.mask == clean.mask).all()
        change = np.abs(phantom.pixels.astype(int) - clean.pixels).max(axis=2)
        # Several faint covers of a pixel may add up a little.
        assert change[~mask].max() <= 2.5 * SHOWS * 255
        assert np.median(change[mask]) > 3
        assert 0 < mask.mean() < 0.85


def test_dark_corners_are_dark_and_lie_outside():
    settings = changed(artefacts={"dark_corner": 1.0})
    for phantom in draws(settings):
        mask = phantom.artefacts["dark_corner"]
        assert mask[0, 0] and mask[0, -1] and mask[-1, 0] and mask[-1, -1]  # noqa: PT018
        assert not mask[36, 48]
        assert phantom.pixels[0, 0].max() < 40


def test_kinds_of_hair_differ():
    settings = changed(images={"NV": 1}, artefacts={"hair": 1.0}, image_size=144)
    (plan,) = plans(settings)

    def longest(kind):
        found = [draw(settings, dataclasses.replace(plan, number=number, hair=kind)) for number in range(4)]
        boxes = [ndimage.find_objects(ndimage.label(one.artefacts["hair"], np.ones((3, 3)))[0]) for one in found]
        return np.mean([max(max(side.stop - side.start for side in box) for box in these) for these in boxes])

    assert longest("coarse") > 2 * longest("short")
    settings = changed(images={"NV": 1}, artefacts={"hair": 1.0}, image_size=144, ita_mean=20.0)
    light, dark = (draw(settings, dataclasses.replace(plan, hair=kind)) for kind in ("light", "coarse"))
    assert light.pixels[light.artefacts["hair"]].mean() > dark.pixels[dark.artefacts["hair"]].mean() + 40


# ------------------------------------------------------------------------------------------------------------ settings
def test_settings_that_cannot_be_met():
    with pytest.raises(InputError, match=r"options.images: all counts are 0"):
        changed(images={"MEL": 0})
    with pytest.raises(InputError, match=r"options.artefacts.ink gives no share for NV"):
        changed(images={"MEL": 2, "NV": 2}, artefacts={"ink": {"MEL": 0.5}})
