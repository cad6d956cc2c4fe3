"""Properties of a node as a whole."""

from xml.etree.ElementTree import fromstring

import pytest

from onebreath.commands.configs import check
from onebreath.config.node_options import NodeOptions, NodeProperties, Priority, read_options
from onebreath.errors import ConfigError
from tests.host import tiny

GADGETS = '<gadget name="sort"/><gadget name="reconstruct"><property name="method" value="unrolled"/>{}</gadget>'
RECONSTRUCT = '<property name="model" value="m"/><property name="image_series" value="7"/>'


def order(properties, reconstruct=""):
    gadgets = GADGETS.format(reconstruct)
    return read_options(fromstring(f"<configuration>{properties}{gadgets}</configuration>"), "chain")


def test_defaults_and_given_values():
    assert order("").properties == NodeProperties()
    chosen = order('<property name="deliver" value="later"/><property name="deadline_s" value="2.5"/>')
    assert (chosen.properties.deliver, chosen.properties.deadline_s) == ("later", 2.5)
    assert [name for name, _ in chosen.steps] == ["sort", "reconstruct"]


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("delivr", "later", "no property 'delivr'. Did you mean: deliver"),
        ("deliver", "never", "property 'deliver' of the node"),
        ("deadline_s", "-1", "'deadline_s'"),
        ("quick_series", "61536", "a series can have the number 61535 at most"),
    ],
)
def test_mistakes_name_the_property(name, value, text, tmp_path):
    wrong = f'<property name="{name}" value="{value}"/>'
    with pytest.raises(ConfigError, match=text):
        order(wrong)
    path = tmp_path / "wrong.xml"
    path.write_bytes(tiny.stream("zero_filled", wrong))
    assert any(text in problem.text and problem.fatal for problem in check(path))


def test_quick_series_keeps_what_does_not_belong_to_the_method():
    later = order('<property name="quick_method" value="grappa"/>', RECONSTRUCT)
    assert later.quick() == [("sort", {}), ("reconstruct", {"method": "grappa", "image_series": "60"})]
    assert later.steps[1][1]["method"] == "unrolled"
    guarded = order(
        "",
        RECONSTRUCT + '<property name="deadline_s" value="600"/><property name="send_out_gfactor" value="true"/>'
        '<property name="fallback" value="grappa"/><property name="partial_fourier" value="method"/>'
        '<property name="verbose" value="true"/>',
    )
    quick = {"method": "cg_sense", "image_series": "60", "partial_fourier": "pocs", "verbose": "true"}
    assert guarded.quick() == [("sort", {}), ("reconstruct", quick)]
    named = NodeOptions(NodeProperties(), [("reconstruct", {"method": "grappa", "send_out_gfactor": "true"})])
    sooner = {"method": "grappa", "gfactor": "false", "grappa_validation": "false", "image_series": "60"}
    assert named.quick() == [("reconstruct", sooner)]
    with pytest.raises(ConfigError, match='needs the gadget "reconstruct"'):
        NodeOptions(NodeProperties(), [("sort", {})]).quick()


def test_scans_through_gadgetron_are_live_unless_told():
    assert order("").priority(live=True) == Priority.LIVE
    assert order("").priority(live=False) == Priority.REPLAY
    assert order('<property name="priority" value="replay"/>').priority(live=True) == Priority.REPLAY
    assert order('<property name="priority" value="live"/>').priority(live=False) == Priority.REPLAY  # no peer's claim
