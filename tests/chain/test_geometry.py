"""Where images land: every orientation, oblique planes and odd matrix sizes, against the simulated truth."""

import numpy as np
import pytest

from onebreath.simulation.geometry import ORIENTATIONS
from tests.chain.running import images_of, pixels, run, simulated, steps, stream_of
from tests.helpers import nrmse

DOUBLE_OBLIQUE = {"orientation": "coronal_hf", "oblique_deg": (25.0, -15.0), "position_mm": (-31.0, 12.5, 47.0)}
PLANES = [{"orientation": name} for name in ORIENTATIONS] + [DOUBLE_OBLIQUE]


@pytest.mark.parametrize("plane", PLANES, ids=lambda plane: plane["orientation"] + ("+" if len(plane) > 1 else ""))
def test_images_have_the_geometry_of_their_slice(plane: dict) -> None:
    scan = simulated(slices=3, slice_order="interleaved", snr=500.0, **plane)
    made = images_of(run(scan.header, stream_of(scan), steps("zero_filled")))
    assert [image.slice for image in made] == [0, 1, 2]
    for image in made:
        head = image.getHead()
        np.testing.assert_allclose(head.position, scan.truth["position_mm"][image.slice], atol=1e-4)
        for name in ("read_dir", "phase_dir", "slice_dir"):
            np.testing.assert_allclose(getattr(head, name), scan.truth[name], atol=1e-6)
        np.testing.assert_allclose(head.field_of_view, (360, 290, 8), rtol=1e-6)
        assert list(head.matrix_size) == [56, 48, 1]
        assert [float(part) for part in image.meta["ImageRowDir"]] == pytest.approx(scan.truth["read_dir"], abs=1e-6)
        assert [float(part) for part in image.meta["ImageColumnDir"]] == pytest.approx(
            scan.truth["phase_dir"], abs=1e-6
        )
    assert nrmse(pixels(made), np.abs(scan.truth["image"][:, 0])) < 0.03


@pytest.mark.parametrize("oversampling", [1, 2])
@pytest.mark.parametrize("matrix", [(48, 56), (47, 56), (48, 55), (47, 55)], ids=str)
def test_pixels_are_in_place_whatever_the_matrix(matrix: tuple[int, int], oversampling: int) -> None:
    scan = simulated(matrix=matrix, readout_oversampling=oversampling, snr=500.0)
    (image,) = images_of(run(scan.header, stream_of(scan), steps("zero_filled")))
    truth = np.abs(scan.truth["image"][0, 0])
    assert nrmse(image.data[0, 0], truth) < 0.03
    for axis in (0, 1):
        assert nrmse(np.roll(truth, 1, axis), truth) > 0.2, "a shift by one pixel is seen"


@pytest.mark.parametrize("matrix", [(48, 56), (47, 55)], ids=str)
@pytest.mark.parametrize("method", ["cg_sense", "grappa"])
def test_accelerated_pixels_are_in_place_too(matrix: tuple[int, int], method: str) -> None:
    scan = simulated(matrix=matrix, acceleration=2, acs_mode="embedded", acs_lines=20, snr=500.0)
    (image,) = images_of(run(scan.header, stream_of(scan), steps(method)))
    assert nrmse(image.data[0, 0], np.abs(scan.truth["image"][0, 0])) < 0.05
