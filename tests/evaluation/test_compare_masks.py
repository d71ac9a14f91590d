"""The step compare-masks: forms of generated masks beside real ones, rates of leakage."""

import numpy as np
import pytest

from synthmed.core.errors import InputError
from synthmed.core.files import read_json
from synthmed.core.settings import parse
from synthmed.data.channels import interior
from synthmed.data.imageset import ImageSet, Legend, write_image_set
from synthmed.evaluation.compare_masks import CompareMasksSettings, compare_masks
from synthmed.metrics.leakage import chance_texture
from synthmed.metrics.masks import mask_statistics, objects_of

ORGANS = Legend(classes={"lung": 1, "heart": 2})
CELLS = Legend(masks="instances", classes={"cell": 1, "podocyte": 300})


def write(path, masks, legend=ORGANS, patients=None, columns=(), seed=0):
    rng = np.random.default_rng(seed)
    rows = []
    for number, mask in enumerate(masks):
        patient = f"p{number}" if patients is None else patients[number]
        fields = {"image": f"i{number:02d}.png", "label": "x", "patient": patient}
        fields |= {name: values[number] for name, values in dict(columns).items()}
        rows.append((fields, rng.integers(0, 256, (16, 20)).astype(np.uint8), mask))
    write_image_set(path, rows, legend)
    return path


def boxes(*places, values=(1, 2)):
    mask = np.zeros((16, 20), dtype=np.uint16)
    for (top, left, bottom, right), value in zip(places, values, strict=True):
        mask[top:bottom, left:right] = value
    return mask


def random_boxes(seed, count, size):
    rng = np.random.default_rng(seed)
    return [
        boxes((top, 1, top + size + extra, 8), (2, 11, 4 + extra, 18))
        for top, extra in rng.integers(0, 4, (count, 2)).tolist()
    ]


@pytest.fixture
def run(tmp_path):
    def do(generated=None, columns=(), real=None, legend=ORGANS, seed=1, coding="classes"):
        real = random_boxes(0, 8, 4) if real is None else real
        paths = {
            "real": write(tmp_path / "r.zip", real, legend),
            "held_out": write(tmp_path / "h.zip", random_boxes(1, 5, 4) if legend == ORGANS else real, legend, seed=1),
            "fake": write(tmp_path / "f.zip", generated or random_boxes(2, 6, 8), legend, columns=columns, seed=2),
        }
        settings = {"generator": "gan", "examples": 2, "level": 0.95, "seed": seed, "masks": coding}
        compare_masks(parse(CompareMasksSettings, settings), **paths, out=tmp_path / "m.json")
        return read_json(tmp_path / "m.json"), paths

    return do


def test_means_and_differences_are_those_of_the_masks(run):
    found, paths = run()
    assert (found["n_real"], found["n_held_out"], found["n_generated"]) == (8, 5, 6)
    assert set(found["classes"]) == {"lung", "heart"}
    assert found["leakage"] is None
    for value, of in ((1, "lung"), (2, "heart")):
        for name in ("area", "objects", "compactness", "roughness", "empty"):
            own = found["classes"][of][name]
            means = {}
            for key, path in zip(("real", "held_out", "generated"), paths.values(), strict=True):
                values = [mask_statistics(objects_of(mask == value))[name] for mask in ImageSet(path).masks]
                assert own["values"][key] == pytest.approx(values, abs=1e-5)
                assert own[key]["value"] == pytest.approx(np.mean(values))
                means[key] = np.mean(values)
            assert own["difference"]["value"] == pytest.approx(means["generated"] - means["real"])
    area = found["classes"]["lung"]["area"]["difference"]
    assert area["low"] > 0.05  # the generator's are larger
    assert area["low"] < area["value"] < area["high"]


def test_the_interval_of_the_difference_is_welchs_for_samples_of_their_own(run):
    from scipy import stats

    found, _ = run()
    own = found["classes"]["heart"]["area"]
    expected = stats.ttest_ind(own["values"]["generated"], own["values"]["real"], equal_var=False)
    interval = expected.confidence_interval(0.95)
    ends = [own["difference"][end] for end in ("low", "high")]
    assert ends == pytest.approx([interval.low, interval.high], rel=1e-3)


def test_differences_of_counts_are_not_cut_at_one(run):
    dots = np.zeros((16, 20), dtype=np.uint16)
    dots[::2, ::2] = 1
    found, _ = run(generated=[dots, dots, boxes((0, 0, 2, 2), (5, 5, 6, 6)), dots])
    objects = found["classes"]["lung"]["objects"]
    assert objects["difference"]["value"] == pytest.approx(60.25 - 1)
    assert objects["difference"]["high"] > 60
    holes = found["classes"]["lung"]["holes"]
    assert (holes["real"]["value"], holes["real"]["low"]) == (0, None)  # a count, not a share of right decisions
    assert found["classes"]["lung"]["empty"]["real"]["high"] > 0.3  # a share has an exact interval


def test_empty_masks_have_no_form_and_are_counted(run):
    empty = boxes((0, 0, 0, 0), (2, 2, 5, 6))
    found, _ = run(generated=[empty, empty, empty, *random_boxes(2, 1, 8)])
    lung = found["classes"]["lung"]
    assert lung["empty"]["generated"]["value"] == 0.75
    assert lung["compactness"]["generated"]["n"] == 1
    assert lung["compactness"]["difference"]["value"] is None
    assert "2 samples" in lung["compactness"]["difference"]["reason"]


def test_objects_of_instances_are_those_of_the_map(run):
    touching = boxes((0, 0, 4, 4), (0, 4, 4, 8), (6, 6, 9, 9), values=(1, 2, 301))
    found, _ = run(real=[touching] * 3, generated=[touching] * 3, legend=CELLS)
    assert found["classes"]["cell"]["objects"]["real"]["value"] == 2
    assert found["classes"]["podocyte"]["objects"]["real"]["value"] == 1


def test_rates_of_leakage_by_the_columns_of_the_sample_and_the_worst_ones(run):
    columns = {
        "mask_grey": ["0.01", "0.2", "0.06", "0.0", "0.0", "0.0"],
        "mask_texture": ["0.0", "0.9", "0.99", "0.0", "0.98", "0.0"],
        "mask_overlap": ["0.0", "0.0", "0.0", "0.0", "0.0", "0.004"],
    }
    found, paths = run(columns=columns)
    leakage = found["leakage"]
    images = ImageSet(paths["real"])
    limit = leakage["chance_texture"]["limit"]
    assert 0 < leakage["chance_texture"]["median"] < limit < 0.9
    masks = np.moveaxis(np.stack([images.masks == value for value in (1, 2)]), 0, -1)
    every = [
        chance_texture(images[a], images[b], masks[a]) for a in range(8) for b in range(8) if a != b
    ]  # the step takes one other image for each
    assert min(every) <= leakage["chance_texture"]["median"] <= limit <= max(every)
    assert {name: rate["value"] for name, rate in leakage["rates"].items()} == pytest.approx(
        {"grey": 2 / 6, "texture": 3 / 6, "overlap": 1 / 6, "any": 4 / 6}
    )
    assert [(one["image"], one["by"]) for one in leakage["worst"]] == [
        ("i01.png", ["grey", "texture"]),
        ("i02.png", ["grey", "texture"]),
    ]
    assert leakage["rates"]["grey"]["high"] > 0.7
    assert (leakage["channels"], leakage["textured"], leakage["real_overlap"]) == (["lung", "heart"],) * 2 + (0,)


def test_limits_are_those_of_the_channels_that_were_drawn_without_the_background(run):
    columns = {name: ["0.0"] * 3 for name in ("mask_grey", "mask_texture", "mask_overlap")}
    touching = boxes((2, 2, 9, 9), (2, 9, 9, 16))
    found, paths = run(real=[touching] * 3, generated=[touching] * 3, legend=CELLS, columns=columns, coding="instances")
    leakage = found["leakage"]
    assert leakage["channels"] == ["background", "interior", "boundary"]
    assert leakage["textured"] == ["interior", "boundary"]
    images = ImageSet(paths["real"])
    parts = np.dstack([interior(touching), (touching > 0) & ~interior(touching)])
    every = [chance_texture(images[a], images[b], parts) for a in range(3) for b in range(3) if a != b]
    assert any(leakage["chance_texture"]["median"] == pytest.approx(value) for value in every)
    found, _ = run(columns=columns | {name: ["0.0"] * 6 for name in columns}, coding=None)
    assert found["leakage"] is None


def test_sets_that_cannot_be_compared_are_refused(tmp_path, run):
    _, paths = run()
    settings = parse(
        CompareMasksSettings, {"generator": "gan", "examples": 2, "level": 0.95, "seed": 1, "masks": "classes"}
    )
    other = write(tmp_path / "o.zip", [boxes((0, 0, 2, 2), (5, 5, 6, 6))], Legend(classes={"lung": 1, "spleen": 2}))
    with pytest.raises(InputError, match="its masks are"):
        compare_masks(settings, **paths | {"fake": other}, out=tmp_path / "x.json")
    rows = [({"image": "a.png", "label": "x", "patient": "p"}, np.zeros((16, 20), np.uint8))]
    write_image_set(tmp_path / "n.zip", rows, ORGANS)
    with pytest.raises(InputError, match="1 images have no mask"):
        compare_masks(settings, **paths | {"held_out": tmp_path / "n.zip"}, out=tmp_path / "x.json")
    columns = {"mask_grey": ["0"], "mask_texture": ["0"]}
    fake = write(tmp_path / "c.zip", [boxes((0, 0, 2, 2), (5, 5, 6, 6))], columns=columns)
    alone = write(tmp_path / "p.zip", random_boxes(0, 3, 4), patients=["a", "a", "a"])
    with pytest.raises(InputError, match="one patient"):
        compare_masks(settings, real=alone, held_out=paths["held_out"], fake=fake, out=tmp_path / "x.json")
