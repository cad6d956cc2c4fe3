import json

import numpy as np
import pytest

from onebreath.cli import main
from onebreath.evaluation.compare import Evaluation
from onebreath.evaluation.data import data_sets
from onebreath.evaluation.summary import overview
from onebreath.mri.fourier import fft2c
from onebreath.simulation.scan import ScanOptions, simulate

CLASSICAL = ["zero_filled", "cg_sense:iterations=4", "grappa:gfactor=false"]


@pytest.fixture(autouse=True)
def without_dists(monkeypatch, tmp_path):
    monkeypatch.setenv("ONEBREATH_DISTS", str(tmp_path / "no" / "dists.safetensors"))


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    """Two patients with two slices of 4 phases, in the format of Sunnybrook's stacks."""
    folder = tmp_path_factory.mktemp("stacks")
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    for seed, patient in enumerate(("A1", "B2")):
        texture = np.random.default_rng(seed).random((2, 1, 64, 64))
        beat = np.stack([x**2 + y**2 < size for size in (0.10, 0.16, 0.2, 0.14)])
        images = 300 * ((x**2 + y**2 < 0.7) * (1 + 0.3 * texture) + beat)
        np.savez(folder / f"{patient}.npz", images=images.astype(np.int16))
    return folder


def evaluate(stack, output, *more):
    words = ["--data", stack, "--matrix", 48, 48, "--coils", 6, "--channels", 5, "--calibration-lines", 16]
    return main(["evaluate", *map(str, words), "--mask", "cmrxrecon:16", "--output", str(output), *more])


@pytest.fixture(scope="module")
def table(stack, tmp_path_factory):
    output = tmp_path_factory.mktemp("evaluation")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONEBREATH_DISTS", str(output / "none"))
        status = evaluate(stack, output, "--acceleration", "3", "--snr", "30", "--methods", *CLASSICAL)
    assert status == 0
    return output


def test_tables_and_figures_are_written(table):
    content = json.loads((table / "table.json").read_text())
    strict, paper = content["groups"]
    assert (strict["convention"], paper["convention"]) == ("strict", "paper")
    assert (strict["slices"], strict["patients"]) == (4, 2)
    assert list(strict["methods"]) == CLASSICAL
    for one in strict["methods"].values():
        assert set(one["values"]["overall"]) == {"psnr", "ssim", "nmse", "haarpsi"}
        assert set(one["values"]["dynamic"]) == set(one["values"]["static"]) == {"psnr", "ssim"}
        assert one["values"]["overall"]["psnr"]["n"] == 4
        assert one["seconds"]["n"] == 3  # the first run warms up
    text = (table / "table.md").read_text()
    assert "cmrxrecon R=3, 16 ACS lines, SNR 30" in text
    assert "| cg_sense:iterations=4 |" in text
    figures = {file.name for file in table.glob("*.png")}
    group = "cmrxrecon_r_3_16_acs_lines_snr_30.png"
    assert figures == {"boxes.png", f"images_{group}", f"crop_{group}"}


def test_the_overview_has_a_row_for_each_method_and_names_the_reference(table):
    lines = (table / "table.md").read_text().splitlines()
    head = lines.index(next(line for line in lines if line.startswith("| sampling | method | PSNR (dB) | SSIM |")))
    rows = [line.split("|")[2].strip() for line in lines[head + 2 : head + 5]]
    assert rows == CLASSICAL
    assert lines[head + 6] == f"* differs from {CLASSICAL[-1]}, p < 0.05 (Wilcoxon, Bonferroni)."


def test_stars_mark_what_differs_beyond_chance():
    value = {"psnr": {"mean": 30.0, "std": 1.0, "n": 9}}
    found = {name: {"per_slice": {"p_bonferroni": p}} for name, p in (("far", 0.01), ("near", 1.0))}
    one = {"values": {"overall": value}, "seconds": None, "first_seconds": [], "failures": {}}
    methods = dict.fromkeys(("far", "near", "own"), one)
    group = {"group": "R=4", "reference": "own", "tests": {"overall": {"psnr": found}}, "methods": methods}
    rows = overview([group]).splitlines()[2:5]
    assert rows == [
        "| R=4 | far | 30.00 ± 1.00* |  |",
        "| R=4 | near | 30.00 ± 1.00 |  |",
        "| R=4 | own | 30.00 ± 1.00 |  |",
    ]


def test_a_single_method_differs_from_none():
    one = {"values": {"overall": {"psnr": {"mean": 30.0, "std": 1.0, "n": 9}}}, "seconds": None, "failures": {}}
    one |= {"first_seconds": []}
    group = {"group": "R=4", "reference": "zero_filled", "methods": {"own": one}, "tests": {}}
    assert "differs" not in overview([group])


def test_simulated_and_measured_data_have_tables_of_their_own(stack, tmp_path):
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    places = np.array([[-1, 0], [1, 0], [0, -1], [0, 1]])[:, :, None, None]
    coils = np.exp(-((y - places[:, 0]) ** 2) - (x - places[:, 1]) ** 2)
    noise = np.random.default_rng(0).standard_normal((2, 4, 48, 48))
    np.save(tmp_path / "brain.npy", fft2c(100 * (x**2 + y**2 < 0.5) * coils) + noise[0] + 1j * noise[1])
    words = ["--data", stack / "A1.npz", tmp_path / "brain.npy", "--slices", 0, "--coils", 4, "--calibration-lines", 16]
    choice = ["--mask", "equispaced", "radial", "--acceleration", 3, "--methods", "zero_filled", "cg_sense"]
    assert main(["evaluate", *map(str, [*words, *choice, "--output", tmp_path])]) == 0
    content = json.loads((tmp_path / "table.json").read_text())
    groups = [one["group"] for one in content["groups"] if one["convention"] == "strict"]
    masks = ["equispaced R=3, centre included", "radial R=3, centre included"]
    data = [(stack.name, "SNR 20-40"), (tmp_path.name, "noise as measured")]
    assert groups == [f"{name}, {mask}, {noise}" for name, noise in data for mask in masks]
    for one in content["groups"]:
        assert one["slices"] == 1
        assert all(np.isfinite(found["values"]["overall"]["psnr"]["mean"]) for found in one["methods"].values())
    assert content["settings"]["data"].endswith("brain.npy")


def raw_file(path, acceleration=3, **more):
    """A simulated scan with embedded calibration lines, and its truth."""
    lines = {"acceleration": acceleration, "acs_mode": "embedded", "acs_lines": 20}
    simulate(ScanOptions(slices=1, matrix=(48, 48), phases=4, coils=6, snr=40.0, **lines, **more)).write(path)
    return path


def groups_of(words, output):
    """Numbers of slices by group, strict convention."""
    status = main(["evaluate", *map(str, words), "--calibration-lines", "16", "--output", str(output)])
    assert status == 0
    found = json.loads((output / "table.json").read_text())["groups"]
    return {one["group"]: one["slices"] for one in found if one["convention"] == "strict"}


def test_measured_scans_without_a_noise_scan_have_a_group_for_each_snr(tmp_path):
    file = raw_file(tmp_path / "scan.h5", noise_lines=0)
    found = groups_of(["--data", file, "--snr", 20, 40, "--methods", "zero_filled"], tmp_path)
    added = "as acquired (uniform_acs R=3), noise added, SNR {} at the brightest pixel"
    assert found == {added.format(20): 1, added.format(40): 1}


def test_scans_of_different_acceleration_are_not_averaged(tmp_path):
    files = [raw_file(tmp_path / f"scan{acceleration}.h5", acceleration) for acceleration in (2, 3)]
    found = groups_of(["--data", *files, "--methods", "zero_filled"], tmp_path)
    assert found == {f"as acquired (uniform_acs R={number}), noise as measured": 1 for number in (2, 3)}


def test_each_data_set_has_a_group_and_files_of_one_folder_share_it(stack, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    np.savez(other / "A1.npz", images=300 * np.ones((1, 4, 64, 64)) * np.hanning(64))
    few = ["--slices", 0, "--mask", "cmrxrecon:16", "--acceleration", 3, "--snr", 30, "--methods", "zero_filled"]
    sampling = "cmrxrecon R=3, 16 ACS lines, SNR 30"
    both = groups_of(["--data", stack, other, *few], tmp_path)
    assert both == {f"{stack.name}, {sampling}": 2, f"other, {sampling}": 1}
    assert groups_of(["--data", stack / "A1.npz", stack / "B2.npz", *few], tmp_path) == {sampling: 2}


def test_folders_of_the_same_name_are_different_data_sets(tmp_path):
    folders = [tmp_path / name / "cine" for name in ("one", "two")]
    for folder in folders:
        folder.mkdir(parents=True)
    assert data_sets([*map(str, folders), "sunnybrook"], None) == [*map(str, folders), "sunnybrook"]


@pytest.mark.parametrize("words", [["--snr", "30", "30"], ["--data", "A1.npz", "A1.npz"], ["--acceleration", "3", "3"]])
def test_a_slice_that_occurs_twice_in_a_group_is_refused(stack, tmp_path, capsys, monkeypatch, words):
    monkeypatch.chdir(stack)
    assert evaluate(stack, tmp_path, "--methods", "zero_filled", *words) == 1
    assert "A1 slice00 (cmrxrecon R=" in capsys.readouterr().err


def test_the_reference_is_tested_against_every_other_method(table):
    group = json.loads((table / "table.json").read_text())["groups"][0]
    assert group["reference"] == CLASSICAL[-1]
    tests = group["tests"]["overall"]["ssim"]
    assert set(tests) == set(CLASSICAL[:2])
    one = tests["zero_filled"]
    assert (one["per_slice"]["n"], one["per_patient"]["n"]) == (4, 2)
    assert one["per_slice"]["p_bonferroni"] == min(1, 2 * one["per_slice"]["p"])


def test_a_run_goes_on_where_it_stopped(stack, table, monkeypatch):
    made = []
    keep = Evaluation._keep

    def counted(self, case, scan, maps, candidate, pictured):
        made.append((case.mask.acceleration, candidate.label))
        keep(self, case, scan, maps, candidate, pictured)

    monkeypatch.setattr(Evaluation, "_keep", counted)
    before = json.loads((table / "table.json").read_text())["groups"][0]["methods"]
    again = ["--snr", "30", "--methods", *CLASSICAL]
    assert evaluate(stack, table, "--acceleration", "3", *again) == 0
    assert made == []
    assert json.loads((table / "table.json").read_text())["groups"][0]["methods"] == before
    assert evaluate(stack, table, "--slices", "0", "--acceleration", "3", "4", *again) == 0
    assert {acceleration for acceleration, _ in made} == {4}


def test_a_method_that_cannot_do_a_scan_is_listed_with_its_reason(stack, tmp_path, capsys):
    few = ["--slices", "0", "--patient", "A*", "--snr", "30", "--acceleration", "16"]
    methods = ["--methods", "zero_filled", "grappa:kernel=uniform"]
    assert evaluate(stack, tmp_path, *few, *methods) == 0
    printed = capsys.readouterr().out
    assert "grappa:kernel=uniform failed on 1 of 1 slices: grappa: a uniform kernel at R = 16" in printed


def test_a_simulated_raw_file_is_compared_with_its_truth(tmp_path, capsys):
    file = raw_file(tmp_path / "scan.h5")
    words = ["--data", str(file), "--calibration-lines", "20", "--channels", "6"]
    assert main(["evaluate", *words, "--methods", "zero_filled", "cg_sense", "--output", str(tmp_path)]) == 0
    group = json.loads((tmp_path / "table.json").read_text())["groups"][0]
    assert group["group"] == "as acquired (uniform_acs R=3), noise as measured"
    psnr = {label: one["values"]["overall"]["psnr"]["mean"] for label, one in group["methods"].items()}
    assert psnr["cg_sense"] > psnr["zero_filled"] + 3
    assert "DISTS is left out" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (["--methods", "sense"], "there is no method 'sense'"),
        (["--methods", "crunet_mr.none-of-that"], "there is no model"),
        (["--methods", "crunet_none.*"], "no model matches"),
        (["--methods", "cg_sense:iterations=many"], "iterations"),
        (["--methods", "cg_sense:iterations"], "not of the form PARAMETER=VALUE"),
        (["--methods", "cg_sense", "cg_sense"], "named twice"),
        (["--methods", "cg_sense", "--reference", "grappa"], "not among the methods"),
        (["--methods", "cg_sense", "--mask", "spiral"], "--mask spiral"),
        (["--methods", "cg_sense", "--snr", "loud"], "--snr loud"),
        (["--methods", "cg_sense", "--snr", "0"], "with these settings: snr.0: Input should be greater than 0"),
        (["--methods", "cg_sense", "--snr", "40-20"], "40 to 20 is no range"),
        (["--methods", "cg_sense", "--slices", "77"], "no slice 77 of patients * is left to evaluate on; there are 2"),
        (["--methods", "cg_sense", "--patient", "nobody"], "nobody"),
        (["--methods", "cg_sense", "--dists", "missing.safetensors"], "cannot be read"),
        (["--methods", "cg_sense", "--data", "nowhere"], "nowhere"),
    ],
)
def test_wrong_arguments_are_named(stack, tmp_path, capsys, words, problem):
    assert evaluate(stack, tmp_path, *words) == 1
    assert problem in capsys.readouterr().err


def test_data_must_be_named(capsys):
    assert main(["evaluate", "--methods", "cg_sense"]) == 1
    assert "--data" in capsys.readouterr().err
