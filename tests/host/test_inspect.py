import h5py
import pytest

from onebreath.cli import main
from onebreath.simulation.scan import ScanOptions, simulate


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "scan.h5"
    simulate(ScanOptions(matrix=(48, 40), slices=2, phases=3, coils=4, acceleration=2, acs_lines=12)).write(path)
    return path


def test_the_report_tells_what_is_there_and_what_will_be_done(scan, capsys):
    assert main(["inspect", str(scan), "-c", "Onebreath_Cine_CGSENSE.xml"]) == 0
    report = capsys.readouterr().out
    assert "acceleration 2.0, calibration embedded" in report
    assert "32 noise" in report
    assert "2 values of slice, 3 values of phase" in report
    assert "prewhiten: noise scan" in report
    assert "calibrate: mode embedded" in report
    assert report.count("k-space (readout, y, z, channel, frame, set, slice): (40, 48, 1, 4, 3, 1, 1)") == 2


def test_what_is_missing_is_listed_with_its_consequence(scan, tmp_path, capsys):
    bare = tmp_path / "bare.h5"
    bare.write_bytes(scan.read_bytes())
    with h5py.File(bare, "r+") as file:
        xml = file["dataset/xml"][0].decode()
        start, end = xml.index("<sequenceParameters"), xml.index("</sequenceParameters>") + len("</sequenceParameters>")
        file["dataset/xml"][0] = (xml[:start] + xml[end:]).encode()
    main(["inspect", str(bare)])
    assert "sequenceParameters: images carry no echo and repetition time" in capsys.readouterr().out


def test_a_scan_that_cannot_be_reconstructed_says_why(tmp_path, capsys):
    path = tmp_path / "no_acs.h5"
    simulate(ScanOptions(matrix=(48, 40), slices=1, phases=2, coils=4, acceleration=3, acs_mode="none")).write(path)
    assert main(["inspect", str(path)]) == 1
    assert "cannot be reconstructed: The scan has no calibration lines" in capsys.readouterr().out


def test_no_such_file(capsys):
    assert main(["inspect", "missing.h5"]) == 1
    assert "there is no such file" in capsys.readouterr().err


def test_nothing_is_written_to_storage(scan, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("ONEBREATH_STORAGE", str(tmp_path / "storage"))
    assert main(["inspect", str(scan), "-c", "Onebreath_Cine_CGSENSE.xml"]) == 0
    assert not list(tmp_path.rglob("*"))


def test_the_encoding_space_of_the_image_is_the_one_that_is_told(tmp_path, capsys):
    path = tmp_path / "spaces.h5"
    options = {"matrix": (48, 40), "slices": 1, "phases": 1, "coils": 4, "mode": "static", "image_space": 1}
    simulate(ScanOptions(acceleration=2, acs_lines=12, **options)).write(path)
    assert main(["inspect", str(path)]) == 0
    report = capsys.readouterr().out
    assert "encoded 80 x 48 x 1 samples" in report
    assert "encoding space 1 of 2" in report
    assert "8 lines of encoding space 0 (only 1 is reconstructed)" in report
