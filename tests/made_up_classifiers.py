"""Classifiers that say what is planned: the likelihood of an image stands in its top left pixel, in per cent, plus an
offset for each seed."""

import numpy as np
import torch
from torch import nn

from synthmed.classifiers.network import Classifier
from synthmed.data.imageset import write_image_set


class Reader(nn.Module):
    """(N, 1, H, W) in [-1, 1] → logits (N, 1) whose sigmoid is the planned likelihood."""

    def __init__(self, offset):
        super().__init__()
        self.offset = offset
        self.anchor = nn.Parameter(torch.zeros(()))
        self.last_convolution = nn.Conv2d(1, 1, 1, bias=False)
        self.last_convolution.weight.data.fill_(1.0)

    def forward(self, images):
        percent = (self.last_convolution(images)[:, :, 0, 0] + 1) * 127.5
        return torch.logit((percent.double() / 100 + self.offset).clamp(1e-6, 1 - 1e-6))


def classifier(offsets, thresholds, size=4):
    return Classifier(
        "reader",
        ("abnormal",),
        (1, size, size),
        np.array(thresholds, dtype=float)[:, None],
        [Reader(offset).eval().requires_grad_(False) for offset in offsets],
    )


def plan(path, percents, labels, patients=None, size=4, **columns):
    """An image set whose image i is given the likelihood percents[i] / 100."""
    rows = []
    for number, (percent, label) in enumerate(zip(percents, labels, strict=True)):
        pixels = np.zeros((size, size), np.uint8)
        pixels[0, 0] = percent
        patient = f"p{number}" if patients is None else patients[number]
        extra = {name: values[number] for name, values in columns.items()}
        rows.append(({"image": f"i{number:03d}.png", "label": label, "patient": patient, **extra}, pixels))
    write_image_set(path, rows)
    return path
