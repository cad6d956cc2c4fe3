"""FIRE's own client, as it is, against the embedded host: its images are those of `onebreath replay`."""

import json
import re
import socket
import struct
from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from onebreath.config.finding import find
from onebreath.host.replay import replay
from onebreath.host.server import HostOptions, start_host
from onebreath.simulation.scan import ScanOptions, simulate
from onebreath.wire.channel import Channel
from onebreath.wire.messages import ConfigName, ConfigText, HeaderText, Text
from onebreath.worker.spooling.stream import SpoolStream
from tests.host import tiny
from tests.host.fire import Client, images_in, program
from tests.host.wiring import HEADER, acquisition, fed
from tests.host.workers import worker

SCANS = {
    "static": ScanOptions(
        matrix=(48, 48), slices=2, mode="static", phases=1, coils=5, acceleration=2, acs_lines=16, noise_samples=96
    ),
    "cine": ScanOptions(matrix=(48, 48), slices=2, phases=3, coils=5, acceleration=3, acs_lines=16, noise_samples=96),
}
STATIC, CINE = "Onebreath_Static_GRAPPA.xml", "Onebreath_Cine_CGSENSE.xml"


def parameters(**given) -> dict:
    return {"version": "1.1.0", "parameters": given}


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for name, options in SCANS.items():
        simulate(options).write(folder / f"{name}.h5")
    return folder


@pytest.fixture(scope="module")
def client(shared):
    """The client's program; its folder is not written to."""
    path = program(shared)
    if not path.is_file():
        pytest.skip(f"FIRE's client is not at {path}")
    return path


@pytest.fixture
def host():
    with start_host(options=HostOptions(silence=60)) as listener:
        yield listener.address[1]


def replayed(scan: Path, config: str | Path, folder: Path) -> dict[int, tuple[np.ndarray, list[ismrmrd.Meta]]]:
    """Images of the embedded host; `config` is a name, or a file."""
    group = f"{scan.stem} {Path(config).stem}"
    local = config if isinstance(config, Path) else None
    outcome = replay(scan, str(config), local, output=folder / "own.h5", group=group)
    assert not outcome.failed, outcome.texts
    return images_in(folder / "own.h5", group)


def same_images(found, expected) -> None:
    assert sorted(found) == sorted(expected)
    for series, (pixels, metas) in expected.items():
        assert np.array_equal(found[series][0], pixels)
        assert found[series][0].any()
        assert len(found[series][1]) == len(metas)


@pytest.mark.parametrize(("scan", "config"), [("static", STATIC), ("cine", CINE)])
def test_images_without_json_are_the_embedded_hosts(scans, client, host, tmp_path, scan, config):
    ran = Client(client, host, scans / f"{scan}.h5", tmp_path, config, None, "-w")
    same_images(ran.images, replayed(scans / f"{scan}.h5", config, tmp_path))
    assert "ERROR" not in ran.log


@pytest.mark.parametrize(("scan", "config"), [("static", STATIC), ("cine", CINE)])
def test_json_changes_what_it_names_and_nothing_else(scans, client, host, tmp_path, scan, config):
    """The client's own way: the JSON lies beside it, under the configuration's name."""
    tmp_path.joinpath(f"{config}.json").write_text(json.dumps(parameters(method="zero_filled", noisemaps="none")))
    ran = Client(client, host, scans / f"{scan}.h5", tmp_path, config)
    by_hand = find(config).read_text().replace('"grappa"', '"zero_filled"').replace('"cg_sense"', '"zero_filled"')
    (tmp_path / "by_hand.xml").write_text(by_hand.replace('"true"', '"false"'))
    same_images(ran.images, replayed(scans / f"{scan}.h5", tmp_path / "by_hand.xml", tmp_path))
    for meta in ran.images[1][1]:
        assert meta["Onebreath_host_requested"] == "method=zero_filled, noisemaps=none"
        assert meta["Onebreath_reconstruct_method"] == "zero_filled"


def test_openrecons_name_and_the_configuration_that_its_json_names(scans, client, host, tmp_path, monkeypatch):
    request = {"version": "1.1.0", "parameters": {"config": CINE, "customconfig": "", "model": "", "deadline": -1}}
    ran = Client(client, host, scans / "cine.h5", tmp_path, "openrecon", request)
    same_images(ran.images, replayed(scans / "cine.h5", CINE, tmp_path))
    assert ran.images[1][1][0]["Onebreath_host_requested"] == f"config={CINE}"
    monkeypatch.setenv("ONEBREATH_NAMES", f"openrecon={STATIC}, heart=Onebreath_Cine_ZeroFilled")
    same_images(
        Client(client, host, scans / "static.h5", tmp_path / "named", "openrecon").images,
        replayed(scans / "static.h5", STATIC, tmp_path),
    )


@pytest.mark.parametrize("scan", ["static", "cine"])
def test_openrecons_default_reconstructs_whatever_comes(scans, client, host, tmp_path, scan):
    ran = Client(client, host, scans / f"{scan}.h5", tmp_path, "openrecon")
    assert len(ran.images[1][1] if 1 in ran.images else ran.images[50][1]) == (2 if scan == "static" else 6)
    assert "ERROR" not in ran.log


@pytest.mark.parametrize("name", ["invertcontrast", "", "Onebreath_Static_Hybrid.xml"])
def test_the_configuration_of_the_json_goes_before_a_name_that_nobody_could_run(host, name):
    """FIRE's hosts send the name that is set up there, whatever is chosen at the user interface."""
    for request, runs in ((parameters(config=STATIC), True), (parameters(method="grappa"), False), (None, False)):
        said = [] if request is None else [Text(json.dumps(request))]
        with socket.create_connection(("127.0.0.1", host), 60) as sock:
            channel = Channel(sock)
            for message in (ConfigName(name), HeaderText(HEADER + b"\0"), *said, acquisition(0)):
                channel.send(message)
            channel.stream.end()
            told = "\n".join(map(str, channel))
        assert ("This configuration cannot be used" in told) is not runs, told


def test_a_warning_is_shown_as_one(scans, client, host, tmp_path):
    request = parameters(**{"export.scaling_factor": 5000})
    ran = Client(client, host, scans / "static.h5", tmp_path, STATIC, request)
    assert re.search(r"    WRN: \d+ pixels of series 1 .* were clipped", ran.log)  # FIRE shows what begins so in yellow
    assert ran.images[1]


WRONG = {
    "no JSON": ("config: openrecon", "not the JSON of a user interface"),
    "unknown parameter": (parameters(metod="grappa"), "'metod', which Onebreath does not have. Did you mean: method"),
    "not this method's": (parameters(precision="bfloat16"), "What the user interface asks for, precision=bfloat16"),
    "no parameters": ({"version": "1.1.0"}, '"parameters"'),
    "unknown choice": (
        parameters(noisemaps="some"),
        "'noisemaps' (Noise maps) cannot be 'some'; it can be: configured",
    ),
    "unknown method": (parameters(method="grapa"), "'method' (Method) cannot be 'grapa'"),
    "a method without its model": (
        parameters(method="mr_ipt"),
        "method=mr_ipt, does not fit: method mr_ipt needs 'model' beside it. Name of the model, mr_ipt.TAG",
    ),
    "number out of range": (parameters(channels=4000), "'channels' (Channels kept) cannot be '4000'"),
    "no number": (parameters(deadline="soon"), "'deadline' (Time limit) cannot be 'soon'"),
    "unknown property": (
        parameters(**{"sort.phasen": 3}),
        "sort.phasen=3, does not fit: gadget 'sort' has no property",
    ),
    "absent gadget": (parameters(**{"retrieve.scan": "x"}), "has no gadget 'retrieve', which retrieve.scan=x"),
    "unknown configuration": (parameters(customconfig="Onebreth_Cine"), "no configuration 'Onebreth_Cine'"),
    "two say otherwise": (
        parameters(noisemaps="none", **{"reconstruct.send_out_gfactor": True}),
        "noisemaps=none and for reconstruct.send_out_gfactor=true at once",
    ),
    "newer": ({"version": "2.0.0", "parameters": {}}, "version 2.0.0"),
    "more than is known": ({"parameters": {}, "patient": "x"}, "'patient' beside"),
    "not printable": (parameters(model="a\0b"), "characters that cannot be printed"),
    "nested without end": ("[" * 100_000, "not the JSON of a user interface"),
    "a list": (parameters(method=["grappa"]), "must be a text, a number"),
}


@pytest.mark.parametrize("name", list(WRONG)[:3])
def test_the_client_shows_what_does_not_fit(scans, client, host, tmp_path, name):
    request, text = WRONG[name]
    ran = Client(client, host, scans / "static.h5", tmp_path, STATIC, request)
    assert "    ERROR: " in ran.log  # FIRE shows texts in red that begin with ERR
    assert text in ran.log
    assert ran.images == {}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_told_in_the_words_of_the_user_interface(host, name):
    request, text = WRONG[name]
    said = request if isinstance(request, str) else json.dumps(request)
    with socket.create_connection(("127.0.0.1", host), 60) as sock:
        channel = Channel(sock)
        for message in (ConfigName(STATIC), HeaderText(HEADER + b"\0"), Text(said + "\0"), acquisition(0)):
            channel.send(message)
        channel.stream.end()
        (answer,) = list(channel)
    assert answer.startswith("ERROR: ")
    assert text in answer


def test_what_was_looked_at_is_recorded(tmp_path):
    """The identifier that tells whether a JSON comes is looked at before the scan is admitted and its data are kept."""
    kept, data = tmp_path / "data.bin", struct.pack("<H", 1008) + bytes(range(200))
    kept.touch()
    with fed(data) as sock:
        stream = SpoolStream(sock)
        assert stream.next_identifier() == 1008
        stream.record(kept, keep=True)
        assert stream.read(len(data)) == data
        stream.stop_recording()
    assert kept.read_bytes() == data


def test_a_worker_that_keeps_raw_data_takes_json(tmp_path):
    request = json.dumps(parameters(output="phase", channels=-1))
    with worker(tmp_path, spool="always") as running:
        address = running.listeners["client"].address
        for text in (None, request):
            with socket.create_connection(address, 60) as sock:
                channel = Channel(sock)
                channel.send(ConfigText(tiny.stream()))
                channel.send(HeaderText(tiny.header()))
                for message in ([] if text is None else [Text(text)]) + list(tiny.lines()):
                    channel.send(message)
                channel.stream.end()
                images = list(channel)
            assert all(isinstance(image, ismrmrd.Image) for image in images), images
            assert {image.image_series_index for image in images} == ({1} if text is None else {1, 3001})
            told = images[0].meta.get("Onebreath_host_requested")
            assert told == (None if text is None else "output=phase")


def test_a_text_amid_the_data_ends_no_scan_and_is_not_logged(tmp_path, caplog):
    with (
        worker(tmp_path, spool="always") as running,
        socket.create_connection(running.listeners["client"].address, 60) as sock,
    ):
        channel = Channel(sock)
        first, *others = tiny.lines()
        for message in (ConfigText(tiny.stream()), HeaderText(tiny.header()), first, Text("MR. JONES"), *others):
            channel.send(message)
        channel.stream.end()
        images = list(channel)
    assert images
    assert all(isinstance(image, ismrmrd.Image) for image in images), images
    assert "a text of 9 letters came amid the data" in caplog.text
    assert "JONES" not in caplog.text


def test_meta_is_what_a_fire_host_reads(scans, client, host, tmp_path):
    ran = Client(client, host, scans / "static.h5", tmp_path, STATIC)
    pixels, metas = ran.images[1]
    for image, meta in zip(pixels, metas, strict=True):
        assert meta["DataRole"] == "Image"
        assert meta["ImageProcessingHistory"] == ["GT", "Onebreath"]
        assert meta["Keep_image_geometry"] == "1"
        assert meta["SequenceDescriptionAdditional"]
        assert meta["ImageComment"] == "Onebreath grappa"
        row, column = (np.array([float(part) for part in meta[name]]) for name in ("ImageRowDir", "ImageColumnDir"))
        assert abs(row @ column) < 1e-6
        assert np.linalg.norm(row) == pytest.approx(1, abs=1e-6)
        slope = float(meta["RescaleSlope"])
        low, high = np.percentile(pixels[0], (0.5, 99.5)) * slope
        assert abs(int(meta["WindowCenter"]) - (low + high) / 2) <= 0.5
        assert abs(int(meta["WindowWidth"]) - (high - low)) <= 0.5
        assert image.dtype == np.uint16
    assert ran.images[20][1][0]["DataRole"] == ["Gfactor", "Quantitative"]
