"""What a step took is written beside its log, and no artefact knows of it."""

import time

from synthmed.core.cost import Stopwatch
from synthmed.core.files import read_json


def test_time_and_memory_are_measured_and_written_beside_the_log(tmp_path):
    watch = Stopwatch()
    watch.start -= 2.5  # it began so long ago
    held = bytearray(80 * 2**20)
    watch.write(tmp_path / "train.dcgan.both.log")
    found = read_json(tmp_path / "train.dcgan.both.cost.json")
    assert 2.5 <= found["seconds"] < 3.5 + time.monotonic() - watch.start - 2.5
    assert found["memory"] > len(held) / 2**20
    assert (found["gpu"] is None) == (found["gpu_memory"] is None)
