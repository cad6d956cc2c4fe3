"""The study of RAKI on a scan of one's own."""

import json

import numpy as np
import pytest

from onebreath.errors import ScanError
from onebreath.evaluation.figures import raki_study
from onebreath.evaluation.figures.raki_study import centre_strength, main, spectra_figure, study, table
from onebreath.evaluation.scans import MaskChoice, ReferenceScan
from onebreath.mri.fourier import fft2c
from tests.helpers import complex_normal
from tests.methods.slices import moving_disc, smooth_maps

TINY = {"channels_1": 8, "channels_2": 4, "iterations": 3, "device": "cpu", "gfactor": "none"}


@pytest.fixture
def scan():
    maps, truth = smooth_maps(4, 48, 40), moving_disc(1, 48, 40)
    # Without noise there were lines without signal, where masks are 0.
    noise = complex_normal(np.random.default_rng(0), (1, 4, 48, 40), np.complex64)
    kspace = fft2c(maps * truth[:, None]).astype(np.complex64) + noise
    acs = kspace[0, :, 14:34]
    return ReferenceScan("one", "slice", np.abs(truth), "the images", kspace, np.ones((1, 48), bool), acs)


def test_every_slope_and_number_of_lines_has_a_row(scan):
    mask = MaskChoice(family="uniform", acceleration=2, acs_lines=0)
    found = list(study(scan, mask, (0.0, 1.0), (12, 20), **TINY))
    rows = [row for row, _ in found]
    assert [(row.acs_lines, row.slope) for row in rows] == [(12, 0.0), (12, 1.0), (20, 0.0), (20, 1.0)]
    assert all(0 < row.nmse < 1 and row.mean_gfactor is None for row in rows)
    # The masks of a linear network are a comb, whose transform is the taps that are taken out.
    assert rows[0].ghost > 5 * rows[1].ghost
    assert table(rows).count("\n") == 5


def test_what_cannot_be_learned_is_a_row_with_its_reason(scan):
    mask = MaskChoice(family="uniform", acceleration=8, acs_lines=0)
    ((row, spectrum),) = study(scan, mask, (0.5,), (8,), **TINY)
    assert spectrum is None
    assert "calibration lines" in row.failure
    assert row.failure in table([row])


def test_the_centre_is_told_from_the_rest():
    spectrum = np.full((41, 40), 0.1)
    assert centre_strength(spectrum) == pytest.approx((0.1, 1.0))
    spectrum[16:25, 16:25] = 0.5
    ghost, ratio = centre_strength(spectrum)
    assert ghost == pytest.approx(0.5)
    assert ratio > 2


def test_the_command_writes_table_numbers_and_figure(scan, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(raki_study, "read_slices", lambda *arguments: iter([(None, None)]))
    monkeypatch.setattr(raki_study, "reference_scan", lambda *arguments: scan)
    monkeypatch.setattr(raki_study, "study", lambda *arguments, **more: study(*arguments, **TINY))
    assert main(["--acceleration", "2", "--slopes", "0.5", "--acs", "20", "--output", str(tmp_path)]) == 0
    content = json.loads((tmp_path / "table.json").read_text())
    assert content["rows"][0]["acs_lines"] == 20
    assert (tmp_path / "table.md").read_text().strip() == capsys.readouterr().out.strip()
    assert (tmp_path / "masks.png").stat().st_size > 1000


def test_an_error_is_told(tmp_path, monkeypatch, capsys):
    def fail(*arguments):
        raise ScanError("there is no file")

    monkeypatch.setattr(raki_study, "read_slices", fail)
    assert main(["--output", str(tmp_path)]) == 1
    assert "there is no file" in capsys.readouterr().err
    spectra_figure(tmp_path / "a.png", {"a": np.ones((4, 4))})
