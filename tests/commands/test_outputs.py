"""What commands write over: nothing that they read, and only what they write themselves."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

from onebreath.cli import main
from onebreath.simulation.scan import ScanOptions, simulate
from onebreath.wire.outputs import held
from tests.images.files import cine, write

SMALL = ScanOptions(matrix=(32, 32), slices=1, coils=4, phases=1, mode="static", ecg=False, noise_lines=16)


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    simulate(SMALL).write(tmp_path / "raw.h5")
    return tmp_path / "raw.h5"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    return write(tmp_path / "images.h5", {1: cine()})


def same(path: Path, before: bytes) -> bool:
    return path.read_bytes() == before and not list(path.parent.glob(".*"))


def test_files_are_told_by_what_they_hold(raw: Path, images: Path, tmp_path: Path) -> None:
    (tmp_path / "page").write_text("\n<!DOCTYPE html>\n<html></html>")
    (tmp_path / "text").write_text("notes")
    (tmp_path / "empty").touch()
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.writestr("card.yaml", "")
    with h5py.File(tmp_path / "cut", "w") as file:
        file.create_group("a")
    (tmp_path / "cut").write_bytes((tmp_path / "cut").read_bytes()[:600])
    both = tmp_path / "both"
    both.write_bytes(images.read_bytes())
    with h5py.File(both, "a") as file, h5py.File(raw) as scan:
        scan.copy("dataset", file)
    names = ("raw.h5", "raw.npz", "images.h5", "both", "page", "text", "empty", "none", "zip", "cut", ".")
    assert [held(tmp_path / name) for name in names] == [
        "raw data",
        "an archive of other files",
        "images",
        "raw data",
        "an HTML page",
        "something else",
        "",
        "",
        "an exported model",
        "an HDF5 file that cannot be read",
        "a folder",
    ]


@pytest.mark.parametrize("name", ["raw.h5", "raw.npz", "new.npz", "images.h5"])
def test_simulate_writes_over_nothing(raw: Path, images: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    target = raw.with_name(name)
    before = {path: path.read_bytes() for path in raw.parent.iterdir()}
    assert main(["simulate", str(target), "--matrix", "32", "32"]) == 1
    assert ("end with .h5" if name.endswith("npz") else "exists already and holds") in capsys.readouterr().err
    assert {path: path.read_bytes() for path in raw.parent.iterdir()} == before


def test_simulate_spares_the_truth_of_another_scan(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw.unlink()
    before = raw.with_suffix(".npz").read_bytes()
    assert main(["simulate", str(raw), "--matrix", "32", "32"]) == 1
    assert "raw.npz exists already" in capsys.readouterr().err
    assert raw.with_suffix(".npz").read_bytes() == before
    assert not raw.exists()


def test_a_report_replaces_pages_only(raw: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, stored = raw.read_bytes(), images.read_bytes()
    for words, told in (
        ([images, "-o", raw], "exists and holds raw data. Raw data are never written over"),
        ([images, raw, "-o", raw], "is the raw data themselves"),
        ([images, "-o", images], "is what is read here"),
        ([images, "-o", raw.with_suffix(".npz")], "Only an HTML page would be replaced"),
    ):
        assert main(["report", *map(str, words)]) == 1
        assert told in capsys.readouterr().err
    assert same(raw, data)
    assert same(images, stored)
    for _ in range(2):
        assert main(["report", str(images)]) == 0


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["report", "{images}"], "The page"),
        (["compare", "{raw}", "--candidates", "zero_filled"], "The picture"),
        (["simulate"], "The scan"),
        (["models", "export", "crunet_mr.cine"], "The archive"),
        (["import", "{dat}"], "The scan"),
        (["openrecon", "pdf"], "The PDF"),
    ],
)
def test_a_folder_that_is_missing_is_told_before_the_work(
    raw: Path,
    images: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    what: str,
) -> None:
    """Nothing was printed or warned of by then: the table of `compare` takes minutes."""
    (dat := tmp_path / "scan.dat").write_bytes(bytes(100))
    target = tmp_path / "nowhere" / "made.png"
    given = [word.format(raw=raw, images=images, dat=dat) for word in words]
    named = ["-o", str(target)] if words[0] in ("report", "compare", "import") else [str(target)]
    assert main([*given, *named]) == 1
    printed = capsys.readouterr()
    assert f"{what} cannot be written to {target}: there is no folder {target.parent}. Make it first." in printed.err
    assert printed.out == ""


@pytest.mark.parametrize(
    "words",
    [
        ["convert", "{images}", "-o"],
        ["dicom", "{images}", "-o"],
        ["accept", "{raw}", "-o"],
        ["cohort", "{raw}", "-c", "Onebreath_Cine_ZeroFilled.xml", "-o"],
        ["replay", "{raw}", "{images}", "-o"],
        ["demo", "--output"],
    ],
    ids=lambda words: words[0],
)
def test_a_folder_is_made_and_none_above_it(
    raw: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    target = tmp_path / "not" / "there"
    assert main([*(word.format(raw=raw, images=images) for word in words), str(target)]) != 0
    assert f"{target}: there is no folder {target.parent}. Make it first." in capsys.readouterr().err
    assert not target.parent.exists()


def test_replay_replaces_images_only(raw: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    other = tmp_path / "other.h5"
    other.write_bytes(raw.read_bytes())
    before = other.read_bytes()
    call = ["replay", str(raw), "--set", "reconstruct.method=zero_filled", "--overwrite", "-o"]
    assert main([*call, str(other)]) == 1
    assert "Raw data are never written over" in capsys.readouterr().err
    assert same(other, before)
    (tmp_path / "notes.txt").write_text("notes")
    assert main([*call, str(tmp_path / "notes.txt")]) == 1
    assert (tmp_path / "notes.txt").read_text() == "notes"
    (tmp_path / "images.html").write_text("somebody's list")
    assert main([*call, str(images), "--report"]) == 1
    assert "images.html exists and holds something else" in capsys.readouterr().err
    (tmp_path / "images.html").unlink()
    assert main([*call, str(images), "--report"]) == 0


def test_what_lies_behind_a_link_is_replaced_and_the_link_stays(raw: Path, images: Path, tmp_path: Path) -> None:
    """As redirection in a shell and `cp` do it: whoever opens the file itself finds what was written last."""
    (tmp_path / "kept").mkdir()
    links = [tmp_path / name for name in ("images.h5", "images.html", "model.zip")]
    (tmp_path / "images.html").write_text("<!doctype html>")
    assert main(["models", "export", "crunet_mr.cine_base", str(links[2])]) == 0
    for link in links:
        link.rename(tmp_path / "kept" / link.name)
        link.symlink_to(Path("kept") / link.name)
    before = {link: link.read_bytes() for link in links}
    call = ["replay", str(raw), "--set", "reconstruct.method=zero_filled", "--overwrite", "-o", str(images), "--report"]
    assert main(call) == 0
    assert main(["models", "export", "crunet_mr.cine", str(links[2])]) == 0
    for link in links:
        assert link.is_symlink()
        assert not (tmp_path / "kept" / link.name).is_symlink()
        assert (tmp_path / "kept" / link.name).read_bytes() == link.read_bytes() != before[link]
    assert not list((tmp_path / "kept").glob(".*"))


def test_a_model_is_exported_over_a_model_only(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = raw.read_bytes()
    for target, told in ((raw, "Raw data are never"), (raw.with_suffix(".npz"), "Only an exported model would be")):
        assert main(["models", "export", "crunet_mr.cine", str(target)]) == 1
        assert told in capsys.readouterr().err
    assert same(raw, before)
    for _ in range(2):
        assert main(["models", "export", "crunet_mr.cine", str(tmp_path / "model.zip")]) == 0


def test_pictures_and_demos_spare_raw_data(raw: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = raw.read_bytes()
    assert main(["compare", str(raw), "-o", str(raw)]) == 1
    assert "is the raw data themselves" in capsys.readouterr().err
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "scan.h5").write_bytes(before)
    assert main(["demo", "--output", str(folder), "--slices", "1"]) == 1
    assert "scan.h5 exists already and holds raw data" in capsys.readouterr().err
    assert [path.name for path in folder.iterdir()] == ["scan.h5"]
    assert same(raw, before)


def test_an_archive_of_arrays_is_no_model(tmp_path: Path) -> None:
    content = io.BytesIO()
    np.savez(content, image=np.zeros(3))
    (tmp_path / "x").write_bytes(content.getvalue())
    assert held(tmp_path / "x") == "an archive of other files"
