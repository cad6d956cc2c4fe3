"""What is optional stays optional: without the packages of an extra a command says in one line which extra has them."""

import subprocess
import sys
from pathlib import Path

import pytest

from onebreath.cli import main
from onebreath.simulation.scan import ScanOptions, simulate
from tests.images.files import cine, write

PACKAGES = (
    "jinja2",
    "matplotlib",
    "PIL",
    "nibabel",
    "av",
    "pydicom",
    "pynetdicom",
    "highdicom",
    "twixtools",
    "pyarrow",
    "ray",
)
"""What extras install for rooms beside the chain."""
NEEDS = [
    ("report", ["report", "{images}"], ("jinja2", "matplotlib")),
    ("report", ["replay", "{images}", "--report"], ("jinja2", "matplotlib")),
    ("report", ["convert", "{images}"], ("nibabel",)),
    ("report", ["convert", "{images}", "-f", "png"], ("PIL",)),
    ("video", ["convert", "{images}", "-f", "mp4"], ("av",)),
    ("dicom", ["dicom", "{images}"], ("pydicom",)),
    ("dicom", ["dicom", "{images}", "--send", "127.0.0.1:1"], ("pynetdicom",)),
    ("vendor", ["import", "{twix}"], ("twixtools",)),
    ("report", ["cohort", "{images}", "-c", "Onebreath_Cine.xml", "-o", "{folder}"], ("jinja2",)),
    ("cohort", ["cohort", "{images}", "-c", "Onebreath_Cine.xml", "-o", "{folder}", "--engine", "ray"], ("ray",)),
]


@pytest.mark.parametrize(
    ("extra", "command", "missing"), NEEDS, ids=lambda one: one[0] if isinstance(one, list) else None
)
def test_a_missing_package_is_one_line_that_names_its_extra(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    extra: str,
    command: list[str],
    missing: tuple[str, ...],
) -> None:
    images = write(tmp_path / "i.h5", {1: cine()})
    twix = tmp_path / "scan.dat"
    twix.write_bytes(bytes(8))
    arguments = [one.format(images=images, twix=twix, folder=tmp_path / "out") for one in command]
    for name in missing:
        with monkeypatch.context() as without:
            without.setitem(sys.modules, name, None)
            assert main(arguments) == 1
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        package = {"PIL": "pillow"}.get(name, name)
        assert f"needs the package {package}: pip install 'onebreath[{extra}]'." in said


def test_neither_the_command_line_nor_what_gadgetron_starts_imports_any_of_it() -> None:
    code = (
        "import sys, onebreath.cli, onebreath.host.entry, onebreath.host.server, onebreath.commands.replay; "
        f"print(sorted(set({PACKAGES!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


NO_TEMPORARY = """import os, sys, tempfile
tempfile._candidate_tempdir_list = lambda: []
for name in ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"):
    os.environ.pop(name, None)
os.environ["HOME"] = "/dev/null"
from onebreath.cli import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "words",
    [
        ["compare", "{raw}", "--candidates", "zero_filled", "-o", "{folder}/x.png"],
        ["demo", "--output", "{folder}", "--slices", "1"],
        ["evaluate", "--data", "{raw}", "--kind", "mrd", "--methods", "zero_filled", "--output", "{folder}/x"],
    ],
    ids=lambda words: words[0],
)
def test_without_a_folder_for_temporary_files_pictures_are_refused_before_the_work(
    tmp_path: Path, words: list[str]
) -> None:
    simulate(ScanOptions(matrix=(32, 32), slices=1, coils=4, phases=2, acs_mode="embedded")).write(tmp_path / "raw.h5")
    arguments = [word.format(raw=tmp_path / "raw.h5", folder=tmp_path / "made") for word in words]
    (tmp_path / "made").mkdir()
    done = subprocess.run([sys.executable, "-c", NO_TEMPORARY, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert "needs the package matplotlib, which cannot be used" in done.stderr
    assert "MPLCONFIGDIR" in done.stderr or "No usable temporary directory" in done.stderr  # as matplotlib says it
    assert not [path for path in (tmp_path / "made").rglob("*") if path.is_file()]
