"""The one error that is shown to users as a sentence, without a traceback, and a check that many steps begin with."""

from collections.abc import Collection


class InputError(ValueError):
    """Something the user gave is unusable. The message names the file or setting, what is wrong, and what to do."""


def check_one_each(names: Collection, **inputs: Collection) -> None:
    """Raise InputError unless each of the `inputs`, lists of files by their names, has one file for each of `names`."""
    for name, files in inputs.items():
        if len(files) != len(names):
            raise InputError(f"{name}: {len(files)} files for {list(names)}; give one each, in that order")
