"""A genuine Siemens scan, sent from its raw file as a client does, against what Gadgetron's own chain made of it."""

from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from onebreath.host.replay import replay
from tests.chain.running import images_of, steps, xml
from tests.helpers import nrmse

SERIES = {1: "Image", 20: "Gfactor", 300: "SNR_MAP"}
OWN_WORDS = {"GADGETRON_ImageComment", "GADGETRON_ImageProcessingHistory", "GADGETRON_SeqDescription", "gadgetron_sha1"}
"""Entries of the meta that say which program made the image."""


def replayed(shared: Path, folder: Path, data_type: str) -> list[ismrmrd.Image]:
    """The scan through GRAPPA as Gadgetron's configuration sets it, without its partial Fourier and k-space filters."""
    chain = steps(
        "grappa",
        compress={"upstream_coil_compression_num_modesKept": "8"},
        reconstruct={"snr_units": "gadgetron", "send_out_gfactor": "true", "send_out_snr_map": "true"},
        export={"data_type": data_type},
    )
    (folder / "chain.xml").write_bytes(xml(chain))
    raw = next((shared / "data" / "siemens_snr_r3").glob("*.h5"))
    outcome = replay(raw, config_local=folder / "chain.xml", output=folder / "out.h5", group="images")
    assert (outcome.failed, outcome.texts, outcome.images) == (False, [], dict.fromkeys(SERIES, 1))
    with ismrmrd.File(folder / "out.h5", "r") as file:
        return [image for series in SERIES for image in file["images"][f"image_{series}"].images]


@pytest.fixture(scope="module")
def images(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, np.ndarray]:
    """Pixels (y, x) by series."""
    made = replayed(shared, tmp_path_factory.mktemp("siemens"), "float32")
    return {series: images_of(made, series)[0].data[0, 0] for series in SERIES}


@pytest.fixture(scope="module")
def reference(shared: Path) -> dict[str, np.ndarray]:
    """What Gadgetron's GRAPPA gadget made: magnitude and g-factor (y, x), and where the object is."""
    with np.load(shared / "gadgetron" / "siemens_grappa_gadget.npz") as file:
        image, gfactor = np.abs(file["Image"]).T, np.abs(file["Gfactor"]).T
    return {"image": image, "gfactor": gfactor, "object": image > 0.1 * image.max()}


def test_image_equals_gadgetrons_in_snr_units(images: dict[int, np.ndarray], reference: dict[str, np.ndarray]) -> None:
    inside = reference["object"]
    assert nrmse(images[1][inside], reference["image"][inside]) <= 0.05
    assert np.median(images[1][inside] / reference["image"][inside]) == pytest.approx(1, abs=0.03)


def test_gfactor_equals_gadgetrons(images: dict[int, np.ndarray], reference: dict[str, np.ndarray]) -> None:
    inside = reference["object"]
    ratio = images[20][inside] / reference["gfactor"][inside]
    assert np.median(np.abs(ratio - 1)) <= 0.05


def test_snr_map_is_the_image_over_the_gfactor(images: dict[int, np.ndarray]) -> None:
    assert nrmse(images[300] * np.maximum(images[20], 1e-6), images[1]) < 1e-5


def test_header_and_meta_equal_gadgetrons(shared: Path, tmp_path: Path) -> None:
    made = replayed(shared, tmp_path, "uint16")
    with np.load(shared / "gadgetron" / "siemens_snr_r3_images.npz") as file:
        theirs = {name: file[name] for name in file.files if name.startswith("Generic_Cartesian_Grappa_SNR/")}
    for series in SERIES:
        (image,) = images_of(made, series)
        prefix = f"Generic_Cartesian_Grappa_SNR/image_{series}/"
        fields = [name for name in theirs if name.startswith(f"{prefix}header/")]
        assert len(fields) == 14
        for name in fields:
            ours = getattr(image.getHead(), name.rpartition("/")[2])
            np.testing.assert_array_equal(np.asarray(ours), theirs[name], err_msg=name)
        assert image.data.dtype == theirs[f"{prefix}data"].dtype
        _compare_meta(image.meta, ismrmrd.Meta.deserialize(str(theirs[f"{prefix}attributes"][0])))


def _compare_meta(ours: ismrmrd.Meta, theirs: ismrmrd.Meta) -> None:
    for name in set(theirs) - OWN_WORDS:
        expected = theirs[name] if isinstance(theirs[name], list) else [theirs[name]]
        found = ours[name] if isinstance(ours[name], list) else [ours[name]]
        assert [_number(value) for value in found] == [_number(value) for value in expected], name


def _number(value: str) -> Any:
    """The value as a number where it is one: programs write them with different digits."""
    try:
        return pytest.approx(float(value), rel=1e-5)
    except ValueError:
        return value
