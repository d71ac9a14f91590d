"""Rejects, names, classes and masks: the step as a whole through the folder source."""

import csv
import io
import unicodedata
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.data.fetch import FetchSettings, fetch
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.prepare.images import PrepareSettings, original_masks, prepare
from synthmed.prepare.masks import MaskSettings


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


FOREGROUND = MaskSettings("semantic", {"foreground": 255}, False)


def settings(**changes):
    values = {
        "source": "folder",
        "labels": {"sick": "abnormal", "well": "normal"},
        "size": [16, 16],
        "channels": 1,
        "crop_black_borders": True,
        "resample": "box",
        "masks": FOREGROUND,
        "min_size": 8,
        "max_rejects": 0.5,
        "workers": 2,
        "prefix": "",
        "synthetic": None,
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
    without, _ = run(tmp_path, files, "without", masks=None)
    assert set(without.column("mask")) == {""}


def test_pictures_of_two_values_are_told_by_their_class(tmp_path, caplog):
    disc = np.where(np.hypot(*np.mgrid[-20:20, -15:15]) < 9, 200, 10).astype(np.uint8)
    run(tmp_path, GOOD | {f"sick/1m{n}.png": encoded(Image.fromarray(disc + n)) for n in range(3)})
    assert "images.zip: 3 of the 7 images of 'abnormal' have at most two values, as masks have" in caplog.text
    assert "'normal' have at most" not in caplog.text


def test_smooth_masks_are_counted_and_told(tmp_path, caplog):
    disc = Image.fromarray(np.where(np.hypot(*np.mgrid[-20:20, -15:15]) < 9, 255, 0).astype(np.uint8))
    smooth = disc.resize((60, 80)).resize((30, 40), Image.Resampling.BILINEAR)
    run(tmp_path, GOOD | {"mask/0.png": encoded(smooth), "mask/1.png": encoded(disc)})
    assert "images.zip: 2 masks have values between black and white" in caplog.text  # 0.png of both classes


def test_a_mask_is_turned_as_its_image_or_refused(tmp_path):
    rng, files = np.random.default_rng(0), dict(GOOD)
    for orientation in (3, 6):
        exif = Image.Exif()
        exif[0x0112] = orientation
        pixels, mask = rng.integers(100, 120, (40, 80), np.uint8), np.zeros((40, 80), np.uint8)
        pixels[:10, 40:], mask[:10, 40:] = 250, 255
        for kind in ("png", "tiff"):
            files[f"sick/{kind}{orientation}.{kind}"] = encoded(Image.fromarray(pixels), kind, exif=exif)
            files[f"mask/{kind}{orientation}.{kind}"] = encoded(Image.fromarray(mask), kind)
    images, rejects = run(tmp_path, files, crop_black_borders=False)
    assert [row["file"] for row in rejects] == ["sick/png3.png", "sick/tiff3.tiff"]
    assert {row["reason"][:56] for row in rejects} == {"its camera noted that it is turned (EXIF orientation 3),"}
    for name in ("sick_png6.png", "sick_tiff6.png"):
        ((_, pixels, mask),) = images.entries([images.column("image").index(name)])
        assert np.array_equal(pixels[:, :, 0] > 200, mask > 0)
        assert mask.any()


def test_instance_masks_of_16_bits_keep_their_values_and_name_their_class(tmp_path):
    mask = np.zeros((40, 30), np.uint16)
    mask[10:30, 10:20], mask[30:, :] = 700, 65535
    files = {name: noise(3) for name in GOOD} | {
        f"mask/{name.split('/')[1]}": encoded(Image.fromarray(mask)) for name in GOOD
    }
    chosen = MaskSettings("instances", {"nucleus": 1}, True)
    images, rejects = run(tmp_path, files, masks=chosen, size=[20, 15], crop_black_borders=False)
    assert rejects == []
    assert images.legend == chosen.legend
    assert images.pixels.shape == (8, 20, 15, 1)
    assert np.array_equal(images.masks, [mask[1::2, 1::2]] * 8)


def test_masks_that_are_missing_or_all_empty_stop_the_run(tmp_path):
    some = {"mask/0.png": encoded(Image.new("L", (30, 40)))}
    with pytest.raises(InputError, match=r"6 of 8 images cannot be used .*\n  sick/1\.png: no mask"):
        run(tmp_path, GOOD | some, masks=MaskSettings("semantic", {"lesion": 255}, True))
    with pytest.raises(InputError, match="all 2 masks are empty"):
        run(tmp_path, GOOD | some)
    assert not (tmp_path / "out" / "images.zip").exists()


def test_masks_among_the_images_are_not_taken_for_images(tmp_path):
    files = GOOD | {"sick/0_mask.png": noise(1), "sick/0_Mask_1.png": noise(2), "well/gt.png": noise(3)}
    with pytest.raises(InputError, match=r"2 of 11 images are masks of others by their names, the first sick/0_Mask_1"):
        run(tmp_path, files)
    images, _ = run(tmp_path, GOOD | {"sick/9_mask.png": noise(1)})  # of no image that is there
    assert len(images) == 9


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


def test_two_files_that_would_get_one_name_get_two(tmp_path):
    images, _ = run(tmp_path, GOOD | {"sick/a b.png": noise(5), "sick/a_b.png": noise(6)})
    names = [name for name in images.column("image") if name.startswith("sick_a_b")]
    assert len(names) == 2
    assert all(len(name) == len("sick_a_b_12345678.png") for name in names)


def test_names_in_any_script_are_used_and_stay_apart(tmp_path):
    files = GOOD | {f"sick/{name}.png": noise(20 + n) for n, name in enumerate(("张敏", "刘洋", "Müller"))}
    images, _ = run(tmp_path, files)
    names = [
        name
        for name in images.column("image")
        if name not in {f"{k}_{n}.png" for k in ("sick", "well") for n in range(4)}
    ]
    assert len(names) == 3
    assert all(name.isascii() for name in names)
    assert set(images.column("patient")) >= {"sick/张敏.png", "sick/刘洋.png", "sick/Müller.png"}


def test_images_of_unknown_patients_say_so(tmp_path):
    images, _ = run(tmp_path, GOOD)
    assert set(images.column("patient_known")) == {"no"}


def test_a_class_is_found_however_its_accents_are_written(tmp_path):
    apart, together = (unicodedata.normalize(form, "Läsion") for form in ("NFD", "NFC"))
    files = {f"{apart}/{n}.png": noise(n) for n in range(2)} | {f"well/{n}.png": noise(5 + n) for n in range(2)}
    images, _ = run(tmp_path, files, labels={together: "abnormal", "well": "normal"})
    assert images.column("label") == ["abnormal", "abnormal", "normal", "normal"]
    again, _ = run(tmp_path, files, "again", labels={apart: "abnormal", "well": "normal"})
    assert again.column("image") == images.column("image")


def test_a_full_disk_leaves_nothing_half_written(tmp_path, small_disk):
    raw = raw_of(tmp_path, GOOD)
    with pytest.raises(InputError, match="no space left"):
        prepare(
            settings(size=[512, 512], resample="lanczos"),
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


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_set_comes_out_as_it_was_with_its_masks(tmp_path, channels):
    rng, chosen = np.random.default_rng(0), MaskSettings("instances", {"nucleus": 1}, True)
    rows = [
        (
            {"image": f"{n}.png", "label": ("sick", "well")[n % 2], "patient": f"p{n}", "source": "s"},
            rng.integers(0, 256, (16, 12, channels), np.uint8),
            rng.integers(0, 900, (16, 12)),
        )
        for n in range(6)
    ]
    write_image_set(tmp_path / "given.zip", rows, chosen.legend)
    changes = {"source": "image_set", "size": (16, 12), "channels": channels, "masks": chosen, "synthetic": "gan"}
    chosen_settings = settings(**changes, crop_black_borders=False)
    files = {"images": tmp_path / "out.zip", "rejects": tmp_path / "rejects.csv"}
    prepare(chosen_settings, raw=[tmp_path / "given.zip"], **files)
    given, made = ImageSet(tmp_path / "given.zip"), ImageSet(files["images"])
    assert np.array_equal(made.pixels, given.pixels)
    assert np.array_equal(made.masks, given.masks)
    assert made.legend == given.legend
    assert set(made.column("source")) == {"gan"}
    stack = [(row, pixels[:, :, [0, 0]], mask) for row, pixels, mask in rows]
    write_image_set(tmp_path / "channels.zip", stack, replace(chosen.legend, channels=("a", "b")))
    with pytest.raises(InputError, match="2 channels, where grey or RGB is expected"):
        prepare(chosen_settings, raw=[tmp_path / "channels.zip"], **files)


def test_an_image_set_is_opened_a_few_times_however_many_images_it_has(tmp_path, monkeypatch):
    rng, opened = np.random.default_rng(0), []
    rows = [
        (
            {"image": f"{n:02d}.png", "label": ("sick", "well")[n % 2], "patient": f"p{n}"},
            rng.integers(0, 256, (16, 12), np.uint8),
            np.where(rng.random((16, 12)) > 0.5, 255, 0),
        )
        for n in range(50)
    ]
    write_image_set(tmp_path / "given.zip", rows)

    class Counting(zipfile.ZipFile):
        def __init__(self, file, *arguments, **options):
            opened.append(str(file))
            super().__init__(file, *arguments, **options)

    monkeypatch.setattr(zipfile, "ZipFile", Counting)
    files = {"images": tmp_path / "out.zip", "rejects": tmp_path / "rejects.csv"}
    prepare(settings(source="image_set", workers=4), raw=[tmp_path / "given.zip"], **files)
    assert len(ImageSet(files["images"])) == 50
    assert opened.count(str(tmp_path / "given.zip")) <= 2


# ------------------------------------------------------------------------------------------------------ original masks
def test_masks_of_their_original_size_are_cut_as_the_images_were(tmp_path):
    rng = np.random.default_rng(0)
    files = {}
    for number in range(3):
        height, width = 40 + number, 60
        pixels = rng.integers(60, 255, (height, width), dtype=np.uint8)
        pixels[:, :10] = 0  # a black border, which is cut
        mask = np.zeros((height, width), np.uint8)
        mask[5:25, 8:31] = 255
        files[f"sick/{number}.png"] = encoded(Image.fromarray(pixels))
        files[f"mask/{number}.png"] = encoded(Image.fromarray(mask))
        files[f"well/w{number}.png"] = files[f"sick/{number}.png"]
        files[f"mask/w{number}.png"] = files[f"mask/{number}.png"]
    raw, chosen = raw_of(tmp_path, files), settings()
    prepare(chosen, raw=raw, images=tmp_path / "images.zip", rejects=tmp_path / "rejects.csv")
    images = ImageSet(tmp_path / "images.zip")
    write_image_set(tmp_path / "test.zip", images.entries([0, 2]), images.legend)
    original_masks(chosen, raw=raw, test=tmp_path / "test.zip", originals=tmp_path / "masks.zip")
    found = ImageSet(tmp_path / "masks.zip")
    assert found.column("image") == [images.rows[row]["image"] for row in (0, 2)]
    assert found.column("patient") == [images.rows[row]["patient"] for row in (0, 2)]
    for (_, shown, mask), row in zip(found.entries(), (0, 2), strict=True):
        assert mask.shape == (40 + row, 50)
        expected = np.zeros_like(mask)
        expected[5:25, :21] = 255
        assert np.array_equal(mask, expected)
        assert np.array_equal(shown[:, :, 0], mask)
    ((fields, pixels, mask),) = images.entries([0])
    write_image_set(tmp_path / "other.zip", [({**fields, "image": "other.png"}, pixels, mask)], images.legend)
    with pytest.raises(InputError, match=r"'other\.png' is not among the raw images"):
        original_masks(chosen, raw=raw, test=tmp_path / "other.zip", originals=tmp_path / "m.zip")
