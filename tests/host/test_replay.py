"""Replay of raw files, in this process and over TCP."""

import argparse
import socket
import threading
from contextlib import closing

import h5py
import ismrmrd
import numpy as np
import pytest

from onebreath.commands.replay import add_arguments, run
from onebreath.errors import ConnectionLost, ScanError
from onebreath.host import replay as module
from onebreath.host.replay import replay, tells_of_an_error
from onebreath.host.server import start_host
from tests.helpers import READERS_AND_WRITERS
from tests.host.wiring import HEADER, acquisition

CONFIG = (
    f"<configuration><version>2</version>{READERS_AND_WRITERS}"
    '<stream><external><execute name="tests.host.targets" target="{}" '
    'type="python"/></external></stream></configuration>'
)


@pytest.fixture
def scan(tmp_path):
    """A raw file of 20 acquisitions, and configurations beside it."""
    with closing(ismrmrd.Dataset(str(tmp_path / "raw.h5"))) as dataset:
        dataset.write_xml_header(HEADER)
        for line in range(20):
            dataset.append_acquisition(acquisition(line))
    for target in ("image_of_configuration", "raises", "pass_through"):
        (tmp_path / f"{target}.xml").write_text(CONFIG.format(target))
    return tmp_path


def arguments(scan, *more):
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return parser.parse_args(["-f", str(scan / "raw.h5"), "-o", str(scan / "out.h5"), *more])


def local(scan, target):
    return {"config_local": scan / f"{target}.xml", "output": scan / "out.h5", "group": "g"}


def test_replay_in_this_process(scan):
    outcome = replay(scan / "raw.h5", **local(scan, "image_of_configuration"))
    assert (outcome.images, outcome.sent, outcome.failed) == ({3: 1}, 20, False)
    with h5py.File(scan / "out.h5") as file:
        np.testing.assert_array_equal(file["g/image_3/data"][0], np.full((1, 1, 4, 4), 20))


def test_replay_to_a_server_by_name(scan, monkeypatch, capsys):
    monkeypatch.setenv("ONEBREATH_CONFIGS", str(scan))
    with start_host() as host:
        more = ["-a", host.address[0], "-p", str(host.address[1]), "-c", "image_of_configuration.xml", "-l", "2"]
        assert run(arguments(scan, *more, "-G", "twice")) == 0
    assert capsys.readouterr().out.count("1 images in series 3; 20 messages sent") == 2
    with h5py.File(scan / "out.h5") as file:
        assert [file[f"{group}/image_3/data"].shape[0] for group in ("twice", "twice_2")] == [1, 1]


def test_default_group_is_date_and_time(scan):
    assert run(arguments(scan, "-C", str(scan / "image_of_configuration.xml"))) == 0
    with h5py.File(scan / "out.h5") as file:
        (group,) = file
        assert len(group) == len("2026-01-01 12:00:00")


@pytest.mark.parametrize(
    ("more", "text"),
    [
        (["-C", "{}/raises.xml"], "For the physicist: internal error in external node tests.host.targets:raises"),
        (
            ["-c", "image_of.xml"],
            "For the physicist: There is no configuration 'image_of.xml'. Did you mean: image_of_conf",
        ),
        (["-C", "{}/pass_through.xml"], "no image came back"),
    ],
    ids=["node raises", "unknown configuration", "no image"],
)
def test_failure_is_printed_and_sets_the_exit_status(scan, monkeypatch, capsys, more, text):
    monkeypatch.setenv("ONEBREATH_CONFIGS", str(scan))
    assert run(arguments(scan, *[part.format(scan) for part in more])) == 1
    assert text in capsys.readouterr().err


def test_server_that_hangs_up_is_reported(scan, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=lambda: server.accept()[0].close())
        thread.start()
        address, port = server.getsockname()
        outcome = replay(scan / "raw.h5", address=address, port=port, **local(scan, "raises"))
        thread.join(60)
    assert outcome.failed
    assert outcome.texts


def test_no_server_and_no_file(scan):
    with pytest.raises(ConnectionLost, match="no server at"):
        replay(scan / "raw.h5", address="127.0.0.1", port=9, output=scan / "out.h5")
    with pytest.raises(ScanError, match="no such file"):
        replay(scan / "absent.h5")


def test_damaged_file_is_reported_and_nothing_hangs(scan):
    with h5py.File(scan / "raw.h5", "a") as file:
        row = file["dataset/data"][7]
        row["data"] = row["data"][:-2]
        file["dataset/data"][7] = row
    outcome = replay(scan / "raw.h5", **local(scan, "image_of_configuration"))
    assert outcome.failed
    assert "acquisition 7 has" in outcome.texts[0]


def test_large_scan_does_not_block(tmp_path):
    with closing(ismrmrd.Dataset(str(tmp_path / "raw.h5"))) as dataset:
        dataset.write_xml_header(HEADER)
        for line in range(40):
            dataset.append_acquisition(acquisition(line, channels=32, samples=512))
    (tmp_path / "pass_through.xml").write_text(CONFIG.format("pass_through"))
    outcome = replay(tmp_path / "raw.h5", **local(tmp_path, "pass_through"))
    assert (outcome.sent, outcome.failed) == (40, False)


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("ERROR: the data were damaged", True),
        ("[Connection Main Thread/Stream/external] ERROR: Failed to connect to service 18000", True),
        ("ERR of another kind", False),
        ("No ERROR at all", False),
    ],
)
def test_errors_of_a_real_server_are_known_though_they_name_their_place_first(text, failed):
    assert tells_of_an_error(text) == failed


def test_a_port_that_does_not_exist_is_told(scan):
    with pytest.raises(ConnectionLost, match=r"no server at 127\.0\.0\.1:99999"):
        replay(scan / "raw.h5", address="127.0.0.1", port=99999, output=scan / "out.h5")
