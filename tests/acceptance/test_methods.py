"""g-factors against the closed form, and inserted details against what a linear method must keep of them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from onebreath.acceptance.details import (
    Kept,
    Series,
    choose_sites,
    disc_cover,
    measure,
)
from onebreath.acceptance.gfactor import gfactor_findings, sense_gfactor
from onebreath.acceptance.judging import compared, untold
from onebreath.acceptance.limits import DetailLimits, GfactorLimits, Limits
from onebreath.acceptance.subject import Subject, Trial, read_subject, trials
from onebreath.evaluation.candidates import Candidate, parse_candidates
from onebreath.methods.base import Method, Reconstruction
from onebreath.simulation.scan import ScanOptions, simulate

OPTIONS = ScanOptions(
    anatomy="phantom", mode="static", acceleration=1, acs_mode="none", slices=1, phases=4, coils=6, matrix=(96, 96),
    snr=60.0, fov_mm=(290.0, 290.0),
)  # fmt: skip


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> Subject:
    path = tmp_path_factory.mktemp("phantom") / "scan.h5"
    simulate(OPTIONS).write(path)
    return read_subject(path, "dataset", None)


def test_the_closed_form_is_that_of_two_pixels_that_fold() -> None:
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((4, 8, 3)) + 1j * rng.standard_normal((4, 8, 3))
    maps /= np.linalg.norm(maps, axis=0)
    found = sense_gfactor(maps, np.arange(8) % 2 == 0, 2)
    for y in range(4):
        for x in range(3):
            pair = maps[:, [y, y + 4], x]
            gram = pair.conj().T @ pair
            g = np.sqrt(np.real(np.diag(np.linalg.inv(gram)) * np.diag(gram)))  # Pruessmann 1999, eq. 25
            np.testing.assert_allclose(found[[y, y + 4], x], g, rtol=1e-6)
    maps[:, 4:] = 0  # nothing folds any more
    np.testing.assert_allclose(sense_gfactor(maps, np.arange(8) % 2 == 0, 2)[:4], 1, rtol=1e-6)


def test_replicas_agree_with_both_closed_forms(subject: Subject) -> None:
    trial = trials(subject, Limits(accelerations=(2,), acs_lines=16))[0]
    found = [one for one, _ in gfactor_findings(subject, trial, [], GfactorLimits(replicas=32))]
    assert [one.outcome for one in found] == ["passed", "passed"], found
    assert all("32 replicas, standard error of a pixel 9.0%" in one.value for one in found)


CUT = {
    "partial Fourier": {"acceleration": 2, "partial_fourier": 0.7},
    "asymmetric echo": {"acceleration": 2, "echo_fraction": 0.7},
    "lattice that ends before the edge": {"acceleration": 5, "coils": 16, "acs_lines": 24},
}


@pytest.mark.parametrize("cut", CUT.values(), ids=CUT)
def test_what_is_left_out_does_not_count_in_the_map_of_grappa(tmp_path: Path, cut: dict[str, float]) -> None:
    options = {"acs_mode": "embedded", "acs_lines": 16, **cut}
    simulate(replace(OPTIONS, **options)).write(tmp_path / "scan.h5")
    scan = read_subject(tmp_path / "scan.h5", "dataset", None)
    (trial, *_) = trials(scan, Limits())
    assert trial.own
    found = [one for one, _ in gfactor_findings(scan, trial, [], GfactorLimits(replicas=48))]
    (grappa,) = (one for one in found if "GRAPPA" in one.what)
    assert grappa.outcome == "passed"
    assert float(grappa.value.split()[0]) == pytest.approx(1, abs=0.015)
    (sense,) = (one for one in found if one is not grappa)
    assert sense.outcome == ("passed" if cut["acceleration"] == 5 else "not done")
    assert ("asymmetric echo" in sense.why) == ("echo_fraction" in cut)


def test_noise_is_added_up_to_the_snr_asked_for(subject: Subject) -> None:
    own, low = trials(subject, Limits(accelerations=(2,), acs_lines=16, details=DetailLimits(snr=(20.0,))))
    assert low.snr == 20 and own.snr == pytest.approx(subject.scan.snr)
    mask = np.broadcast_to(low.data.mask, (4, 96, 96))[:, None]
    expected = own.data.kspace * (20 / own.snr)
    rest = (low.data.kspace - expected)[np.broadcast_to(mask, expected.shape)]
    assert np.std(rest) == pytest.approx(np.sqrt(2 * (1 - (20 / own.snr) ** 2)), rel=0.02)
    assert not low.data.kspace[~np.broadcast_to(mask, expected.shape)].any()


def test_a_disc_covers_its_area() -> None:
    cover = disc_cover((32, 32), (2.0, 3.0), (15, 16), 12.0)
    assert cover.sum() * 6 == pytest.approx(np.pi * 36, rel=0.02)
    assert cover[15, 16] == 1


class Whole(Method):
    """The average of all coil images by the maps: linear, and all is kept."""

    name = "whole"

    def __call__(self, data):
        from onebreath.mri.coils import combine
        from onebreath.mri.fourier import ifft2c

        return Reconstruction(combine(ifft2c(data.kspace), data.maps[0]))


class Averaging(Whole):
    """The mean of all frames: what is in every other one only is half as strong."""

    name = "averaging"

    def __call__(self, data):
        images = super().__call__(data).images
        return Reconstruction(np.repeat(images.mean(axis=0, keepdims=True), len(images), axis=0))


class Deaf(Whole):
    """A method that shows what it expects, whatever was measured."""

    name, learned = "deaf", True

    def __call__(self, data):
        return Reconstruction(np.full((len(data.kspace), *data.kspace.shape[2:]), 7.0, np.complex64))


def test_what_a_linear_method_keeps_is_known(subject: Subject) -> None:
    limits = DetailLimits(sizes_mm=(9.0, 15.0), contrasts=(0.05, 0.2), replicas=12, places=8)
    sites = choose_sites(subject, limits.sizes_mm, limits.places)
    assert len({site.at for site in sites}) == 8
    full = Trial(1, 60.0, subject.data, own=False)
    found = measure(subject, full, Candidate("whole", Whole(), 0.0, {}), sites, limits)
    level = np.abs(subject.combined).mean(axis=0)
    for one in found.kept:
        assert one.retained == pytest.approx(1, abs=0.03)
        here = [site for site in sites if site.size_mm == one.size_mm]
        # Noise of unit standard deviation in every pixel, so that of a weighted sum is the root of sum w^2.
        signal = [one.contrast * level[s.disc > 0.5].mean() * (s.disc * s.weights).sum() for s in here]
        noise = np.sqrt(np.mean([(s.weights**2).sum() for s in here]))
        assert one.rose == pytest.approx(np.mean(signal) / noise, rel=0.15)


@pytest.mark.parametrize("presence, left", [("all frames", 1.0), ("every other frame", 0.5)])
def test_details_in_every_other_frame_show_what_averages_over_time(subject: Subject, presence, left) -> None:
    limits = DetailLimits(sizes_mm=(15.0,), contrasts=(0.2,), replicas=3, places=4, presence=presence)
    sites = choose_sites(subject, limits.sizes_mm, limits.places)
    full = Trial(1, 60.0, subject.data, own=False)
    for method, expected in ((Whole(), 1.0), (Averaging(), left)):
        (kept,) = measure(subject, full, Candidate(method.name, method, 0.0, {}), sites, limits).kept
        assert kept.retained == pytest.approx(expected, abs=0.03)


def test_a_method_that_shows_no_details_fails_though_it_has_no_noise(subject: Subject) -> None:
    limits = DetailLimits(sizes_mm=(15.0,), contrasts=(0.05, 0.4), replicas=3, places=4)
    sites = choose_sites(subject, limits.sizes_mm, limits.places)
    full = Trial(1, 60.0, subject.data, own=False)
    both = [measure(subject, full, Candidate(m.name, m, 0.0, {}), sites, limits) for m in (Whole(), Deaf())]
    findings = compared(both, limits.sizes_mm, limits)
    assert [one.outcome for one in findings] == ["for information", "failed"]
    assert "none up to 0.4" in findings[1].value


def series(label: str, learned: bool, *roses: float) -> Series:
    """A series of details of 3, 6, ... mm at one contrast, that have these signal-to-noise ratios."""
    trial = Trial(2, 60.0, None, own=False)  # type: ignore[arg-type]
    return Series(label, learned, trial, tuple(Kept(3.0 * n, 0.8, 1.0, rose) for n, rose in enumerate(roses, 1)))


def test_what_nobody_keeps_is_no_evidence() -> None:
    limits = DetailLimits(contrasts=(0.8,))
    blind, sharp = series("grappa", False, 1.0, 1.0), series("grappa", False, 1.0, 9.0)
    (_, judged) = compared([blind, series("net", True, 1.0, 1.0)], (3.0, 6.0), limits)
    assert judged.outcome == "not done"
    assert "neither it nor a classical method keeps details of 3, 6 mm up to 0.8" in judged.why
    (_, judged) = compared([sharp, series("net", True, 1.0, 9.0)], (3.0, 6.0), limits)
    assert (judged.outcome, "details of 3 mm" in judged.why) == ("passed", True)
    (_, judged) = compared([sharp, series("net", True, 1.0, 1.0)], (3.0, 6.0), limits)
    assert judged.outcome == "failed"
    (_, judged) = compared([blind, series("net", True, 9.0, 9.0)], (3.0, 6.0), limits)
    assert (judged.outcome, judged.why) == ("passed", "")
    (judged,) = compared([series("net", True, 9.0, 9.0)], (3.0, 6.0), limits)
    assert (judged.outcome, judged.why) == ("not done", "no classical method was tested to judge it by")


def test_every_method_that_was_asked_for_has_an_outcome() -> None:
    candidates = parse_candidates(["grappa", "cg_sense"])
    found = compared([series("grappa", False, 9.0)], (3.0,), DetailLimits(contrasts=(0.8,)))
    assert [(one.what, one.outcome) for one in untold(candidates, found)] == [("cg_sense", "not done")]
    assert [one.what for one in untold(candidates, [])] == ["grappa", "cg_sense"]


def test_contrasts_between_those_inserted_are_interpolated(subject: Subject) -> None:
    trial = Trial(2, 60.0, subject.data, own=False)
    kept = (Kept(3.0, 0.1, 1.0, 3.0), Kept(3.0, 0.2, 1.0, 6.0), Kept(3.0, 0.4, 1.0, 12.0))
    assert Series("a", False, trial, kept).smallest(3.0, DetailLimits()) == pytest.approx(0.1 + 0.1 * 2 / 3)
    assert Series("a", False, trial, kept[1:]).smallest(3.0, DetailLimits()) == 0.2
    lost = (kept[0], kept[1], replace(kept[2], retained=0.2))
    assert Series("a", False, trial, lost).smallest(3.0, DetailLimits()) is None


def test_usual_methods_are_those_of_the_rules(subject: Subject) -> None:
    from onebreath.acceptance.examination import usual_methods

    names, contrast = usual_methods(subject, trials(subject, Limits(acs_lines=16)))
    assert names[0] == "grappa" and "crunet_mr.noise_aware" in names and contrast == "bssfp_cine"
    assert parse_candidates(["grappa"])[0].label == "grappa"
