"""Every failure reaches the real client in words, leaves no process behind, and spoils no scan that follows."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.gadgetron.real import CONFIGS, Server
from tests.host.workers import wait_for

GRAPPA = (CONFIGS / "Onebreath_Static_GRAPPA.xml").read_text(encoding="utf-8")
RUNS = int(os.environ.get("ONEBREATH_FAULT_RUNS", "3"))
"""How often each failure is made."""
METHOD = 'name="method" value="grappa"'
MODEL = '<property name="model" value="{}"'
WRONG = {
    "unknown property": ('<gadget name="sort"/>', '<gadget name="sort"><property name="phasez" value="9"/></gadget>'),
    "unknown method": (METHOD, 'name="method" value="grapa"'),
    "no model's name": (METHOD, f'name="method" value="unrolled"/>{MODEL.format("no-such-model")}'),
    "misspelt model": (METHOD, f'name="method" value="unrolled"/>{MODEL.format("crunet_mr.cinee")}'),
    "unknown gadget": ('<gadget name="compress"/>', '<gadget name="compres"/>'),
}
SAID = {
    "unknown property": "gadget 'sort' has no property 'phasez'",
    "unknown method": "no reconstruction method called 'grapa'",
    "no model's name": "'no-such-model' is not of the form architecture.tag",
    "misspelt model": "there is no model 'crunet_mr.cinee'. Did you mean: crunet_mr.cine, ",
    "unknown gadget": "compres",
    "NaN": "has NaN, infinite or out-of-range samples",
    "no ACS": "calibration lines",
    "singular noise": "oise",
}


def change(path: Path, what: str) -> None:
    """Damage a scan on disk."""
    calibration = (1 << 19) | (1 << 20)
    with h5py.File(path, "r+") as file:
        table = file["dataset/data"]
        rows = table[:]
        noise = (rows["head"]["flags"] & (1 << 18)) > 0
        if what == "no ACS":
            rows = rows[(rows["head"]["flags"] & calibration) == 0]
        elif what == "NaN":
            rows[-1]["data"][:] = np.nan
        else:
            for row in rows[noise]:
                row["data"][:] = 0
        del file["dataset/data"]
        file["dataset"].create_dataset("data", data=rows, dtype=table.dtype, maxshape=(None,), chunks=(1,))


@pytest.mark.parametrize("what", SAID)
def test_the_error_reaches_the_client_each_time(what: str, server: Server, siemens: Path, tmp_path: Path) -> None:
    config, scan = tmp_path / "config.xml", siemens
    text = GRAPPA
    if what in WRONG:
        assert text.count(WRONG[what][0]) == 1
        text = text.replace(*WRONG[what])
    else:
        scan = tmp_path / "scan.h5"
        shutil.copyfile(siemens, scan)
        scan.chmod(0o600)
        change(scan, what)
    config.write_text(text, encoding="utf-8")
    for number in range(RUNS):
        ran = server.run(scan, str(config), tmp_path / f"{number}.h5", local=True)
        assert ran.images == {}
        assert "Errors received" in ran.text
        assert "For the physicist: " in ran.text
        assert SAID[what] in ran.text.partition("For the physicist: ")[2]
    wait_for(lambda: not server.children(), 30)
    assert server.run(siemens, "Onebreath_Static_GRAPPA.xml", tmp_path / "next.h5").images.keys() == {1, 20}
