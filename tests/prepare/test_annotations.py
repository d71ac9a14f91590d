"""Annotations of slides: both formats, holes and islands by hand, and files that cannot be used."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_slides import ANNOTATION, square

from synthmed.core.errors import InputError
from synthmed.data.phantoms.slides import asap_xml
from synthmed.prepare.annotations import AnnotationSettings, area_map, read_outlines
from synthmed.prepare.rejected import Rejected

SIZE = (400, 500)


def scope(*regions):
    """A file of ImageScope: regions as (layer, type, negative, points)."""
    layers = "".join(
        f'<Annotation Id="{number}" Name="{layer}"><Regions><Region Type="{kind}" NegativeROA="{negative}"><Vertices>'
        + "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in points)
        + "</Vertices></Region></Regions></Annotation>"
        for number, (layer, kind, negative, points) in enumerate(regions, start=1)
    )
    return f'<Annotations MicronsPerPixel="0.5">{layers}</Annotations>'.encode()


def covered(outlines, cell=(1.0, 1.0)):
    shape = round(SIZE[0] / cell[1]), round(SIZE[1] / cell[0])
    return area_map(outlines, shape, cell)


def test_an_island_in_a_hole_is_a_region_again_whatever_the_order():
    groups = {"normal": [square(20, 20, 60)], "metastases": [square(40, 40, 20), square(0, 0, 100)]}
    outlines = read_outlines(asap_xml(groups), ANNOTATION, SIZE)
    inside = covered(outlines)
    assert inside.sum() == 100**2 - 60**2 + 20**2
    assert inside[10, 10]
    assert not inside[30, 30]
    assert inside[50, 50]
    np.testing.assert_array_equal(covered(outlines[::-1]), inside)


def test_rows_are_y_and_cells_may_be_oblong():
    outlines = read_outlines(
        asap_xml({"metastases": [np.array([[100, 0], [200, 0], [200, 50], [100, 50]], float)]}), ANNOTATION, SIZE
    )
    inside = covered(outlines, (10.0, 5.0))
    assert inside.sum() == 10 * 10
    assert inside[:10, 10:20].all()


def test_imagescope_marks_holes_itself_and_layers_without_a_name_have_their_number():
    settings = AnnotationSettings(("1", "tumour"), (), (), 0.5, 0.0)
    content = scope(
        ("", 0, 0, square(0, 0, 100)), ("tumour", 1, 1, square(10, 10, 50)), ("", 3, 0, [(0, 0), (5, 5)]),
        ("tumour", 2, 0, [(200, 100), (300, 200)]),
    )  # fmt: skip
    outlines = read_outlines(content, settings, SIZE)
    assert [outline.hole for outline in outlines] == [False, True, False]
    circle = np.pi * 50**2
    assert covered(outlines).sum() == pytest.approx(100**2 - 50**2 + circle, abs=0.003 * circle)


def test_ignored_groups_are_left_out():
    outlines = read_outlines(
        asap_xml({"metastases": [square(0, 0, 9)], "measured": [square(0, 0, 99)]}), ANNOTATION, SIZE
    )
    assert len(outlines) == 1
    assert outlines[0].area == 81


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<ASAP_Annotations>", "no XML"),
        (b"<html></html>", "begins with <html>"),
        (asap_xml({"metastases": []}), "marks none of"),
        (asap_xml({"other": [square(0, 0, 9)]}), "has the group 'other'"),
        (asap_xml({"metastases": [square(450, 10, 60)]}), "lies outside: a point at 510, 10"),
        (asap_xml({"metastases": [square(-9, 10, 60)]}), "lies outside"),
        (asap_xml({"metastases": [np.array([[1.0, 1.0]])]}), "fewer than two points"),
        (asap_xml({"metastases": [square(0, 0, 9)]}).replace(b'X="9.000"', b""), "without X and Y"),
        (asap_xml({"metastases": [square(0, 0, 9)]}).replace(b'X="9.000"', b'X="nan"'), "no number"),
    ],
)
def test_files_that_cannot_be_used(content, words):
    with pytest.raises(Rejected, match=words):
        read_outlines(content, ANNOTATION, SIZE)


def test_settings_that_contradict_themselves():
    with pytest.raises(InputError, match="'normal' twice"):
        replace(ANNOTATION, ignored=("normal",))
    with pytest.raises(InputError, match="the first must be smaller"):
        replace(ANNOTATION, outside_share=0.5)
