"""The segmenters: one file each. To add one, write `segmenters/<name>.py` and its line here.

A file has `network(inputs, outputs, size, widths, dropout) -> nn.Module`, with weights from torch's global random
numbers: from images (N, inputs, H, W) in [-1, 1], (H, W) = size, to logits (N, outputs, H, W). Its layer `last` makes
them and has a bias, which a training begins with. It raises InputError when images of this size do not fit the network.
"""

import importlib

from synthmed.core.errors import InputError

SEGMENTERS = {
    "unet": "synthmed.segmenters.unet",
    "pix2pix": "synthmed.segmenters.pix2pix",
}
"""Name in the settings → module."""


def load(name: str):
    """The module of the segmenter `name`, imported only now. Raises InputError on an unknown name."""
    if name not in SEGMENTERS:
        raise InputError(f"setting architecture is {name!r}; the segmenters are {sorted(SEGMENTERS)}")
    return importlib.import_module(SEGMENTERS[name])
