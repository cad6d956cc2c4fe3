"""An installation from a wheel, as pip makes it: nothing of the checkout is within its reach."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.images.files import cine, write

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """A virtual environment with our wheel in it; it borrows all other packages from this one."""
    pytest.importorskip("setuptools")
    folder = tmp_path_factory.mktemp("wheel")
    wheels, home = folder / "wheels", folder / "env"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    quiet = ["--no-deps", "--no-index"]
    built = folder / "build"  # setuptools would leave what it builds in the checkout
    (folder / "setup.cfg").write_text(f"[build]\nbuild_base = {built}\n[egg_info]\negg_base = {folder}\n")
    settings = {**os.environ, "DIST_EXTRA_CONFIG": str(folder / "setup.cfg")}
    command = [*pip, "wheel", *quiet, "--no-build-isolation", "--wheel-dir", str(wheels), str(ROOT)]
    subprocess.run(command, check=True, env=settings)
    venv.create(home, with_pip=False, symlinks=True)
    python = str(home / "bin" / "python")
    subprocess.run([*pip, "--python", python, "install", *quiet, *map(str, wheels.glob("*.whl"))], check=True)
    borrowed = next(home.glob("lib/python*/site-packages")) / "zz_borrowed.pth"
    borrowed.write_text(sysconfig.get_path("purelib") + "\n")
    return home


def run(environment, *arguments):
    names = {
        name: text for name, text in os.environ.items() if not name.startswith(("ONEBREATH", "GADGETRON", "PYTHON"))
    }
    command = [str(environment / "bin" / "onebreath"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=names, cwd=environment, check=False, timeout=120)


def test_a_wheel_knows_its_commit_configurations_and_models(environment):
    head = subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    code = "import onebreath; from onebreath.diagnostics.software import commit; print(onebreath.__file__, commit())"
    command = [str(environment / "bin" / "python"), "-c", code]
    where, commit = subprocess.run(command, capture_output=True, text=True, cwd=environment, check=True).stdout.split()
    assert Path(where).is_relative_to(environment)
    assert commit == (head.stdout.strip() or "unknown")
    checked = run(environment, "configs", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert len(checked.stdout.splitlines()) >= len(list((ROOT / "configs").glob("*.xml")))
    assert run(environment, "models", "show", "crunet_mr.cine").returncode == 0


def test_a_wheel_is_linked_into_a_gadgetron(environment, tmp_path):
    done = run(environment, "install", "--gadgetron-home", str(tmp_path))
    assert done.returncode == 0, done.stderr
    config = tmp_path / "share/gadgetron/config/Onebreath_Cine.xml"
    assert config.resolve().is_relative_to(environment)
    assert (tmp_path / "share/gadgetron/onebreath/models/crunet_mr.cine/card.yaml").is_file()


def test_a_wheel_in_gadgetrons_own_environment_is_in_place_already(environment):
    done = run(environment, "install", "--gadgetron-home", str(environment))
    assert done.returncode == 0, done.stderr
    assert not (environment / "share/gadgetron/config/Onebreath_Cine.xml").is_symlink()


def test_a_wheel_passes_its_selftest(environment):
    done = run(environment, "selftest", "Onebreath_Static_GRAPPA.xml")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "other code" not in done.stdout


def test_a_wheel_has_what_its_pages_are_made_of(environment, tmp_path):
    images = write(tmp_path / "images.h5", {1: cine()})
    done = run(environment, "report", str(images))
    assert done.returncode == 0, done.stderr
    assert "What was decided, and why" in (tmp_path / "images.html").read_text()
    package = next(environment.glob("lib/python*/site-packages/onebreath"))
    named = {path.relative_to(ROOT / "gadgets/onebreath") for path in (ROOT / "gadgets/onebreath").rglob("*.j2")}
    assert named == {path.relative_to(package) for path in package.rglob("*.j2")}
