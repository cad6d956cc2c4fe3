"""Nothing of the page is imported where it is not asked for, and what is missing is said in one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from onebreath import optional
from onebreath.cli import main
from onebreath.errors import ConfigError
from tests.host.workers import worker

FOREIGN = ("starlette", "uvicorn", "jinja2", "sqlite3", "PIL", "markupsafe")
SHOW = """
import sys
print(*sorted({name.partition(".")[0] for name in sys.modules} & set(%r)))
print(*sorted(name for name in sys.modules if name.startswith("onebreath.web.")))
"""


def imported_by(statement: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{statement}\n{SHOW % (FOREIGN,)}"], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_the_process_that_gadgetron_starts_imports_nothing_of_it() -> None:
    assert imported_by("import onebreath.host.entry") == []


def test_a_worker_without_page_imports_its_options_only() -> None:
    used = "import onebreath.commands.serve, onebreath.worker.worker, onebreath.chain.chain, onebreath.worker.metrics"
    assert imported_by(used) == ["onebreath.web.options"]


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "jinja2", "PIL"])
def test_a_missing_package_is_said(tmp_path: Path, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from onebreath.web.options import WebOptions
    from onebreath.web.serving import serving_web

    monkeypatch.setitem(sys.modules, missing, None)
    package = optional.PACKAGES.get(missing, missing)
    expected = rf"The worker's page needs the package {package}: pip install 'onebreath\[web\]'"
    with worker(tmp_path) as running, pytest.raises(ConfigError, match=expected), serving_web(running, WebOptions(0)):
        pass


@pytest.mark.parametrize("wrong", ["70000", "x", "-2"])
def test_options_that_cannot_be_are_refused(wrong: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["serve", "--web", wrong])
    assert "--web" in capsys.readouterr().err
