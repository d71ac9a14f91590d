"""What a step took: its time and its memory, beside its log.

No artefact knows of it: equal runs have equal artefacts, and another machine takes another time.
"""

import resource
import sys
import time
from pathlib import Path

from synthmed.core.files import write_json

SUFFIX = ".cost.json"


class Stopwatch:
    """Counts from where it is made."""

    def __init__(self) -> None:
        self.start = time.monotonic()

    def measured(self) -> dict[str, object]:
        """seconds; memory: MiB, the most that this process, or one that it started, has held; gpu_memory: MiB, the most
        that torch had on a GPU at once, and gpu, its name; null where none was used."""
        most = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        found = {"seconds": round(time.monotonic() - self.start, 2), "memory": round(most / 1024, 1)}
        torch = sys.modules.get("torch")  # where no step imported it, no GPU was used
        if torch is None or not torch.cuda.is_initialized():
            return {**found, "gpu_memory": None, "gpu": None}
        devices = range(torch.cuda.device_count())
        used, device = max((torch.cuda.max_memory_allocated(device), device) for device in devices)
        return {**found, "gpu_memory": round(used / 2**20, 1), "gpu": torch.cuda.get_device_name(device)}

    def write(self, log: Path) -> None:
        """Write what was measured beside the log of the step."""
        write_json(log.with_suffix(SUFFIX), self.measured())
