"""Genuine Siemens files: what arrives is what the scanner wrote; its protocol is another witness of the geometry."""

import struct
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import pytest

from onebreath.cli import main
from onebreath.errors import ScanError
from onebreath.host.replay import replay
from onebreath.images.reading import read_images
from onebreath.mrd.header import ScanHeader
from onebreath.vendor.siemens import directions, flags, read_measurements
from onebreath.wire.connection import parse_header
from onebreath.wire.raw_file import RawFile

twixtools = pytest.importorskip("twixtools")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")


@pytest.fixture(scope="module")
def files(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, made = tmp_path_factory.mktemp("twix"), {}
    for name in ("gre", "epi"):
        source = shared / "data" / "vendor_raw" / f"{name}.dat"
        if not source.is_file():
            pytest.skip(f"no {source}")
        made[name] = folder / f"{name}.h5"
        assert main(["import", str(source), "-o", str(made[name])]) == 0
    return made


@pytest.mark.parametrize("name", ["gre", "epi"])
def test_every_line_is_there_bit_by_bit(files: dict[str, Path], shared: Path, name: str) -> None:
    (theirs,) = twixtools.read_twix(str(shared / "data" / "vendor_raw" / f"{name}.dat"), verbose=False)
    with RawFile(files[name]) as raw:
        ours = list(raw.messages())
    assert len(ours) == len(theirs["mdb"]) == {"gre": 160, "epi": 83}[name]
    for line, record in zip(ours, theirs["mdb"], strict=True):
        assert line.data.tobytes() == np.ascontiguousarray(record.data, np.complex64).tobytes()
        assert (line.idx.kspace_encode_step_1, line.idx.segment) == (record.cLin, record.cSeg)
        assert bool(line.is_flag_set(ismrmrd.ACQ_IS_REVERSE)) == record.is_flag_set("REFLECT")
        assert bool(line.is_flag_set(ismrmrd.ACQ_IS_PHASECORR_DATA)) == record.is_flag_set("PHASCOR")
        assert line.acquisition_time_stamp == record.mdh.TimeStamp


def test_lines_and_protocol_agree_on_the_place_of_the_slice(files: dict[str, Path], shared: Path) -> None:
    """The quaternion of the lines against the normal and the position in the protocol, written by another program."""
    measurement = read_measurements(shared / "data" / "vendor_raw" / "gre.dat")[-1]
    (place,) = measurement.header["MeasYaps"]["sSliceArray"]["asSlice"]
    normal, position = (
        [place[name].get(axis, 0) for axis in ("dSag", "dCor", "dTra")] for name in ("sNormal", "sPosition")
    )
    with RawFile(files["gre"]) as raw:
        line = next(raw.messages())
        header = ScanHeader(parse_header(raw.header_xml))
    np.testing.assert_allclose(line.slice_dir, normal, atol=1e-6)
    np.testing.assert_allclose(line.position, position, atol=1e-4)
    axes = np.array([line.phase_dir, line.read_dir, line.slice_dir])
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-6)
    assert np.linalg.det(axes) == pytest.approx(1, abs=1e-6)
    assert (header.recon_fov.x, header.recon_fov.y, header.recon_fov.z) == (200, 200, 4)
    assert (header.encoded_matrix.x, header.encoded_matrix.y, header.recon_matrix.x) == (320, 160, 160)
    assert (header.sequence("TR"), header.sequence("TE"), header.protocol_name) == ([10], [3], "gre")
    assert line.sample_time_us == pytest.approx(11.6)


def test_the_image_is_that_of_the_vendors_data(files: dict[str, Path], shared: Path, tmp_path: Path) -> None:
    """Against a plain transform of what twixtools maps: root of the sum of squares, oversampling cut off."""
    (theirs,) = twixtools.map_twix(str(shared / "data" / "vendor_raw" / "gre.dat"))
    theirs["image"].flags["remove_os"] = True
    kspace = np.squeeze(theirs["image"][:])
    axes = [axis for axis, size in enumerate(kspace.shape) if size == 160]
    image = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(kspace, axes), axes=axes), axes)
    wanted = np.sqrt((np.abs(np.moveaxis(image, axes, (0, 1))) ** 2).sum(axis=2))
    outcome = replay(files["gre"], "Onebreath_Static_ZeroFilled.xml", output=tmp_path / "i.h5", group="g")
    assert not outcome.failed
    (series,) = read_images(tmp_path / "i.h5")
    found = np.abs(series.values(0)[0, 0])
    assert np.corrcoef(found.ravel(), wanted.ravel())[0, 1] > 0.99
    for turned in (wanted[::-1], wanted[:, ::-1], wanted.T):
        assert np.corrcoef(found.ravel(), turned.ravel())[0, 1] < 0.9


def test_a_trajectory_off_the_grid_is_named(files: dict[str, Path], tmp_path: Path) -> None:
    with RawFile(files["epi"]) as raw:
        assert ScanHeader(parse_header(raw.header_xml)).trajectory == "epi"
    outcome = replay(files["epi"], "Onebreath_Static_ZeroFilled.xml", output=tmp_path / "i.h5", group="g")
    assert outcome.failed
    assert any("only Cartesian scans" in text for text in outcome.texts)


def test_names_are_left_out_on_request(files: dict[str, Path], shared: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.h5"
    source = shared / "data" / "vendor_raw" / "gre.dat"
    assert main(["import", str(source), "-o", str(target), "--anonymise"]) == 0
    with h5py.File(target) as file:
        text = file["dataset/xml"][0].decode()
    for name in ("patientName", "patientID", "institutionName", "22327775", "66327770"):
        assert name not in text
    assert main(["import", str(source), "-o", str(target)]) == 1, "a file that exists is kept"


def test_calibration_flags_follow_the_scanners() -> None:
    assert flags({"PATREFSCAN"}) == [ismrmrd.ACQ_IS_PARALLEL_CALIBRATION]
    assert flags({"PATREFSCAN", "PATREFANDIMASCAN"}) == [ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING]
    assert flags({"NOISEADJSCAN", "ONLINE"}) == [ismrmrd.ACQ_IS_NOISE_MEASUREMENT]


def test_an_invalid_quaternion_is_refused() -> None:
    np.testing.assert_allclose(directions(np.array([1.0, 0, 0, 0])), np.eye(3))
    np.testing.assert_allclose(directions(np.array([1, 0, 0, 1]) / np.sqrt(2))[0], [0, 1, 0], atol=1e-12)
    with pytest.raises(ScanError, match="not a rotation"):
        directions(np.zeros(4))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # twixtools leaves its file open
@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read: it is empty"),
        (b"not a scan at all", "is neither a Siemens raw data file (twix; files of VD and VE are supported) nor"),
        (struct.pack("<II", 20_000, 8) + bytes(40_000), "software VB"),
        (struct.pack("<II", 0, 1) + bytes(100), "cannot be read"),
    ],
)
def test_other_files_are_refused_in_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes, words: str
) -> None:
    path = tmp_path / "scan.dat"
    path.write_bytes(content)
    assert main(["import", str(path)]) == 1
    assert words in capsys.readouterr().err


def test_what_is_no_raw_data_of_a_scanner_is_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong path, a folder, and an ISMRMRD file, which needs no import and stays as it is."""
    scan = tmp_path / "scan.h5"
    with h5py.File(scan, "w") as file:
        file.create_group("dataset")
    before = scan.read_bytes()
    for path, words in (
        (tmp_path / "missing.dat", "missing.dat cannot be read: there is no such file"),
        (tmp_path, "cannot be read: it is a folder"),
        (scan, "is an HDF5 file already, so there is nothing to import: say onebreath inspect or onebreath replay"),
    ):
        assert main(["import", str(path), "--overwrite"]) == 1
        assert words in capsys.readouterr().err
    assert scan.read_bytes() == before


def test_raw_data_of_a_scanner_are_led_to_import(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scan.dat"
    path.write_bytes(struct.pack("<II", 0, 1) + bytes(100))
    assert main(["inspect", str(path)]) == 1
    assert "onebreath import makes one of a scanner's raw data" in capsys.readouterr().err


def test_software_that_was_never_tried_is_refused(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = (shared / "data" / "vendor_raw" / "gre.dat").read_bytes()
    other = tmp_path / "xa.dat"
    other.write_bytes(content.replace(b"N4_VE11C_LATEST_20160120", b"NXVA30A_LATEST_202001201"))
    assert main(["import", str(other)]) == 1
    assert "was written by the software 'NXVA30A" in capsys.readouterr().err
