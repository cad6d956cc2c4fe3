"""Folders of DICOM files as exports are, with more in them than magnitude images."""

import logging

import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.training.readers.dicom import dicom_folder
from onebreath.training.readers.images import image_folder

pydicom = pytest.importorskip("pydicom", reason="DICOM files are read with pydicom, which is not installed")
FRAMES = np.arange(1, 97, dtype=np.uint16).reshape(2, 6, 8)


def write(path, pixels, number=1, **elements):
    made = pydicom.dataset.Dataset()
    made.file_meta = pydicom.dataset.FileMetaDataset()
    made.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    made.PatientID, made.SeriesNumber, made.InstanceNumber, made.TriggerTime = "anna", 3, number, 30 * number
    made.ImagePositionPatient, made.PixelSpacing = [0, 0, 5], [1.5, 2.0]
    if pixels is not None:
        made.Rows, made.Columns = pixels.shape[-2:]
        made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
        made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
        made.PixelData = pixels.tobytes()
    for name, value in elements.items():
        setattr(made, name, value)
    made.save_as(path, enforce_file_format=True)


def test_other_objects_of_an_export_are_left_out_and_counted(tmp_path, caplog):
    for number, frame in enumerate(FRAMES, 1):
        write(tmp_path / f"IM{number}", frame, number, ImageType=["ORIGINAL", "PRIMARY", "M"])
        write(tmp_path / f"PH{number}", 4000 + frame, number, ImageType=["ORIGINAL", "PRIMARY", "P"])
    write(tmp_path / "report", None)
    write(tmp_path / "screenshot", FRAMES[0], SamplesPerPixel=3)
    with caplog.at_level(logging.WARNING, "onebreath.training"):
        (one,) = dicom_folder(tmp_path)
    assert (one.patient, one.name, one.pixel_mm) == ("anna", "3-0.00,0.00,5.00", (1.5, 2.0))
    np.testing.assert_array_equal(one.images, FRAMES)
    assert "2 phase, 1 without pixels, 1 in colour" in caplog.text


def test_slope_and_intercept_of_each_frame_are_applied(tmp_path):
    for number, frame in enumerate(FRAMES, 1):
        write(tmp_path / f"{number}.dcm", frame, number, RescaleSlope=number, RescaleIntercept=-1)
    (one,) = dicom_folder(tmp_path)
    np.testing.assert_array_equal(one.images, [FRAMES[0] - 1.0, 2.0 * FRAMES[1] - 1])


def test_examinations_with_the_same_series_number_are_not_mixed(tmp_path):
    for series in ("1.2.3", "1.2.4"):
        write(tmp_path / f"{series}.dcm", FRAMES[int(series[-1]) - 3], SeriesInstanceUID=series)
    first, second = dicom_folder(tmp_path)
    assert first.name != second.name
    np.testing.assert_array_equal([first.images[0], second.images[0]], FRAMES)


def test_elements_without_a_value_count_as_missing_and_one_file_is_enough(tmp_path):
    write(tmp_path / "one.dcm", FRAMES[0], PatientID="", TriggerTime="", PixelSpacing="", SeriesNumber="")
    (one,) = dicom_folder(tmp_path / "one.dcm")
    assert one.patient == "one"
    np.testing.assert_array_equal(one.images, FRAMES[:1])


def test_files_without_a_suffix_are_found_among_images_of_other_kinds(tmp_path):
    write(tmp_path / "IM0001", FRAMES[0])
    np.savez(tmp_path / "berta.npz", images=FRAMES)
    (tmp_path / "notes.txt").write_text("x")
    assert [one.patient for one in image_folder(tmp_path)] == ["berta", "berta", "anna"]
    assert [one.patient for one in image_folder(tmp_path / "IM0001")] == ["anna"]


def test_what_cannot_be_read_is_named(tmp_path):
    write(tmp_path / "half.dcm", FRAMES[0])
    whole = (tmp_path / "half.dcm").read_bytes()
    (tmp_path / "half.dcm").write_bytes(whole[:-20])
    with pytest.raises(ScanError, match=r"half\.dcm: its pixels cannot be read"):
        list(dicom_folder(tmp_path))
    write(tmp_path / "half.dcm", FRAMES, NumberOfFrames=2)
    with pytest.raises(ScanError, match=r"half\.dcm has 2 frames"):
        list(dicom_folder(tmp_path))
