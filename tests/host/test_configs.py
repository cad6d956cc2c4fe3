"""Checking configurations before a scan depends on them."""

import argparse

import pytest

from onebreath.chain import gadget
from onebreath.commands.configs import add_arguments, check, run
from onebreath.registry import GADGETS
from tests.helpers import READERS_AND_WRITERS


class Lines(gadget.Gadget):
    name = "lines"
    consumes = emits = ("Acquisition",)

    class Properties(gadget.Properties):
        count: int = gadget.Field(1, description="how many")

    def process(self, messages):
        yield from messages


class Pictures(gadget.Gadget):
    name = "pictures"
    consumes = ("ReconData",)
    emits = ("ImageArray",)

    def process(self, messages):
        yield from messages


OURS = (
    '<external><execute name="onebreath.host.entry" target="{}" type="python"/>'
    "<configuration>{}</configuration></external>"
)
NATIVE = "<gadget><name>AccTrig</name></gadget>"


@pytest.fixture
def write(tmp_path, monkeypatch):
    for cls in (Lines, Pictures):
        monkeypatch.setitem(GADGETS.own, cls.name, f"{__name__}:{cls.__name__}")
    classes = {cls.name: cls for cls in (Lines, Pictures)}
    original = gadget.gadget_class
    monkeypatch.setattr(
        "onebreath.commands.configs.gadget_class", lambda name: classes[name] if name in classes else original(name)
    )

    def writer(*nodes):
        path = tmp_path / "config.xml"
        stream = "".join(nodes)
        path.write_text(
            f"<!-- Test chain. More. --><configuration><version>2</version>"
            f"{READERS_AND_WRITERS}<stream>{stream}</stream></configuration>"
        )
        return path

    return writer


def found(path):
    return [(problem.fatal, problem.text) for problem in check(path)]


def test_good_configuration(write):
    steps = '<gadget name="lines"><property name="count" value="3"/></gadget><gadget name="lines"/>'
    assert check(write(OURS.format("chain", steps), OURS.format("lines", ""))) == []


@pytest.mark.parametrize(
    ("target", "inside", "text"),
    [
        ("chain", '<gadget name="limes"/>', "no gadget called 'limes'. Did you mean: lines"),
        ("chain", '<gadget name="lines"><property name="coutn" value="3"/></gadget>', "has no property 'coutn'"),
        ("chain", '<gadget name="lines"><property name="count" value="many"/></gadget>', "'count': value 'many'"),
        ("chain", '<gadget name="lines"/><gadget name="pictures"/>', "works on ReconData, but 'lines'"),
        ("chian", "", "no target 'chian'"),
        ("chain", "", "names no gadgets"),
    ],
)
def test_mistakes_in_our_nodes(write, target, inside, text):
    ((fatal, message),) = found(write(OURS.format(target, inside)))
    assert fatal
    assert text in message


def test_order_over_several_nodes_but_not_across_native_ones(write):
    lines, pictures = (OURS.format("chain", f'<gadget name="{name}"/>') for name in ("lines", "pictures"))
    assert [fatal for fatal, _ in found(write(lines, pictures))] == [True]
    assert [fatal for fatal, _ in found(write(lines, NATIVE, pictures))] == [False]


def test_native_and_foreign_nodes_are_notes(write):
    foreign = '<external><execute name="someone" target="process" type="python"/></external>'
    problems = found(write(NATIVE, foreign, '<external><connect address="a" port="1"/></external>'))
    assert [fatal for fatal, _ in problems] == [False] * 3
    assert "needs Gadgetron" in problems[0][1]


def test_connect_node_of_ours_is_checked(write):
    inside = '<configuration><gadget name="lines"><property name="x" value="1"/></gadget></configuration>'
    ((fatal, text),) = found(write(f'<external><connect address="a" port="1"/>{inside}</external>'))
    assert fatal
    assert "has no property 'x'" in text


def test_unparsable_file_is_one_problem(tmp_path):
    (tmp_path / "config.xml").write_text("<configuration>")
    assert [fatal for fatal, _ in found(tmp_path / "config.xml")] == [True]


def test_command(write, monkeypatch, capsys):
    good = write(OURS.format("chain", '<gadget name="lines"/>'))
    bad = good.with_name("bad.xml")
    bad.write_text(good.read_text().replace("lines", "limes"))
    monkeypatch.setenv("ONEBREATH_CONFIGS", str(good.parent))
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args(["list"])) == 0
    assert "config.xml" in capsys.readouterr().out
    assert run(parser.parse_args(["show", "config.xml"])) == 0
    assert capsys.readouterr().out == good.read_text()
    assert run(parser.parse_args(["check", "config.xml"])) == 0
    assert run(parser.parse_args(["check", "config.xml", str(bad)])) == 1
    assert "error: node 1, external node onebreath.host.entry:chain: There is no gadget" in capsys.readouterr().out
