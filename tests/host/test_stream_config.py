"""Gadgetron's configurations: both grammars, and the way to them by name."""

import pytest

from onebreath.config.finding import available, find, search_paths
from onebreath.config.stream_config import Connect, Execute, External, Native, parse
from onebreath.errors import ConfigError

V2 = """<?xml version="1.0"?><!-- cine -->
<configuration><version>2</version>
<readers/><writers/>
<stream>
  <gadget><name>NoiseAdjust</name><dll>gadgetron_mricore</dll><classname>NoiseAdjustGadget</classname></gadget>
  <!-- ours -->
  <external><execute name="onebreath.host.entry" target="chain" type="Python"/>
    <configuration><gadget name="sort"><property name="verbose" value="true"/></gadget></configuration></external>
  <external><connect address="gpu" port="18000"/></external>
  <parallel><branch key="Fanout"/><stream>
    <external><execute name="m" target="t" type="python"/></external></stream></parallel>
</stream></configuration>"""

LEGACY = """<gadgetronStreamConfiguration xmlns="http://gadgetron.org/gadgetron">
<reader><slot>1008</slot><dll>theirs</dll><classname>TheirReader</classname></reader>
<gadget><name>{0}</name><dll>gadgetron_python</dll><classname>PythonGadget</classname>
<property><name>python_module</name><value>{0}</value></property></gadget>
</gadgetronStreamConfiguration>"""


def v2(stream):
    return f"<configuration><version>2</version><stream>{stream}</stream></configuration>".encode()


def test_nodes_in_their_order():
    noise, ours, service, parallel = parse(V2.encode() + b"\0").nodes
    assert noise == Native("gadget", "NoiseAdjust")
    assert ours.action == Execute("onebreath.host.entry", "chain", "python")
    assert ours.configuration.startswith(b'<configuration><gadget name="sort">')
    assert service == External(Connect("gpu", 18000), b"")
    assert (parallel.kind, parallel.inside) == ("parallel", (External(Execute("m", "t", "python"), b""),))


def test_legacy_grammar():
    assert parse(LEGACY.format("someone.elses").encode()).nodes == (Native("gadget", "someone.elses"),)
    with pytest.raises(ConfigError, match=r"old grammar \(PythonGadget\).*<version>2</version>"):
        parse(LEGACY.format("onebreath.host.entry").encode())


@pytest.mark.parametrize(
    ("xml", "text"),
    [
        (b"<configuration>", "not well-formed"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><configuration>&a;</configuration>', "not well-formed"),
        (b"<html/>", "root is <html>"),
        (b"<configuration><stream><gadget/></stream></configuration>", "<version>2"),
        (b"<configuration><version>2</version></configuration>", "no <stream>"),
        (v2("<gadgett/>"), "<gadgett> is no node"),
        (v2("<external/>"), "either <execute> or <connect>"),
        (v2('<external><execute name="m" target="t"/><connect port="1"/></external>'), "either <execute> or"),
        (v2('<external><execute name="m"/></external>'), "needs name="),
        (v2('<external><connect address="a" port="x"/></external>'), "port 'x'"),
        (v2('<external><connect address="a" port="65536"/></external>'), "port '65536'"),
    ],
)
def test_mistakes(xml, text):
    with pytest.raises(ConfigError, match=text):
        parse(xml)


@pytest.fixture
def folders(tmp_path):
    for folder, names in (("one", ["a.xml", "sub/b.xml"]), ("two", ["a.xml", "Onebreath_Cine.xml"])):
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(folder)
    return [tmp_path / "one", tmp_path / "two"]


def test_first_folder_with_the_name_wins(folders):
    assert find("a.xml", folders) == folders[0] / "a.xml"
    assert find("sub/b.xml", folders).read_text() == "one"
    assert [name for name, _ in available(folders)] == ["a.xml", "sub/b.xml", "Onebreath_Cine.xml"]


def test_unknown_name_lists_the_nearest(folders):
    with pytest.raises(ConfigError, match=r"no configuration 'Onebreath_Cin.xml'. Did you mean: Onebreath_Cine.xml"):
        find("Onebreath_Cin.xml", folders)
    with pytest.raises(ConfigError, match="No configurations were found"):
        find("a.xml", [])


@pytest.mark.parametrize(
    "name", ["../two/a.xml", "/etc/passwd", "sub/../../two/a.xml", "", "..\\two\\a.xml", "a\0.xml"]
)
def test_no_way_out_of_the_folders(folders, name):
    with pytest.raises(ConfigError, match="not the name of a configuration"):
        find(name, folders[:1])


def test_the_stock_name_for_noise_scans_runs_ours_unless_it_is_there(tmp_path):
    (tmp_path / "Onebreath_Noise.xml").write_text("ours")
    assert find("default_measurement_dependencies.xml", [tmp_path]).read_text() == "ours"
    (tmp_path / "default_measurement_dependencies.xml").write_text("theirs")
    assert find("default_measurement_dependencies.xml", [tmp_path]).read_text() == "theirs"


def test_search_paths_from_the_environment(folders, monkeypatch, tmp_path):
    home = tmp_path / "gt"
    (home / "share/gadgetron/config").mkdir(parents=True)
    monkeypatch.setenv("ONEBREATH_CONFIGS", f"{folders[0]}:{folders[1]}")
    monkeypatch.setenv("GADGETRON_HOME", str(home))
    assert search_paths()[:3] == [*folders, home / "share/gadgetron/config"]
    monkeypatch.setenv("ONEBREATH_CONFIGS", f"{folders[0]}:{tmp_path / 'absent'}")
    with pytest.raises(ConfigError, match=r"ONEBREATH_CONFIGS .*absent' is no folder; make it, or name another"):
        search_paths()
