"""Scans through the RAKI configurations as they are shipped, with small networks so that the tests are short."""

from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from onebreath.host.replay import replay
from onebreath.simulation.mrd_file import write_mrd
from tests.chain.running import cine, simulated
from tests.helpers import nrmse

CONFIGS = Path(__file__).parents[2] / "configs"
SMALL = {"channels_1": "32", "channels_2": "16", "iterations": "40", "device": "cpu", "gfactor_samples": "256"}


def through(raw: Path, name: str, folder: Path, **changes: str) -> dict[int, list[ismrmrd.Image]]:
    """The images of a raw file by series, made by a shipped configuration with other properties of the method."""
    shipped, method = (CONFIGS / f"{name}.xml").read_text(), '<property name="method" value="raki"/>'
    assert method in shipped
    extra = "".join(f'<property name="{key}" value="{value}"/>' for key, value in {**SMALL, **changes}.items())
    text = shipped
    for key in changes:
        text = "\n".join(line for line in text.splitlines() if f'name="{key}"' not in line)
    (folder / "chain.xml").write_text(text.replace(method, method + extra))
    outcome = replay(raw, config_local=folder / "chain.xml", output=folder / "out.h5", group="images")
    assert (outcome.failed, outcome.texts) == (False, [])
    with ismrmrd.File(folder / "out.h5", "r") as file:
        return {series: list(file["images"][f"image_{series}"].images) for series in outcome.images}


def test_siemens_scan(shared: Path, tmp_path: Path) -> None:
    raw = next((shared / "data" / "siemens_snr_r3").glob("*.h5"))
    made = through(raw, "Onebreath_Static_RAKI", tmp_path)
    with np.load(shared / "gadgetron" / "siemens_grappa_gadget.npz") as file:
        reference = np.abs(file["Image"]).T
    (image,), (gfactor,) = made[1], made[20]
    assert image.meta["Onebreath_reconstruct_reconstructed_by"] == "raki"
    pixels, inside = image.data[0, 0].astype(np.float32), reference > 0.1 * reference.max()
    scale = np.vdot(pixels[inside], reference[inside]) / np.vdot(pixels[inside], pixels[inside])
    assert nrmse(scale * pixels[inside], reference[inside]) < 0.1
    assert gfactor.data.max() > 0


@pytest.mark.parametrize(("budget", "made_by"), [("60", "raki"), ("0.001", "grappa")])
def test_cine(budget: str, made_by: str, tmp_path: Path) -> None:
    scan = simulated(
        matrix=(48, 48), phases=4, slices=2, mode="prospective", acceleration=3, acs_mode="embedded", acs_lines=20,
        snr=100.0, ecg=True,
    )  # fmt: skip
    write_mrd(tmp_path / "scan.h5", scan.header, scan.acquisitions, scan.waveforms)
    made = through(tmp_path / "scan.h5", "Onebreath_Cine_RAKI", tmp_path, time_budget_s=budget)
    found, truth = cine(scan, made[1]).astype(np.float32), np.abs(scan.truth["image"])
    found *= np.vdot(found, truth) / np.vdot(found, found)
    assert nrmse(found, truth) < 0.1
    assert {image.meta["Onebreath_reconstruct_reconstructed_by"] for image in made[1]} == {made_by}
    if made_by == "grappa":
        assert "time budget" in made[1][0].meta["Onebreath_reconstruct_fallback_reason"]


def test_slices_may_be_learned_together(tmp_path: Path) -> None:
    scan = simulated(
        matrix=(48, 48), phases=1, slices=3, acceleration=3, acs_mode="embedded", acs_lines=20, snr=100.0,
    )  # fmt: skip
    write_mrd(tmp_path / "scan.h5", scan.header, scan.acquisitions, scan.waveforms)
    made = {}
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        made[number] = through(
            tmp_path / "scan.h5", "Onebreath_Static_RAKI", tmp_path / number, slices_together=number
        )[1]
    alone, together = made["1"], made["2"]
    told = [image.meta.get("Onebreath_reconstruct_slices_together") for image in together]
    assert told == ["2", "2", None], "the third has nobody to wait for"
    for one, other in zip(alone, together, strict=True):
        assert "Onebreath_reconstruct_slices_together" not in one.meta
        assert nrmse(other.data.astype(np.float32), one.data.astype(np.float32)) < 0.01
