"""Streams recorded inside Gadgetron's chain, sent through every gadget that takes their messages, over the wire."""

from collections.abc import Iterator
from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from onebreath.chain.gadget import gadget_class, usual_order
from onebreath.chain.notes import NOTE_ID
from onebreath.host.listener import Listener
from onebreath.host.server import start_host
from tests.chain.running import header_bytes, images_of, run, send, steps, xml
from tests.helpers import nrmse
from tests.raw import stream

ENTRIES = {
    "siemens_acquisitions": "prewhiten",
    "siemens_acquisitions_whitened": "compress",
    "siemens_bucket": "sort",
    "siemens_recon_data": "calibrate",
    "siemens_recon_data_ref": "calibrate",
    "siemens_image_array": "export",
}
"""Each recorded stream, and the gadget whose place in the chain it was recorded before."""
TYPES = {
    "siemens_acquisitions": "Acquisition",
    "siemens_acquisitions_whitened": "Acquisition",
    "siemens_bucket": "AcquisitionBucket",
    "siemens_recon_data": "ReconData",
    "siemens_recon_data_ref": "ReconData",
    "siemens_image_array": "ImageArray",
    "shepp_bucket_waveforms": "AcquisitionBucket",
}
PAIRS = [(name, gadget) for name in TYPES for gadget in usual_order() if TYPES[name] in gadget_class(gadget).consumes]


@pytest.fixture(scope="module")
def host() -> Iterator[Listener]:
    with start_host() as listener:
        yield listener


@pytest.mark.parametrize("name", ENTRIES)
def test_the_chain_may_begin_anywhere(host: Listener, shared: Path, name: str) -> None:
    header, messages = stream(shared, name)
    chain = steps("grappa", first=ENTRIES[name], reconstruct={"snr_units": "gadgetron"})
    if name == "siemens_bucket":  # only a server sends buckets
        made, texts = run(header, messages, chain), []
    else:
        made, texts = send(host, xml(chain), header_bytes(header), messages)
    assert texts == []
    with np.load(shared / "gadgetron" / "siemens_grappa_gadget.npz") as file:
        reference = np.abs(file["Image"]).T
    inside = reference > 0.1 * reference.max()
    image = images_of(made)[0].data[0, 0]
    assert nrmse(image[inside], reference[inside]) <= 0.05


@pytest.mark.parametrize(("name", "gadget"), PAIRS, ids=lambda part: part)
def test_every_gadget_takes_the_stream(shared: Path, name: str, gadget: str) -> None:
    header, messages = stream(shared, name)
    made = run(header, messages, steps("zero_filled", first=gadget, last=gadget, calibrate={"no_acs": "pass"}))
    kinds = {kind.__name__ for message in made for kind in type(message).mro()}
    assert set(gadget_class(gadget).emits) & kinds
    assert not set(gadget_class(gadget).consumes) - set(gadget_class(gadget).emits) & kinds


def test_waveforms_of_a_bucket_reach_the_end(shared: Path) -> None:
    header, (bucket,) = stream(shared, "shepp_bucket_waveforms")
    made = run(header, [bucket], steps("zero_filled", first="sort", calibrate={"no_acs": "pass"}))
    ours = [m for m in made if isinstance(m, ismrmrd.Waveform) and m.waveform_id != NOTE_ID]
    assert [(w.waveform_id, w.time_stamp) for w in ours] == [(w.waveform_id, w.time_stamp) for w in bucket.waveforms]
    assert len(images_of(made)) > 0
