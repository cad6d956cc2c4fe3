"""The self-test through the real server, as the person runs it who has just installed everything."""

import pytest

from onebreath.cli import main
from tests.gadgetron.real import Server


def test_the_selftest_passes_on_a_real_server_and_tells_what_is_missing(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    good = ["Onebreath_Static.xml", "Onebreath_Static_Hybrid.xml", "Onebreath_Cine_GRAPPA.xml", "Onebreath_Noise.xml"]
    where = ["--address", "127.0.0.1", "--port", str(server.port)]
    assert main(["selftest", *good, *where]) == 0, capsys.readouterr().out
    assert "4 ok\n" in capsys.readouterr().out
    link = server.home / "share/gadgetron/config/Onebreath_Cine.xml"
    target = link.readlink()
    link.unlink()
    try:
        assert main(["selftest", "Onebreath_Cine.xml", "Onebreath_Retrieve.xml", *where]) == 1
    finally:
        link.symlink_to(target)
    text = capsys.readouterr().out
    assert "1 FAILS, 1 not tested" in text
    assert "what to do: onebreath install" in text
