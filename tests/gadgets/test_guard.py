"""A learned method and the classical one that stands by: images always come, and say what made them."""

import threading
import time

import ismrmrd
import numpy as np
import pytest
import torch

import onebreath.methods.learned.unrolled as unrolled
from onebreath import zoo
from onebreath.chain.gadget import parse_properties
from onebreath.gadgets.reconstruct.reconstruct import Reconstruct
from onebreath.methods import cg_sense, guarded
from onebreath.methods.learned import memory, network_data
from onebreath.mrd.buffers import with_maps
from onebreath.networks.consistency.data_consistency import DataConsistency
from onebreath.networks.crunet_mr.cine_unet import CineUNet
from onebreath.networks.crunet_mr.crunet_mr import CRUNetMR
from tests.models import save_model
from tests.scans import coil_scan, header, recon_data

DEADLINE_S = 3.0
HANG_S = 10.0
STAGES = {
    "reading the model": (zoo, "current"),
    "judging the scan": (unrolled.Unrolled, "_judge"),
    "planning memory": (memory, "needed_bytes"),
    "moving data": (network_data, "to_tensor"),
    "scaling": (network_data, "max_zero_filled_coil_images"),
    "a block": (CineUNet, "forward"),
    "data consistency": (DataConsistency, "forward"),
    "the network": (CRUNetMR, "forward"),
    "moving images back": (unrolled, "back"),
    "the score": (unrolled, "domain_score"),
}
NAN_STAGES = ("a block", "data consistency", "the network", "moving images back")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    save_model(tmp_path, score_limit=1000.0)
    return tmp_path


def scan(slices=1):
    """One message of a small scan, and its header."""
    _, maps, kspace = coil_scan(noise=1.0)
    lines = np.zeros((3, 36), bool)
    lines[:, ::2] = lines[:, 14:22] = True
    data = with_maps(recon_data(kspace, lines), maps[None, None].astype(np.complex64))
    return data, header(36, 32, phases=3, slices=slices)


def run(slices=1, messages=1, **properties):
    """What `reconstruct` sends, by series, and the seconds it took."""
    data, head = scan(slices)
    chosen = {"method": "unrolled", "model": "crunet_mr.tiny", "device": "cpu", **properties}
    begun = time.perf_counter()
    gadget = Reconstruct(head, parse_properties(Reconstruct, {key: str(value) for key, value in chosen.items()}))
    made = list(gadget.process([data] * messages))
    seconds = time.perf_counter() - begun
    return {array.headers[0, 0, 0].image_series_index: array for array in made}, seconds


def meta_of(array):
    return ismrmrd.Meta.deserialize(array.meta[0])


def join_late_work():
    """Wait for methods that were left behind: nothing is begun beside them."""
    for thread in threading.enumerate():
        if thread.name == "onebreath-method":
            thread.join(60)


def raising(error):
    def fault(*args, **kwargs):
        raise error

    return fault


def labelled(arrays, reason):
    """Check that the only images are the fallback's, finite, and labelled in both dialects."""
    assert list(arrays) == [50]
    assert np.isfinite(arrays[50].data).all()
    assert np.abs(arrays[50].data).max() > 10
    meta = meta_of(arrays[50])
    assert meta["GADGETRON_SeqDescription"] == meta["SeriesDescription"] == "_GT_Onebreath_cg_sense_fallback"
    assert meta["Onebreath_reconstruct_method"] == "cg_sense"
    assert meta["Onebreath_reconstruct_wanted"] == "crunet_mr.tiny"
    assert reason in meta["Onebreath_reconstruct_fallback"]
    assert "cg_sense, fallback for crunet_mr.tiny" in meta["GADGETRON_ImageComment"]


def test_without_a_fault_the_network_makes_the_images(root):
    arrays, _ = run(deadline_s=30)
    assert list(arrays) == [1]
    meta = meta_of(arrays[1])
    assert meta["GADGETRON_SeqDescription"] == "_GT_Onebreath_unrolled_crunet_mr.tiny"
    assert "Onebreath_reconstruct_fallback" not in meta


INSIDE = ("moving data", "scaling", "a block", "data consistency", "the network")
"""Stages in which the GPU's memory may run out, upon which smaller pieces are tried first."""
ERRORS = [
    *((stage, RuntimeError("boom"), "RuntimeError: boom") for stage in STAGES),
    *((stage, MemoryError("16 GiB"), "MemoryError: 16 GiB") for stage in ("reading the model", "a block")),
    *((stage, torch.cuda.OutOfMemoryError("full"), "memory ran out") for stage in INSIDE),
    ("the score", torch.cuda.OutOfMemoryError("full"), "OutOfMemoryError: full"),
]


@pytest.mark.parametrize(("stage", "error", "reason"), ERRORS)
def test_an_error_at_any_stage_brings_the_fallback(root, monkeypatch, stage, error, reason):
    monkeypatch.setattr(*STAGES[stage], raising(error))
    arrays, _ = run(domain_score=True)
    labelled(arrays, reason)


@pytest.mark.parametrize("stage", NAN_STAGES)
def test_nan_at_any_stage_brings_the_fallback(root, monkeypatch, stage):
    where, name = STAGES[stage]
    good = getattr(where, name)

    def spoilt(*args, **kwargs):
        made = good(*args, **kwargs)
        return (made[0] * np.nan, *made[1:]) if isinstance(made, tuple) else made * np.nan

    monkeypatch.setattr(where, name, spoilt)
    labelled(run()[0], "")


@pytest.mark.parametrize("stage", STAGES)
def test_a_hang_at_any_stage_brings_the_fallback_before_the_deadline(root, monkeypatch, stage):
    taken = []
    while len(taken) < 3 and not any(seconds < DEADLINE_S for seconds in taken):  # the computer may be late itself
        released = threading.Event()
        with monkeypatch.context() as patch:
            patch.setattr(*STAGES[stage], lambda *args, released=released, **kwargs: released.wait(HANG_S))
            try:
                arrays, seconds = run(deadline_s=DEADLINE_S, domain_score=True)
            finally:
                released.set()
                join_late_work()
        labelled(arrays, "longer than")
        taken.append(seconds)
    assert min(taken) < DEADLINE_S


def test_a_slow_network_stops_at_its_next_layer(root, monkeypatch):
    run()  # what a first run loads does not count here
    steps, over = [], threading.Event()
    block = CineUNet.forward

    def slow(self, *args, **kwargs):
        steps.append(self)
        over.wait(60)
        return block(self, *args, **kwargs)

    monkeypatch.setattr(CineUNet, "forward", slow)
    labelled(run(deadline_s=DEADLINE_S)[0], "longer than")
    over.set()
    join_late_work()
    assert len(steps) == 1, "the second cascade was begun after the deadline"


def test_the_time_of_slices_to_come_is_put_aside(root, monkeypatch):
    run()
    plain = cg_sense.CgSense.__call__

    def slow(self, data):
        time.sleep(DEADLINE_S / 8)
        return plain(self, data)

    monkeypatch.setattr(cg_sense.CgSense, "__call__", slow)
    taken = []
    while len(taken) < 3 and not any(seconds < DEADLINE_S / 2 for seconds in taken):
        released = threading.Event()
        monkeypatch.setattr(unrolled.Unrolled, "__call__", lambda *_, released=released: released.wait(HANG_S))
        arrays, seconds = run(slices=8, deadline_s=DEADLINE_S)
        released.set()
        join_late_work()
        labelled(arrays, "longer than")
        taken.append(seconds)
    assert min(taken) < DEADLINE_S / 2, "seven slices need as long as this one each"


def test_a_fallback_that_is_not_needed_does_not_work(root, monkeypatch):
    monkeypatch.setattr(cg_sense.CgSense, "__call__", raising(AssertionError("it worked")))
    arrays, _ = run(deadline_s=600)
    assert list(arrays) == [1]
    assert meta_of(arrays[1])["Onebreath_reconstruct_standby"] == "not needed"


def slow_network(monkeypatch, until):
    """Let the network make its images only after an event."""
    network = CRUNetMR.forward

    def slow(self, *args, **kwargs):
        assert until.wait(60)
        return network(self, *args, **kwargs)

    monkeypatch.setattr(CRUNetMR, "forward", slow)


def test_the_fallback_works_beside_a_slow_network_whose_images_come_all_the_same(root, monkeypatch):
    made = threading.Event()
    plain = cg_sense.CgSense.__call__

    def noticed(self, data):
        try:
            return plain(self, data)
        finally:
            made.set()

    monkeypatch.setattr(cg_sense.CgSense, "__call__", noticed)
    slow_network(monkeypatch, made)
    monkeypatch.setattr(guarded, "_ALONE", 0.001)
    arrays, _ = run(deadline_s=60)
    assert list(arrays) == [1]
    assert meta_of(arrays[1])["Onebreath_reconstruct_standby"].startswith("began after ")


def test_a_fallback_without_room_beside_the_network_works_after_it(root, monkeypatch):
    tried = threading.Event()
    plain = cg_sense.CgSense.__call__

    def cramped(self, data):
        if not tried.is_set():
            tried.set()
            raise MemoryError
        return plain(self, data)

    monkeypatch.setattr(cg_sense.CgSense, "__call__", cramped)
    monkeypatch.setattr(*STAGES["the score"], raising(RuntimeError("boom")))
    slow_network(monkeypatch, tried)
    monkeypatch.setattr(guarded, "_ALONE", 0.001)
    labelled(run(deadline_s=60, domain_score=True)[0], "RuntimeError: boom")


def test_a_fallback_that_made_the_images_is_not_called_needless(root, monkeypatch):
    monkeypatch.setattr(*STAGES["the score"], raising(RuntimeError("boom")))
    arrays, _ = run(deadline_s=600, domain_score=True)
    labelled(arrays, "RuntimeError: boom")
    assert "Onebreath_reconstruct_standby" not in meta_of(arrays[50])


def test_the_classical_series_goes_along(root):
    arrays, _ = run(send_out_classical=True)
    assert list(arrays) == [1, 50]
    assert meta_of(arrays[50])["GADGETRON_SeqDescription"] == "_GT_Onebreath_cg_sense_classical"
    assert "Onebreath_reconstruct_fallback" not in meta_of(arrays[50])
    alone = run_classical()
    assert np.array_equal(arrays[50].data, alone.data)


def run_classical():
    data, head = scan()
    gadget = Reconstruct(head, parse_properties(Reconstruct, {"method": "cg_sense"}))
    return next(gadget.process([data]))
