"""Seeds that follow from one seed and a purpose."""

import hashlib


def seed_of(*parts: int | str) -> int:
    """A seed in [0, 2^63) that follows from `parts`; different parts give unrelated seeds.

    `device.derived_seed` gives other numbers for the same parts; one in place of both would change every result.
    """
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
