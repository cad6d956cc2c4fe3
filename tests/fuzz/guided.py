"""Coverage-guided fuzzing of everything that reads what a peer sends; not part of the test suite.

It needs the package ``atheris``, best in an environment of its own::

    pip install atheris && nice -n 19 python -m tests.fuzz.guided wire --seconds 1800 --corpus corpus

A finding ends it and leaves the input as ``crash-...``, ``timeout-...`` or ``oom-...``; give that file instead of
``--seconds`` to play it again. What was found so far is kept as tests in ``test_findings.py``.
"""

from __future__ import annotations

import argparse
import logging
import os
import struct
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["onebreath", "ismrmrd", "gadgetron", "xsdata"]):
    from onebreath.chain.notes import read_note
    from onebreath.config.finding import find
    from onebreath.config.properties import steps_of
    from onebreath.errors import OnebreathError
    from onebreath.host.nodes import external_nodes
    from onebreath.host.server import HostOptions, _read_request, answer
    from onebreath.mrd.blocks import singly
    from onebreath.storage.blob import unpack
    from onebreath.wire.client_channel import ClientChannel
    from onebreath.wire.connection import Connection, parse_config
    from onebreath.wire.messages import ConfigName, ConfigText, HeaderText, Query
    from tests.fuzz.tape import Tape, parse_all

from tests.host.wiring import CLOSE, HEADER, acquisition, encoded, image, image_array, recon_data, start, waveform


def wire(data: bytes) -> None:
    """Messages after a sound beginning, whole and as notes."""
    with suppress(OnebreathError):
        for message in singly(Connection(Tape(start() + data)).in_blocks()):  # type: ignore[arg-type]
            read_note(message)


def text(data: bytes) -> None:
    """XML of every kind, names of configurations, stored arrays."""
    parse_all(data)
    with suppress(OnebreathError):
        unpack(data)
    with suppress(OnebreathError):
        find(data.decode("utf-8", "replace"))
    with suppress(OnebreathError):
        steps_of(parse_config(data), "chain")


def client(data: bytes) -> None:
    """What a client of the host says before its scan begins, and the scan's messages."""
    channel = ClientChannel(Tape(data), answer)  # type: ignore[arg-type]
    with suppress(OnebreathError):
        request = _read_request(channel, HostOptions())
        if request is not None:
            external_nodes(request[0])
            for message in channel:
                read_note(message)


QUESTION = "onebreath::dependency?measurement=d_s_n_1&subject=s&device=d&session=n"
TARGETS = {"wire": wire, "text": text, "client": client}


def seeds() -> dict[str, list[bytes]]:
    """Sound inputs to begin with."""
    messages = [
        acquisition(1, dimensions=2),
        waveform(2),
        image(a="b"),
        recon_data(),
        image_array([waveform()], "<a/>"),
    ]
    configs = sorted((Path(__file__).parents[2] / "configs").glob("*.xml"))
    return {
        "wire": [encoded(message) + CLOSE for message in messages] + [struct.pack("<H", 1050) + bytes(400)],
        "client": [
            encoded(ConfigName("Onebreath_Cine.xml"), HeaderText(HEADER), acquisition()) + CLOSE,
            *(encoded(ConfigText(path.read_bytes()), HeaderText(HEADER)) + CLOSE for path in configs[::4]),
            *(encoded(Query(text, 1)) + CLOSE for text in ("gadgetron::info", QUESTION, "onebreath::storage")),
        ],
        "text": [HEADER, *(path.read_bytes() for path in configs)],
    }


def main() -> None:
    """Fuzz a target; see the module's text."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target", choices=TARGETS)
    parser.add_argument("input", nargs="?", help="an input to play again")
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--corpus", type=Path, default=Path(tempfile.gettempdir()) / "onebreath-corpus")
    args = parser.parse_args()
    folder = args.corpus / args.target
    folder.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds()[args.target]):
        (folder / f"seed-{number}").write_bytes(seed)
    os.environ["ONEBREATH_STORAGE"] = "off"
    logging.disable(logging.CRITICAL)
    limits = ["-max_len=20000", "-timeout=10", "-rss_limit_mb=2048", f"-artifact_prefix={args.corpus}/"]
    what = [args.input] if args.input else [str(folder), f"-max_total_time={args.seconds}"]
    atheris.Setup([sys.argv[0], *limits, *what], TARGETS[args.target])
    atheris.Fuzz()


if __name__ == "__main__":
    main()
