"""Charts: each makes one picture from plain values."""
