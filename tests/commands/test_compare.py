"""`onebreath compare`: candidates on one scan."""

import re
from dataclasses import replace

import pytest
from PIL import Image

from onebreath.cli import main
from onebreath.commands import compare
from onebreath.simulation.scan import ScanOptions, simulate


@pytest.fixture(scope="module")
def scan_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("scan") / "scan.h5"
    simulate(ScanOptions(matrix=(64, 64), phases=8, coils=6, acceleration=4, snr=60.0, seed=1)).write(path)
    return path


def test_it_tells_errors_seconds_and_the_winner_and_draws_them(scan_file, tmp_path, capsys):
    picture = tmp_path / "compare.png"
    names = ["zero_filled", "low_rank_sparse", "grappa", "crunet_mr.absent"]
    assert main(["compare", str(scan_file), "--candidates", *names, "--output", str(picture)]) == 0
    told = capsys.readouterr().out
    found = re.findall(r"^(\w+) +(\d\.\d{4}) +\d\.\d{4} +\d+\.\d\d", told, re.M)
    errors = {name: float(value) for name, value in found}
    assert errors["low_rank_sparse"] < 0.9 * errors["zero_filled"]
    assert re.search(r"^crunet_mr.absent +- +- +- +there is no model", told, re.M)
    assert "Chosen: low_rank_sparse by held-back lines" in told or errors["grappa"] < errors["low_rank_sparse"]
    with Image.open(picture) as image:
        assert image.width > image.height * 0.9


def test_the_rule_names_the_candidates(scan_file, tmp_path, capsys):
    assert main(["compare", str(scan_file), "--output", str(tmp_path / "c.png")]) == 0
    told = capsys.readouterr().out
    assert "crunet_mr.noise_aware" in told and "low_rank_sparse" in told


def test_the_rules_own_method_has_its_properties(tmp_path, monkeypatch, capsys):
    """CG-SENSE of the rule for static scans is regularised by the noise; without that another method would win."""
    path, made = tmp_path / "static.h5", []
    simulate(ScanOptions(matrix=(48, 48), phases=1, coils=4, acceleration=3, snr=30.0, seed=1)).write(path)
    real = compare.reconstructed
    monkeypatch.setattr(
        compare, "reconstructed", lambda place, method, scan: made.append(method) or real(place, method, scan)
    )
    assert main(["compare", str(path), "-c", "Onebreath_Static.xml", "--output", str(tmp_path / "c.png")]) == 0
    assert {one.parameters.regularisation for one in made if one.name == "cg_sense"} == {"noise"}
    told = capsys.readouterr().out
    assert all(name in told for name in ("cg_sense", "mr_ipt.static", "grappa", "raki"))
    assert re.search(r"The error of the magnitude is within 0\.\d+ to 0\.\d+ in nine of ten scans", told)


def test_the_first_candidates_time_is_that_of_a_second_run(scan_file, tmp_path, monkeypatch, capsys):
    """The first reconstruction of a process loads libraries for all: four times L+S's own time."""
    times = iter((9.0, 0.25, 0.5))

    def timed(place, method, scan):
        one = real(place, method, scan)
        return one if one.images is None else replace(one, seconds=next(times))

    real = compare.reconstructed
    monkeypatch.setattr(compare, "reconstructed", timed)
    names = ["crunet_mr.absent", "zero_filled", "low_rank_sparse"]
    assert main(["compare", str(scan_file), "--candidates", *names, "--output", str(tmp_path / "c.png")]) == 0
    told = capsys.readouterr().out
    assert re.search(r"^zero_filled .* 0\.25$", told, re.M) and re.search(r"^low_rank_sparse .* 0\.50$", told, re.M)


@pytest.mark.parametrize("command", [["compare", "{scan}", "-o", "{picture}"], ["models", "match", "{scan}"]])
def test_a_volume_is_refused_in_words(tmp_path, capsys, command):
    """Rules and candidates are for slices; what makes a volume is said, not the shape that a function met."""
    path, picture = tmp_path / "volume.h5", tmp_path / "c.png"
    simulate(
        ScanOptions(
            matrix=(32, 32),
            mode="static",
            slices=1,
            phases=1,
            coils=4,
            partitions=8,
            acceleration=2,
            snr=60.0,
            ecg=False,
        )
    ).write(path)
    assert main([word.format(scan=path, picture=picture) for word in command]) == 1
    told = capsys.readouterr().err
    assert f"{path} has partitions: protocol rules and candidates are for slices" in told
    assert "onebreath inspect says which configuration suits it" in told
    assert not picture.exists()


def test_what_nobody_can_reconstruct_is_an_error(scan_file, tmp_path, capsys):
    assert (
        main(["compare", str(scan_file), "--candidates", "crunet_mr.absent", "--output", str(tmp_path / "c.png")]) == 1
    )
    assert "no candidate can reconstruct this scan: there is no model 'crunet_mr.absent'" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["-g", "-G", "--group"])
def test_the_group_of_the_raw_data_is_named_as_in_other_commands(scan_file, tmp_path, capsys, option):
    assert main(["compare", str(scan_file), option, "absent", "--output", str(tmp_path / "c.png")]) == 1
    assert "has no raw data in group 'absent'; it has dataset" in capsys.readouterr().err


def test_a_picture_has_the_suffix_of_one(scan_file, tmp_path, capsys):
    """It is refused before anything is reconstructed."""
    assert main(["compare", str(scan_file), "--output", str(tmp_path / "c.txt")]) != 0
    assert "a picture cannot be written as '.txt'; name a .png" in capsys.readouterr().err
