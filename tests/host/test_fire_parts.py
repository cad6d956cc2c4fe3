"""Parts of FIRE's protocol by themselves: what is looked at and still read, and what may be asked for."""

import json
import struct

import numpy as np
import pytest

from onebreath.commands.configs import check_config
from onebreath.config import interface
from onebreath.config.finding import available, find
from onebreath.config.interface import AS_CONFIGURED, UNSET
from onebreath.config.request import apply, read_request
from onebreath.config.stream_config import parse
from onebreath.errors import ConfigError
from onebreath.methods.base import METHODS
from onebreath.wire.framing import FIRST_ROOM, Stream
from tests.host.test_fire import STATIC, parameters
from tests.host.wiring import fed


def test_a_request_that_leaves_all_as_configured_is_that_configuration():
    config = parse(find(STATIC).read_bytes(), STATIC)
    asked = {name: UNSET[parameter.kind] for name, parameter in interface.parameters().items()}
    assert apply(config, read_request(json.dumps(parameters(config=AS_CONFIGURED, **asked)))) == config


@pytest.mark.parametrize("waiting", [0, 1, 100, FIRST_ROOM - 2, FIRST_ROOM - 1, FIRST_ROOM, 3 * FIRST_ROOM])
def test_an_identifier_is_looked_at_and_still_read(waiting):
    rng = np.random.default_rng(waiting)
    data = struct.pack("<H", 1008) + rng.bytes(waiting)
    with fed(data) as sock:
        stream = Stream(sock)
        assert stream.next_identifier() == 1008
        assert stream.next_identifier() == 1008
        assert stream.read_identifier() == 1008
        assert stream.read(waiting) == data[2:]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_can_be_asked_for_in_every_configuration(method):
    """Parameters of the method that stood there fall away; those that the interface cannot know must be given."""
    for name, path in available():
        config = parse(path.read_bytes(), name)
        if not name.startswith("Onebreath") or "Hybrid" in name or b'"reconstruct"' not in path.read_bytes():
            continue
        more = {"model": "mr_ipt.static"} if method == "mr_ipt" else {}
        changed = apply(config, read_request(json.dumps(parameters(method=method, **more))))
        assert not [problem for problem in check_config(changed) if problem.fatal], name
        assert f'name="method" value="{method}"'.encode() in b"".join(node.configuration for node in changed.nodes)


@pytest.mark.parametrize(
    "text",
    [
        '{"parameters": {"config": "a.xml", "config": "b.xml"}}',
        '{"parameters": {}, "parameters": {"config": "b.xml"}}',
    ],
)
def test_json_that_says_two_things_is_refused(text):
    with pytest.raises(ConfigError, match="stands in it twice"):
        read_request(text)


@pytest.mark.parametrize(("value", "text"), [(0.123456789012, "0.123456789012"), (4.0, "4"), (1e-9, "1e-09"), (3, "3")])
def test_numbers_arrive_as_they_were_sent(value, text):
    request = read_request(json.dumps({"parameters": {"reconstruct.regularisation": value}}))
    assert request.settings == {"reconstruct": {"regularisation": text}}


@pytest.mark.parametrize("value", [-1, -1.0, "-1", "-1.0", "-1.00", "-1e0"])
@pytest.mark.parametrize("name", ["channels", "cardiacphases", "deadline"])
def test_a_number_that_leaves_a_property_alone_may_be_written_in_any_way(name, value):
    assert read_request(json.dumps(parameters(**{name: value}))).settings == {}


@pytest.mark.parametrize("value", [8, 8.0, "8", "8.0", "+8", "0.8e1"])
def test_a_whole_number_may_be_written_in_any_way(value):
    request = read_request(json.dumps(parameters(channels=value)))
    assert request.settings == {"compress": {"upstream_coil_compression_num_modesKept": "8"}}


@pytest.mark.parametrize("value", ["1.5", 1.5, "-1.5", "129.0", "nan", "inf", "-inf", "eight", ""])
def test_what_is_no_whole_number_within_the_range_is_refused(value):
    with pytest.raises(ConfigError, match=f"cannot be '{value}'; it is a whole number from -1 to 128"):
        read_request(json.dumps(parameters(channels=value)))
