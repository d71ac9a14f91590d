"""Films of the chest set: shares are met, truth lies where the difference to the healthy twin is, 12 bits are used."""

import dataclasses
from collections import Counter

import numpy as np
import pytest
from PIL import Image

from chest_settings import chest_settings
from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.phantoms.chest_findings import (
    COMPRESSED,
    DAMAGES,
    MAIN_MANUFACTURER,
    MISSING,
    OTHER_MANUFACTURERS,
    WHITE,
    ChestSettings,
    draw,
    patient_of,
    plans,
)
from synthmed.data.phantoms.pathology import KINDS, TRAINED

SETTINGS = chest_settings()
LINES = ["Phantom, Ada", "PHM-1  *1950-01-01"]
OTHERS = {
    "repeat_share": 0.0,
    "ap_share": 0.0,
    "device_share": 0.0,
    "marker_share": 0.0,
    "burnt_text_share": 0.0,
    "collimated_share": 0.0,
    "minor_share": 0.0,
    "several_share": 0.0,
    "other_manufacturer_share": 0.0,
    "malformed": 0,
}
"""Settings without the exceptions."""


@pytest.fixture(scope="module")
def films():
    return [(plan, draw(SETTINGS, plan, LINES)) for plan in plans(SETTINGS)]


def twins(settings, plan):
    """The film and the same film without its findings, as floats."""
    healthy = draw(settings, dataclasses.replace(plan, findings=()), LINES)
    return draw(settings, plan, LINES), healthy


# ------------------------------------------------------------------------------------------------------------- plans
def test_every_share_is_met_to_the_film():
    settings = chest_settings(normal=40, findings=dict.fromkeys(KINDS, 5), malformed=3)
    decided = [plan for plan in plans(settings) if not plan.damage]
    count = len(decided)
    assert count == 100
    assert [plan.number for plan in plans(settings)] == list(range(1, 104))
    assert sum(plan.view == "AP" for plan in decided) == 20
    assert sum(plan.manufacturer != MAIN_MANUFACTURER for plan in decided) == 20
    assert Counter(plan.manufacturer for plan in decided)[OTHER_MANUFACTURERS[0]] == 10
    assert sum(plan.device for plan in decided) == 20
    assert sum(plan.device_labelled for plan in decided) == 50
    assert sum(plan.photometric == "MONOCHROME1" for plan in decided) == 30
    assert Counter(plan.transfer_syntax for plan in decided if plan.transfer_syntax in COMPRESSED) == dict.fromkeys(
        COMPRESSED, 10
    )
    assert Counter(plan.missing for plan in decided if plan.missing) == dict.fromkeys(MISSING, 5)
    assert sum(plan.burnt_text for plan in decided) == 20
    assert [plan.damage for plan in plans(settings) if plan.damage] == list(DAMAGES[:3])
    assert sum(not plan.findings for plan in decided) == 40
    assert Counter(plan.findings[0] for plan in decided if plan.findings) == dict.fromkeys(KINDS, 5)


def test_half_of_the_trained_films_have_a_second_finding_and_no_untrained_one_has():
    decided = [plan for plan in plans(SETTINGS) if plan.findings]
    several = [plan for plan in decided if len(plan.findings) > 1]
    assert len(several) == 5
    assert all(set(plan.findings) <= set(TRAINED) and len(set(plan.findings)) == 2 for plan in several)


def test_patients_have_several_films_of_one_kind():
    settings = chest_settings(normal=200, repeat_share=0.3)
    films_of = {}
    for plan in plans(settings):
        films_of.setdefault(plan.patient, []).append(plan)
    sizes = Counter(len(films) for films in films_of.values() if not films[0].findings and not films[0].damage)
    patients = sum(sizes.values())
    assert set(sizes) == {1, 2, 3, 4}
    assert (patients - sizes[1]) / patients == pytest.approx(0.3, abs=0.02)
    for films in films_of.values():
        assert len({plan.findings[:1] for plan in films}) == 1
        assert sorted(plan.visit for plan in films) == list(range(len(films)))
        assert len({(patient_of(settings, plan).sex, patient_of(settings, plan).age) for plan in films}) == 1


def test_numbers_tell_nothing_about_the_class():
    decided = plans(chest_settings(normal=100, findings={"nodule": 100}, malformed=0))
    first = sum(not plan.findings for plan in decided[:100])
    assert 30 < first < 70


def test_minors_are_minors_and_adults_are_not():
    for plan in plans(chest_settings(minor_share=0.5)):
        age = patient_of(SETTINGS, plan).age
        assert (age < 19) == plan.minor
        assert 1 <= age < 90


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ap_share": 1.2}, r"ap_share is 1\.2"),
        ({"difficulty": -0.1}, "difficulty"),
        ({"findings": {"pneumonia": 3}}, r"findings, name pneumonia is 'pneumonia'; choose one of"),
        ({"findings": {"nodule": -1}}, "findings.nodule"),
        ({"findings": {"nodule": 0}}, "both classes"),
        ({"normal": 0}, r"normal is 0"),
        ({"image_size": 32}, "image_size"),
        ({"workers": 0}, "workers"),
        ({"malformed": -1}, "malformed"),
    ],
)
def test_settings_out_of_range_are_named(changes, words):
    with pytest.raises(InputError, match=words):
        parse(ChestSettings, dataclasses.asdict(SETTINGS) | changes)


# ------------------------------------------------------------------------------------------------------------- films
def test_films_have_twelve_bits(films):
    for _plan, film in films:
        assert film.pixels.dtype == np.uint16
        assert film.pixels.max() <= WHITE
        assert max(film.pixels.shape) == SETTINGS.image_size
    levels = np.unique(np.concatenate([film.pixels.ravel() for plan, film in films if not plan.marker]))
    assert len(levels) > 3500  # not eight bits in disguise
    assert len({film.pixels.shape for _plan, film in films}) == 3


def test_the_same_plan_gives_the_same_film_whatever_the_others_are(films):
    plan, film = films[5]
    again = draw(chest_settings(normal=9, workers=2), plan, LINES)
    assert np.array_equal(film.pixels, again.pixels)
    assert film.findings == again.findings
    other = draw(chest_settings(seed=7), plan, LINES)
    assert other.pixels.shape != film.pixels.shape or not np.array_equal(other.pixels, film.pixels)


def test_every_finding_has_a_box_and_boxes_hold_the_mask(films):
    for plan, film in films:
        assert {finding.kind for finding in film.findings} == set(plan.findings)
        assert bool(film.mask.any()) == bool(plan.findings)
        inside = np.zeros(film.mask.shape, bool)
        for finding in film.findings:
            left, top, right, bottom = finding.box
            assert 0 <= left < right <= film.mask.shape[1]
            assert 0 <= top < bottom <= film.mask.shape[0]
            part = film.mask[top:bottom, left:right] > 0
            assert part.any(axis=1)[[0, -1]].all()  # a tight box
            assert part.any(axis=0)[[0, -1]].all()
            inside[top:bottom, left:right] = True
        assert not (film.mask[~inside]).any()
        assert not film.mask[film.padding].any()


@pytest.mark.parametrize("kind", KINDS)
def test_plain_findings_show_at_64_pixels_and_inside_their_mask(kind):
    settings = chest_settings(findings={kind: 6}, difficulty=0.0, image_size=192, **OTHERS)

    def small(values):
        return np.asarray(Image.fromarray(values.astype(np.float32)).resize((64, 64), Image.Resampling.BOX))

    inside, outside = [], []
    for plan in [plan for plan in plans(settings) if plan.findings][:4]:
        film, healthy = twins(settings, plan)
        difference = np.abs(small(film.pixels) - small(healthy.pixels)) * (255 / WHITE)
        mask = small(film.mask) > 127
        inside.append(difference[mask].mean())
        outside.append(difference[~mask].mean())
    assert np.mean(inside) > 5  # grey values of 255
    assert np.mean(inside) > 2.5 * np.mean(outside)


def test_findings_fade_with_difficulty():
    def contrast(difficulty):
        settings = chest_settings(findings={"consolidation": 5}, difficulty=difficulty, **OTHERS)
        values = []
        for plan in [plan for plan in plans(settings) if plan.findings]:
            film, healthy = twins(settings, plan)
            values.append((film.pixels.astype(float) - healthy.pixels)[film.mask > 0].mean())
        return np.mean(values)

    easy, middle, hard = contrast(0.0), contrast(0.4), contrast(0.9)
    assert easy > 1.3 * middle
    assert middle > 1.3 * hard
    assert hard > 0


def test_beside_a_pneumothorax_the_other_finding_is_in_the_other_lung():
    settings = chest_settings(findings={"pneumothorax": 8, "nodule": 1}, **{**OTHERS, "several_share": 1.0})
    checked = 0
    for plan in plans(settings):
        if "pneumothorax" in plan.findings and "nodule" in plan.findings:
            film = draw(settings, plan, LINES)
            middle = {finding.kind: (finding.box[0] + finding.box[2]) / 2 for finding in film.findings}
            spine = film.mask.shape[1] / 2
            assert (middle["pneumothorax"] > spine) != (middle["nodule"] > spine)
            checked += 1
    assert checked >= 8


def test_ap_films_show_a_larger_heart_and_a_higher_diaphragm():
    settings = chest_settings(normal=6, **OTHERS)
    hearts = []
    for plan in [plan for plan in plans(settings) if not plan.findings]:
        front, back = (draw(settings, dataclasses.replace(plan, view=view), LINES) for view in ("PA", "AP"))
        assert front.patient == back.patient
        # Share of the film at the height of the heart that is bright: the lungs leave less room.
        rows = slice(int(0.55 * front.pixels.shape[0]), int(0.75 * front.pixels.shape[0]))
        hearts.append((back.pixels[rows] > 2000).mean() - (front.pixels[rows] > 2000).mean())
    assert np.mean(hearts) > 0.02


def test_devices_letters_and_borders_are_where_the_plan_has_them(films):
    assert {bool(film.devices) for plan, film in films if plan.device} == {True}
    assert {bool(film.devices) for plan, film in films if not plan.device} == {False}
    for plan, film in films:
        assert film.padding.any() == plan.collimated
        assert plan.burnt_text or plan.marker or (film.pixels[film.padding] == 0).all()
    plan = next(plan for plan, _ in films if not plan.burnt_text and not plan.marker)
    without, lettered = (
        draw(SETTINGS, dataclasses.replace(plan, burnt_text=burnt), LINES).pixels for burnt in (False, True)
    )
    changed = without != lettered
    assert 20 < changed.sum() < 0.2 * changed.size
    assert lettered[changed].max() > 0.85 * WHITE  # thin letters, smoothed
    assert np.array_equal(without[~changed], lettered[~changed])
