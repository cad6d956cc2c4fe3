"""Raw data made by hand, recorded streams, and gadgets run on them."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
from gadgetron.types import ReconData

from onebreath.chain.gadget import Message, gadget_class, parse_properties
from onebreath.chain.notes import read_note, read_warning
from onebreath.mrd.buffers import kspace_of
from onebreath.wire.connection import Connection
from tests.host.wiring import fed, recorded

LIMIT = "<{0}><minimum>{1[0]}</minimum><maximum>{1[2]}</maximum><center>{1[1]}</center></{0}>"


def stream(shared: Path, name: str) -> tuple[Any, list[Any]]:
    """Header and messages of a recorded stream."""
    with fed(recorded(shared, name)) as sock:
        connection = Connection(sock)
        return connection.header, list(connection)


def scan_header(
    encoded: tuple[int, int] = (16, 12),
    recon: tuple[int, int] | None = None,
    fov: tuple[float, float] = (320.0, 240.0),
    recon_fov: tuple[float, float] | None = None,
    *,
    limits: dict[str, tuple[int, int, int]] | None = None,
    calibration: str | None = None,
    labels: Iterable[str] = (),
    trajectory: str = "cartesian",
    partitions: int = 1,
) -> Any:
    """A header: matrix and field of view as (x, y), limits as (first, centre, last) by counter."""
    spaces = ""
    for name, (x, y), (fx, fy) in (("encodedSpace", encoded, fov), ("reconSpace", recon or encoded, recon_fov or fov)):
        spaces += (
            f"<{name}><matrixSize><x>{x}</x><y>{y}</y><z>{partitions}</z></matrixSize>"
            f"<fieldOfView_mm><x>{fx}</x><y>{fy}</y><z>8</z></fieldOfView_mm></{name}>"
        )
    stated = "".join(LIMIT.format(name, values) for name, values in (limits or {}).items())
    parallel = (
        ""
        if calibration is None
        else (
            "<parallelImaging><accelerationFactor><kspace_encoding_step_1>2</kspace_encoding_step_1>"
            "<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>"
            f"<calibrationMode>{calibration}</calibrationMode></parallelImaging>"
        )
    )
    coils = "".join(
        f"<coilLabel><coilNumber>{number}</coilNumber><coilName>{label}</coilName></coilLabel>"
        for number, label in enumerate(labels)
    )
    system = f"<acquisitionSystemInformation>{coils}</acquisitionSystemInformation>" if coils else ""
    return ismrmrd.xsd.CreateFromDocument(
        '<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
        f"{system}<experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz>"
        f"</experimentalConditions><encoding>{spaces}<encodingLimits>{stated}</encodingLimits>"
        f"<trajectory>{trajectory}</trajectory>{parallel}</encoding></ismrmrdHeader>"
    )


def line(data: Any, row: int = 0, *flags: int, centre: int | None = None, **fields: Any) -> ismrmrd.Acquisition:
    """A line (coil, x); fields are counters, or fields of the header."""
    made = ismrmrd.Acquisition.from_array(np.asarray(data, np.complex64), sample_time_us=2.0)
    head = made._head
    head.idx.kspace_encode_step_1 = row
    head.center_sample = made.data.shape[1] // 2 if centre is None else centre
    for flag in flags:
        head.set_flag(flag)
    for name, value in fields.items():
        if name == "trigger":
            head.physiology_time_stamp[0] = value
        else:
            setattr(head.idx if hasattr(head.idx, name) else head, name, value)
    return made


def run(
    name: str, header: Any, messages: Iterable[Message], **properties: Any
) -> tuple[list[Message], list[dict[str, Any]]]:
    """What a gadget makes of messages, and the facts of its notes; its warnings are left out."""
    made = [message for message in raw_run(name, header, messages, **properties) if read_warning(message) is None]
    notes = [read_note(message) for message in made]
    others = [message for message, found in zip(made, notes, strict=True) if not found or found[0] != name]
    return others, [found[1] for found in notes if found and found[0] == name]


def raw_run(name: str, header: Any, messages: Iterable[Message], **properties: Any) -> list[Message]:
    """All that a gadget makes of messages."""
    cls = gadget_class(name)
    parsed = parse_properties(cls, {key: str(value) for key, value in properties.items()})
    return list(cls(header, parsed).process(messages))


def warnings_of(name: str, header: Any, messages: Iterable[Message], **properties: Any) -> list[str]:
    """What a gadget warns of."""
    texts = map(read_warning, raw_run(name, header, messages, **properties))
    return [text for text in texts if text is not None]


ROWS, SAMPLES, COILS = 12, 16, 3
LIMITS = {"kspace_encoding_step_1": (0, 6, ROWS - 1)}
HEADER = scan_header((SAMPLES, ROWS), limits=LIMITS)


def value(**counters: int) -> complex:
    """A number that tells where a line belongs."""
    weights = {"row": 1, "phase": 100, "slice": 1e4, "set": 1e5, "contrast": 1e6, "repetition": 1e7}
    return 1 + sum(weights[name] * number for name, number in counters.items())


def marked(row: int, *flags: int, **counters: int) -> ismrmrd.Acquisition:
    data = np.full((COILS, SAMPLES), value(row=row, **counters))
    return line(data, row, *flags, **counters)


def sorted_by(messages: list, given: Any = HEADER, **properties: Any) -> tuple[list[ReconData], list[dict[str, Any]]]:
    made, notes = run("sort", given, messages, **properties)
    assert all(isinstance(message, ReconData) for message in made)
    return made, notes


def content(made: ReconData, s: int = 0) -> np.ndarray:
    """What stands in each place (frame, row)."""
    kspace = kspace_of(made.bits[0].data, s)
    assert np.all(kspace == kspace[:, :1, :, :1])
    return kspace[:, 0, :, 0].real
