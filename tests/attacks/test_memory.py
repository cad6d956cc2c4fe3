"""Memory is counted as it is taken: neither a header nor the counters of lines decide what a scan costs."""

import struct

import numpy as np
import pytest

from onebreath.budget import Budget, claim, counted
from onebreath.config.properties import steps_of
from onebreath.config.stream_config import parse
from onebreath.errors import ConfigError, ScanError, WireError
from onebreath.mrd.header import ScanHeader
from onebreath.wire.channel import Channel
from onebreath.wire.connection import parse_config, parse_header
from onebreath.worker.scheduler import Scheduler
from onebreath.worker.ticket import BASE, Ticket, needed_bytes
from tests.fuzz.tape import Tape
from tests.host import tiny
from tests.host.test_worker import gadget_scan
from tests.host.wiring import CLOSE, encoded, start
from tests.host.workers import at_rest, wait_for, worker
from tests.scans import line_header

MB = 1 << 20


def lines(count, coils=8, samples=256, **counters):
    """Lines whose counters are functions of their number."""
    import ismrmrd

    data = np.ones((coils, samples), np.complex64)
    made = []
    for number in range(count):
        head = line_header(6, samples, coils)
        for name, value in counters.items():
            setattr(head.idx, name, value(number))
        made.append(encoded(ismrmrd.Acquisition(head, data)))
    return made


def scan(made, header=None, steps=tiny.STEPS):
    return b"".join([start(tiny.configuration(steps=steps), header or tiny.header()), *made, CLOSE])


def wide(samples):
    """The tiny header with a longer readout."""
    return tiny.header().replace(b"<x>16</x>", b"<x>%d</x>" % samples)


@pytest.mark.parametrize(
    "made",
    [
        lines(1500, repetition=lambda n: n),
        lines(1500, slice=lambda n: n),
        lines(1500, set=lambda n: n % 50, contrast=lambda n: n // 50),
        lines(3000, samples=256),
    ],
    ids=["repetitions", "slices", "sets and contrasts", "endless lines"],
)
def test_a_scan_that_takes_more_than_its_header_announces_is_refused_when_there_is_no_more(tmp_path, made):
    with worker(tmp_path, slots=2, memory=BASE + 32 * MB) as running:
        seen = gadget_scan(running, scan(made, wide(256), [step for step in tiny.STEPS if step != "compress"]))
        assert not seen.images
        assert "more memory than its header announces, or than is free here" in seen.text
        wait_for(lambda: at_rest(running))
        assert gadget_scan(running).images


def test_a_recon_matrix_of_another_world_is_refused_before_it_is_made(tmp_path):
    size = b"<reconSpace>\n      <matrixSize><x>16</x><y>12</y>"
    header = tiny.header()
    assert size in header
    large = header.replace(size, size.replace(b">16<", b">30000<").replace(b">12<", b">30000<"))
    with worker(tmp_path, memory=1 << 30) as running:
        assert (
            "an image of the recon matrix would take"
            in gadget_scan(running, scan(map(encoded, tiny.lines()), large)).text
        )
        assert gadget_scan(running).images


def test_what_a_scan_takes_above_its_estimate_stands_in_the_books():
    books = Scheduler(2, 1000 * MB + 2 * BASE, 0)
    one, other = Ticket("1", "chain", "client", needs=BASE), Ticket("2", "chain", "client", needs=BASE)
    books.enter(one)
    books.enter(other)
    assert books.allows(one, 400 * MB)
    assert books.snapshot()["reserved_mb"] == round((2 * BASE + 800 * MB) / 1e6)
    assert not books.allows(other, 400 * MB)
    books.leave(one, "done")
    assert books.allows(other, 400 * MB)


def test_arrays_leave_the_budget_when_python_lets_go_of_them():
    budget = Budget(lambda held: held <= 1000)

    class Owner:
        pass

    with counted(budget):
        owner = Owner()
        claim(900, "an array", owner)
        with pytest.raises(ScanError, match="another would take"):
            claim(200, "another", owner)
        claim(100, "asked only")
        assert budget.held == 900
        del owner
        assert (budget.held, budget.peak) == (0, 1000)
    claim(1 << 60, "outside of any scan")


def header_with(**values):
    text = tiny.header().decode()
    for name, value in values.items():
        text = text.replace(f"<{name}>16</{name}>", f"<{name}>{value}</{name}>", 1)
    return text.encode()


def channels(text):
    system = f"<acquisitionSystemInformation><receiverChannels>{text}</receiverChannels></acquisitionSystemInformation>"
    return tiny.header().replace(b"<experimentalConditions>", system.encode() + b"<experimentalConditions>", 1)


@pytest.mark.parametrize("text", ["-1000", "0", "99999999999", "abc", "9" * 5000])
def test_no_number_of_channels_makes_room_or_takes_all(text):
    try:
        needs = needed_bytes(parse_header(channels(text)))
    except ScanError:
        return
    assert BASE <= needs < 4 << 30


def test_a_scan_that_announces_more_than_the_computer_has_is_refused_at_once(tmp_path):
    large = header_with(x=60000).replace(b"<y>12</y>", b"<y>60000</y>")
    with worker(tmp_path, slots=1) as running:
        assert "this computer has" in gadget_scan(running, scan(lines(1), large)).text
        assert running.service.scheduler.snapshot()["reserved_mb"] == 0


@pytest.mark.parametrize("value", ["-16", "70000", "2147483648", "abc", "9" * 5000, "1e400", "NaN"])
def test_a_matrix_that_no_counter_can_count_is_a_clear_error(value):
    with pytest.raises(ScanError, match=r"matrix ?[sS]ize"):
        ScanHeader(parse_header(header_with(x=value)))


def test_nodes_gadgets_and_properties_are_bounded():
    node = b'<external><execute name="onebreath.host.entry" target="prewhiten" type="python"/></external>'
    whole = b"<configuration><version>2</version><stream>%s</stream></configuration>"
    assert len(parse(whole % (node * 32)).nodes) == 32
    with pytest.raises(ConfigError, match="1000 nodes; at most 32"):
        parse(whole % (node * 1000))
    with pytest.raises(ConfigError, match="5000 gadgets; at most 32"):
        steps_of(parse_config(b"<configuration>%s</configuration>" % (b'<gadget name="compress"/>' * 5000)), "chain")
    many = b"".join(b'<property name="p%d" value="1"/>' % n for n in range(5000))
    with pytest.raises(ConfigError, match="5000 properties; at most 500"):
        steps_of(parse_config(b'<configuration><gadget name="sort">%s</gadget></configuration>' % many), "chain")


@pytest.mark.parametrize(
    ("gadget", "name", "value"),
    [
        ("sort", "phases", 10**8),
        ("calibrate", "calibration_size", 100_000),
        ("compress", "max_buffered", 10**9),
        ("reconstruct", "noise_map_samples", 10**9),
    ],
)
def test_whole_numbers_of_a_configuration_are_bounded(gadget, name, value):
    from onebreath.chain.gadget import gadget_class, parse_properties

    with pytest.raises(ConfigError, match="less than or equal to"):
        parse_properties(gadget_class(gadget), {name: str(value)})


def test_statistics_of_a_bucket_cost_what_they_weigh():
    import ctypes

    from gadgetron.external import constants
    from gadgetron.types.acquisition_bucket import bucket_meta

    counter = struct.pack("<Q", 65536) + np.arange(65536, dtype="<u2").tobytes()
    head = struct.pack("<H", constants.GADGET_MESSAGE_BUCKET) + bytes(ctypes.sizeof(bucket_meta))
    for count in (20, 65):
        sent = head + struct.pack("<Q", count) + counter * 9
        with pytest.raises(WireError, match="above the limit"):
            Channel(Tape(sent)).read()


def test_lines_without_channels_are_no_lines(tmp_path):
    import ismrmrd

    with worker(tmp_path) as running:
        for coils, samples in ((0, 16), (0, 0)):
            head = line_header(0, samples, coils)
            empty = struct.pack("<H", 1008) + bytes(head)
            assert "dropped: lines without samples 1" in gadget_scan(running, scan([empty])).text
        assert isinstance(head, ismrmrd.AcquisitionHeader)
        assert gadget_scan(running).images


def test_what_a_failed_scan_held_is_given_back_while_its_client_still_listens():
    from onebreath.diagnostics.reports import report

    gone = []

    class Large:
        def __del__(self):
            gone.append(True)

    def fail():
        held = Large()
        try:
            raise ScanError("inner")
        except ScanError as error:
            raise OSError("outer") from error
        finally:
            assert held

    try:
        fail()
    except OSError as error:
        report(error, "a test")
        assert gone == [True]


def windows(coils, lines, samples):
    rng = np.random.default_rng(5)
    drawn = rng.standard_normal((2, coils, lines, samples)).astype(np.float32)
    return drawn[0] + 1j * drawn[1]


def arc(acs, width):
    from onebreath.methods.grappa.arc import ArcKernels

    sampled = np.zeros((5, width), bool)
    sampled[::2] = True
    ArcKernels(acs, (5, width), 0.01).weights(~sampled)


def volume(acs, width):
    from onebreath.methods.grappa.volume_equations import HalfEquations

    HalfEquations(acs.shape[0] * width * 9, acs.shape[0])


def raki(acs, width):
    import torch

    from onebreath.networks.raki.raki import Raki

    Raki(acs.shape[0], 2, widths=(64, 64), kernels=((2, width), (1, 1), (1, 5)))(torch.from_numpy(acs)[None])


def lattice(acs, width):
    from onebreath.methods.grappa.lattice import calibrate

    calibrate(acs, 2, 3, width, 0.01, 0)


def maps(acs, width):
    from onebreath.mri.espirit import espirit

    espirit(acs, (32, 32), kernel=(3, width))


@pytest.mark.parametrize("work", [arc, volume, raki, lattice, maps])
def test_kernels_take_no_more_than_a_scan_may_hold(work):
    acs, most = windows(4, 24, 64), [1 << 40]
    budget = Budget(lambda held: held <= most[0])
    with counted(budget):
        work(acs, 5)
        assert 1e5 < budget.peak < 2e7
        most[0] = budget.peak // 2
        with pytest.raises(ScanError, match="more memory than"):
            work(acs, 5)


@pytest.mark.parametrize("work", [arc, volume, lattice, maps])
def test_equations_that_nothing_could_interrupt_are_not_solved(work):
    with counted(Budget(lambda held: True)), pytest.raises(ScanError, match="at most 5120 can be solved for"):
        work(windows(256, 24, 64), 21)


def covariances(acs, width):
    from onebreath.mri.coils import walsh_maps

    walsh_maps(acs)


def compression(acs, width):
    from onebreath.mri.coils import gcc_matrices

    gcc_matrices(acs, 4)


@pytest.mark.parametrize("work", [covariances, compression])
def test_maps_and_compression_take_no_more_than_a_scan_may_hold(work):
    budget = Budget(lambda held: held < 8 * 64)
    with counted(budget), pytest.raises(ScanError, match=r"Keep fewer channels\.$"):
        work(windows(4, 24, 64), 0)
