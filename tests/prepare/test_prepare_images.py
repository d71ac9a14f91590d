"""Conversion of every pixel format, black borders, rejects, and the step as a whole through the folder source."""

import csv
import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from synthmed.data.fetch import FetchSettings, fetch
from synthmed.data.imageset import ImageSet
from synthmed.errors import InputError
from synthmed.prepare.images import PrepareSettings, Rejected, content_box, decode, prepare

RAMP = np.arange(0, 256, 8, dtype=np.uint8).reshape(4, 8)  # 0 ... 248


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


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


def test_transparency_of_palette_and_grey_is_laid_on_black():
    image = Image.frombytes("P", (2, 1), bytes([0, 1]))
    image.putpalette([200, 200, 200, 100, 100, 100])
    assert decode(encoded(image, transparency=0), 1).tolist() == [[0, 100]]
    assert decode(encoded(Image.fromarray(np.array([[9, 77]], np.uint8)), transparency=77), 1).tolist() == [[9, 0]]


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


# ----------------------------------------------------------------------------------------------------------- borders
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


# -------------------------------------------------------------------------------------------------------------- step
def settings(**changes):
    values = {
        "source": "folder",
        "labels": {"sick": "abnormal", "well": "normal"},
        "image_size": 16,
        "channels": 1,
        "crop_black_borders": True,
        "resample": "box",
        "masks": True,
        "min_size": 8,
        "max_rejects": 0.5,
        "workers": 2,
        "prefix": "",
    }
    return PrepareSettings(**(values | changes))


def raw_of(tmp_path, files):
    """Raw folder.zip of {label/name.png: bytes}; files with a twin in `mask/` have it as their mask."""
    folder = tmp_path / "clinic"
    lines = ["file,label,mask"]
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
        if not name.startswith("mask/"):
            label, file = name.split("/")
            lines.append(f"{name},{label},{'mask/' + file if 'mask/' + file in files else ''}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    csv_settings = {"name": "labels.csv", "file": "file", "label": "label", "patient": None, "mask": "mask"}
    options = {"path": str(folder), "name": "clinic", "patient_pattern": None}
    options["csv"] = csv_settings | {"split": None, "keep": []}
    raw = tmp_path / "raw" / "folder.zip"
    fetch(FetchSettings("folder", "folder", options), raw=[raw])
    return [raw]


def noise(seed, size=(40, 30)):
    return encoded(Image.fromarray(np.random.default_rng(seed).integers(100, 256, size, dtype=np.uint8)))


GOOD = {f"{label}/{n}.png": noise(10 * n + len(label)) for label in ("sick", "well") for n in range(4)}


def run(tmp_path, files, out="out", **changes):
    folder = tmp_path / out
    raw = raw_of(tmp_path, files)
    prepare(settings(**changes), raw=raw, images=folder / "images.zip", rejects=folder / "rejects.csv")
    with open(folder / "rejects.csv", newline="") as handle:
        return ImageSet(folder / "images.zip"), list(csv.DictReader(handle))


def test_all_images_become_one_size_with_class_patient_and_source(tmp_path):
    images, rejects = run(tmp_path, GOOD)
    assert images.pixels.shape == (8, 16, 16, 1)
    assert images.column("label") == ["abnormal"] * 4 + ["normal"] * 4
    assert images.column("image")[0] == "sick_0.png"
    assert images.column("patient")[0] == "sick/0.png"
    assert set(images.column("source")) == {"clinic"}
    assert rejects == []


def test_rgb(tmp_path):
    images, _ = run(tmp_path, GOOD, channels=3)
    assert images.pixels.shape == (8, 16, 16, 3)


def test_equal_raw_files_give_equal_bytes_whatever_the_workers(tmp_path):
    run(tmp_path, GOOD, "one", workers=1)
    run(tmp_path, GOOD, "four", workers=4)
    for name in ("images.zip", "rejects.csv"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "four" / name).read_bytes()


def test_a_border_is_cut_and_the_mask_with_it(tmp_path):
    pixels = np.zeros((40, 80), np.uint8)
    pixels[:, 40:] = 200
    mask = np.zeros((40, 80), np.uint8)
    mask[:, 60:] = 1  # masks may be 0/1 or 0/255
    files = GOOD | {"sick/b.png": encoded(Image.fromarray(pixels)), "mask/b.png": encoded(Image.fromarray(mask))}
    images, _ = run(tmp_path, files)
    index = images.column("image").index("sick_b.png")
    assert (images[index] == 200).all()
    assert images.column("mask") == ["sick_b.png" if n == index else "" for n in range(9)]
    [(_, _, found)] = images.entries([index])
    assert (found[:, :8] == 0).all()
    assert (found[:, 8:] == 255).all()
    whole, _ = run(tmp_path, files, "whole", crop_black_borders=False)
    assert (whole[index][:, :8] == 0).all()
    without, _ = run(tmp_path, files, "without", masks=False)
    assert set(without.column("mask")) == {""}


def test_masks_of_two_parts_are_joined(tmp_path):
    from synthmed.data.sources.raw_image import RawImage
    from synthmed.prepare.images import _mask

    left, right = np.zeros((2, 4), np.uint8), np.zeros((2, 4), np.uint8)
    left[0, 0], right[1, 3] = 255, 255
    loads = tuple((lambda part=part: encoded(Image.fromarray(part))) for part in (left, right))
    image = RawImage("f", "n", "l", "p", "", "s", lambda: b"", loads, {})
    assert np.array_equal(_mask(image, (2, 4)), left | right)


def test_bad_files_are_rejected_each_with_its_reason(tmp_path):
    bad = {
        "sick/cut.png": noise(1)[:400],
        "sick/dot.png": encoded(Image.new("L", (1, 1), 9)),
        "well/text.png": b"not an image at all",
        "well/black.png": encoded(Image.new("L", (40, 40), 3)),
        "well/mask.png": noise(2),
        "mask/mask.png": noise(3, (9, 9)),
    }
    images, rejects = run(tmp_path, GOOD | bad)
    assert len(images) == 8
    reasons = {row["file"]: row["reason"] for row in rejects}
    assert list(reasons) == ["sick/cut.png", "sick/dot.png", "well/black.png", "well/mask.png", "well/text.png"]
    assert reasons["sick/cut.png"].startswith("truncated or damaged")
    assert reasons["sick/dot.png"] == "too small: 1×1 pixels, the shorter side must have 8"
    assert reasons["well/black.png"] == "black throughout"
    assert reasons["well/mask.png"] == "its mask has 9×9 pixels, the image 30×40"
    assert reasons["well/text.png"] == "not an image"


def test_too_many_rejects_stop_the_run_and_leave_nothing(tmp_path):
    with pytest.raises(
        InputError, match=r"1 of 9 images cannot be used .*share of 0\.1\)(.|\n)*well/x\.png: not an image"
    ):
        run(tmp_path, GOOD | {"well/x.png": b"x"}, max_rejects=0.1)
    assert list((tmp_path / "out").iterdir()) == []


def test_every_image_rejected_is_an_error_even_when_all_may_be(tmp_path):
    with pytest.raises(InputError, match="2 of 2 images cannot be used"):
        run(tmp_path, {"sick/a.png": b"x", "well/b.png": b"x"}, max_rejects=1.0)


def test_an_unknown_label_is_an_error_and_null_leaves_it_out(tmp_path):
    files = GOOD | {"other/9.png": noise(9)}
    with pytest.raises(InputError, match=r"other/9\.png: unknown label 'other'; .*\['sick', 'well'\]"):
        run(tmp_path, files)
    images, _ = run(tmp_path, files, labels={"sick": "abnormal", "well": "normal", "other": None})
    assert len(images) == 8


def test_a_class_without_images_is_an_error(tmp_path):
    labels = {"sick": "abnormal", "well": "normal", "cancer": "malignant"}
    with pytest.raises(InputError, match=r"no image of the class 'malignant'; its labels are \{'sick': 4, 'well': 4\}"):
        run(tmp_path, GOOD, labels=labels)


def test_two_files_that_would_get_one_name_are_an_error(tmp_path):
    with pytest.raises(InputError, match=r"sick/a_b\.png and sick/a b\.png would both become the image 'sick_a_b'"):
        run(tmp_path, GOOD | {"sick/a b.png": noise(5), "sick/a_b.png": noise(6)})


@pytest.mark.parametrize("change", [{"image_size": 0}, {"workers": 0}, {"min_size": 0}, {"max_rejects": 1.5}])
def test_settings_out_of_range(tmp_path, change):
    with pytest.raises(InputError, match=f"setting {next(iter(change))} is"):
        run(tmp_path, GOOD, **change)


def test_a_full_disk_leaves_nothing_half_written(tmp_path, small_disk):
    raw = raw_of(tmp_path, GOOD)
    with pytest.raises(InputError, match="no space left"):
        prepare(
            settings(image_size=512, resample="lanczos"),
            raw=raw,
            images=small_disk / "images.zip",
            rejects=small_disk / "rejects.csv",
        )
    assert list(small_disk.iterdir()) == []


def test_no_permission_to_write(tmp_path, read_only_disk):
    with pytest.raises(InputError, match="no permission to write"):
        prepare(
            settings(), raw=raw_of(tmp_path, GOOD), images=read_only_disk / "i.zip", rejects=read_only_disk / "r.csv"
        )
