"""Every shipped configuration, by its name, through the real server and client: the embedded host's images, bit by bit.

Both hosts give their nodes to one resident worker; `test_static` has a node in a process of its own.
"""

from __future__ import annotations

from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from tests.gadgetron.real import CONFIGS, Ran
from tests.gadgetron.resident import Both
from tests.helpers import nrmse
from tests.storage.standin import StandIn

PREFIX = "Onebreath_"
WITHOUT_IMAGES = {"Noise", "Retrieve"}
OTHER_SCANS = {"Static_iRAKI": "static", "Cine_RAKI": "brief", "Cine_ALIKNet": "eight"}
"""Those that learn from each scan take minutes on the scans of the others; one model is for ten channels."""
IMAGES = {"siemens": 1, "static": 1, "brief": 4, "cine": 10, "eight": 16}
NAMES = {path.stem.removeprefix(PREFIX) for path in CONFIGS.glob("*.xml")} - WITHOUT_IMAGES
HYBRID = sorted(name for name in NAMES if name.endswith("_Hybrid"))
PLAIN = sorted(NAMES - set(HYBRID))


def scan_of(name: str, request: pytest.FixtureRequest) -> tuple[Path, int]:
    """The scan that a configuration is tried on, and the number of its images."""
    fixture = OTHER_SCANS.get(name, "cine" if name.startswith("Cine") else "siemens")
    return request.getfixturevalue(fixture), IMAGES[fixture]


def pixels(images: list[ismrmrd.Image]) -> np.ndarray:
    """Pixels (image, channel, z, y, x) in the order of the images' numbers."""
    return np.stack([image.data for image in sorted(images, key=lambda image: image.image_index)])


@pytest.mark.parametrize("name", PLAIN)
def test_the_server_gives_the_embedded_hosts_images(
    hosts: Both, request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    (scan, count), config = scan_of(name, request), f"{PREFIX}{name}.xml"
    real = hosts.server.run(scan, config, tmp_path / "real.h5")
    assert (real.status, real.errors) == (0, [])
    if name.endswith("_Connect"):  # the embedded host has the port of the file, where nobody listens here
        config = f"{PREFIX}{name.removesuffix('_Connect')}.xml"
    own = hosts.embedded(scan, config, tmp_path / "own.h5")
    assert (own.status, own.errors) == (0, [])
    assert 1 in real.images, "the method that the configuration names made the images, no fallback"
    assert {number: len(images) for number, images in real.images.items()} == {
        number: len(images) for number, images in own.images.items()
    }
    assert len(real.images[1]) == count
    for number, images in real.images.items():
        ours = pixels(own.images[number])
        assert np.ptp(ours) > 0
        np.testing.assert_array_equal(pixels(images), ours, err_msg=f"series {number}")


@pytest.mark.parametrize("name", HYBRID)
def test_stock_gadgets_around_ours_give_the_same_picture(
    hosts: Both, request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    """Partial Fourier, compression and scaling are Gadgetron's there, so the pixels are near, not equal."""
    scan, _ = scan_of(name, request)
    hybrid = hosts.server.run(scan, f"{PREFIX}{name}.xml", tmp_path / "hybrid.h5")
    plain = hosts.server.run(scan, f"{PREFIX}{name.replace('Hybrid', 'GRAPPA')}.xml", tmp_path / "plain.h5")
    assert (hybrid.status, hybrid.errors, plain.errors) == (0, [], [])
    theirs, ours = _scaled(hybrid), _scaled(plain)
    assert theirs.shape == ours.shape
    inside = ours > 0.1 * ours.max()
    assert nrmse(theirs[inside], ours[inside]) < 0.06


def _scaled(ran: Ran) -> np.ndarray:
    """Pixels of the first series in the units that its scale gives, the largest being 1."""
    values = pixels(ran.images[1]).astype(float)
    return values / values.max()


def test_a_noise_scan_is_kept_and_gives_no_image(hosts: Both, siemens: Path, storage: StandIn, tmp_path: Path) -> None:
    before = len(storage.blobs)
    ran = hosts.server.run(siemens, f"{PREFIX}Noise.xml", tmp_path / "out.h5")
    assert (ran.status, ran.errors, ran.images) == (0, [], {})
    (kept,) = storage.blobs[before:]
    assert kept[0]["name"] == "noise_covariance"
