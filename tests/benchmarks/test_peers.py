import subprocess
import sys

import pytest

from benchmarks import __main__ as page
from benchmarks.crunet_mr import Task
from benchmarks.peers import Pair, Sizes, classical_pairs, network_pairs, row

SMALL = Sizes(frames=4, ny=48, nx=40, coils=6, network=Task(size=(4, 2, 32, 32), channels=4, cascades=2), crop=24)


@pytest.mark.parametrize("pairs", [lambda folder: classical_pairs(SMALL, folder), lambda _: network_pairs(SMALL)])
def test_every_pair_is_timed_or_says_that_its_peer_is_not_there(pairs, tmp_path):
    for pair in pairs(tmp_path):
        what, ours, peer, theirs, ratio = row(pair, 1)
        assert what and float(ours) >= 0
        assert float(ratio) > 0 if pair.theirs else peer.endswith("not installed") and not theirs


def test_the_ratio_is_how_much_longer_the_peer_takes():
    *_, ratio = row(Pair("sums", lambda: 0.5, "a peer", lambda: 2.0), 3)
    assert float(ratio) == 4


def test_without_names_the_page_beside_the_peers_is_printed_and_kept(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(
        subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, f"of {command[-1]}\n")
    )
    monkeypatch.setattr(page, "RESULTS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["benchmarks"])
    assert page.main() == 0
    assert "of benchmarks.peers" in capsys.readouterr().out
    assert (tmp_path / "peers.md").read_text() == "of benchmarks.peers\n"
