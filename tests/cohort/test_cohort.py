import csv
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from onebreath.cli import main
from onebreath.cohort.command import names_of
from onebreath.cohort.compare import paired_tests, pairs
from onebreath.cohort.engine import local, on_ray
from onebreath.cohort.table import write_page, write_table
from onebreath.cohort.work import Row, Task, known
from onebreath.images.reading import read_images
from tests.cohort.deeds import dies_first
from tests.images.files import image, write

CONFIG = "Onebreath_Cine_ZeroFilled.xml"


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scans")
    small = ["--matrix", "32", "32", "--slices", "1", "--phases", "2", "--coils", "4"]
    for seed in range(3):
        assert main(["simulate", str(folder / f"s{seed}.h5"), *small, "--seed", str(seed)]) == 0
    (folder / "broken.h5").write_bytes(b"no HDF5")
    return folder


def name_of(file: Path) -> str:
    return names_of([file])[0]


def tasks(folder: Path, *names: str) -> list[Task]:
    (folder / "rows").mkdir()
    (folder / "logs").mkdir()
    made = []
    for name in names:
        (folder / f"{name}.h5").write_bytes(b"x")
        made.append(Task(name, str(folder / f"{name}.h5"), "dataset", b"<c/>", str(folder)))
    return made


def test_a_cohort_leaves_images_a_table_and_a_page_and_goes_on_where_it_was(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, healed = tmp_path / "out", tmp_path / "healed"
    shutil.copytree(scans, healed)
    names = {path.stem: name_of(path) for path in healed.glob("*.h5")}
    command = ["cohort", str(healed), "-c", CONFIG, "-o", str(output), "-j", "2", "--report"]
    assert main(command) == 1, "one scan is broken"
    with (output / "table.csv").open() as file:
        rows = {row["scan"].rpartition("_")[0]: row for row in csv.DictReader(file)}
    assert {name: row["scan"] for name, row in rows.items()} == names
    assert {name: row["status"] for name, row in rows.items()} == {
        "broken": "failed",
        "s0": "done",
        "s1": "done",
        "s2": "done",
    }
    assert rows["s1"]["images"] == "2"
    assert rows["s1"]["method"] == "zero_filled"
    assert "cannot be read" in rows["broken"]["error"]
    assert len({row["worker"] for name, row in rows.items()}) <= 2, "processes stay for the next scan"
    page = (output / "cohort.html").read_text()
    for words in ("4 scans through", f"{names['s2']}_images.html", "cannot be read", "zero_filled: 3"):
        assert words in page
    assert "The images were made by zero_filled." in (output / f"{names['s2']}_images.html").read_text()
    stamps = {name: (output / f"{names[name]}_images.h5").stat().st_mtime_ns for name in ("s1", "s2")}
    capsys.readouterr()

    shutil.copy(healed / "s0.h5", healed / "broken.h5")
    before = (healed / "s0.h5").stat()
    (healed / "s0.h5").write_bytes((healed / "s1.h5").read_bytes())  # another scan of the same size and time
    os.utime(healed / "s0.h5", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (healed / "s0.h5").stat().st_size == before.st_size
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "2 of 4 scans were done before" in said
    assert "4 scans: 4 done; 2 now" in said
    for name in ("s1", "s2"):
        assert (output / f"{names[name]}_images.h5").stat().st_mtime_ns == stamps[name]
    assert main([*command, "--set", "export.data_type=float32"]) == 0, "another configuration: nothing is known"
    assert "done before" not in capsys.readouterr().out


def test_a_table_for_other_programs(scans: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert main(["cohort", str(scans / "s0.h5"), "-c", CONFIG, "-o", str(tmp_path / "out"), "-j", "1"]) == 0
    (row,) = parquet.read_table(tmp_path / "out" / "table.parquet").to_pylist()
    assert (row["scan"], row["images"], row["noise"]) == (name_of(scans / "s0.h5"), 2, "scan")


def test_names_of_scans_need_not_be_utf_8(tmp_path: Path) -> None:
    name = os.fsdecode(b"sc\xe9an")
    rows = [Row(name, f"{name}.h5", "done")]
    paths = write_table(rows, tmp_path)
    assert "sc\ufffdan.h5" in paths[0].read_text(encoding="utf-8")
    assert all(path.exists() for path in paths)
    page = write_page(rows, tmp_path, "Onebreath_Static.xml", 1.0, pages=False).read_text(encoding="utf-8")
    assert 'href="sc%E9an_images.h5"' in page


def test_a_worker_that_dies_loses_nothing(tmp_path: Path) -> None:
    made = tasks(tmp_path, "a", "b", "c", "d", "e")
    rows = {row.scan: row for row in local(made, 2, retries=1, do=dies_first)}
    assert {name: (row.status, row.attempts) for name, row in rows.items()} == {
        "a": ("done", 1),
        "b": ("done", 2),
        "c": ("lost", 2),
        "d": ("done", 1),
        "e": ("done", 1),
    }
    assert json.loads(made[1].row.read_text())["attempts"] == 2
    assert "died" in rows["c"].error
    assert known(made[2]) is None, "a lost scan is done again at the next call"


def test_ray_does_the_same(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    made = tasks(tmp_path, "a", "b", "c")
    rows = {row.scan: row.status for row in on_ray(made, 2, 1, None)}
    assert rows == dict.fromkeys("abc", "failed"), "they are no raw data, and no configuration"


def test_names_depend_on_the_file_alone() -> None:
    files = [Path("a/s.h5"), Path("b/s.h5"), Path("c/s_2.h5"), Path("d/s.h5")]
    names = names_of(files)
    assert len(set(names)) == 4
    assert [name.rpartition("_")[0] for name in names] == ["s", "s", "s_2", "s"]
    assert names_of(files[::-1]) == names[::-1]
    assert [name_of(file.absolute()) for file in files] == names


def test_scans_of_one_name_in_two_folders_keep_their_images(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    files = []
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        files.append(Path(shutil.copy(scans / f"s{number}.h5", tmp_path / str(number) / "scan.h5")))
        assert main(["cohort", str(files[-1]), "-c", CONFIG, "-o", str(output), "-j", "1"]) == 0
    assert "1 scans of earlier calls, not named now, stay in" in capsys.readouterr().out
    first, second = ((output / f"{name_of(file)}_images.h5") for file in files)
    assert (read_images(first)[0].data != read_images(second)[0].data).any()
    assert main(["cohort", *map(str, files), str(files[0]), "-c", CONFIG, "-o", str(output), "-j", "1"]) == 0
    said = capsys.readouterr().out
    assert "1 of 3 files were named before" in said
    assert "2 of 2 scans were done before" in said


def test_a_scan_that_fails_now_leaves_no_images_of_before(scans: Path, tmp_path: Path) -> None:
    scan, output = Path(shutil.copy(scans / "s0.h5", tmp_path)), tmp_path / "out"
    call = ["cohort", str(scan), "-c", CONFIG, "-o", str(output), "-j", "1", "--report"]
    assert main(call) == 0
    images = output / f"{name_of(scan)}_images.h5"
    assert images.exists()
    assert images.with_suffix(".html").exists()
    scan.write_bytes(b"broken")
    assert main(call) == 1
    assert not images.exists()
    assert not images.with_suffix(".html").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-c", "Nothing.xml"], "Nothing.xml"),
        (["-c", CONFIG, "--address", "ray://x"], "--engine ray"),
    ],
)
def test_what_cannot_be_is_said_before_any_scan(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    assert main(["cohort", str(scans), "-o", str(tmp_path / "out"), *options]) == 1
    assert words in capsys.readouterr().err


def test_two_configurations_are_compared_scan_by_scan(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [tmp_path / "old", tmp_path / "new"]
    files = [str(scans / f"s{k}.h5") for k in range(3)]
    for output, names, changes in zip(
        both, (files, files[:2]), ([], ["--set", "export.data_type=float32"]), strict=True
    ):
        assert main(["cohort", *names, "-c", CONFIG, "-o", str(output), "-j", "1", *changes]) == 0
    assert main(["cohort", *map(str, both), "--compare", "-o", str(tmp_path / "out")]) == 1, "one scan is missing"
    said = capsys.readouterr()
    assert f"not compared: {name_of(scans / 's2.h5')}: old done, new missing" in said.err
    with (tmp_path / "out" / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["scan"] for row in rows] == [name_of(scans / "s0.h5"), name_of(scans / "s1.h5")]
    for row in rows:
        assert 0 < float(row["difference"]) < 0.01, "only what rounding to integers takes"
        assert float(row["scale"]) == pytest.approx(1, abs=1e-3)
    page = (tmp_path / "out" / "compare.html").read_text()
    for words in ("Wilcoxon", "old done, new missing", "seconds of the replay"):
        assert words in page


def test_differences_have_their_size_and_sign(tmp_path: Path) -> None:
    names = [tmp_path / "old", tmp_path / "new"]
    scores = [("0.10", "0.08"), ("0.20", "0.15"), ("0.30", "0.24")]
    for folder, factor, which in zip(names, (1.0, 1.1), (0, 1), strict=True):
        (folder / "rows").mkdir(parents=True)
        for number, pair in enumerate(scores):
            row = Row(
                f"s{number}", "x", "done", seconds=2.0 - which, facts={"domain_score": pair[which], "method": "m"}
            )
            (folder / "rows" / f"s{number}.json").write_text(json.dumps({"key": "", **asdict(row)}))
            values = np.full((1, 4, 4), 50 * factor, np.float32)
            write(folder / f"s{number}_images.h5", {1: [image(values)]})
    found, left = pairs(*names)
    assert not left
    assert [one.difference for one in found] == pytest.approx([0.1] * 3, rel=1e-5)
    assert [one.scale for one in found] == pytest.approx([1.1] * 3, rel=1e-5)
    made = paired_tests(found)
    assert made["domain_score"].difference == pytest.approx(0.05)
    assert made["domain_score"].p == pytest.approx(0.25), "three pairs of one sign: 2 / 2^3"
    assert made["seconds"].difference == 1.0
