"""A task of segmentation in the whole graph, dry: what runs, and from what."""

import pytest
from checkout import ROOT, new_checkout

pytestmark = [pytest.mark.workflow, pytest.mark.xdist_group("segmentation")]


def test_the_graph_of_nuclei_is_whole(tmp_path):
    checkout = new_checkout(tmp_path / "project", "tiny_nuclei.yaml")
    assert {
        *("fetch_nuclei_patches_raw", "fetch_nuclei_patches_pool", "train", "describe_networks", "section_networks"),
        *("score_states", "section_states", "section_mask_diversity", "train_segmenter", "section_segmentation"),
        *("validate_segmentation", "copies", "fidelity", "leaderboard", "page"),
    } <= checkout.planned()


def test_the_graph_of_a_segmentation_is_whole(tmp_path):
    checkout = new_checkout(tmp_path / "project", overlay=None)
    planned = checkout.planned(
        "--configfile",
        str(ROOT / "tests" / "workflow" / "tiny_segmentation.yaml"),
        "--",
        "results/tuberculosis/report.html",
    )
    assert {
        *("compose_arms", "choose_segmenter", "train_segmenter", "original_masks", "score_segmenters", "compare"),
        *("validate_segmentation", "section_segmentation", "section_task", "page"),
    } <= planned
    assert not planned & {"train_arm", "classify", "validate_verdict", "score_networks"}
