"""Bad scans and configurations, as a client sends them: a clear text comes back and the next client is served."""

from __future__ import annotations

import copy
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import ismrmrd
import numpy as np
import pytest
from ismrmrd import xsd

from onebreath.host.listener import Listener
from onebreath.host.server import start_host
from onebreath.simulation.scan import SimulatedScan
from onebreath.wire.channel import Channel, encode
from onebreath.wire.messages import ConfigName, ConfigText, Text
from tests.chain.running import PATIENCE, Steps, header_bytes, images_of, send, simulated, steps, xml

CHAIN = steps("cg_sense")
NOISE_LINES, PLACE = 64, 75
Change = Callable[[ismrmrd.Acquisition], "ismrmrd.Acquisition | None"]


@cache
def scan_of(acs_mode: str = "embedded") -> SimulatedScan:
    return simulated(acceleration=2, acs_mode=acs_mode, noise_lines=NOISE_LINES)


@pytest.fixture(scope="module")
def running() -> Iterator[Listener]:
    before = threading.active_count()
    with start_host() as listener:
        yield listener
    assert threading.active_count() <= before


@pytest.fixture
def host(running: Listener) -> Iterator[Listener]:
    """A host that must serve a good scan after each test."""
    yield running
    scan = scan_of()
    made, texts = send(running, xml(CHAIN), header_bytes(scan.header), scan.acquisitions)
    assert (len(images_of(made)), texts) == (1, [])


def lines(change: Change, only: int | None = None, noise: bool = False) -> list[ismrmrd.Acquisition]:
    """The scan's lines, of which one, or all noise lines, or all others, are changed."""
    made = []
    for place, given in enumerate(scan_of().acquisitions):
        line = ismrmrd.Acquisition(ismrmrd.AcquisitionHeader.from_buffer_copy(given.getHead()), given.data.copy())
        wanted = place == only if only is not None else line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT) == noise
        made.append((change(line) or line) if wanted else line)
    return made


def header(change: Callable[[Any], None]) -> Any:
    changed = copy.deepcopy(scan_of().header)
    change(changed)
    return changed


def sample(value: complex) -> Change:
    return lambda line: line.data.__setitem__((2, 7), value)


def fewer_channels(line: ismrmrd.Acquisition) -> ismrmrd.Acquisition:
    return ismrmrd.Acquisition.from_array(line.data[:5], idx=line.idx, center_sample=line.center_sample)


def far_row(line: ismrmrd.Acquisition) -> None:
    line.idx.kspace_encode_step_1 = 5000


def short_matrix(head: Any) -> None:
    head.encoding[0].encodedSpace.matrixSize.y = head.encoding[0].reconSpace.matrixSize.y = 20


def narrow_matrix(head: Any) -> None:
    head.encoding[0].encodedSpace.matrixSize.x = 64


def no_encoding(head: Any) -> None:
    head.encoding = []


def no_channels(head: Any) -> None:
    head.acquisitionSystemInformation.receiverChannels = None


def everything(line: ismrmrd.Acquisition) -> None:
    line.data[:] = 0


def dead_channel(line: ismrmrd.Acquisition) -> None:
    line.data[3] = 0


def twin_channels(line: ismrmrd.Acquisition) -> None:
    line.data[3] = line.data[2]


SCANS: dict[str, tuple[Callable[[], tuple[Any, list]], str]] = {
    "NaN": (lambda: (scan_of().header, lines(sample(np.nan), PLACE)), r"line 76 .* has NaN.*channels 2.*repeat"),
    "Inf": (lambda: (scan_of().header, lines(sample(np.inf), PLACE)), r"line 76 .*infinite.*channels 2"),
    "channels change": (
        lambda: (header(no_channels), lines(fewer_channels, PLACE)),
        "number of channels changes.* has 5.*receiverChannels",
    ),
    "dead channel": (
        lambda: (scan_of().header, lines(dead_channel, noise=True)),
        "Channel 3 .*singular.*Check the coil",
    ),
    "twin channels": (lambda: (scan_of().header, lines(twin_channels, noise=True)), "channels 2, 3.*singular.*Remove"),
    "fewer rows in the header": (
        lambda: (header(short_matrix), scan_of().acquisitions),
        "row -14 of a matrix of 20 lines.*14 lines lie outside",
    ),
    "shorter lines in the header": (lambda: (header(narrow_matrix), scan_of().acquisitions), "112 samples.* the 64"),
    "no encoding": (lambda: (header(no_encoding), scan_of().acquisitions), "no <encoding> section"),
    "all zero": (lambda: (scan_of().header, lines(everything)), "no imaging lines.*hold only zeros"),
    "no lines": (lambda: (scan_of().header, []), "no imaging lines"),
    "noise only": (lambda: (scan_of().header, scan_of().acquisitions[:NOISE_LINES]), "no imaging lines"),
    "no ACS": (lambda: (scan_of("none").header, scan_of("none").acquisitions), r"no calibration lines.*ZeroFilled"),
}


@pytest.mark.parametrize("staged", [False, True], ids=["one process", "staged"])
@pytest.mark.parametrize("name", SCANS)
def test_a_bad_scan_is_explained(host: Listener, name: str, staged: bool) -> None:
    make, expected = SCANS[name]
    head, messages = make()
    nodes = [[step] for step in CHAIN] if staged else [CHAIN]
    made, texts = send(host, xml(*nodes), header_bytes(head), messages)
    assert made == []
    (text,) = texts
    assert text.startswith("ERROR: ")
    assert re.search(expected, text), text


def test_a_line_outside_the_matrix_is_left_out_with_a_warning(host: Listener) -> None:
    messages = lines(far_row, len(scan_of().acquisitions) - 1)
    made, texts = send(host, xml(CHAIN), header_bytes(scan_of().header), messages)
    assert len(images_of(made)) == 1
    assert any(
        re.search(r"kspace_encode_step_1 = 5000.*48 lines.*1 lines lie outside and were left out", t) for t in texts
    )


NATIVE = "<gadget><name>AccTrig</name><dll>gadgetron_mricore</dll><classname>AccTrigGadget</classname></gadget>"


def changed(**changes: dict[str, str]) -> ConfigText:
    return xml(steps("cg_sense", **changes))


CONFIGS: dict[str, tuple[ConfigName | ConfigText, str]] = {
    "unknown configuration": (ConfigName("Onebreath_Cine_CGSENS.xml"), "Did you mean: Onebreath_Cine_CGSENSE.xml"),
    "unknown gadget": (xml([("prewhite", {})]), "no gadget called 'prewhite'. Did you mean: prewhiten"),
    "unknown property": (
        changed(sort={"phasses": "3"}),
        "gadget 'sort' has no property 'phasses'. Did you mean: phases",
    ),
    "ill-typed property": (changed(sort={"phases": "many"}), "gadget 'sort', property 'phases': value 'many'"),
    "unknown method": (xml(steps("cg_sens")), "gadget 'reconstruct'.*'cg_sens'. Did you mean: cg_sense"),
    "unknown parameter": (changed(reconstruct={"iteration": "3"}), "gadget 'reconstruct'.*'iteration'. Did you mean"),
    "order": (xml(CHAIN[::-1]), "Put the gadgets in order: prewhiten"),
    "native gadget": (
        ConfigText(xml(CHAIN).replace(b"<stream>", f"<stream>{NATIVE}".encode())),
        "needs a Gadgetron server:.* native node.*AccTrig",
    ),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_a_bad_configuration_is_explained_before_any_data_flow(host: Listener, name: str) -> None:
    config, expected = CONFIGS[name]
    made, texts = send(host, config, header_bytes(scan_of().header), scan_of().acquisitions)
    assert made == []
    assert len(texts) == 1
    assert re.search(expected, texts[0]), texts


def test_without_noise_lines_the_image_says_that_it_is_not_whitened(host: Listener) -> None:
    made, texts = send(host, xml(CHAIN), header_bytes(scan_of().header), scan_of().acquisitions[NOISE_LINES:])
    assert texts == []
    (image,) = images_of(made)
    assert (image.meta["Onebreath_prewhiten_noise"], image.meta["Onebreath_prewhiten_whitened"]) == ("none", "False")


def test_another_calibration_mode_in_the_header_is_told(host: Listener) -> None:
    def separate(head: Any) -> None:
        head.encoding[0].parallelImaging.calibrationMode = xsd.calibrationModeType.SEPARATE

    made, texts = send(host, xml(CHAIN), header_bytes(header(separate)), scan_of().acquisitions)
    assert texts == []
    (image,) = images_of(made)
    assert image.meta["Onebreath_calibrate_agreement"].startswith(
        "no: the header says separate, the lines show embedded"
    )


def test_optional_sections_of_the_header_may_lack(host: Listener) -> None:
    def bare(head: Any) -> None:
        head.encoding[0].encodingLimits = xsd.encodingLimitsType()
        head.encoding[0].parallelImaging = None
        for section in ("acquisitionSystemInformation", "measurementInformation", "sequenceParameters"):
            setattr(head, section, None)
        head.subjectInformation = head.studyInformation = head.userParameters = None

    made, texts = send(host, xml(CHAIN), header_bytes(header(bare)), scan_of().acquisitions)
    reference, _ = send(host, xml(CHAIN), header_bytes(scan_of().header), scan_of().acquisitions)
    assert texts == []
    np.testing.assert_allclose(images_of(made)[0].data, images_of(reference)[0].data, atol=1e-3)


def octets(*messages: Any) -> bytes:
    return b"".join(bytes(part) for message in messages for part in encode(message))


def start_and(lines: int) -> bytes:
    return octets(header_bytes(scan_of().header), *scan_of().acquisitions[:lines])


def absurd_line() -> bytes:
    head = scan_of().acquisitions[PLACE].getHead()
    head.active_channels, head.number_of_samples = 65535, 65535
    return struct.pack("<H", 1008) + bytes(head)


LINE = octets(scan_of().acquisitions[PLACE])
BYTES: dict[str, tuple[bytes, str]] = {
    "cut within a line": (start_and(PLACE) + LINE[:500], "the scan ended early: .* while ACQUISITION was read"),
    "cut between lines": (start_and(PLACE), "the scan ended early: .* without CLOSE"),
    "absurd line": (start_and(PLACE) + absurd_line(), "active_channels of an acquisition is 65535, above the limit"),
    "absurd header": (struct.pack("<HI", 3, 1 << 31), "the length of the header is 2147483648, above the limit"),
    "absurd k-space": (start_and(PLACE) + struct.pack("<HQ", 1023, 1 << 50), "number of bits of a ReconData"),
    "no message": (start_and(PLACE) + b"\xff\x7f", "32767 is not the id of any message"),
    "second header": (start_and(PLACE) + start_and(0), "HEADER .* does not belong at this place"),
}


@pytest.mark.parametrize("chain", [[CHAIN], [[step] for step in CHAIN]], ids=["one process", "staged"])
@pytest.mark.parametrize("name", BYTES)
def test_a_broken_stream_is_explained_to_a_client_that_still_listens(
    host: Listener, name: str, chain: list[Steps]
) -> None:
    data, expected = BYTES[name]
    with socket.create_connection(host.address, PATIENCE) as sock:
        channel = Channel(sock)
        channel.stream.patience(PATIENCE)
        sock.sendall(octets(xml(*chain)) + data)
        sock.shutdown(socket.SHUT_WR)
        answers = list(channel)
    (text,) = [answer for answer in answers if isinstance(answer, Text)]
    assert re.search(expected, text), text


@pytest.mark.parametrize("chain", [[CHAIN], [[step] for step in CHAIN]], ids=["one process", "staged"])
def test_a_client_lost_in_the_middle_of_a_scan_leaves_nothing_behind(host: Listener, chain: list[Steps]) -> None:
    before = set(threading.enumerate())
    with socket.create_connection(host.address, PATIENCE) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # breaks, like a pulled cable
        sock.sendall(octets(xml(*chain)) + start_and(PLACE))
        deadline = time.monotonic() + PATIENCE
        while not set(threading.enumerate()) - before:
            assert time.monotonic() < deadline
    while set(threading.enumerate()) - before:
        assert time.monotonic() < deadline, threading.enumerate()
        time.sleep(0.01)
