"""The chest of a patient who does not exist as a solid: which tissue lies where, in Hounsfield units.

Lengths in cm: x to the patient's left, y to the back, z downwards from the top of the lungs. Every function takes x, y,
z as arrays that broadcast, so that one slice (z a number) and the points of the vessels are asked the same way.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from synthmed.data.phantoms.canvas import Grid, SoftDrawing, smooth_noise
from synthmed.data.phantoms.patient import Patient

AIR, FAT, MUSCLE, CORTEX, MARROW, CARTILAGE = -1000.0, -95.0, 52.0, 680.0, 190.0, 110.0
LUNG, LIVER, SPLEEN, MYOCARDIUM = -865.0, 58.0, 48.0, 45.0
"""Hounsfield units without contrast medium."""

_HEIGHTS = (-0.2, -0.08, 0, 0.06, 0.12, 0.22, 0.35, 0.5, 0.7, 1.1)
"""Parts of the height of the lungs, for the profiles below."""
_WIDTH = (0.4, 0.46, 0.56, 0.66, 0.75, 0.86, 0.94, 0.98, 1.0, 0.99)
_DEPTH = (0.55, 0.58, 0.64, 0.7, 0.76, 0.85, 0.93, 0.98, 1.0, 1.0)
_SHOULDER = (5.0, 4.6, 4.0, 3.2, 2.4, 1.3, 0.5, 0.1, 0.0, 0.0)
"""Muscle at the sides (cm): arms are lifted."""
_APEX = (0.0, 0.0, 0.16, 0.5, 0.75, 1.05, 1.4, 1.6, 1.7, 1.7)
"""Size of the top of each lung."""


@dataclass(frozen=True)
class Thorax:
    """A patient, and what differs from one chest to the next.

    heart: centre (x, y, z as a share of the lungs' height) and half axes (along, across, height) in cm; contrast: HU
    that the medium adds to blood, 0 without; fibrosis: 0 … 1, of the rims of the lungs; domes: where the diaphragm's
    right and left tops stand, as a share of the lungs' height; vessels: points (n, 4) of x, y, z and radius.
    """

    patient: Patient
    heart: tuple[tuple[float, float, float], tuple[float, float, float]]
    turn: float  # of the heart's long axis towards the front, radians
    contrast: float
    fibrosis: float
    domes: tuple[float, float]
    rib_phase: float
    aorta: float  # radius
    trachea: float  # radius
    gas: float  # radius of the bubble in the stomach
    vessels: np.ndarray

    # ------------------------------------------------------------------------------------------------------- frame
    def _share(self, z: np.ndarray) -> np.ndarray:
        return z / self.patient.lung_height

    def _inner(self, z: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Half width and half depth inside the ribs."""
        share = self._share(z)
        width = self.patient.half_width * np.interp(share, _HEIGHTS, _WIDTH)
        return width, 0.56 * self.patient.depth * np.interp(share, _HEIGHTS, _DEPTH)

    def _outward(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """How far outside of the ribs' inner surface, along the ray from the middle: cm, negative inside."""
        width, depth = self._inner(z)
        power = np.where(y > 0, 2.8, 2.3)  # backs lie flat
        radius = (np.abs(x / width) ** power + np.abs(y / depth) ** power) ** (1 / power)
        return np.hypot(x, y) * (1 - 1 / np.maximum(radius, 1e-3))

    @cached_property
    def _spine(self) -> float:
        """y of the middle of the vertebral bodies."""
        return 0.56 * self.patient.depth * 0.66

    @cached_property
    def _couch(self) -> float:
        """y of the couch under the back."""
        return 0.56 * self.patient.depth + 2.0 + self.patient.wall

    # ------------------------------------------------------------------------------------------------------- organs
    def in_heart(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, grown: float = 0.0) -> np.ndarray:
        """Where the heart lies, or what is at most `grown` cm beside it: bool."""
        return self._heart(x, y, z, grown) < 1

    def _heart(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, grown: float = 0.0) -> np.ndarray:
        (cx, cy, share), (along, across, height) = self.heart
        x, y, z = x - cx, y - cy, z - share * self.patient.lung_height
        x = x - 0.25 * z  # the tip lies lower
        u = x * np.cos(self.turn) - y * np.sin(self.turn)
        v = x * np.sin(self.turn) + y * np.cos(self.turn)
        # Blunt at the base, pointed at the tip.
        across = across * (1 - 0.16 * np.clip(u / along, -1, 1))
        return (u / (along + grown)) ** 2 + (v / (across + grown)) ** 2 + (z / (height + grown)) ** 2

    def in_trachea(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, wall: float = 0.0) -> np.ndarray:
        """The air of the windpipe and of the two main bronchi, or up to `wall` cm around it: bool."""
        fork = 0.39 * self.patient.lung_height
        middle, radius = self._spine - 3.1 + 0.04 * z, self.trachea + wall
        pipe = ((x + 0.3) / radius) ** 2 + ((y - middle) / (0.9 * radius)) ** 2 < 1
        found = pipe & (z < fork)
        for side, steep in ((-1, 1.05), (1, 0.75)):  # the right one is the steeper
            along = side * (x + 0.3) * np.cos(0.6 * steep) + (z - fork) * np.sin(0.6 * steep)
            off = -side * (x + 0.3) * np.sin(0.6 * steep) + (z - fork) * np.cos(0.6 * steep)
            tube = (off / (0.72 * radius)) ** 2 + ((y - middle - 0.1) / (0.72 * radius)) ** 2 < 1
            found = found | (tube & (along > 0) & (along < 3.4))
        return found

    def _below_diaphragm(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        width, depth = self._inner(z)
        height = self.patient.lung_height
        found = False
        for side, top in zip((-1, 1), self.domes, strict=True):
            away = ((x - side * 0.46 * width) / (0.56 * width)) ** 2 + ((y + 0.25 * depth) / (1.15 * depth)) ** 2
            found = found | (z > height * (top + (1.04 - top) * away**1.1))
        return found

    def in_lungs(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """Both lungs with their vessels, without windpipe and main bronchi: bool."""
        width, depth = self._inner(z)
        apex = np.maximum(np.interp(self._share(z), _HEIGHTS, _APEX), 1e-3)
        tops = ((np.abs(x) - 0.52 * width) / (0.5 * width * apex)) ** 2 + (
            (y - 0.1 * depth) / (0.9 * depth * apex)
        ) ** 2
        inside = (self._outward(x, y, z) < -0.12) & (tops < 1) & (self._share(z) > 0)
        return inside & ~self._mediastinum(x, y, z) & ~self._below_diaphragm(x, y, z)

    def _mediastinum(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """All between the lungs: heart and its fat, vessels, windpipe, gullet, spine."""
        share, (_, depth) = self._share(z), self._inner(z)
        half = np.interp(share, (0, 0.2, 0.35, 0.5, 0.6, 1), (3.6, 3.1, 3.3, 2.9, 1.6, 1.5))
        middle = ((x - 0.1) / half) ** 2 + ((y + 0.08 * depth) / (0.72 * depth)) ** 2 < 1
        spine = (x / 2.35) ** 2 + ((y - self._spine - 0.2) / 2.0) ** 2 < 1
        behind = (np.abs(x) < 2.2) & (y > self._spine)
        front = np.abs(x) < 0.35 + 0.55 * np.maximum(-y - 0.72 * depth, 0)
        before = front & (y < 0)
        gullet = np.hypot(x - 0.6, y - self._spine + 2.1) < 1.5
        found = middle | spine | behind | before | gullet | self.in_heart(x, y, z, 0.35)
        found = found | self.in_trachea(x, y, z, 0.15)
        for cx, cy, rx, ry in self._tubes(z):
            found = found | (((x - cx) / (rx + 0.2)) ** 2 + ((y - cy) / (ry + 0.2)) ** 2 < 1)
        return found

    def _tubes(self, z: np.ndarray) -> list[tuple]:
        """Great vessels at height z as ellipses: x, y, half axes; those that are not there have no size."""
        share, (_, depth), aorta = self._share(z), self._inner(z), self.aorta
        arch = np.clip(1 - np.abs(share - 0.335) / 0.045, 0, None) ** 0.5
        rising, falling = (share > 0.34) & (share < 0.6), share > 0.34
        trunk = np.clip(1 - np.abs(share - 0.47) / 0.06, 0, None) ** 0.5
        above = share < 0.32
        return [
            (-1.3 + 0 * share, -0.28 * depth, aorta * 1.15 * rising, aorta * 1.15 * rising),
            (2.3 - 0.8 * np.clip(share - 0.5, 0, 1), self._spine - 1.3 + 0 * share, aorta * falling, aorta * falling),
            (0.8 + 0 * share, 0.12 * depth, 2.9 * arch, 1.25 * aorta * arch),
            (-2.7 + 0 * share, -0.2 * depth, 0.95 * (share < 0.56), 1.05 * (share < 0.56)),  # vena cava
            (2.0 + 0 * share, -0.34 * depth, 1.55 * trunk, 1.7 * trunk),  # pulmonary trunk
            (-1.4 + 0 * share, -0.02 * depth, 3.4 * trunk, 1.05 * trunk),  # right pulmonary artery
            (3.0 + 0 * share, 0.05 * depth, 1.6 * trunk, 1.1 * trunk),
            (1.0 + 0 * share, -0.3 * depth, 0.55 * above, 0.55 * above),
            (2.2 + 0 * share, -0.05 * depth, 0.6 * above, 0.6 * above),
            (-1.6 + 0 * share, -0.42 * depth, 0.8 * above, 0.6 * above),
        ]

    # -------------------------------------------------------------------------------------------------------- a slice
    def slice(self, rng: np.random.Generator, grid: Grid, z: float, thickness: float) -> np.ndarray:
        """Hounsfield units of the slice at z, without noise: float32 (h, w). thickness: cm."""
        x, y = grid.x, grid.y
        outward = self._outward(x, y, z)
        hu = self._wall(x, y, z, outward)
        inside = outward < 0
        hu[inside] = FAT
        self._draw_mediastinum(hu, x, y, z)
        below = inside & self._below_diaphragm(x, y, z) & ~self.in_heart(x, y, z, 0.2)
        below &= ~((np.abs(x) < 2.6) & (y > self._spine - 1.5))
        hu[below] = self._abdomen(x, y, z)[below]
        lungs = self.in_lungs(x, y, z)
        hu[lungs] = self._parenchyma(rng, grid, z, thickness, lungs, outward)[lungs]
        self._draw_spine(hu, x, y, z)
        hu[self.in_trachea(x, y, z, 0.12)] = MUSCLE - 30
        hu[self.in_trachea(x, y, z)] = AIR
        behind = y - self._couch + 0.006 * x**2
        hu[(np.abs(behind - 0.2) < 0.2) & (hu < -900)] = -250
        hu[(behind > 0.4) & (behind < 2.2) & (np.abs(x) < 19)] = -940
        return hu.astype(np.float32)

    def _wall(self, x: np.ndarray, y: np.ndarray, z: float, outward: np.ndarray) -> np.ndarray:
        """Ribs, muscles, fat and skin around the chest; air outside."""
        person, (_, depth) = self.patient, self._inner(z)
        side = np.clip(np.abs(x) / np.maximum(np.hypot(x, y), 1e-3), 0, 1)
        muscle = 1.3 + 0.35 * person.wall + side**2 * np.interp(self._share(z), _HEIGHTS, _SHOULDER)
        fat = 0.35 + 0.65 * person.wall * (1 - 0.25 * side)
        skin = muscle + fat
        hu = np.where(outward < muscle, MUSCLE, FAT)
        hu = np.where(outward > skin - 0.15, 15.0, hu)
        hu = np.where(outward > skin, AIR, hu)
        if person.breast > 0.6 and 0.3 < self._share(z) < 0.85:
            self._draw_breasts(hu, x, y, z, -depth - muscle)
        front = (1 - y / depth) / 2
        spacing = 0.095 * person.lung_height
        phase = (z - 7.5 * front) / spacing + self.rib_phase
        rib = ((phase % 1 - 0.5) * spacing / 0.62) ** 2 + ((outward - 0.62) / 0.45) ** 2
        cartilage = front > 0.86
        hu = np.where(rib < 1, np.where(cartilage, CARTILAGE, np.where(rib > 0.42, CORTEX, MARROW) * person.bone), hu)
        sternum = (x / 1.9) ** 2 + ((y + depth + 0.65) / 0.6) ** 2
        if 0.15 < self._share(z) < 0.8:
            hu = np.where(sternum < 1, np.where(sternum > 0.55, CORTEX * 0.6, MARROW * 0.8), hu)
        return self._with_blades(hu, x, y, z)

    def _draw_breasts(self, hu: np.ndarray, x: np.ndarray, y: np.ndarray, z: float, front: np.ndarray) -> None:
        height = 1 - ((self._share(z) - 0.57) / 0.28) ** 2
        for side in (-1, 1):
            along = (x - side * 0.6 * self.patient.half_width) / 6.0
            bulge = along**2 + ((y - front - 1.4) / (1.6 + 0.75 * self.patient.breast * height)) ** 2
            hu[(bulge < 1) & (hu < -50)] = FAT
            hu[(bulge < 0.3) & (np.sin(3 * x) * np.sin(2.6 * y + z) > 0.25) & (hu == FAT)] = 10

    def _with_blades(self, hu: np.ndarray, x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
        """Shoulder blades: thin plates of bone at the back of both sides."""
        share, (width, depth) = self._share(z), self._inner(z)
        if not -0.15 < share < 0.55:
            return hu
        length = 4.2 * np.sqrt(np.clip(1 - ((share - 0.15) / 0.42) ** 2, 0, 1))
        away, back = np.abs(x) - 0.78 * width - 1.2, y - 0.72 * depth - 1.6
        along, across = away * 0.72 - back * 0.69, away * 0.69 + back * 0.72
        plate = (along / np.maximum(length, 1e-3)) ** 2 + ((across - 0.05 * along**2 + 0.3) / 0.32) ** 2
        return np.where((plate < 1) & (hu > -900), CORTEX * 0.75 * self.patient.bone, hu)

    def _draw_spine(self, hu: np.ndarray, x: np.ndarray, y: np.ndarray, z: float) -> None:
        bone, back = self.patient.bone, y - self._spine
        disc = (z / 2.4) % 1 < 0.16
        body = (x / 1.75) ** 2 + (back / 1.45) ** 2
        hu[body < 1] = 85 if disc else MARROW * bone
        if not disc:
            hu[(body < 1) & (body > 0.76)] = CORTEX * 0.72 * bone
        arch = (x / 1.55) ** 2 + ((back - 2.3) / 1.25) ** 2
        hu[(arch < 1) & (arch > 0.5) & (back > 1.1)] = CORTEX * 0.85 * bone
        hu[np.hypot(x, back - 2.25) < 0.85] = 30
        hu[(np.abs(x) < 0.32) & (back > 3.1) & (back < 5.2)] = CORTEX * 0.7 * bone
        across = np.abs(np.abs(x) - 2.4) < 1.3
        hu[across & (np.abs(back - 2.2 - 0.35 * np.abs(x)) < 0.32) & ((z / 2.4) % 1 > 0.4)] = CORTEX * 0.6 * bone

    def _draw_mediastinum(self, hu: np.ndarray, x: np.ndarray, y: np.ndarray, z: float) -> None:
        blood = 42 + self.contrast
        for cx, cy, rx, ry in self._tubes(z):
            if rx > 0:
                hu[((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 < 1] = blood
        hu[np.hypot(x - 0.5, (y - self._spine + 2.1) / 0.8) < 0.85] = MUSCLE - 12
        hu[np.hypot(x - 0.5, y - self._spine + 2.1) < 0.2] = -400
        heart = self._heart(x, y, z)
        hu[(heart < 1.06) & (heart >= 0.99)] = FAT + 20
        hu[heart < 1] = MYOCARDIUM + 0.25 * self.contrast
        (cx, cy, _), (along, across, _) = self.heart
        for dx, dy, rx, ry in ((0.42, -0.05, 0.36, 0.42), (-0.05, -0.55, 0.55, 0.32), (-0.45, 0.35, 0.42, 0.42)):
            at = ((x - cx - dx * along) / (rx * along)) ** 2 + ((y - cy - dy * across) / (ry * across)) ** 2
            hu[(at < 1) & (heart < 0.78)] = blood
        groove = (np.abs(x - cx + 0.3 * (y - cy)) < 0.25) & (heart < 1) & (heart > 0.72) & (y < cy)
        hu[groove] = FAT + 40

    def _abdomen(self, x: np.ndarray, y: np.ndarray, z: float) -> np.ndarray:
        _, depth = self._inner(z)
        hu = np.where(x < 2.5 - 0.25 * y, LIVER + 0.4 * self.contrast, FAT)
        hu = np.where((x >= 2.5) & (y > 0.15 * depth), SPLEEN + 0.5 * self.contrast, hu)
        stomach = ((x - 6) / 4) ** 2 + ((y + 0.25 * depth) / 3.6) ** 2
        hu = np.where(stomach < 1, 28.0, hu)
        return np.where((stomach < 0.85) & (np.hypot(x - 6, y + 0.5 * depth) < self.gas), AIR, hu)

    def _parenchyma(
        self, rng: np.random.Generator, grid: Grid, z: float, thickness: float, lungs: np.ndarray, outward: np.ndarray
    ) -> np.ndarray:
        """Lung tissue with vessels, the fissure, and the scars of fibrosis at the rim and the base."""
        (_, depth), share = self._inner(z), self._share(z)
        hu = LUNG + 45 * np.clip(grid.y / depth, -1, 1) + 14 * smooth_noise(rng, grid, 1.5)
        fissure = np.abs(grid.y - depth * (1.5 * share - 0.9 + 0.05 * np.sin(grid.x))) * np.ones_like(grid.x)
        hu = np.where(fissure < 0.09, hu + 70, hu)
        rim = np.exp(-np.maximum(-outward, 0) / 1.4) * np.interp(share, (0, 0.4, 1), (0.15, 0.4, 1))
        net = np.abs(smooth_noise(rng, grid, 0.55)) < 0.28
        hu = hu + self.fibrosis * rim * np.where(net, 560, 170)
        drawn = SoftDrawing(grid, 800, 0)
        points = self.vessels[:: max(1, int(grid.pixel / 0.12))]
        reach = points[:, 3] + thickness / 4
        for px, py, pz, radius in points[np.abs(points[:, 2] - z) < reach].tolist():
            chord = max(radius**2 - max(abs(pz - z) - thickness / 4, 0) ** 2, 0.0009) ** 0.5
            drawn.disc((px, py), chord, 800)
        vessels = drawn.map() / 800
        return hu * (1 - vessels) + (42 + self.contrast) * vessels
