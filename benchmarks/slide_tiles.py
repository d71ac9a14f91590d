"""Whole slide → PNG tiles: tiles/s of the way of prepare-slides against OpenSlide's bare read_region.

    python benchmarks/slide_tiles.py [--slide FILE] [--mpp 0.5] [--tiles 64] [--size 256] [--repeats 5]

Without FILE a slide of 4096² made-up pixels, deflated. Wall seconds, medians of interleaved repeats, of the same tiles:
bare = read_region alone, one thread; ours = read_region, onto white, PNG, with 1 and 2 threads, by each reader that is
installed; textbook = read_region, convert("RGB") and Pillow's own PNG level 6, one thread.
"""

import argparse
import io
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from common import interleaved, machine
from openslide import OpenSlide
from PIL import Image

from synthmed.data.phantoms.canvas import make_grid, smooth_noise
from synthmed.data.phantoms.slides import write_pyramid
from synthmed.data.png import encode_rgb
from synthmed.prepare.slide_file import open_slide


def made_up(path: Path) -> None:
    """A slide of smooth colours with the noise of a camera."""
    rng, grid = np.random.default_rng(1), make_grid(4096, 4096, 0.5, 0, 0)
    pixels = np.stack([170 + 25 * smooth_noise(rng, grid, 8) + rng.normal(0, 3, grid.shape) for _ in range(3)], axis=2)
    write_pyramid(path, pixels.clip(0, 255).astype(np.uint8), 0.5, 4)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slide", type=Path)
    parser.add_argument("--mpp", type=float, default=0.5, help="µm per pixel of the finest level and of the tiles")
    parser.add_argument("--tiles", type=int, default=64)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    size = (arguments.size, arguments.size)
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.slide or Path(folder) / "slide.tif"
        if arguments.slide is None:
            made_up(path)
        # Anew each time: libraries keep what they decoded.
        with OpenSlide(path) as slide:
            limits = np.array(slide.dimensions) - arguments.size
        places = np.random.default_rng(1).integers(0, limits, (arguments.tiles, 2)).tolist()

        def bare() -> None:
            with OpenSlide(path) as slide:
                for place in places:
                    slide.read_region(tuple(place), 0, size)

        def textbook() -> None:
            with OpenSlide(path) as slide:
                for place in places:
                    slide.read_region(tuple(place), 0, size).convert("RGB").save(io.BytesIO(), "PNG")

        def ours(reader: str, threads: int) -> None:
            with open_slide(path, reader, arguments.mpp) as slide, ThreadPoolExecutor(threads) as pool:
                how = {"level": 0, "tolerance": 0.02, "resample": Image.Resampling.LANCZOS}
                mpp = (arguments.mpp, arguments.mpp)
                list(pool.map(lambda place: encode_rgb(slide.area(*place, size, mpp, **how)), places))

        contestants = {"bare read_region": bare, "textbook": textbook}
        for reader in ("openslide", *(["tiffslide"] if find_spec("tiffslide") else [])):
            contestants |= {f"ours, {reader}, {n} thread{'s' * (n > 1)}": partial(ours, reader, n) for n in (1, 2)}
        for run in contestants.values():
            run()  # warms up
        seconds = interleaved(contestants, arguments.repeats, time.perf_counter)
    print(f"{machine()}\n{path.name}: {arguments.tiles} tiles of {arguments.size}²\n")
    for name, used in seconds.items():
        rate = arguments.tiles / used
        print(f"  {name:28s} {rate:7.1f} tiles/s   {seconds['bare read_region'] / used:.2f} × bare")


if __name__ == "__main__":
    main()
