"""What people bring as pairs of nuclei: read as it is meant, or refused by name and reason before any training."""

import io

import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.core.settings import parse
from synthmed.data.fetch import FetchSettings, fetch
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.data.split import SplitSettings, split
from synthmed.prepare.images import PrepareSettings, prepare

SIDE = 48


def picture(seed):
    rng = np.random.default_rng(seed)
    return np.clip(rng.normal([200, 120, 180], 25, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


def nuclei(number=3, dtype=np.uint16, first=1):
    """A map of some squares, numbered from `first`."""
    mask = np.zeros((SIDE, SIDE), dtype)
    for one in range(number):
        mask[4 + 14 * one : 12 + 14 * one, 6:20] = first + one
    return mask


def saved(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(path, **options)


@pytest.fixture
def folder(tmp_path):
    """Eight sound pairs of four slides, and their table."""
    for number in range(8):
        saved(tmp_path / "pairs" / "images" / f"{number}.png", picture(number))
        saved(tmp_path / "pairs" / "masks" / f"{number}.png", nuclei())
    return tmp_path / "pairs"


def prepared(folder, classes=None, ending="png", without=None):
    """The image set of the folder, as the experiment nuclei prepares it."""
    masks = [f"masks/{number}.{ending}" if number != without else "" for number in range(8)]
    rows = [f"images/{number}.png,{masks[number]},stained,{number // 2}" for number in range(8)]
    (folder / "index.csv").write_text("\n".join(["image,mask,label,slide", *rows]) + "\n")
    table = {"name": "index.csv", "file": "image", "label": "label", "patient": "slide", "mask": "mask"}
    options = {"path": str(folder), "name": "mine", "patient_pattern": None}
    options["csv"] = table | {"split": None, "keep": []}
    raw, out = folder.parent / "folder.zip", folder.parent / "images.zip"
    fetch(FetchSettings("folder", "folder", options), raw=[raw])
    masks = {"kind": "instances", "classes": classes or {"nucleus": 1}, "required": True}
    settings = {"source": "folder", "labels": {"stained": "nuclei"}, "size": [32, 32], "channels": 3, "prefix": ""}
    settings |= {"crop_black_borders": False, "resample": "lanczos", "masks": masks, "min_size": 32, "workers": 1}
    settings |= {"max_rejects": 0.0, "synthetic": None}
    prepare(parse(PrepareSettings, settings), raw=[raw], images=out, rejects=folder.parent / "rejects.csv")
    return ImageSet(out)


# ------------------------------------------------------------------------------------------------- read as it is meant
def counts(images):
    return [len(np.unique(mask[mask > 0])) for mask in images.masks]


def test_deep_maps_keep_every_nucleus_apart(folder):
    saved(folder / "masks" / "0.png", nuclei(first=40_000))
    assert counts(prepared(folder)) == [3] * 8


def test_of_a_map_in_three_equal_channels_the_numbers_are_kept(folder):
    saved(folder / "masks" / "0.png", np.dstack([nuclei(dtype=np.uint8)] * 3))
    assert counts(prepared(folder)) == [3] * 8


# ------------------------------------------------------------------------------------------------------------ refused
def coloured(folder):
    channels = nuclei(dtype=np.uint8) * 60, nuclei(dtype=np.uint8), picture(0)[..., 0]
    saved(folder / "masks" / "3.png", np.dstack(channels))


def palette(folder):
    image = Image.new("P", (SIDE, SIDE))
    image.putdata(nuclei(dtype=np.uint8).ravel().tolist())
    image.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0, 0, 0, 255] + [0] * 756)
    image.save(folder / "masks" / "3.png")


def other_size(folder):
    saved(folder / "masks" / "3.png", nuclei()[:, :-4])


def fractions(folder):
    saved(folder / "masks" / "3.tif", nuclei().astype(np.float32) + 0.5)
    (folder / "masks" / "3.tif").rename(folder / "masks" / "3.png")


def torn(folder):
    content = (folder / "masks" / "3.png").read_bytes()
    (folder / "masks" / "3.png").write_bytes(content[: len(content) // 2])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            coloured,
            r"images/3\.png: its mask: \d+ colours, where a value .* expected; write a grey PNG with the values",
        ),
        (palette, r"images/3\.png: its mask: 4 colours of a palette, .*; its indices are 0, 1, 2, 3: save them"),
        (other_size, r"images/3\.png: its mask has 44×48 pixels, the image 48×48"),
        (fractions, r"images/3\.png: its mask: fractions or NaN, where whole numbers are expected"),
        (torn, r"images/3\.png: its mask: truncated or damaged"),
    ],
)
def test_a_mask_that_cannot_be_used_is_named_with_the_reason(folder, fault, said):
    fault(folder)
    with pytest.raises(InputError, match=said):
        prepared(folder)


def test_jpegs_have_values_between(folder):
    for number in range(8):
        buffer = io.BytesIO()
        Image.fromarray(nuclei(dtype=np.uint8)).save(buffer, "JPEG")
        (folder / "masks" / f"{number}.jpg").write_bytes(buffer.getvalue())
        (folder / "masks" / f"{number}.png").unlink()
    with pytest.raises(InputError, match=r"its mask: a JPEG, which changes values; export the mask anew as PNG"):
        prepared(folder, ending="jpg")


def test_an_image_without_its_mask(folder):
    (folder / "masks" / "3.png").unlink()
    with pytest.raises(InputError, match=r"line 5: .*masks/3\.png does not exist$"):
        prepared(folder)


def test_a_mask_without_its_image(folder):
    (folder / "images" / "3.png").unlink()
    with pytest.raises(InputError, match=r"line 5: .*images/3\.png does not exist$"):
        prepared(folder)


def test_a_mask_of_another_name_is_offered(folder):
    (folder / "masks" / "3.png").rename(folder / "masks" / "3.PNG")
    with pytest.raises(InputError, match=r"line 5: .*masks/3\.png does not exist; is 'masks/3\.PNG' meant"):
        prepared(folder)


def test_masks_of_yes_and_no_as_instances(folder):
    for number in range(8):
        saved(folder / "masks" / f"{number}.png", np.where(nuclei(), np.uint8(255), np.uint8(0)))
    with pytest.raises(InputError, match=r"8 of 8 masks of objects have one value in several parts"):
        prepared(folder)


def test_a_class_that_no_mask_shows(folder):
    said = r"no mask marks 'podocyte' at 32×32 pixels, of 8 \('nucleus' in 8\); look at the values"
    with pytest.raises(InputError, match=said):
        prepared(folder, classes={"nucleus": 1, "podocyte": 1001})


def test_an_image_without_a_mask_in_the_table(folder):
    (folder / "masks" / "3.png").unlink()
    with pytest.raises(InputError, match=r"1 of 8 images have no mask, the first is 'images/3\.png'; where"):
        prepared(folder, without=3)


def test_masks_that_are_all_empty(folder):
    for number in range(8):
        saved(folder / "masks" / f"{number}.png", nuclei(0))
    with pytest.raises(InputError, match=r"all 8 masks are empty; look at their files"):
        prepared(folder)


def test_an_unknown_class_below_the_first(folder):
    with pytest.raises(InputError, match=r"its mask: the value 1, which setting masks\.classes does not name"):
        prepared(folder, classes={"nucleus": 100})


def test_patches_of_one_slide_in_two_parts(folder):
    images = prepared(folder)
    parts = ("train", "validation", "test")
    rows = [(row | {"split": parts[place % 3]}, *rest) for place, (row, *rest) in enumerate(images.entries())]
    write_image_set(folder.parent / "parts.zip", rows, images.legend)
    settings = {"by": "column", "validation": None, "test": None, "seed": 1, "near_duplicate_bits": 10}
    settings |= {
        "near_duplicate_correlation": 0.98,
        "on_near_duplicates": "report",
        "most": None,
        "of_each_patient": None,
    }
    out = {name: folder.parent / f"{name}.zip" for name in parts} | {"report": folder.parent / "split.json"}
    with pytest.raises(InputError, match=r"patient '0' is in train and in validation; use by: patient"):
        split(parse(SplitSettings, settings), images=folder.parent / "parts.zip", **out)
