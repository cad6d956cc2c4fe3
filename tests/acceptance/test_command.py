"""`onebreath accept`: exit status, report, PDF, and what a scan cannot serve."""

import json
import re
import shutil
from pathlib import Path

import ismrmrd
import pytest

from onebreath.acceptance.limits import read_limits
from onebreath.acceptance.pdf import BROWSERS
from onebreath.cli import main
from onebreath.errors import ConfigError
from onebreath.simulation.scan import ScanOptions, simulate
from tests.acceptance.test_methods import OPTIONS

LIMITS = """
accelerations: [2]
acs_lines: 16
gfactor: {replicas: 12, tolerance: 0.1}
details: {sizes_mm: [20.0], contrasts: [0.2], snr: [], replicas: 3, places: 3}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("accept")
    (made / "limits.yaml").write_text(LIMITS)
    return made


def accept(folder: Path, scan: Path, *options: str) -> int:
    command = ["accept", str(scan), "-o", str(folder / "out"), "--limits", str(folder / "limits.yaml")]
    command += ["--overwrite"]
    return main([*command, "--methods", "grappa", *(options or ("--no-pdf",))])


def outcomes(folder: Path) -> dict[str, list[str]]:
    told = json.loads((folder / "out" / "acceptance.json").read_text())
    found: dict[str, list[str]] = {}
    for one in told["scans"][0]["findings"]:
        found.setdefault(one["test"], []).append(one["outcome"])
    return found


def test_a_good_phantom_passes_and_leaves_a_page_to_sign(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = folder / "good.h5"
    simulate(OPTIONS).write(scan)
    browser = any(map(shutil.which, BROWSERS))
    assert accept(folder, scan, "--pdf" if browser else "--no-pdf") == 0, capsys.readouterr().out
    assert "passed: " in capsys.readouterr().out
    found = outcomes(folder)
    assert {test for test, all_of in found.items() if "passed" in all_of} == {
        "noise after whitening", "noise maps against replicas", "resolution", "ghosting"
    }  # fmt: skip
    assert found["inserted details"] == ["for information"]
    page = (folder / "out" / "acceptance.html").read_text()
    for words in ("Signature", "not accepted", "percent-signal ghosting", "MTF50", "Rose", "12 replicas", "Limits"):
        assert words in page, words
    assert "http" not in page.replace("http-equiv", ""), "nothing is fetched"
    assert "largest: 0.025" in (folder / "out" / "limits.yaml").read_text()
    if browser:
        assert (folder / "out" / "acceptance.pdf").read_bytes().startswith(b"%PDF")


def test_noise_lines_that_tell_too_little_noise_fail(folder: Path) -> None:
    made = simulate(OPTIONS)
    for line in made.acquisitions:
        if line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT):
            line.data[:] /= 1.1
    made.write(folder / "loud.h5")
    assert accept(folder, folder / "loud.h5") == 1
    found = outcomes(folder)
    assert found["noise after whitening"][0] == "failed"


def test_no_report_is_mixed_with_one_of_before(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "out"
    command = ["accept", str(folder / "loud.h5"), "-o", str(out), "--methods", "grappa", "--no-pdf"]
    (out / "acceptance.pdf").write_bytes(b"%PDF of a run that passed")
    before = {path: path.read_bytes() for path in out.iterdir()}
    for limits, told in (
        ("limits.yaml", "of an earlier call (acceptance.html, acc"),
        ("out/limits.yaml", "what is read"),
    ):
        assert main([*command, "--limits", str(folder / limits)]) == 2
        assert told in capsys.readouterr().err
    assert {path: path.read_bytes() for path in out.iterdir()} == before
    assert accept(folder, folder / "loud.h5") == 1
    assert sorted(path.name for path in out.iterdir()) == ["acceptance.html", "acceptance.json", "limits.yaml"]


def test_what_a_scan_cannot_serve_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan = folder / "chest.h5"
    options = ScanOptions(matrix=(64, 64), phases=4, slices=1, coils=6, acceleration=2, acs_lines=16, snr=0.0)
    simulate(options).write(scan)
    assert accept(folder, scan) in (0, 1)
    told = capsys.readouterr().out
    assert "not done        noise after whitening; the scan has no noise lines" in told
    assert "not done        resolution; lines are missing" in told
    assert "not done        ghosting; lines are missing" in told
    assert "not done        inserted details; the noise of the scan is not known" in told
    assert "not done        inserted details: grappa; it was not tested; the reason is above" in told
    full = ScanOptions(matrix=(64, 64), phases=4, slices=1, coils=6, acceleration=1, acs_mode="none")
    simulate(full).write(scan)
    assert accept(folder, scan) in (0, 1)
    told = capsys.readouterr().out
    assert "not done        noise after whitening; the object moved" in told
    assert "not done        resolution; the outline is no circle" in told


def test_a_scan_without_coil_maps_is_refused(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = folder / "uncalibrated.h5"
    simulate(ScanOptions(matrix=(64, 64), mode="static", slices=1, coils=4, acceleration=2, acs_mode="none")).write(
        scan
    )
    usual = Path(__file__).parents[2] / "configs" / "Onebreath_Static_ZeroFilled.xml"
    bare = re.sub(r'<gadget name="calibrate">.*?</gadget>', "", usual.read_text(), flags=re.DOTALL)
    (folder / "Bare.xml").write_text(bare)
    assert accept(folder, scan, "--no-pdf", "-c", usual.name) == 2
    assert f"{usual.name} makes no coil maps of {scan}" in capsys.readouterr().err
    monkeypatch.setenv("ONEBREATH_CONFIGS", str(folder))
    assert accept(folder, scan, "--no-pdf", "-c", "Bare.xml") == 2
    assert f"Bare.xml makes no coil maps of {scan}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ("accelerations: []", "accelerations"),
        ("details: {contrasts: []}", "details.contrasts"),
        ("ghosting: {largest: .inf}", "ghosting.largest"),
        ("noise: {tolerance: .nan}", "noise.tolerance"),
        ("details: {worse_than_classical: .inf}", "details.worse_than_classical"),
        ("ghosting: {largest: 0.01}\nghosting: {largest: 0.9}", "'ghosting' stands in it twice, in lines 1 and 2"),
        ("ghosting: {largest: 0.01, largest: 0.9}", "'largest' stands in it twice, in line 1"),
    ],
)
def test_limits_that_would_let_everything_pass_are_refused(tmp_path: Path, limits: str, words: str) -> None:
    (tmp_path / "limits.yaml").write_text(limits)
    with pytest.raises(ConfigError) as error:
        read_limits(tmp_path / "limits.yaml")
    assert words in str(error.value)


def test_errors_have_a_status_of_their_own(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert accept(folder, folder / "absent.h5") == 2
    assert "there is no such file" in capsys.readouterr().err
    (folder / "wrong.yaml").write_text("noise: {tolerence: 0.1}\n")
    scan = str(folder / "good.h5")
    assert main(["accept", scan, "-o", str(folder / "o"), "--limits", str(folder / "wrong.yaml")]) == 2
    assert "noise.tolerence" in capsys.readouterr().err
