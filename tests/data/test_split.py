import json
from collections import Counter
from itertools import pairwise

import imagehash
import numpy as np
import pytest
from PIL import Image

from synthmed.core.errors import InputError
from synthmed.data import split as module
from synthmed.data.imageset import PLAIN, ImageSet, Legend, write_image_set
from synthmed.data.near_duplicates import near_duplicates, perceptual_hashes, standardised, thumbnail
from synthmed.data.split import PARTS, SplitSettings, draw, split
from synthmed.data.unseen import UnseenSettings, unseen_images

BOX, LANCZOS = Image.Resampling.BOX, Image.Resampling.LANCZOS


def smooth(seed, size=64):
    """A random smooth picture: uint8 (size, size)."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 6), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((size, size), Image.Resampling.BICUBIC))


def settings(**changes):
    values = {
        "by": "patient",
        "validation": 0.2,
        "test": 0.2,
        "seed": 1,
        "near_duplicate_bits": 12,
        "near_duplicate_correlation": 0.9,
        "on_near_duplicates": "report",
        "most": None,
        "of_each_patient": None,
    }
    return SplitSettings(**(values | changes))


def entry(name, label, patient, pixels, part="", origin="s"):
    return {"image": f"{name}.png", "label": label, "patient": patient, "split": part, "source": origin}, pixels


def images_of(count=40, patients=None):
    return [
        entry(f"i{n:03d}", "ab"[n % 2], f"p{n}" if patients is None else patients(n), smooth(n), origin=f"s{n % 4}")
        for n in range(count)
    ]


def run(tmp_path, rows, legend=PLAIN, **changes):
    write_image_set(tmp_path / "images.zip", rows, legend)
    paths = {part: tmp_path / f"{part}.zip" for part in PARTS}
    split(settings(**changes), images=tmp_path / "images.zip", report=tmp_path / "report.json", **paths)
    return {part: ImageSet(path) for part, path in paths.items()}, json.loads((tmp_path / "report.json").read_text())


# -------------------------------------------------------------------------------------------------------------- draw
def test_the_counts_of_the_document_come_out():
    labels = ["normal"] * 406 + ["abnormal"] * 394
    parts = draw([str(n) for n in range(800)], labels, {"test": 0.1}, seed=3)
    assert Counter(zip(parts, labels, strict=True)) == {
        ("train", "normal"): 366,
        ("train", "abnormal"): 355,
        ("test", "normal"): 40,
        ("test", "abnormal"): 39,
    }


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_together_and_shares_are_kept_nearly(seed):
    rng = np.random.default_rng(seed)
    groups = [f"g{n}" for n in rng.integers(0, 150, 600)]
    labels = list(rng.choice(["a", "b", "c"], 600, p=[0.6, 0.3, 0.1]))  # groups have several labels
    parts = draw(groups, labels, {"test": 0.2, "validation": 0.15}, seed)
    assert len(set(zip(groups, parts, strict=True))) == len(set(groups))
    for label in "abc":
        total = labels.count(label)
        counts = Counter(part for part, found in zip(parts, labels, strict=True) if found == label)
        assert 0.14 * total <= counts["test"] <= 0.2 * total
        assert 0.09 * total <= counts["validation"] <= 0.15 * total


def test_the_seed_decides_and_the_order_of_rows_does_not():
    groups, labels = [f"g{n}" for n in range(50)], ["a", "b"] * 25
    one = draw(groups, labels, {"test": 0.3}, 1)
    assert one == draw(groups, labels, {"test": 0.3}, 1)
    assert one != draw(groups, labels, {"test": 0.3}, 2)
    assert one[::-1] == draw(groups[::-1], labels[::-1], {"test": 0.3}, 1)


def test_shares_are_rounded_down_but_not_by_floating_point():
    parts = draw([str(n) for n in range(100)], ["a"] * 100, {"test": 0.29}, 0)  # 0.29 · 100 = 28.999999999999996
    assert parts.count("test") == 29


# -------------------------------------------------------------------------------------------------------------- step
def test_every_image_lands_in_one_part_and_the_report_counts_them(tmp_path):
    parts, report = run(tmp_path, images_of())
    names = [name for part in PARTS for name in parts[part].column("image")]
    assert sorted(names) == [f"i{n:03d}.png" for n in range(40)]
    assert report["counts"] == {part: {"a": n, "b": n} for part, n in zip(PARTS, (12, 4, 4), strict=True)}
    assert report["patients"] == {"train": 24, "validation": 8, "test": 8}
    assert sum(count for labels in report["sources"]["train"].values() for count in labels.values()) == 24
    assert report["near_duplicates"]["found"] == 0
    for part in PARTS:
        assert set(parts[part].column("split")) == {part}
    number = int(parts["test"].column("image")[3][1:4])
    assert np.array_equal(parts["test"][3][:, :, 0], smooth(number))


def test_a_patient_is_in_one_part_only(tmp_path):
    parts, _ = run(tmp_path, images_of(60, lambda n: f"p{n // 3}"))
    patients = [set(parts[part].column("patient")) for part in PARTS]
    assert sum(map(len, patients)) == len(set.union(*patients)) == 20


def test_the_same_bytes_twice(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        run(tmp_path / name, images_of())
    for file in ("train.zip", "validation.zip", "test.zip", "report.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


@pytest.mark.parametrize("by", ["patient", "column"])
def test_masks_channels_and_their_names_travel_along(tmp_path, by):
    """One class is enough where every image has a mask."""
    legend = Legend(("image", "edge"), "instances", {"nucleus": 2})
    rows = [
        (fields | {"label": "a", "split": PARTS[n % 3]}, np.dstack([pixels, 255 - pixels]), 2 + pixels.astype(int) * 9)
        for n, (fields, pixels) in enumerate(images_of())
    ]
    shares = {"validation": None, "test": None} if by == "column" else {}
    parts, _ = run(tmp_path, rows, legend, by=by, **shares)
    for part in parts.values():
        assert part.legend == legend
        assert np.array_equal(part.pixels[..., 1], 255 - part.pixels[..., 0])
        assert np.array_equal(part.masks, 2 + part.pixels[..., 0].astype(int) * 9)


def test_one_class_only_is_an_error(tmp_path):
    rows = [entry(f"i{n}", "a", f"p{n}", smooth(n)) for n in range(10)]
    for masks in (0, 9):
        masked = [(*row, np.zeros((64, 64), np.uint8)) for row in rows[:masks]]
        with pytest.raises(InputError, match=r"only one class \(a\); images without masks need at least two"):
            run(tmp_path, masked + rows[masks:])


def test_a_part_without_a_class_is_an_error(tmp_path):
    with pytest.raises(
        InputError,
        match=r"the validation part has no image of 'a' \(8 images in all, 4 patients of this class\); raise its share",
    ):
        run(tmp_path, images_of(8), test=0.5)


def test_one_patient_for_all_is_an_error_that_says_where_the_number_may_come_from(tmp_path):
    with pytest.raises(
        InputError, match=r"all 20 images are of one patient \('X'\).*the tag PatientID counts.*a column"
    ):
        run(tmp_path, images_of(20, lambda n: "X"))


def test_small_and_unbalanced_parts_are_said(tmp_path, caplog):
    _, report = run(tmp_path, images_of())
    assert report["patients_of_class"]["test"] == {"a": 4, "b": 4}
    assert report["cautions"][0] == (
        "the validation part has 4 patients of 'a' only: what is computed from them hangs on single ones"
    )
    assert report["cautions"][0] in caplog.text
    rows = [entry(f"i{n}", "ab"[n % 13 == 0], f"p{n}", smooth(n)) for n in range(260)]
    _, report = run(tmp_path, rows)
    assert report["cautions"] == [
        "the validation part has 4 patients of 'b' only: what is computed from them hangs on single ones",
        "the test part has 4 patients of 'b' only: what is computed from them hangs on single ones",
        "the training part has 144 images of 'a' and 12 of 'b': arms.added_counts can add to a class",
    ]
    _, report = run(tmp_path, images_of(100), test=0.3)
    assert report["cautions"] == []


def test_unknown_patients_are_said_and_names_looked_at(tmp_path, caplog):
    _, report = run(tmp_path, images_of())
    assert (report["patients_known"], report["patients_unknown"]) == (True, None)
    assert "patients unknown" not in caplog.text
    rows = [
        (fields | {"patient": f"ab/{n // 2:05d}_{n % 2}.png", "patient_known": "no" if n < 30 else ""}, pixels)
        for n, (fields, pixels) in enumerate(images_of())
    ]
    parts, report = run(tmp_path, rows)
    assert not report["patients_known"]
    places = {row["patient"]: part for part in PARTS for row in parts[part].rows}
    apart = sum(places[f"ab/{n:05d}_0.png"] != places[f"ab/{n:05d}_1.png"] for n in range(15))
    assert apart > 0
    assert report["patients_unknown"] == {
        "images": 30,
        "likely_patients": 15,
        "likely_patients_images": 30,
        "likely_patients_in_several_parts": apart,
        "example": ["ab/00000_0.png", "ab/00000_1.png"],
    }
    assert "patients unknown, 30 images count as a patient each" in caplog.text
    assert "30 images look by their names like several of one patient (15 such patients)" in caplog.text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": None}, "must be shares"),
        ({"test": 0.5, "validation": 0.5}, "left for training"),
    ],
)
def test_impossible_settings(tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        run(tmp_path, images_of(10), **changes)


# ---------------------------------------------------------------------------------------------------- official split
OFFICIAL = {"by": "column", "test": None, "validation": None}


def official(count=40, names=("train", "train", "validation", "test")):
    return [entry(f"i{n:03d}", "ab"[n % 2], f"p{n}", smooth(n), part=names[n // 2 % len(names)]) for n in range(count)]


def test_the_official_split_is_kept(tmp_path):
    parts, _ = run(tmp_path, official(), **OFFICIAL)
    assert [len(parts[part]) for part in PARTS] == [20, 10, 10]


def test_validation_is_drawn_from_the_official_training_part(tmp_path):
    rows = official(names=("train", "train", "test", "test"))
    parts, _ = run(tmp_path, rows, **(OFFICIAL | {"validation": 0.2}))
    assert [len(parts[part]) for part in PARTS] == [16, 4, 20]
    with pytest.raises(InputError, match="does not name validation images, so setting validation must be a share"):
        run(tmp_path, rows, **OFFICIAL)
    with pytest.raises(InputError, match="names validation images, so setting validation must be null"):
        run(tmp_path, official(), **(OFFICIAL | {"validation": 0.2}))


def test_further_test_images_are_drawn_from_the_official_training_part(tmp_path):
    """As seed 000 does with 394 of the 2,594, beside the official test."""
    rows = official(names=("train", "train", "train", "test"))
    parts, _ = run(tmp_path, rows, **(OFFICIAL | {"validation": 0.1, "test": 0.2}))
    assert [len(parts[part]) for part in PARTS] == [30 - 2 - 6, 2, 10 + 6], "rounded down for each label"
    assert {f"i{n:03d}.png" for n in range(40) if n // 2 % 4 == 3} < set(parts["test"].column("image"))


@pytest.mark.parametrize("action", ["report", "move", "stop"])
def test_a_patient_in_two_official_parts_stops_the_run(tmp_path, action):
    rows = official()
    rows[0][0]["patient"] = rows[6][0]["patient"]
    with pytest.raises(InputError, match=r"patient 'p6' is in train and in test; .*correct the split column"):
        run(tmp_path, rows, **OFFICIAL, on_near_duplicates=action)


def test_data_without_an_official_split_are_named(tmp_path):
    with pytest.raises(InputError, match=r"the split of i000\.png is '', not one of .*use by: patient"):
        run(tmp_path, images_of(), **OFFICIAL)


# --------------------------------------------------------------------------------------------------- near-duplicates
def copies(rows, pairs):
    """Rows in which image j shows image i again: brighter, noisy and shifted by a pixel."""
    for i, j in pairs:
        pixels = np.roll(rows[i][1].astype(float), 1, axis=0) * 0.9 + 20
        noise = np.random.default_rng(j).normal(0, 3, pixels.shape)
        rows[j] = (rows[j][0], np.clip(pixels + noise, 0, 255).astype(np.uint8))
    return rows


PAIRS = [(0, 2), (4, 7), (2, 10)]


def test_near_duplicates_across_parts_are_reported(tmp_path, caplog):
    rows = copies(official(), [(0, 6), (4, 5), (1, 3)])  # train-test, validation-validation, train-train
    _, report = run(tmp_path, rows, **OFFICIAL)
    found = report["near_duplicates"]
    assert (found["found"], found["across_parts"]) == (3, 1)
    first = found["pairs"][0]
    assert first["images"] == ["i000.png", "i006.png"]
    assert first["parts"] == ["train", "test"]
    assert first["across_parts"] is True
    assert first["correlation"] > 0.9
    assert "1 near-duplicate pairs across parts" in caplog.text
    assert "i000.png (train) and i006.png (test)" in caplog.text


def test_near_duplicates_stop_the_run_when_asked(tmp_path):
    with pytest.raises(InputError, match="1 near-duplicate pairs across parts"):
        run(tmp_path, copies(official(), [(0, 6)]), **OFFICIAL, on_near_duplicates="stop")
    assert not (tmp_path / "train.zip").exists()


def test_near_duplicates_move_into_one_part(tmp_path):
    rows = copies(images_of(), PAIRS)
    for seed in range(4):
        parts, report = run(tmp_path, rows, on_near_duplicates="move", seed=seed)
        where = {name: part for part in PARTS for name in parts[part].column("image")}
        assert where["i000.png"] == where["i002.png"] == where["i010.png"]  # a chain joins all three
        assert where["i004.png"] == where["i007.png"]
        assert report["near_duplicates"]["across_parts"] == 0
        assert report["near_duplicates"]["found"] >= 3


def test_with_an_official_split_moved_images_go_to_training(tmp_path):
    parts, report = run(tmp_path, copies(official(), [(0, 6), (4, 7)]), **OFFICIAL, on_near_duplicates="move")
    assert {"i000.png", "i004.png", "i006.png", "i007.png"} <= set(parts["train"].column("image"))
    assert [len(parts[part]) for part in PARTS] == [23, 9, 8]
    assert report["near_duplicates"]["across_parts"] == 0


def test_validation_images_that_were_all_moved_were_named_all_the_same(tmp_path):
    rows = copies(official(names=("train", "train", "train", "test")), [(0, 8), (1, 9)])
    for fields, _ in rows[:2]:
        fields["split"] = "validation"
    with pytest.raises(InputError, match="the validation part has no image of 'a'"):
        run(tmp_path, rows, **OFFICIAL, on_near_duplicates="move")


def test_images_of_one_patient_are_no_near_duplicates(tmp_path):
    rows = copies(images_of(40, lambda n: f"p{n % 20}"), [(0, 20)])
    _, report = run(tmp_path, rows)
    assert report["near_duplicates"]["found"] == 0


def test_hashes_agree_with_imagehash():
    pictures = [smooth(seed) for seed in range(20)]
    ours = perceptual_hashes(np.stack([thumbnail(picture[:, :, None], 32, LANCZOS) for picture in pictures]))
    theirs = [int(str(imagehash.phash(Image.fromarray(picture))), 16) for picture in pictures]
    assert ours.tolist() == theirs


def found(hashes, thumbnails, patients, parts=None, **rule):
    parts = np.zeros(len(hashes), np.int64) if parts is None else parts
    return near_duplicates(hashes, thumbnails, patients, parts, **({"bits": 64, "shown": 10**6} | rule))


def test_correlations_are_pearson_and_constants_match_nothing():
    pictures = np.stack([smooth(0), smooth(1), np.full((64, 64), 7, np.uint8), np.full((64, 64), 9, np.uint8)])
    expected = np.corrcoef(pictures[0].ravel(), pictures[1].ravel())[0, 1]
    vectors = standardised(pictures)
    assert float(vectors[0] @ vectors[1]) == pytest.approx(expected, abs=1e-5)
    assert found(np.zeros(4, np.uint64), pictures, np.arange(4), correlation=0.9).pairs == []


def test_blocks_find_what_comparing_all_pairs_finds():
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**8, 700).astype(np.uint64)  # many close hashes, over several blocks
    thumbnails = rng.integers(0, 256, (700, 4, 4), dtype=np.uint8)
    patients, parts = rng.integers(0, 300, 700), rng.integers(0, 3, 700)
    vectors = standardised(thumbnails)
    expected = [
        (i, j)
        for i in range(700)
        for j in range(i + 1, 700)
        if patients[i] != patients[j]
        and bin(int(hashes[i] ^ hashes[j])).count("1") <= 2
        and vectors[i] @ vectors[j] >= 0.6
    ]
    got = found(hashes, thumbnails, patients, parts, bits=2, correlation=0.6)
    assert sorted((pair.first, pair.second) for pair in got.pairs) == expected
    assert (got.found, got.images) == (len(expected), len({image for pair in expected for image in pair}))
    assert got.across == sum(parts[i] != parts[j] for i, j in expected)
    assert all(parts[pair.first] != parts[pair.second] for pair in got.pairs[: got.across])
    assert 20 < len(expected) < 1000
    # Groups: what a walk from pair to pair, and from image to image of one patient, reaches.
    graph = {}
    for i, j in [(patients[i], patients[j]) for i, j in expected]:
        graph.setdefault(i, set()).add(j)
        graph.setdefault(j, set()).add(i)
    reached, walk = set(), [patients[expected[0][0]]]
    while walk:
        reached.add(here := walk.pop())
        walk += graph[here] - reached
    assert set(patients[got.groups == got.groups[expected[0][0]]]) == reached
    assert len(reached) > 2


def test_a_crowd_of_look_alikes_is_counted_and_not_listed(tmp_path):
    rows = [entry(f"i{n:04d}", "ab"[n // 2 % 2], f"p{n}", smooth(n % 2) // 2 + np.uint8(n % 7)) for n in range(600)]
    _, report = run(tmp_path, rows)
    near = report["near_duplicates"]
    assert near["found"] == 2 * 300 * 299 // 2
    assert near["images"] == 600
    assert near["largest_groups"] == [
        {"first": "i0000.png", "images": 300, "patients": 300},
        {"first": "i0001.png", "images": 300, "patients": 300},
    ]
    assert [pair["across_parts"] for pair in near["pairs"]] == [True] * 100 + [False] * 100
    assert (tmp_path / "report.json").stat().st_size < 100_000


def test_colour_images_are_compared_in_grey(tmp_path):
    rows = [(fields, np.stack([pixels] * 3, axis=2)) for fields, pixels in copies(images_of(), [(0, 2)])]
    _, report = run(tmp_path, rows)
    assert report["near_duplicates"]["found"] == 1


def test_equal_images_are_found_at_a_correlation_of_one():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 64)).astype(np.uint8) for _ in range(50)]
    thumbnails = np.stack([thumbnail(image, 32, BOX) for image in images] * 2)
    # Hashes apart for different images, so that only the copies are candidates.
    hashes = np.tile(rng.integers(0, 2**63, 50).astype(np.uint64), 2)
    pairs = found(hashes, thumbnails, np.arange(100), bits=0, correlation=1.0).pairs
    assert [(pair.first, pair.second) for pair in pairs] == [(i, i + 50) for i in range(50)]


def test_parts_can_be_smaller_by_whole_patients_and_nested(tmp_path):
    names = [f"{number:02d}" for number in range(60)]
    fields = [{"image": f"{one}.png", "label": "ab"[int(one) % 2], "patient": str(int(one) // 2)} for one in names]
    write_image_set(tmp_path / "all.zip", [(row, smooth(number, 32)) for number, row in enumerate(fields)])

    def kept(most):
        chosen = SplitSettings("patient", 0.2, 0.2, 1, 10, 0.98, "report", most, None)
        paths = {part: tmp_path / f"{part}.zip" for part in PARTS}
        split(chosen, images=tmp_path / "all.zip", report=tmp_path / "r.json", **paths)
        return {part: ImageSet(path) for part, path in paths.items()}

    whole, some = kept(None), kept({"train": 21, "test": 6})
    assert (len(some["train"]), len(some["test"])) == (20, 6)  # patients have two images each
    assert some["validation"].rows == whole["validation"].rows
    assert all(some["train"].column("patient").count(one) == 2 for one in some["train"].column("patient"))
    more = {part: set(images.column("image")) for part, images in kept({"train": 30}).items()}
    assert set(some["train"].column("image")) < more["train"] < set(whole["train"].column("image"))
    with pytest.raises(InputError, match="on_near_duplicates: move cannot"):
        SplitSettings("patient", 0.2, 0.2, 1, 10, 0.98, "move", {"train": 5}, None)


def test_parts_are_nested_where_patients_have_different_numbers_of_images():
    patients = [f"p{number}" for number in range(1, 10) for _ in range(number)]
    parts = ["train"] * len(patients)
    for seed in range(5):
        kept = [set(module._kept(patients, parts, {"train": most}, seed)) for most in range(9, len(patients) + 2)]
        assert all(fewer <= more for fewer, more in pairwise(kept))
        assert all(0 < len(found) <= most for most, found in enumerate(kept, start=9))
        assert kept[-1] == kept[-2] == set(range(len(patients)))


def test_a_part_is_not_made_smaller_than_its_first_patient():
    with pytest.raises(InputError, match="most keeps 3 images of the part train, and its first patient, 'p', has 5"):
        module._kept(["p"] * 5 + ["q"] * 5, ["train"] * 5 + ["test"] * 5, {"train": 3}, 1)
    assert module._kept(["p"] * 5 + ["q"] * 5, ["train"] * 5 + ["test"] * 5, {"train": 5}, 1) == list(range(10))


def test_some_images_of_training_patients_can_be_set_aside_and_are_found_again(tmp_path):
    rows = images_of(90, patients=lambda number: f"p{number // 6}")
    whole, _ = run(tmp_path, rows)
    some, report = run(tmp_path, rows, of_each_patient=2)
    assert (some["validation"].rows, some["test"].rows) == (whole["validation"].rows, whole["test"].rows)
    kept, all_of_them = set(some["train"].column("image")), set(whole["train"].column("image"))
    assert kept < all_of_them
    assert set(Counter(some["train"].column("patient")).values()) == {2}
    assert sum(report["counts"]["train"].values()) == len(kept)
    paths = {"images": tmp_path / "images.zip", "train": tmp_path / "train.zip", "unseen": tmp_path / "unseen.zip"}
    unseen_images(UnseenSettings(), **paths)
    unseen = ImageSet(tmp_path / "unseen.zip")
    assert set(unseen.column("image")) == all_of_them - kept
    assert set(unseen.column("split")) == {"unseen"}
    run(tmp_path, rows)
    with pytest.raises(InputError, match=r"set split\.of_each_patient"):
        unseen_images(UnseenSettings(), **paths)
    with pytest.raises(InputError, match="of_each_patient leaves images out"):
        settings(of_each_patient=2, on_near_duplicates="move")
