"""What SECURITY.md promises is what tests prove."""

import base64
import hashlib
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECURITY = (ROOT / "SECURITY.md").read_text()


def promises():
    section = SECURITY.partition("## Threats")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in row] for row in rows if row[0].strip() != "threat"]


def test_every_promise_names_tests_that_exist():
    found = promises()
    assert len(found) > 20
    for threat, promise, tests in found:
        names = re.findall(r"`([^`]+)`", tests)
        assert promise, threat
        assert names, f"no test proves what is promised about: {threat}"
        for name in names:
            path = ROOT / "tests" / name
            assert path.is_file(), f"{name} does not exist; it shall prove what is promised about: {threat}"
            assert re.search(r"^def test_|^    def test_", path.read_text(), re.M), f"{name} holds no test"


def test_what_is_named_elsewhere_in_the_document_exists():
    for name in re.findall(r"\]\(([^)#]+)", SECURITY):
        assert (ROOT / name).exists(), name


def digest(data):
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def wheel(folder, content):
    """A package of one module; a wheel is an archive with a list of its files."""
    path, files = folder / "replaced-1.0-py3-none-any.whl", {"replaced.py": content}
    files["replaced-1.0.dist-info/METADATA"] = b"Metadata-Version: 2.1\nName: replaced\nVersion: 1.0\n"
    files["replaced-1.0.dist-info/WHEEL"] = b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    record = [f"{name},sha256={digest(data)},{len(data)}" for name, data in files.items()]
    files["replaced-1.0.dist-info/RECORD"] = "\n".join([*record, "replaced-1.0.dist-info/RECORD,,"]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def install(folder):
    """Install what a lock names, as docs/security.md says, from a folder."""
    command = [sys.executable, "-m", "pip", "install", "--require-hashes", "-r", str(folder / "requirements.lock")]
    here = ["--no-index", "--find-links", str(folder), "--target", str(folder / "site"), "--no-input", "--isolated"]
    return subprocess.run([*command, *here], capture_output=True, text=True, check=False)


def test_a_package_that_was_replaced_is_not_installed(tmp_path):
    if not any(distributions(name="pip")):  # looked for as a module, it would keep setuptools out of this process
        pytest.skip("pip is not installed")
    lock = tmp_path / "requirements.lock"
    lock.write_text(f"replaced==1.0 --hash=sha256:{wheel(tmp_path, b'right = True')}\n")
    wheel(tmp_path, b"right = False")
    refused = install(tmp_path)
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert not (tmp_path / "site/replaced.py").exists()
    wheel(tmp_path, b"right = True")
    lock.write_text(
        f"replaced==1.0 --hash=sha256:{hashlib.sha256(next(tmp_path.glob('*.whl')).read_bytes()).hexdigest()}\n"
    )
    done = install(tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site/replaced.py").read_text() == "right = True"
