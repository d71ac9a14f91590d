"""The one exception by which a picture is left out of a set."""


class Rejected(Exception):
    """This one image cannot be used; the message says why."""
