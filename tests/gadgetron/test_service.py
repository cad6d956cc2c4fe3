"""A day at a site: weights are swapped between scans, clients come at once, noise comes from a scan of its own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from onebreath import zoo
from tests.gadgetron.real import CONFIGS, Ran
from tests.gadgetron.resident import Both, both
from tests.helpers import nrmse
from tests.models import details, random_state, save_model
from tests.storage.standin import StandIn

SCANS, SWAP = 20, 10
MODEL = "crunet_mr.tiny"
NETWORK = (
    (CONFIGS / "Onebreath_Cine_CRUNetMR.xml").read_text(encoding="utf-8").replace('"crunet_mr.cine"', f'"{MODEL}"')
)
SHA = "Onebreath_reconstruct_weights_sha256"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one small model, which a scan's score never turns away."""
    root = tmp_path_factory.mktemp("models")
    save_model(root, MODEL, score_limit=100.0)
    return root


@pytest.fixture(scope="module")
def hosts(prefix: Path, storage: StandIn, models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Both]:
    folder = tmp_path_factory.mktemp("hosts")
    with both(prefix, folder, storage, ONEBREATH_MODELS=str(models)) as running:
        yield running


def pixels(ran: Ran) -> np.ndarray:
    """All pixels of the first series; whatever kept them away is shown."""
    assert (ran.status, ran.errors) == (0, [])
    assert 1 in ran.images, ran.text
    return np.stack([image.data for image in ran.images[1]])


def test_weights_are_swapped_between_scans_without_a_restart(
    hosts: Both, models: Path, brief: Path, tmp_path: Path
) -> None:
    config = hosts.server.add_config("Network.xml", NETWORK)
    hashes, first = [], []
    for number in range(SCANS):
        if number == SWAP:
            fields = details(MODEL, score_limit=100.0)
            zoo.save(random_state("crunet_mr", fields["arguments"], seed=1), fields, models, overwrite=True)
        ran = hosts.server.run(brief, config, tmp_path / f"{number}.h5")
        first.append(pixels(ran))
        hashes.append({str(image.meta[SHA]) for image in ran.images[1]})
    assert all(len(one) == 1 for one in hashes), "no scan has images of two networks"
    assert hashes[:SWAP] == [hashes[0]] * SWAP
    assert hashes[SWAP:] == [hashes[-1]] * (SCANS - SWAP)
    assert hashes[0] != hashes[-1]
    for number in range(SCANS):
        np.testing.assert_array_equal(first[number], first[0 if number < SWAP else SWAP])
    assert not np.array_equal(first[0], first[SWAP])


def test_three_clients_at_once_get_their_own_images(
    hosts: Both, siemens: Path, static: Path, brief: Path, tmp_path: Path
) -> None:
    scans = {"siemens": (siemens, "Static"), "static": (static, "Static"), "brief": (brief, "Cine")}

    def send(name: str, run: str) -> np.ndarray:
        scan, kind = scans[name]
        return pixels(hosts.server.run(scan, f"Onebreath_{kind}_GRAPPA.xml", tmp_path / f"{name}_{run}.h5"))

    with ThreadPoolExecutor(len(scans)) as pool:
        together = dict(zip(scans, pool.map(lambda name: send(name, "together"), scans), strict=True))
    for name, images in together.items():
        np.testing.assert_array_equal(images, send(name, "alone"), err_msg=name)


OWN_ID, NOISE_ID = "45387_1079885_1079904_349", "45387_1079885_1079904_343"
"""Of the genuine scan, and of the noise scan that its header says it depends on."""
DEPENDENCY = re.compile(r"<measurementDependency>.*?</measurementDependency>", re.DOTALL)


def split_noise(scan: Path, folder: Path) -> tuple[Path, Path]:
    """Write the noise line of the genuine scan as the scan that it depends on, and the rest without it."""
    with ismrmrd.Dataset(str(scan), create_if_needed=False) as source:
        header = source.read_xml_header().decode()
        lines = [source.read_acquisition(number) for number in range(source.number_of_acquisitions())]
    noise, rest = folder / "noise.h5", folder / "rest.h5"
    headers = {noise: DEPENDENCY.sub("", header).replace(OWN_ID, NOISE_ID), rest: header}
    for path, text in headers.items():
        with ismrmrd.Dataset(str(path)) as target:
            target.write_xml_header(text.encode())
            for line in lines:
                if line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT) == (path == noise):
                    target.append_acquisition(line)
    return noise, rest


@pytest.mark.parametrize("config", ["Onebreath_Noise.xml", "default_measurement_dependencies.xml"])
def test_noise_of_a_scan_of_its_own_comes_through_the_storage_server(
    hosts: Both, storage: StandIn, siemens: Path, tmp_path: Path, config: str
) -> None:
    """Written by our chain, or by Gadgetron's own gadget: the images are those of a scan with its noise in it."""
    noise, rest = split_noise(siemens, tmp_path)
    storage.blobs.clear()
    kept = hosts.server.run(noise, config, tmp_path / "noise_images.h5")
    assert (kept.status, kept.errors, kept.images) == (0, [], {})
    assert [tags["name"] for tags, _ in storage.blobs] == ["noise_covariance"]
    made = hosts.server.run(rest, "Onebreath_Static_GRAPPA.xml", tmp_path / "made.h5")
    assert "not found on Gadgetron server" not in made.text, "the real client finds what was kept"
    meta = made.images[1][0].meta
    assert (meta["Onebreath_prewhiten_noise"], meta["Onebreath_prewhiten_noise_source"]) == ("storage", NOISE_ID)
    whole = hosts.server.run(siemens, "Onebreath_Static_GRAPPA.xml", tmp_path / "whole.h5")
    assert nrmse(pixels(made).astype(float), pixels(whole).astype(float)) < 1e-4
