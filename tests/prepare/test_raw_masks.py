"""Label maps of raw masks: what is read as it is, what is joined or numbered, what is refused."""

import io
import re

import numpy as np
import pytest
from PIL import Image, ImageOps

from synthmed.core.errors import InputError
from synthmed.prepare.masks import INVERTED, MERGED, MaskSettings, MaskTally, label_map
from synthmed.prepare.rejected import Rejected

SHAPE = (6, 8)
LESION = MaskSettings("semantic", {"lesion": 255}, False)
ORGANS = MaskSettings("semantic", {"lung": 1, "heart": 2}, False)
NUCLEI = MaskSettings("instances", {"nucleus": 1}, False)
KINDS = MaskSettings("instances", {"nucleus": 5, "podocyte": 1001}, False)


def encoded(array, kind="PNG", **options):
    buffer = io.BytesIO()
    (array if isinstance(array, Image.Image) else Image.fromarray(array)).save(buffer, kind, **options)
    return buffer.getvalue()


def values(*positions, dtype=np.uint8, shape=SHAPE):
    """A map with the given (row, column, value) and 0 elsewhere."""
    mask = np.zeros(shape, dtype)
    for row, column, value in positions:
        mask[row, column] = value
    return mask


def colours(*positions):
    return values(*positions, shape=(*SHAPE, 3))


def alpha(mask, opacity):
    """A grey picture as RGBA."""
    return Image.fromarray(np.dstack([mask] * 3 + [np.broadcast_to(np.uint8(opacity), mask.shape)]))


def values_of(*arguments):
    return label_map(*arguments)[0]


def read(settings, *contents):
    return values_of([lambda content=content: content for content in contents], SHAPE, settings)


# -------------------------------------------------------------------------------------------------------- what is read
def test_a_class_that_is_null_is_none():
    without = MaskSettings("instances", {"nucleus": 1, "podocyte": None}, False)
    assert without.legend == NUCLEI.legend
    mask = values((1, 2, 1), (4, 4, 12000), dtype=np.uint16)
    assert np.array_equal(read(without, encoded(mask)), mask)


@pytest.mark.parametrize(
    "content",
    [
        encoded(values((1, 2, 1), (4, 4, 1))),
        encoded(values((1, 2, 255), (4, 4, 9))),
        encoded(values((1, 2, 1), (4, 4, 700), dtype=np.uint16)),
        encoded(values((1, 2, 1), (4, 4, 2), dtype=np.int32), "TIFF"),
        encoded(values((1, 2, True), (4, 4, True), dtype=bool)),
        encoded(alpha(values((1, 2, 255), (4, 4, 255)), 255)),
        encoded(alpha(np.full(SHAPE, 255, np.uint8), values((1, 2, 255), (4, 4, 255)))),
        encoded(alpha(values((1, 2, 255), (4, 4, 255)), 255).convert("LA")),
        encoded(colours((1, 2, 255), (4, 4, 255))),
        encoded(colours((1, 2, (200, 0, 3)), (4, 4, (200, 0, 3)))),
        encoded(Image.fromarray(values((1, 2, 3), (4, 4, 3))).convert("P")),
        values((1, 2, 1), (4, 4, 1)),
    ],
)
def test_of_one_class_every_value_but_0_counts(content):
    mask = read(LESION, content)
    assert np.array_equal(mask, values((1, 2, 255), (4, 4, 255)))
    assert mask.dtype == np.uint8


def test_of_one_class_files_are_joined():
    parts = [encoded(values((0, 0, 255))), encoded(values((0, 0, 1), (5, 7, 1)))]
    assert np.array_equal(read(LESION, *parts), values((0, 0, 255), (5, 7, 255)))


DISC = np.where(np.hypot(*np.mgrid[-32:32, -32:32]) < 20, 255, 0).astype(np.uint8)
LOSSY = {
    "a JPEG": ("JPEG", {"quality": 75}),
    "a TIFF compressed as JPEG": ("TIFF", {"compression": "jpeg", "quality": 75}),
    "a lossy WebP": ("WEBP", {"quality": 75}),
    "a lossy WebP, which": ("WEBP", {"quality": 75, "exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0\0\0\0\0"}),
}


@pytest.mark.parametrize("kind", LOSSY)
def test_a_lossy_file_counts_from_half_of_its_range_on(kind):
    form, options = LOSSY[kind]
    for picture in (DISC, np.dstack([DISC] * 3)):
        content = encoded(picture, form, **options)
        found, smooth = label_map([lambda content=content: content], DISC.shape, LESION)
        assert ((found > 0) != (DISC > 0)).sum() <= 8
        assert not smooth
        with pytest.raises(Rejected, match=f"its mask: {kind}"):
            label_map([lambda content=content: content], DISC.shape, ORGANS)


def test_a_lossless_webp_keeps_its_values():
    content = encoded(values((1, 2, 1), (4, 4, 9)), "WEBP", lossless=True)
    assert np.array_equal(read(LESION, content), values((1, 2, 255), (4, 4, 255)))


def test_a_mask_that_was_a_jpeg_or_was_resized_smoothly_is_told():
    with Image.open(io.BytesIO(encoded(DISC, "JPEG", quality=75))) as image:
        rings = encoded(image.copy())
    resized = encoded(Image.fromarray(DISC).resize((80, 80), Image.Resampling.BILINEAR))
    assert label_map([lambda: rings], DISC.shape, LESION)[1]
    assert label_map([lambda: resized], (80, 80), LESION)[1]


@pytest.mark.parametrize("objects", [1, 9, 200, 255])
def test_numbers_of_objects_are_no_smooth_mask(objects):
    mask = np.zeros((64, 64), np.uint8)
    mask.ravel()[: 8 * objects] = np.repeat(np.arange(1, objects + 1), 8)
    found, smooth = label_map([lambda: encoded(mask)], mask.shape, LESION)
    assert np.array_equal(found > 0, mask > 0)
    assert not smooth


def test_classes_and_instances_are_read_as_they_are():
    organs = values((0, 0, 1), (2, 2, 2))
    for content in (encoded(organs), encoded(np.dstack([organs] * 3)), organs):
        assert np.array_equal(read(ORGANS, content), organs)
    nuclei = values((0, 0, 1), (2, 2, 300), (3, 3, 65535), dtype=np.uint16)
    for content in (
        encoded(nuclei),
        encoded(nuclei.astype(np.int32), "TIFF"),
        encoded(nuclei.astype(np.float32), "TIFF"),
    ):
        found = read(NUCLEI, content)
        assert found.dtype == np.uint16
        assert np.array_equal(found, nuclei)
    assert np.array_equal(read(KINDS, encoded(values((0, 0, 5), (2, 2, 77)))), values((0, 0, 5), (2, 2, 77)))


def test_a_file_for_each_object_is_numbered():
    files = [encoded(values((0, 0, 255), (1, 1, 255))), encoded(values((1, 1, 1), (5, 7, 1)))]
    assert np.array_equal(read(NUCLEI, *files), values((0, 0, 1), (1, 1, 2), (5, 7, 2)))


def nuclei(count=40, side=96, seed=0):
    """A map of touching objects, numbered without order in 16 bits."""
    rng = np.random.default_rng(seed)
    mask, rows = np.zeros((side, side), np.uint16), np.mgrid[:side, :side]
    for number in rng.permutation(250)[:count] + 1:
        top, left = rng.uniform(5, side - 5, 2)
        mask[np.hypot(rows[0] - top, rows[1] - left) < rng.uniform(2, 9)] = number
    return mask


def as_jpeg(picture):
    with Image.open(io.BytesIO(encoded(picture.astype(np.uint8), "JPEG", quality=75))) as image:
        return np.asarray(image)


def resized(picture, by):
    image = Image.fromarray(picture.astype(np.uint8))
    return np.asarray(image.resize((round(by * image.width), round(by * image.height)), Image.Resampling.BILINEAR))


MIXED = {
    "a JPEG of black and white": lambda: as_jpeg(np.where(nuclei(), 255, 0)),
    "a JPEG of numbers": lambda: as_jpeg(nuclei()),
    "black and white, smaller": lambda: resized(np.where(nuclei(), 255, 0), 0.5),
    "numbers, smaller": lambda: resized(nuclei(side=192), 0.5),
    "numbers, larger": lambda: resized(nuclei(), 1.5),
}


@pytest.mark.parametrize("kind", MIXED)
def test_numbers_of_objects_that_went_through_a_jpeg_or_a_resize_are_refused(kind):
    mask = MIXED[kind]()
    with pytest.raises(Rejected, match=r"its mask: \d+ values in \d+ pieces, ring by ring, .*; export the mask anew"):
        label_map([lambda: encoded(mask)], mask.shape, NUCLEI)


@pytest.mark.parametrize("step", [1, 4, 8])
@pytest.mark.parametrize("count", [3, 40, 200])
def test_touching_objects_are_no_rings(count, step):
    mask = nuclei(count)[::step, ::step]
    found, doubts = label_map([lambda: encoded(mask)], mask.shape, NUCLEI)
    assert np.array_equal(found, mask)
    assert not doubts


def test_objects_in_many_parts_are_no_rings():
    mask = np.kron(np.tile(np.diag([1, 2, 3]), (4, 4)), np.array([[1, 1, 0]] * 2 + [[0, 0, 0]])).astype(np.uint8)
    assert np.array_equal(values_of([lambda: encoded(mask)], mask.shape, NUCLEI), mask)


def test_classes_that_went_through_a_jpeg_are_refused_by_that():
    organs = as_jpeg(DISC)
    with pytest.raises(Rejected, match="ring by ring, as JPEG"):
        label_map([lambda: encoded(organs)], organs.shape, ORGANS)


# --------------------------------------------------------------------------------------------------- doubts about a set
TWO = values((0, 0, 1), (0, 1, 1), (4, 4, 1), (4, 5, 1))
BOTH = TWO + values((2, 0, 9), (2, 7, 9))


@pytest.mark.parametrize(
    ("settings", "mask", "merged"),
    [
        (NUCLEI, TWO, True),
        (NUCLEI, 255 * TWO, True),
        (NUCLEI, TWO + values((4, 4, 1), (4, 5, 1)), False),
        (NUCLEI, values((0, 0, 1), (0, 1, 1)), False),
        (MaskSettings("instances", {"nucleus": 1, "podocyte": 9}, False), BOTH, True),
        (NUCLEI, BOTH, False),  # two objects, one in two parts
        (LESION, TWO, False),
    ],
)
def test_all_objects_under_one_number_are_doubted(settings, mask, merged):
    assert (MERGED in label_map([lambda: encoded(mask)], SHAPE, settings)[1]) == merged


def test_a_crumb_is_no_second_object():
    crumbs = np.where(DISC, np.uint8(1), np.uint8(0))
    crumbs[1, 1] = 1
    assert not label_map([lambda: encoded(crumbs)], crumbs.shape, NUCLEI)[1]


@pytest.mark.parametrize(
    ("settings", "mask", "inverted"),
    [
        (LESION, 255 - DISC, True),
        (LESION, DISC, False),
        (LESION, np.full_like(DISC, 255), False),
        (NUCLEI, nuclei(20) + 1, True),
        (NUCLEI, nuclei(20), False),
        (ORGANS, np.where(DISC, 2, 1).astype(np.uint8), False),
    ],
)
def test_a_rim_that_is_marked_is_doubted(settings, mask, inverted):
    assert (INVERTED in label_map([lambda: encoded(mask)], mask.shape, settings)[1]) == inverted


def tally(settings, *added):
    found = MaskTally()
    for drawn, doubts in added:
        found.add(drawn, doubts)
    return found


def test_a_class_that_no_mask_shows_stops_the_run():
    settings = MaskSettings("semantic", {"lung": 1, "heart": 2, "aorta": 3}, True)
    found = tally(settings, (["lung", "aorta"], ()), (["lung"], ()), ([], ()), (None, ()))
    said = r"no mask marks 'heart' at 64×32 pixels, of 3 \('lung' in 2, 'aorta' in 1\); .* 'heart': 2.* to null"
    with pytest.raises(InputError, match=said):
        found.stop_if_useless(settings, (64, 32))
    found.stop_if_useless(ORGANS, (64, 32), synthetic="somebody's GAN")
    found.add(["heart"], ())
    found.stop_if_useless(settings, (64, 32))


def test_a_class_that_a_generator_never_draws_is_told(caplog):
    tally(ORGANS, (["lung"], ())).stop_if_useless(ORGANS, (8, 8), synthetic="theirs")
    assert "theirs: no mask marks 'heart'" in caplog.text


def test_masks_that_are_nearly_all_of_one_number_stop_the_run():
    one, several = (["nucleus"], {MERGED}), (["nucleus"], ())
    with pytest.raises(InputError, match=r"9 of 10 masks of objects have one value in several parts.*use 'semantic'"):
        tally(NUCLEI, *[one] * 9, several, ([], ())).stop_if_useless(NUCLEI, (8, 8))
    tally(NUCLEI, *[one] * 8, *[several] * 2).stop_if_useless(NUCLEI, (8, 8))


def test_masks_that_may_be_inverted_are_told(caplog):
    tally(LESION, *[(["lesion"], {INVERTED})] * 2, *[(["lesion"], ())] * 3).tell("mine.zip")
    assert not caplog.text
    tally(LESION, *[(["lesion"], {INVERTED})] * 3, *[(["lesion"], ())] * 3, ([], ())).tell("mine.zip")
    assert "mine.zip: 3 of 6 masks mark most of their rim" in caplog.text


# -------------------------------------------------------------------------------------------------------- turned images
def noting(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def pair(orientation, stored, upright):
    """The pair's mask as label_map reads it, of an image that Pillow turns from the shape `stored` to `upright`."""
    mask = values((0, 1, 255), (0, 2, 255), (2, 0, 255), shape=stored)
    found = values_of([lambda: encoded(mask)], upright, LESION, orientation)
    with Image.open(io.BytesIO(encoded(mask, exif=noting(orientation)))) as image:
        return found, np.asarray(ImageOps.exif_transpose(image))


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_a_mask_that_fits_only_as_it_is_stored_is_turned_as_its_image(orientation):
    found, expected = pair(orientation, (6, 8), (8, 6))
    assert np.array_equal(found, expected)
    upright = values((7, 1, 255), shape=(8, 6))
    assert np.array_equal(values_of([lambda: encoded(upright)], (8, 6), LESION, orientation), upright)


@pytest.mark.parametrize(("orientation", "shape"), [(2, SHAPE), (3, SHAPE), (4, SHAPE), (3, (6, 6)), (6, (6, 6))])
def test_a_mask_that_fits_both_ways_is_refused(orientation, shape):
    words = rf"noted that it is turned \(EXIF orientation {orientation}\), its mask does not; save both upright \(mogri"
    with pytest.raises(Rejected, match=words):
        pair(orientation, shape, shape)
    empty = values(shape=shape)
    assert np.array_equal(values_of([lambda: encoded(empty)], shape, LESION, orientation), empty)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_a_mask_that_notes_its_own_orientation_is_turned_by_that(kind):
    mask = values((0, 1, 255))
    for noted, expected in ((1, mask), (3, np.rot90(mask, 2))):
        content = encoded(mask, kind, exif=noting(noted))
        assert np.array_equal(values_of([lambda content=content: content], SHAPE, LESION, 3), expected)


def test_without_a_file_there_is_no_mask():
    assert read(LESION) is None
    assert read(None, b"") is None
    with pytest.raises(Rejected, match="no mask"):
        read(MaskSettings("semantic", {"lesion": 255}, True))


# ------------------------------------------------------------------------------------------------------ what is refused
@pytest.mark.parametrize(
    ("settings", "contents", "words"),
    [
        (ORGANS, [encoded(values((0, 0, 3)))], "its mask: the value 3, which setting masks.classes does not name"),
        (ORGANS, [encoded(values((0, 0, 255)))], "the value 255, which"),
        (KINDS, [encoded(values((0, 0, 4)))], "the value 4, which"),
        (ORGANS, [encoded(values((0, 0, 1)))] * 2, "2 mask files, where one with all classes is expected"),
        (ORGANS, [encoded(values((0, 0, 1)), "JPEG")], "its mask: a JPEG, which changes values; export the mask anew"),
        (NUCLEI, [encoded(values((0, 0, 1)), "JPEG")], "its mask: a JPEG"),
        (NUCLEI, [encoded(colours((0, 0, (1, 0, 0))))], "2 colours, where a value for each class is expected"),
        (LESION, [encoded(colours((0, 0, (1, 0, 0)), (1, 1, (0, 1, 0))))], "3 colours, where black and one other"),
        (LESION, [encoded(colours((0, 0, (1, 0, 0))) + np.uint8([0, 0, 9]))], "2 colours, where black and one other"),
        (LESION, [encoded(values(shape=(6, 7)))], "its mask has 7×6 pixels, the image 8×6"),
        (NUCLEI, [encoded(values((0, 0, 70000), dtype=np.int32), "TIFF")], "values from 0 to 70000"),
        (NUCLEI, [encoded(values((0, 0, 0.5), dtype=np.float32), "TIFF")], "fractions or NaN, where whole numbers"),
        (ORGANS, [encoded(values((0, 0, 1), (1, 1, 5)))], "the value 5, .*; the file has 0, 1, 5, the classes are"),
        (ORGANS, [encoded(alpha(values((0, 0, 2)), 128))], "half transparent, which changes values"),
        (LESION, [encoded(alpha(values(), values((2, 2, 255))))], "black behind its alpha"),
        (LESION, [encoded(alpha(values(), values((2, 2, 255))).convert("LA"))], "black behind its alpha"),
        (LESION, [b"hello"], "its mask: not an image"),
        (LESION, [encoded(np.random.default_rng(0).integers(0, 2, (64, 64), np.uint8))[:200]], "truncated or damaged"),
    ],
)
def test_masks_that_cannot_be_told_are_rejected(settings, contents, words):
    with pytest.raises(Rejected, match=words):
        read(settings, *contents)


def test_a_mask_that_would_fill_memory_is_rejected(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 16)
    with pytest.raises(Rejected, match="its mask: too large"):
        read(LESION, encoded(values()))


def test_a_palette_is_a_mask_of_colours():
    picture = Image.fromarray(values((0, 0, 1), (1, 1, 2)), "P")
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    said = r"3 colours of a palette, where a value .* expected; its indices are 0, 1, 2: save them"
    with pytest.raises(Rejected, match=said) as refused:
        read(ORGANS, encoded(picture))
    hint = re.search(r"\((Image\.fromarray\(.*\))\.save\(file\)\)", str(refused.value))[1]
    grey = eval(hint, {"Image": Image, "np": np, "file": io.BytesIO(encoded(picture))})
    assert np.array_equal(read(ORGANS, encoded(grey)), np.asarray(picture))


def test_settings_that_name_no_values_are_refused():
    with pytest.raises(InputError, match="values must ascend"):
        MaskSettings("semantic", {"lung": 2, "heart": 2}, False)
