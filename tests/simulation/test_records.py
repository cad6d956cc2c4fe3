import dataclasses

import numpy as np
import pytest
from ismrmrd import Dataset, xsd

from onebreath.simulation.scan import ScanOptions, SimulatedScan, simulate

SMALL = ScanOptions(matrix=(48, 32), slices=2, phases=3, coils=8, acs_lines=12, acceleration=3, noise_lines=4)


def scan_of(**changes: object) -> SimulatedScan:
    return simulate(dataclasses.replace(SMALL, **changes))


def flags(acquisition) -> set[int]:
    return {flag for flag in range(1, 65) if acquisition.is_flag_set(flag)}


def test_noise_lines_lead_with_their_own_dwell_time() -> None:
    scan = scan_of(noise_samples=100, noise_dwell_us=10.0)
    for a in scan.acquisitions[:4]:
        assert flags(a) == {19}
        assert (a.number_of_samples, a.center_sample, a.idx.user[5]) == (100, 0, 0)
        assert a.sample_time_us == pytest.approx(10.0)
    assert not any(a.is_flag_set(19) for a in scan.acquisitions[4:])


def test_noise_scan_can_be_left_out_of_a_noisy_scan() -> None:
    scan = scan_of(noise_lines=0)
    assert not any(a.is_flag_set(19) for a in scan.acquisitions)
    assert [a.scan_counter for a in scan.acquisitions[:2]] == [1, 2]
    again = scan_of(noise_lines=0, repetitions=2).acquisitions
    first = next(a for a in again if a.idx.repetition == 1)
    # The heart stands as it did, so two repetitions differ by their noise alone.
    assert not np.array_equal(first.data, again[0].data)


def test_counters_and_time_stamps_run_on() -> None:
    acquisitions = scan_of(repetitions=2).acquisitions
    assert [a.scan_counter for a in acquisitions] == list(range(1, len(acquisitions) + 1))
    assert np.all(np.diff([a.acquisition_time_stamp for a in acquisitions]) >= 0)
    assert {a.idx.repetition for a in acquisitions} == {0, 1}


def test_embedded_calibration_lines_are_flagged_as_on_the_scanner() -> None:
    scan = scan_of(snr=0.0, slices=1)
    centre = scan.header.encoding[0].encodingLimits.kspace_encoding_step_1.center
    seen = {}
    for a in scan.acquisitions:
        seen.setdefault((a.idx.phase, a.idx.kspace_encode_step_1), set()).update(flags(a) & {20, 21})
        assert a.idx.user[5] == centre == 24
    for (_, line), marks in seen.items():
        if 18 <= line < 30:
            assert marks == ({21} if line % 3 == 0 else {20})
        else:
            assert marks == set()
            assert line % 3 == 0
    assert len(seen) == 3 * (16 + 8)


def test_boundary_flags_stand_on_the_first_and_last_image_lines() -> None:
    acquisitions = scan_of(repetitions=2, acs_mode="separate", extra_lines=("navigation",)).acquisitions
    for slice_index in (0, 1):
        for repetition in (0, 1):
            lines = [
                a
                for a in acquisitions
                if (a.idx.slice, a.idx.repetition) == (slice_index, repetition) and not flags(a) & {19, 20, 23}
            ]
            assert flags(lines[0]) == {7}
            assert 8 in flags(lines[-1])
            assert all(not flags(a) & {7, 8} for a in lines[1:-1])
    assert [a.scan_counter for a in acquisitions if a.is_flag_set(25)] == [len(acquisitions)]
    assert sum(a.is_flag_set(14) for a in acquisitions) == 2


def test_separate_calibration_lines_come_before_the_slice() -> None:
    scan = scan_of(acs_mode="separate", snr=0.0, slices=1)
    kinds = [20 in flags(a) for a in scan.acquisitions]
    assert kinds == [True] * 12 + [False] * (len(kinds) - 12)
    assert [a.idx.kspace_encode_step_1 for a in scan.acquisitions[:12]] == list(range(18, 30))
    assert scan.header.encoding[0].parallelImaging.calibrationMode == xsd.calibrationModeType.SEPARATE


def test_extra_lines_are_inserted_and_hold_a_strong_echo() -> None:
    plain, inserted = scan_of(snr=0.0), scan_of(snr=0.0, extra_lines=("dummy", "rt_feedback"), extra_every=10)
    extra = [a for a in inserted.acquisitions if flags(a) & {27, 28}]
    assert len(extra) == 2 * -(-len(plain.acquisitions) // 10)
    assert len(inserted.acquisitions) == len(plain.acquisitions) + len(extra)
    strongest = max(np.abs(a.data).max() for a in plain.acquisitions)
    assert all(np.abs(a.data).max() > 0.5 * strongest for a in extra)
    assert np.array_equal(plain.truth["mask"], inserted.truth["mask"])


def test_time_since_the_r_wave_goes_with_the_phase_counter() -> None:
    scan = scan_of(snr=0.0, lines_per_segment=6, acs_mode="none", slices=1)
    for a in scan.acquisitions:
        since = a.physiology_time_stamp[0] * 2.5
        assert a.idx.phase * 18 - 2.5 <= since < (a.idx.phase + 1) * 18


def test_slices_have_their_positions_and_right_handed_directions() -> None:
    scan = scan_of(slices=4, slice_order="interleaved", orientation="coronal_rl", oblique_deg=(20.0, -35.0))
    for a in scan.acquisitions:
        read, phase, normal = (np.array(v) for v in (a.read_dir, a.phase_dir, a.slice_dir))
        assert np.allclose(np.cross(phase, read), normal, atol=1e-6)
        assert np.allclose(a.position, scan.truth["position_mm"][a.idx.slice], atol=1e-4)
    along = scan.truth["position_mm"] @ scan.truth["slice_dir"]
    # Four slices, interleaved: the second and the fourth come first; the counter counts in time.
    assert np.allclose(along - along.mean(), [-5, 15, -15, 5])
    times = {a.idx.slice: a.acquisition_time_stamp for a in reversed(scan.acquisitions) if not a.is_flag_set(19)}
    assert sorted(times, key=times.get) == [0, 1, 2, 3]


def test_real_scanner_has_the_same_handedness(shared) -> None:
    file = next((shared / "data" / "siemens_snr_r3").glob("*.h5"))
    with Dataset(file, create_if_needed=False) as dataset:
        a = dataset.read_acquisition(1)
    assert np.allclose(np.cross(a.phase_dir, a.read_dir), a.slice_dir, atol=1e-6)


def test_ecg_peaks_and_triggers_lie_at_the_r_waves() -> None:
    scan = scan_of(rr_variability=0.08, ectopic_every=3)
    start = scan.waveforms[0].time_stamp
    ecg = np.concatenate([w.data for w in scan.waveforms], axis=1).astype(int)
    for first, second in zip(scan.waveforms, scan.waveforms[1:], strict=False):
        assert second.time_stamp == first.time_stamp + first.number_of_samples
    lines = [a for a in scan.acquisitions if not a.is_flag_set(19)]
    origin = lines[0].acquisition_time_stamp - lines[0].physiology_time_stamp[0]
    waves = np.flatnonzero(ecg[4]) + start
    expected = origin + np.concatenate([[0], np.cumsum(scan.truth["rr_intervals_ms"])]) / 2.5
    assert np.array_equal(waves[: len(expected) - 1], expected[:-1])
    for wave in waves[:-1]:
        near = ecg[0, wave - start - 40 : wave - start + 41]
        assert abs(int(np.argmax(near)) - 40) <= 1
    assert {w.waveform_id for w in scan.waveforms} == {0}


def test_scan_without_ecg_and_labels_says_so() -> None:
    scan = scan_of(ecg=False, coil_labels=False)
    assert scan.waveforms == []
    assert scan.header.waveformInformation == []
    assert scan.header.acquisitionSystemInformation.coilLabel == []


def test_written_file_reads_back_with_the_ismrmrd_library(tmp_path) -> None:
    scan = scan_of()
    truth = scan.write(tmp_path / "scan.h5")
    with Dataset(tmp_path / "scan.h5", create_if_needed=False) as dataset:
        assert xsd.CreateFromDocument(dataset.read_xml_header()) == scan.header
        assert dataset.number_of_acquisitions() == len(scan.acquisitions)
        assert dataset.number_of_waveforms() == len(scan.waveforms)
        for index in (0, 10, len(scan.acquisitions) - 1):
            assert dataset.read_acquisition(index) == scan.acquisitions[index]
        assert dataset.read_waveform(0) == scan.waveforms[0]
    with np.load(truth) as arrays:
        assert np.array_equal(arrays["image"], scan.truth["image"])


def test_header_states_the_scan() -> None:
    scan = scan_of(acs_mode="interleaved", contrasts=2, protocol_name="cine_sa")
    header, encoding = scan.header, scan.header.encoding[0]
    assert header.version is None
    assert header.measurementInformation.protocolName == "cine_sa"
    assert (encoding.encodedSpace.matrixSize.x, encoding.reconSpace.matrixSize.x) == (64, 32)
    assert encoding.encodedSpace.fieldOfView_mm.x == 2 * encoding.reconSpace.fieldOfView_mm.x
    assert encoding.parallelImaging.accelerationFactor.kspace_encoding_step_1 == 3
    assert encoding.parallelImaging.calibrationMode == xsd.calibrationModeType.INTERLEAVED
    assert header.sequenceParameters.TE == [1.5, 3.0]
    assert header.acquisitionSystemInformation.relativeReceiverNoiseBandwidth == pytest.approx(0.793)
    assert len(header.acquisitionSystemInformation.coilLabel) == 8
    for name in ("slice", "phase", "contrast", "repetition", "segment"):
        largest = max(getattr(a.idx, name) for a in scan.acquisitions)
        assert getattr(encoding.encodingLimits, name).maximum == largest
