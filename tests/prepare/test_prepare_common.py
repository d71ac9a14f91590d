"""Conversion of every pixel format, black borders and masks."""

import io
import struct
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.data.sources.raw_image import RawImage
from synthmed.prepare.common import Rejected, content_box, decode, wanted

RAMP = np.arange(0, 256, 8, dtype=np.uint8).reshape(4, 8)  # 0 ... 248


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


# ----------------------------------------------------------------------------------------------------- masks by name
def listed(*files):
    """The images of class folders, as a source lists them."""
    found = [
        RawImage(file, f"{number}", file.partition("/")[0], "", "", "", bytes, (), {})
        for number, file in enumerate(files)
    ]
    return wanted(found, SimpleNamespace(source="folder", labels={image.label: image.label for image in found}))


@pytest.mark.parametrize(
    ("files", "first"),
    [
        (["COVID/images/C-1.png", "COVID/masks/C-1.png", "Normal/images/N-1.png"], "COVID/masks/C-1.png of COVID/im"),
        (["images/x.png", "Masks/X_mask.PNG", "images/y.png"], "Masks/X_mask.PNG of images/x.png"),
        (["sick/x.png", "sick/lung masks/deeper/x_seg.png"], "sick/lung masks/deeper/x_seg.png of sick/x.png"),
        (["sick/scans/1/x.png", "sick/ground_truth/1/x.png"], "sick/ground_truth/1/x.png of sick/scans/1/x.png"),
    ],
)
def test_masks_in_folders_of_their_own_are_not_taken_for_images(files, first):
    with pytest.raises(InputError, match=rf"1 of {len(files)} images are masks of others by their names, .*{first}"):
        listed(*files)


@pytest.mark.parametrize(
    "files",
    [
        ["normal/labels/x.png", "normal/y.png", "sick/x.png"],  # of another class, which has no folder of masks
        ["with_mask/x.png", "without_mask/x.png"],
        ["normal/unlabelled/x.png", "normal/x.png"],
    ],
)
def test_images_in_folders_that_sound_like_masks_are_images_where_no_other_has_their_name(files):
    assert len(listed(*files)) == len(files)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        *(("1", "mask_1"), ("train_1", "train_1_anno"), ("1", "1_groundtruth")),
        *(("1", "1_ground truth"), ("1", "1_roi"), ("01_test", "01_test_manual1"), ("1", "1_mask (2)")),
        *(("benign (1)", "benign (1)_mask_1"), ("a", "GT a")),
    ],
)
def test_masks_beside_their_images_are_not_taken_for_images(image, mask):
    with pytest.raises(InputError, match=r"1 of 3 images are masks of others by their names"):
        listed(f"sick/{image}.png", f"sick/{mask}.png", "well/2.png")


@pytest.mark.parametrize("files", [["s/roi/1.png", "s/1.png"], ["s/mask_1.png", "w/1.png"], ["s/1_roi.png", "s/2.png"]])
def test_images_that_sound_like_masks_are_images_where_no_other_lies_beside_them(files):
    assert len(listed(*files)) == len(files)


# -------------------------------------------------------------------------------------------------------- conversion
def test_grey_and_rgb_stay_what_they_are():
    assert np.array_equal(decode(encoded(Image.fromarray(RAMP)), 1), RAMP)
    colour = np.stack([RAMP, RAMP // 2, 255 - RAMP], axis=2)
    assert np.array_equal(decode(encoded(Image.fromarray(colour)), 3), colour)
    assert np.array_equal(decode(encoded(Image.fromarray(RAMP)), 3), np.stack([RAMP] * 3, axis=2))


def test_arrays_are_taken_as_they_are():
    assert np.array_equal(decode(RAMP, 1), RAMP)
    assert decode(RAMP, 3).shape == (4, 8, 3)


def test_16_bit_is_scaled_from_its_own_range():
    # A 12-bit film stored as 16 bit: without scaling it would be at most 4095 / 65535 = 6 % grey.
    film = np.array([[0, 819], [2457, 4095]], dtype=np.uint16)
    assert decode(encoded(Image.fromarray(film)), 1).tolist() == [[0, 51], [153, 255]]
    assert decode(encoded(Image.fromarray(film), "TIFF"), 1).tolist() == [[0, 51], [153, 255]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_tiff_says_whether_zero_is_white(dtype):
    tiff = encoded(Image.fromarray(np.array([[0, 51], [153, 255]], dtype)), "TIFF")
    tag = struct.pack("<HHLH", 262, 3, 1, 1)  # PhotometricInterpretation, one short: BlackIsZero
    assert tiff.count(tag) == 1
    assert decode(tiff, 1).tolist() == [[0, 51], [153, 255]]
    assert decode(tiff.replace(tag, tag[:-2] + b"\0\0"), 1).tolist() == [[255, 204], [102, 0]]


def test_32_bit_and_float_are_scaled_too():
    assert decode(encoded(Image.fromarray(np.array([[-1000, 0, 1000]], np.int32)), "TIFF"), 1).tolist() == [
        [0, 128, 255]
    ]
    assert decode(encoded(Image.fromarray(np.array([[0.0, 0.2, 1.0]], np.float32)), "TIFF"), 1).tolist() == [
        [0, 51, 255]
    ]


@pytest.mark.parametrize("values", [[0.0, float("nan")], [0.0, float("inf")]])
def test_float_images_with_nan_are_rejected(values):
    with pytest.raises(Rejected, match="not finite"):
        decode(encoded(Image.fromarray(np.array([values], np.float32)), "TIFF"), 1)


def test_a_constant_deep_image_is_rejected():
    with pytest.raises(Rejected, match="constant"):
        decode(encoded(Image.fromarray(np.full((4, 4), 700, np.uint16))), 1)


def test_a_palette_is_looked_up_not_taken_for_grey():
    image = Image.frombytes("P", (8, 4), bytes(range(32)))
    # The palette runs backwards: index 0 is white.
    image.putpalette([255 - 8 * (n // 3) for n in range(96)])
    assert np.array_equal(decode(encoded(image), 1), 255 - RAMP)


def test_a_coloured_palette_becomes_luma():
    image = Image.frombytes("P", (3, 1), bytes([0, 1, 2]))
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert decode(encoded(image), 1).tolist() == [[76, 150, 29]]  # 0.299, 0.587, 0.114 of 255 (BT.601)
    assert decode(encoded(image), 3)[0, 1].tolist() == [0, 255, 0]


def test_alpha_is_laid_on_black():
    pixels = np.full((1, 3, 4), 200, np.uint8)
    pixels[0, :, 3] = [255, 128, 0]
    assert decode(encoded(Image.fromarray(pixels)), 1).tolist() == [[200, 100, 0]]
    grey = Image.merge("LA", [Image.fromarray(pixels[:, :, 0]), Image.fromarray(pixels[:, :, 3])])
    assert decode(encoded(grey), 1).tolist() == [[200, 100, 0]]


def test_transparency_of_palette_grey_and_colours_is_laid_on_black():
    image = Image.frombytes("P", (2, 1), bytes([0, 1]))
    image.putpalette([200, 200, 200, 100, 100, 100])
    assert decode(encoded(image, transparency=0), 1).tolist() == [[0, 100]]
    assert decode(encoded(Image.fromarray(np.array([[9, 77]], np.uint8)), transparency=77), 1).tolist() == [[9, 0]]
    colours = Image.fromarray(np.array([[[255, 255, 255], [9, 8, 7]]], np.uint8))
    assert decode(encoded(colours, transparency=(255, 255, 255)), 3).tolist() == [[[0, 0, 0], [9, 8, 7]]]


def test_a_picture_that_is_wholly_transparent_is_rejected():
    pixels = np.dstack([RAMP, RAMP, RAMP, np.zeros_like(RAMP)])
    deep = Image.merge("LA", [Image.fromarray(RAMP), Image.fromarray(np.zeros_like(RAMP))])
    flat = Image.fromarray(np.full((4, 8), 7, np.uint8))
    for content in (encoded(Image.fromarray(pixels)), encoded(deep), encoded(flat, transparency=7)):
        with pytest.raises(Rejected, match="wholly transparent"):
            decode(content, 1)
    pixels[0, 0, 3] = 1
    assert not decode(encoded(Image.fromarray(pixels)), 1).any()


def test_one_bit_and_cmyk():
    assert decode(encoded(Image.fromarray(np.array([[True, False]]))), 1).tolist() == [[255, 0]]
    ink = Image.new("CMYK", (8, 8), (0, 0, 0, 0))
    assert decode(encoded(ink, "TIFF"), 1).min() == 255


def test_the_noted_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    assert decode(encoded(Image.fromarray(RAMP), exif=exif), 1).shape == (8, 4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not an image"),
        (b"<html>404</html>", "not an image"),
        (encoded(Image.fromarray(np.tile(RAMP, (40, 40))))[:200], "truncated or damaged"),
        (encoded(Image.effect_noise((64, 64), 50), "JPEG")[:800], "truncated or damaged"),
    ],
)
def test_what_is_no_whole_image_is_rejected_with_the_reason(content, reason):
    with pytest.raises(Rejected, match=reason):
        decode(content, 1)


def test_a_damaged_note_of_a_camera_is_a_damaged_file():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned, so Pillow writes the block again without it
    exif[0x0116] = 40  # rows of a strip, type 4 (long)
    content = encoded(Image.fromarray(RAMP), "JPEG", exif=exif)
    entry = struct.pack(">HHLL", 0x0116, 4, 1, 40)
    assert content.count(entry) == 1
    as_text = struct.pack(">HHLL", 0x0116, 2, 1, 40)  # for which Pillow raises struct.error
    with pytest.raises(Rejected, match="truncated or damaged"):
        decode(content.replace(entry, as_text), 1)


def test_a_picture_bomb_is_rejected_before_it_fills_memory():
    def chunk(kind, data):
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    header = struct.pack(">LLBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(Rejected, match="too large"):
        decode(content, 1)


def test_a_film_of_several_frames_is_rejected():
    frames = [Image.fromarray(RAMP), Image.fromarray(255 - RAMP)]
    with pytest.raises(Rejected, match="2 frames"):
        decode(encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), 1)


# ----------------------------------------------------------------------------------------------- borders and masks
def test_black_borders_are_found_on_all_sides():
    pixels = np.zeros((100, 200), np.uint8)
    pixels[10:90, 60:190] = 120
    assert content_box(pixels) == (10, 90, 60, 190)
    assert content_box(np.stack([pixels, pixels * 0, pixels * 0], axis=2)) == (10, 90, 60, 190)


def test_noise_and_a_letter_in_the_border_do_not_count_as_content():
    pixels = np.random.default_rng(0).integers(0, 8, (300, 300), dtype=np.uint8)
    pixels[:, 100:] = 150
    pixels[5:9, 20:24] = 255  # a burnt-in letter
    assert content_box(pixels) == (0, 300, 100, 300)


def test_a_large_border_on_two_sides_is_cut_wholly():
    # Rows look filled less than they are while the columns beside them are still there.
    pixels = np.zeros((1000, 1000), np.uint8)
    pixels[300:700, 495:505] = 200
    assert content_box(pixels) is None or content_box(pixels) == (300, 700, 495, 505)
    pixels[300:700, 450:550] = 200
    assert content_box(pixels) == (300, 700, 450, 550)


def test_dark_parts_inside_are_kept():
    pixels = np.full((60, 60), 90, np.uint8)
    pixels[20:40] = 0
    assert content_box(pixels) == (0, 60, 0, 60)


def test_all_black_has_no_content():
    assert content_box(np.zeros((9, 9), np.uint8)) is None
