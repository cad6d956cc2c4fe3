"""Streams of MRD 2 in files and pipes: read into an ISMRMRD file, written from files of lines and images."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO

import ismrmrd

from onebreath.errors import ConfigError, ScanError
from onebreath.images.reading import Series
from onebreath.mrd2.header import mrd_package, to_v1, to_v2
from onebreath.mrd2.images import images_to_v2
from onebreath.mrd2.lines import line_to_v1, line_to_v2, waveform_to_v1, waveform_to_v2
from onebreath.simulation.mrd_file import write_mrd
from onebreath.wire.connection import parse_header
from onebreath.wire.raw_file import RawFile

PIPE = "-"
"""Name of standard input and output."""
MAGIC = b"yardl"
"""What a stream begins with."""


def is_stream(path: Path) -> bool:
    """Return whether a file holds a stream of MRD 2."""
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_stream(source: BinaryIO, target: Path, name: str) -> Any:
    """Write the lines and waveforms of a stream into an ISMRMRD file; return the stream's own header.

    Parameters
    ----------
    source
        The stream.
    target
        File to write.
    name
        What the stream is called in errors.

    Raises
    ------
    ConfigError
        If mrd-python is not installed.
    ScanError
        If the stream is none, is cut off, or holds what ISMRMRD cannot.
    """
    mrd = mrd_package()
    lines: list[ismrmrd.Acquisition] = []
    waveforms: list[ismrmrd.Waveform] = []
    try:
        reader = mrd.BinaryMrdReader(source)
        header = reader.read_header()
        if header is None:
            raise ScanError(f"{name} has no header")
        xml = to_v1(header)
        for item in reader.read_data():
            if isinstance(item, mrd.StreamItem.Acquisition):
                lines.append(line_to_v1(item.value, f"{name}: line {len(lines) + 1}"))
            elif isinstance(item, mrd.StreamItem.WaveformUint32):
                waveforms.append(waveform_to_v1(item.value, f"{name}: waveform {len(waveforms) + 1}"))
            else:
                raise ScanError(
                    f"{name} holds {item.tag} after {len(lines)} lines; only lines and waveforms can be read"
                )
        reader.close()
    except (EOFError, ValueError, RuntimeError, BufferError, mrd.ProtocolError) as error:
        what = str(error) or type(error).__name__
        raise ScanError(
            f"{name} is no stream of MRD 2 that mrd-python can read, or is cut off after {len(lines)} lines: {what}"
        ) from error
    write_mrd(target, xml, lines, waveforms)
    return header


@contextmanager
def as_files(sources: Sequence[Path]) -> Iterator[tuple[list[Path], list[Any]]]:
    """Yield ISMRMRD files in place of streams and of standard input, and the headers of those that are streams.

    Raises
    ------
    ConfigError, ScanError
        As `read_stream`, and if standard input is named twice.
    """
    if sum(str(source) == PIPE for source in sources) > 1:
        raise ConfigError("Standard input (-) can be read once only.")
    with ExitStack() as made:
        files, headers = [], []
        for source in sources:
            header = None
            if str(source) == PIPE or is_stream(source):
                # Only now: where nothing but the folder of images can be written, ISMRMRD files need no other.
                folder = Path(made.enter_context(TemporaryDirectory(prefix="onebreath-mrd2-")))
                header, source = _converted(source, folder)
            files.append(source)
            headers.append(header)
        yield files, headers


def _converted(source: Path, folder: Path) -> tuple[Any, Path]:
    """Return the header of a stream, and the ISMRMRD file that is made of it in a folder."""
    if str(source) == PIPE:
        target = folder / "stdin.h5"
        return read_stream(sys.stdin.buffer, target, "standard input"), target
    target = folder / f"{source.stem}.h5"
    with source.open("rb") as file:
        return read_stream(file, target, str(source)), target


def write_images(target: BinaryIO, header: Any, found: Iterable[Series]) -> int:
    """Write images as a stream with a header of MRD 2; return their number. Errors as in `images_to_v2`."""
    count = 0

    def items() -> Iterator[Any]:
        nonlocal count
        for series in found:
            for item in images_to_v2(series):
                count += 1
                yield item

    with mrd_package().BinaryMrdWriter(target) as writer:
        writer.write_header(header)
        writer.write_data(items())
    target.flush()
    return count


def write_lines(target: BinaryIO, path: Path, group: str = "dataset") -> None:
    """Write an ISMRMRD file as a stream, in the order in which clients send it; raises ScanError as `line_to_v2`."""
    mrd = mrd_package()
    with RawFile(path, group) as raw, mrd.BinaryMrdWriter(target) as writer:
        writer.write_header(header_of(path, group))
        writer.write_data(_items(raw, str(path)))
    target.flush()


def _items(raw: RawFile, name: str) -> Iterator[Any]:
    mrd = mrd_package()
    for number, message in enumerate(raw.messages(), 1):
        if isinstance(message, ismrmrd.Waveform):
            yield mrd.StreamItem.WaveformUint32(waveform_to_v2(message))
        else:
            yield mrd.StreamItem.Acquisition(line_to_v2(message, f"{name}: message {number}"))


def header_of(path: Path, group: str = "dataset") -> Any:
    """Return the header of an ISMRMRD file as one of MRD 2; raises ScanError."""
    with RawFile(path, group) as raw:
        return to_v2(parse_header(raw.header_xml))
