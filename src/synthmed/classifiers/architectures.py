"""The networks of the classifiers: one logit a target, a sigmoid on each (seed 004, sections 2.2 and 3.2)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from synthmed.core.errors import InputError


class _Block(nn.Module):
    """Two 3×3 convolutions with BatchNorm and a shortcut (He et al. 2016, figure 5 left); (N, in, h, w) → (N, out, h,
    w). The shortcut is a 1×1 convolution where the number of channels changes."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = nn.Conv2d(inputs, outputs, 1, bias=False) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class SmallCNN(nn.Module):
    """A small residual network for images of 32 to 256 pixels.

    A 3×3 convolution of stride 2 with BatchNorm, then one residual block a stage, with 2×2 max pooling before every
    stage but the first; mean and maximum over the last map (the mean sees what is everywhere, the maximum what is
    small), dropout, one linear output a target. (N, C, H, W) in [-1, 1], H, W ≥ 2^stages → logits (N, T). The last map
    has H / 2^stages rows.
    """

    def __init__(self, image_channels: int, channels: Sequence[int], targets: int, dropout: float):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(image_channels, channels[0], 3, 2, 1, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU()
        )
        blind(self.stem[0])
        self.stages = nn.Sequential()
        for number, (inputs, outputs) in enumerate(zip([channels[0], *channels[:-1]], channels, strict=True)):
            pooling = [nn.MaxPool2d(2)] if number else []
            self.stages.append(nn.Sequential(*pooling, _Block(inputs, outputs)))
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(2 * channels[-1], targets)

    @property
    def last_convolution(self) -> nn.Module:
        return self.stages[-1]

    def forward(self, images: Tensor) -> Tensor:
        x = self.stages(self.stem(images))
        return self.head(self.dropout(torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)))


COLOURS = 3
"""Channels of a colour image; what stands behind them is something else than light."""


def blind(convolution: nn.Conv2d) -> None:
    """Let the weights of channels behind the colours begin with 0, so that the network does not see them at first."""
    with torch.no_grad():
        convolution.weight[:, COLOURS:] = 0


class InceptionV4(nn.Module):
    """timm's Inception-v4 (Szegedy et al. 2017) with T outputs: (N, C, H, W) in [-1, 1], sides of 75 or more → (N, T).

    Its ImageNet weights were trained on images in this range. Dropout stands before the linear layer.
    """

    def __init__(self, image_channels: int, targets: int, dropout: float):
        super().__init__()
        import timm  # imports torchvision: seconds

        self.net = timm.create_model(
            "inception_v4", pretrained=False, in_chans=image_channels, num_classes=targets, drop_rate=dropout
        )
        blind(self.net.features[0].conv)

    @property
    def last_convolution(self) -> nn.Module:
        return self.net.features[-1]

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Take over every layer but the last; channels behind the colours keep their weights of 0. Raises InputError
        when `state` is not of Inception-v4, or the images are grey."""
        own, first = self.net.state_dict(), "features.0.conv.weight"
        if own[first].shape[1] < COLOURS:
            raise InputError("images are grey; the weights of Inception-v4 are for colour: set prepare.channels to 3")
        needed = {name for name in own if not name.startswith("last_linear.") and "num_batches" not in name}
        given = {name: state[name] for name in needed & set(state)}
        if first in given and given[first].shape[1] == COLOURS:
            given[first] = torch.cat([given[first], torch.zeros_like(own[first][:, COLOURS:])], dim=1)
        wrong = sorted(name for name in needed if name not in given or given[name].shape != own[name].shape)
        if wrong:
            raise InputError(f"these are not the weights of Inception-v4: {wrong[0]} is missing or of another shape")
        self.net.load_state_dict(given, strict=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.net(images)


class _OfTorchvision(nn.Module):
    """A network of torchvision with T outputs: (N, C, H, W) in [-1, 1] → (N, T).

    Images are standardised by the ImageNet statistics; a grey image is repeated to three channels, which is the same as
    a first convolution whose weights are summed over its inputs. name: for people; last: the layer that is ours.
    """

    def __init__(self, image_channels: int, net: nn.Module, name: str, last: str):
        super().__init__()
        if image_channels not in (1, 3):
            raise InputError(f"images have {image_channels} channels; {name} takes grey (1) or RGB (3)")
        self.net, self.name, self.last = net, name, last
        # ImageNet's mean and deviation, expressed for images in [-1, 1].
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1) * 2 - 1, persistent=False)
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1) * 2, persistent=False)

    def load_imagenet(self, state: dict[str, Tensor]) -> None:
        """Take over every layer but the last. Raises InputError when `state` is not of this network."""
        own = self.net.state_dict()
        needed = {
            name for name in own if not name.startswith(f"{self.last}.") and not name.endswith("num_batches_tracked")
        }
        wrong = sorted(name for name in needed if name not in state or state[name].shape != own[name].shape)
        if wrong:
            raise InputError(f"these are not the weights of {self.name}: {wrong[0]} is missing or of another shape")
        self.net.load_state_dict({name: state[name] for name in needed}, strict=False)

    def forward(self, images: Tensor) -> Tensor:
        return self.net((images - self.mean) / self.deviation)


class ResNet50(_OfTorchvision):
    """torchvision's ResNet-50 (He et al. 2016). Dropout stands before the linear layer."""

    def __init__(self, image_channels: int, targets: int, dropout: float):
        from torchvision.models.resnet import resnet50  # imports torch's compiler: seconds

        net = resnet50(weights=None)
        net.fc = nn.Sequential(nn.Dropout(dropout), nn.Linear(net.fc.in_features, targets))
        super().__init__(image_channels, net, "ResNet-50", "fc")

    @property
    def last_convolution(self) -> nn.Module:
        return self.net.layer4[-1]


class EfficientNetB2(_OfTorchvision):
    """torchvision's EfficientNet-B2 (Tan & Le 2019). Dropout stands before the linear layer, as there."""

    def __init__(self, image_channels: int, targets: int, dropout: float):
        from torchvision.models.efficientnet import efficientnet_b2  # imports torch's compiler: seconds

        net = efficientnet_b2(weights=None, dropout=dropout)
        net.classifier[1] = nn.Linear(net.classifier[1].in_features, targets)
        super().__init__(image_channels, net, "EfficientNet-B2", "classifier")

    @property
    def last_convolution(self) -> nn.Module:
        return self.net.features[-1]


def build(
    architecture: str, channels: Sequence[int] | None, targets: int, image_shape: Sequence[int], dropout: float
) -> nn.Module:
    """A network with random weights from torch's global random numbers. image_shape: (C, H, W)."""
    if architecture == "resnet50":
        return ResNet50(image_shape[0], targets, dropout)
    if architecture == "efficientnet_b2":
        return EfficientNetB2(image_shape[0], targets, dropout)
    if architecture == "inception_v4":
        if min(image_shape[1:]) < 75:
            raise InputError(
                f"images of {image_shape[1]} × {image_shape[2]} pixels are too small for Inception-v4, which needs 75; "
                "prepare larger images, or take another network"
            )
        return InceptionV4(image_shape[0], targets, dropout)
    if min(image_shape[1:]) < 2 ** len(channels):
        raise InputError(
            f"images of {image_shape[1]} × {image_shape[2]} pixels are too small for {len(channels)} stages; give "
            "channels fewer entries or prepare larger images"
        )
    return SmallCNN(image_shape[0], channels, targets, dropout)
