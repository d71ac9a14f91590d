"""Pictures of more than 8 bits: every kind is read with all its bits, and its range is that of the picture."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from synthmed.prepare.common import Rejected, decode

SIDE = 40
GREY = (np.add.outer(np.arange(SIDE), np.arange(SIDE)) * 50).astype(np.uint16)  # 0 … 3900: 12 bits
COLOUR = np.stack([GREY, GREY // 2, 3900 - GREY], axis=2)


def by_ranks(values, low, high):
    return np.rint(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def png(pixels):
    """A PNG of 16 bits, as Pillow cannot write it: (H, W, C) grey, grey with alpha, RGB or RGBA."""

    def chunk(kind, data):
        return struct.pack(">L", len(data)) + kind + data + struct.pack(">L", zlib.crc32(kind + data))

    height, width, samples = pixels.shape
    header = struct.pack(">LLBBBBB", width, height, 16, {1: 0, 2: 4, 3: 2, 4: 6}[samples], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff(pixels, order="<", planar=False, deflated=False, **more):
    """A TIFF of one page and one strip a plane. pixels: (H, W, C); more: further tags by number, of one short or a
    list."""
    height, width, samples = pixels.shape
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    stored = pixels.astype(pixels.dtype.newbyteorder(order))
    strips = [plane.tobytes() for plane in np.moveaxis(stored, 2, 0)] if planar else [stored.tobytes()]
    strips = [zlib.compress(strip) if deflated else strip for strip in strips]
    tags = {256: [width], 257: [height], 258: [8 * pixels.itemsize] * samples, 259: [8 if deflated else 1]}
    tags |= {262: [2 if samples > 2 else 1], 277: [samples], 278: [height], 284: [2 if planar else 1]}
    more = {int(tag.removeprefix("tag_")): value if isinstance(value, list) else [value] for tag, value in more.items()}
    tags |= {339: [kind] * samples, **more}
    starts = np.cumsum([8, *map(len, strips)]).tolist()
    tags |= {273: starts[:-1], 279: [len(strip) for strip in strips]}
    at = starts[-1] + 2 + 12 * len(tags) + 4
    entries, behind = b"", b""
    for tag, values in sorted(tags.items()):
        data = struct.pack(f"{order}{len(values)}L", *values)
        entries += struct.pack(f"{order}HHL", tag, 4, len(values))
        entries += data if len(values) == 1 else struct.pack(f"{order}L", at + len(behind))
        behind += data if len(values) > 1 else b""
    start = {"<": b"II", ">": b"MM"}[order] + struct.pack(f"{order}HL", 42, starts[-1])
    return start + b"".join(strips) + struct.pack(f"{order}H", len(tags)) + entries + bytes(4) + behind


# --------------------------------------------------------------------------------------------------- all of the bits
@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("kind", ["u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_a_tiff_of_any_number_order_and_plane_has_all_its_bits(kind, order, planar, deflated):
    colour = (COLOUR - 2000.0 if kind[0] == "i" else COLOUR).astype(kind)
    content = tiff(colour, order, planar, deflated)
    low, high = np.percentile(colour.astype(float), [1, 99], method="inverted_cdf")
    assert np.array_equal(decode(content, 3), by_ranks(colour, low, high))
    grey = tiff(colour[:, :, :1], order, planar, deflated)
    assert abs(int(decode(grey, 1)[20, 19]) - 128) <= 4


@pytest.mark.parametrize("order", "<>")
def test_unsigned_numbers_of_32_bits_are_not_read_as_negative(order):
    values = GREY.astype(np.uint32)[:, :, None] * 1_000_000  # up to 3.9e9
    assert np.array_equal(decode(tiff(values, order), 1), decode(tiff(values.astype(float), order), 1))


def test_a_colour_png_of_16_bits_keeps_the_low_bytes():
    low, high = np.percentile(COLOUR, [1, 99], method="inverted_cdf")
    assert np.array_equal(decode(png(COLOUR), 3), by_ranks(COLOUR, low, high))


def test_alpha_of_16_bits_is_laid_on_black_and_is_no_part_of_the_range():
    alpha = np.full((SIDE, SIDE, 1), 65535, np.uint16)
    alpha[:5] = 0
    for colour, channels in ((COLOUR, 3), (COLOUR[:, :, :1], 1)):
        found = decode(png(np.concatenate([colour, alpha], axis=2)), channels)
        whole = decode(png(colour), channels)
        assert np.array_equal(found[5:], whole[5:])
        assert not found[:5].any()


@pytest.mark.parametrize(("kind", "opaque"), [("u2", 2**16 - 1), ("i2", 2**15 - 1), ("u4", 2**32 - 1), ("f4", 1.0)])
@pytest.mark.parametrize("tags", [{}, {"tag_338": 2}])
def test_alpha_of_a_tiff_is_a_share_of_what_its_numbers_can_be(kind, opaque, tags):
    alpha = np.full((SIDE, SIDE, 1), opaque).astype(kind)
    alpha[:5], alpha[5:9] = 0, opaque / 2
    colour = (COLOUR / 3900 if kind == "f4" else COLOUR).astype(kind)
    found = decode(tiff(np.concatenate([colour, alpha], axis=2), **tags), 3)
    whole = decode(tiff(colour), 3)
    assert np.array_equal(found[9:], whole[9:])
    assert not found[:5].any()
    assert np.abs(found[5:9] - whole[5:9] / 2).max() <= 1.5


def test_grey_with_alpha_of_floating_point_numbers():
    grey = (GREY / 3900)[:, :, None].astype("f8")
    found = decode(tiff(np.concatenate([grey, np.ones_like(grey)], axis=2), tag_338=2), 1)
    assert np.array_equal(found, decode(tiff(grey), 1))


@pytest.mark.parametrize("kind", ["u1", "u2", "f4"])
@pytest.mark.parametrize(
    ("stains", "tags"),
    [
        (2, {}),
        (2, {"tag_338": 0}),
        (3, {"tag_262": 1}),
        (4, {"tag_262": 1}),
        (4, {"tag_262": 1, "tag_338": [0, 0, 0]}),
        (5, {"tag_262": 1, "tag_338": [0, 0, 0, 0]}),
        (5, {"tag_338": [0, 2]}),
    ],
)
def test_stains_are_not_taken_for_alpha(kind, stains, tags):
    pixels = np.dstack([GREY + 40 * number for number in range(stains)]) // (16 if kind == "u1" else 1)
    with pytest.raises(Rejected, match=f"{stains} channels that are no grey or RGB with alpha; save one of them, or"):
        decode(tiff(pixels.astype(kind), **tags), 1)


@pytest.mark.parametrize("order", "<>")
def test_inks_of_16_bits_are_those_of_8_bits(order):
    inks = np.dstack([COLOUR * 16, np.zeros_like(GREY)])  # no black ink, which must not be taken for alpha
    buffer = io.BytesIO()
    Image.fromarray((inks >> 8).astype(np.uint8), "CMYK").save(buffer, "TIFF")
    found = decode(tiff(inks, order, tag_262=5), 3)
    assert np.array_equal(found, decode(buffer.getvalue(), 3))
    assert found.mean() > 100


def test_planes_of_8_bits_are_not_touched():
    colour = (COLOUR // 16).astype(np.uint8)
    assert np.array_equal(decode(tiff(colour, planar=True), 3), colour)


def test_a_deep_picture_is_turned_upright():
    content = tiff(GREY[:20, :, None], tag_274=6)
    assert decode(tiff(GREY[:20, :, None]), 1).shape == (20, 40)
    assert np.array_equal(decode(content, 1), np.rot90(decode(tiff(GREY[:20, :, None]), 1), -1))


@pytest.mark.parametrize("tags", [{"tag_317": 2}, {"tag_259": 32773}])
def test_a_tiff_that_cannot_be_read_says_what_it_is(tags):
    with pytest.raises(Rejected, match=r"a TIFF of a kind that is not read \(bits \[64\], compression"):
        decode(tiff(GREY[:, :, None].astype("f8"), **tags), 1)


def test_a_cut_tiff_is_damaged():
    content = tiff(COLOUR.astype("f8"))
    cut = content[:8] + bytes(content[8:]).replace(
        struct.pack("<HHLL", 257, 4, 1, SIDE), struct.pack("<HHLL", 257, 4, 1, 99)
    )
    with pytest.raises(Rejected, match="truncated or damaged"):
        decode(cut, 3)


# ----------------------------------------------------------------------------------------------------- the range
def spoiled(kind):
    """GREY as a film of 12 bits, with what is no part of it."""
    pixels = GREY.astype(np.float64) + 200
    if kind == "marker":
        pixels[2:8, 2:14] = 65535  # 4.5 % of the picture
    elif kind == "dead pixel":
        pixels[3, 5] = 65535
    elif kind == "dead pixels of both ends":
        pixels[3, 5], pixels[9, 9], pixels[20, 1] = 65535, 0, 40000
    elif kind == "hot pixels of any brightness":
        pixels[np.arange(8), np.arange(8)] = np.linspace(5000, 65535, 8)
    return pixels


@pytest.mark.parametrize("kind", ["marker", "dead pixel", "dead pixels of both ends", "hot pixels of any brightness"])
@pytest.mark.parametrize("write", ["png", "tiff", "float", "colour"])
def test_a_marker_or_a_dead_pixel_does_not_make_the_film_black(kind, write):
    pixels = spoiled(kind)
    if write == "png":
        found = decode(png(pixels.astype(np.uint16)[:, :, None]), 1)
    elif write == "tiff":
        found = decode(tiff(pixels.astype(np.uint16)[:, :, None]), 1)
    elif write == "float":
        found = decode(tiff((pixels / 4095 * 1e-3).astype(np.float32)[:, :, None]), 1)
    else:
        found = decode(png(np.repeat(pixels.astype(np.uint16)[:, :, None], 3, axis=2)), 1)
    film = pixels == GREY + 200.0
    assert abs(found[film].mean() - by_ranks(GREY, 0, 3900)[film].mean()) < 8
    assert np.corrcoef(found[film], GREY[film])[0, 1] > 0.99


def test_a_value_far_below_the_rest_does_not_make_the_film_white():
    pixels = GREY.astype(np.float32)[:, :, None]
    pixels[:3, :30] = -1e6  # 5.6 %: what lies outside of the field of a camera
    found = decode(tiff(pixels), 1)
    assert np.corrcoef(found[3:].ravel(), GREY[3:].ravel())[0, 1] > 0.99


def test_bright_things_that_belong_to_the_picture_are_kept():
    y, x = np.mgrid[:SIDE, :SIDE]
    cell = 20000 * np.exp(-((x - 20) ** 2 + (y - 20) ** 2) / 8)  # few bright pixels, with every shade to the dark ones
    noise = np.random.default_rng(0).integers(100, 140, (SIDE, SIDE))
    found = decode(png((cell + noise).astype(np.uint16)[:, :, None]), 1)
    assert found[20, 20] == 255
    assert found[20, 24] < 160
    assert np.median(found) < 10


def test_a_bright_shape_on_the_noise_of_a_sensor_is_the_picture():
    pixels = np.random.default_rng(0).integers(100, 104, (SIDE, SIDE, 1)).astype(np.uint16)
    pixels[5:14, 5:14] = 60000  # 5 %, far from the four values of the rest
    found = decode(png(pixels), 1)
    assert found[5:14, 5:14].min() == 255
    assert found[20:].max() < 5


def test_two_values_are_a_drawing_and_not_an_outlier():
    pixels = np.zeros((SIDE, SIDE, 1), np.uint16)
    pixels[5:8, 5:8] = 9  # less than a percent of the picture
    assert sorted(np.unique(decode(png(pixels), 1))) == [0, 255]


# --------------------------------------------------------------------------------------------------- what lies around
@pytest.mark.parametrize("kind", ["zTXt", "iTXt", "iCCP"])
def test_a_large_comment_or_profile_does_not_matter(kind):
    picture, buffer = Image.fromarray((GREY // 16).astype(np.uint8)), io.BytesIO()
    info = PngImagePlugin.PngInfo()
    if kind == "zTXt":
        info.add_text("History", "x" * 2_000_000, zip=True)
    elif kind == "iTXt":
        info.add_itxt("History", "x" * 2_000_000, zip=True)
    picture.save(buffer, "PNG", pnginfo=info, **({"icc_profile": bytes(2_000_000)} if kind == "iCCP" else {}))
    with pytest.raises(ValueError, match="too large"):
        Image.open(buffer).load()
    assert np.array_equal(decode(buffer.getvalue(), 1), np.asarray(picture))


@pytest.mark.parametrize(
    "content",
    [
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
        b"/annex/objects/MD5E-s1896--0123.png\n",
    ],
)
def test_an_address_in_place_of_the_image_says_how_to_get_it(content):
    with pytest.raises(Rejected, match="git lfs pull, git annex get"):
        decode(content, 1)
