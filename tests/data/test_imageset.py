import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.data.imageset import (
    ImageSet,
    Legend,
    encode_mask,
    encode_png,
    made_sets,
    not_made,
    write_image_set,
    write_not_made,
)

RNG = np.random.default_rng(0)


def row(name, label="a", **more):
    return {"image": f"{name}.png", "label": label, "patient": f"p{name}"} | more


def pictures(count, shape=(6, 5)):
    return [RNG.integers(0, 256, shape, dtype=np.uint8) for _ in range(count)]


def binary(pixels):
    return np.where(pixels > 99, 255, 0)


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
    made = [(row(n), pixels, binary(pixels)) for n, pixels in zip("cab", pictures(3), strict=True)]
    write_image_set(tmp_path / "one.zip", made)
    write_image_set(tmp_path / "two.zip", made[::-1])
    assert ImageSet(tmp_path / "one.zip").column("image") == ["a.png", "b.png", "c.png"]
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_entries_write_the_same_set_again(tmp_path):
    made = pictures(4)
    write_image_set(tmp_path / "one.zip", [(row(n), pixels, binary(pixels)) for n, pixels in enumerate(made)])
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
        (HEAD + "a.png,x,,Doe, J,,\n", r"manifest\.csv, line 2: not as many cells as columns; .* in quotes"),
        (HEAD + "a.png,x,,p\n", r"manifest\.csv, line 2: not as many cells as columns"),
    ],
)
def test_broken_manifests_are_named(tmp_path, text, message):
    with pytest.raises(InputError, match=r"set\.zip.*" + message):
        ImageSet(by_hand(tmp_path / "set.zip", text, {"images/a.png": encode_png(pictures(1)[0])}))


def test_a_manifest_of_a_spreadsheet_begins_with_a_mark_and_is_read(tmp_path):
    content = {"images/a.png": encode_png(pictures(1)[0])}
    images = ImageSet(by_hand(tmp_path / "set.zip", "\ufeff" + HEAD + "a.png,x,,p,,\n", content))
    assert images.column("image") == ["a.png"]


def patched(path, at, value):
    """The archive with the two bytes `at` of every entry of its directory set to `value`."""
    content, entry = bytearray(path.read_bytes()), 0
    while (entry := content.find(b"PK\x01\x02", entry + 1)) > 0:
        content[entry + at : entry + at + 2] = struct.pack("<H", value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("at", "value", "said"), [(8, 1, "encrypted, password required"), (10, 99, "compression")])
def test_archives_with_a_password_or_of_an_unknown_method_are_named(tmp_path, at, value, said):
    path = by_hand(tmp_path / "set.zip", HEAD + "a.png,x,,p,,\n", {"images/a.png": encode_png(pictures(1)[0])})
    opened = ImageSet(path)
    patched(path, at, value)
    with pytest.raises(InputError, match=rf"set\.zip: not a readable zip file \(.*{said}"):
        ImageSet(path)
    with pytest.raises(InputError, match=rf"set\.zip: images/a\.png cannot be decoded \(.*{said}"):
        opened[0]


def huge_png():
    def chunk(kind, data):
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">LLBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def test_what_is_no_image_set_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.zip: no such file"):
        ImageSet(tmp_path / "none.zip")
    (tmp_path / "text.zip").write_text("x")
    with pytest.raises(InputError, match=r"text\.zip: not a readable zip"):
        ImageSet(tmp_path / "text.zip")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("x", "y")
    with pytest.raises(InputError, match=r"empty\.zip: no manifest\.csv"):
        ImageSet(tmp_path / "empty.zip")


@pytest.mark.parametrize(
    "content", [b"no image", encode_png(RNG.integers(0, 256, (64, 64), dtype=np.uint8))[:900], huge_png()]
)
def test_an_image_that_cannot_be_decoded_is_named(tmp_path, content):
    path = by_hand(tmp_path / "set.zip", HEAD + "a.png,x,,p,,\n", {"images/a.png": content})
    with pytest.raises(InputError, match=r"set\.zip: images/a\.png cannot be decoded"):
        ImageSet(path)[0]


def test_png_bytes_carry_no_date_or_name():
    with Image.open(io.BytesIO(encode_png(pictures(1)[0]))) as image:
        assert image.info == {}


# ---------------------------------------------------------------------------------------------- masks and channels
NUCLEI = Legend(masks="instances", classes={"nucleus": 1, "podocyte": 10001})
ORGANS = Legend(channels=("image", "lung"), classes={"lung": 1, "heart": 2})


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_a_set_without_names_has_no_legend_and_the_bytes_it_always_had(tmp_path):
    pixels = np.arange(30, dtype=np.uint8).reshape(6, 5)
    write_image_set(tmp_path / "set.zip", [(row("a"), pixels, binary(pixels * 8))])
    assert sorted(members(tmp_path / "set.zip")) == ["images/a.png", "manifest.csv", "masks/a.png"]
    assert ImageSet(tmp_path / "set.zip").legend == Legend()
    assert members(tmp_path / "set.zip")["masks/a.png"] == encode_png(np.uint8(binary(pixels * 8)))


def test_instances_beyond_255_are_read_as_they_are(tmp_path):
    few, many = np.zeros((6, 5), np.uint16), np.zeros((6, 5), np.int64)
    few[2:4, 1:3], many[0, :2], many[5, 4] = 3, (300, 10003), 65535
    rows = [(row("a"), pictures(1)[0], few), (row("b"), pictures(1)[0], many)]
    write_image_set(tmp_path / "set.zip", rows, NUCLEI)
    images = ImageSet(tmp_path / "set.zip")
    assert images.legend == NUCLEI
    assert np.array_equal(images.masks, [few, many])
    assert [mask.dtype for *_, mask in images.entries()] == [np.uint8, np.uint16]  # as few bits as the values need
    write_image_set(tmp_path / "again.zip", images.entries(), images.legend)
    assert (tmp_path / "set.zip").read_bytes() == (tmp_path / "again.zip").read_bytes()


def test_channels_are_named_grey_files(tmp_path):
    pixels, mask = RNG.integers(0, 256, (6, 5, 2), np.uint8), np.repeat([[0], [1], [2]], 5, 1).repeat(2, 0)
    write_image_set(tmp_path / "set.zip", [(row("a"), pixels, mask)], ORGANS)
    files = members(tmp_path / "set.zip")
    assert sorted(files) == ["images/image/a.png", "images/lung/a.png", "manifest.csv", "masks/a.png", "set.json"]
    with Image.open(io.BytesIO(files["images/lung/a.png"])) as lung:
        assert np.array_equal(lung, pixels[:, :, 1])
    images = ImageSet(tmp_path / "set.zip")
    assert images.legend == ORGANS
    assert np.array_equal(images[0], pixels)
    assert np.array_equal(images.pixels[0], pixels)
    assert np.array_equal(images.masks[0], mask)
    assert images.legend.dump() == files["set.json"]


@pytest.mark.parametrize(
    ("legend", "message"),
    [
        ({"channels": ()}, "each needs a name of its own"),
        ({"channels": ("a", "a")}, "each needs a name of its own"),
        ({"channels": ("../a",)}, "of letters, digits"),
        ({"classes": {}}, "values must ascend, from 1"),
        ({"classes": {"a": 0}}, "values must ascend, from 1"),
        ({"classes": {"a": 2, "b": 1}}, "values must ascend"),
        ({"classes": {"a": 1, "b": 1}}, "values must ascend"),
        ({"classes": {"a": 65536}}, "to 65535"),
        ({"masks": "boxes"}, "'semantic' or 'instances'"),
    ],
)
def test_a_legend_that_cannot_be_used_is_refused(legend, message):
    with pytest.raises(InputError, match=message):
        Legend(**legend)


@pytest.mark.parametrize(
    ("mask", "legend", "message"),
    [
        (np.full((6, 5), 7), Legend(), r"set\.zip: image 'a\.png': a mask with the value 7; the classes are .*255"),
        (np.full((6, 5), 1), Legend(masks="instances", classes={"nucleus": 2}), "the value 1; the classes are"),
        (np.full((6, 5), -1), NUCLEI, "values from -1"),
        (np.full((6, 5), 65536), NUCLEI, "to 65536"),
        (np.full((5, 6), 255), Legend(), "its mask is 5×6 pixels, the image 6×5"),
    ],
)
def test_masks_that_do_not_fit_are_refused(tmp_path, mask, legend, message):
    with pytest.raises(InputError, match=message):
        write_image_set(tmp_path / "set.zip", [(row("a"), pictures(1)[0], mask)], legend)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("pixels", [np.zeros((6, 5), np.uint8), np.zeros((6, 5, 3), np.uint8), b"png"])
def test_other_channels_than_the_legend_names_are_refused(tmp_path, pixels):
    with pytest.raises(TypeError, match=r"channels \['image', 'lung'\] are arrays"):
        write_image_set(tmp_path / "set.zip", [(row("a"), pixels)], ORGANS)
    with pytest.raises(TypeError, match="label map"):
        encode_mask(np.zeros((6, 5, 1), np.uint8), ORGANS)
    with pytest.raises(TypeError, match="float"):
        encode_mask(np.zeros((6, 5)), ORGANS)


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"images/image/a.png": np.zeros((6, 5), np.uint8)}, r"'a\.png', .*archive \(images/lung/a\.png\)"),
        ({"images/lung/a.png": np.zeros((6, 4), np.uint8)}, r"channels of 'a\.png' have different sizes"),
        ({"images/lung/a.png": np.zeros((6, 5, 3), np.uint8)}, r"images/lung/a\.png has the mode RGB, not L"),
        ({"masks/a.png": np.zeros((6, 5, 3), np.uint8)}, r"masks/a\.png has the mode RGB, not L or I;16"),
        ({"masks/a.png": np.full((6, 5), 3, np.uint8)}, r"mask of 'a\.png' has the value 3; the classes are"),
        ({"masks/a.png": np.ones((6, 4), np.uint8)}, r"mask of 'a\.png' has 6×4 pixels, the image 6×5"),
        ({"set.json": b"{"}, r"set\.json cannot be used"),
        ({"set.json": b'{"chanels": ["a"]}'}, r"set\.json cannot be used \(unknown key 'chanels'\)"),
        ({"set.json": b'{"masks": {"semantic": {"a": 0}}}'}, r"set\.json cannot be used \(classes of the masks"),
    ],
)
def test_a_set_by_hand_that_does_not_fit_its_legend_is_named(tmp_path, files, message):
    grey = np.zeros((6, 5), np.uint8)
    whole = {"images/image/a.png": grey, "images/lung/a.png": grey, "masks/a.png": grey, "set.json": ORGANS.dump()}
    if list(files) == ["images/image/a.png"]:
        del whole["images/lung/a.png"]
    content = {name: one if isinstance(one, bytes) else png(one) for name, one in (whole | files).items()}
    path = by_hand(tmp_path / "set.zip", HEAD + "a.png,x,a.png,p,,\n", content)
    with pytest.raises(InputError, match=r"set\.zip: .*" + message):
        list(ImageSet(path).entries())


def test_a_set_that_could_not_be_made_says_why_and_holds_no_image(tmp_path):
    sets = [tmp_path / "made.zip", tmp_path / "not.zip"]
    write_image_set(sets[0], [(row(1), pictures(1)[0])])
    write_not_made(sets[1], "2 of 5 images, “3” were asked for")
    assert made_sets(["a", "b"], sets) == ({"a": sets[0]}, {"b": "2 of 5 images, “3” were asked for"})
    with pytest.raises(InputError, match="could not be made and holds no image: 2 of 5 images, “3” were asked for"):
        ImageSet(sets[1])
    content = sets[1].read_bytes()
    write_not_made(sets[1], "2 of 5 images, “3” were asked for")
    assert sets[1].read_bytes() == content
    with pytest.raises(InputError, match="not a readable zip file"):
        not_made(__file__)
    with pytest.raises(InputError, match="no such file"):
        not_made(tmp_path / "none.zip")


def test_an_image_of_another_mode_is_refused(tmp_path):
    path = by_hand(tmp_path / "set.zip", HEAD + "a.png,x,,p,,\n", {"images/a.png": png(np.zeros((4, 4, 4), np.uint8))})
    with pytest.raises(InputError, match=r"images/a\.png has the mode RGBA, not L or RGB"):
        ImageSet(path)[0]
