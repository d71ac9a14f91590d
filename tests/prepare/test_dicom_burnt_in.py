"""Letters in the picture: lines of text are found, markers and anatomy are not."""

import numpy as np
import pytest
from made_up_dicom import dataset
from PIL import Image, ImageDraw, ImageFont

from synthmed.data.phantoms.chest_xray import PhantomSettings, draws
from synthmed.prepare.burnt_in import burnt_in, has_letters

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@pytest.fixture(scope="module")
def films():
    shares = dict.fromkeys(("device_share", "text_share", "black_border_share", "palette_share"), 0.0)
    settings = PhantomSettings(normal=2, abnormal=2, seed=3, difficulty=0.3, image_size=512, **shares)
    found = [phantom.pixels.astype(float) for phantom in draws(settings, 3, ["normal", "abnormal"])]
    return [np.rint((pixels - pixels.min()) / np.ptp(pixels) * 250).astype(np.uint8) for pixels in found]


def written(pixels, text, *, size=14, place=(8, 8), fill=255):
    image = Image.fromarray(pixels)
    ImageDraw.Draw(image).text(place, text, fill=fill, font=ImageFont.load_default(size))
    return np.asarray(image)


def test_films_without_letters(films):
    assert [has_letters(film) for film in films] == [False, False]


def test_a_line_of_text(films):
    for film in films:
        assert has_letters(written(film, "Quellmarth, Ottilie"))
        assert has_letters(written(film, "1961-03-12", size=18))


def test_text_in_a_larger_film(films):
    large = np.asarray(Image.fromarray(films[0]).resize((2100, 2000), Image.Resampling.BICUBIC))
    assert not has_letters(large)
    assert has_letters(written(large, "Quellmarth, Ottilie", size=40, place=(40, 30)))


def test_text_turned_by_a_quarter(films):
    turned = np.rot90(written(np.rot90(films[0]).copy(), "Quellmarth, Ottilie"), -1)
    assert has_letters(np.ascontiguousarray(turned))


def test_dark_text(films):
    light = np.maximum(films[0], 90)
    assert not has_letters(light)
    assert has_letters(written(light, "Quellmarth, Ottilie", fill=0))


def test_a_marker_with_initials_is_no_text(films):
    marked = written(films[0], "L", size=30, place=(450, 20))
    assert not has_letters(written(marked, "AB", size=20, place=(450, 60)))


def test_bars_and_noise_of_the_size_of_letters_are_no_text():
    bars = np.full((512, 512), 120, np.uint8)
    for x in range(20, 400, 24):  # a ruler, or the teeth of a zip
        bars[30:42, x : x + 2] = 255
    assert not has_letters(bars)
    shading = np.random.default_rng(0).normal(200, 12, (1000, 1000)).clip(0, 255).astype(np.uint8)
    assert not has_letters(shading)


@pytest.mark.parametrize(("tag", "said"), [("YES", "yes"), ("NO", "no"), ("", "yes"), ("MAYBE", "yes"), (None, "yes")])
def test_the_tag_decides_where_it_says_something(films, tag, said):
    text = written(films[0], "Quellmarth, Ottilie")
    tags = dataset() if tag is None else dataset(BurnedInAnnotation=tag)
    assert burnt_in(tags, lambda: text) == said


def test_silence_is_unknown(films):
    assert burnt_in(dataset(), lambda: films[0]) == ""
    assert burnt_in(dataset(), None) == ""
