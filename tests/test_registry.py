"""The one list of gadgets, methods and networks, and what installed packages add to it."""

import importlib
import importlib.metadata
import os
import re
import subprocess
import sys
from pathlib import Path

import h5py
import ismrmrd
import pytest

from onebreath.chain.gadget import gadget_class, usual_order
from onebreath.errors import ConfigError
from onebreath.host import entry
from onebreath.registry import ARCHITECTURES, GADGETS, METHODS, RESTORATION, Registry

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("registry", [GADGETS, METHODS, ARCHITECTURES, RESTORATION])
def test_every_entry_can_be_imported_and_wears_its_name(registry):
    for name in registry.own:
        assert getattr(registry.load(name), "name", name) == name


def test_the_usual_order_is_that_of_the_list():
    assert usual_order() == ["prewhiten", "compress", "sort", "calibrate", "reconstruct", "export"]
    assert [name for name in GADGETS.own if gadget_class(name).prepares] == usual_order()[:4]


@pytest.mark.parametrize("name", ["chain", *GADGETS.own])
def test_every_gadget_is_a_target(name):
    assert getattr(entry, name).__name__ == name


class _Point:
    def __init__(self, name, value):
        self.name, self.value = name, value


def test_packages_add_but_do_not_replace(monkeypatch, caplog):
    points = [_Point("mine", "json:loads"), _Point("sort", "json:dumps"), _Point("broken", "no_such_module_here:X")]
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points)
    registry = Registry("gadget", "onebreath.gadgets", {"sort": "onebreath.gadgets.sort.sort:Sort"})
    assert list(registry) == ["sort", "mine", "broken"]
    assert registry.load("sort").name == "sort"
    assert "the gadget 'sort' exists already; json:dumps is not used" in caplog.text
    with pytest.raises(ConfigError, match="gadget 'broken' of an installed package cannot be imported"):
        registry.load("broken")
    with pytest.raises(ConfigError, match=r"no gadget called 'mime'. Did you mean: mine"):
        registry.load("mime")


def documented(heading):
    """Return the blocks of code below a heading of docs/architecture.md, by language."""
    text = (ROOT / "docs" / "architecture.md").read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"```(\w+)\n(.*?)```", text, re.DOTALL))


def write_documented_package(folder):
    """Write the package that docs/architecture.md shows."""
    blocks = documented("In a package of your own")
    folder.mkdir()
    (folder / "pyproject.toml").write_text(blocks["toml"])
    (folder / "site_recon.py").write_text(blocks["python"])


def test_the_documented_package_works_once_installed(tmp_path):
    pytest.importorskip("setuptools", reason="the example package is built with setuptools")
    package, site = tmp_path / "package", tmp_path / "site"
    write_documented_package(package)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", site, package], check=True, capture_output=True)
    config = (ROOT / "configs" / "Onebreath_Static_ZeroFilled.xml").read_text()
    config = config.replace('value="zero_filled"', 'value="brightest_coil"')
    config = config.replace('<gadget name="sort"/>', '<gadget name="count_lines"/><gadget name="sort"/>')
    waiting = '<gadget name="sort"><property name="trigger_dimension" value="none"/></gadget>'
    (tmp_path / "early.xml").write_text(config)
    (tmp_path / "own.xml").write_text(config.replace('<gadget name="sort"/>', waiting))
    environment = {**os.environ, "PYTHONPATH": str(site), "ONEBREATH_WORKER": "off"}

    def onebreath(*words):
        command = [sys.executable, "-m", "onebreath.cli", *words]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)

    assert onebreath("simulate", "scan.h5", "--mode", "static", "--matrix", "32", "32").returncode == 0
    assert "brightest_coil (method" in onebreath("configs", "properties", "brightest_coil").stdout
    done = onebreath("replay", "-f", "scan.h5", "-C", "own.xml", "-o", "images.h5", "-G", "run")
    assert done.returncode == 0, done.stderr
    with h5py.File(tmp_path / "images.h5") as file:
        (attributes, *_) = next(iter(file["run"].values()))["attributes"][()]
    meta = ismrmrd.Meta.deserialize(attributes)
    assert meta["Onebreath_reconstruct_method"] == "brightest_coil"
    assert int(meta["Onebreath_count_lines_lines"]) > 0
    done = onebreath("replay", "-f", "scan.h5", "-C", "early.xml", "-o", "images.h5", "-G", "early")
    assert done.returncode == 0, done.stderr
    assert "What gadget 'count_lines' says came after images were made" in done.stdout


@pytest.mark.parametrize(
    ("heading", "name", "base"),
    [
        ("Add a method", "Average", "onebreath.methods.base:Method"),
        ("Add a gadget", "CountLines", "onebreath.chain.gadget:Gadget"),
        ("Add a network", "Tiny", "torch.nn:Module"),
    ],
)
def test_the_recipes_are_whole_files(heading, name, base):
    module, _, kind = base.partition(":")
    content = {"__name__": "recipe"}
    exec(documented(heading)["python"], content)
    assert issubclass(content[name], getattr(importlib.import_module(module), kind))
