"""10,000 damaged streams, the same in every run: each ends with the messages it held or a clear error, soon."""

from __future__ import annotations

import random
import resource
import time
from pathlib import Path

import pytest

from onebreath.chain.chain import build
from onebreath.errors import OnebreathError
from onebreath.wire.connection import Connection
from tests.chain.running import header_bytes, simulated, steps, stream_of
from tests.fuzz.tape import Mutator, Tape, parse_all, play
from tests.host.wiring import CLOSE, encoded, recorded, start

MUTANTS = {
    "siemens_acquisitions": 600,
    "siemens_acquisitions_whitened": 1000,
    "siemens_bucket": 1000,
    "siemens_recon_data": 400,
    "siemens_recon_data_ref": 1500,
    "siemens_image_array": 5000,
    "shepp_bucket_waveforms": 500,
}
SLOW = 2.0  # seconds of work on one mutant; they take 2 ms
GROWTH = 200_000  # KiB that reading all mutants of a stream may add
assert sum(MUTANTS.values()) == 10_000


@pytest.mark.parametrize("name", MUTANTS)
def test_mutants_of_a_recorded_stream(shared: Path, name: str) -> None:
    data = recorded(shared, name)
    whole = play(data)
    assert whole > 0
    mutate = Mutator(data, random.Random(name))
    cut_short, memory = 0, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(MUTANTS[name]):
        mutant = mutate()
        begun = time.thread_time()
        cut_short += play(mutant, xml=number % 200 == 0) < whole
        assert time.thread_time() - begun < SLOW, f"mutant {number}"
    assert cut_short > MUTANTS[name] // 20, "the mutations do no harm"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < GROWTH


def test_mutants_of_configurations_and_headers(shared: Path) -> None:
    chance = random.Random(7)
    configs = [path.read_bytes() for path in sorted((Path(__file__).parents[2] / "configs").glob("*.xml"))]
    start = recorded(shared, "siemens_image_array")
    texts = [*configs, start[start.index(b"<ismrmrdHeader") :][:4000]]
    for _ in range(500):
        text = bytearray(chance.choice(texts))
        for _ in range(chance.randrange(1, 5)):
            place = chance.randrange(len(text))
            text[place : place + chance.randrange(3)] = chance.choice(
                (
                    b"<",
                    b">",
                    b"&",
                    b"/",
                    b'"',
                    b"\0",
                    b"\xff",
                    b"<x>",
                    b"&#0;",
                    b"&x;",
                    b"<!--",
                    b"<![CDATA[",
                    b"<?x",
                    b"",
                )
            )
        parse_all(bytes(text))


def test_mutants_of_a_scan_do_not_surprise_the_gadgets() -> None:
    """Lines that are sound for the wire and nonsense for the scan end in images or in an error that explains itself."""
    scan = simulated(matrix=(24, 28), coils=4, acceleration=2, acs_mode="embedded", noise_lines=8, acs_lines=12)
    begin = start(b"", header_bytes(scan.header))
    data = begin + encoded(*stream_of(scan)) + CLOSE
    mutate = Mutator(data, random.Random(3))
    chain, made = steps("zero_filled", calibrate={"no_acs": "pass"}), 0
    for _ in range(60):
        connection = Connection(Tape(begin + mutate()[len(begin) :]))  # type: ignore[arg-type]
        try:
            made += len(list(build(connection.header, chain).run(connection.in_blocks())))
        except OnebreathError as error:
            assert "internal error" not in str(error)
    assert made > 0
