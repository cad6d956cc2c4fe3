import logging

import ismrmrd
import numpy as np
import pytest
from gadgetron.types import ImageArray

from onebreath.chain.gadget import parse_properties
from onebreath.chain.notes import note
from onebreath.errors import ConfigError, MethodError
from onebreath.gadgets.calibrate import Calibrate, CalibrateProperties
from onebreath.gadgets.reconstruct.reconstruct import Reconstruct
from tests.scans import coil_scan, header, recon_data

GADGETRON = {"snr_units": "gadgetron"}


def every(step: int, frames: int = 3, rows: int = 36) -> np.ndarray:
    lines = np.zeros((frames, rows), bool)
    lines[:, ::step] = True
    return lines


def block(frames: int = 3, rows: int = 36) -> np.ndarray:
    lines = np.zeros((frames, rows), bool)
    lines[:, 10:26] = True
    return lines


def run(data, head=None, notes=(), **properties) -> list[ImageArray]:
    head = head or header(36, 32, phases=3)
    gadget = Reconstruct(head, parse_properties(Reconstruct, {"method": "cg_sense", **properties}))
    calibrated = Calibrate(head, CalibrateProperties(no_acs="pass", calibration_size=16)).process([data])
    return list(gadget.process([*notes, *calibrated]))


def image_of(array: ImageArray) -> np.ndarray:
    return array.data[:, :, 0, 0, :, 0, 0].transpose(2, 1, 0)


def meta_of(array: ImageArray, place: int = 0) -> dict:
    return ismrmrd.Meta.deserialize(array.meta[place])


def test_a_fully_sampled_slice_comes_back_in_its_own_scale():
    images, _, kspace = coil_scan()
    (array,) = run(recon_data(kspace, every(1)))
    assert array.data.shape == (32, 36, 1, 1, 3, 1, 1)
    assert np.abs(np.abs(image_of(array)) - np.abs(images)).max() < 0.05 * np.abs(images).max()


def test_headers_count_frames_and_lie_in_space_like_the_central_line():
    _, _, kspace = coil_scan()
    (array,) = run(recon_data(kspace, every(1)))
    heads = array.headers[:, 0, 0]
    assert [head.image_index for head in heads] == [1, 2, 3]
    assert [head.phase for head in heads] == [0, 1, 2]
    assert tuple(heads[0].position) == (10.0, 20.0, 30.0)
    assert tuple(heads[0].field_of_view) == (48.0, 54.0, 8.0)
    assert heads[0].acquisition_time_stamp == 1018, "the line through the centre"
    assert tuple(heads[0].matrix_size) == (32, 36, 1)


def test_decisions_stand_in_the_meta_in_both_dialects():
    _, _, kspace = coil_scan()
    (array,) = run(recon_data(kspace, every(1)), notes=[note("prewhiten", source="none")])
    meta = meta_of(array, 2)
    assert meta["Onebreath_prewhiten_source"] == "none"
    assert meta["Onebreath_calibrate_mode"] == "full"
    assert meta["Onebreath_reconstruct_method"] == "cg_sense"
    assert meta["GADGETRON_DataRole"] == meta["DataRole"] == "Image"
    assert meta["GADGETRON_ImageNumber"] == meta["ImageNumber"] == "3"
    assert meta["sampling_limits_E1"] == ["0", "18", "35"]
    assert meta["Keep_image_geometry"] == "1"


def test_notes_end_here_and_waveforms_pass():
    ecg = ismrmrd.Waveform.from_array(np.zeros((1, 4), np.uint32), waveform_id=0)
    gadget = Reconstruct(header(36, 32), parse_properties(Reconstruct, {"method": "zero_filled"}))
    assert list(gadget.process([note("sort", frames=3), ecg])) == [ecg]


def test_embedded_calibration_lines_help_an_iterative_method():
    images, _, kspace = coil_scan(noise=1.0)
    both = ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING
    data = recon_data(kspace, every(4), block(), flag=both)

    def error(array: ImageArray) -> float:
        return float(np.linalg.norm(np.abs(image_of(array)) - np.abs(images)))

    (merged,), (alone,) = run(data), run(data, acs_as_data="no")
    assert error(merged) < 0.9 * error(alone)
    assert meta_of(merged)["Onebreath_reconstruct_sampling"] == "uniform_acs"
    assert meta_of(alone)["Onebreath_reconstruct_sampling"] == "uniform"


def test_gadgetron_units_differ_by_the_factor_in_the_meta():
    _, _, kspace = coil_scan()
    data = recon_data(kspace, every(3), block())
    (transform,), (theirs,) = run(data), run(data, snr_units="gadgetron")
    factor = float(meta_of(transform)["Onebreath_reconstruct_snr_scale"])
    assert factor == pytest.approx(np.sqrt(36 / 12) / 3)
    assert np.allclose(theirs.data, factor * transform.data)


def test_grappa_sends_its_noise_maps():
    _, _, kspace = coil_scan()
    arrays = run(
        recon_data(kspace, every(2), block()), method="grappa", send_out_gfactor="true", send_out_snr_map="true"
    )
    assert [meta_of(array)["GADGETRON_DataRole"] for array in arrays] == ["Image", "Gfactor", "SNR_MAP"]
    assert [array.headers[0, 0, 0].image_series_index for array in arrays] == [1, 20, 300]
    assert meta_of(arrays[1])["Skip_processing_after_recon"] == "1"
    assert np.median(image_of(arrays[1]).real) > 0.9


def test_normality_of_the_noise_goes_out_beside_the_methods_own_maps():
    _, _, kspace = coil_scan(frames=1)
    asked = {"send_out_gfactor": "true", "send_out_normality_map": "true", "noise_map_samples": "30"}
    image, gfactor, normality = run(recon_data(kspace, every(2)[:1], block(1)), method="grappa", **asked)
    assert [meta_of(array)["GADGETRON_DataRole"] for array in (gfactor, normality)] == ["Gfactor", "Normality"]
    assert normality.headers[0, 0, 0].image_series_index == 21
    told = meta_of(normality)
    assert told["Onebreath_reconstruct_gfactor"] == "closed form"
    assert told["Onebreath_reconstruct_normality"].startswith(
        "Lilliefors statistic over its 5 % limit, noise replicas, 30"
    )
    score, signal = image_of(normality).real, np.abs(image_of(image))
    assert np.mean(score[signal > 20] > 1) < 0.12


@pytest.mark.parametrize(("lines", "fill"), [(every(2), "zero_fill"), (every(2) & (np.arange(36) >= 8), "pocs")])
def test_noise_of_a_method_without_map_is_measured(lines, fill):
    """On the images as they are sent: repeated scans show the same noise."""
    images, _, kspace = coil_scan(frames=1, noise=1.0)
    maps = {"send_out_gfactor": "true", "send_out_snr_map": "true", "noise_map_samples": "100"}
    data, head = recon_data(kspace, lines[:1], block(1)), header(36, 32)
    image, gfactor, snr = run(data, head, partial_fourier=fill, **maps)
    assert [array.headers[0, 0, 0].image_series_index for array in (image, gfactor, snr)] == [1, 20, 300]
    told = meta_of(gfactor)["Onebreath_reconstruct_gfactor"]
    assert told.startswith("noise replicas, 100 samples, standard error 7.1%, noise over 1.")
    assert "Onebreath_reconstruct_gfactor" not in meta_of(image)
    std = np.abs(image_of(image)) / image_of(snr).real
    assert np.allclose(std, image_of(gfactor).real * float(told.split()[-1]), rtol=1e-3)
    repeated = []
    for seed in range(20):
        again = coil_scan(frames=1, noise=1.0, seed=seed)[2]
        repeated.append(np.abs(image_of(run(recon_data(again, lines[:1], block(1)), head, partial_fourier=fill)[0])))
    inside = np.abs(images) > 25
    assert np.std(repeated, axis=0, ddof=1)[inside].mean() == pytest.approx(std[inside].mean(), rel=0.1)


def test_closed_form_and_replicas_agree_where_lines_are_irregular():
    """In the SNR, the g-factor and the factor to the scale in which noise is g, none of which knows a lattice."""
    lines = block(1)
    lines[:, [0, 3, 8, 30, 33, 35]] = True
    _, _, kspace = coil_scan(frames=1, noise=1.0)
    asked = {"send_out_gfactor": "true", "send_out_snr_map": "true", "noise_map_samples": "40"}
    data = recon_data(kspace, lines)
    image, gfactor, snr = run(data, method="grappa", **asked)
    _, measured_gfactor, measured_snr = run(data, method="grappa", gfactor="false", **asked)
    assert meta_of(gfactor)["Onebreath_reconstruct_gfactor"].startswith("closed form")
    assert meta_of(gfactor)["Onebreath_reconstruct_sampling"] == "irregular_acs"
    inside = np.abs(image_of(image)) > 25
    noise = [np.abs(image_of(image))[inside] / image_of(one).real[inside] for one in (snr, measured_snr)]
    g = [image_of(one).real[inside] for one in (gfactor, measured_gfactor)]
    assert np.linalg.norm(noise[0]) == pytest.approx(np.linalg.norm(noise[1]), rel=0.04)
    assert np.linalg.norm(g[0]) == pytest.approx(np.linalg.norm(g[1]), rel=0.04)
    factor = float(meta_of(image)["Onebreath_reconstruct_snr_scale"])
    assert np.allclose(noise[0] * factor, g[0], rtol=1e-4)


@pytest.mark.parametrize("method", ["grappa", "cg_sense"])
def test_noise_is_g_in_gadgetrons_units_where_calibration_lines_carry_no_flag(method):
    """They lower g, which repeated scans show; they are no reason for another factor."""
    lines, told = every(3, 1) | block(1), {"send_out_gfactor": "true", "send_out_snr_map": "true"}
    repeated = [
        np.abs(image_of(run(recon_data(coil_scan(1, noise=1.0, seed=seed)[2], lines), method=method, **GADGETRON)[0]))
        for seed in range(24)
    ]
    data = recon_data(coil_scan(1, noise=1.0)[2], lines)
    image, gfactor, snr = run(data, method=method, noise_map_samples="24", **GADGETRON, **told)
    assert meta_of(image)["Onebreath_reconstruct_sampling"] == "uniform_acs"
    inside = np.abs(image_of(image)) > 8
    noise = np.abs(image_of(image))[inside] / image_of(snr).real[inside]
    assert np.allclose(noise, image_of(gfactor).real[inside], rtol=1e-3)
    assert np.linalg.norm(np.std(repeated, axis=0, ddof=1)[inside]) == pytest.approx(np.linalg.norm(noise), rel=0.08)


def test_frames_may_share_a_noise_map():
    _, _, kspace = coil_scan()
    data, maps = recon_data(kspace, every(2), block()), {"send_out_gfactor": "true", "noise_map_samples": "4"}
    own, shared = (run(data, **maps, noise_map_pool_frames=pool)[1] for pool in ("false", "true"))
    assert not np.array_equal(image_of(own)[0], image_of(own)[1])
    assert np.array_equal(image_of(shared)[0], image_of(shared)[1])
    assert "standard error 23.6%" in meta_of(shared)["Onebreath_reconstruct_gfactor"]


def test_too_little_time_for_noise_maps_is_said(caplog):
    _, _, kspace = coil_scan()
    with caplog.at_level(logging.WARNING):
        assert len(run(recon_data(kspace, every(1)), send_out_gfactor="true", noise_map_time_budget_s="1e-9")) == 1
    assert "no noise maps are sent: slice 0, set 0: one noise sample took" in caplog.text


def test_pocs_sharpens_partial_fourier():
    images, _, kspace = coil_scan()
    lines = every(1)
    lines[:, :12] = False
    head = header(36, 32, phases=3)

    def error(array: ImageArray) -> float:
        return float(np.linalg.norm(np.abs(image_of(array)) - np.abs(images)))

    (zero,) = run(recon_data(kspace, lines), head, method="zero_filled")
    (filled,) = run(recon_data(kspace, lines), head, method="zero_filled", partial_fourier="pocs")
    assert error(filled) < 0.8 * error(zero)
    assert meta_of(filled)["Onebreath_reconstruct_partial_fourier"].startswith("pocs")


def test_a_method_that_cannot_says_which_slice():
    _, _, kspace = coil_scan()
    kspace[0, 0, 0, 0] = np.nan
    with pytest.raises(MethodError, match=r"slice 0, set 0, method cg_sense: .*NaN"):
        run(recon_data(kspace, every(1)))


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"method": "cg_sens"}, "cg_sense"),
        ({"method": "cg_sense", "iterationz": "3"}, "iterationz"),
        ({"method": "cg_sense", "iterations": "few"}, "iterations"),
    ],
)
def test_unknown_methods_and_parameters_are_refused_before_data_flow(properties, words):
    with pytest.raises(ConfigError, match=words):
        Reconstruct(header(8, 8), parse_properties(Reconstruct, properties))


def test_a_method_must_be_named():
    with pytest.raises(ConfigError, match=r"'reconstruct' needs the property 'method'\.$"):
        parse_properties(Reconstruct, {})
    with pytest.raises(ConfigError, match=r"needs the property 'method'; is 'methud' meant for it"):
        parse_properties(Reconstruct, {"methud": "grappa"})
