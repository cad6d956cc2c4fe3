import numpy as np
import pytest

from onebreath.chain.gadget import parse_properties
from onebreath.chain.notes import read_note, read_warning
from onebreath.errors import ConfigError, ScanError
from onebreath.gadgets.calibrate import Calibrate, CalibrateProperties
from onebreath.mrd.buffers import maps_of
from tests.scans import coil_scan, header, recon_data


def calibrate(data, head=None, **properties):
    gadget = Calibrate(head or header(36, 32), CalibrateProperties(**properties))
    written, calibrated = list(gadget.process([data]))
    return read_note(written)[1], calibrated


@pytest.mark.parametrize("algorithm", ["espirit", "inati", "walsh"])
def test_maps_agree_with_the_coils_inside_the_object(algorithm):
    images, maps, kspace = coil_scan(y=48, x=40)
    facts, calibrated = calibrate(
        recon_data(kspace, np.ones((3, 48), bool)), header(48, 40), coil_map_algorithm=algorithm, calibration_size=24
    )
    found = maps_of(calibrated)[0]
    inside = np.abs(images[0]) > 1
    overlap = np.abs(np.sum(found.conj() * maps, axis=0))[inside]
    assert overlap.min() > 0.95
    assert np.allclose(np.linalg.norm(found, axis=0)[inside], 1, atol=1e-4)
    assert facts["coil_maps"] == algorithm
    assert facts["mode"] == "full"


def test_two_map_sets():
    _, _, kspace = coil_scan()
    _, calibrated = calibrate(recon_data(kspace, np.ones((3, 36), bool)), espirit_sets="2", calibration_size=24)
    assert maps_of(calibrated).shape == (2, 6, 36, 32)


def test_a_wrong_claim_of_the_header_is_noted():
    _, _, kspace = coil_scan()
    facts, _ = calibrate(recon_data(kspace, np.ones((3, 36), bool)), header(36, 32, factor=2, mode="separate"))
    assert facts["agreement"].startswith("no: the header says separate, the lines show full")


def test_without_calibration_lines_the_error_says_what_to_do():
    _, _, kspace = coil_scan()
    lines = np.zeros((3, 36), bool)
    lines[:, ::3] = True
    with pytest.raises(
        ScanError, match=r"no calibration lines.*header says embedded.*slice 0 has \d+ of \d+ lines.*ZeroFilled"
    ):
        calibrate(recon_data(kspace, lines), header(36, 32, factor=3, mode="embedded"))
    facts, passed = calibrate(recon_data(kspace, lines), no_acs="pass")
    assert facts["coil_maps"] == "none"
    assert maps_of(passed) is None


def test_calibration_lines_beside_the_centre_are_refused():
    _, _, kspace = coil_scan()
    lines = np.zeros((3, 36), bool)
    lines[:, ::3] = True
    beside = np.zeros((3, 36), bool)
    beside[:, 20:34] = True
    with pytest.raises(ScanError, match="rows 20 to 33, do not surround the k-space centre 18"):
        calibrate(recon_data(kspace, lines, beside))


def test_other_messages_pass():
    gadget = Calibrate(header(36, 32), CalibrateProperties())
    assert list(gadget.process(["waveform"])) == ["waveform"]


def test_cropped_maps_are_zero_in_the_background_only():
    images, _, kspace = coil_scan(noise=0.02)
    lines = np.ones((3, 36), bool)
    _, cropped = calibrate(recon_data(kspace, lines), espirit_crop=0.8, calibration_size=24)
    support = np.linalg.norm(maps_of(cropped)[0], axis=0) > 0
    assert support[np.abs(images[0]) > 1].all()
    assert 0.05 < 1 - support.mean() < 0.5


def test_soft_maps_need_a_threshold():
    with pytest.raises(ConfigError, match="'calibrate': espirit_soft fades out around espirit_crop"):
        parse_properties(Calibrate, {"espirit_soft": "true"})


def test_cropping_takes_nothing_away_that_the_calibration_lines_show():
    """Eight lines give low eigenvalues in the middle of the object: a crop at 0.8 would cut it out of the images."""
    images, _, kspace = coil_scan(y=48, x=40, noise=0.02)
    lines = np.ones((3, 48), bool)
    eight = np.zeros((3, 48), bool)
    eight[:, 20:28] = True
    lines[:, ::2] = False
    gadget = Calibrate(header(48, 40), CalibrateProperties(espirit_crop=0.8, espirit_threshold=0.001, espirit_wider=1))
    *written, calibrated = gadget.process([recon_data(kspace, lines, eight)])
    assert (np.linalg.norm(maps_of(calibrated)[0], axis=0) > 0).all()
    assert "of 1 of 1 slices are not cropped: espirit_crop=0.8 would take away" in read_warning(written[0])
    assert read_note(written[1])[1]["coil_maps_cropped"] == 0
    facts, cropped = calibrate(recon_data(kspace, np.ones((3, 48), bool)), header(48, 40), espirit_crop=0.8)
    support = np.linalg.norm(maps_of(cropped)[0], axis=0) > 0
    assert support[np.abs(images[0]) > 1].all()
    assert facts["coil_maps_cropped"] == pytest.approx(1 - support.mean(), abs=1e-3)
    assert facts["coil_maps_cropped"] > 0.05
