"""Every finding lies where anatomy has it and changes the beam's path in the right direction."""

import dataclasses

import numpy as np
import pytest

from synthmed.data.phantoms.anatomy import LUNG_DENSITY, render
from synthmed.data.phantoms.canvas import make_grid
from synthmed.data.phantoms.findings import ROOM, Severity
from synthmed.data.phantoms.pathology import KINDS, LEFT, RIGHT, TRAINED, UNTRAINED, sign
from synthmed.data.phantoms.patient import draw_patient

PLAIN = Severity(thickness=1.0, size=1.0)
OPAQUE = ("nodule", "consolidation", "interstitial opacity", "pleural effusion", "calcification", "atelectasis")
OPAQUE += ("mediastinal widening",)
AIR = ("pneumothorax", "pneumomediastinum", "subcutaneous emphysema", "pneumoperitoneum")
SEEDS = range(3)


@pytest.fixture(scope="module")
def chest():
    """A healthy chest, 200 pixels a side, lungs wholly on it."""
    patient = draw_patient(np.random.default_rng(4))
    pixel = 1.35 * max(patient.lung_height, 2 * patient.half_width) / 200
    grid = make_grid(200, 200, pixel, spine_column=100, apex_row=200 * 0.12)
    return render(np.random.default_rng(4), patient, grid), grid


def planted(chest, kind, seed=0, side=LEFT, level=PLAIN):
    anatomy, grid = chest
    return sign(kind, np.random.default_rng([7, seed]), anatomy, grid, level, side)


def change(chest, one):
    """What the finding changes of the path, as far as there is room for its water."""
    anatomy, _ = chest
    return np.minimum(one.water, ROOM * anatomy.air) * (1 - one.empty) + one.path


def area(one):
    return np.any(one.outlines, axis=0)


def test_the_kinds_are_those_of_the_document():
    assert len(KINDS) == 12
    assert set(TRAINED) | set(UNTRAINED) == set(KINDS)
    assert len(TRAINED) == 5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_finding_has_an_outline_and_what_it_changes_lies_in_it(chest, kind, seed):
    one = planted(chest, kind, seed)
    assert one.outlines
    assert all(outline.any() for outline in one.outlines)
    moved = np.abs(change(chest, one))
    assert moved[area(one)].mean() > 4 * moved[~area(one)].mean()


@pytest.mark.parametrize("kind", OPAQUE + AIR)
def test_opaque_findings_add_water_and_air_takes_it_away(chest, kind):
    for seed in SEEDS:
        one = planted(chest, kind, seed)
        assert (change(chest, one)[area(one)].mean() > 0) == (kind in OPAQUE)


def test_the_water_of_a_lung_finding_fits_into_the_lung(chest):
    anatomy, _ = chest
    for kind in ("nodule", "consolidation", "pleural effusion", "atelectasis"):
        filled = np.minimum(planted(chest, kind).water, ROOM * anatomy.air)
        assert (filled <= (1 - LUNG_DENSITY) * anatomy.air + 1e-4).all()


@pytest.mark.parametrize("side", [LEFT, RIGHT])
@pytest.mark.parametrize("kind", ["nodule", "consolidation", "pneumothorax", "calcification", "rib fracture"])
def test_findings_take_the_side_they_are_given(chest, kind, side):
    _, grid = chest
    columns = np.nonzero(area(planted(chest, kind, side=side)))[1]
    assert (np.sign(grid.x[0, columns]) == side).mean() > 0.98


def test_an_effusion_fills_the_costophrenic_angle_and_climbs_along_the_wall(chest):
    anatomy, grid = chest
    for seed in SEEDS:
        outline = planted(chest, "pleural effusion", seed).outlines[-1]
        rows, columns = np.nonzero(outline)
        lung = anatomy.lungs == 2
        assert grid.y[rows, 0].mean() > 0.6 * anatomy.patient.lung_height
        outermost = columns.max()
        middle = int(np.median(columns))
        assert outermost >= np.nonzero(lung)[1].max() - 2  # it reaches the wall
        # The upper edge at the wall is higher than in the middle: the meniscus.
        assert rows[columns >= outermost - 3].min() < rows[np.abs(columns - middle) <= 1].min()


def test_a_pneumothorax_is_air_without_vessels_beyond_a_line(chest):
    anatomy, grid = chest
    for seed in SEEDS:
        one = planted(chest, "pneumothorax", seed)
        beyond = one.empty > 0.99
        healthy = anatomy.tissue - (1 - LUNG_DENSITY) * anatomy.air
        nothing_left = anatomy.tissue - anatomy.air - anatomy.vessels
        line = one.path - (-one.empty * (LUNG_DENSITY * anatomy.air + anatomy.vessels))
        inside = beyond & (line < 0.01)
        assert inside.sum() > 200
        assert np.allclose((healthy + one.path)[inside], nothing_left[inside], atol=0.02)
        # At the apex and outside, not at the hilum.
        rows, columns = np.nonzero(area(one))
        assert rows.min() <= np.nonzero(anatomy.lungs == 2)[0].min() + 3
        assert np.abs(grid.x[0, columns]).mean() > 0.4 * anatomy.patient.half_width
        assert line.max() > 0.8  # the pleura


def test_free_air_lies_under_the_diaphragm(chest):
    anatomy, _ = chest
    for seed in SEEDS:
        outline = area(planted(chest, "pneumoperitoneum", seed))
        assert (anatomy.below[outline] > 0.5).mean() > 0.95
        rows, columns = np.nonzero(outline)
        assert np.ptp(columns) > 2 * np.ptp(rows)  # a crescent


def test_emphysema_lies_in_the_soft_tissue_beside_the_ribs(chest):
    anatomy, _ = chest
    for seed in SEEDS:
        taken = -planted(chest, "subcutaneous emphysema", seed).path
        assert taken[anatomy.lungs == 0].sum() > 3 * taken[anatomy.lungs > 0].sum()
        assert (taken <= 0.5 * anatomy.tissue + 1e-4).all()


def test_mediastinal_findings_lie_at_the_mediastinum(chest):
    anatomy, grid = chest
    half = anatomy.patient.half_width
    for kind in ("mediastinal widening", "pneumomediastinum"):
        for seed in SEEDS:
            columns = np.nonzero(area(planted(chest, kind, seed)))[1]
            assert np.abs(grid.x[0, columns]).max() < 0.75 * half
            assert (grid.x[0, columns] > 0).any()
            assert (grid.x[0, columns] < 0).any()


def test_a_fracture_moves_ribs_and_nothing_else(chest):
    anatomy, _ = chest
    for seed in SEEDS:
        one = planted(chest, "rib fracture", seed)
        touched = np.abs(one.path) > 0.05
        near = anatomy.ribs > 0.05
        step = 1.5 / chest[1].pixel
        for shift in range(1, int(step) + 2):
            near[shift:] |= anatomy.ribs[:-shift] > 0.05
        assert touched.any()
        assert near[touched].mean() > 0.97
        # A step, not a hole: most of the bone that goes comes back somewhere else.
        assert one.path[touched].clip(0).sum() > 0.3 * -one.path[touched].clip(None, 0).sum()


def test_bilateral_kinds_have_a_part_for_each_side(chest):
    _, grid = chest
    parts = [planted(chest, "interstitial opacity", seed).outlines for seed in range(6)]
    assert {len(outlines) for outlines in parts} <= {1, 2}
    for outlines in parts:
        if len(outlines) == 2:
            sides = [np.sign(grid.x[0, np.nonzero(outline)[1]].mean()) for outline in outlines]
            assert sides == [RIGHT, LEFT]
    assert max(len(outlines) for outlines in parts) == 2


@pytest.mark.parametrize("kind", KINDS)
def test_fainter_findings_change_less(chest, kind):
    faint = dataclasses.replace(PLAIN, thickness=0.3)
    strong, weak = (np.abs(change(chest, planted(chest, kind, level=level))).sum() for level in (PLAIN, faint))
    assert weak < 0.9 * strong
