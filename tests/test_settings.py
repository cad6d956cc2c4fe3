"""Settings: read from the environment, wrong values named, and the shim's reading equal to that of the typed ones."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from onebreath import shim_settings
from onebreath.cli import main
from onebreath.errors import ConfigError
from onebreath.settings import Settings, misspelt, read_settings, settings, variable
from onebreath.training.state.distributed import Launch

PACKAGE = Path(__file__).parents[1] / "gadgets" / "onebreath"
DOCUMENT = Path(__file__).parents[1] / "docs" / "settings.md"


@pytest.mark.parametrize(
    ("name", "text", "field", "value"),
    [
        ("ONEBREATH_MODELS", f"/{os.pathsep}{os.pathsep}/tmp", "models", (Path("/"), Path("/tmp"))),
        ("ONEBREATH_MODELS", "", "models", ()),
        ("ONEBREATH_MODULES", "mine.node, theirs,", "modules", ("mine.node", "theirs")),
        ("ONEBREATH_CONNECT", "h:80, ::1, [::1]:9002, h", "connect", ("h:80", "::1", "[::1]:9002", "h")),
        ("ONEBREATH_NAMES", "heart=A.xml, b = c/B.xml", "names", {"heart": "A.xml", "b": "c/B.xml"}),
        ("ONEBREATH_LOG_LEVEL", "info", "log_level", "INFO"),
        ("ONEBREATH_LOG_FORMAT", "", "log_format", "text"),
        ("ONEBREATH_SHARED", "", "shared", Path("../shared")),
        ("GADGETRON_HOME", "/usr", "gadgetron_home", Path("/usr")),
    ],
)
def test_values_are_read(monkeypatch, name, text, field, value):
    monkeypatch.setenv(name, text)
    assert getattr(settings(), field) == value
    assert variable(field) == name


@pytest.mark.parametrize(
    ("name", "text", "why"),
    [
        ("ONEBREATH_LOG_LEVEL", "loud", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
        ("ONEBREATH_LOG_FORMAT", "xml", "'text' or 'json'"),
        ("ONEBREATH_NAMES", "a=b,c", "write name=Configuration.xml"),
        ("ONEBREATH_NAMES", "a=", "write name=Configuration.xml"),
        ("ONEBREATH_CONNECT", "host:http", "'host:http' is neither an address nor address:port"),
        ("ONEBREATH_CONNECT", "host:70000", "port from 1 to 65535"),
        ("GADGETRON_HOME", "/nowhere", "'/nowhere' is no folder; make it, or name another"),
        ("GADGETRON_HOME", __file__, "is no folder, but a file"),
        ("GADGETRON_STORAGE_ADDRESS", "localhost:9112", "is http://localhost:9112 meant?"),
        ("ONEBREATH_STORAGE", "localhost:9112", "is http://localhost:9112 meant?"),
        ("ONEBREATH_STORAGE", "OFF", "write off in small letters"),
        ("ONEBREATH_DISTS", "/usr", "'/usr' is a folder; name a file"),
        ("ONEBREATH_WORKER", __file__, "is no socket"),
        ("ONEBREATH_WORKER", "Off", "write off in small letters"),
    ],
)
def test_wrong_values_name_the_variable_the_value_and_what_is_possible(monkeypatch, capsys, name, text, why):
    monkeypatch.setenv(name, text)
    with pytest.raises(ConfigError, match=re.escape(f"the environment variable {name} is '{text}'")) as raised:
        settings()
    assert why in str(raised.value)
    (field,) = (one for one in Settings.model_fields if variable(one) == name)
    assert str(Settings.model_fields[field].description) in str(raised.value)
    assert main(["configs", "list"]) == 1  # every command says so, whether or not it needs the variable
    assert name in capsys.readouterr().err


def test_what_torchrun_says_is_checked_too(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "0")
    with pytest.raises(ConfigError, match="WORLD_SIZE is '0'"):
        read_settings(Launch)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert read_settings(Launch) == Launch(world_size=2, local_rank=1)


def test_misspelt_variables_are_named(monkeypatch):
    monkeypatch.setenv("ONEBREATH_MODEL", "/x")
    assert misspelt() == ["ONEBREATH_MODEL is not a variable of Onebreath; is ONEBREATH_MODELS meant?"]


@pytest.mark.parametrize("state", ["/s", "", None])
def test_the_shim_reads_what_the_settings_say(monkeypatch, state):
    monkeypatch.delenv("ONEBREATH_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/home/state")
    if state is not None:
        monkeypatch.setenv("ONEBREATH_STATE", state)
    assert shim_settings.state_folder() == settings().state == Path(state or "/home/state/onebreath")
    names = {shim_settings.STATE: "state", shim_settings.WORKER: "worker", shim_settings.STORAGE: "storage"}
    assert {name: variable(field) for name, field in names.items()} == {name: name for name in names}


def test_the_shims_settings_need_no_pydantic():
    code = "import sys, onebreath.shim_settings; print('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout == b"False\n"


def test_no_other_file_reads_the_environment():
    reading = re.compile(r"os\.environ\.get|os\.environ\[[^\]]*\](?! = )|getenv")
    found = {str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py") if reading.search(path.read_text())}
    assert found == {"settings.py", "shim_settings.py"}


def test_settings_are_documented():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE))
    assert rows == {variable(name): field.description for name, field in Settings.model_fields.items()}


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        settings().shared = Path("/x")
