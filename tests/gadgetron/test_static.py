"""A genuine scan through the real server and the real client gives the image, in a process that the server starts."""

from pathlib import Path

import numpy as np
import pytest

from tests.gadgetron.real import Server
from tests.helpers import nrmse


@pytest.fixture(scope="module")
def reference(shared: Path) -> np.ndarray:
    """Magnitude (y, x) that Gadgetron's own GRAPPA gadget made of the scan, in SNR units."""
    with np.load(shared / "gadgetron/siemens_grappa_gadget.npz") as file:
        return np.abs(file["Image"]).T


def test_the_siemens_scan_gives_gadgetrons_image(
    server: Server, siemens: Path, reference: np.ndarray, tmp_path: Path
) -> None:
    ran = server.run(siemens, "Onebreath_Static_GRAPPA.xml", tmp_path / "out.h5")
    assert (ran.status, ran.errors) == (0, [])
    (image,) = ran.images[1]
    assert {number: len(images) for number, images in ran.images.items()} == {1: 1, 20: 1}
    scale = float(image.meta["GADGETRON_ScaleRatio"])
    pixels = image.data[0, 0] / scale
    inside = reference > 0.1 * reference.max()
    ratio = float(np.median(pixels[inside] / reference[inside]))
    assert nrmse(pixels[inside] / ratio, reference[inside]) < 0.05
    assert server.children() == []
