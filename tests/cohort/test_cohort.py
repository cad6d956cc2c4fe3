import csv
import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from onebreath.cli import main
from onebreath.cohort.command import names_of
from onebreath.cohort.compare import paired_tests, pairs
from onebreath.cohort.engine import local, on_ray
from onebreath.cohort.work import Row, Task, known
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
    output = tmp_path / "out"
    command = ["cohort", str(scans), "-c", CONFIG, "-o", str(output), "-j", "2", "--report"]
    assert main(command) == 1, "one scan is broken"
    with (output / "table.csv").open() as file:
        rows = {row["scan"]: row for row in csv.DictReader(file)}
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
    for words in ("4 scans through", "s2_images.html", "cannot be read", "zero_filled: 3"):
        assert words in page
    assert "The images were made by zero_filled." in (output / "s2_images.html").read_text()
    stamps = {name: (output / f"{name}_images.h5").stat().st_mtime_ns for name in ("s0", "s1", "s2")}
    capsys.readouterr()

    healed = tmp_path / "healed"
    shutil.copytree(scans, healed, copy_function=shutil.copy2)
    (healed / "s0.h5").rename(healed / "broken.h5")
    command[1] = str(healed)
    shutil.copy(healed / "broken.h5", healed / "s0.h5")  # other times: done again
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "2 of 4 scans were done before" in said
    assert "4 scans: 4 done; 2 now" in said
    for name in ("s1", "s2"):
        assert (output / f"{name}_images.h5").stat().st_mtime_ns == stamps[name]
    assert main([*command, "--set", "export.data_type=float32"]) == 0, "another configuration: nothing is known"
    assert "done before" not in capsys.readouterr().out


def test_a_table_for_other_programs(scans: Path, tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert main(["cohort", str(scans / "s0.h5"), "-c", CONFIG, "-o", str(tmp_path / "out"), "-j", "1"]) == 0
    (row,) = parquet.read_table(tmp_path / "out" / "table.parquet").to_pylist()
    assert (row["scan"], row["images"], row["noise"]) == ("s0", 2, "scan")


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


def test_names_are_unique_whatever_the_files_are_called() -> None:
    names = names_of([Path("a/s.h5"), Path("b/s.h5"), Path("c/s_2.h5"), Path("d/s.h5")])
    assert names == ["s", "s_2", "s_2_2", "s_3"]


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
    assert "not compared: s2: old done, new missing" in said.err
    with (tmp_path / "out" / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["scan"] for row in rows] == ["s0", "s1"]
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
