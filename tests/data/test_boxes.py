"""Boxes in a cell of the manifest."""

import pytest

from synthmed.core.errors import InputError
from synthmed.data.boxes import Box, format_boxes, parse_boxes


def test_boxes_are_read_written_and_scaled():
    cell = "pleural effusion:10,20.5,30,44;nodule:0,2.125,3,40"
    boxes = parse_boxes(cell)
    assert boxes == [Box("pleural effusion", 10, 20.5, 30, 44), Box("nodule", 0, 2.125, 3, 40)]
    assert format_boxes(boxes) == cell
    assert boxes[0].scaled(0.5, 2) == Box("pleural effusion", 5, 41, 15, 88)
    assert parse_boxes("") == []
    assert format_boxes([]) == ""


def test_up_to_three_decimals_are_written():
    assert format_boxes([Box("nodule", 10.4, 12.0, 10.41, 100 / 3)]) == "nodule:10.4,12,10.41,33.333"
    assert parse_boxes("nodule:10.4,12,10.41,33.333") == [Box("nodule", 10.4, 12, 10.41, 33.333)]


@pytest.mark.parametrize("cell", ["nodule:1,2,3", "1,2,3,4", "nodule:1,2,x,4", "nodule:3,2,1,4", "nodule:1,4,3,4"])
def test_malformed_boxes_are_refused(cell):
    with pytest.raises(InputError, match="box"):
        parse_boxes(cell)
