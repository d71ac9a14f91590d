"""Images/s of taking frames and hair out of dermoscopic photographs: ours against OpenCV's inpainting.

    python benchmarks/dermoscopy.py [--images 4] [--side 256] [--repeats 3] [--photographs FOLDER]

OpenCV is no dependency of the project (`pip install --no-deps --target DIR opencv-contrib-python-headless`, then
PYTHONPATH=src:DIR; without `contrib` its FSR is missing). Frames are pasted onto phantoms without one, or onto the
pictures of a folder; every contestant gets the same images and the same mask, so what is measured is the filling, and
PSNR of the filled pixels against what the frame hid says how good it is. Hair: ours finds hair and fills it in;
OpenCV's is the usual way, closings by two lines, a threshold and `inpaint` (DullRazor as it is mostly written). Median
CPU seconds over interleaved repeats of all images, one thread.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from common import interleaved, machine
from PIL import Image

from synthmed.data.phantoms.dermoscopy import DermoscopySettings, draw, plans
from synthmed.prepare import dermoscopy

CV2_FRAMES = ("INPAINT_NS", "INPAINT_TELEA")
CV2_FSR = ("INPAINT_FSR_FAST",)


def opencv():
    """The module, one thread. SystemExit with what to do when it cannot be imported."""
    try:
        import cv2
    except ImportError as error:
        raise SystemExit(
            f"OpenCV cannot be imported ({error}): pip install --no-deps --target DIR opencv-contrib-python-headless, "
            "then PYTHONPATH=src:DIR"
        ) from error
    cv2.setNumThreads(1)
    return cv2


def phantoms(count: int, side: int) -> np.ndarray:
    """Photographs without a frame, every second one with hair, uint8 (count, side, side, 3)."""
    settings = DermoscopySettings({"MEL": count}, 0.0, 1.0, 45.0, 10.0, {"hair": 0.5}, 0.3, side, 1)
    made = (draw(settings, plan).pixels for plan in plans(settings))
    return np.stack([one[:, (one.shape[1] - side) // 2 :][:, :side] for one in made])


def photographs(folder: Path, count: int, side: int) -> np.ndarray:
    """The first square pictures of a folder on which no frame is found, brought to the side."""
    found = []
    for path in sorted(folder.glob("*.jpg")):
        one = np.asarray(Image.open(path).convert("RGB").resize((side, side), Image.Resampling.LANCZOS))
        if not dermoscopy.frame_mask(one).any():
            found.append(one)
        if len(found) == count:
            return np.stack(found)
    raise SystemExit(f"{folder}: {len(found)} .jpg without a frame; {count} are needed")


def psnr_of(done: np.ndarray, truth: np.ndarray, where: np.ndarray) -> float:
    """Of the pixels `where`, in dB."""
    return float(10 * np.log10(255**2 / np.mean((done[where].astype(float) - truth[where]) ** 2)))


def frame_contestants(cv2) -> dict:
    """Name → function (pixels, mask) → pixels."""
    rng = np.random.default_rng(0)
    ours = {f"ours, {name}": way for name, way in dermoscopy.FRAME_METHODS.items() if "crop" not in name}
    found = {name: lambda pixels, mask, way=way: way(pixels, mask, rng) for name, way in ours.items()}
    found |= {f"OpenCV, {name}": partial(inpainted, cv2, getattr(cv2, name)) for name in CV2_FRAMES}
    if hasattr(cv2, "xphoto"):
        found |= {f"OpenCV, {name}": partial(fsr, cv2, getattr(cv2.xphoto, name)) for name in CV2_FSR}
    return found


def inpainted(cv2, flag: int, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return cv2.inpaint(pixels, mask.astype(np.uint8), 3, flag)


def fsr(cv2, flag: int, pixels: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """OpenCV's frequency selective reconstruction; its masks are 0 where pixels are missing."""
    done = np.empty_like(pixels)
    cv2.xphoto.inpaint(np.ascontiguousarray(pixels), np.where(mask, 0, 255).astype(np.uint8), done, flag)
    return done


def usual_way(cv2, pixels: np.ndarray) -> np.ndarray:
    """Hair out by closings of the grey image by two crossed lines, a threshold and inpainting."""
    grey, reach = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), max(5, min(pixels.shape[:2]) // 12) | 1
    lines = (np.ones((1, reach), np.uint8), np.ones((reach, 1), np.uint8))
    dark = np.max([cv2.morphologyEx(grey, cv2.MORPH_BLACKHAT, line) for line in lines], axis=0)
    return cv2.inpaint(pixels, (dark > 30).astype(np.uint8), 3, cv2.INPAINT_TELEA)


def rates(ways: Mapping[str, Callable], of: Sequence[tuple], repeats: int) -> dict[str, float]:
    """Images of every contestant in a second of CPU."""
    seconds = interleaved({name: lambda way=way: [way(*one) for one in of] for name, way in ways.items()}, repeats)
    return {name: len(of) / second for name, second in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--side", type=int, default=256, help="pixels")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--photographs", type=Path, default=None, help="folder of .jpg in place of phantoms")
    arguments = parser.parse_args()
    cv2, rng = opencv(), np.random.default_rng(1)
    size = (arguments.images, arguments.side)
    clean = phantoms(*size) if arguments.photographs is None else photographs(arguments.photographs, *size)
    framed = np.stack([dermoscopy.paste_frame(one, rng) for one in clean])
    masks = [dermoscopy.frame_mask(one) for one in framed]
    pairs = [(one, mask) for one, mask in zip(framed, masks, strict=True) if mask.any() and not mask.all()]
    truth = [one for one, mask in zip(clean, masks, strict=True) if mask.any() and not mask.all()]
    where = [mask for _, mask in pairs]
    print(f"{machine()}\nOpenCV {cv2.__version__}; {len(pairs)} images of {arguments.side}² with a frame")
    print(f"  {np.mean([mask.mean() for mask in where]):.0%} of the pixels are frame")
    ways = frame_contestants(cv2)
    done = {name: [way(*pair) for pair in pairs] for name, way in ways.items()}
    quality = {name: np.mean(list(map(psnr_of, ones, truth, where))) for name, ones in done.items()}
    for name, rate in rates(ways, pairs, arguments.repeats).items():
        print(f"  {name:26s}{rate:9.2f} images/s   PSNR of what was hidden {quality[name]:5.1f} dB", flush=True)
    hair = {
        "ours, finding": dermoscopy.hair_mask,
        "ours, finding and filling": dermoscopy.remove_hair,
        "OpenCV, the usual way": partial(usual_way, cv2),
    }
    print("hair")
    for name, rate in rates(hair, [(one,) for one in clean], arguments.repeats).items():
        print(f"  {name:26s}{rate:9.2f} images/s", flush=True)


if __name__ == "__main__":
    main()
