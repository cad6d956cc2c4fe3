"""Late delivery at the real server: a quick series at once, the named method's by a scan that asks for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.gadgetron.real import CONFIGS, Ran
from tests.gadgetron.resident import Both
from tests.helpers import nrmse

NODE = '<configuration>\n        <gadget name="prewhiten"/>'
LATER = NODE.replace("<gadget", '<property name="deliver" value="later"/>\n        <gadget')
AUTO = '<property name="model" value="auto"/>'
RULE = f'{AUTO}<property name="choose_within" value="0"/>'
"""The rule's own model, whatever time there would be to choose among its candidates: the same for both series."""
CONFIG, RETRIEVE = "Onebreath_Cine.xml", "Onebreath_Retrieve.xml"


def fact(ran: Ran, name: str, series: int = 1) -> str:
    """One of the facts in the meta of a series."""
    return str(ran.images[series][0].meta[f"Onebreath_{name}"])


def check_whole(ran: Ran, series: set[int]) -> None:
    assert (ran.status, ran.errors) == (0, []), ran.text
    assert ran.images.keys() == series, ran.text


@pytest.mark.parametrize("config", [CONFIG, "Onebreath_Cine_GRAPPA.xml"])
def test_a_quick_series_now_and_the_named_one_later(hosts: Both, cine: Path, tmp_path: Path, config: str) -> None:
    text = (CONFIGS / config).read_text(encoding="utf-8").replace(AUTO, RULE)
    assert text.count(NODE) == 1
    named = hosts.server.add_config("Named.xml", text)
    later = hosts.server.add_config("Later.xml", text.replace(NODE, LATER))
    at_once = hosts.server.run(cine, named, tmp_path / "at_once.h5")
    series = {1} if config == CONFIG else {1, 20}
    check_whole(at_once, series)
    quick = hosts.server.run(cine, later, tmp_path / "quick.h5")
    check_whole(quick, {60})
    assert fact(quick, "host_deliver", 60) == f"later: scan {fact(quick, 'host_scan', 60)}"
    assert fact(quick, "reconstruct_method", 60) == ("cg_sense" if config == CONFIG else "grappa")
    retrieved = hosts.server.run(cine, RETRIEVE, tmp_path / "retrieved.h5")
    check_whole(retrieved, series)
    assert fact(retrieved, "host_deliver") == "later; this is the later series"
    assert fact(retrieved, "reconstruct_method") == fact(at_once, "reconstruct_method") != "cg_sense"
    assert fact(quick, "host_quick_method", 60) == fact(quick, "reconstruct_method", 60)
    for number, images in at_once.images.items():
        found, wanted = ([one.data.astype(float) for one in made] for made in (retrieved.images[number], images))
        assert nrmse(np.stack(found), np.stack(wanted)) < 1e-5
