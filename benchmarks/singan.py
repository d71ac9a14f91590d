"""Patches an hour of SinGAN, many as one network against one by one, by scale and size of the group.

    python benchmarks/singan.py [--sides 16 32 64 128 256] [--groups 1 2 4 8 16 32] [--most 524288] [--repeats 3]
                                [--threads 1] [--kernels 32] [--iterations 2000] [--device cpu]

Every scale is measured with every size of the group, in fp32 and bf16, contiguous and channels-last, by the model's own
training step (3 steps of the critics, 3 of the generators), with the finished scales below it. CPU time is counted, on
a GPU wall time; repeats are interleaved. A group is left out where a map of all its patches has more than `most` pixels
(a step takes 10 KB for each). The last lines say what a patch takes, trained alone and in the best groups, in one run.
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from common import interleaved, machine

from synthmed.generators.singan import Config, Model
from synthmed.training.device import choose_device
from synthmed.training.images import Batch

VARIANTS = {
    "fp32": ("fp32", torch.contiguous_format),
    "fp32, channels-last": ("fp32", torch.channels_last),
    "bf16": ("bf16", torch.contiguous_format),
    "bf16, channels-last": ("bf16", torch.channels_last),
}


def document(kernels: int, shape: tuple[int, int, int]) -> Config:
    """The document's settings (seed 000, section 3.3.2): the paper's but for three."""
    own = {"coarsest": 16, "factor": 0.5, "reconstruction_weight": 15.0}
    return replace(Model.paper_config(shape), kernels=kernels, **own)


def built(
    config: Config,
    shape: tuple[int, int, int],
    group: int,
    memory_format: torch.memory_format,
    precision: str,
    device: torch.device,
) -> Callable[[], None]:
    """The training step of a group of patches at the finest scale of images of `shape`."""
    images = torch.rand(group, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    torch.manual_seed(0)
    model = Model(replace(config, group_sizes=(group,)), shape, ("patches",))
    scales = len(model.sizes)
    model.plan([images], 2 * scales)
    model.to(device=device, memory_format=memory_format)
    model.precision = precision
    batch = Batch(images.to(device=device), torch.zeros(group))
    for scale in range(scales):
        model.step = 2 * scale
        model.train_step([batch])
    model.step += 1  # the second iteration of the last scale, again and again

    def step() -> None:
        model.train_step([batch])
        if device.type == "cuda":
            torch.cuda.synchronize()

    step()
    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sides", type=int, nargs="+", default=[16, 32, 64, 128, 256])
    parser.add_argument("--groups", type=int, nargs="+", default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--most", type=int, default=2**19, help="pixels of a map of all patches of a group")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--kernels", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=2000, help="of each scale")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    device = choose_device(arguments.device)
    print(f"{machine()}, torch {torch.__version__}, {device}, {arguments.threads} threads")
    unit = "CPU s" if device.type == "cpu" else "s"
    clock = time.process_time if device.type == "cpu" else time.perf_counter
    alone, together = ({name: 0.0 for name in VARIANTS} for _ in range(2))
    groups: dict[str, list[int]] = {name: [] for name in VARIANTS}
    for side in arguments.sides:
        shape = (3, side, side)
        config = document(arguments.kernels, shape)
        steps = {
            (group, name): built(config, shape, group, memory_format, precision, device)
            for group in arguments.groups
            if group == 1 or group * side**2 <= arguments.most
            for name, (precision, memory_format) in VARIANTS.items()
        }
        seconds = interleaved({str(key): step for key, step in steps.items()}, arguments.repeats, clock)
        print(f"\n{side} px: patches/{unit} of a training step, by patches in a group (× one by one)", flush=True)
        for name in VARIANTS:
            each = {group: seconds[str((group, kind))] / group for group, kind in steps if kind == name}
            shown = "  ".join(f"{group}: {1 / value:.2f} ({each[1] / value:.2f} ×)" for group, value in each.items())
            print(f"  {name:20s} {shown}", flush=True)
            groups[name].append(min(each, key=each.get))
            alone[name] += each[1]
            together[name] += min(each.values())
    per_hour = 3600 / arguments.iterations
    print(f"\npatches/h with {arguments.iterations} iterations of each scale: one by one, in the best groups")
    for name, total in together.items():
        print(
            f"  {name:20s} {per_hour / alone[name]:.3f}  {per_hour / total:.3f}, {alone[name] / total:.2f} ×, "
            f"groups of {groups[name]}"
        )


if __name__ == "__main__":
    main()
