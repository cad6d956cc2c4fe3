"""A choice made on the first slice, and later slices of the same scan that are unlike it."""

import h5py
import ismrmrd
import numpy as np
import pytest

from onebreath.cli import main
from onebreath.simulation.scan import ScanOptions, simulate

NOISE = 18  # number of the flag, from 0


def is_noise(line):
    return int(line["head"]["flags"]) >> NOISE & 1


def edited(path, change):
    """Change the samples of imaging lines of slice 1 in a file."""
    with h5py.File(path, "r+") as file:
        lines = file["dataset/data"][()]
        drawn = np.random.default_rng(0)
        for line in lines:
            if not is_noise(line) and line["head"]["idx"]["slice"] == 1:
                line["data"] = change(line["data"], drawn).astype(np.float32)
        file["dataset/data"][...] = lines


@pytest.fixture
def scan(tmp_path):
    path = tmp_path / "scan.h5"
    options = ScanOptions(mode="static", matrix=(64, 64), slices=2, phases=1, coils=6, acceleration=3, snr=40.0, seed=2)
    simulate(options).write(path)
    return path


def reconstructed(scan, capsys):
    """Intervals by slice, and the warnings."""
    words = ["--set", "reconstruct.candidates=cg_sense grappa", "--set", "reconstruct.choose_within=100"]
    output = scan.with_name("images.h5")
    assert main(["replay", "-f", str(scan), "-c", "Onebreath_Static.xml", "-o", str(output), *words]) == 0
    found = {}
    with h5py.File(output) as file:
        for series in next(iter(file.values())).values():
            for head, text in zip(series["header"][()], series["attributes"][()], strict=True):
                meta = ismrmrd.Meta.deserialize(text)
                found[int(head["slice"])] = meta["Onebreath_reconstruct_choice_error_90_percent"]
    return found, "".join(capsys.readouterr())


def test_slices_of_one_kind_have_intervals(scan, capsys):
    found, told = reconstructed(scan, capsys)
    assert all(" to " in text for text in found.values())
    assert "the tested one" not in told


def test_noise_that_comes_later_is_told(scan, capsys):
    with h5py.File(scan) as file:
        lines = file["dataset/data"][()]
        noise = np.std(np.concatenate([line["data"] for line in lines if is_noise(line)]))
    edited(scan, lambda samples, drawn: samples + 20 * noise * drawn.standard_normal(samples.shape))
    found, told = reconstructed(scan, capsys)
    assert " to " in found[0]
    assert found[1].startswith("not known, as the faintest part of this slice's k-space is ")
    assert "slice 1, set 0: the faintest part" in told
    assert "may not be right for it" in told
