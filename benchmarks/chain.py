"""Speed and memory of the chain, against the targets that it must keep.

The chain (prewhiten, compress, sort) runs in a process of its own, as Gadgetron starts it, in turns with a pass-through
on the plain `gadgetron` package, so that both meet the same load; a pair's ratio is that of two runs in a row. The
clock starts when the node has answered a first waveform, and stops when the node has ended.

    OMP_NUM_THREADS=1 python -m benchmarks.chain
"""

from __future__ import annotations

import argparse
import socket
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import ismrmrd
import numpy as np

from benchmarks import wire
from benchmarks.classical import cine_slice
from benchmarks.table import table
from onebreath.methods.base import method_class
from onebreath.mri.espirit import espirit
from onebreath.wire.channel import Channel, encode

ENTRY = ("onebreath.host.entry", "chain")
PLAIN = ("benchmarks.wire", "plain", b"<configuration/>")
LINES = "prewhiten compress:upstream_coil_compression_num_modesKept={kept} sort:trigger_dimension={trigger}"
NOISE_LINES = 20
WARM = 400 << 20  # bytes; twice what the node will need
WAVEFORM = b"".join(encode(ismrmrd.Waveform.from_array(np.zeros((1, 8), np.uint32))))
"""Every gadget passes it on in its turn."""

Row = tuple[str, str, str]


def main(arguments: list[str] | None = None) -> None:
    """Measure and print a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.chain", description=__doc__)
    parser.add_argument("--count", type=int, default=3840, help="acquisitions of a run (default: %(default)s)")
    parser.add_argument("--channels", type=int, default=30)
    parser.add_argument("--samples", type=int, default=512)
    parser.add_argument("--kept", type=int, default=12, help="channels after compression (default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=5, help="runs of each node (default: %(default)s)")
    parser.add_argument("--many", type=int, default=50_000, help="acquisitions for the memory (default: %(default)s)")
    args = parser.parse_args(arguments)
    rows = [
        *throughput(args.count, args.channels, args.samples, args.kept, args.pairs),
        round_trip(args.channels, args.samples),
        memory(args.many),
        *methods(),
    ]
    title = f"The chain: {args.count} acquisitions of {args.channels} channels x {args.samples} samples to {args.kept}"
    print(table(title, ("what", "measured", "target"), rows, ("numpy", "scipy", "ismrmrd", "gadgetron")))


def throughput(count: int, channels: int, samples: int, kept: int, pairs: int) -> list[Row]:
    """Acquisitions per second of both nodes in turns, and the ratio within the pairs."""
    header, lines = wire.scan(count, channels, samples)
    chain = (*ENTRY, wire.configuration(LINES.format(kept=kept, trigger="none")))
    noise = list(noise_lines(channels, samples))
    theirs, ours = [], []
    for _ in range(pairs):
        for start, data, rates in ((PLAIN, lines, theirs), (chain, noise + lines, ours)):
            with wire.node(*start, header) as sock:
                answer(sock)
                warm_memory()
                rates.append(wire.rate(sock, data))
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    return [
        ("pass-through on gadgetron alone, acquisitions/s (best)", f"{max(theirs):.0f}", ""),
        ("prewhiten + compress + sort, acquisitions/s (best)", f"{max(ours):.0f}", ""),
        ("ratio within a pair, best", f"{max(ratios):.2f}", ">= 0.8"),
        ("ratio within a pair, median", f"{statistics.median(ratios):.2f}", ""),
    ]


def warm_memory() -> None:
    """Have free memory that is the machine's own.

    A virtual machine gives unused memory back to its host. To get it again took 3 ms a megabyte where this was found
    out, 15 times what the kernel needs for a new page, so that the k-space of the scan would cost more than all else.
    """
    np.ones(WARM, np.uint8)


def round_trip(channels: int, samples: int) -> Row:
    """Median time until a line that was sent comes back whitened."""
    header, (line,) = wire.scan(1, channels, samples)
    times = []
    with wire.node(*ENTRY, wire.configuration("prewhiten"), header) as sock:
        for encoded in noise_lines(channels, samples):
            sock.sendall(encoded)
        channel = Channel(sock)
        for _ in range(50):
            begun = time.perf_counter()
            channel.stream.write(line)
            while not isinstance(channel.read()[1], ismrmrd.Acquisition):
                pass
            times.append(1e3 * (time.perf_counter() - begun))
        channel.stream.end()
        channel.drain()
    return "round trip of one acquisition through prewhiten, ms (median)", f"{statistics.median(times):.2f}", "<= 3"


def memory(count: int) -> Row:
    """Growth of the peak from a tenth of a scan to its end; its repetitions are sent on as they are complete."""
    rows, channels, samples = 64, 4, 64
    header, _ = wire.scan(rows, channels, samples)
    chain = wire.configuration(LINES.format(kept=2, trigger="repetition"))
    peaks = []
    with wire.node(*ENTRY, chain, header) as sock:
        answered = threading.Semaphore(0)
        receiver = threading.Thread(target=_throw_away, args=(Channel(sock), answered))
        receiver.start()
        for encoded in noise_lines(channels, samples):
            sock.sendall(encoded)
        data = np.ones((channels, samples), np.complex64)
        for number in range(count):
            row = number % rows - rows // 2  # the centre is the strongest, by which channels are chosen
            line = ismrmrd.Acquisition.from_array(data / np.float32(1 + abs(row)), center_sample=samples // 2)
            line.idx.kspace_encode_step_1 = wire.LINES // 2 + row
            line.idx.repetition = number // rows
            sock.sendall(b"".join(encode(line)))
            if number + 1 in (count // 10, count):
                sock.sendall(WAVEFORM)
                answered.acquire(timeout=60)  # the node lags behind by what the sockets hold
                peaks.append(_peak_of_children())
        sock.sendall(wire.CLOSE)
        receiver.join()
    growth = (peaks[1] - peaks[0]) / 1e6
    return f"growth of memory over {count} acquisitions, MB", f"{growth:.1f}", "flat"


def methods() -> Iterator[Row]:
    """Calibration and iterative reconstruction of one slice, best of three."""
    calibration = cine_slice(1, 256, 256, 12, 4, 24)
    cine = cine_slice(12, 192, 160, 10, 4, 24)
    solve = method_class("cg_sense")(device="cpu")
    for title, target, work in (
        ("ESPIRiT, 256 x 256, 12 coils, s", "<= 2", lambda: espirit(calibration.acs, (256, 256))),
        ("CG-SENSE, 12 frames, 192 x 160, 10 coils, s", "<= 3", lambda: solve(cine)),
    ):
        seconds = []
        for _ in range(3):
            begun = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - begun)
        yield title, f"{min(seconds):.2f}", target


def noise_lines(channels: int, samples: int) -> Iterator[bytes]:
    """Encoded noise lines."""
    rng = np.random.default_rng(1)
    for _ in range(NOISE_LINES):
        noise = rng.standard_normal((2, channels, samples)).astype(np.float32)
        line = ismrmrd.Acquisition.from_array(noise[0] + 1j * noise[1], sample_time_us=5.0)
        line.set_flag(ismrmrd.ACQ_IS_NOISE_MEASUREMENT)
        yield b"".join(encode(line))


def answer(sock: socket.socket) -> None:
    """Wait until the node answers."""
    sock.sendall(WAVEFORM)
    missing = len(WAVEFORM)
    while missing:
        missing -= len(sock.recv(missing))


def _throw_away(channel: Channel, answered: threading.Semaphore) -> None:
    for message in channel:
        if isinstance(message, ismrmrd.Waveform):
            answered.release()


def _peak_of_children() -> float:
    """Largest resident memory so far of this process's children, in bytes (Linux only)."""
    peaks = [0.0]
    for task in Path("/proc/self/task").iterdir():
        for child in (task / "children").read_text().split():
            status = (Path("/proc") / child / "status").read_text().splitlines()
            peaks += [1024.0 * int(line.split()[1]) for line in status if line.startswith("VmHWM")]
    return max(peaks)


if __name__ == "__main__":
    main()
