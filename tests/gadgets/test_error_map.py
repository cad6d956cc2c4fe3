"""The error map of `reconstruct`: a bound that holds for nine of ten pixels."""

from dataclasses import replace

import ismrmrd
import numpy as np
import pytest

from onebreath.chain.gadget import parse_properties
from onebreath.chain.notes import read_warning
from onebreath.gadgets.reconstruct.error_map import error_bound, hidden_by_maps
from onebreath.gadgets.reconstruct.reconstruct import Reconstruct
from onebreath.methods.base import SliceData
from onebreath.mrd.buffers import with_maps
from onebreath.mri.sampling import describe
from tests.chain.running import images_of, run, simulated, steps, stream_of
from tests.gadgets.test_guard import meta_of, scan
from tests.helpers import complex_normal
from tests.scans import coil_scan

KNOWN = "Onebreath_reconstruct_choice_error_90_percent"
CROPPED = 8
"""Rows that hold the edge of the disc."""


def maps_of(cropped_rows=0, **properties):
    data, head = scan()
    if cropped_rows:
        maps = coil_scan()[1].astype(np.complex64)
        maps[:, :cropped_rows] = 0
        data = with_maps(data, maps[None, None])
    chosen = {"method": "cg_sense", "send_out_error_map": True, "noise_map_samples": 16, **properties}
    gadget = Reconstruct(head, parse_properties(Reconstruct, {key: str(value) for key, value in chosen.items()}))
    return {array.headers[0, 0, 0].image_series_index: array for array in gadget.process([data])}


def test_noise_alone_is_within_the_bound_in_nine_of_ten_pixels():
    noise = np.abs(complex_normal(np.random.default_rng(0), (4, 64, 64)) + 50) - 50
    error = float(np.linalg.norm(noise) / np.linalg.norm(50 + noise))
    bound, lost = error_bound(50 + noise, np.ones((1, 64, 64)), error)
    assert np.mean(np.abs(noise) <= bound) == pytest.approx(0.9, abs=0.02)
    assert lost < 0.05


def test_lost_signal_is_where_the_detail_is():
    """The bound's energy is that of the estimated error, and the edge of a disc has the most of it."""
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    image = np.where(np.hypot(y, x) < 0.6, 30.0, 1.0)[None]
    bound, lost = error_bound(image, np.full_like(image, 0.01), 0.05)
    assert lost == pytest.approx(1, abs=0.01)
    assert np.linalg.norm(bound / 1.645) == pytest.approx(0.05 * np.linalg.norm(image), rel=1e-3)
    assert bound[0, 32, 6 + 7] > 2 * bound[0, 32, 32] > 0


def test_the_map_is_a_series_of_its_own_and_bounds_the_true_error():
    """It is made without candidates and without a share of the time too, as it is asked for."""
    made = maps_of(choose_within=0)
    assert list(made) == [1, 22]
    truth = np.abs(coil_scan(noise=1.0)[0])
    images, bound = (np.abs(made[number].data[:, :, 0, 0, :, 0, 0]).transpose(2, 1, 0) for number in (1, 22))
    meta = meta_of(made[22])
    assert meta["GADGETRON_DataRole"] == "Error_MAP"
    assert meta["Onebreath_reconstruct_error_map"].startswith("90 % bound of an error of 0.")
    assert float(meta["Onebreath_reconstruct_choice_error"]) > 0
    assert images.shape == bound.shape == truth.shape
    assert 0.8 <= np.mean(np.abs(images - truth) <= bound) <= 1


def test_where_maps_are_cropped_the_bound_is_what_the_calibration_lines_show():
    """The image is zero there; a bound of zero would say that nothing is missing."""
    made = maps_of(CROPPED)
    truth = np.abs(coil_scan(noise=1.0)[0])[:, :CROPPED]
    images, bound = (np.abs(made[number].data[:, :CROPPED, 0, 0, :, 0, 0]).transpose(2, 1, 0) for number in (1, 22))
    assert np.all(images == 0)
    assert np.mean(truth <= bound) >= 0.85
    assert np.median(bound[truth > 0]) > 0.5 * truth.max()
    assert np.median(bound[truth == 0]) < 0.1 * truth.max()


def test_where_maps_are_whole_or_nothing_was_calibrated_there_is_nothing_hidden():
    _, maps, kspace = coil_scan(noise=1.0)
    mask = np.ones((1, 36, 1), bool)
    whole = SliceData(kspace, mask, kspace[0, :, 14:22], 14, maps[None], describe(mask))
    assert not hidden_by_maps(whole).any()
    assert not hidden_by_maps(replace(whole, acs=None, maps=0 * maps[None])).any()


def test_without_an_estimate_there_is_no_map_and_a_word_about_it():
    data, head = scan()
    chosen = {"method": "grappa", "send_out_error_map": "true", "send_out_snr_map": "true", "fallback": "none"}
    gadget = Reconstruct(head, parse_properties(Reconstruct, chosen))
    gadget.chooser._to_judge = False
    sent = list(gadget.process([data]))
    arrays = [one for one in sent if read_warning(one) is None]
    assert [array.headers[0, 0, 0].image_series_index for array in arrays] == [1, 300]
    assert any(
        "No error map of slice 0, set 0 is sent: its error is not known" in (read_warning(one) or "") for one in sent
    )


@pytest.mark.parametrize("why", ["no noise lines", "partial Fourier", "another slice"])
def test_where_the_meta_says_that_the_error_is_not_known_no_map_bounds_it(why):
    options = {
        "acceleration": 2,
        "acs_mode": "embedded",
        "slices": 2,
        "noise_lines": 0 if why == "no noise lines" else 64,
    }
    simulation = simulated(**options, partial_fourier=0.7 if why == "partial Fourier" else 1.0, snr=50.0)
    messages = stream_of(simulation)
    if why == "another slice":
        rng, lines = np.random.default_rng(0), [one for one in messages if isinstance(one, ismrmrd.Acquisition)]
        level = next(np.std(one.data) for one in lines if one.is_flag_set(ismrmrd.ACQ_IS_NOISE_MEASUREMENT))
        for line in lines:
            if line.idx.slice == 1:
                line.data[:] += 5 * level * complex_normal(rng, line.data.shape)
    asked = {"send_out_error_map": "true", "noise_map_samples": "4"}
    sent = run(simulation.header, messages, steps("cg_sense", reconstruct=asked))
    known = {one.slice for one in images_of(sent, 22)}
    for image in images_of(sent):
        unknown = image.meta.get(KNOWN, "not known").startswith("not known")
        assert unknown == ("Onebreath_reconstruct_choice_error" not in image.meta)
        assert unknown == (image.slice not in known)
    assert known == ({0} if why == "another slice" else set())
    assert any("No error map" in (read_warning(one) or "") for one in sent)
