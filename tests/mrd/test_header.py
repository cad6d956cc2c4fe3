import ismrmrd
import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.header_values import in_single_precision
from tests.scans import header

BARE = """<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<experimentalConditions><H1resonanceFrequency_Hz>1</H1resonanceFrequency_Hz></experimentalConditions>{}</ismrmrdHeader>"""
SPACE = """<matrixSize><x>{0}</x><y>{0}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>{1}</x><y>{1}</y><z>5</z></fieldOfView_mm>"""


def bare(size: int = 8, fov: float = 100) -> str:
    space = SPACE.format(size, fov)
    return BARE.format(
        f"<encoding><encodedSpace>{space}</encodedSpace><reconSpace>{space}</reconSpace><encodingLimits/>"
        "<trajectory>cartesian</trajectory></encoding>"
    )


def test_facts_of_a_full_header():
    scan = ScanHeader(header(36, 32, factor=3, mode="embedded", phases=4))
    assert scan.encoded_matrix == (32, 36, 1)
    assert scan.recon_fov == (48.0, 54.0, 8.0)
    assert (scan.acceleration, scan.calibration_mode, scan.trajectory) == (3, "embedded", "cartesian")
    assert scan.limits("phase") == (0, 0, 3)
    assert scan.centre_line == 18
    assert (scan.protocol_name, scan.patient_position, scan.sequence("TR")) == ("test", "HFS", [3.0])


def test_a_header_without_optional_sections_answers_every_question():
    scan = ScanHeader(ismrmrd.xsd.CreateFromDocument(bare()))
    assert scan.noise_bandwidth == float(np.float32(0.793))
    assert scan.coil_labels == []
    unknown = ("acceleration", "calibration_mode", "centre_line", "receiver_channels", "vendor", "protocol_name")
    assert all(getattr(scan, name) is None for name in (*unknown, "measurement_id", "patient_position"))
    assert scan.sequence("TE") == []


@pytest.mark.parametrize(
    ("text", "words"),
    [(BARE.format(""), "no <encoding>"), (bare(size=0), "encodedSpace matrix"), (bare(fov=0), "encodedSpace field")],
)
def test_what_cannot_be_missing_is_named(text, words):
    with pytest.raises(ScanError, match=words):
        ScanHeader(ismrmrd.xsd.CreateFromDocument(text))


def test_numbers_have_the_precision_that_the_schema_gives_them():
    """A server writes 0.793 as 0.792999983, the same number in single precision."""
    system = "<acquisitionSystemInformation>{}</acquisitionSystemInformation><experimentalConditions>"
    user = (
        "<userParameters><userParameterDouble><name>x</name><value>0.1</value></userParameterDouble></userParameters>"
    )
    found = []
    for digits in ("0.793", "0.792999983"):
        bandwidth = f"<relativeReceiverNoiseBandwidth>{digits}</relativeReceiverNoiseBandwidth>"
        text = bare(fov=100.1).replace("<experimentalConditions>", system.format(bandwidth))
        text = text.replace("</ismrmrdHeader>", f"{user}</ismrmrdHeader>")
        found.append(in_single_precision(ismrmrd.xsd.CreateFromDocument(text)))
    first, second = (ScanHeader(xml) for xml in found)
    assert first.noise_bandwidth == second.noise_bandwidth == float(np.float32(0.793))
    assert first.recon_fov[0] == float(np.float32(100.1))
    assert first.xml.userParameters.userParameterDouble[0].value == 0.1
