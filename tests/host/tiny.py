"""A tiny scan that the whole chain can reconstruct, as bytes, and what its images must be."""

from functools import lru_cache

import ismrmrd
import numpy as np

from tests.helpers import READERS_AND_WRITERS
from tests.host.wiring import CLOSE, encoded, start
from tests.scans import HEADER as XML
from tests.scans import line_header

ROWS, SAMPLES, COILS = 12, 16, 3
STEPS = ("prewhiten", "compress", "sort", "calibrate", "reconstruct", "export")


def header(phases: int = 1) -> bytes:
    """Header of a scan of `phases` cardiac phases."""
    values = {"ex": SAMPLES, "ey": ROWS, "rx": SAMPLES, "ry": ROWS, "efx": 24.0, "efy": 18.0, "rfx": 24.0, "rfy": 18.0}
    text = XML.format(**values, last=ROWS - 1, centre=ROWS // 2, phases=phases - 1, slices=0, parallel="")
    named = "<subjectInformation><patientID>TINY-1</patientID></subjectInformation>"
    begin = text.index(">", text.index("<ismrmrdHeader")) + 1
    return (text[:begin] + named + text[begin:]).encode()


def configuration(method: str = "zero_filled", *properties: str, steps: tuple[str, ...] = STEPS) -> bytes:
    """``<configuration>`` of the chain; `properties` are elements of the node."""
    inside = {"reconstruct": f'<property name="method" value="{method}"/>'}
    gadgets = "".join(f'<gadget name="{step}">{inside.get(step, "")}</gadget>' for step in steps)
    return f"<configuration>{''.join(properties)}{gadgets}</configuration>".encode()


def stream(method: str = "zero_filled", *properties: str) -> bytes:
    """A node's configuration as a whole configuration file."""
    execute = '<execute name="onebreath.host.entry" target="chain" type="python"/>'
    node = configuration(method, *properties).decode()
    inside = f"<stream><external>{execute}{node}</external></stream>"
    return f"<configuration><version>2</version>{READERS_AND_WRITERS}{inside}</configuration>".encode()


@lru_cache
def lines(phases: int = 1) -> tuple[ismrmrd.Acquisition, ...]:
    """All lines of the scan, a blob in each phase."""
    rng = np.random.default_rng(3)
    made = []
    for phase in range(phases):
        for row in range(ROWS):
            head = line_header(row, SAMPLES, COILS, phase=phase)
            bell = 50 * np.exp(-((row - ROWS // 2) ** 2 + (np.arange(SAMPLES) - SAMPLES // 2) ** 2) / (3.0 + phase))
            noise = 0.1 * (rng.standard_normal((COILS, SAMPLES)) + 1j * rng.standard_normal((COILS, SAMPLES)))
            made.append(ismrmrd.Acquisition(head, (bell + noise).astype(np.complex64)))
    return tuple(made)


def pieces(config: bytes, phases: int = 1) -> list[bytes]:
    """The scan as a node gets it: CONFIG and HEADER, each line, CLOSE."""
    return [start(config, header(phases)), *(encoded(line) for line in lines(phases)), CLOSE]


def pixels(images: list) -> np.ndarray:
    """Pixels of images in their order."""
    return np.stack([image.data[0, 0] for image in images])
