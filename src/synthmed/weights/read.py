"""Reading pretrained weights from files of several formats. No code in a file is ever run."""

import pickle
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from synthmed.core.errors import InputError
from synthmed.core.files import hash_file, user_path
from synthmed.weights.registry import INSTALL, Package, Weight, available, no_weights, weight_of

if TYPE_CHECKING:
    from torch import Tensor


# -------------------------------------------------------------------------------------------------------- reading
_PICKLED_ARRAYS = {
    (module, name)
    for module in ("numpy.core.multiarray", "numpy._core.multiarray")
    for name in ("_reconstruct", "scalar")
} | {("numpy", "ndarray"), ("numpy", "dtype")}


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles dicts, lists and numpy arrays. Anything else, so any code, raises UnpicklingError."""

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in _PICKLED_ARRAYS:
            raise pickle.UnpicklingError(f"it wants to load {module}.{name}, and weights are only arrays")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_pickled_arrays(path: str | Path) -> "dict[str, Tensor]":
    """Nested dicts of pickled numpy arrays as a flat dict, names joined by dots. No code in the pickle is ever run.

    Raises InputError when the file holds anything but dicts of arrays.
    """
    import numpy as np
    import torch

    def flatten(value: object, name: str) -> "dict[str, Tensor]":
        if isinstance(value, Mapping):
            found: dict[str, Tensor] = {}
            for key, item in value.items():
                found |= flatten(item, f"{name}.{key}" if name else str(key))
            return found
        if not isinstance(value, np.ndarray):
            raise InputError(f"{path}: {name} is a {type(value).__name__}, not an array; this is no file of weights")
        return {name: torch.from_numpy(np.array(value))}

    with open(path, "rb") as handle:
        try:
            content = _ArrayUnpickler(handle).load()
        except (pickle.UnpicklingError, EOFError, AttributeError, ImportError, IndexError, ValueError) as error:
            raise InputError(f"{path}: not a readable file of weights ({error}); get it again") from error
    return flatten(content, "")


def _read_raw(path: Path) -> "dict[str, Tensor]":
    """Tensors of a safetensors, TorchScript or torch.save file, or of pickled arrays. Runs no code in it."""
    import torch

    if path.suffix == ".safetensors":
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(f"{path}: not a readable safetensors file ({error}); get it again") from error
    if path.suffix == ".ckpt":
        return read_pickled_arrays(path)
    try:
        if zipfile.is_zipfile(path) and _is_torchscript(path):
            with warnings.catch_warnings():
                # torch advises writers of TorchScript to use another format; what others wrote can only be read so.
                warnings.simplefilter("ignore", DeprecationWarning)
                return dict(torch.jit.load(path, map_location="cpu").state_dict())
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise InputError(f"{path}: not a readable file of weights ({error}); get it again") from error
    if not isinstance(state, Mapping) or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
        raise InputError(f"{path}: holds no plain state dict (names → tensors)")
    return dict(state)


def _is_torchscript(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(name.split("/")[1:2] == ["code"] for name in archive.namelist())


def load(name: str, file: str | Path | None) -> "tuple[dict[str, Tensor], str]":
    """The state dict of the weights `name` and the source it came from, in words. Touches no network, writes nothing.

    file: a file with these weights (in the format of any of the registry's sources, or what `path` wrote); None: the
        installed package. Raises InputError that names every alternative when there are none.
    """
    weight = weight_of(name)
    if file is not None:
        state = read(weight, given(file))
        return completed(weight, state, lambda part: load(part, None)[0]), f"file {Path(file).name}"
    for source in weight.sources:
        if isinstance(source, Package) and source.locate() is not None:
            state = read(weight, installed(source))
            return completed(weight, state, lambda part: load(part, None)[0]), str(source)
    raise InputError(no_weights(name, available(name).reasons))


def given(file: str | Path) -> Path:
    path = user_path(str(file))
    if not path.is_file():
        raise InputError(f"weights file {path}: no such file; give another, or none to use an installed package")
    return path


def installed(source: Package) -> Path:
    path = source.locate()
    if path is None:
        raise InputError(f"{source} is not installed ({INSTALL})")
    found = hash_file(path)
    if found != source.sha256:
        raise InputError(
            f"{path}: sha256 is {found}, not {source.sha256}; install {source.name} {source.version} again"
        )
    return path


def read(weight: Weight, file: Path) -> "dict[str, Tensor]":
    raw = _read_raw(file)
    try:
        state = weight.convert(raw)
    except (KeyError, ValueError) as error:
        raise InputError(f"{file}: these are no weights of {weight.human} ({error!r}); give others") from error
    if not state:
        raise InputError(f"{file}: these are no weights of {weight.human}; it holds {sorted(raw)[:3]}, …")
    return state


def completed(
    weight: Weight, state: "dict[str, Tensor]", get: "Callable[[str], dict[str, Tensor]]"
) -> "dict[str, Tensor]":
    """`state` with the tensors of the weights it includes and does not have yet; `get` reads those by name."""
    for tensor, part in weight.includes.items():
        if tensor not in state:
            state = {**get(part), **state}
    return state
