"""Scans from the field: small files that reproduce what users reported, each with what a user expects."""

import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest

from onebreath.cli import main


@dataclass
class Case:
    """What must come of a scan: error per image, words in the output, exit status."""

    nrmse: tuple[float, ...] = ()
    words: tuple[str, ...] = ()
    status: int = 0
    images: int = -1
    config: str = "Onebreath_Static.xml"
    quiet: bool = field(default=False)


CASES = {
    "01_siemens_units": Case((0.025,), ("WARNING: Series 1 is scaled to its own brightest pixel",)),
    "02_retro_gated": Case(words=("binned into 20 cardiac phases", "property phases"), images=20,
                           config="Onebreath_Cine_CGSENSE.xml"),
    "04_same_slice_counter": Case(words=("3 different positions", "20 mm"), status=1, images=0),
    "06_unflagged_phasestab": Case(words=("64 surplus lines", "no repeats"), status=1, images=0),
    "07_radial_said_cartesian": Case(words=("trajectory that is not Cartesian",), status=1, images=0),
    "08_multiband": Case(words=("2 slices were excited together", "not supported"), status=1, images=0),
    "09_fractional_acceleration": Case((0.032,), quiet=True),
    "11_rawdatacorrection_flag": Case((0.025,), ("64 lines are flagged as surface coil correction",)),
    "13_halfres_calibration": Case((0.036,), quiet=True),
    "14_image_index_collision": Case((0.025,) * 12, images=12, quiet=True),
    "15_reader_error_masked": Case(words=("acquisition 0 has 6144 bytes, but its header says 0",), status=1, images=0),
    "16_pulseq_z2": Case((0.025,), quiet=True),
    "17_no_encoding_limits": Case((0.036,), ("<encodingLimits>", "line 16 was taken")),
    "19_empty_last_line": Case((0.025,), ("1 lines without samples",)),
    "20_aborted_slice": Case((0.025, 0.015), ("slice 2 is incomplete: 20 of 64 lines",), images=2),
    "22_zeros_as_lines": Case((0.031,), ("20 lines that hold only zeros",)),
    "23_zero_directions": Case((0.025,), ("Directions of lines are (0, 0, 0)",)),
    "24_body_coil_lines": Case((0.025,), ("64 lines of 2 channels were left out",)),
    "26_bipolar_asymmetric_echo": Case((0.037, 0.032, 0.046), images=3, quiet=True),
    "29_no_data_in_group": Case(words=("group 'dataset' holds a header but no data",), status=1, images=0),
}  # fmt: skip


@pytest.fixture(scope="module")
def scan_file(shared: Path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("field")

    def make(name: str) -> Path:
        script = shared / "field" / f"{name}.py"
        if not script.is_file():
            pytest.skip(f"no {script}")
        path = folder / f"{name}.h5"
        subprocess.run([sys.executable, str(script), str(path)], check=True, cwd=script.parent)
        return path

    return make


@pytest.mark.parametrize("name", CASES)
def test_a_scan_from_the_field(name, scan_file, tmp_path, capsys):
    case, path = CASES[name], scan_file(name)
    status = main(["replay", "-f", str(path), "-c", case.config, "-o", str(tmp_path / "out.h5"), "-G", "g"])
    printed = capsys.readouterr()
    said = printed.out + printed.err
    assert status == case.status, said
    for words in case.words:
        assert words.lower() in said.lower()
    assert "Traceback" not in said
    assert not case.quiet or "WARNING" not in said
    made, headers = images_in(tmp_path / "out.h5")
    assert len(made) == (case.images if case.images >= 0 else len(case.nrmse))
    assert len(set(headers["image_index"])) == len(made)
    if case.nrmse:
        truth = np.load(path.with_suffix("").with_suffix(".truth.npy")).reshape(-1, *made.shape[1:])
        for image, expected, limit in zip(made, truth, case.nrmse, strict=False):
            scale = np.vdot(image, expected) / np.vdot(image, image)
            assert np.linalg.norm(scale * image - expected) < limit * np.linalg.norm(expected)


def images_in(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (image, y, x) and headers of series 1."""
    if not path.is_file():
        return np.empty((0, 1, 1)), np.empty(0, [("image_index", int)])
    with h5py.File(path) as file:
        return np.asarray(file["g/image_1/data"][:, 0, 0], float), file["g/image_1/header"][:]


def test_warnings_stand_in_the_meta_and_each_once_in_the_closing_lines(scan_file, tmp_path, capsys):
    path = scan_file("23_zero_directions")
    assert main(["replay", "-f", str(path), "-c", "Onebreath_Static.xml", "-o", str(tmp_path / "o.h5"), "-G", "g"]) == 0
    printed = capsys.readouterr()
    assert printed.out.count("WARNING: Directions of lines are (0, 0, 0)") == 1
    with h5py.File(tmp_path / "o.h5") as file:
        meta = ismrmrd.Meta.deserialize(file["g/image_1/attributes"][0].decode())
    assert "Directions of lines" in str(meta["Onebreath_warnings"])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("08_multiband", "2 slices were excited together"),
        ("09_fractional_acceleration", "acceleration 2.3"),
        ("17_no_encoding_limits", "<encodingLimits>"),
        ("23_zero_directions", "Directions of lines are (0, 0, 0)"),
        ("04_same_slice_counter", "3 different positions"),
    ],
)
def test_inspect_says_it_too_and_never_dies(name, words, scan_file, capsys):
    main(["inspect", str(scan_file(name)), "-c", "Onebreath_Static.xml"])
    printed = capsys.readouterr()
    assert words in printed.out + printed.err
    assert "Traceback" not in printed.err
