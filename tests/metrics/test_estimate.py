"""Estimate: what it refuses, and the way through JSON."""

import json

import pytest

from synthmed.metrics.estimate import Estimate


@pytest.mark.parametrize(
    "estimate", [Estimate(0.5, 0.25, 0.75, 10), Estimate(1.0, reason="one training"), Estimate.missing("no image", 0)]
)
def test_json_gives_the_same_estimate_back(estimate):
    content = json.loads(json.dumps(estimate.to_json()))
    assert sorted(content) == ["high", "low", "n", "reason", "value"]
    assert Estimate.from_json(content) == estimate


@pytest.mark.parametrize("values", [(float("nan"),), (1.0, float("-inf"), 2.0), (None,), (1.0, 0.5), (None, 0.1, 0.2)])
def test_what_cannot_be_is_refused(values):
    with pytest.raises(ValueError):
        Estimate(*values)
