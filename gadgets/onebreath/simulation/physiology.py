"""Heartbeats, breathing and the ECG."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

TICK_MS = 2.5
"""Unit of the time stamps in raw data of Siemens scanners."""

ECG_BASELINE = 2048
"""Value of the ECG channels at rest, the middle of 12 bits."""

ECG_TRIGGER = 16384
"""Value of the trigger channel at an R-wave; zero elsewhere."""

# Premature beats and the pause after them, as fractions of the mean RR interval: together two beats long.
_PREMATURE, _PAUSE = 0.62, 1.38
# Bumps of the ECG: amplitude relative to R, centre in ms (P, Q, R, S from the R-wave), standard deviation in ms.
_WAVES = {"P": (0.15, -160, 22), "Q": (-0.12, -24, 8), "R": (1.0, 0, 9), "S": (-0.22, 26, 9), "T": (0.3, 0, 40)}
_LEAD_GAINS = (900, 650, 420, -300)
_SAMPLES_PER_WAVEFORM = 400
# Cardiac phases are rounded to invisibly small steps, so that the same heart is not drawn twice.
_PHASE_STEPS = 256


@dataclass(frozen=True)
class Rhythm:
    """Heartbeats of a scan.

    Attributes
    ----------
    intervals_ms
        RR intervals (beat,); the first R-wave is at time 0.
    """

    intervals_ms: np.ndarray

    @property
    def r_waves_ms(self) -> np.ndarray:
        """Times of the R-waves (beat,)."""
        return np.concatenate([[0.0], np.cumsum(self.intervals_ms)[:-1]])

    def beat(self, time_ms: float) -> int:
        """Index of the heartbeat at a time."""
        return int(np.searchsorted(self.r_waves_ms, time_ms, side="right")) - 1

    def next_r_wave(self, time_ms: float) -> float:
        """First R-wave at or after a time."""
        return float(self.r_waves_ms[np.searchsorted(self.r_waves_ms, time_ms - 1e-6)])

    def since_r(self, time_ms: float) -> float:
        """Time since the last R-wave."""
        return time_ms - float(self.r_waves_ms[self.beat(time_ms)])

    def heart(self, time_ms: float) -> float:
        """Cardiac phase at a time, rounded to invisibly small steps."""
        since = round(self.since_r(time_ms), 3)
        phase = cardiac_phase(since, self.intervals_ms[self.beat(time_ms)])
        return round(float(phase) * _PHASE_STEPS) % _PHASE_STEPS / _PHASE_STEPS


def rr_intervals(count: int, mean_ms: float, variability: float, ectopic_every: int, seed: int) -> np.ndarray:
    """Random RR intervals (beat,) in ms, multiples of `TICK_MS`.

    Parameters
    ----------
    count
        Number of beats.
    mean_ms
        Mean interval.
    variability
        Standard deviation as a fraction of the mean, of a normal distribution clipped at three standard deviations.
    ectopic_every
        Every n-th beat is an extrasystole, followed by a compensatory pause; 0 for none.
    seed
        Seed of the random numbers.
    """
    deviation = np.clip(np.random.default_rng([seed, 1]).standard_normal(count), -3, 3)
    relative = np.maximum(1 + variability * deviation, 0.3)
    if ectopic_every:
        relative[ectopic_every - 1 :: ectopic_every] = _PREMATURE
        relative[ectopic_every::ectopic_every] = _PAUSE
    return np.round(mean_ms * relative / TICK_MS) * TICK_MS


def systole_ms(rr_ms: np.ndarray | float) -> np.ndarray:
    """Duration of contraction in ms: it shortens with the root of the RR interval (Bazett, Heart 7:353, 1920)."""
    return 330 * np.sqrt(np.asarray(rr_ms) / 1000)


def cardiac_phase(since_r_ms: np.ndarray | float, rr_ms: np.ndarray | float) -> np.ndarray:
    """Phase of the heart in [0, 1): 0 end-diastole, 0.4 end-systole; changes of heart rate stretch the diastole.

    Parameters
    ----------
    since_r_ms
        Time since the last R-wave in ms.
    rr_ms
        RR interval at that time, in ms.
    """
    since, rr = np.asarray(since_r_ms, float), np.asarray(rr_ms, float)
    systole = systole_ms(rr)
    early = 0.4 * since / systole
    late = 0.4 + 0.6 * (since - systole) / (rr - systole)
    return np.where(since < systole, early, late) % 1.0


def contraction(phase: np.ndarray | float) -> np.ndarray:
    """Contraction of the ventricles, 0 (end-diastole) to 1 (end-systole), at a cardiac phase.

    Ejection, a short rest, rapid filling to a quarter, diastasis, atrial kick.
    """
    phase = np.asarray(phase, float) % 1.0
    ejection = _ease(phase / 0.36)
    filling = 1 - 0.75 * _ease((phase - 0.44) / 0.2)
    kick = 0.25 * _ease((phase - 0.84) / 0.14)
    return np.where(phase < 0.4, ejection, filling - kick)


def breathing_mm(
    time_ms: np.ndarray | float, drift_mm_per_s: float, amplitude_mm: float, period_s: float
) -> np.ndarray:
    """Displacement of heart and liver in mm at a time since the start of a slice in ms.

    Breathing follows the fourth power of a cosine, which rests at end-expiration (A. E. Lujan et al., Med Phys 26:715,
    1999).
    """
    seconds = np.asarray(time_ms, float) / 1000
    return drift_mm_per_s * seconds + amplitude_mm * np.sin(np.pi * seconds / period_s) ** 4


def ecg(r_waves_ms: np.ndarray, first_ms: float, last_ms: float, seed: int) -> list[tuple[float, np.ndarray]]:
    """ECG between two times.

    Parameters
    ----------
    r_waves_ms
        Times of the R-waves (beat,).
    first_ms, last_ms
        Start and end of the record.
    seed
        Seed of the electrical noise.

    Returns
    -------
    list
        Pairs of start time in ms and samples ``(5, n)`` uint32, one sample per tick: four leads about `ECG_BASELINE`,
        then the trigger channel.
    """
    start = np.floor(first_ms / TICK_MS) * TICK_MS
    times = np.arange(start, last_ms, TICK_MS)
    waves = np.zeros(times.size)
    for index, r_wave in enumerate(r_waves_ms):
        rr = r_waves_ms[min(index + 1, len(r_waves_ms) - 1)] - r_wave or 1000.0
        for name, (height, centre, width) in _WAVES.items():
            at = r_wave + (0.9 * systole_ms(rr) if name == "T" else centre)
            waves += height * np.exp(-((times - at) ** 2) / (2 * width**2))
    noise = np.random.default_rng([seed, 2]).normal(0, 4, (len(_LEAD_GAINS), times.size))
    leads = np.rint(ECG_BASELINE + np.outer(_LEAD_GAINS, waves) + noise)
    trigger = np.zeros(times.size)
    inside = (r_waves_ms >= start) & (r_waves_ms < start + times.size * TICK_MS)
    trigger[np.floor((r_waves_ms[inside] - start) / TICK_MS).astype(int)] = ECG_TRIGGER
    samples = np.vstack([leads, trigger[None]]).astype(np.uint32)
    starts = range(0, times.size, _SAMPLES_PER_WAVEFORM)
    return [(float(times[i]), samples[:, i : i + _SAMPLES_PER_WAVEFORM]) for i in starts]


def _ease(fraction: np.ndarray) -> np.ndarray:
    """Smooth transition from 0 to 1 as the fraction goes from 0 to 1."""
    return 0.5 - 0.5 * np.cos(np.pi * np.clip(fraction, 0, 1))
