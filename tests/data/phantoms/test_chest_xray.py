"""The chest X-ray phantom: same seed, same film; the truth lies where it should; difficulty does what it says."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.phantoms.chest_xray import PhantomSettings, draw, draws, labels
from synthmed.data.phantoms.findings import TUBERCULOSIS

SETTINGS = PhantomSettings(
    normal=6,
    abnormal=6,
    seed=3,
    difficulty=0.3,
    image_size=160,
    device_share=0.2,
    text_share=0.5,
    black_border_share=0.5,
    palette_share=0.3,
)


@pytest.fixture(scope="module")
def films():
    return list(draws(SETTINGS, 3, labels(SETTINGS)))


def film(label, index=0, **changes):
    return draw(np.random.default_rng([5, index]), dataclasses.replace(SETTINGS, **changes), label)


def test_same_seed_gives_same_films_and_another_seed_does_not(films):
    again = list(draws(SETTINGS, 3, labels(SETTINGS)))
    assert all(
        np.array_equal(a.pixels, b.pixels) and a.findings == b.findings for a, b in zip(films, again, strict=True)
    )
    other = next(draws(SETTINGS, 4, ["normal"]))
    assert other.pixels.shape != films[0].pixels.shape or not np.array_equal(other.pixels, films[0].pixels)


# Films of the tuberculosis experiment as they were when its results were published: shape, box, mean of 6 × 6 fields.
PINNED = (
    ((138, 140), (), "33797f827a375c646e85645b4f4d88b34f48525293d05a48625aa4f4a75769c7e7f2d56b"),
    ((139, 157), ((96, 21, 125, 45),), "0d4a7d7e792f7b754f8b687e195159c43a51185c7ee986641b5089eed8671f9be5faec8a"),
    ((154, 150), ((44, 38, 57, 50),), "15628385580d849091999284766ba1ba7a6d7c5eade17a698d91cafbb174a8fbfefaeb80"),
    ((138, 125), (), "064889835d088486728a8e7f5c6b74b67e5842528edd5c42405b99f2a4423ecff6f7d256"),
)


def test_films_stay_what_they_were():
    """A change of the phantom for another experiment must not change these.

    A mean may differ by one grey value, because float32 exponentials differ in the last bit between processors; another
    random draw differs by far more.
    """
    drawn = draws(SETTINGS, 3, ["normal", "abnormal", "abnormal", "normal"])
    for one, (shape, boxes, fields) in zip(drawn, PINNED, strict=True):
        assert one.pixels.shape == shape
        assert tuple(finding.box for finding in one.findings) == boxes
        means = np.asarray(Image.fromarray(one.pixels).resize((6, 6), Image.Resampling.BOX)).astype(int)
        expected = np.frombuffer(bytes.fromhex(fields), np.uint8).reshape(6, 6)
        assert np.abs(means - expected).max() <= 1


def test_film_depends_on_its_number_only(films):
    # The labels of the others and their count change; film 8 (an abnormal) stays.
    some = list(draws(SETTINGS, 3, ["abnormal"] * 9))
    assert np.array_equal(some[8].pixels, films[8].pixels)
    assert len(labels(SETTINGS)) == 12


def test_films_are_what_they_claim(films):
    assert [one.label for one in films] == labels(SETTINGS)
    for one in films:
        assert one.pixels.dtype == np.uint8
        assert one.pixels.ndim == 2
        assert max(one.pixels.shape) <= 160
        assert one.pixels.shape == one.lungs.shape == one.finding_mask.shape
        assert set(np.unique(one.lungs)) == {0, 1, 2}
        assert 18 <= one.age <= 89
        assert one.sex in ("F", "M")
    assert len({one.pixels.shape for one in films}) > 3


def test_normals_have_no_finding_and_abnormals_at_least_one(films):
    for one in films:
        assert bool(one.findings) == (one.label == "abnormal") == bool(one.finding_mask.any())
        for number, finding in enumerate(one.findings, start=1):
            assert finding.kind in TUBERCULOSIS
            left, top, right, bottom = finding.box
            rows, columns = np.nonzero(one.finding_mask == number)
            assert (left, top, right, bottom) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)


def test_findings_lie_in_the_upper_half_of_the_lungs():
    for index in range(12):
        one = film("abnormal", index)
        lung_rows = np.flatnonzero((one.lungs > 0).any(axis=1))
        rows = np.nonzero(one.finding_mask)[0]
        place = (rows - lung_rows.min()) / (lung_rows.max() - lung_rows.min())
        assert place.mean() < 0.45
        assert np.percentile(place, 95) < 0.62


def test_lungs_are_darker_than_the_mediastinum_and_lie_on_their_sides():
    for index in range(12):
        one = film("normal", index, device_share=0.0, text_share=0.0)
        rows = np.nonzero(one.lungs)[0]
        middle = slice(int(np.percentile(rows, 40)), int(np.percentile(rows, 80)))
        right = np.flatnonzero((one.lungs[middle] == 1).any(axis=0))
        left = np.flatnonzero((one.lungs[middle] == 2).any(axis=0))
        assert right.max() < left.min()
        between = one.pixels[middle, right.max() + 1 : left.min()]
        assert one.pixels[one.lungs > 0].mean() + 25 < between.mean()
        assert 0.1 < (one.lungs > 0).mean() < 0.6


def test_contrast_of_findings_falls_with_difficulty():
    """The same patients without finding are the reference, so the difference is the finding and nothing else."""

    def contrast(difficulty):
        values = []
        for index in range(7):
            sick = film("abnormal", index, difficulty=difficulty, device_share=0.0, black_border_share=0.0)
            well = film("normal", index, difficulty=difficulty, device_share=0.0, black_border_share=0.0)
            if sick.site != well.site:  # the hospitals' shares differ a little between the classes
                continue
            inside = sick.finding_mask > 0
            values.append(sick.pixels[inside].astype(float).mean() - well.pixels[inside].mean())
        assert len(values) >= 5
        return np.mean(values)

    easy, middle, hard = contrast(0.0), contrast(0.4), contrast(0.9)
    assert easy > middle + 3
    assert middle > hard + 2
    assert hard > 0


def test_larger_films_show_the_same_patient():
    small, large = film("abnormal", 2, image_size=128), film("abnormal", 2, image_size=512)
    assert large.pixels.shape == pytest.approx([4 * side for side in small.pixels.shape], abs=4)
    assert [finding.kind for finding in small.findings] == [finding.kind for finding in large.findings]


def test_devices_text_and_borders_follow_their_shares():
    assert all(film("normal", index, device_share=1.0).devices for index in range(5))
    assert not any(film("normal", index, device_share=0.0).devices for index in range(5))
    sites = [film("normal", index, black_border_share=1.0, image_size=64) for index in range(20)]
    bordered = [one for one in sites if one.site == "montgomery"]
    assert 1 <= len(bordered) <= 10
    assert all((one.pixels == 0).all(axis=1).any() or (one.pixels == 0).all(axis=0).any() for one in bordered)


@pytest.mark.parametrize(
    ("field", "value"), [("difficulty", 1.5), ("device_share", -0.1), ("image_size", 8), ("normal", -1), ("seed", -2)]
)
def test_settings_out_of_range_are_named(field, value):
    with pytest.raises(InputError, match=f"settings.{field} is {value}"):
        parse(PhantomSettings, dataclasses.asdict(SETTINGS) | {field: value})


def test_unknown_label_is_refused():
    with pytest.raises(InputError, match="pneumonia"):
        film("pneumonia")
