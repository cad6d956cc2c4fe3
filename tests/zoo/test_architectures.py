"""Networks that a card can name, with arguments as YAML gives them."""

import subprocess
import sys

import pytest

from onebreath.errors import ModelError
from onebreath.networks.restoration.restoration import RestorationNetwork
from onebreath.networks.shared.series_network import SeriesNetwork
from onebreath.registry import ARCHITECTURES, RESTORATION
from onebreath.zoo.architectures import build, hollow
from tests.models import RESTORATION_TINY, TINY


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_every_architecture_can_be_built(name):
    assert isinstance(build(name, TINY[name]), SeriesNetwork)


@pytest.mark.parametrize("name", RESTORATION)
def test_networks_for_images_are_built_likewise(name):
    assert isinstance(build(name, RESTORATION_TINY[name]), RestorationNetwork)


def test_sizes_of_a_part_are_given_by_their_own_names():
    small = {"image_size": 16, "width": 8, "depth": 2, "heads": 2, "window": 2, "global_blocks": [1], "embedding": 16}
    network = build("vit", {"channels": 4, **small})
    assert network.encoder.positions.shape == (1, 4, 4, 8)
    assert [block.window for block in network.encoder.blocks] == [2, 0]
    with pytest.raises(ModelError, match=r"vit: argument 'depth' is 'deep'"):
        build("vit", {**small, "depth": "deep"})
    with pytest.raises(ModelError, match="vit has no argument 'sizes'"):
        build("vit", {"sizes": small})


def test_a_list_stands_for_a_tuple():
    network = build("crunet_mr", {"channels": 4, "cascades": 1, "dilations": [1, 3, 5]})
    assert network.blocks[0].encoder2.dilation == 3


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("crunet", {}, "no architecture called 'crunet'. Did you mean: .*crunet_mr"),
        ("crunet_mr", {"channel": 4}, "crunet_mr has no argument 'channel'. Did you mean: channels"),
        ("crunet_mr", {"channels": "many"}, "argument 'channels' is 'many'"),
        ("crunet_mr", {"fusion": "mean"}, "argument 'fusion' is 'mean' .*'none', 'conv' or 'ca'"),
        ("crunet_mr", {"dilations": [1, 2]}, "argument 'dilations"),
        ("crunet_mr", {"cascades": 0}, "cascades is 0"),
    ],
)
def test_wrong_names_and_arguments_are_told(name, arguments, message):
    with pytest.raises(ModelError, match=message):
        build(name, arguments)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("crnn_mri", {"cascades": 10**9}),
        ("crnn_mri", {"cascades": 10**4000}),
        ("crunet_mr", {"cascades": 60_000}),
        ("prompt_mr", {"bottleneck_blocks": 10**7}),
        ("prompt_mr", {"acs_lines": 10**7}),
        ("vit", {"depth": 60_000}),
    ],
)
def test_a_network_without_end_is_refused_at_once(name, arguments):
    with pytest.raises(ModelError, match=r"is above 65536|more than 20000 parts"):
        hollow(name, arguments)
    assert len(list(hollow("crnn_mri", {}).modules())) < 1000  # nothing is left counted


def test_shapes_of_weights_need_no_compiler():
    """Torch imports its compiler, and SymPy, for random numbers on the meta device: a second for nothing."""
    made = {name: TINY[name] for name in ARCHITECTURES} | {name: RESTORATION_TINY[name] for name in RESTORATION}
    program = (
        "import sys\nfrom onebreath.zoo.architectures import hollow\n"
        f"for name, arguments in {made!r}.items():\n    hollow(name, arguments)\n"
        "assert not {'sympy', 'torch._dynamo'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
