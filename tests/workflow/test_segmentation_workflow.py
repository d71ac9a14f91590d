"""A task of segmentation in the whole graph, dry: what runs, and from what."""

import shlex

import pytest
from checkout import ROOT, new_checkout

from synthmed.core.files import read_csv, read_json, write_json
from synthmed.data.imageset import ImageSet
from synthmed.steps import STEPS

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("segmentation")]


def test_the_graph_of_nuclei_is_whole(tmp_path):
    checkout = new_checkout(tmp_path / "project", "tiny_nuclei.yaml")
    assert {
        *("fetch_nuclei_patches_raw", "fetch_nuclei_patches_pool", "train", "describe_networks", "section_networks"),
        *("score_states", "section_states", "section_mask_diversity", "train_segmenter", "section_segmentation"),
        *("validate_segmentation", "copies", "fidelity", "leaderboard", "page"),
    } <= checkout.planned()


def test_masks_are_deformed_painted_and_audited_and_a_run_that_went_well_writes_its_costs(tmp_path):
    checkout = new_checkout(tmp_path / "project", "tiny_nuclei.yaml")
    folder = checkout.path / "results" / "nuclei"
    targets = ["images/synthetic/pix2pix_patches.zip", "copies/masks/deformed_masks.json"]
    targets.append("generators/pix2pix_patches/networks.json")
    # Of the other generator, which nobody trains here; costs are written where all are described.
    write_json(folder / "generators/fastgan/networks.json", {"networks": {"generator": [{"parameters": 7}]}})
    checkout.snakemake(*(f"results/nuclei/{target}" for target in targets))

    names = ("images/train", "images/masks/deformed_masks", "images/synthetic/pix2pix_patches")
    real, masks, painted = (ImageSet(folder / f"{name}.zip") for name in names)
    known = [{mask.tobytes() for *_, mask in one.entries()} for one in (real, masks)]
    assert {*masks.column("origin"), *painted.column("origin")} <= set(real.column("image"))
    for *_, mask in painted.entries():
        assert mask.tobytes() in known[1] - known[0], "painted for deformed masks, not for real ones"
    audit = read_json(folder / targets[1])
    assert (audit["generator"], audit["n_fake"]) == ("deformed_masks", 16)
    assert audit["alarm"]["word"] in ("none found", "copies", "nearer to training")
    assert 0 <= audit["origin_identity"]["value"] <= 1
    rows = read_csv(checkout.path / "logs" / "costs.csv")
    assert [(row["experiment"], row["generator"]) for row in rows] == [
        ("nuclei", "Pix2Pix, PatchGAN"),
        ("nuclei", "FastGAN"),
    ]
    assert float(rows[0]["training_seconds"]) > 0
    assert (rows[1]["parameters"], rows[1]["training_seconds"]) == ("7", "")


def test_the_graph_of_a_segmentation_is_whole(tmp_path):
    checkout = new_checkout(tmp_path / "project", overlay=None)
    planned = checkout.planned(
        "--configfile",
        str(ROOT / "tests" / "workflow" / "tiny_segmentation.yaml"),
        "--",
        "results/tuberculosis/report.html",
    )
    assert {
        *("compose_arms", "choose_segmenter", "train_segmenter", "original_masks", "score_segmenters", "join_scores"),
        "compare",
        *("validate_segmentation", "section_segmentation", "section_task", "page"),
    } <= planned
    assert not planned & {"train_arm", "classify", "validate_verdict", "score_networks"}


def test_fewer_real_images_are_those_of_both_generator_and_segmenter(tmp_path):
    checkout = new_checkout(tmp_path / "project", overlay=None)
    commands = checkout.snakemake("-n", "-p", "--", "results/melanoma_small/sections/learning_curve.json").stdout
    lines = [line for line in commands.splitlines() if "melanoma_small/curve/40/" in line and "synthmed " in line]
    small = {line.split("synthmed ")[1].split()[0]: line for line in lines}
    curve = "results/melanoma_small/curve/40"
    assert f"--train {curve}/train.zip" in small["split"]
    assert f"--images {curve}/train.zip" in small["train"], "the generator"
    assert f"--images {curve}/train.zip" in small["sample"], "whose masks it paints"
    assert f"--checkpoints {curve}/pix2pix_2.lesion.pt" in small["sample"]
    assert f"--train {curve}/train.zip" in small["compose-arms"]
    assert f"--train {curve}/train.zip" in small["train-segmenter"]
    assert "--validation results/melanoma_small/images/validation.zip" in small["train-segmenter"]
    assert f"--synthetic {curve}/synthetic.zip" in small["score-segmenters"]
    assert f"--scores {curve}/scores.csv" in small["compare"]
    settings = checkout.path / "results/melanoma_small/settings"
    assert [read_json(settings / f"curve_split.{size}.json")["most"]["train"] for size in (40, 120)] == [40, 120]
    assert read_json(settings / "curve_sample.40.json")["samples"] == {"lesion": 40}


def test_all_that_the_sections_read_is_listed_under_provenance(tmp_path):
    checkout = new_checkout(tmp_path / "project", overlay=None)
    planned = checkout.snakemake("-n", "-p", "--", "results/melanoma_small/report.html").stdout
    read = {}
    for line in planned.splitlines():
        verb, *words = [*shlex.split(line.partition("synthmed section-")[2]), ""]
        if not verb:
            continue
        option, given = "", read.setdefault(verb, {})
        for word in words:
            option = word if word.startswith("--") else option
            given.setdefault(option, []).extend([word] if word != option and word else [])
    listed = set(read.pop("provenance")["--files"])
    assert {"quality", "networks", "mask-quality", "learning-curve"} <= set(read)
    for verb, given in read.items():
        inputs = {file.option for file in STEPS[f"section-{verb}"].inputs}
        assert {path for option in inputs for path in given.get(option, [])} <= listed, verb


def test_the_generator_of_the_curve_begins_with_the_file_that_it_begins_with(tmp_path):
    checkout = new_checkout(tmp_path / "project", overlay=None)
    (checkout.path / "weights").mkdir()
    (checkout.path / "weights" / "start.pt").touch()
    trainings = {"lesion": {"initialise_from": "weights/start.pt"}}
    overlay = {"experiments": {"melanoma_small": {"generators": {"pix2pix_2": {"trainings": trainings}}}}}
    write_json(tmp_path / "start.json", overlay)
    commands = checkout.snakemake(
        *("-n", "-p", "--configfile", str(tmp_path / "start.json"), "--"),
        "results/melanoma_small/curve/40/pix2pix_2.lesion.pt",
    ).stdout
    (line,) = [line for line in commands.splitlines() if "synthmed train --" in line]
    assert "--images results/melanoma_small/curve/40/train.zip" in line
    assert "--initial weights/start.pt" in line


def test_the_second_test_of_a_task_is_that_of_its_curve_and_of_no_form(tmp_path):
    checkout = new_checkout(tmp_path / "project", overlay=None)
    curve = {"task": "segmenter", "generator": "pix2pix", "sizes": [40], "added_share": 1.0}
    overlay = {"experiments": {"lesion_segmentation": {"learning_curve": curve}}}
    write_json(tmp_path / "curve.json", overlay)
    checkout.snakemake(
        *("-n", "--configfile", str(tmp_path / "curve.json"), "--"),
        *("results/lesion_segmentation/curve/40/scores.csv", "results/lesion_segmentation/multi_scale/forms.json"),
    )
    settings = checkout.path / "results" / "lesion_segmentation" / "settings"
    for name in ("score_segmenters.segmenter.real", "curve_scores", "scale_forms"):
        assert read_json(settings / f"{name}.json")["second_test"] == "isic2018_test", name
    of_networks = [read_json(path)["seed"] for path in sorted(settings.glob("train_scale.*.json"))]
    assert len({1, *of_networks}) == 1 + 3 * 3, "of each size and fold, and of the last ones, another seed"


def test_the_graph_of_several_sizes_and_of_the_mask_as_a_channel_is_whole(tmp_path):
    checkout = new_checkout(tmp_path / "project", overlay=None)
    planned = checkout.planned("--", "results/lesion_segmentation/report.html")
    assert {
        *("fetch_dermoscopy_outlines_raw", "fetch_dermoscopy_kinds_raw", "compose_scales", "train_scale"),
        *("train_multi_scale", "score_scale", "compare_scale", "scale_forms", "section_multi_scale", "original_masks"),
        *("prepare_other", "split_other", "drop_known", "mask_channel", "train_variant", "score_variants"),
        *("compare_variants", "section_mask_channel", "train", "score_segmenters", "page"),
    } <= planned
