"""Options of the simulator; the command line is generated from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from onebreath.errors import ConfigError
from onebreath.simulation.geometry import ORIENTATIONS

MODES = ("static", "prospective", "retrospective", "realtime")
ACS_MODES = ("embedded", "separate", "interleaved", "none")
PATTERNS = ("uniform", "kt", "vista")
SLICE_ORDERS = ("ascending", "interleaved", "per_line")
ANATOMIES = ("chest", "textured", "phantom")
EXTRA_LINES = {
    "navigation": 23,
    "phase_correction": 24,
    "hp_feedback": 26,
    "dummy": 27,
    "rt_feedback": 28,
    "surface_coil_correction": 29,
}
"""Kinds of lines that are not image lines, with their ISMRMRD flag (counted from 1)."""

LOST_COUNTERS = ("slice", "contrast", "phase", "repetition", "set")
SECTIONS = (
    "encodingLimits",
    "trajectory",
    "parallelImaging",
    "acquisitionSystemInformation",
    "measurementInformation",
    "experimentalConditions",
    "sequenceParameters",
    "userParameters",
)
CONFLICTS = {
    "surface_coil_correction": "surface_coil_correction (all are flagged as lines of a correction scan)",
    "calibration": "calibration (those for calibration and imaging are flagged for calibration only as well)",
    "dummy": "dummy (every seventh is flagged as a dummy)",
}


def _option(default: Any, text: str, choices: tuple[str, ...] = (), metavar: Any = None) -> Any:
    return field(default=default, metadata={"help": text, "choices": choices, "metavar": metavar})


@dataclass(frozen=True)
class ScanOptions:
    """Everything that determines a simulated scan; the help text of a field is its documentation.

    Raises
    ------
    ConfigError
        If a value is out of range or two values contradict each other; the text names the fields.
    """

    matrix: tuple[int, int] = _option((128, 128), "matrix size along phase encoding and readout", (), ("NY", "NX"))
    fov_mm: tuple[float, float] = _option(
        (290.0, 360.0), "field of view along phase encoding and readout in mm", (), ("FY", "FX")
    )
    slices: int = _option(3, "number of slices")
    thickness_mm: float = _option(8.0, "slice thickness in mm")
    gap_mm: float = _option(2.0, "gap between slices in mm")
    slice_order: str = _option(
        "ascending",
        "order in time: ascending; interleaved (every other slice first, the slice counter counts in time); or "
        "per_line (the slice changes with every line; static and realtime only)",
        SLICE_ORDERS,
    )
    anatomy: str = _option(
        "chest",
        "chest (with a beating heart), textured (the same of uneven tissues, as in a body) or phantom (a uniform disc "
        "at rest, for onebreath accept)",
        ANATOMIES,
    )
    mode: str = _option(
        "prospective",
        "static (heart at rest); prospective (segmented, fixed number of phases after each trigger); retrospective "
        "(segmented, continuous, the phase counter counts the segments since the R-wave); realtime (one frame after "
        "another, counted as phases)",
        MODES,
    )
    phases: int = _option(12, "cardiac phases, or frames of a static or realtime scan")
    lines_per_segment: int = _option(0, "lines per phase and heartbeat of a segmented scan; 0 fills the RR interval")
    coils: int = _option(10, "receiver channels, 1 to 64")
    acceleration: int = _option(4, "distance of the acquired lines")
    partitions: int = _option(1, "partitions of a three-dimensional scan of one slab; thickness_mm is that of each")
    partition_oversampling: float = _option(1.0, "encoded partitions per partition of the image, 1 to 2")
    partition_acceleration: int = _option(1, "distance of the acquired partitions (--acceleration 2x3 sets both)")
    caipi_shift: int = _option(0, "shift in lines from each acquired partition to the next")
    partition_partial_fourier: float = _option(
        1.0, "acquired fraction of the partitions, above 0.5; early ones are left out"
    )
    acs_partitions: int = _option(0, "partitions of the calibration block; 0: as many as acs_lines, at most all")
    elliptical: bool = _option(False, "leave out the corners of the plane of both phase encodings")
    pattern: str = _option(
        "uniform",
        "uniform (every frame has the same lines), kt (lines shift by one from frame to frame) or vista (random, "
        "denser towards the centre, another set of lines in each frame)",
        PATTERNS,
    )
    acs_mode: str = _option(
        "embedded",
        "calibration lines: embedded in each frame, separate before each slice, interleaved (none, the lines shift "
        "from frame to frame, TPAT) or none",
        ACS_MODES,
    )
    acs_lines: int = _option(24, "number of calibration lines about the centre")
    partial_fourier: float = _option(1.0, "acquired fraction along phase encoding, above 0.5; early lines are left out")
    phase_resolution: float = _option(1.0, "fraction of the matrix acquired symmetrically along phase encoding")
    echo_fraction: float = _option(1.0, "acquired fraction of the readout, above 0.5; early samples are left out")
    readout_oversampling: int = _option(2, "readout oversampling, 1 or 2")
    averages: int = _option(1, "averages")
    repetitions: int = _option(1, "repetitions of the whole scan")
    sets: int = _option(1, "sets; each turns the phase of the image by 0.5 rad")
    contrasts: int = _option(1, "echoes per repetition time; each decays with the T2 of blood")
    tr_ms: float = _option(3.0, "repetition time in ms")
    te_ms: float = _option(1.5, "echo time of the first echo in ms, also the distance of the echoes")
    flip_deg: float = _option(50.0, "flip angle in degrees")
    field_t: float = _option(1.5, "field strength in tesla, 1.5 or 3")
    dwell_us: float = _option(2.4, "dwell time of the image lines in microseconds, with readout oversampling")
    rr_ms: float = _option(900.0, "mean RR interval in ms")
    rr_variability: float = _option(0.0, "standard deviation of the RR interval as a fraction of it")
    ectopic_every: int = _option(0, "every n-th beat comes early and is followed by a pause; 0 for none")
    breathing_drift_mm_per_s: float = _option(0.0, "drift of the organs in mm per s since the start of a slice")
    breathing_amplitude_mm: float = _option(0.0, "motion of the organs between end-expiration and inspiration in mm")
    breathing_period_s: float = _option(4.0, "duration of a breath in s")
    snr: float = _option(
        60.0,
        "magnitude of blood in the left ventricle, fully sampled, in SNR units; 0: no noise and no noise scan",
    )
    noise_correlation: float = _option(0.4, "correlation of the noise between channels, 0 to below 1")
    noise_lines: int = _option(32, "lines of the noise scan; 0 leaves it out")
    noise_samples: int = _option(256, "samples of a noise line")
    noise_dwell_us: float = _option(20.0, "dwell time of the noise lines in microseconds")
    noise_bandwidth: float = _option(0.793, "relative receiver noise bandwidth")
    extra_lines: tuple[str, ...] = _option(
        (), "kinds of lines other than image lines to insert into the scan", tuple(EXTRA_LINES), "KIND"
    )
    extra_every: int = _option(40, "number of image lines from one group of extra lines to the next")
    image_space: int = _option(
        0, "encoding space of the image; earlier spaces hold a few low-resolution lines of a calibration scan"
    )
    lost_counters: tuple[str, ...] = _option(
        (), "counters that are 0 in all lines; position or order must distinguish them", LOST_COUNTERS, "COUNTER"
    )
    epi: bool = _option(
        False, "every other image line is read backwards, and three phase-correction lines come before each slice"
    )
    without_sections: tuple[str, ...] = _option((), "sections missing from the header", SECTIONS, "SECTION")
    flag_conflicts: tuple[str, ...] = _option(
        (),
        "wrong flags of image lines: " + "; ".join(CONFLICTS.values()),
        tuple(CONFLICTS),
        "KIND",
    )
    orientation: str = _option("transverse_ap", "plane and direction of phase encoding", tuple(ORIENTATIONS))
    oblique_deg: tuple[float, float] = _option(
        (0.0, 0.0),
        "tilt of the plane about the readout, then about the phase encoding direction, in degrees",
        (),
        ("READ", "PHASE"),
    )
    position_mm: tuple[float, float, float] = _option(
        (20.0, 30.0, -10.0), "centre of the middle slice in mm, patient coordinates LPS", (), ("L", "P", "S")
    )
    coil_labels: bool = _option(True, "name the channels in the header")
    ecg: bool = _option(True, "record the ECG as waveforms")
    protocol_name: str = _option("onebreath_cine", "protocol name in the header")
    seed: int = _option(0, "seed of noise, heart rate and anatomy; the same seed gives the same file")

    def __post_init__(self) -> None:
        _check_names(self)
        _check_ranges(self)
        _check_combinations(self)

    @property
    def encoded_partitions(self) -> int:
        """Number of partitions including oversampling."""
        return round(self.partitions * self.partition_oversampling)

    @property
    def segmented(self) -> bool:
        """Whether the lines of a frame are acquired over several heartbeats."""
        return self.mode in ("prospective", "retrospective")


def _check_names(options: ScanOptions) -> None:
    known = {
        "anatomy": ANATOMIES,
        "mode": MODES,
        "pattern": PATTERNS,
        "acs_mode": ACS_MODES,
        "slice_order": SLICE_ORDERS,
        "orientation": tuple(ORIENTATIONS),
    }
    for name, choices in known.items():
        _require(getattr(options, name) in choices, f"{name} {getattr(options, name)!r} is none of {choices}")
    several = {
        "extra_lines": EXTRA_LINES,
        "lost_counters": LOST_COUNTERS,
        "without_sections": SECTIONS,
        "flag_conflicts": CONFLICTS,
    }
    for name, kinds in several.items():
        unknown = set(getattr(options, name)) - set(kinds)
        _require(not unknown, f"{name} {sorted(unknown)} are none of {tuple(kinds)}")


def _check_ranges(options: ScanOptions) -> None:
    counts = (
        "slices",
        "partitions",
        "partition_acceleration",
        "phases",
        "acceleration",
        "averages",
        "repetitions",
        "sets",
        "contrasts",
        "noise_samples",
        "extra_every",
    )
    for name in counts:
        _require(getattr(options, name) >= 1, f"{name} must be at least 1, not {getattr(options, name)}")
    amounts = (
        "image_space",
        "lines_per_segment",
        "caipi_shift",
        "acs_partitions",
        "acs_lines",
        "gap_mm",
        "rr_variability",
        "ectopic_every",
        "snr",
        "noise_lines",
        "seed",
    )
    for name in amounts:
        _require(getattr(options, name) >= 0, f"{name} must not be negative, but is {getattr(options, name)}")
    times = (
        "thickness_mm",
        "tr_ms",
        "te_ms",
        "dwell_us",
        "noise_dwell_us",
        "rr_ms",
        "breathing_period_s",
        "noise_bandwidth",
    )
    for name in times:
        _require(getattr(options, name) > 0, f"{name} must be positive, not {getattr(options, name)}")
    for name in ("partial_fourier", "echo_fraction", "partition_partial_fourier"):
        _require(0.5 < getattr(options, name) <= 1, f"{name} must be above 0.5 and at most 1")
    _require(1 <= options.partition_oversampling <= 2, "partition_oversampling must be 1 to 2")
    _require(0 < options.phase_resolution <= 1, "phase_resolution must be above 0 and at most 1")
    _require(min(options.matrix) >= 8, f"matrix must be at least 8 x 8, not {options.matrix}")
    _require(min(options.fov_mm) > 0, f"fov_mm must be positive, not {options.fov_mm}")
    _require(1 <= options.coils <= 64, f"coils must be 1 to 64, not {options.coils}")
    _require(options.readout_oversampling in (1, 2), "readout_oversampling must be 1 or 2")
    _require(options.field_t in (1.5, 3.0), "field_t must be 1.5 or 3: relaxation times are known for these")
    _require(0 <= options.noise_correlation < 1, "noise_correlation must be 0 to below 1")
    _require(options.ectopic_every != 1, "ectopic_every must be 0 or at least 2: a premature beat needs a regular one")
    _require(0.5 <= options.noise_bandwidth <= 1, "noise_bandwidth must be 0.5 to 1")


def _check_combinations(options: ScanOptions) -> None:
    _require(
        not (options.slice_order == "per_line" and options.segmented),
        f"slice_order per_line needs mode static or realtime, not {options.mode}",
    )
    _require(
        not (options.acs_mode == "interleaved" and options.pattern == "vista"),
        "acs_mode interleaved shifts a regular pattern and cannot be combined with pattern vista",
    )
    volume = options.partitions > 1
    _require(not volume or options.slices == 1, "a scan with partitions has one slab: set slices to 1")
    _require(not volume or not options.segmented, "a scan with partitions needs mode static or realtime")
    _require(
        not volume or (options.pattern == "uniform" and options.acs_mode != "interleaved"),
        "a scan with partitions has pattern uniform, and acs_mode embedded, separate or none",
    )
    plane = (options.partition_acceleration, options.caipi_shift, options.partition_oversampling)
    _require(volume or plane == (1, 0, 1.0), "acceleration, shift and oversampling of partitions need partitions")
    readout_ms = options.matrix[1] * options.readout_oversampling * options.dwell_us * options.echo_fraction / 1000
    _require(
        readout_ms < options.tr_ms,
        f"the readout of {readout_ms:.2f} ms does not fit into tr_ms {options.tr_ms}: shorten dwell_us",
    )


def _require(condition: bool, text: str) -> None:
    if not condition:
        raise ConfigError(f"Cannot simulate this scan: {text}.")
