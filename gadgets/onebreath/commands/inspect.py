"""`onebreath inspect`: report on a raw data file: its content, the decision of each gadget, and what is missing.

The gadgets' part is no guess: the file is sent through the configuration's own gadgets up to the reconstruction, and
what they note is printed.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

import ismrmrd
import numpy as np
from gadgetron.types import ReconData

from onebreath.chain.chain import build
from onebreath.chain.facts import readable
from onebreath.chain.gadget import gadget_class
from onebreath.chain.notes import read_note, read_warning
from onebreath.commands.configs import own_target
from onebreath.config.finding import find
from onebreath.config.properties import steps_of
from onebreath.config.stream_config import External, parse
from onebreath.config.suited import suited_to
from onebreath.errors import OnebreathError
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.lines import CALIBRATION, CALIBRATION_AND_IMAGING, NOISE, bit, side_line
from onebreath.mrd.quirks import two_dimensional
from onebreath.mrd.spaces import SpaceChoice, spaces, with_space
from onebreath.names import shortened
from onebreath.terminal import print_facts
from onebreath.terminal import steps as counted
from onebreath.wire.connection import parse_config, parse_header
from onebreath.wire.raw_file import RawFile

_READING = {
    "prewhiten": {"keep_noise": "false", "store_noise_covariance": ""},
    "calibrate": {"keep_calibration": "false"},
}
"""Properties that keep the gadgets from writing anything."""

COUNTERS = ("slice", "phase", "repetition", "set", "contrast", "average", "segment")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("filename", help="raw data, an ISMRMRD HDF5 file")
    parser.add_argument("-c", "--config", help="configuration (default: the one that suits the scan)")
    parser.add_argument("-g", "--group", default="dataset", help="group of the raw data (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Print the report; 1 if the scan cannot be reconstructed with the configuration."""
    with RawFile(args.filename, args.group) as raw:
        header = ScanHeader(_of_image(parse_header(raw.header_xml), raw))
        print_facts("Header", header_facts(header))
        table = raw.headers()
        print_facts("Lines", line_facts(table, raw.waveforms))
        print_facts("Missing from the header", _missing(header) or ["nothing that the chain asks for"])
        config, why = (args.config, "") if args.config else suited_to(table)
        failed: list[str] = []
        title = f"What {config} does with it{f' (it suits the scan, as {why})' if why else ''}"
        print_facts(title, _reports_and_end(raw, config, failed))
    return 1 if failed else 0


def _reports_and_end(raw: RawFile, config: str, failed: list[str]) -> Iterator[str]:
    """Yield what `gadget_reports` does, and the error at its end, which is put into `failed` too."""
    try:
        yield from gadget_reports(raw, config)
    except OnebreathError as error:
        failed.append(f"cannot be reconstructed: {error}")
        yield failed[-1]


def _of_image(xml: Any, raw: RawFile) -> Any:
    """Return the header with the encoding space that the chain will choose."""
    if spaces(xml) < 2:
        return xml
    choice = SpaceChoice(xml)
    for line in raw.headers():
        choice.see(ismrmrd.AcquisitionHeader.from_buffer_copy(line.tobytes()))
    return with_space(xml, *choice.chosen())


def gadget_reports(raw: RawFile, config: str) -> Iterator[str]:
    """Run the configuration's gadgets up to the reconstruction on the file; yield what each decided.

    Raises
    ------
    OnebreathError
        What the scan would raise in the chain.
    """
    steps = [step for step in own_steps(config) if gadget_class(step[0]).prepares]
    steps = [(name, {**properties, **_READING.get(name, {})}) for name, properties in steps]
    seen = set()
    messages = counted(raw.messages(), "reading", raw.acquisitions + raw.waveforms, "lines")
    for message in build(parse_header(raw.header_xml), steps).run(messages):
        warned = read_warning(message)
        if warned is not None:
            yield f"WARNING: {warned}"
        written = read_note(message)
        if written is not None and (text := _note_text(*written)) not in seen:
            seen.add(text)
            yield text
        if isinstance(message, ReconData):
            yield f"k-space (readout, y, z, channel, frame, set, slice): {message.bits[0].data.data.shape}"


def own_steps(config: str) -> list[tuple[str, dict[str, str]]]:
    """List Onebreath's gadgets in a configuration, with their properties."""
    path = find(config)
    steps = []
    for node in parse(path.read_bytes(), config).nodes:
        target = own_target(node) if isinstance(node, External) else None
        if isinstance(node, External) and target is not None:
            steps += steps_of(parse_config(node.configuration), target)
    return steps


def _note_text(gadget: str, facts: dict[str, Any]) -> str:
    return f"{gadget}: " + ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in readable(facts).items())


def header_facts(header: ScanHeader) -> list[str]:
    """Describe what the header of a scan states."""
    centre = header.limits("kspace_encoding_step_1")
    return [
        f"protocol {shortened(header.protocol_name or 'not named')}, {shortened(header.vendor or 'unknown vendor')}, "
        f"{header.field_strength}, {header.trajectory}",
        f"encoded {header.encoded_matrix.x} x {header.encoded_matrix.y} x {header.encoded_matrix.z} samples, "
        f"{header.encoded_fov.x:g} x {header.encoded_fov.y:g} x {header.encoded_fov.z:g} mm",
        f"image {header.recon_matrix.x} x {header.recon_matrix.y} x {header.recon_matrix.z} pixels, "
        f"{header.recon_fov.x:g} x {header.recon_fov.y:g} x {header.recon_fov.z:g} mm",
        *([f"encoding space {header.space} of {spaces(header.xml)}"] if spaces(header.xml) > 1 else []),
        f"lines {f'{centre.minimum} to {centre.maximum}, centre {centre.centre}' if centre else 'without limits'}",
        *_partition_facts(header),
        f"acceleration {header.stated_acceleration or 'not stated'}, calibration "
        f"{header.calibration_mode or 'not stated'}"
        + (f", {header.simultaneous_slices} slices at a time" if header.simultaneous_slices > 1 else ""),
    ]


def _partition_facts(header: ScanHeader) -> list[str]:
    """Describe the partitions that the header announces, if there are any."""
    if two_dimensional(header):
        return []
    limits = header.limits("kspace_encoding_step_2")
    stated = f"{limits.minimum} to {limits.maximum}, centre {limits.centre}" if limits else "without limits"
    return [f"partitions {stated}: the scan is three-dimensional"]


def line_facts(table: np.ndarray, waveforms: int) -> list[str]:
    """Describe the lines of a scan by their headers, and say how many waveforms it has."""
    flags = table["flags"]
    kinds: dict[str, int] = {}
    for value in flags:
        kind = side_line(int(value)) or _kind(int(value))
        kinds[kind] = kinds.get(kind, 0) + 1
    imaging = table[(flags & bit(NOISE)) == 0]
    facts = [f"{len(table)} in all: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))]
    facts += [
        f"{name.replace('_', ' ')}: {', '.join(str(value) for value in np.unique(imaging[name]))}"
        for name in ("active_channels", "number_of_samples", "center_sample", "sample_time_us")
    ]
    counted = {name: np.unique(imaging["idx"][name]).size for name in COUNTERS}
    several = ", ".join(f"{count} values of {name}" for name, count in counted.items() if count > 1)
    facts.append(f"counters: {several or 'one value each'}")
    stamped = bool(imaging["physiology_time_stamp"][:, 0].any())
    facts.append(f"trigger time stamps: {'yes' if stamped else 'no'}; waveforms: {waveforms}")
    return facts


def _kind(flags: int) -> str:
    if flags & bit(CALIBRATION_AND_IMAGING):
        return "calibration and imaging"
    return "calibration only" if flags & bit(CALIBRATION) else "imaging"


def _missing(header: ScanHeader) -> list[str]:
    """List the optional sections that are missing, and what the chain does without them."""
    consequences = {
        "encodingLimits of kspace_encoding_step_1: the centre is taken to be in the middle of the matrix": (
            header.limits("kspace_encoding_step_1")
        ),
        "parallelImaging: acceleration and calibration mode are taken from the lines alone": header.stated_acceleration,
        "coilLabel: a stored noise covariance cannot be matched to the channels": header.coil_labels,
        "sequenceParameters: images carry no echo and repetition time": header.sequence("TR"),
        "protocolName: rules that choose a model by protocol cannot apply": header.protocol_name,
    }
    return [text for text, found in consequences.items() if not found]
