"""Drawing primitives of the phantoms in centimetres: a pixel grid, ellipsoids, soft lines and polygons, smooth noise.

Every map is float32 (h, w) and holds a path length in centimetres of water along the X-ray beam, so that structures
behind each other simply add up (Beer-Lambert, see film.py).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw


@dataclass(frozen=True)
class Grid:
    """Pixels of a film in patient coordinates: x to the right of the image (the patient's left), y down, in cm.

    x: float32 (1, w), 0 at the spine; y: float32 (h, 1), 0 at the top of the lungs; pixel: width of a pixel in cm.
    """

    x: np.ndarray
    y: np.ndarray
    pixel: float

    @property
    def shape(self) -> tuple[int, int]:
        return self.y.shape[0], self.x.shape[1]

    def window(self, left: float, right: float, top: float, bottom: float) -> tuple[slice, slice]:
        """Rows and columns that cover the rectangle (cm), cut to the film; empty slices when it lies outside."""
        rows, columns = self.y[:, 0], self.x[0]
        return (
            slice(int(rows.searchsorted(top)), int(rows.searchsorted(bottom))),
            slice(int(columns.searchsorted(left)), int(columns.searchsorted(right))),
        )

    def coarser(self, cell: float) -> "Grid":
        """The same field in cells of about `cell` cm, for maps without fine detail; itself when no finer."""
        if self.pixel >= cell:
            return self
        height, width = (max(2, round(side * self.pixel / cell)) for side in self.shape)
        edges = self.x[0, 0] - self.pixel / 2, self.y[0, 0] - self.pixel / 2
        x = edges[0] + (np.arange(width) + 0.5) * (self.shape[1] * self.pixel / width)
        y = edges[1] + (np.arange(height) + 0.5) * (self.shape[0] * self.pixel / height)
        return Grid(x.astype(np.float32)[None, :], y.astype(np.float32)[:, None], cell)

    def enlarged(self, values: np.ndarray) -> np.ndarray:
        """A map made on `coarser` brought to this grid, float32 (h, w)."""
        if values.shape == self.shape:
            return values
        return np.asarray(Image.fromarray(values).resize(self.shape[::-1], Image.Resampling.BILINEAR))


def make_grid(height: int, width: int, pixel: float, spine_column: float, apex_row: float) -> Grid:
    """Grid of height × width pixels of `pixel` cm whose origin lies at (apex_row, spine_column) in pixels."""
    x = ((np.arange(width) + 0.5 - spine_column) * pixel).astype(np.float32)
    y = ((np.arange(height) + 0.5 - apex_row) * pixel).astype(np.float32)
    return Grid(x[None, :], y[:, None], pixel)


def add_ellipsoid(
    path: np.ndarray, grid: Grid, centre: tuple[float, float], axes: tuple[float, float], angle: float, thickness: float
) -> None:
    """Add an ellipsoid to `path` in place: `thickness` cm of water at its centre, falling to zero at its rim.

    centre: (x, y) in cm; axes: half axes in cm; angle: of the first axis, radians, positive turns it downwards.
    """
    cosine, sine = np.cos(angle), np.sin(angle)
    wide, high = np.hypot(axes[0] * cosine, axes[1] * sine), np.hypot(axes[0] * sine, axes[1] * cosine)
    rows, columns = grid.window(centre[0] - wide, centre[0] + wide, centre[1] - high, centre[1] + high)
    x, y = grid.x[:, columns] - np.float32(centre[0]), grid.y[rows] - np.float32(centre[1])
    if angle == 0:
        remaining = (1 - (x / np.float32(axes[0])) ** 2) - (y / np.float32(axes[1])) ** 2
    else:
        along = x * np.float32(cosine / axes[0]) + y * np.float32(sine / axes[0])
        across = y * np.float32(cosine / axes[1]) - x * np.float32(sine / axes[1])
        along *= along
        across *= across
        remaining = np.subtract(1, along, out=along)
        remaining -= across
    np.maximum(remaining, 0, out=remaining)
    np.sqrt(remaining, out=remaining)
    remaining *= np.float32(thickness)
    path[rows, columns] += remaining


class SoftDrawing:
    """Lines and polygons with soft edges: drawn twice as fine as wanted, reduced, enlarged to the film.

    Values are 0..full (cm of water), stored in 8 bits; where shapes overlap the later one wins.
    """

    def __init__(self, grid: Grid, full: float, soft: float):
        """soft: width in cm over which an edge may fade; the drawing is as coarse as that allows, hence fast."""
        height, width = grid.shape
        self.grid, self.full = grid, full
        cell = max(grid.pixel, soft)
        self.size = max(1, round(width * grid.pixel / cell)), max(1, round(height * grid.pixel / cell))
        self.image = Image.new("L", (2 * self.size[0], 2 * self.size[1]))
        self.draw = ImageDraw.Draw(self.image)
        self.scale = np.array([2 * self.size[0] / width, 2 * self.size[1] / height]) / grid.pixel
        self.origin = np.array([grid.x[0, 0], grid.y[0, 0]]) - grid.pixel / 2

    def _pixels(self, points: Sequence[Sequence[float]] | np.ndarray) -> list[float]:
        return ((np.asarray(points) - self.origin) * self.scale).ravel().tolist()

    def _level(self, value: float) -> int:
        return min(255, max(0, round(255 * value / self.full)))

    def line(self, points: Sequence[Sequence[float]] | np.ndarray, width: float, value: float) -> None:
        """Polyline through `points` (n, 2) in cm, `width` cm wide."""
        pixels = max(1, round(width * float(self.scale[0])))
        self.draw.line(self._pixels(points), fill=self._level(value), width=pixels, joint="curve")

    def strokes(self, lines: np.ndarray, widths: np.ndarray, values: np.ndarray) -> None:
        """Many short polylines at once, without joints: lines (n, points, 2) in cm, widths (n,) in cm, values (n,)."""
        pixels = ((lines - self.origin) * self.scale).reshape(len(lines), -1).tolist()
        thick = np.maximum(1, np.rint(widths * self.scale[0])).astype(int).tolist()
        levels = np.clip(np.rint(255 * values / self.full), 0, 255).astype(int).tolist()
        for coordinates, width, level in zip(pixels, thick, levels, strict=True):
            self.draw.line(coordinates, fill=level, width=width)

    def polygon(self, points: Sequence[Sequence[float]] | np.ndarray, value: float) -> None:
        """Filled polygon with corners `points` (n, 2) in cm."""
        self.draw.polygon(self._pixels(points), fill=self._level(value))

    def disc(self, centre: tuple[float, float], radius: float, value: float) -> None:
        """Filled circle, `centre` and `radius` in cm."""
        x, y = centre
        corners = self._pixels([(x - radius, y - radius), (x + radius, y + radius)])
        self.draw.ellipse(corners, fill=self._level(value))

    def map(self) -> np.ndarray:
        """The drawing as float32 (h, w) in cm of water."""
        height, width = self.grid.shape
        image = self.image.reduce(2)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return np.asarray(image, dtype=np.float32) * np.float32(self.full / 255)


def smooth_noise(rng: np.random.Generator, grid: Grid, scale: float) -> np.ndarray:
    """Smooth noise, float32 (h, w), mean about 0 and standard deviation about 1, structures of about `scale` cm."""
    height, width = grid.shape
    rows = max(3, round(height * grid.pixel / scale) + 1)
    columns = max(3, round(width * grid.pixel / scale) + 1)
    coarse = rng.standard_normal((rows, columns), dtype=np.float32)
    # Bicubic interpolation between grid points lowers the standard deviation to about two thirds.
    return np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)) * np.float32(1.5)


def rotated(values: np.ndarray, angle: float, height: int, width: int, resample: Image.Resampling) -> np.ndarray:
    """The middle (height, width) of `values` (h, w), rotated by `angle` radians around the centre."""
    cosine, sine = math.cos(angle), math.sin(angle)
    rows, columns = values.shape
    # PIL wants the map from output to input pixels.
    c = columns / 2 - cosine * width / 2 + sine * height / 2
    f = rows / 2 - sine * width / 2 - cosine * height / 2
    image = Image.fromarray(values)
    return np.asarray(
        image.transform((width, height), Image.Transform.AFFINE, (cosine, -sine, c, sine, cosine, f), resample)
    )


def smooth_step(value: np.ndarray) -> np.ndarray:
    """Smooth step from 0 (value ≤ 0) to 1 (value ≥ 1)."""
    value = np.minimum(np.maximum(value, 0), 1)
    return value * value * (3 - 2 * value)


def as_column(values: np.ndarray) -> np.ndarray:
    """One value a row of the film, as float32 (h, 1)."""
    return values.astype(np.float32)[:, None]
