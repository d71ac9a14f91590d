"""Volumes in one orientation: slices from the feet upwards, rows from front to back, columns from the patient's right.

World coordinates are DICOM's, in mm: x to the patient's left, y to the back, z to the head (LPS).
"""

from dataclasses import dataclass

import numpy as np

from synthmed.prepare.rejected import Rejected

_MAX_ANGLE = 10.0
"""Degrees that an axis of a volume may stand off one of the body."""
_NEAR = 0.5
"""Of a voxel, how far two grids may lie apart and still be one."""


@dataclass(frozen=True)
class Volume:
    """values: (a, b, c); affine: 4 × 4, from (a, b, c, 1) to (x, y, z, 1) in mm."""

    values: np.ndarray
    affine: np.ndarray

    @property
    def spacing(self) -> np.ndarray:
        """Distance of neighbouring elements along each axis, mm."""
        return np.linalg.norm(self.affine[:3, :3], axis=0)


def canonical(volume: Volume) -> Volume:
    """The same volume with axes (z, y, x), each ascending. Raises Rejected when its axes stand askew to the body's."""
    values, affine = volume.values, np.array(volume.affine, float)
    spacing = volume.spacing
    if values.ndim != 3 or not np.isfinite(affine).all() or (spacing <= 0).any():
        raise Rejected("no orientation: its header has no usable axes")
    directions = affine[:3, :3] / spacing  # columns: unit vectors of the three axes
    axis_of = np.abs(directions).argmax(axis=0)  # world axis of each axis of the volume
    if sorted(axis_of) != [0, 1, 2]:
        raise Rejected("oblique: no axis of the body fits two of its axes; resample it first")
    cosines = np.abs(directions[axis_of, range(3)])
    angle = float(np.degrees(np.arccos(np.clip(cosines.min(), 0, 1))))
    if angle > _MAX_ANGLE:
        raise Rejected(f"oblique: an axis stands {angle:.0f}° off those of the body; resample it first")
    for axis in range(3):
        if directions[axis_of[axis], axis] < 0:
            affine[:3, 3] += affine[:3, axis] * (values.shape[axis] - 1)
            affine[:3, axis] *= -1
            values = np.flip(values, axis)
    order = [int(np.flatnonzero(axis_of == world)[0]) for world in (2, 1, 0)]
    return Volume(values.transpose(order), affine[:, [*order, 3]])


def refuse_other_grid(mask: Volume, volume: Volume) -> None:
    """Raises Rejected unless both, as canonical gives them, lie on one grid, to half a voxel."""
    if mask.values.shape != volume.values.shape:
        raise Rejected(f"does not fit: it has {_size(mask)} voxels, the volume {_size(volume)}")
    ends = np.array([[0, 0, 0, 1], [*np.array(volume.values.shape) - 1, 1]], float).T
    apart = np.abs((np.linalg.inv(volume.affine) @ mask.affine @ ends - ends)[:3]).max()
    if apart > _NEAR:
        raise Rejected(f"does not fit: its header lays it {apart:.1f} voxels beside the volume")


def _size(volume: Volume) -> str:
    return "×".join(map(str, volume.values.shape[::-1]))
