"""A noise scan sent ahead, then the scan that depends on it, as a scanner's client sends them to the host."""

from __future__ import annotations

import copy
import json
import socket
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest
from ismrmrd import xsd

from onebreath.host.server import start_host
from onebreath.wire.channel import Channel
from onebreath.wire.messages import ConfigName, Query
from tests.chain.running import PATIENCE, header_bytes, images_of, pixels, send, simulated, steps, xml

NOISE_CONFIG = ConfigName("default_measurement_dependencies.xml")
CHAIN = xml(steps("cg_sense"))


def named(header: Any, measurement: str, depends_on: str = "") -> Any:
    made = copy.deepcopy(header)
    made.measurementInformation.measurementID = measurement
    if depends_on:
        dependency = xsd.measurementDependencyType(dependencyType="Noise", measurementID=depends_on)
        made.measurementInformation.measurementDependency.append(dependency)
    return made


def test_images_are_those_of_a_scan_with_its_own_noise_lines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ONEBREATH_STORAGE", str(tmp_path))
    scan = simulated(acceleration=2, acs_mode="embedded")
    noise = [line for line in scan.acquisitions if line.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)]
    rest = scan.acquisitions[len(noise) :]
    with start_host() as host:
        whole, _ = send(host, CHAIN, header_bytes(scan.header), scan.acquisitions)
        assert send(host, NOISE_CONFIG, header_bytes(named(scan.header, "dev_pat_ses_1")), noise) == ([], [])
        header = header_bytes(named(scan.header, "dev_pat_ses_2", "dev_pat_ses_1"))
        made, texts = send(host, CHAIN, header, rest)
        with socket.create_connection(host.address, PATIENCE) as sock:
            channel = Channel(sock)
            asked = f"measurement=dev_pat_ses_1&subject={scan.header.subjectInformation.patientID}"
            channel.send(Query(f"onebreath::dependency?{asked}&device=&session=", 7))
            _, response = channel.read()
            channel.close()
    assert texts == []
    assert np.array_equal(pixels(images_of(made)), pixels(images_of(whole)))
    meta = images_of(made)[0].meta
    assert meta["Onebreath_prewhiten_noise"] == "storage"
    assert meta["Onebreath_prewhiten_noise_source"] == "dev_pat_ses_1"
    assert json.loads(response.text)["channels"] == len(rest[0].data)
