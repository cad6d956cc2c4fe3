"""A point at a known place in the patient (LPS, mm) lies where the affine of the image's header says."""

from __future__ import annotations

from typing import Any

import ismrmrd
import numpy as np
import pytest

from tests.chain.running import images_of, run, steps
from tests.raw import scan_header

NX, NY, FOV = 32, 24, (320.0, 240.0)
OBLIQUE = np.linalg.qr(np.array([[3.0, 1.0, 0.2], [-1.0, 2.0, 0.5], [0.3, -0.4, 2.0]]))[0]
AXES = {
    "transverse": ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
    "transverse, read to the right": ((-1, 0, 0), (0, 1, 0), (0, 0, -1)),
    "coronal, head first": ((1, 0, 0), (0, 0, -1), (0, 1, 0)),
    "sagittal": ((0, 1, 0), (0, 0, -1), (-1, 0, 0)),
    "oblique": tuple(OBLIQUE.T),
}
POSITION, OFFSET = np.array([12.0, -35.0, 60.0]), (40.0, -30.0)
"""Centre of the slice, and where the point lies along read and phase from there, in mm."""


def lines(read: np.ndarray, phase: np.ndarray, normal: np.ndarray) -> list[ismrmrd.Acquisition]:
    """K-space of one point, from its place in the patient alone: exp(-2 pi i k r), k in 1 / mm along the directions."""
    point = POSITION + OFFSET[0] * read + OFFSET[1] * phase
    kx = (np.arange(NX) - NX // 2) / FOV[0]
    made = []
    for row in range(NY):
        k = kx[:, None] * read + (row - NY // 2) / FOV[1] * phase
        data = np.exp(-2j * np.pi * (k @ (point - POSITION))).astype(np.complex64)
        line = ismrmrd.Acquisition.from_array(np.stack([data, 0.5 * data]), sample_time_us=2.0)
        line.idx.kspace_encode_step_1 = row
        line.center_sample = NX // 2
        line.position[:] = POSITION
        line.read_dir[:], line.phase_dir[:], line.slice_dir[:] = read, phase, normal
        made.append(line)
    return made


def affine(head: Any) -> np.ndarray:
    """Pixel (x, y) to LPS as DICOM has it, (3, 3): pixel n // 2 lies at the position."""
    matrix, fov = np.array(head.matrix_size), np.array(head.field_of_view)
    columns = [np.array(head.read_dir) * fov[0] / matrix[0], np.array(head.phase_dir) * fov[1] / matrix[1]]
    origin = np.array(head.position) - columns[0] * (matrix[0] // 2) - columns[1] * (matrix[1] // 2)
    return np.stack([*columns, origin], axis=1)


@pytest.mark.parametrize("name", AXES)
def test_the_point_lies_where_the_header_says(name: str) -> None:
    read, phase, normal = (np.array(axis, float) for axis in AXES[name])
    given = scan_header((NX, NY), fov=FOV, limits={"kspace_encoding_step_1": (0, NY // 2, NY - 1)})
    chain = steps("zero_filled", calibrate={"coil_map_algorithm": "none"}, prewhiten={"use_storage": "false"})
    (image,) = images_of(run(given, lines(read, phase, normal), chain))
    y, x = np.unravel_index(int(np.argmax(image.data[0, 0])), (NY, NX))
    found = affine(image.getHead()) @ np.array([x, y, 1.0])
    np.testing.assert_allclose(found, POSITION + OFFSET[0] * read + OFFSET[1] * phase, atol=1e-3)
    np.testing.assert_allclose(image.getHead().slice_dir, normal, atol=1e-6)
