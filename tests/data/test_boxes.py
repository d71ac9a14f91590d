"""Boxes in a cell of the manifest."""

import pytest

from synthmed.data.boxes import Box, format_boxes, parse_boxes
from synthmed.errors import InputError


def test_boxes_are_read_written_and_scaled():
    cell = "pleural effusion:10.0,20.5,30.0,44.0;nodule:1.0,2.0,3.0,4.0"
    boxes = parse_boxes(cell)
    assert boxes == [Box("pleural effusion", 10, 20.5, 30, 44), Box("nodule", 1, 2, 3, 4)]
    assert format_boxes(boxes) == cell
    assert boxes[0].scaled(0.5, 2) == Box("pleural effusion", 5, 41, 15, 88)
    assert parse_boxes("") == []
    assert format_boxes([]) == ""


@pytest.mark.parametrize("cell", ["nodule:1,2,3", "1,2,3,4", "nodule:1,2,x,4", "nodule:3,2,1,4", "nodule:1,4,3,4"])
def test_malformed_boxes_are_refused(cell):
    with pytest.raises(InputError, match="box"):
        parse_boxes(cell)
