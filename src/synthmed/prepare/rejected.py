"""The exceptions by which a picture, a slide or a volume is left out of a set."""


class Rejected(Exception):
    """This one image cannot be used; the message says why."""


class Nothing(Rejected):
    """This slide or volume is sound, and by the settings gives no image: it is listed, and setting max_rejects does not
    count it."""
