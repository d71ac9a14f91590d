"""Re-identification: patients with stripes of their own are recognised in whatever shows their stripes, only there."""

import copy
import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from synthmed.augment.classic import ClassicAugmentation
from synthmed.core.errors import InputError
from synthmed.core.files import read_csv, read_json, write_json
from synthmed.core.provenance import PACKAGE
from synthmed.core.settings import parse
from synthmed.data.imageset import ImageSet, write_image_set
from synthmed.data.phantoms.slide_settings import SlidePhantoms
from synthmed.data.phantoms.slides import draw_slide
from synthmed.evaluation import reidentify as module
from synthmed.evaluation.compare_identities import CompareIdentitiesSettings, compare_identities
from synthmed.evaluation.reidentify import (
    Changes,
    HeadRecogniser,
    Images,
    NetworkRecogniser,
    ReidentifySettings,
    patients_in_order,
    reidentify,
)
from synthmed.evaluation.scores import read_scores
from synthmed.extractors import domain
from synthmed.extractors.features import FeatureSettings, features
from synthmed.metrics import statistics
from synthmed.report.sections import reidentification as report

PATIENTS, SIZE = 6, 16
HEAD = HeadRecogniser("head", learning_rate=0.01, dropout=0.1, seeds=5, steps=300, batch_size=8, check_every=50)
SETTINGS = ReidentifySettings(
    patients=(4, 6),
    variants=("plain", "normalised"),
    changes=Changes(flip=False, shift=0.05, colour=0.05),
    recogniser=HEAD,
    input_size=None,
    batch_size=64,
    threads=1,
    device="cpu",
    precision="fp32",
    extractor="domain",
    classes=("normal", "tumour"),
    sets=("copier", "dreamer"),
    seed=1,
)
DOCUMENT = PACKAGE / "report" / "references" / "pathology_patches.yaml"
LEARN = domain.DomainSettings(
    classes=SETTINGS.classes, seed=0, input_size=SIZE, patch=5, filters=12, windows=1, patches=3000, iterations=5,
    whitening=0.1, threshold=0.5, threads=1, view="image",
)  # fmt: skip
AUGMENTATION = ClassicAugmentation(horizontal_flip=False, rotation=0.0, zoom=0.0, padding="black")
FEATURES = FeatureSettings(
    input_size=None, batch_size=64, threads=1, device="cpu", precision="fp32", extractor="domain", view="image",
    draws=0, augmentation=AUGMENTATION, seed=1,
)  # fmt: skip
COMPARE = CompareIdentitiesSettings(alpha=0.05, margin=0.1)


def texture(rng, person):
    """Noise and, of a person with a number, stripes of an angle of their own; pink."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    grey = 120 + 12 * rng.standard_normal((SIZE, SIZE))
    if person is not None:
        angle = np.pi * person / PATIENTS
        wave = np.cos(angle) * rows + np.sin(angle) * columns
        grey = grey + 45 * np.sin(1.3 * wave + rng.uniform(0, 6.3))
    return np.clip(grey[:, :, None] + np.array([40, -20, 20]), 0, 255).astype(np.uint8)


def write(path, people, each, seed, *, stripes=True, origin=None, label=lambda person: SETTINGS.classes[person % 2]):
    """`each` images of each person. stripes: whether they show whose they are; origin: name of the training image that
    each was made from; label: of what a person has."""
    rng, rows = np.random.default_rng(seed), []
    for person in people:
        for number in range(each):
            fields = {
                "image": f"{path.stem}_{person}_{number}.png",
                "label": label(person),
                "patient": f"p{person}" if origin is None else f"synthetic-{path.stem}-{person}-{number}",
            }
            fields |= {} if origin is None else {"origin": origin(person, number)}
            rows.append((fields, texture(rng, person if stripes else None)))
    write_image_set(path, rows)
    return path


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    folder, people = tmp_path_factory.mktemp("people"), range(PATIENTS)
    train = write(folder / "train.zip", people, 6, 1)
    domain.train(LEARN, train=train, validation=train, weights=folder / "domain.pt")
    made = {"origin": lambda person, number: f"train_{person}_{number}.png"}
    write(folder / "copier.zip", people, 5, 2, **made)
    write(folder / "dreamer.zip", people, 5, 3, stripes=False, **made)
    write(folder / "unseen.zip", people, 5, 4)
    write(folder / "faceless.zip", people, 5, 5, stripes=False)
    write(folder / "uniform.zip", people, 5, 8, stripes=False, origin=lambda *_: "")
    return folder


def features_of(path, folder, weights):
    out = folder / f"{path.stem}.npz"
    features(FEATURES, images=path, weights=weights, out=out)
    return out


def run(sets, tmp_path, settings=SETTINGS, names=("copier", "dreamer"), **inputs):
    files = {name: sets / f"{name}.zip" for name in ("train", "unseen")}
    files |= {"synthetic": [sets / f"{name}.zip" for name in names], "weights": sets / "domain.pt", "pretrained": None}
    files |= inputs
    outputs = {name: tmp_path / f"{name}.csv" for name in ("scores", "retrieval", "summary")}
    if "features" not in files:
        whole = [files["train"], files["unseen"], *files["synthetic"]] if "plain" in settings.variants else []
        files["features"] = [features_of(path, tmp_path, files["weights"]) for path in whole]
    reidentify(settings, **files, **outputs)
    compare_identities(COMPARE, **outputs, out=tmp_path / "results.json")
    return read_json(tmp_path / "results.json"), outputs


@pytest.fixture(scope="module")
def found(sets, tmp_path_factory):
    return run(sets, tmp_path_factory.mktemp("found"))


def row_of(found, variant="plain", patients=6):
    return next(row for row in found["rows"] if (row["variant"], row["patients"]) == (variant, patients))


@pytest.mark.parametrize("variant", ["plain", "normalised"])
def test_who_shows_their_stripes_is_recognised(found, variant):
    row = row_of(found[0], variant)
    tests = row["tests"]
    assert row["chance"] == 1 / 6
    assert row["class_chance"] == pytest.approx(1 / 3)  # three of six patients have each class
    assert tests["seen"]["top1"]["value"] > 0.95
    assert tests["unseen"]["top1"]["value"] > 0.8
    assert tests["changed"]["top1"]["value"] > 0.8
    assert tests["copier"]["top1"]["value"] > 0.8
    assert tests["copier"]["finding"][0] == "recognised"
    assert tests["copier"]["above"]["difference"]["value"] == pytest.approx(
        tests["copier"]["top1"]["value"] - row["class_chance"]
    )


def test_who_does_not_is_not(found):
    tests = row_of(found[0])["tests"]
    assert tests["dreamer"]["top1"]["value"] < 0.4
    assert tests["dreamer"]["finding"] == ["not shown", "less well"]
    seen = tests["seen"]["top1"]["value"]
    assert tests["dreamer"]["drop"]["value"] == pytest.approx(seen - tests["dreamer"]["top1"]["value"])
    against = tests["dreamer"]["against"]["difference"]["value"]
    assert against == pytest.approx(tests["dreamer"]["top1"]["value"] - tests["unseen"]["top1"]["value"])


def test_without_a_texture_of_their_own_unseen_images_are_not_recognised(sets, tmp_path):
    results, _ = run(sets, tmp_path, unseen=sets / "faceless.zip", train=sets / "train.zip")
    unseen = row_of(results)["tests"]["unseen"]["top1"]
    assert unseen["low"] < 1 / 6 < unseen["high"]
    # Against these, and not against images that were trained on, the copier's are held.
    copier = row_of(results)["tests"]["copier"]
    assert copier["against"]["difference"]["value"] == pytest.approx(copier["top1"]["value"] - unseen["value"])
    assert copier["finding"] == ["recognised", "better"]
    # The drop is what documents report: from images that were trained on.
    seen = row_of(results)["tests"]["seen"]["top1"]["value"]
    assert copier["drop"]["value"] == pytest.approx(seen - copier["top1"]["value"])
    assert seen > unseen["value"]


def test_equivalence_is_adjusted_over_the_sets_as_the_differences_are(found, tmp_path, monkeypatch):
    """Holm's method makes 0.04 of 0.02 beside 0.03, which is above half of alpha."""
    one_sided = itertools.cycle((0.02, 0.03))
    monkeypatch.setattr(statistics, "equivalence_p", lambda *_: next(one_sided))
    outputs = {name: found[1][name] for name in ("scores", "retrieval", "summary")}
    compare_identities(COMPARE, **outputs, out=tmp_path / "results.json")
    for row in read_json(tmp_path / "results.json")["rows"]:
        assert [row["tests"][name]["against"]["equivalent"] for name in ("copier", "dreamer")] == [False, False]


def test_below_five_trainings_no_word_is_given(sets, tmp_path):
    settings = replace(SETTINGS, variants=("plain",), patients=(6,), recogniser=replace(HEAD, seeds=4, steps=50))
    results, outputs = run(sets, tmp_path, settings)
    for name in ("copier", "dreamer"):
        test = row_of(results)["tests"][name]
        assert (test["finding"], test["against"]["equivalent"]) == (None, False)
        assert test["reason"].startswith("4 training seeds; below 5")
    page = section(tmp_path, outputs["scores"].with_name("results.json"), sets, dial=None)
    words = " ".join(page["html"].split())
    assert words.count("No word is given: 4 training seeds; below 5") == 2
    assert "leaks" not in words
    assert {row["finding"] for row in read_csv(tmp_path / "tables/reidentification.generated.csv")} == {"no word"}


def test_a_set_without_sources_has_no_right_patients(sets, tmp_path):
    settings = replace(SETTINGS, sets=("uniform", "copier"), variants=("plain",))
    results, _ = run(sets, tmp_path, settings, names=("uniform", "copier"))
    assert (results["sets"], results["not_asked"]) == (["copier"], ["uniform"])
    assert "uniform" not in row_of(results)["tests"]


def test_the_nearest_image_gives_the_source_away_where_it_does(sets, tmp_path, found):
    copies = ImageSet(sets / "train.zip")
    rows = [
        (row | {"image": f"copy_{row['image']}", "origin": row["image"]}, copies[n])
        for n, row in enumerate(copies.rows)
    ]
    write_image_set(tmp_path / "exact.zip", rows)
    settings = replace(SETTINGS, sets=("exact",), variants=("plain",), patients=(4,))
    results, outputs = run(sets, tmp_path, settings, names=(), synthetic=[tmp_path / "exact.zip"])
    exact = row_of(results, patients=4)["tests"]["exact"]
    assert (exact["retrieved"]["value"], exact["retrieved_top5"]["value"]) == (1, 1)
    assert exact["drop"]["value"] == 0
    assert row_of(found[0])["tests"]["dreamer"]["retrieved"]["value"] < 0.3
    scores = read_scores(outputs["retrieval"], ["retrieved"])
    assert set(scores.cases) == {"4.changed", "4.exact"}


def test_features_that_there_are_are_taken_and_not_computed_again(sets, tmp_path, found, monkeypatch):
    settings = replace(SETTINGS, sets=("copier",), variants=("plain",), patients=(6,))
    train, unseen, copier = (
        features_of(sets / f"{name}.zip", tmp_path, sets / "domain.pt") for name in ("train", "unseen", "copier")
    )
    computed = []
    original = module._computed
    monkeypatch.setattr(module, "_computed", lambda *rest: computed.append(len(rest[1])) or original(*rest))
    results, _ = run(sets, tmp_path, settings, names=("copier",), features=[train, unseen, copier])
    assert computed == [6 * PATIENTS], "of the changed images alone"
    assert row_of(results)["tests"]["copier"]["top1"] == row_of(found[0])["tests"]["copier"]["top1"]
    with pytest.raises(InputError, match=r"unseen\.npz: of other images than .*train\.zip"):
        run(sets, tmp_path, settings, names=("copier",), features=[unseen, train, copier])
    with pytest.raises(InputError, match="2 feature files for 3 sets"):
        run(sets, tmp_path, settings, names=("copier",), features=[train, unseen])
    with pytest.raises(InputError, match="3 feature files for 3 sets"):
        run(
            sets,
            tmp_path,
            replace(settings, variants=("normalised",)),
            names=("copier",),
            features=[train, unseen, copier],
        )


def test_fewer_patients_are_among_more_and_classes_take_turns():
    labels = np.array(["a", "b", "a", "a", "b", "a"])
    patients = np.array([f"p{number}" for number in range(6)])
    images = Images(patients, patients, labels, np.zeros((6, 1, 1, 1), np.uint8))
    order = patients_in_order(images, {*patients.tolist()} - {"p3"}, ("a", "b"), 1)
    of = dict(zip(patients.tolist(), labels.tolist(), strict=True))
    assert [of[name] for name in order] == ["a", "b", "a", "b", "a"]
    assert "p3" not in order
    assert order == patients_in_order(images, {*patients.tolist()} - {"p3"}, ("a", "b"), 1)


def test_networks_recognise_too(sets, tmp_path):
    network = NetworkRecogniser(
        kind="network", architecture="small_cnn", channels=(8, 16), dropout=0.1, size=None, pretrained=None, seeds=2,
        steps=200, check_every=50, batch_size=12, accumulate=1, learning_rate=0.005, schedule="cosine",
        class_weights="none", flip=False, shift=0.0, select="loss", precision="fp32", channels_last=True,
        save_every=200, processes=1, threads=1, device="cpu",
    )  # fmt: skip
    settings = replace(SETTINGS, recogniser=network, variants=("plain",), patients=(6,), sets=("copier",))
    results, _ = run(sets, tmp_path, settings, names=("copier",))
    tests = row_of(results)["tests"]
    assert results["network"] == "small_cnn"
    assert tests["seen"]["top1"]["value"] > 0.9
    assert tests["copier"]["top1"]["value"] > 0.6
    assert not list(tmp_path.glob("*.resume.pt"))
    with pytest.raises(InputError, match="processes is 2"):
        replace(network, processes=2)


def test_what_cannot_be_asked_is_refused(sets, tmp_path):
    with pytest.raises(InputError, match=r"patients asks for 7, but 6 patients of .*of_each_patient"):
        run(sets, tmp_path, replace(SETTINGS, patients=(7,)))
    with pytest.raises(InputError, match="fewer come first"):
        replace(SETTINGS, patients=(6, 4))
    with pytest.raises(InputError, match="synthetic: 2 files for"):
        run(sets, tmp_path, replace(SETTINGS, sets=("copier",)))
    grey = Images(*[np.array(["a"])] * 3, np.zeros((1, 4, 4, 1), np.uint8))
    with pytest.raises(InputError, match="no colours; take it out"):
        module._variant("normalised", {"seen": grey}, "train.zip")


def test_changes_stay_mild():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (20, SIZE, SIZE, 3)).astype(np.uint8)
    images = Images(*[np.array(["a"] * 20)] * 3, pixels)
    same = module._changed(images, replace(SETTINGS, changes=Changes(False, 0.0, 0.0)))
    assert np.array_equal(same.pixels, pixels)
    coloured = module._changed(images, replace(SETTINGS, changes=Changes(False, 0.0, 0.1))).pixels
    ratio = coloured[pixels > 100] / pixels[pixels > 100]
    assert 0.89 < ratio.min() < 0.95
    assert ratio.max() < 1.11
    flipped = module._changed(images, replace(SETTINGS, changes=Changes(True, 0.0, 0.0))).pixels
    mirrored = [np.array_equal(one, other[:, ::-1]) for one, other in zip(flipped, pixels, strict=True)]
    assert 4 < sum(mirrored) < 16
    assert torch.get_num_threads() >= 1


@pytest.mark.parametrize("identity", [0.0, 1.0])
def test_phantom_slides_are_recognised_as_far_as_patients_differ_in_texture(identity, tmp_path):
    """The known truth: the same stain everywhere; texture of their own, or none."""
    slides = SlidePhantoms(
        negative=8, positive=0, stages=("macro",), unannotated=0, identity=identity, centre_spread=0.0, difficulty=0.5,
        field=512.0, mpp=1.0, levels=1, seed=5,
    )  # fmt: skip
    parts: dict[str, list] = {"train": [], "unseen": []}
    for number in range(slides.count):
        slide, side = draw_slide(slides, number), 64
        places = [(y, x) for y in range(0, 449, side) for x in range(0, 449, side)]
        whole = [
            place for place in places if slide.tissue[place[0] : place[0] + side, place[1] : place[1] + side].all()
        ]
        for place, (y, x) in enumerate(whole[:14]):
            part = "train" if place % 2 else "unseen"
            fields = {"image": f"{part}_{number}_{place}.png", "label": "normal", "patient": f"p{number}"}
            parts[part].append((fields, slide.pixels[y : y + side, x : x + side]))
    for name, rows in parts.items():
        write_image_set(tmp_path / f"{name}.zip", rows)
    learn = replace(LEARN, classes=("normal",), input_size=64, patch=8, filters=32)
    train = tmp_path / "train.zip"
    domain.train(learn, train=train, validation=train, weights=tmp_path / "domain.pt")
    settings = replace(SETTINGS, patients=(8,), sets=(), classes=("normal",), recogniser=replace(HEAD, steps=800))
    results, _ = run(tmp_path, tmp_path, settings, names=())
    for row in results["rows"]:
        unseen = row["tests"]["unseen"]["top1"]
        assert (unseen["low"] > 1.5 / 8) if identity else (unseen["low"] < 1 / 8 < unseen["high"]), row["variant"]


def section(folder, results, sets, *, dial, verdicts=None, names=("copier", "dreamer"), document=DOCUMENT):
    for name in ("tables", "figures"):
        (folder / name).mkdir(exist_ok=True)
    settings = {"generators": {name: name.title() for name in names}, "dial": dial, "examples": 4}
    report.section(
        parse(report.ReidentificationSettings, settings),
        results=results,
        train=sets / "train.zip",
        synthetic=[sets / f"{name}.zip" for name in names],
        verdicts=verdicts,
        document=document,
        section=folder / "reidentification.json",
        out=[folder / path for path in report.SECTION.files("reidentification")],
    )
    return read_json(folder / "reidentification.json")


def test_the_section_says_who_leaks_and_shows_the_dial(found, sets, tmp_path):
    _, outputs = found
    task = {
        "tests": ["test"],
        "outcome": "auroc",
        "outcomes": {"auroc": {"title": "AUROC"}},
        "reference": "real",
        "arms": {
            name: {
                "tests": {
                    "test": {"outcomes": {"auroc": {"value": value, "low": 0.5, "high": 1.0, "n": 9, "reason": None}}}
                }
            }
            for name, value in (("real", 0.9), ("only_copier", 0.8), ("only_dreamer", 0.6))
        },
    }
    write_json(tmp_path / "verdicts.json", task)
    results = outputs["scores"].with_name("results.json")
    dial = {"task": "tumour", "title": "?", "generators": ["copier", "dreamer"]}
    page = section(tmp_path, results, sets, dial=dial, verdicts=tmp_path / "verdicts.json")
    words = " ".join(page["html"].split())
    assert "Identity leaks" in words or "give their patients away" in words
    assert "It is not shown that patients are recognised beyond chance" in words
    assert "tests no unseen real patches" in words  # what the document did not do
    real = read_csv(tmp_path / "tables/reidentification.real.csv")
    assert [(row["variant"], row["patients"]) for row in real] == [
        (variant, count) for variant in ("as they are", "colours normalised") for count in ("4", "6")
    ]
    made = read_csv(tmp_path / "tables/reidentification.generated.csv")
    assert len(made) == 8
    assert made[1]["finding"].startswith("not shown to be above chance")
    assert [entry["name"] for entry in page["exhibits"] if not entry["shown"]] == []
    with pytest.raises(InputError, match="give those of the task that setting dial names"):
        section(tmp_path, results, sets, dial=dial)


def test_the_guess_of_a_translated_image_is_among_the_patients_of_its_source(sets, tmp_path):
    """Six patients are normal and two have a tumour; all of the six are shown with one."""
    people, normal = range(8), range(6)
    real = {"label": lambda person: SETTINGS.classes[person >= 6]}
    write(tmp_path / "train.zip", people, 4, 1, **real)
    write(tmp_path / "unseen.zip", people, 3, 2, **real)
    made = {"origin": lambda person, number: f"train_{person}_{number}.png"}
    paths = [
        write(tmp_path / "translator.zip", normal, 3, 3, **made, label=lambda _: "tumour"),
        write(tmp_path / "singan.zip", people, 3, 4, **made, **real),
    ]
    head = replace(HEAD, seeds=2, steps=50)
    settings = replace(SETTINGS, sets=("translator", "singan"), variants=("plain",), patients=(8,), recogniser=head)
    inputs = {"train": tmp_path / "train.zip", "unseen": tmp_path / "unseen.zip", "synthetic": paths}
    _, outputs = run(sets, tmp_path, settings, names=(), **inputs)
    scores = read_scores(outputs["scores"], ["chance"])
    assert scores.values["plain", "8.translator"] == pytest.approx(1 / 6)
    for name in ("unseen", "changed", "singan"):
        tumour = scores.cases[f"8.{name}"].labels == "tumour"
        assert tumour.any()
        assert scores.values["plain", f"8.{name}"][:, tumour] == pytest.approx(1 / 2)
        assert scores.values["plain", f"8.{name}"][:, ~tumour] == pytest.approx(1 / 6)


def test_the_guess_is_that_of_the_generated_images(found, sets, tmp_path):
    """Of their classes, which are not those of the unseen real images."""
    results = copy.deepcopy(found[0])
    for row in results["rows"]:
        row["class_chance"] = 0.077
        row["tests"]["copier"]["top1"]["value"] = 0.2
        row["tests"]["copier"]["above"]["difference"]["value"] = 0.0
    write_json(tmp_path / "results.json", results)
    words = " ".join(section(tmp_path, tmp_path / "results.json", sets, dial=None)["html"].split())
    assert words.count("1.0 times that of a guess") >= len(SETTINGS.variants)
    assert "2.6 times" not in words


def test_sets_without_sources_are_named_and_not_asked(sets, tmp_path):
    _, outputs = run(sets, tmp_path, replace(SETTINGS, sets=("uniform",), variants=("plain",)), names=("uniform",))
    results = outputs["scores"].with_name("results.json")
    page = section(tmp_path, results, sets, dial=None, names=("uniform",), document=None)
    assert "Uniform makes its images from no single real one" in " ".join(page["html"].split())
    assert [entry["name"] for entry in page["exhibits"] if not entry["shown"]] == [
        "reidentification.generated",
        "reidentification.dial",
        "reidentification.sources",
    ]
