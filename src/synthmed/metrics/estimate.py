"""A measured number: what everything that measures writes, and everything that shows reads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    value: None where it cannot be computed, and then `reason` says why. low, high: ends of its interval; None where
    there is none, and `reason` says why not (a value without chance in it has none and needs no reason). n: cases that
    it was measured on, None where that has no meaning.

    Raises ValueError on NaN or infinity, on a missing value without a reason, and on one end without the other.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if any(number is not None and not math.isfinite(number) for number in (self.value, self.low, self.high)):
            raise ValueError(f"{self}: a measured number is finite; use None and say why")
        if self.value is None and not self.reason:
            raise ValueError("an estimate without a value needs a reason")
        if (self.low is None) != (self.high is None) or (self.value is None and self.low is not None):
            raise ValueError(f"{self}: an interval has two ends and a value")

    def to_json(self) -> dict[str, float | int | str | None]:
        """As plain values, all five of them."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping) -> Estimate:
        """From what to_json gave."""
        return cls(**content)

    @classmethod
    def missing(cls, reason: str, n: int | None = None) -> Estimate:
        """No value, for `reason`."""
        return cls(None, n=n, reason=reason)


_KEYS = {field.name for field in fields(Estimate)}


def estimates(node: object) -> object:
    """What was read from JSON, with every measured number in it as Estimate."""
    if isinstance(node, Mapping):
        if "value" in node and set(node) <= _KEYS:
            return Estimate.from_json(node)
        return {key: estimates(value) for key, value in node.items()}
    return [estimates(value) for value in node] if isinstance(node, list) else node
