"""The checkpoint of a generator: what sampling and other steps need, loadable without running any pickled code."""

import io
import pickle
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path
from synthmed.data.channels import Coding
from synthmed.data.imageset import PLAIN, Legend

FORMAT = 1
_KEYS = {"format", "model", "config", "image_shape", "classes", "step", "state"}
_MASKS = {"legend", "masks"}
"""Further keys, of generators of images with named channels or masks."""


@dataclass(frozen=True)
class Checkpoint:
    """model: name in the registry; config: its settings as plain values; image_shape: (C, H, W); classes: the labels it
    was trained on, in order; step: finished training steps; state: names → tensors of Generator.inference_state;
    legend: of the image sets it learned and makes; masks: how their masks are channels, None where it knows none."""

    model: str
    config: dict[str, Any]
    image_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    step: int
    state: dict[str, Tensor]
    legend: Legend = PLAIN
    masks: Coding | None = None


def plain(value: Any) -> Any:
    """`value` with tuples as lists, as JSON and YAML hold it, so that settings from different sources compare equal."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Which entries of two nested mappings differ, in words: `training.steps was 100, is 200`."""
    found = []
    for key in sorted({*old, *new}):
        before, after = old.get(key, "absent"), new.get(key, "absent")
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key} was {before!r}, is {after!r}")
    return found


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of its state_dict on the CPU, in the standard memory format."""
    return {
        name: tensor.detach().to("cpu", memory_format=torch.contiguous_format, copy=True)
        for name, tensor in module.state_dict().items()
    }


def write_torch(path: str | Path, content: Any) -> None:
    """torch.save, atomically, with the same bytes for the same content (torch names the archive inside after the file,
    and the temporary file has a name of its own; through a buffer it has not)."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with atomic_path(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_torch(path: str | Path | BinaryIO, remedy: str) -> Any:
    """torch.load with weights_only=True. Raises InputError, ending in `remedy`, when the file is missing or broken."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file; {remedy}") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{path}: not readable, cut off or not written by synthmed ({reason}); {remedy}") from error


def save(path: str | Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` atomically. Equal checkpoints give equal bytes."""
    content = {
        "format": FORMAT,
        "model": checkpoint.model,
        "config": plain(checkpoint.config),
        "image_shape": list(checkpoint.image_shape),
        "classes": list(checkpoint.classes),
        "step": checkpoint.step,
        "state": checkpoint.state,
    }
    if (legend := checkpoint.legend.dump()) is not None or checkpoint.masks is not None:
        content |= {"legend": legend, "masks": checkpoint.masks}
    write_torch(path, content)


def load(path: str | Path | BinaryIO, *, model: str | None, config: Mapping[str, Any] | None = None) -> Checkpoint:
    """Read a checkpoint. `model` and `config`, where given, are what it must be of and have been trained with.

    Raises InputError when the file is missing, corrupt, of another format, of another model or of another config.
    """
    content = read_torch(path, "train the generator again")
    if not isinstance(content, dict) or set(content) not in (_KEYS, _KEYS | _MASKS):
        raise InputError(f"{path}: no checkpoint of a generator; give the file that `synthmed train` wrote")
    if content["format"] != FORMAT:
        raise InputError(
            f"{path}: checkpoint format {content['format']}, this version reads {FORMAT}; train the generator again"
        )
    if model is not None and content["model"] != model:
        raise InputError(f"{path}: checkpoint of {content['model']!r}, but the setting model is {model!r}")
    if config is not None and (differing := differences(content["config"], plain(config))):
        raise InputError(f"{path}: checkpoint of another config ({'; '.join(differing)}); train the generator again")
    return Checkpoint(
        model=content["model"],
        config=content["config"],
        image_shape=tuple(content["image_shape"]),
        classes=tuple(content["classes"]),
        step=content["step"],
        state=content["state"],
        legend=Legend.load(content["legend"], str(path)) if content.get("legend") else PLAIN,
        masks=content.get("masks"),
    )
