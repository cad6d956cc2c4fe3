"""The command ``onebreath replay``: several files, properties set on the line, and files that exist already."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

import h5py
import ismrmrd
import pytest

from onebreath.chain.notes import warning
from onebreath.cli import main
from onebreath.config.changes import changed, read_changes
from onebreath.config.finding import find
from onebreath.config.stream_config import parse
from onebreath.errors import ConfigError
from onebreath.simulation.scan import ScanOptions, simulate

SMALL = {"matrix": (48, 40), "slices": 1, "coils": 4, "acceleration": 1, "acs_mode": "none", "noise_lines": 16}


@pytest.fixture(scope="module")
def scans(tmp_path_factory) -> Path:
    """A folder with a static scan, a cine, a noise scan, and files that are none."""
    folder = tmp_path_factory.mktemp("scans")
    simulate(ScanOptions(**SMALL, phases=1, mode="static", ecg=False)).write(folder / "static.h5")
    simulate(ScanOptions(**SMALL, phases=4)).write(folder / "cine.h5")
    (folder / "none.h5").write_text("no HDF5")
    (folder / "empty.h5").touch()
    (folder / "notes.txt").write_text("not looked at")
    return folder


def fast(*arguments: object) -> list[str]:
    """Arguments of a replay that takes no time."""
    return ["replay", *map(str, arguments), "--set", "reconstruct.method=zero_filled"]


def groups(path: Path) -> list[str]:
    with h5py.File(path) as file:
        return list(file)


def test_several_files_and_folders_each_into_a_file_of_its_own_and_the_bad_ones_are_named(scans, tmp_path, capsys):
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(scans / "static.h5", other)
    assert main(fast(scans / "cine.h5", other, "-f", scans, "-o", tmp_path / "out")) == 1
    printed = capsys.readouterr()
    names = ["cine_images.h5", "cine_images_2.h5", "static_images.h5", "static_images_2.h5"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names
    assert f"{scans / 'empty.h5'}: failed: {scans / 'empty.h5'} cannot be read: it is empty" in printed.err
    assert "none.h5 cannot be read: it is not an HDF5 file" in printed.err
    assert printed.out.splitlines()[-1].startswith("6 scans: 4 reconstructed, 2 failed (")
    for name in names:
        assert f"images: {tmp_path / 'out' / name}" in printed.out
        with h5py.File(tmp_path / "out" / name) as file:
            (group,) = file.values()
            assert len(group["image_1/data"]) == (4 if "cine" in name else 1)


def test_images_in_a_folder_are_no_scans(scans, tmp_path, capsys):
    shutil.copy(scans / "static.h5", tmp_path)
    assert main(fast(tmp_path / "static.h5", "-o", tmp_path / "made.h5")) == 0
    assert main(fast(tmp_path, "-o", tmp_path / "out")) == 0
    printed = capsys.readouterr()
    assert "made.h5: holds images, no raw data; skipped" in printed.err
    assert printed.out.splitlines()[-1] == "1 scans: 1 reconstructed, 0 failed"


def test_the_configuration_suits_the_scan_and_is_told(scans, tmp_path, capsys):
    for name, config in (("static", "Onebreath_Static.xml"), ("cine", "Onebreath_Cine.xml")):
        assert main(fast(scans / f"{name}.h5", "-o", tmp_path / f"{name}.h5")) == 0
        assert f"{name}.h5: the configuration is {config}, as its lines count" in capsys.readouterr().out


def test_a_noise_scan_makes_no_image_and_fails_only_if_its_noise_is_lost(tmp_path, capsys, monkeypatch):
    scan = simulate(ScanOptions(**SMALL, phases=1, mode="static", ecg=False))
    scan.acquisitions[:] = [line for line in scan.acquisitions if line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
    scan.write(tmp_path / "noise.h5")
    run = ["replay", str(tmp_path / "noise.h5"), "-o", str(tmp_path / "out.h5")]
    monkeypatch.setenv("ONEBREATH_STORAGE", str(tmp_path / "storage"))
    assert main(run) == 0
    printed = capsys.readouterr().out
    assert "Onebreath_Noise.xml, as all its lines are noise" in printed
    assert "a noise scan makes no image" in printed
    monkeypatch.setenv("ONEBREATH_STORAGE", "off")
    assert main(run) == 1
    printed = capsys.readouterr()
    assert "is not kept for later scans: storage is switched off" in printed.err
    assert "its noise covariance is kept" not in printed.out
    assert not (tmp_path / "out.h5").exists()


def test_a_second_run_adds_nothing_in_silence(scans, tmp_path, capsys):
    out = tmp_path / "out.h5"
    run = fast(scans / "static.h5", "-o", out)
    assert main([*run, "-G", "first"]) == 0
    before = out.read_bytes()
    for again in ([*run, "-G", "first"], run):
        assert main(again) == 1
        assert "holds images already (group first). Say --append" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main([*run, "-G", "second"]) == 0
    assert "holds 1 groups of images already (first); these are added to it" in capsys.readouterr().out
    assert groups(out) == ["first", "second"]
    before = out.read_bytes()
    assert main([*run, "-G", "first", "--append"]) == 1
    assert "has a group first already" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main([*run, "-G", "third", "--overwrite"]) == 0
    assert groups(out) == ["third"]


def test_scans_of_one_second_never_share_a_group(scans, tmp_path, monkeypatch, capsys):
    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2026, 1, 1)

    monkeypatch.setattr("onebreath.host.replay.datetime", Stopped)
    out = tmp_path / "out.h5"
    assert main([*fast(scans / "static.h5", "-o", out), "-l", "2"]) == 0
    assert main([*fast(scans / "static.h5", "-o", out), "--append"]) == 0
    first = "2026-01-01 00:00:00"
    assert groups(out) == [first, f"{first}_2", f"{first}_3"]
    assert f"images: {out}, group {first}_3" in capsys.readouterr().out
    assert main([*fast(scans / "static.h5", "-o", out, "-G", "cine"), "-l", "2"]) == 0
    assert groups(out)[3:] == ["cine", "cine_2"]
    with h5py.File(out) as file:
        assert {len(group["image_1/data"]) for group in file.values()} == {1}


@pytest.fixture
def failing(tmp_path) -> Path:
    """A scan of three slices that breaks off in the last, when images of the others have come."""
    path = tmp_path / "failing.h5"
    simulate(ScanOptions(**{**SMALL, "slices": 3}, phases=2)).write(path)
    with h5py.File(path, "a") as file:
        place = len(file["dataset/data"]) * 3 // 4
        row = file["dataset/data"][place]
        row["data"] = row["data"][:-2]
        file["dataset/data"][place] = row
    return path


def test_a_part_of_the_images_never_replaces_all_of_them(scans, failing, tmp_path, capsys):
    out = tmp_path / "out.h5"
    assert main(fast(scans / "cine.h5", "-o", out)) == 0
    before = out.read_bytes()
    for name in ("out_incomplete.h5", "out_incomplete1.h5"):
        assert main([*fast(failing, "-o", out, "--overwrite", "-G", "g"), "--report"]) == 1
        assert out.read_bytes() == before
        printed = capsys.readouterr()
        assert f"images: {tmp_path / name}, group g" in printed.out
        assert f"these images are only a part; {out} is as it was" in printed.err
        with h5py.File(tmp_path / name) as file:
            assert 0 < len(file["g/image_1/data"]) < 6
    page = (tmp_path / "out_incomplete.html").read_text()
    assert "the images are incomplete, as their scan failed: " in page


def test_all_that_reads_a_part_of_the_images_says_so(scans, failing, tmp_path, capsys):
    out = tmp_path / "out.h5"
    assert main(fast(failing, "-o", out)) == 1
    for command in ("report", "convert", "dicom"):
        capsys.readouterr()
        assert main([command, str(out), "-o", str(tmp_path / f"of_{command}")]) == 0
        assert f"{out}: the images are incomplete, as their scan failed" in capsys.readouterr().err
    assert main(fast(scans / "cine.h5", "-o", out, "--overwrite")) == 0
    capsys.readouterr()
    assert main(["convert", str(out), "-o", str(tmp_path / "whole")]) == 0
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("{}/static.h5", "is the raw data themselves"),
        ("{}/nowhere/out.h5", "there is no folder"),
        ("{}/notes.txt", "exists, and is no HDF5 file"),
        ("/proc/out.h5", "cannot be written to /proc/out.h5"),
    ],
)
def test_places_that_are_none_for_images(scans, output, words, capsys):
    assert main(fast(scans / "static.h5", "-o", output.format(scans))) == 1
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said


def test_a_folder_as_output_takes_the_images(scans, tmp_path):
    assert main(fast(scans / "static.h5", "-o", tmp_path)) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["static_images.h5"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["sort.phase=20"], "gadget 'sort' has no property 'phase'. Did you mean: phases?"),
        (["sort.phases=many"], "gadget 'sort', property 'phases': value 'many' does not fit"),
        (["srt.phases=20"], "there is no gadget 'srt'. Did you mean: sort?"),
        (["sort.phases"], "write gadget.property=value"),
        (["sort.phases=2", "sort.phases=3"], "sort.phases is set twice"),
        (["retrieve.scan=3"], "Onebreath_Static.xml has no gadget 'retrieve'"),
        (["reconstruct.methd=grappa"], "Did you mean the gadget's own property: method?"),
        (["reconstruct.method=grapa"], "Did you mean: grappa?"),
        (["node.delver=later"], "a node has no property 'delver'. Did you mean: deliver?"),
    ],
)
def test_properties_on_the_line_are_checked_and_the_nearest_is_offered(settings, words):
    config = find("Onebreath_Static.xml")
    with pytest.raises(ConfigError) as error:
        changed(config.read_bytes(), config.name, read_changes(settings))
    assert words in str(error.value)


def test_properties_on_the_line_reach_every_own_node_even_beside_gadgetrons():
    for name in ("Onebreath_Static.xml", "Onebreath_Static_Staged.xml", "Onebreath_Static_Hybrid.xml"):
        text = changed(find(name).read_bytes(), name, read_changes(["reconstruct.method=grappa"]))
        assert text.count(b'name="method" value="grappa"') == 1
        assert len(parse(text, name).nodes) == len(parse(find(name).read_bytes(), name).nodes)


def test_a_property_on_the_line_changes_the_images(scans, tmp_path):
    out = tmp_path / "out.h5"
    assert main([*fast(scans / "static.h5", "-o", out, "-G", "g"), "--set", "export.output=magnitude,phase"]) == 0
    with h5py.File(out) as file:
        assert set(file["g"]) == {"image_1", "image_3001"}
        meta = ismrmrd.Meta.deserialize(file["g/image_1/attributes"][0].decode())
    assert meta["Onebreath_reconstruct_method"] == "zero_filled"


def test_images_made_before_a_scan_fails_are_kept_with_the_reason(tmp_path, capsys):
    """Each of three slices is sent when it is complete; the last one holds a line that is no number."""
    path, output = tmp_path / "scan.h5", tmp_path / "out.h5"
    simulate(ScanOptions(**SMALL | {"slices": 3}, phases=2)).write(path)
    with h5py.File(path, "a") as file:
        lines = file["dataset/data"]
        last = lines[len(lines) - 1]
        last["data"] = last["data"] * float("nan")
        lines[len(lines) - 1] = last
    assert main(fast(path, "-c", "Onebreath_Cine_ZeroFilled.xml", "-o", output, "-G", "made")) == 1
    assert "the scan failed, and these images are only a part" in capsys.readouterr().err
    with h5py.File(output) as file:
        assert len(file["made/image_1/data"]) == 4
        assert "NaN" in file["made"].attrs["incomplete"]


def test_a_warning_is_told_once(tmp_path, monkeypatch, capsys):
    """In the summary, which has those of other machines, too; machines that read the log find it there."""
    raw = tmp_path / "raw.h5"
    simulate(ScanOptions(matrix=(32, 32), slices=1, coils=4, phases=2, noise_lines=0)).write(raw)
    text = "is scaled to its own brightest pixel"
    call = ["replay", str(raw), "-c", "Onebreath_Cine_ZeroFilled.xml", "-o", str(tmp_path / "images.h5"), "--overwrite"]
    assert main(call) == 0
    told = capsys.readouterr()
    assert told.out.count(text) == 1
    assert told.err.count(text) == 0
    assert main([*call, "--log-format", "json"]) == 0
    assert capsys.readouterr().err.count(text) == 1
    monkeypatch.setattr("onebreath.commands.replay.replay", _fails_after_a_warning)
    assert main(call) == 1
    assert "WARNING onebreath.sort: it was odd" in capsys.readouterr().err


def _fails_after_a_warning(*args, **options):
    warning("sort", "it was odd")
    raise ConfigError("the disk is full")
