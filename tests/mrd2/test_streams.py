"""Streams of MRD 2: held against mrd-python's own reader, writer, phantom and reconstruction."""

import datetime
import io
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from xsdata.models.datatype import XmlTime

from onebreath.cli import main
from onebreath.errors import ScanError
from onebreath.images.reading import read_images
from onebreath.mrd2.header import to_v1, to_v2
from onebreath.mrd2.lines import line_to_v1, line_to_v2, waveform_to_v1, waveform_to_v2
from onebreath.mrd2.streams import as_files, is_stream, read_stream, write_images, write_lines
from onebreath.simulation.mrd_file import header_text
from onebreath.simulation.scan import ScanOptions, simulate
from onebreath.wire.connection import parse_header
from onebreath.wire.raw_file import RawFile
from tests.mrd2.records import everything, full_header

mrd = pytest.importorskip("mrd")
CONFIG = "Onebreath_Static_ZeroFilled.xml"


@pytest.fixture(scope="module")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mrd2") / "scan.h5"
    options = ScanOptions(matrix=(32, 32), slices=1, phases=2, coils=3, acceleration=2, acs_lines=8)
    simulate(options).write(path)
    return path


def as_stream(path: Path) -> bytes:
    target = io.BytesIO()
    write_lines(target, path)
    return target.getvalue()


def test_a_scan_comes_back_bit_by_bit(scan: Path, tmp_path: Path) -> None:
    read_stream(io.BytesIO(as_stream(scan)), tmp_path / "back.h5", "the stream")
    with RawFile(scan) as old, RawFile(tmp_path / "back.h5") as new:
        assert parse_header(new.header_xml) == parse_header(old.header_xml)
        assert (new.acquisitions, new.waveforms) == (old.acquisitions, old.waveforms)
        assert old.waveforms > 0
        for before, after in zip(old.messages(), new.messages(), strict=True):
            assert bytes(after.getHead()) == bytes(before.getHead())
            assert after.data.tobytes() == before.data.tobytes()


def test_every_field_of_a_line_is_kept_and_read_by_their_reader() -> None:
    line = everything()
    target = io.BytesIO()
    with mrd.BinaryMrdWriter(target) as writer:
        writer.write_header(mrd.Header())
        writer.write_data([mrd.StreamItem.Acquisition(line_to_v2(line, "a line"))])
    with mrd.BinaryMrdReader(io.BytesIO(target.getvalue())) as reader:
        reader.read_header()
        (item,) = list(reader.read_data())
    theirs = item.value
    assert theirs.head.channel_order == [2, 63, 65]
    assert theirs.head.flags & mrd.AcquisitionFlags.LAST_IN_SLICE
    assert theirs.head.flags & mrd.AcquisitionFlags.IS_PARALLEL_CALIBRATION
    assert theirs.trajectory.shape == (2, 5)
    back = line_to_v1(theirs, "a line")
    assert bytes(back.getHead()) == bytes(line.getHead())
    assert back.data.tobytes() == line.data.tobytes()
    assert back.traj.tobytes() == line.traj.tobytes()


def test_waveforms_are_kept() -> None:
    data = np.arange(10, dtype=np.uint32).reshape(2, 5) + 4000000000
    head = ismrmrd.Waveform.from_array(data).getHead()
    head.version, head.flags, head.measurement_uid, head.scan_counter = 1, 1 << 40, 1, 2
    head.time_stamp, head.sample_time_us, head.waveform_id = 3, 2.5, 1025
    waveform = ismrmrd.Waveform(head, data)
    back = waveform_to_v1(waveform_to_v2(waveform), "a waveform")
    assert bytes(back.getHead()) == bytes(waveform.getHead())
    assert back.data.tobytes() == waveform.data.tobytes()


@pytest.mark.parametrize(
    "change, text",
    [
        (lambda line: setattr(line.head.idx, "slice", 70000), "idx.slice is 70000; ISMRMRD counts to 65535"),
        (lambda line: setattr(line.head, "user_int", list(range(9))), "9 values of user_int; ISMRMRD has room for 8"),
        (lambda line: setattr(line.head, "channel_order", [2, 1, 0]), "channels in ascending order only"),
        (lambda line: setattr(line.head, "channel_order", [1]), "3 channels, but channel_order names 1"),
        (lambda line: setattr(line.head, "channel_order", [0, 1, 1024]), "names channel 1024; ISMRMRD has 1024"),
        (lambda line: setattr(line.head, "physiology_time_stamp", [1, 2, 3, 4]), "4 values of physiology_time_stamp"),
        (lambda line: setattr(line, "trajectory", np.zeros((2, 4), np.float32)), "4 points of its trajectory"),
    ],
)
def test_what_ismrmrd_cannot_hold_is_refused_by_name(change, text) -> None:
    line = line_to_v2(everything(), "line 7")
    change(line)
    with pytest.raises(ScanError, match="line 7") as error:
        line_to_v1(line, "line 7")
    assert text in str(error.value)


def test_every_section_of_a_header_is_kept_through_their_writer_and_reader() -> None:
    header = full_header()
    theirs = to_v2(header)
    target = io.BytesIO()
    with mrd.BinaryMrdWriter(target) as writer:
        writer.write_header(theirs)
        writer.write_data([])
    with mrd.BinaryMrdReader(io.BytesIO(target.getvalue())) as reader:
        read = reader.read_header()
        assert not list(reader.read_data())
    assert read.subject_information.patient_birthdate == datetime.date(1970, 2, 3)
    assert read.measurement_information.patient_position == mrd.PatientPosition.F_FDR
    assert read.user_parameters.user_parameter_base64[0].value == "AAEC"
    assert read.encoding[0].parallel_imaging.multiband.calibration == mrd.Calibration.FULL_3D
    assert to_v1(read) == header
    assert to_v1(theirs) == header


def test_what_a_header_of_the_other_version_cannot_say_is_refused_by_name() -> None:
    theirs = to_v2(full_header())
    theirs.encoding[0].parallel_imaging.calibration_mode = mrd.CalibrationMode.NOACCELERATION
    with pytest.raises(ScanError, match=r"calibration_mode is NOACCELERATION.*has no value for"):
        to_v1(theirs)
    ours = full_header()
    ours.studyInformation.studyTime = XmlTime(12, 0, 0, 0, 60)
    with pytest.raises(ScanError, match=r"studyTime is .* time zone"):
        to_v2(ours)
    ours.studyInformation.studyTime, ours.subjectInformation.patientGender = None, "unknown"
    with pytest.raises(ScanError, match="patientGender is unknown"):
        to_v2(ours)


def test_a_stream_that_is_none_is_cut_off_or_holds_images_is_refused(scan: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.h5"
    whole = as_stream(scan)
    for content, text in ((b"no stream at all", "is no stream"), (whole[: len(whole) // 2], "cut off after")):
        with pytest.raises(ScanError, match=text):
            read_stream(io.BytesIO(content), target, "the stream")
        assert not target.exists()
    made = io.BytesIO()
    with mrd.BinaryMrdWriter(made) as writer:
        writer.write_header(to_v2(full_header()))
        head = mrd.ImageHeader(image_type=mrd.ImageType.MAGNITUDE)
        image = mrd.Image(head=head, data=np.zeros((1, 1, 2, 2), np.float32))
        writer.write_data([mrd.StreamItem.ImageFloat(image)])
    with pytest.raises(ScanError, match="holds ImageFloat after 0 lines"):
        read_stream(io.BytesIO(made.getvalue()), target, "the stream")


def replayed(stream: bytes, *options: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "onebreath.cli", "replay", "-f", "-", "-c", CONFIG, *options]
    return subprocess.run(command, input=stream, capture_output=True, check=False, timeout=120)


def untimed(names: Iterable[str]) -> set[str]:
    """Names of meta entries but for the gadgets' times, which are there only if there is something to tell."""
    return {name for name in names if not name.startswith("Onebreath_seconds_")}


def test_replay_reads_and_writes_streams_by_pipes(scan: Path, tmp_path: Path) -> None:
    assert main(["replay", str(scan), "-c", CONFIG, "-o", str(tmp_path / "images.h5")]) == 0
    (expected,) = read_images(tmp_path / "images.h5")
    done = replayed(as_stream(scan), "-o", "-")
    assert done.returncode == 0, done.stderr.decode()
    with mrd.BinaryMrdReader(io.BytesIO(done.stdout)) as reader:
        header = reader.read_header()
        images = [item.value for item in reader.read_data()]
    with RawFile(scan) as raw:
        assert parse_header(header_text(to_v1(header)).encode()) == parse_header(raw.header_xml)
    assert len(images) == len(expected.data)
    for image, pixels, head, meta in zip(images, expected.data, expected.headers, expected.metas, strict=True):
        assert image.data.tobytes() == pixels.tobytes() and image.data.dtype == pixels.dtype
        assert image.head.image_index == head["image_index"]
        assert image.head.phase == head["phase"]
        np.testing.assert_array_equal(image.head.col_dir, head["read_dir"])
        np.testing.assert_array_equal(image.head.line_dir, head["phase_dir"])
        np.testing.assert_array_equal(image.head.field_of_view, head["field_of_view"])
        said = {name: [one.value for one in values] for name, values in image.meta.items()}
        assert untimed(said) == untimed(meta)
        assert said["Onebreath_reconstruct_method"] == ["zero_filled"]
    assert b"2 images written to standard output" in done.stderr, "what is said goes to standard error"


def test_files_need_no_folder_for_temporary_files(scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container of which only the folder of images can be written."""

    def missing() -> str:
        raise FileNotFoundError("no usable temporary directory")

    monkeypatch.setattr("tempfile.gettempdir", missing)
    with as_files([scan]) as (files, headers):
        assert (files, headers) == ([scan], [None])
    (tmp_path / "scan.mrd").write_bytes(as_stream(scan))
    with pytest.raises(FileNotFoundError), as_files([tmp_path / "scan.mrd"]):
        pass


def test_a_stream_that_fails_leaves_no_stream(scan: Path) -> None:
    done = replayed(as_stream(scan)[:5000], "-o", "-")
    assert done.returncode == 1 and done.stdout == b""
    assert b"standard input is no stream of MRD 2" in done.stderr


def test_their_phantom_is_reconstructed_as_they_do(tmp_path: Path) -> None:
    made = tmp_path / "phantom.bin"
    theirs = [sys.executable, "-m", "mrd.tools.phantom", "-o", str(made), "-m", "32", "-c", "4", "-n", "0.001"]
    subprocess.run(theirs, check=True, timeout=120)
    assert is_stream(made)
    peer = subprocess.run(
        [sys.executable, "-m", "mrd.tools.stream_recon"],
        input=made.read_bytes(), capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    images = []
    for stream in (peer.stdout, replayed(made.read_bytes(), "-o", "-", "--set", "export.data_type=float32").stdout):
        with mrd.BinaryMrdReader(io.BytesIO(stream)) as reader:
            reader.read_header()
            (image,) = [item.value for item in reader.read_data() if not isinstance(item, mrd.StreamItem.Acquisition)]
            images.append(np.squeeze(image.data).astype(float))
    peers, ours = (one / np.linalg.norm(one) for one in images)
    # Theirs is the root of the sum of squares of noisy channels, ours weighs whitened channels by their maps.
    assert np.corrcoef(peers.ravel(), ours.ravel())[0, 1] > 0.98
    assert main(["import", str(made), "-o", str(tmp_path / "phantom.h5")]) == 0
    with RawFile(tmp_path / "phantom.h5") as raw:
        assert raw.acquisitions == 32 + 32


def test_images_of_a_kind_that_they_have_none_for_are_refused(scan: Path, tmp_path: Path) -> None:
    main(["replay", str(scan), "-c", CONFIG, "-o", str(tmp_path / "images.h5")])
    (series,) = read_images(tmp_path / "images.h5")
    series.headers["image_type"] = 6
    with pytest.raises(ScanError, match="is of type 6, which MRD 2 has none for"):
        write_images(io.BytesIO(), to_v2(full_header()), [series])
