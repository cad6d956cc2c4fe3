"""`make gpu`: rehearsed in a bare environment without network, and each phase's failure kept from the others."""

import json
import subprocess
import sys
import time
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from benchmarks.gpu import __main__ as gpu
from benchmarks.gpu import data, pack, training
from benchmarks.gpu.provision import provision
from onebreath.training.recipe import read_recipe
from onebreath.zoo.architectures import build
from onebreath.zoo.card import read_card
from onebreath.zoo.store import read_weights_file
from tests.conftest import REPOSITORY

PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"


def files_of(one: Distribution) -> list[str]:
    """Files of an installed package below its folder, but for what was compiled."""
    names = [str(file) for file in one.files or []]
    return [name for name in names if not name.startswith("..") and "__pycache__" not in name]


def report_of(out: Path) -> str:
    return (out / "report.md").read_text()


def as_wheel(name: str, folder: Path) -> None:
    """Make the wheel of an installed package again."""
    one = distribution(name)
    info = next(file.split("/")[0] for file in files_of(one) if file.endswith(".dist-info/WHEEL"))
    tags = [line[5:] for line in (one.read_text("WHEEL") or "").splitlines() if line.startswith("Tag: ")]
    tag = next(tag for tag in tags if not tag.startswith("py2-"))
    kept = [file for file in files_of(one) if Path(file).name not in {"RECORD", "INSTALLER", "REQUESTED"}]
    with zipfile.ZipFile(folder / f"{info.removesuffix('.dist-info')}-{tag}.whl", "w") as wheel:
        for file in kept:
            wheel.write(one.locate_file(file), file)
        wheel.writestr(f"{info}/RECORD", "".join(f"{file},,\n" for file in [*kept, f"{info}/RECORD"]))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with torch and what comes with it, and nothing else; the rest lies beside it as wheels."""
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder / "venv", with_pip=True)
    site = next((folder / "venv").glob("lib/python*/site-packages"))
    there = pack.closure([Requirement(name) for name in pack.THERE], PYTHON)
    for name in there:
        one = distribution(name)
        for entry in {file.split("/")[0] for file in files_of(one)}:
            if not (site / entry).exists():
                (site / entry).symlink_to(str(one.locate_file(entry)))
    wheels = folder / "pack" / "wheels"
    wheels.mkdir(parents=True)
    for name in pack.closure(pack.roots(), PYTHON, without=pack.THERE):
        as_wheel(name, wheels)
    pack.write_requirements(wheels)
    return folder


@pytest.mark.timeout(900)
def test_a_rehearsal_in_a_bare_environment_brings_all_results(bare: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [str(bare / "venv" / "bin" / "python"), "-m", "benchmarks.gpu", "--rehearse", "--minutes", "10"]
    folders = ["--out", str(out), "--work", str(tmp_path / "work"), "--pack", str(bare / "pack")]
    done = subprocess.run([*command, *folders], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    log = (out / "run.log").read_text()
    assert done.returncode == 0, report_of(out) + log[-3000:]
    report = report_of(out)
    assert [line.split(" | ")[1] for line in report.splitlines()[4:]] == ["done"] * 4
    assert "pydantic-core" in report.replace("_", "-") and "passed" in report
    assert "failed" not in (out / "benchmarks.md").read_text()
    weights = out / "crunet_mr.gpu_rehearsal"
    card = read_card(weights)
    assert read_weights_file(weights, card)
    assert card.summary.endswith("as a rehearsal on a CPU")
    assert card.training.recipe.startswith("onebreath train crunet_mr.gpu_rehearsal.yaml --set batch=")
    assert json.loads((out / "training.json").read_text())[-1]["step"] >= 1
    files = [path.relative_to(out) for path in out.rglob("*") if path.is_file()]
    assert len(files) <= 8 and all(len(path.parts) <= 2 for path in files)  # such machines give back no more


def test_a_bare_environment_without_the_pack_is_told_what_is_missing(bare: Path, tmp_path: Path) -> None:
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    pack.write_requirements(wheels)
    code = f"from benchmarks.gpu.provision import *; provision(Path({str(wheels)!r}), Path({str(tmp_path)!r}))"
    done = subprocess.run(
        [str(bare / "venv" / "bin" / "python"), "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "No matching distribution found for" in done.stderr


def test_nothing_is_added_where_nothing_is_missing(tmp_path: Path) -> None:
    assert "no pack" in provision(tmp_path, tmp_path / "site")
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize(
    ("code", "words", "last"),
    [
        ("print('well')", "done", "well"),
        ("print('so far'); raise SystemExit(3)", "failed (exit status 3)", "so far"),
        ("import time; print('so far', flush=True); time.sleep(60)", "cut off after 1 s", "KeyboardInterrupt"),
        (
            "import signal, time; [signal.signal(s, signal.SIG_IGN) for s in (2, 15)]; print('deaf', flush=True); "
            "time.sleep(60)",
            "cut off after 1 s",
            "deaf",
        ),
    ],
)
def test_a_phase_ends_in_time_and_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str, last: str
) -> None:
    monkeypatch.setattr(gpu, "GRACE", (2.0, 1.0))
    log = tmp_path / "log"
    log.write_text("of another phase\n")
    seconds = 1.0 if "sleep" in code else 60.0
    begun = time.monotonic()
    found = gpu.run_phase(gpu.Phase("tests", [sys.executable, "-c", code], seconds), log, {})
    assert (found.words, found.last, found.good) == (words, last, words == "done")
    assert time.monotonic() - begun < 30


def test_a_phase_that_fails_does_not_stop_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def phase(name: str, args: object, left: float) -> gpu.Phase:
        return gpu.Phase(
            name, [sys.executable, "-c", f"print({name!r}); raise SystemExit({int(name == 'tests')})"], left
        )

    monkeypatch.setattr(gpu, "phase", phase)
    nothing = ["--pack", str(tmp_path / "none"), "--work", str(tmp_path / "work")]
    assert gpu.main(["--out", str(tmp_path / "out"), "--minutes", "3", *nothing]) == 1
    report = report_of(tmp_path / "out")
    assert "| tests | failed (exit status 1) |" in report
    assert "| training | done |" in report and "Not ended" not in report


def test_what_there_is_no_time_for_is_told(tmp_path: Path) -> None:
    out = tmp_path / "out"
    nothing = ["--pack", str(tmp_path / "none"), "--work", str(tmp_path / "work")]
    assert gpu.main(["--out", str(out), "--minutes", "0.1", *nothing]) == 1
    assert report_of(out).count("not begun: time was over") == 3


def test_the_files_with_tests_of_the_gpu_are_all_found(request: pytest.FixtureRequest) -> None:
    """As far as this session collected them: in a run of all tests these are all."""
    marked = {item.path for item in request.session.items if item.get_closest_marker("cuda")}
    found = {REPOSITORY / name for name in gpu.test_files()}
    assert marked <= found
    assert REPOSITORY / "tests" / "mri" / "test_espirit.py" in found
    assert set((REPOSITORY / "tests" / "gpu").glob("test_*.py")) <= found


def test_compressed_frames_are_those_that_were_compressed() -> None:
    y, x = np.mgrid[:64, :48]
    frames = np.stack([500 * np.exp(-(((y - 30) / 12) ** 2) - ((x - 20 - n) / 9) ** 2) for n in range(3)])
    frames += np.random.default_rng(0).normal(0, 10, frames.shape).clip(0)
    top = float(frames.max())
    found = data.decode(data.encode(frames, top), top)
    assert np.sqrt(np.mean((found - frames) ** 2)) < 0.015 * top
    assert sum(map(len, data.encode(frames, top))) < frames.size


def test_the_data_lie_as_before_and_state_their_licences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shared, name = tmp_path / "shared", "cine_sunnybrook/SCD0000101.npz"
    for folder in ("cine_sunnybrook", "cardiac34ch"):
        (shared / "data" / folder).mkdir(parents=True)
    images = (np.random.default_rng(0).random((2, 3, 32, 40)) * 900).astype(np.int16)
    np.savez(shared / "data" / name, images=images)
    kspace = (np.arange(4 * 80 * 70).reshape(4, 80, 70) + 1j).astype(np.complex64)
    np.save(shared / "data" / "cardiac34ch" / "kspace.npy", kspace)
    lines = data.compress(tmp_path / "packed", shared)
    assert any("SCD0000301.npz: not at" in line for line in lines)
    assert "CC0" in (tmp_path / "packed" / data.LICENCES).read_text()
    back = data.expand(tmp_path / "packed", tmp_path / "there") / "data"
    with np.load(back / name) as file:
        assert file["images"].dtype == np.int16 and file["images"].shape == images.shape
    half = np.load(back / "cardiac34ch" / "kspace.npy")
    centre = kspace[:, 8:72, 3:67]
    assert half.shape == centre.shape
    assert np.abs(half / half.max() - centre / centre.max()).max() < 1e-3


def test_patients_that_are_kept_for_reports_do_not_travel() -> None:
    assert not [name for name in data.STACKS if "401" in name]


@pytest.mark.parametrize("name", ["crunet_mr.gpu", "crunet_mr.gpu_bank", "a_liknet.gpu", "mr_ipt.gpu"])
def test_weights_of_what_is_trained_come_back_in_one_file(name: str) -> None:
    network = read_recipe(training.RECIPE.with_name(f"{name}.yaml")).network
    numbers = sum(one.numel() for one in build(network.architecture, network.arguments).state_dict().values())
    assert 2 * numbers < 16 * 2**20  # bytes in half precision; such machines give back no larger file


def test_losses_below_zero_are_drawn_too(tmp_path: Path) -> None:
    entries = [{"step": step, "loss": 1.0 - step, "validation_loss": 2.0 - step} for step in range(4)]
    training.draw(entries, tmp_path / "curve.png")
    assert (tmp_path / "curve.png").stat().st_size > 1000


def test_the_trainer_is_told_how_long_it_has() -> None:
    (name, minutes) = training.time_box(time.monotonic() + 120)
    assert name == "--minutes" and float(minutes) == pytest.approx(2, abs=0.1)


def test_weights_of_a_trainer_that_is_stopped_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = []
    monkeypatch.setattr(training, "keep", lambda *_: kept.append(time.monotonic()))
    monkeypatch.setattr(training, "STOP", 1.0)
    monkeypatch.setattr(training, "KEEP_EVERY", 0.5)
    forever = [sys.executable, "-c", "import time; time.sleep(60)"]
    begun = time.monotonic()
    assert training.watch(forever, tmp_path, tmp_path, "a.b", begun + 3) is False
    assert time.monotonic() - begun < 15 and len(kept) >= 2
    assert training.watch([sys.executable, "-c", "raise SystemExit(1)"], tmp_path, tmp_path, "a.b", begun + 60) is True
