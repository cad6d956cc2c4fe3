"""Raw files in, image files out, as other ISMRMRD programs write and read them."""

import errno
import os
import shutil
import subprocess
import sys
from contextlib import closing

import h5py
import ismrmrd
import numpy as np
import pytest

from onebreath.errors import ConfigError, ScanError
from onebreath.images.reading import images_of, read_series
from onebreath.wire import raw_file
from onebreath.wire.image_file import ImageFile
from onebreath.wire.raw_file import RawFile
from tests.host.wiring import HEADER, acquisition, encoded, image, waveform


@pytest.fixture
def raw_path(tmp_path):
    """A raw file written by `ismrmrd`: acquisitions at 0, 10, ... 40, waveforms at 0, 10, 25 and 99."""
    with closing(ismrmrd.Dataset(str(tmp_path / "raw.h5"))) as dataset:
        dataset.write_xml_header(HEADER)
        for line in range(5):
            dataset.append_acquisition(acquisition(line, samples=16 + line, dimensions=2 * (line == 3)))
        for stamp in (0, 10, 25, 99):
            dataset.append_waveform(waveform(stamp))
    return tmp_path / "raw.h5"


@pytest.mark.parametrize("rows", [1, 4096])
def test_messages_come_bit_for_bit_in_the_order_of_time(raw_path, rows, monkeypatch):
    monkeypatch.setattr(raw_file, "CHUNK_ROWS", rows)
    lines = [acquisition(line, samples=16 + line, dimensions=2 * (line == 3)) for line in range(5)]
    waves = {stamp: waveform(stamp) for stamp in (0, 10, 25, 99)}
    expected = [lines[0], waves[0], lines[1], waves[10], lines[2], waves[25], lines[3], lines[4], waves[99]]
    with RawFile(raw_path) as raw:
        assert (raw.acquisitions, raw.waveforms, raw.header_xml) == (5, 4, HEADER)
        assert encoded(*raw.messages()) == encoded(*expected)


def test_real_scan_equals_what_ismrmrd_reads(shared, tmp_path):
    path = shared / "data" / "siemens_snr_r3" / "meas_MID00349_FID09273_SNR_R3.h5"
    copy = shutil.copy(path, tmp_path)  # ismrmrd 1.14 cannot open a file for reading only
    with RawFile(path) as raw, closing(ismrmrd.Dataset(copy)) as dataset:
        messages = list(raw.messages())
        assert len(messages) == raw.acquisitions == 69
        for index in (0, 1, 40, 68):
            assert encoded(messages[index]) == encoded(dataset.read_acquisition(index))


@pytest.mark.parametrize("dtype", [np.uint16, np.float32, np.complex64])
def test_images_are_read_back_by_ismrmrd(tmp_path, dtype):
    sent = [image(1, dtype, number=str(number), name="Müller") for number in range(3)]
    with ImageFile(tmp_path / "out.h5", "2026-01-01 00:00:00") as out:
        for each in sent:
            out.append(each)
        out.append(image(20))
        assert out.series == {1: 3, 20: 1}
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["2026-01-01 00:00:00/image_1/data"].shape == (3, 1, 1, 6, 5)
    with closing(ismrmrd.Dataset(str(tmp_path / "out.h5"), "2026-01-01 00:00:00")) as dataset:
        assert dataset.number_of_images("image_1") == 3
        for number, each in enumerate(sent):
            back = dataset.read_image("image_1", number)
            np.testing.assert_array_equal(back.data, each.data)
            assert back.getHead() == each.getHead()
            assert back.meta == each.meta


def test_a_group_is_added_to_an_existing_file_and_survives_an_interruption(tmp_path):
    with ImageFile(tmp_path / "out.h5", "f") as out:
        out.append(image())
    interrupted = ImageFile(tmp_path / "out.h5", "g")
    interrupted.append(image())
    interrupted.append(image())
    whole, part = tmp_path / "whole.h5", tmp_path / "part.h5"
    whole.write_bytes((tmp_path / "out.h5").read_bytes())  # what a killed process leaves behind
    (written,) = tmp_path.glob(".out.h5.*.part")
    part.write_bytes(written.read_bytes())
    interrupted.__exit__()
    for left, group, images in ((whole, "f", 1), (part, "g", 2), (tmp_path / "out.h5", "g", 2)):
        with closing(ismrmrd.Dataset(str(left), group)) as dataset:
            assert dataset.number_of_images("image_1") == images
            np.testing.assert_array_equal(dataset.read_image("image_1", images - 1).data, image().data)
    assert not list(tmp_path.glob(".*"))


def test_a_group_is_never_added_to(tmp_path):
    target = tmp_path / "out.h5"
    for name in ("g", "g_2", "g_3"):
        with ImageFile(target, "g", numbered=True) as out:
            out.append(image())
        assert out.group == name
    before = target.read_bytes()
    with ImageFile(target, "g") as out, pytest.raises(ConfigError, match="has a group g already"):
        out.append(image())
    assert target.read_bytes() == before


def test_a_second_writer_is_refused_and_the_first_loses_nothing(tmp_path):
    target = tmp_path / "out.h5"
    (tmp_path / ".out.h5.0123abcd.part").touch()  # of a process that was killed
    with ImageFile(target, "first") as out:
        out.append(image())
        for _ in range(2):
            with pytest.raises(ConfigError, match=r"out.h5 is being written by another process; wait"):
                ImageFile(target, "second").__enter__()
        out.append(image())
    with ImageFile(target, "second") as out:
        out.append(image())
    with h5py.File(target) as file:
        assert {name: len(group["image_1/data"]) for name, group in file.items()} == {"first": 2, "second": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


def test_a_file_behind_a_link_is_extended_itself_by_one_writer_at_a_time(tmp_path):
    path, link = tmp_path / "images.h5", tmp_path / "latest.h5"
    link.symlink_to(path.name)
    with ImageFile(path, "first") as file:
        file.append(image())
    with ImageFile(link, "second"), pytest.raises(ConfigError, match="another"), ImageFile(path, "third"):
        pass
    with ImageFile(link, "second") as file:
        file.append(image())
    assert link.is_symlink()
    assert file.written == path
    with h5py.File(path) as whole:
        assert set(whole) == {"first", "second"}


def test_the_lock_of_a_killed_process_is_free(tmp_path):
    target = tmp_path / "out.h5"
    hold = f"import time; from onebreath.wire.image_file import ImageFile; ImageFile({str(target)!r}, 'g').__enter__()"
    code = f"{hold}; print('locked', flush=True); time.sleep(60)"
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"locked\n"
    with pytest.raises(ConfigError, match="by another process"):
        ImageFile(target, "g").__enter__()
    process.kill()
    process.communicate()
    assert (tmp_path / ".out.h5.lock").exists()
    with ImageFile(target, "g") as out:
        out.append(image())
    assert [path.name for path in tmp_path.iterdir()] == ["out.h5"]


@pytest.mark.parametrize("before", [0, 1])
def test_a_full_disk_is_told_in_one_line_and_leaves_the_file_as_it_was(tmp_path, monkeypatch, before):
    target = tmp_path / "out.h5"
    for _ in range(before):
        with ImageFile(target, "earlier") as out:
            out.append(image())
    kept = target.read_bytes() if before else b""

    def full(self):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with ImageFile(target, "g") as out:
        out.append(image())
        monkeypatch.setattr(h5py.File, "flush", full)
        with pytest.raises(ConfigError, match=r"cannot be written to .*out.h5 \(No space left on device\)"):
            out.append(image())
        monkeypatch.undo()
    assert (target.read_bytes() if target.exists() else b"") == kept
    assert not list(tmp_path.glob(".*"))


def test_image_of_another_size_is_refused(tmp_path):
    with ImageFile(tmp_path / "out.h5", "g") as out:
        out.append(image())
        with pytest.raises(ScanError, match=r"series 1 holds images \(1, 1, 6, 5\) float32, now one of \(1, 1, 6, 6\)"):
            out.append(image(shape=(1, 1, 6, 6)))
        assert out.series == {1: 1}


def test_no_image_no_file(tmp_path):
    with ImageFile(tmp_path / "out.h5", "g"):
        pass
    assert not (tmp_path / "out.h5").exists()


def test_unreadable_files_are_explained(tmp_path, raw_path):
    (tmp_path / "text.h5").write_text("not HDF5")
    with h5py.File(tmp_path / "empty.h5", "w"):
        pass
    with h5py.File(raw_path, "a") as file:
        row = file["dataset/data"][1]
        row["data"] = row["data"][:-2]
        file["dataset/data"][1] = row
    with pytest.raises(ScanError, match="no such file"):
        RawFile(tmp_path / "absent.h5")
    with pytest.raises(ScanError, match="not an HDF5 file"):
        RawFile(tmp_path / "text.h5")
    with pytest.raises(ScanError, match="no raw data at all"):
        RawFile(tmp_path / "empty.h5")
    with pytest.raises(ScanError, match="group 'other'; it has dataset"):
        RawFile(raw_path, "other")
    with (
        RawFile(raw_path) as raw,
        pytest.raises(ScanError, match="acquisition 1 has 536 bytes, but its header says 544"),
    ):
        list(raw.messages())


def test_a_damaged_image_is_never_taken_for_a_whole_one(tmp_path):
    path = tmp_path / "out.h5"
    with ImageFile(path, "made") as out:
        out.append(image(1, np.uint16))
    with h5py.File(path) as file:
        place = file["made/image_1/data"].id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)
    damaged = "its values are damaged: a checksum does not fit"
    with pytest.raises(ScanError, match=f"image_1/data cannot be read: {damaged}"):
        read_series(path)
    with pytest.raises(ScanError, match=f"out.h5 cannot be read: {damaged}"), images_of(path) as found:
        found[0].values(0)


@pytest.mark.parametrize("name", ["a/b", "/", ".", " ", "a\0b"])
def test_a_group_that_no_reader_would_find_is_refused(tmp_path, name):
    with pytest.raises(ConfigError, match="cannot be the name of a group of images"):
        ImageFile(tmp_path / "out.h5", name)


def test_a_reason_of_any_kind_and_length_is_noted_beside_the_images(tmp_path):
    """What a server sent is a subclass of str, which h5py does not store; the images before it must not be lost."""

    class Told(str):
        __slots__ = ()

    with ImageFile(tmp_path / "out.h5", "made") as out:
        out.append(image(1, np.uint16))
        out.incomplete = Told("a line is not a number. " * 5000)
    with h5py.File(tmp_path / "out.h5") as file:
        assert file["made"].attrs["incomplete"].startswith("a line is not a number.")
        assert len(file["made/image_1/data"]) == 1
