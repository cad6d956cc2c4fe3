"""Scans with partitions through the whole chain: the volume, where it lies, and what is said of it."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from onebreath.chain.chain import build
from onebreath.chain.notes import read_warning
from onebreath.errors import OnebreathError
from tests.chain.running import images_of, run, simulated, steps, stream_of

VOLUME: dict[str, Any] = {
    "matrix": (40, 20), "partitions": 16, "thickness_mm": 5.0, "coils": 8, "acceleration": 2,
    "partition_acceleration": 2, "acs_mode": "embedded", "acs_lines": 16, "snr": 200,
}  # fmt: skip


def volume(
    method: str, changes: dict[str, dict[str, str]] | None = None, **options: Any
) -> tuple[ismrmrd.Image, float]:
    """The only image of series 1, and its error against the truth; noise is 1 in both."""
    scan = simulated(**VOLUME | options)
    (image,) = images_of(run(scan.header, stream_of(scan), steps(method, **(changes or {}))))
    truth = np.abs(scan.truth["image"][0, 0])
    return image, float(np.linalg.norm(image.data[0] - truth) / np.linalg.norm(truth))


CASES = {
    "2 x 2": ("cg_sense", {}, 0.1),
    "sheared": ("grappa", {"caipi_shift": 1}, 0.13),
    "1 x 3": ("grappa", {"acceleration": 1, "partition_acceleration": 3}, 0.25),
    "3 x 1": ("grappa", {"acceleration": 3, "partition_acceleration": 1}, 0.04),
    "oversampled": ("cg_sense", {"partition_oversampling": 1.25}, 0.08),
    "partial Fourier": (
        "cg_sense", {"partial_fourier": 0.8, "partition_partial_fourier": 0.8, "acs_lines": 10}, 0.22,
    ),
    "ellipse": ("grappa", {"elliptical": True}, 0.12),
    "asymmetric echo": ("cg_sense", {"echo_fraction": 0.75}, 0.2),
    "separate": ("grappa", {"acs_mode": "separate"}, 0.12),
    "full": ("zero_filled", {"acceleration": 1, "partition_acceleration": 1}, 0.023),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_volume(case: str) -> None:
    method, options, limit = CASES[case]
    image, error = volume(method, {"reconstruct": {"partial_fourier": "pocs"}}, **options)
    assert image.data.shape == (1, 16, 40, 20)
    assert error < limit


def test_lines_between_those_of_a_lattice_are_not_partial_fourier() -> None:
    """A lattice seldom ends at both edges; homodyne detection fills one axis alone, here the readout."""
    asked = {"reconstruct": {"partial_fourier": "homodyne"}}
    image, error = volume("cg_sense", asked, acceleration=4, partition_acceleration=1, echo_fraction=0.75)
    assert image.meta["Onebreath_reconstruct_partial_fourier"] == "homodyne (asymmetric echo)"
    assert error < 0.23


def test_the_header_is_that_of_one_volume() -> None:
    image, _ = volume("zero_filled", acceleration=1, partition_acceleration=1, position_mm=(5.0, -7.0, 9.0))
    assert tuple(image.getHead().matrix_size) == (20, 40, 16)
    assert tuple(image.field_of_view) == pytest.approx((360, 290, 80))
    assert tuple(image.position) == pytest.approx((5, -7, 9))
    assert image.image_index == 1
    assert image.meta["sampling_limits_E2"] == ["0", "8", "15"]


def test_oversampling_of_the_partitions_leaves_the_image() -> None:
    scan = simulated(**VOLUME | {"partition_oversampling": 1.5, "acceleration": 1, "partition_acceleration": 1})
    (image,) = images_of(run(scan.header, stream_of(scan), steps("zero_filled")))
    assert scan.header.encoding[0].encodedSpace.matrixSize.z == 24
    truth = np.abs(scan.truth["image"][0, 0])
    assert image.data.shape[1] == 16
    assert np.linalg.norm(image.data[0] - truth) < 0.03 * np.linalg.norm(truth)


def test_the_meta_says_how_the_plane_was_sampled() -> None:
    image, _ = volume("grappa", {"reconstruct": {"send_out_gfactor": "true"}}, caipi_shift=1)
    meta = image.meta
    assert meta["Onebreath_reconstruct_lattice"] == "2 x 2, shifted by 1"
    assert meta["Onebreath_calibrate_acs_block"] == "16 lines x 16 partitions"
    assert meta["Onebreath_sort_partitions"] == "16"
    assert meta["Onebreath_reconstruct_acceleration"] == "4"


@pytest.mark.parametrize("method", ["grappa", "cg_sense"])
def test_maps_are_those_of_the_pixels_of_another_matrix(method: str) -> None:
    """The slab is cut within partitions, and lines are left out; repetitions tell the noise."""
    scan = simulated(**VOLUME | {"matrix": (24, 16), "repetitions": 12, "caipi_shift": 1, "acs_lines": 12})
    space = scan.header.encoding[0].reconSpace
    space.matrixSize.z, space.matrixSize.y, space.fieldOfView_mm.z = 10, 16, 0.85 * space.fieldOfView_mm.z
    asked = {"send_out_gfactor": "true", "send_out_snr_map": "true", "noise_map_samples": "16"}
    made = run(scan.header, stream_of(scan), steps(method, reconstruct=asked, export={"output": "complex"}))
    shown, gfactor, snr = (np.stack([one.data[0] for one in images_of(made, n)]) for n in (4001, 20, 300))
    assert shown.shape == gfactor.shape == snr.shape == (12, 10, 16, 16)
    std = np.sqrt(shown.var(axis=0, ddof=1) / 2)
    bright = np.abs(shown).mean(axis=0) > 10 * std
    meta = images_of(made, 20)[0].meta
    known = str(meta["Onebreath_reconstruct_gfactor"]).partition("noise over ")[2]
    factor = float(images_of(made, 4001)[0].meta["Onebreath_export_noise_factor"])
    says = gfactor[0] * (float(known) if known else factor / float(meta["Onebreath_reconstruct_snr_scale"]))
    assert factor < 0.9
    assert np.median((says / std)[bright]) == pytest.approx(1, abs=0.1)
    assert np.median((snr[0] * std / np.abs(shown[0]))[bright]) == pytest.approx(1, abs=0.1)


def test_noise_is_g_in_gadgetrons_units_where_calibration_lines_carry_no_flag() -> None:
    scan = simulated(**VOLUME)
    for line in scan.acquisitions:
        line.clear_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
        line.clear_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    asked = {"snr_units": "gadgetron", "send_out_gfactor": "true", "send_out_snr_map": "true"}
    made = run(scan.header, stream_of(scan), steps("grappa", reconstruct=asked, export={"output": "complex"}))
    image, gfactor, snr = (images_of(made, series)[0] for series in (4001, 20, 300))
    assert image.meta["Onebreath_reconstruct_sampling"] == "lattice_acs"
    bright = snr.data > 5
    assert np.allclose((np.abs(image.data) / snr.data)[bright], gfactor.data[bright], rtol=1e-3)


@pytest.mark.parametrize(("method", "name"), [("low_rank_sparse", "low_rank_sparse"), ("raki", "raki")])
def test_methods_of_slices_are_refused_by_name(method: str, name: str) -> None:
    scan = simulated(**VOLUME)
    with pytest.raises(OnebreathError, match=f"{name} reconstructs two-dimensional scans only.*use cg_sense"):
        run(scan.header, stream_of(scan), steps(method))


def test_a_learned_method_leaves_the_images_to_its_fallback() -> None:
    scan = simulated(**VOLUME)
    (image,) = images_of(run(scan.header, stream_of(scan), steps("unrolled", reconstruct={"model": "auto"})), 50)
    assert image.data.shape == (1, 16, 40, 20)
    assert "no model is for scans with partitions" in image.meta["Onebreath_reconstruct_fallback"]
    assert "fallback for a learned method: no model is for scans" in image.meta["GADGETRON_ImageComment"]


def _most_memory(method: str, **options: Any) -> float:
    """Largest memory of a chain, by the k-space: the full encoded matrix of all channels, and separate calibration.

    What is sent is in memory before, as a client's file is on its disk.
    """
    warm, scan = simulated(**VOLUME | options), simulated(**VOLUME | {"matrix": (64, 48), "partitions": 24} | options)
    run(warm.header, stream_of(warm), steps(method))
    messages = stream_of(scan)
    matrix = scan.header.encoding[0].encodedSpace.matrixSize
    lines = matrix.y * matrix.z
    if scan.header.encoding[0].parallelImaging.calibrationMode.value == "separate":
        lines += sum(line.is_flag_set(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION) for line in scan.acquisitions)
    gc.collect()
    tracemalloc.start()
    try:
        for message in build(scan.header, steps(method)).run(messages):
            del message
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return float(peak / (8 * 8 * matrix.x * lines))


@pytest.mark.parametrize(("coils", "doubtful"), [(4, True), (16, False)])
def test_images_that_do_not_explain_the_calibration_lines_are_doubted(coils: int, doubtful: bool) -> None:
    scan = simulated(**VOLUME | {"acs_mode": "separate", "coils": coils, "matrix": (64, 20)})
    made = run(scan.header, stream_of(scan), steps("cg_sense", calibrate={"espirit_crop": "0.8"}))
    told = [text for text in map(read_warning, made) if text is not None]
    truth, (image,) = np.abs(scan.truth["image"][0, 0]), images_of(made)
    error = np.linalg.norm(image.data[0] - truth) / np.linalg.norm(truth)
    assert (error > 0.1) == doubtful
    assert any("of the calibration lines are not explained" in text for text in told) == doubtful
    assert (
        "Onebreath_warnings" in image.meta or any("not explained" in str(v) for v in image.meta.values())
    ) == doubtful


def test_a_stray_calibration_line_is_named() -> None:
    scan = simulated(**VOLUME | {"acs_mode": "separate", "acs_lines": 12})
    messages = stream_of(scan)
    lines = [m for m in messages if isinstance(m, ismrmrd.Acquisition)]
    (stray,) = [
        line
        for line in lines
        if (line.idx.kspace_encode_step_2, line.idx.kspace_encode_step_1) == (0, 4)
        and not line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
    ]
    copy = ismrmrd.Acquisition.from_array(stray.data.copy())
    copy._head = ismrmrd.AcquisitionHeader.from_buffer_copy(stray._head)
    copy.set_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
    told = [read_warning(m) for m in run(scan.header, [*messages, copy], steps("grappa"))]
    assert any(text and "left out of the calibration: partition and line (0, 4)." in text for text in told)


BARE = {"readout_oversampling": 1}


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("zero_filled", {}),
        ("zero_filled", BARE),
        ("cg_sense", BARE),
        ("grappa", BARE),
        ("cg_sense", BARE | {"acceleration": 1, "partition_acceleration": 1}),
        ("grappa", BARE | {"acs_mode": "separate", "acs_lines": 24}),
        ("grappa", BARE | {"echo_fraction": 0.75}),
    ],
)
def test_memory_is_less_than_three_times_the_kspace(method: str, options: dict[str, Any]) -> None:
    assert _most_memory(method, **options) < 3


_OWN_PROCESS = """
import sys
from onebreath.chain.chain import build
from onebreath.wire.connection import parse_header
from onebreath.wire.raw_file import RawFile
from tests.chain.running import steps

def reconstruct(path):
    with RawFile(path) as raw:
        for message in build(parse_header(raw.header_xml), steps(sys.argv[1])).run(raw.messages()):
            del message

def memory(kind):
    (line,) = (line for line in open("/proc/self/status") if line.startswith(kind))
    return 1024 * int(line.split()[1])

reconstruct(sys.argv[2])
before = memory("VmRSS")
reconstruct(sys.argv[3])
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc, which tells a process's memory")
def test_a_process_that_reads_a_file_needs_less_than_three_times_the_kspace(tmp_path: Path) -> None:
    """Resident memory, all of it: numpy's, the libraries', and what the allocator keeps."""
    warm, scan = tmp_path / "warm.h5", tmp_path / "scan.h5"
    simulated(**VOLUME).write(warm)
    simulated(**VOLUME | {"matrix": (80, 64), "partitions": 40}).write(scan)
    told = subprocess.run(
        [sys.executable, "-c", _OWN_PROCESS, "zero_filled", str(warm), str(scan)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2], timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    grown = int(told.stdout.split()[-1])
    assert 0 < grown < 3 * 8 * 8 * 128 * 80 * 40
