"""The one error that is shown to users as a sentence, without a traceback."""


class InputError(ValueError):
    """Something the user gave is unusable. The message names the file or setting, what is wrong, and what to do."""
