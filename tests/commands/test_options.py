"""Values that options and settings cannot have: one line that names the option, at once, and no traceback."""

from __future__ import annotations

import os
import resource
import subprocess
import sys

import h5py
import pytest

from onebreath.cli import main
from onebreath.simulation.scan import ScanOptions, simulate

SERVE = ["serve", "--cold", "--port", "0", "--socket", ""]
CASES = [
    ([*SERVE, "--port", "99999"], "--port: 99999 is no port"),
    ([*SERVE, "--port", "-5"], "--port: -5 is no port"),
    ([*SERVE, "--gadget-port", "70000"], "--gadget-port: 70000 is no port"),
    ([*SERVE, "--metrics-port", "65536"], "--metrics-port: 65536 is no port"),
    ([*SERVE, "--slots", "0"], "--slots: 0 is too small"),
    ([*SERVE, "--queue", "-1"], "--queue: -1 is too small"),
    ([*SERVE, "--memory-gb", "0"], "--memory-gb: 0 is too small"),
    ([*SERVE, "--memory-gb", "nan"], "--memory-gb: 'nan' is no finite number"),
    ([*SERVE, "--quota-gb", "-3"], "--quota-gb: -3 is negative"),
    ([*SERVE, "--silence", "0"], "--silence: 0 is too small"),
    ([*SERVE, "--grace", "-1"], "--grace: -1 is negative"),
    ([*SERVE, "--rate", "many"], "--rate: 'many' is no whole number"),
    (["tunnel", "--to", "h:1", "--listen", "99999"], "--listen: 99999 is no port"),
    (["replay", "a.h5", "-a", "localhost", "-p", "99999"], "--port: 99999 is no port"),
    (["replay", "a.h5", "--loops", "0"], "--loops: 0 is too small"),
    (["demo", "--slices", "0"], "--slices: 0 is too small"),
]


@pytest.mark.parametrize(("arguments", "words"), CASES, ids=[" ".join(words[-2:]) for words, _ in CASES])
def test_an_option_that_cannot_be_is_named(arguments, words, capsys):
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_a_gpu_that_is_not_there_is_told(monkeypatch, capsys):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert main([*SERVE, "--gpu", "0"]) == 1
    assert "onebreath serve: --gpu 0: torch" in (said := capsys.readouterr().err)
    assert "sees no such GPU" in said


def test_a_state_folder_that_cannot_be_is_told(tmp_path, capsys):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit):
        main([*SERVE, "--state", str(tmp_path / "file")])
    assert "--state" in capsys.readouterr().err
    assert main([*SERVE, "--state", "/proc/nowhere"]) == 1
    assert "--state /proc/nowhere cannot be used" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("ONEBREATH_MODELS", "{}/absent", "is no folder"),
        ("ONEBREATH_MODELS", "{}/file", "is no folder, but a file"),
        ("ONEBREATH_CONFIGS", "{}/absent", "is no folder"),
        ("ONEBREATH_FOLDERS", "{}:{}/absent", "is no folder"),
        ("ONEBREATH_STATE", "{}/file", "is no folder, but a file"),
        ("ONEBREATH_STORAGE", "{}/file", "is no folder, but a file"),
        ("ONEBREATH_STORAGE", "ftp://here", "is no address of a storage server"),
        ("ONEBREATH_STORAGE", "OFF", "write off in small letters"),
    ],
)
def test_a_setting_that_cannot_be_is_named(tmp_path, monkeypatch, capsys, name, value, words):
    (tmp_path / "file").touch()
    monkeypatch.setenv(name, value.replace("{}", str(tmp_path)))
    assert main(["configs", "list"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert name in line
    assert words in line


def test_a_sites_name_of_a_configuration_that_is_not_there_is_told_at_the_start(monkeypatch, capsys):
    monkeypatch.setenv("ONEBREATH_NAMES", "heart=Onebreath_Cine.xml,liver=Onebreath_Static_GRAPA.xml")
    assert main(SERVE) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "ONEBREATH_NAMES has 'liver=Onebreath_Static_GRAPA.xml'. There is no configuration" in line
    assert "Did you mean: Onebreath_Static_GRAPPA.xml" in line


@pytest.fixture(scope="module")
def scan(tmp_path_factory):
    path = tmp_path_factory.mktemp("disk") / "scan.h5"
    small = {"matrix": (64, 64), "slices": 2, "coils": 4, "acceleration": 1, "acs_mode": "none", "noise_lines": 16}
    simulate(ScanOptions(**small, phases=6)).write(path)
    return path


@pytest.mark.parametrize(("before", "room"), [(False, 40_000), (False, 330_000), (True, 330_000)])
def test_a_full_disk_leaves_the_file_as_it_was(scan, tmp_path, before, room):
    output = tmp_path / "out.h5"
    if before:
        with h5py.File(output, "w") as file:
            file.create_group("earlier")
    held = output.read_bytes() if before else b""
    call = [sys.executable, "-m", "onebreath.cli", "replay", scan, "-c", "Onebreath_Cine_ZeroFilled.xml", "-o", output]
    done = subprocess.run(
        [*map(str, call), "-G", "g"],
        capture_output=True,
        text=True,
        env={**os.environ, "ONEBREATH_STORAGE": "off", "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    assert done.returncode == 1
    assert "The images cannot be written to" in done.stderr
    assert "Is the disk full?" in done.stderr
    assert "Traceback" not in done.stderr
    assert (output.read_bytes() if output.exists() else b"") == held
    assert not list(tmp_path.glob(".*part"))


def test_a_simulated_scan_is_written_whole_or_not_at_all(tmp_path):
    call = [sys.executable, "-m", "onebreath.cli", "simulate", str(tmp_path / "s.h5"), "--phases", "2"]
    done = subprocess.run(
        call,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000)),
    )
    assert (done.returncode, list(tmp_path.iterdir())) == (1, [])
    assert "onebreath simulate: The file cannot be written to" in done.stderr
    assert "Traceback" not in done.stderr
