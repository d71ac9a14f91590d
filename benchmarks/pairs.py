"""Decoding and augmentation of images with masks: ours against a plain loop over PIL (and scipy) of one pair at a time.

    python benchmarks/pairs.py [--pairs 64] [--side 256] [--repeats 3]

Pairs are made up: smooth colour images with a few blobs as masks, in an image set. The loop opens each PNG of the zip,
and turns, mirrors, enlarges and shifts image (bilinear) and mask (nearest) by one affine map a pair; its elastic
deformation is scipy's gaussian_filter and map_coordinates. CPU seconds on one thread, medians of interleaved repeats.
"""

import argparse
import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import torch
from common import interleaved, machine
from PIL import Image
from scipy import ndimage

from synthmed.augment.pairs import Elastic, PairAugmentation, augment_pairs, deform_pairs
from synthmed.data.channels import MaskChannels
from synthmed.data.imageset import PLAIN, ImageSet, write_image_set

CLASSIC = PairAugmentation(horizontal_flip=True, vertical_flip=True, rotation=30.0, zoom=0.1, shift=0.05)
ELASTIC = Elastic(displacement=0.02, smoothness=0.05)


def made_up(path: Path, count: int, side: int) -> Path:
    rng, rows = np.random.default_rng(0), []
    for number in range(count):
        ground = ndimage.gaussian_filter(rng.standard_normal((side, side, 3)), (side / 12, side / 12, 0))
        pixels = np.clip(128 + 40 * ground / ground.std() + rng.normal(0, 4, ground.shape), 0, 255).astype(np.uint8)
        mask = np.where(ground[:, :, 0] > ground.std(), 255, 0).astype(np.uint8)
        rows.append(({"image": f"i{number:04d}.png", "label": "x", "patient": str(number)}, pixels, mask))
    write_image_set(path, rows)
    return path


# ------------------------------------------------------------------------------------------------------------ decoding
def decoded(path: Path) -> list[tuple[np.ndarray, ...]]:
    images = ImageSet(path)
    decode = images.decoder()
    return [decode(number) for number in range(len(images))]


def plainly_decoded(path: Path) -> list[tuple[np.ndarray, ...]]:
    found = []
    with zipfile.ZipFile(path) as archive:
        for name in sorted(name for name in archive.namelist() if name.startswith("images/")):
            files = (name, name.replace("images/", "masks/"))
            found.append(tuple(np.asarray(Image.open(io.BytesIO(archive.read(file)))) for file in files))
    return found


# -------------------------------------------------------------------------------------------------------- augmentation
def plainly_augmented(pairs: list[tuple[np.ndarray, ...]], rng: np.random.Generator) -> list[tuple[np.ndarray, ...]]:
    found = []
    for pixels, mask in pairs:
        side = mask.shape[0]
        angle, size = np.deg2rad(rng.uniform(-30, 30)), rng.uniform(0.9, 1.1)
        sign_x, sign_y = rng.choice((-1, 1), 2)
        move_x, move_y = rng.uniform(-0.05, 0.05, 2) * side
        a, b = sign_x * np.cos(angle) / size, -sign_x * np.sin(angle) / size
        d, e = sign_y * np.sin(angle) / size, sign_y * np.cos(angle) / size
        half = side / 2
        matrix = (a, b, half - half * (a + b) + move_x, d, e, half - half * (d + e) + move_y)
        moved = [
            np.asarray(Image.fromarray(image).transform((side, side), Image.Transform.AFFINE, matrix, how))
            for image, how in ((pixels, Image.Resampling.BILINEAR), (mask, Image.Resampling.NEAREST))
        ]
        found.append((moved[0].astype(np.float32) / 127.5 - 1, moved[1] > 0))
    return found


def plainly_deformed(pairs: list[tuple[np.ndarray, ...]], rng: np.random.Generator) -> list[tuple[np.ndarray, ...]]:
    found = []
    for pixels, mask in pairs:
        side = mask.shape[0]
        shift = np.stack([ndimage.gaussian_filter(rng.standard_normal((side, side)), 0.05 * side) for _ in range(2)])
        shift *= 0.02 * side / np.sqrt(np.square(shift).mean())
        where = np.mgrid[:side, :side] + shift
        image = np.stack(
            [
                ndimage.map_coordinates(pixels[:, :, k].astype(np.float32), where, order=1, mode="reflect")
                for k in range(3)
            ]
        )
        found.append((image / 127.5 - 1, ndimage.map_coordinates(mask, where, order=0, mode="reflect") > 0))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=64)
    parser.add_argument("--side", type=int, default=256, help="pixels")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{machine()}\n{arguments.pairs} colour images of {arguments.side}² with masks")
    with tempfile.TemporaryDirectory() as folder:
        path = made_up(Path(folder) / "pairs.zip", arguments.pairs, arguments.side)
        pairs = decoded(path)
        for ours, theirs in zip(pairs, plainly_decoded(path), strict=True):
            if not all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True)):
                raise SystemExit("ours and the plain loop decode different pixels")
        coding = MaskChannels("classes", PLAIN)
        images = torch.from_numpy(np.stack([pixels for pixels, _ in pairs])).permute(0, 3, 1, 2).float() / 127.5 - 1
        masks = torch.from_numpy(np.stack([coding.encode(mask) for _, mask in pairs])).permute(0, 3, 1, 2).float() / 255
        rng, generator = np.random.default_rng(1), torch.Generator().manual_seed(1)
        tasks = {
            "decoding": {"ours": lambda: decoded(path), "plain": lambda: plainly_decoded(path)},
            "classic augmentation": {
                "ours": lambda: augment_pairs(images, masks, CLASSIC, generator),
                "plain": lambda: plainly_augmented(pairs, rng),
            },
            "elastic deformation": {
                "ours": lambda: deform_pairs(images, masks, ELASTIC, generator),
                "plain": lambda: plainly_deformed(pairs, rng),
            },
        }
        for name, contestants in tasks.items():
            seconds = interleaved(contestants, arguments.repeats)
            rates = "".join(f"   {who} {arguments.pairs / second:8.0f} pairs/s" for who, second in seconds.items())
            print(f"  {name:22s}{rates}   ours {seconds['plain'] / seconds['ours']:5.2f} ×", flush=True)


if __name__ == "__main__":
    main()
