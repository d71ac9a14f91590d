"""Positions of affine maps, against torch's own."""

import pytest
import torch
from torch.nn import functional as F

from synthmed.augment.grids import affine_grid


@pytest.mark.parametrize(("height", "width"), [(8, 8), (5, 12), (1, 3)])
def test_positions_are_those_of_torch(height, width):
    matrices = torch.randn(4, 2, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    for given, tolerance in ((matrices, 1e-7), (matrices.float(), 1e-5)):
        expected = F.affine_grid(given, [4, 1, height, width], align_corners=False)
        found = affine_grid(given, height, width)
        assert found.dtype == given.dtype
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance)
