import time

import numpy as np

from onebreath.chain.chain import _Watch
from onebreath.chain.watch import watched
from onebreath.gadgets.calibrate import Calibrate, CalibrateProperties
from tests.scans import coil_scan, header, recon_data


def watch(**properties):
    _, _, kspace = coil_scan(frames=1)
    gadget = Calibrate(header(36, 32), CalibrateProperties(calibration_size=16, **properties))
    data = recon_data(kspace, np.ones((1, 36), bool))
    return kspace, list(watched(gadget, gadget.process([data])))


def test_arrays_are_kept_in_the_folder(tmp_path):
    kspace, _ = watch(debug_folder=str(tmp_path / "debug"))
    assert sorted(path.name for path in (tmp_path / "debug").iterdir()) == [
        "calibrate_00001_data0.npy",
        "calibrate_00001_data1.npy",
        "calibrate_00001_ref0.npy",
    ]
    kept = np.load(tmp_path / "debug" / "calibrate_00001_data0.npy")
    assert np.array_equal(kept[:, :, 0, :, 0, 0, 0], kspace[0].transpose(2, 1, 0))


def test_messages_are_logged_when_verbose(caplog):
    with caplog.at_level("INFO", logger="onebreath.calibrate"):
        watch(verbose=True)
    assert "made message 1: ReconData" in caplog.text


def test_nothing_is_kept_or_logged_otherwise(caplog):
    with caplog.at_level("INFO", logger="onebreath.calibrate"):
        _, messages = watch()
    assert len(messages) == 2
    assert "made message" not in caplog.text


def test_a_gadget_that_waited_has_not_worked_less_than_nothing():
    """What it has worked so far is asked for while it works, after a wait for its message."""

    def late():
        time.sleep(0.2)
        yield "message"

    class Asks(Calibrate):
        def process(self, messages):
            for message in messages:
                time.sleep(0.05)
                asked.append(watch.worked)
                yield message

    asked: list[float] = []
    watch = _Watch(Asks(header(36, 32), CalibrateProperties()), late())
    assert list(watch.output()) == ["message"]
    assert asked[0] >= 0.045
    assert watch.before.seconds >= 0.195
    assert watch.worked >= asked[0]
