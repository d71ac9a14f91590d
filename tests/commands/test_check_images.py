import io
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from synthmed.commands.check_images import check
from synthmed.core.errors import InputError
from synthmed.data.imageset import ImageSet, Legend, write_image_set

HEAD = "image,label,mask,patient,split,source"


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


GREY = png(np.arange(64, dtype=np.uint8).reshape(8, 8))
EMPTY = np.zeros((8, 8), np.uint8)
SMALL = png(EMPTY[:, :5])
CHANNELS = {"set.json": b'{"channels": ["m", "n"]}', "images/m/a.png": GREY, "images/n/a.png": GREY}
LACKING = "images/n/b.png: named in the manifest, not in the archive"
UNEQUAL = "b.png: channels of different sizes: 8×8, 5×8"


def made_by_hand(path, lines, files):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("manifest.csv", "\n".join([HEAD, *lines]) + "\n")
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_a_sound_set_has_no_problem(tmp_path):
    rows = [
        (
            {"image": f"{n}.png", "label": "ab"[n % 2], "patient": f"p{n}"},
            np.full((9, 9, 2), n, np.uint8),
            np.full((9, 9), n),
        )
        for n in range(4)
    ]
    write_image_set(tmp_path / "set.zip", rows, Legend(("a", "b"), "instances", {"cell": 1}))
    assert check(tmp_path / "set.zip") == []


def seen(tmp_path, **images):
    """Problems of a set of these images, and of a good one."""
    files = {f"images/{name}.png": png(pixels) for name, pixels in images.items()}
    rows = [f"{name}.png,a,,{name},," for name in images] + ["good.png,b,,good,,"]
    good = png(np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8))
    return check(made_by_hand(tmp_path / "set.zip", rows, files | {"images/good.png": good}))


RAMP = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)


def test_images_on_which_nothing_is_seen_are_told(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    dark = RAMP // 8  # 0 … 15: a 12-bit film divided by 16 too often
    dark[5, 5] = 255
    problems = seen(tmp_path, flat=np.full((64, 64), 90, np.uint8), dark=dark, light=255 - RAMP // 8, noise=noise)
    assert problems[:4] == [
        "1 images are almost black, 99 % of their pixels are at most 16 of 255, e.g. images/dark.png",
        "1 images are almost white, 99 % of their pixels are at least 239 of 255, e.g. images/light.png",
        "1 images are constant, every pixel has the same value, e.g. images/flat.png",
        "1 images are noise, neighbouring pixels have nothing to do with each other, e.g. images/noise.png",
    ]


def test_faint_and_rough_images_are_images(tmp_path):
    rng = np.random.default_rng(0)
    stripes = np.tile(rng.integers(0, 256, (64, 1), dtype=np.uint8), (1, 64))  # neighbours across differ, along agree
    rough = (RAMP + rng.normal(0, 20, (64, 64))).clip(0, 255).astype(np.uint8)
    assert seen(tmp_path, faint=RAMP // 4, stripes=stripes, rough=rough, small=RAMP[:4, :4] * 40) == [
        "images of different shapes: 64×64 L (4), 4×4 L (1)"
    ]


def test_every_problem_is_listed(tmp_path):
    alpha, deep = np.zeros((8, 8, 4), np.uint8), np.zeros((8, 8), np.uint16)
    palette = io.BytesIO()
    Image.new("P", (8, 8)).save(palette, "PNG")
    path = made_by_hand(
        tmp_path / "set.zip",
        [
            "good.png,a,,p1,train,",
            "cut.png,a,,p2,train,",
            "text.png,b,,p3,train,",
            "gone.png,b,,p4,train,",
            "twice.png,b,,p5,train,",
            "twice.png,b,,p5,train,",
            "alpha.png,b,,p6,train,",
            "deep.png,b,,p7,train,",
            "palette.png,b,,p8,train,",
            "nolabel.png,,,p9,train,",
            "nobody.png,a,,,train,",
            "moved.png,a,,p1,test,",
            "masked.png,a,masked.png,p10,train,",
            "lost.png,a,lost.png,p11,train,",
            "dot.png,a,,p12,train,",
            "short.png,a",
            "odd.png,a,odd.png,p13,train,",
            "colour.png,a,colour.png,p14,train,",
        ],
        {
            **{
                f"images/{n}.png": GREY
                for n in (
                    "good",
                    "twice",
                    "nolabel",
                    "nobody",
                    "moved",
                    "masked",
                    "lost",
                    "short",
                    "extra",
                    "odd",
                    "colour",
                )
            },
            "images/cut.png": png(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8))[:500],
            "images/text.png": b"hello",
            "images/alpha.png": png(alpha),
            "images/deep.png": png(deep),
            "images/palette.png": palette.getvalue(),
            "images/dot.png": png(np.zeros((1, 1), np.uint8)),
            "masks/masked.png": png(np.zeros((4, 4), np.uint8)),
            "masks/odd.png": png(np.full((8, 8), 7, np.uint16)),
            "masks/colour.png": png(np.zeros((8, 8, 3), np.uint8)),
        },
    )
    problems = "\n".join(check(path))
    for expected in (
        "images/cut.png: cannot be decoded",
        "images/text.png: not an image",
        "images/gone.png: named in the manifest, not in the archive",
        "twice.png: 2 rows of the manifest",
        "images/alpha.png: mode RGBA",
        "images/deep.png: mode I;16",
        "images/palette.png: mode P",
        "line 11: no label",
        "line 12: no patient",
        "line 17: not as many cells",
        "patient 'p1' is in several parts of the split: ['test', 'train']",
        "masks/masked.png: 4×4 pixels, its image 8×8",
        "masks/lost.png: named in the manifest, not in the archive",
        "masks/odd.png: the value 7, which is no class",
        "masks/colour.png: mode RGB, not L or I;16",
        "images/dot.png: 1×1 pixels",
        "images/extra.png: in the archive, not in the manifest",
        "images of different shapes:",
    ):
        assert expected in problems
    assert "good.png" not in problems


@pytest.mark.parametrize(
    ("lines", "files", "problem"),
    [
        (["a.png,x,,p,,"], {"images/a.png": GREY}, "only one label, 'x'"),
        ([], {}, "manifest.csv: no row"),
        (["a.png,x,a.png,p,,"], {"images/a.png": GREY, "masks/a.png": png(EMPTY)}, "all masks are empty"),
        (["a.png,x,,p,,", "b.png,y,,p2,,"], {**CHANNELS, "images/m/b.png": GREY}, LACKING),
        (["a.png,x,,p,,", "b.png,y,,p2,,"], {**CHANNELS, "images/m/b.png": GREY, "images/n/b.png": SMALL}, UNEQUAL),
    ],
)
def test_sets_that_are_poor(tmp_path, lines, files, problem):
    assert check(made_by_hand(tmp_path / "set.zip", lines, files)) == [problem]


def pairs(tmp_path, *masks, legend='{"masks": {"semantic": {"lung": 1, "heart": 2}}}'):
    """Problems of a set of one label with these masks; None: without."""
    lines = [f"{n}.png,x,{'' if mask is None else f'{n}.png'},p{n},," for n, mask in enumerate(masks)]
    files = {f"images/{n}.png": GREY for n in range(len(masks))} | {"set.json": legend.encode()}
    files |= {f"masks/{n}.png": png(mask) for n, mask in enumerate(masks) if mask is not None}
    return check(made_by_hand(tmp_path / "set.zip", lines, files))


def test_images_without_a_mask_beside_others_are_told(tmp_path):
    mask = EMPTY + np.eye(8, dtype=np.uint8) + np.tri(8, dtype=np.uint8)
    assert pairs(tmp_path, mask, mask) == []
    assert pairs(tmp_path, mask, None, mask) == ["1.png: no mask, the other 2 have one"]
    assert pairs(tmp_path, mask, None, None) == ["2 images have no mask, e.g. 1.png; the other 1 have one"]


def test_a_class_that_no_mask_marks_is_told(tmp_path):
    lung = np.tri(8, dtype=np.uint8)
    assert pairs(tmp_path, lung, lung) == ["no mask marks 'heart'"]
    assert pairs(tmp_path, lung, EMPTY, 2 * lung) == []


def test_a_legend_that_cannot_be_read_is_told(tmp_path):
    lines = ["a.png,x,,p,,", "b.png,y,,q,,"]
    path = made_by_hand(tmp_path / "set.zip", lines, {"images/a.png": GREY, "images/b.png": GREY, "set.json": b"[]"})
    (problem,) = check(path)
    assert "set.json cannot be used" in problem


def test_files_that_are_no_image_set(tmp_path):
    (tmp_path / "text.zip").write_text("hello")
    assert "not a readable zip" in check(tmp_path / "text.zip")[0]
    assert "no such file" in check(tmp_path / "none.zip")[0]
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("x", "y")
    assert check(tmp_path / "other.zip") == ["no manifest.csv inside"]
    with zipfile.ZipFile(tmp_path / "columns.zip", "w") as archive:
        archive.writestr("manifest.csv", "image,label\na.png,x\n")
    assert check(tmp_path / "columns.zip") == ["manifest.csv: no column mask, patient, split, source"]


def test_a_manifest_of_a_spreadsheet_begins_with_a_mark_and_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("manifest.csv", f"\ufeff{HEAD}\na.png,a,,p,,\nb.png,b,,q,,\n")
        archive.writestr("images/a.png", GREY)
        archive.writestr("images/b.png", GREY)
    assert check(tmp_path / "set.zip") == []


def test_folders_and_what_systems_add_to_archives_are_no_fault(tmp_path):
    files = {"images/a.png": GREY, "images/b.png": GREY, "images/": b"", "masks/": b""}
    files |= {"__MACOSX/images/._a.png": b"x", "images/.DS_Store": b"x"}
    assert check(made_by_hand(tmp_path / "set.zip", ["a.png,a,,p,,", "b.png,b,,q,,"], files)) == []


def test_names_that_the_preparation_changes_are_no_fault(tmp_path):
    files = {"images/fake 1.png": GREY, "images/张敏.png": GREY}
    assert check(made_by_hand(tmp_path / "set.zip", ["fake 1.png,a,,p,,", "张敏.png,b,,q,,"], files)) == []


def test_a_quote_that_is_not_closed_is_told(tmp_path):
    files = {"images/a.png": GREY, "images/b.png": GREY}
    (problem,) = check(made_by_hand(tmp_path / "set.zip", ['a.png,a,,p,,"x', "b.png,b,,q,,"], files))
    assert problem == "manifest.csv: cannot be read (unexpected end of data)"


@pytest.mark.parametrize(("at", "value", "said"), [(8, 1, "encrypted, password required"), (10, 99, "compression")])
@pytest.mark.parametrize("which", ["manifest.csv", "images/a.png"])
def test_archives_with_a_password_or_of_an_unknown_method_are_told(tmp_path, at, value, said, which):
    lines = ["a.png,a,,p,,", "b.png,b,,q,,"]
    path = made_by_hand(tmp_path / "set.zip", lines, {"images/a.png": GREY, "images/b.png": GREY})
    content = bytearray(path.read_bytes())
    entry = content.rindex(which.encode()) - 46  # in the directory, behind the entry's 46 fixed bytes
    assert content[entry : entry + 4] == b"PK\x01\x02"
    content[entry + at : entry + at + 2] = struct.pack("<H", value)
    path.write_bytes(content)
    (problem,) = check(path)
    assert problem.startswith(f"{which}: cannot be ")
    assert said in problem


def test_an_image_that_would_fill_memory_is_told(tmp_path):
    header = b"IHDR" + struct.pack(">LLBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    huge = b"\x89PNG\r\n\x1a\n" + struct.pack(">L", 13) + header + struct.pack(">L", zlib.crc32(header))
    huge += bytes(4) + b"IDAT" + struct.pack(">L", zlib.crc32(b"IDAT"))
    files = {"images/a.png": huge, "images/b.png": GREY}
    (problem,) = check(made_by_hand(tmp_path / "set.zip", ["a.png,a,,p,,", "b.png,b,,q,,"], files))
    assert problem.startswith("images/a.png: cannot be decoded (Image size (3600000000 pixels) exceeds limit")


def test_what_the_check_lists_stops_the_reader_where_it_would_mislead(tmp_path):
    unquoted = ["a.png,a,,Doe, J,,"]
    for lines in (["gone.png,a,,p,,"], ["a.png,a,,p,,", "a.png,b,,p,,"], ["a.png,a,gone.png,p,,"], unquoted):
        path = made_by_hand(tmp_path / "set.zip", lines, {"images/a.png": GREY})
        assert check(path)
        with pytest.raises(InputError, match=r"set\.zip"):
            ImageSet(path)
