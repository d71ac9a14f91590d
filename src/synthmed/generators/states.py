"""States of a generator that are kept while it trains."""

import io
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from synthmed.core.errors import InputError
from synthmed.core.files import atomic_path
from synthmed.training import checkpoint as checkpoints
from synthmed.training import distributed
from synthmed.training.checkpoint import Checkpoint

_ZIP_TIME = (1980, 1, 1, 0, 0, 0)


class KeptStates:
    """The states of one training: files in a folder beside its checkpoint, one archive when it is done.

    The folder is no declared output, because a training that was stopped goes on with it (see ResumeState).
    """

    def __init__(self, checkpoint: Path, every: int | None, steps: int):
        """every: steps between states, None: none is kept; steps: of the whole training, whose last state is kept."""
        self.folder = Path(checkpoint).with_name(f"{Path(checkpoint).stem}.states")
        self.planned = [] if every is None else sorted({*range(every, steps + 1, every), steps})

    def keep(self, state: Checkpoint) -> None:
        """Of several ranks, rank 0 writes."""
        if distributed.rank() == 0:
            self.folder.mkdir(parents=True, exist_ok=True)
            checkpoints.save(self.folder / _member(state.step), state)

    def pack(self, path: Path) -> None:
        """Write the archive: a stored zip with a checkpoint for each planned step, an empty one where none is kept."""
        with atomic_path(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            for number in self.planned:
                name = _member(number)
                info = zipfile.ZipInfo(name, _ZIP_TIME)
                with open(self.folder / name, "rb") as source, archive.open(info, "w", force_zip64=True) as target:
                    shutil.copyfileobj(source, target)

    def remove(self) -> None:
        """The folder, when the archive is there."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _member(number: int) -> str:
    return f"{number:09d}.pt"


def read_states(path: Path) -> Iterator[Checkpoint]:
    """The states of a training, in order, one at a time. Raises InputError on a file that holds none."""
    try:
        with zipfile.ZipFile(path) as archive:
            if not (names := sorted(archive.namelist())):
                raise InputError(f"{path}: no state was kept in this training; set training.keep_every")
            for name in names:
                yield checkpoints.load(io.BytesIO(archive.read(name)), model=None)
    except (FileNotFoundError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: no archive of states ({error}); train the generator again") from error
