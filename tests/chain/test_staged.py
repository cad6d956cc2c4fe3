"""The same scan in one process and over sockets, and on numpy and torch: the same images, the same facts about them."""

from collections.abc import Iterator
from typing import Any

import ismrmrd
import numpy as np
import pytest

from onebreath.host.listener import Listener
from onebreath.host.server import start_host
from onebreath.methods.base import SliceData, method_class
from onebreath.mrd.acs import acs_of
from onebreath.mrd.buffers import kspace_of, maps_of, mask_of
from onebreath.mri.sampling import describe
from onebreath.simulation.scan import SimulatedScan
from tests.chain.running import header_bytes, images_of, pixels, run, send, simulated, steps, stream_of, xml
from tests.helpers import nrmse, torch_backend


@pytest.fixture(scope="module")
def scan() -> SimulatedScan:
    return simulated(
        slices=2, phases=4, mode="prospective", acceleration=2, acs_mode="embedded", partial_fourier=0.8, ecg=True,
        extra_lines=("navigation",),
    )  # fmt: skip


@pytest.fixture
def host() -> Iterator[Listener]:
    with start_host() as listener:
        yield listener


MEASURED = ("WindowWidth", "WindowCenter", "residual", "energy_kept")
"""Ends of the meta's names for what is measured in the data, which may differ in the last digits."""


OF_THE_PROCESS = ("Onebreath_seconds", "Onebreath_chain")
"""Beginnings of the meta's names for what gadgets know of those in the same process only."""


def facts(image: ismrmrd.Image) -> tuple[dict[str, Any], list[float]]:
    """What the meta says, and what was measured."""
    said = {
        name: value
        for name, value in image.meta.items()
        if not name.endswith(MEASURED) and not name.startswith(OF_THE_PROCESS)
    }
    return said, [float(value) for name, value in image.meta.items() if name.endswith(MEASURED)]


@pytest.mark.parametrize("method", ["zero_filled", "cg_sense", "grappa"])
def test_one_process_and_staged_give_the_same_images_and_facts(
    host: Listener, scan: SimulatedScan, method: str
) -> None:
    kept = {"upstream_coil_compression_num_modesKept": "6"}
    chain = steps(method, compress=kept, calibrate={"espirit_crop": "0.8"})
    header, messages = header_bytes(scan.header), stream_of(scan)
    together, texts = send(host, xml(chain), header, messages)
    apart, texts_apart = send(host, xml(*[[step] for step in chain]), header, messages)
    assert texts == texts_apart == []
    assert len(together) == len(apart) == 8
    for one, other in zip(images_of(together), images_of(apart), strict=True):
        assert nrmse(other.data, one.data) < 1e-5
        assert bytes(other.getHead())[:-4] == bytes(one.getHead())[:-4], "all but the length of the meta"
        (said, measured), (said_apart, measured_apart) = facts(one), facts(other)
        assert said_apart == said
        assert measured_apart == pytest.approx(measured, rel=1e-3)
        assert one.meta["Onebreath_compress_channels_kept"] == "6"


def test_a_chain_in_this_process_equals_the_host(host: Listener, scan: SimulatedScan) -> None:
    chain = steps("cg_sense")
    served, _ = send(host, xml(chain), header_bytes(scan.header), stream_of(scan))
    assert nrmse(pixels(images_of(run(scan.header, stream_of(scan), chain))), pixels(images_of(served))) < 1e-5


@pytest.mark.parametrize("method", ["zero_filled", "cg_sense"])
def test_numpy_and_torch_give_the_same_images(scan: SimulatedScan, method: str) -> None:
    made = run(scan.header, stream_of(scan), steps("cg_sense", last="calibrate"))
    recon_data = next(message for message in made if hasattr(message, "bits"))
    buffer = recon_data.bits[0].data
    kspace, mask, maps, acs = kspace_of(buffer), mask_of(buffer), maps_of(recon_data), acs_of(recon_data)
    assert maps is not None
    assert acs is not None
    sampling = describe(mask, buffer.sampling.sampling_limits[1].center, None)

    def reconstructed(convert: object) -> np.ndarray:
        assert callable(convert)
        data = SliceData(convert(kspace), convert(mask), convert(acs.lines), acs.first, convert(maps), sampling)
        return np.asarray(method_class(method)()(data).images)

    expected = reconstructed(np.ascontiguousarray)
    assert nrmse(reconstructed(torch_backend), expected) < 1e-4
