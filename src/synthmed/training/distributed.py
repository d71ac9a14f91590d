"""Several processes that train one model (`torchrun`), each on its part of every batch.

Random numbers are drawn for the whole batch in every process (a rank), which keeps its rows; so a batch, its noise and
the state of the generators do not depend on the number of ranks. Without torchrun there is one rank: nothing is
started, and every function here returns at once what it was given.
"""

import logging
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor, nn
from torch import distributed as group

from synthmed.core.errors import InputError
from synthmed.training.device import device_type, share_out_gpus


def launched() -> bool:
    """Whether torchrun started this process."""
    return group.is_available() and group.is_torchelastic_launched()


def launch(arguments: Sequence[str], processes: int, device: Literal["auto", "cpu", "cuda"]) -> NoReturn:
    """Become torchrun, which runs `synthmed` with these arguments in several processes on this machine, on GPUs that no
    other step has.

    Signals to this process reach all of them; when one fails, torchrun stops the others and ends with status 1.
    """
    if device_type(device) == "cuda":
        share_out_gpus(processes)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    sys.stdout.flush()
    os.execv(sys.executable, [*command, "-m", "--", "synthmed", *arguments])


@contextmanager
def ranks(device: torch.device) -> Iterator[None]:
    """Within the block the processes that torchrun started work together: gloo on CPUs, NCCL on GPUs, one GPU a rank.

    Only rank 0 logs progress. A process group that is there already is used. Raises InputError when a machine has fewer
    GPUs than ranks.
    """
    if not launched():
        yield
        return
    started = not group.is_initialized()
    if device.type == "cuda":
        local = group.get_node_local_rank()
        if local >= torch.cuda.device_count():
            raise InputError(
                "setting training.processes asks for more GPUs, one for each, than this machine has "
                f"({torch.cuda.device_count()}); lower it, or set device to 'cpu'"
            )
        torch.cuda.set_device(local)
    if started:
        group.init_process_group("nccl" if device.type == "cuda" else "gloo")
    level = logging.getLogger().level
    try:
        if rank() > 0:
            logging.getLogger().setLevel(logging.ERROR)
        yield
    finally:
        logging.getLogger().setLevel(level)
        if started:
            group.destroy_process_group()


def size() -> int:
    """Number of ranks."""
    return group.get_world_size() if group.is_available() and group.is_initialized() else 1


def rank() -> int:
    """Number of this process, from 0. Rank 0 writes the files."""
    return group.get_rank() if size() > 1 else 0


# ------------------------------------------------------------------------------------------------ parts of a batch
def own_rows(batch: Tensor) -> Tensor:
    """Of the rows of a whole batch those of this rank. Raises InputError when the ranks cannot share them equally."""
    share, left = divmod(len(batch), size())
    if left:
        raise InputError(
            f"a batch of {len(batch)} images cannot be shared equally by {size()} processes; set batch sizes that are "
            "multiples of their number"
        )
    return batch[rank() * share : (rank() + 1) * share]


def draw(function: Callable[..., Tensor], *shape: int, generator: torch.Generator, **options: Any) -> Tensor:
    """Random numbers of `shape`, e.g. by torch.randn: drawn for all ranks, of which the rows of this one are kept."""
    rows, *rest = shape
    return own_rows(function(size=(size() * rows, *rest), generator=generator, **options))


def gather(rows: Tensor) -> Tensor:
    """The rows of all ranks, in the order of the batch; without gradient."""
    if size() == 1:
        return rows
    parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(size())]
    group.all_gather(parts, rows.detach().contiguous())
    return torch.cat(parts)


# --------------------------------------------------------------------------------------------------------- together
@torch.no_grad()
def average(tensors: Sequence[Tensor]) -> None:
    """Replace each tensor (float32) by its mean over the ranks, all in one exchange."""
    if size() == 1:
        return
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    group.all_reduce(flat)
    flat /= size()
    for tensor, mean in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(mean.view(tensor.shape))


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether `flag` is set in any rank."""
    if size() == 1:
        return flag
    found = torch.tensor(float(flag), device=device)
    group.all_reduce(found)
    return bool(found > 0)


def collect(value: Any) -> list[Any]:
    """The `value` of every rank, in their order."""
    values = [value]
    if size() > 1:
        values = [None] * size()
        group.all_gather_object(values, value)
    return values


class _Sum(torch.autograd.Function):
    """Sum over the ranks; every rank's loss depends on it, so the gradient is summed, too."""

    @staticmethod
    def forward(_context: Any, x: Tensor) -> Tensor:
        x = x.clone()
        group.all_reduce(x)
        return x

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient.contiguous())


class SyncedBatchNorm(nn.BatchNorm2d):
    """BatchNorm over the batch of all ranks (torch's SyncBatchNorm works on GPUs only). (N, C, H, W) → the same."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        count = x.numel() // x.shape[1] * size()
        values = x.float()
        mean = _Sum.apply(values.sum((0, 2, 3))) / count
        centred = values - mean[:, None, None]
        variance = _Sum.apply(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = (variance + self.eps).rsqrt() * self.weight
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def synchronise_batch_norm(module: nn.Module) -> None:
    """With several ranks, let every BatchNorm2d inside `module` see the whole batch; its parameters stay its own.
    Raises InputError on a kind of it that would go on to see the rows of its rank alone."""
    if size() == 1:
        return
    for name, child in module.named_children():
        if type(child) is nn.BatchNorm2d:
            synced = SyncedBatchNorm(child.num_features, child.eps, child.momentum)
            synced.weight, synced.bias = child.weight, child.bias
            for buffer in ("running_mean", "running_var", "num_batches_tracked"):
                setattr(synced, buffer, getattr(child, buffer))
            setattr(module, name, synced.train(child.training))
        elif isinstance(child, nn.modules.batchnorm._BatchNorm) and type(child) is not SyncedBatchNorm:
            raise InputError(
                f"setting processes is {size()}, but the network's {type(child).__name__} sees the part of one process "
                "of each batch alone; set it to 1 for this network"
            )
        else:
            synchronise_batch_norm(child)
