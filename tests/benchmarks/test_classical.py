import numpy as np

from benchmarks.classical import _write_cfl, cine_slice, grappa_rows, one_frame_rows, sense_rows


def test_every_subject_runs_and_is_timed():
    data = cine_slice(2, 48, 40, 4, 2, 16)
    for measure, first in (
        (sense_rows, "CG-SENSE, numpy"),
        (grappa_rows, "GRAPPA uniform"),
        (one_frame_rows, "GRAPPA arc"),
    ):
        rows = measure(data, 1)
        assert rows[0].name.startswith(first)
        assert all(row.seconds > 0 for row in rows)


def test_the_slice_is_one_that_grappa_can_do():
    data = cine_slice(3, 48, 40, 4, 2, 16)
    assert data.sampling.family == "uniform_acs"
    assert not data.kspace[:, :, ~data.mask[0, :, 0]].any()
    np.testing.assert_allclose(np.sum(np.abs(data.maps) ** 2, axis=1), 1, rtol=1e-5)


def test_cfl_files_hold_readout_first(tmp_path):
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5).astype(np.complex64)
    _write_cfl(tmp_path / "some", array)
    assert (tmp_path / "some.hdr").read_text().splitlines()[1].startswith("5 4 1 3 1 1 1 1 1 1 2 ")
    stored = np.fromfile(tmp_path / "some.cfl", np.complex64).reshape((5, 4, 3, 2), order="F")
    assert stored[4, 2, 1, 1] == array[1, 1, 2, 4]
