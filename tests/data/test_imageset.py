import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from synthmed.data.imageset import ImageSet, encode_png, write_image_set
from synthmed.core.errors import InputError

RNG = np.random.default_rng(0)


def row(name, label="a", **more):
    return {"image": f"{name}.png", "label": label, "patient": f"p{name}"} | more


def pictures(count, shape=(6, 5)):
    return [RNG.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 1), (6, 5, 3)])
def test_what_was_written_is_read_back(tmp_path, shape):
    made = pictures(3, shape)
    write_image_set(tmp_path / "set.zip", [(row(n, "ab"[n % 2], age=n), pixels) for n, pixels in enumerate(made)])
    images = ImageSet(tmp_path / "set.zip")
    assert len(images) == 3
    assert np.array_equal(images.pixels, np.stack(made).reshape(3, 6, 5, -1))
    assert np.array_equal(images[2], images.pixels[2])
    assert images.column("age") == ["0", "1", "2"]
    assert images.label_indices(("b", "a")).tolist() == [1, 0, 1]
    assert images.pixels is images.pixels  # decoded once


def test_rows_are_sorted_by_name_and_the_bytes_do_not_depend_on_the_order(tmp_path):
    made = [(row(n), pixels, pixels) for n, pixels in zip("cab", pictures(3), strict=True)]
    write_image_set(tmp_path / "one.zip", made)
    write_image_set(tmp_path / "two.zip", made[::-1])
    assert ImageSet(tmp_path / "one.zip").column("image") == ["a.png", "b.png", "c.png"]
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_entries_write_the_same_set_again(tmp_path):
    made = pictures(4)
    write_image_set(tmp_path / "one.zip", [(row(n), pixels, pixels // 2) for n, pixels in enumerate(made)])
    images = ImageSet(tmp_path / "one.zip")
    write_image_set(tmp_path / "two.zip", images.entries())
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    write_image_set(tmp_path / "some.zip", images.entries([2, 0]))
    some = ImageSet(tmp_path / "some.zip")
    assert np.array_equal(some.pixels, images.pixels[[0, 2]])
    assert np.array_equal(some.masks, images.masks[[0, 2]])


def test_many_images_decode_the_same_in_threads(tmp_path):
    made = pictures(150)
    write_image_set(tmp_path / "set.zip", [(row(f"{n:03d}"), pixels) for n, pixels in enumerate(made)])
    assert np.array_equal(ImageSet(tmp_path / "set.zip").pixels[..., 0], np.stack(made))


def test_rows_are_consumed_one_at_a_time(tmp_path):
    alive = []

    def rows():
        for n, pixels in enumerate(pictures(5)):
            alive.append(n)
            yield row(n), pixels

    write_image_set(tmp_path / "set.zip", rows())
    assert alive == list(range(5))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([row("a"), row("a")], r"'a\.png' occurs twice"),
        ([row("../a")], "must be letters"),
        ([row("a/b")], "must be letters"),
        ([row("") | {"image": "a.jpg"}], "must be letters"),
        ([row("a", "")], "has no label"),
        ([row("a") | {"patient": None}], "has no patient"),
        ([], "at least one image"),
    ],
)
def test_bad_rows_leave_no_file(tmp_path, fields, message):
    with pytest.raises(InputError, match=message):
        write_image_set(tmp_path / "set.zip", [(one, pictures(1)[0]) for one in fields])
    assert list(tmp_path.iterdir()) == []


def test_an_error_in_the_middle_keeps_the_old_set(tmp_path):
    write_image_set(tmp_path / "set.zip", [(row("a"), pictures(1)[0])])
    before = (tmp_path / "set.zip").read_bytes()

    def rows():
        yield row("b"), pictures(1)[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_image_set(tmp_path / "set.zip", rows())
    assert (tmp_path / "set.zip").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_said_and_leaves_nothing(small_disk):
    with pytest.raises(InputError, match="no space left"):
        write_image_set(small_disk / "set.zip", [(row(n), pixels) for n, pixels in enumerate(pictures(4, (300, 300)))])
    assert list(small_disk.iterdir()) == []


def test_pixels_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="float64"):
        encode_png(np.zeros((4, 4)))


def test_different_shapes_and_missing_masks_are_told(tmp_path):
    write_image_set(tmp_path / "set.zip", [(row("a"), pictures(1)[0]), (row("b"), pictures(1, (9, 9))[0])])
    images = ImageSet(tmp_path / "set.zip")
    with pytest.raises(InputError, match=r"set\.zip: images of different shapes"):
        _ = images.pixels
    with pytest.raises(InputError, match=r"2 images have no mask, the first is 'a\.png'"):
        _ = images.masks
    with pytest.raises(InputError, match="no column 'age'"):
        images.column("age")


def test_an_unknown_label_is_named(tmp_path):
    write_image_set(tmp_path / "set.zip", [(row("a", "odd"), pictures(1)[0])])
    with pytest.raises(InputError, match=r"set\.zip: unknown label 'odd'; the classes are \['a', 'b'\]"):
        ImageSet(tmp_path / "set.zip").label_indices(("a", "b"))


def by_hand(path, text, files):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.csv", text)
        for name, content in files.items():
            archive.writestr(name, content)
    return path


HEAD = "image,label,mask,patient,split,source\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + "a.png,x,,p,,\ngone.png,x,,p,,\n", r"names 'gone\.png', which is not in the archive"),
        (HEAD + "a.png,x,,p,,\na.png,x,,p,,\n", r"names 'a\.png' twice"),
        (HEAD + "a.png,x,gone.png,p,,\n", r"names mask 'gone\.png'"),
        (HEAD, "lacks any row"),
        ("image,label\na.png,x\n", r"lacks \['mask', 'patient', 'split', 'source'\]"),
    ],
)
def test_broken_manifests_are_named(tmp_path, text, message):
    with pytest.raises(InputError, match=r"set\.zip.*" + message):
        ImageSet(by_hand(tmp_path / "set.zip", text, {"images/a.png": encode_png(pictures(1)[0])}))


def test_what_is_no_image_set_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.zip: no such image set"):
        ImageSet(tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("x")
    with pytest.raises(InputError, match=r"text\.zip: not a readable zip"):
        ImageSet(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("x", "y")
    with pytest.raises(InputError, match=r"empty\.zip: no manifest\.csv"):
        ImageSet(tmp_path / "empty.zip")


@pytest.mark.parametrize("content", [b"no image", encode_png(RNG.integers(0, 256, (64, 64), dtype=np.uint8))[:900]])
def test_an_image_that_cannot_be_decoded_is_named(tmp_path, content):
    path = by_hand(tmp_path / "set.zip", HEAD + "a.png,x,,p,,\n", {"images/a.png": content})
    with pytest.raises(InputError, match=r"set\.zip: images/a\.png cannot be decoded"):
        ImageSet(path)[0]


def test_png_bytes_carry_no_date_or_name():
    with Image.open(io.BytesIO(encode_png(pictures(1)[0]))) as image:
        assert image.info == {}
