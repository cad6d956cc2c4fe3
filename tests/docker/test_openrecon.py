"""The OpenRecon container without an engine: its label, its documentation, and the names that a scanner looks for."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import zipfile
import zlib
from pathlib import Path
from typing import Any

import pytest

from onebreath.cli import main
from onebreath.commands import openrecon
from onebreath.config.finding import find
from onebreath.config.interface import parameters
from onebreath.config.request import apply, read_request
from onebreath.config.stream_config import parse

ROOT = Path(__file__).parents[2]


@pytest.fixture
def schema(shared: Path) -> Path:
    pytest.importorskip("jsonschema")
    found = shared / "peers" / "openrecon" / "OpenReconSchema_1.1.0.json"
    if not found.is_file():
        pytest.skip(f"OpenRecon's schema is not at {found}")
    return found


def made(**changes: Any) -> dict[str, Any]:
    return openrecon.label("Site", **{"memory_mb": 8000, "gpu_memory_mb": 4000, "cores": 4, **changes})


@pytest.mark.parametrize("gpu", [False, True])
def test_the_label_fits_openrecons_schema(schema: Path, gpu: bool) -> None:
    assert openrecon.problems(made(gpu=gpu), schema) == []


def test_a_label_that_does_not_fit_is_told(schema: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = made(cores=0)
    wrong["parameters"][0]["id"] = "con_fig"
    assert len(openrecon.problems(wrong, schema)) == 2
    stricter = json.loads(schema.read_text(encoding="utf-8"))
    cores = stricter["properties"]["reconstruction"]["properties"]["min_count_required_cpu_cores"]
    cores["minimum"] = 8
    changed = tmp_path / "schema.json"
    changed.write_text(json.dumps(stricter), encoding="utf-8")
    assert main(["openrecon", "label", "--cores", "2", "--schema", str(changed)]) == 1
    assert "reconstruction/min_count_required_cpu_cores: 2 is less than the minimum" in capsys.readouterr().err


def test_the_user_interface_is_that_of_the_requests() -> None:
    """All that a scanner can choose by this label is taken, and what it has at first changes nothing."""
    entries = made()["parameters"]
    assert [entry["id"] for entry in entries] == ["config", "customconfig", *parameters()]
    first = {entry["id"]: entry["default"] for entry in entries}
    config = parse(find("openrecon").read_bytes(), "openrecon")
    assert apply(config, read_request(json.dumps({"version": "1.1.0", "parameters": first}))) == config
    configurations = [value["id"] for value in entries[0]["values"][1:]]
    assert {"Onebreath_Cine.xml", "Onebreath_Static.xml"} <= set(configurations)
    assert not [name for name in configurations if re.search("Hybrid|Connect|Noise|Retrieve", name)]
    for entry in entries[2:]:
        for value in entry.get("values", []):
            given = {entry["id"]: value["id"]} | ({"model": "mr_ipt.static"} if value["id"] == "mr_ipt" else {})
            apply(config, read_request(json.dumps({"parameters": given})))


def test_what_is_missing_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    monkeypatch.setitem(sys.modules, "fpdf", None)
    for arguments in (["label", "--schema", str(ROOT / "setup.py")], ["pdf", str(tmp_path / "x.pdf")]):
        assert main(["openrecon", *arguments]) == 1


FAKE_ENGINE = """#!{python}
import json, pathlib, sys
with open("{folder}/calls", "a") as calls:
    print(json.dumps(sys.argv[1:]), file=calls)
if sys.argv[1] == "save":
    pathlib.Path(sys.argv[sys.argv.index("-o") + 1]).write_bytes(b"the image")
sys.exit({status})
"""


def build(folder: Path, status: int, *arguments: str) -> subprocess.CompletedProcess[str]:
    engine = folder / "engine"
    engine.write_text(FAKE_ENGINE.format(python=sys.executable, folder=folder, status=status))
    engine.chmod(0o755)
    command = [
        sys.executable,
        str(ROOT / "docker/openrecon/build.py"),
        "--engine",
        str(engine),
        "--output",
        str(folder),
    ]
    return subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, timeout=120, env=os.environ
    )


def test_the_package_is_named_as_the_scanner_expects_it(tmp_path: Path, schema: Path) -> None:
    for name in ("fpdf", "markdown"):
        pytest.importorskip(name)
    wanted = ["--vendor", "Site", "--gpu", "--base-image", "some/cuda:1", "--torch-version", "2.7.1"]
    done = build(tmp_path, 0, *wanted, "--schema", str(schema))
    assert done.returncode == 0, done.stderr
    version = openrecon.__version__
    with zipfile.ZipFile(tmp_path / f"OpenRecon_Site_Onebreath_V{version}.zip") as package:
        names = package.namelist()
        pdf = package.read(names[1])
        assert package.read(names[0]) == b"the image"
    assert names == [f"OpenRecon_Site_Onebreath_V{version}.tar", f"OpenRecon_Site_Onebreath_V{version}.pdf"]
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    text = b"".join(zlib.decompress(part) for part in re.findall(rb"stream\r?\n(x.*?)\r?\nendstream", pdf, re.DOTALL))
    assert b"noisemaps" in text
    building, saving = map(json.loads, (tmp_path / "calls").read_text().splitlines())
    assert building[:3] == ["build", "--platform", "linux/amd64"]
    tag = f"openrecon_site_onebreath:v{version}"
    assert building[building.index("-t") + 1] == saving[-1] == tag
    given = dict(pair.split("=", 1) for pair in building if re.match("[A-Z_]+=", pair))
    assert given["BASE_IMAGE"] == "some/cuda:1"
    assert given["TORCH_VERSION"] == "2.7.1"
    assert json.loads(base64.b64decode(given["OPENRECON_LABEL"])) == openrecon.label(
        "Site", gpu=True, memory_mb=8192, gpu_memory_mb=4096, cores=4
    )
    arguments = set(re.findall(r"^ARG ([A-Z_]+)", (ROOT / "docker/openrecon/Dockerfile").read_text(), re.M))
    assert set(given) <= arguments


def test_an_engine_that_fails_leaves_no_package(tmp_path: Path) -> None:
    pytest.importorskip("fpdf")
    done = build(tmp_path, 1)
    assert done.returncode == 1
    assert "the container is not built" in done.stderr
    assert not list(tmp_path.glob("*.zip"))


def test_a_vendor_that_no_image_can_be_called_by_is_refused_before_the_engine_runs(tmp_path: Path) -> None:
    done = build(tmp_path, 0, "--vendor", "Uni Köln")
    assert done.returncode == 1
    assert "vendor, name and version make 'openrecon_uni köln_onebreath:v" in done.stderr
    assert [one.name for one in tmp_path.iterdir()] == ["engine"]


def test_the_dockerfile_names_what_exists_and_serves_fires_port() -> None:
    text = (ROOT / "docker/openrecon/Dockerfile").read_text()
    for line in re.findall(r"^COPY (.*)", text, re.M):
        assert all((ROOT / word).exists() for word in line.split()[:-1]), line
    assert f'LABEL "{openrecon.LABEL}"="${{OPENRECON_LABEL}}"' in text
    assert '"--port", "9002"' in text
    assert re.findall(r"^USER (\S+)", text, re.M) == ["root"]
