"""requirements.lock without torch and what only a GPU needs, for machines without one: `make results CPU=1`.

torch and torchvision then come from PyTorch's own index, as CPU builds of the same versions, which have no CUDA
libraries; their hashes are not those of the lock, so these two are not checked.
"""

import re
import sys
from pathlib import Path

LEFT_OUT = re.compile(r"(torch|torchvision|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)==")


def without_cuda(lock: str) -> tuple[str, list[str]]:
    """The lock without these packages, and `torch==…` and `torchvision==…` as it had them."""
    kept, torch, skipping = [], [], False
    for line in lock.splitlines(keepends=True):
        if not line.startswith((" ", "#")):
            skipping = bool(LEFT_OUT.match(line))
            if skipping and line.startswith("torch"):
                torch.append(line.split()[0])
        if not skipping:
            kept.append(line)
    return "".join(kept), torch


if __name__ == "__main__":
    rest, torch = without_cuda(Path(sys.argv[1]).read_text(encoding="utf-8"))
    Path(sys.argv[2]).write_text(rest, encoding="utf-8")
    print(*torch)
