"""The self-test: right images pass; wrong ones, missing ones and missing servers fail, each with what to do."""

import numpy as np
import pytest

from onebreath.cli import main
from onebreath.commands.selftest import command as selftest
from onebreath.commands.selftest import images as selftest_images
from onebreath.commands.selftest.images import ReceivedImages, Wrong, compare, read
from onebreath.commands.selftest.remedies import GENERAL, NO_WORKER, remedy_for
from onebreath.commands.selftest.scans import Scans
from onebreath.config.finding import available, find
from onebreath.errors import OnebreathError
from onebreath.host.replay import replay
from tests.gadgetron.real import free_port
from tests.host.workers import worker


@pytest.fixture(autouse=True)
def own_state(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBREATH_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ONEBREATH_STORAGE", str(tmp_path / "storage"))
    monkeypatch.setenv("ONEBREATH_WORKER", "off")


def lines(capsys):
    """Result by configuration, and all that was printed."""
    text = capsys.readouterr().out
    rows = [line.split() for line in text.splitlines() if line.startswith("Onebreath_")]
    return {row[0]: " ".join(row[3:]).lstrip("0123456789.% ") for row in rows}, text


def test_good_configurations_pass_and_others_say_why_not(capsys):
    good = ["Onebreath_Static_GRAPPA.xml", "Onebreath_Static_ZeroFilled.xml", "Onebreath_Cine_CGSENSE.xml"]
    beside = ["Onebreath_Noise.xml", "Onebreath_Retrieve.xml", "Onebreath_Static_Hybrid.xml"]
    assert main(["selftest", *good, *beside]) == 0
    results, text = lines(capsys)
    assert results == {
        **dict.fromkeys([*good, "Onebreath_Noise.xml"], "ok"),
        **dict.fromkeys(["Onebreath_Retrieve.xml", "Onebreath_Static_Hybrid.xml"], "not tested"),
    }
    assert "4 ok, 2 not tested" in text
    assert "other code" not in text


def test_a_worker_that_does_not_run_is_a_failure_of_a_server_alone(monkeypatch, tmp_path):
    def refuse(*_):
        raise OnebreathError("external node localhost:18000 cannot be reached: [Errno 111] Connection refused")

    monkeypatch.setattr(selftest, "replay", refuse)
    for address, result in ((None, "not tested"), ("gpu-host", "FAILS")):
        row = selftest.Tester(selftest.Server(address, 9002, 60.0), tmp_path).test("Onebreath_Static_Connect.xml")
        assert row.result == result
        assert "onebreath serve --gadget-port 18000" in str(row)


def test_a_configuration_that_does_not_unfold_fails(tmp_path, monkeypatch, capsys):
    """What the limits are for: images that come, without an error, and are wrong."""
    own = tmp_path / "configs"
    own.mkdir()
    for name in ("Onebreath_Static_CGSENSE.xml", "Onebreath_Cine_CGSENSE.xml"):
        (own / name).write_text(find(name).read_text().replace('"cg_sense"', '"zero_filled"'))
    monkeypatch.setenv("ONEBREATH_CONFIGS", str(own))
    assert main(["selftest", "Onebreath_Static_CGSENSE.xml", "Onebreath_Cine_CGSENSE.xml"]) == 1
    results, text = lines(capsys)
    assert set(results.values()) == {"FAILS"}
    assert text.count("the images differ from the truth by") == 2
    assert text.count("what to do: do not use this configuration") == 2
    assert "2 FAILS" in text


def test_failures_say_what_to_do(capsys):
    assert main(["selftest", "Onebreath_Nothing.xml"]) == 1
    assert "what to do: onebreath install --gadgetron-home" in lines(capsys)[1]
    assert main(["selftest", "Onebreath_Static.xml", "--address", "127.0.0.1", "--port", str(free_port())]) == 1
    assert "what to do: start the server" in lines(capsys)[1]


def test_a_scan_that_does_not_end_is_given_up(monkeypatch, capsys):
    monkeypatch.setattr(selftest, "replay", lambda *_: __import__("time").sleep(3))
    assert main(["selftest", "Onebreath_Static.xml", "--patience", "0.2"]) == 1
    assert "did not end within 0.2 s" in lines(capsys)[1]


def test_a_worker_that_delivers_later_is_tested_for_it(tmp_path, capsys):
    with worker(tmp_path) as running:
        where = ["--address", "127.0.0.1", "--port", str(running.listeners["client"].address[1])]
        assert main(["selftest", "Onebreath_Retrieve.xml", "Onebreath_Cine_Hybrid.xml", *where]) == 0
    assert lines(capsys)[0] == {"Onebreath_Retrieve.xml": "ok", "Onebreath_Cine_Hybrid.xml": "not tested"}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A good reconstruction, and what it was made from."""
    folder = tmp_path_factory.mktemp("selftest")
    scans = Scans(folder)
    assert not replay(scans.file("cine"), "Onebreath_Cine_CGSENSE.xml", output=folder / "out.h5").failed
    return read(folder / "out.h5"), scans.truth("cine")


def changed(made: ReceivedImages, pixels=None, **meta) -> ReceivedImages:
    series = made.series[1]
    metas = [{**entries, **meta} for entries in series.metas]
    data = series.data if pixels is None else pixels(series.data)
    return ReceivedImages({1: selftest_images.Series(1, data, metas)})


WRONG = {
    "moved": (lambda made: changed(made, lambda data: np.roll(data, 2, -1)), "differ from the truth"),
    "mirrored": (lambda made: changed(made, lambda data: data[..., ::-1]), "differ from the truth"),
    "one phase late": (lambda made: changed(made, lambda data: np.roll(data, 4, 0)), "differ from the truth"),
    "too bright": (lambda made: changed(made, lambda data: data * 1.3), "brightness is 1.3"),
    "black": (lambda made: changed(made, np.zeros_like), "empty"),
    "elsewhere": (lambda made: changed(made, PatientPosition=["20", "30", "-9"]), "the geometry is wrong"),
    "turned": (lambda made: changed(made, read_dir=["0", "1", "0"]), "the geometry is wrong"),
    "a fallback's": (lambda made: changed(made, Onebreath_reconstruct_fallback="no model"), "stood in: no model"),
    "of another size": (lambda made: changed(made, lambda data: data[..., :32, :]), "of shape"),
}


def test_good_images_differ_little(made):
    assert compare(*made, selftest.LIMIT) < 0.06


@pytest.mark.parametrize("name", WRONG)
def test_wrong_images_are_seen(made, name):
    change, text = WRONG[name]
    limit = 0.05 if name == "one phase late" else selftest.LIMIT
    with pytest.raises(Wrong, match=text):
        compare(change(made[0]), made[1], limit)


@pytest.mark.parametrize(
    ("seen", "remedy"),
    [
        ("no server at localhost:9002: [Errno 111] Connection refused", "start the server"),
        ("There is no configuration 'x'. Did you mean", "onebreath install"),
        ("[Connection Main Thread/Connection Input Thread] ERROR: Error reading from file/stream", "onebreath install"),
        (
            "[Connection Main Thread/Stream/external] ERROR: Failed to connect to service 18000 on host localhost",
            NO_WORKER,
        ),
        ("external node localhost:18000 cannot be reached: [Errno 111] Connection refused", NO_WORKER),
        ("ERROR: map::at", "`python` on the server's PATH"),
        ("no images came, and no word of why", "`python` on the server's PATH"),
        ("the scan after the noise scan did not find its noise in storage (noise: none)", "storage server"),
        ("there is no model 'crunet_mr.cine'", "onebreath models list"),
        ("another method stood in: the scan is outside the domain of model x", "onebreath models card"),
        ("something that nobody has seen", GENERAL),
    ],
)
def test_remedies(seen, remedy):
    assert remedy in remedy_for(seen)


def test_every_configuration_has_a_scan(tmp_path):
    scans = Scans(tmp_path)
    for name, _ in available():
        assert scans.truth(scans.kind_for(name)).images.ndim == 3
