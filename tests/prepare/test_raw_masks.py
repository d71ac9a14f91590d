"""Label maps of raw masks: what is read as it is, what is joined or numbered, what is refused."""

import io

import numpy as np
import pytest
from PIL import Image, ImageOps

from synthmed.core.errors import InputError
from synthmed.prepare.masks import MaskSettings, label_map
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
    assert not label_map([lambda: rings], DISC.shape, NUCLEI)[1], "numbers of objects"


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
        (ORGANS, [encoded(values((0, 0, 1)), "JPEG")], "its mask: a JPEG, which changes values; give a PNG"),
        (NUCLEI, [encoded(values((0, 0, 1)), "JPEG")], "its mask: a JPEG"),
        (NUCLEI, [encoded(colours((0, 0, (1, 0, 0))))], "2 colours, where a value for each class is expected"),
        (LESION, [encoded(colours((0, 0, (1, 0, 0)), (1, 1, (0, 1, 0))))], "3 colours, where black and one other"),
        (LESION, [encoded(colours((0, 0, (1, 0, 0))) + np.uint8([0, 0, 9]))], "2 colours, where black and one other"),
        (LESION, [encoded(values(shape=(6, 7)))], "its mask has 7×6 pixels, the image 8×6"),
        (NUCLEI, [encoded(values((0, 0, 70000), dtype=np.int32), "TIFF")], "values from 0 to 70000"),
        (NUCLEI, [encoded(values((0, 0, 0.5), dtype=np.float32), "TIFF")], "fractions, where whole numbers"),
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
    with pytest.raises(Rejected, match="3 colours, where a value for each class is expected; give a grey PNG"):
        read(ORGANS, encoded(picture))


def test_settings_that_name_no_values_are_refused():
    with pytest.raises(InputError, match="values must ascend"):
        MaskSettings("semantic", {"lung": 2, "heart": 2}, False)
