import itertools

import numpy as np
import pytest
import torch

from onebreath.errors import ConfigError, ScanError
from onebreath.mri.espirit import espirit
from onebreath.mri.fourier import fft2c, ifft2c, resize
from onebreath.networks.consistency.sampled_series import SampledSeries
from onebreath.training.data.masks import MaskFamily
from onebreath.training.data.series import NOT_CYCLIC, ImageSeries
from onebreath.training.recipe import parse_recipe
from onebreath.training.state.distributed import Group
from onebreath.training.synthesis.calibration import coil_maps
from onebreath.training.synthesis.clips import procedural_clip
from onebreath.training.synthesis.draws import Draws
from onebreath.training.synthesis.hearts import SequencePool
from onebreath.training.synthesis.motion import breathing_shift, waveform
from onebreath.training.synthesis.phantoms import random_phantom, trunk
from onebreath.training.synthesis.receivers import loop_maps, whitened
from onebreath.training.synthesis.scans import DeviceExamples
from onebreath.training.synthesis.settings import SynthesisSettings
from onebreath.training.trainer import Trainer
from tests.training.recipes import CONTENT

CPU = torch.device("cpu")
MASKS = (MaskFamily(family="cmrxrecon", accelerations=(4,), acs_lines=12),)
SMALL = SynthesisSettings(
    frames=(4, 6), rows=(40, 51), width=(40, 47), columns=32, coils=(6, 9), channels=6, calibration_lines=(16, 20)
)
NO_HEARTS = SMALL.model_copy(update={"hearts": 0.0})


def examples(settings=NO_HEARTS, seed=0, series=(), masks=MASKS, batch=1):
    return DeviceExamples(series, masks, settings, seed, CPU, batch)


def draws(seed=0):
    return Draws(CPU, (seed,))


def test_examples_have_the_shapes_of_a_network_and_odd_matrices_occur():
    source = examples()
    for index in range(6):
        one = source[4 * index]
        frames, coils, ny, nx = one["kspace"].shape
        assert one["mask"].shape == (frames, 1, ny, 1)
        assert one["maps"].shape == (1, coils, ny, nx)
        assert one["target"].shape == (frames, ny, nx)
        assert one["noise_std"].shape == ()
        assert all(torch.isfinite(torch.view_as_real(one[name])).all() for name in ("kspace", "maps", "target"))
        assert not (one["kspace"] * ~one["mask"]).any()
        assert float(ifft2c(one["kspace"]).abs().max()) == pytest.approx(1, rel=1e-4)
        torch.testing.assert_close(one["maps"].abs().square().sum(1), torch.ones(1, ny, nx), atol=1e-3, rtol=0)
    assert {source._size(number)[1][0] % 2 for number in range(40)} == {0, 1}


def test_an_example_is_the_same_whenever_it_is_made():
    one = examples()
    later = [one[index]["kspace"] for index in (9, 2, 3)]
    other = examples()
    first = [other[index]["kspace"] for index in (2, 3, 9)]
    assert torch.equal(later[1], first[0])
    assert torch.equal(later[2], first[1])
    assert torch.equal(later[0], first[2])
    assert not torch.equal(examples(seed=1)[2]["target"], one[2]["target"])


def test_crops_of_a_scan_differ_and_scans_differ():
    made = [examples()[index]["target"] for index in range(8)]
    for first, second in itertools.combinations(made, 2):
        assert first.shape != second.shape or not torch.equal(first, second)


def test_examples_of_a_batch_have_one_size():
    source = examples(batch=6)
    for step in range(3):
        shapes = {source[6 * step + position]["kspace"].shape for position in range(6)}
        assert len(shapes) == 1


def test_the_noise_is_white_and_as_strong_as_is_said():
    quiet = NO_HEARTS.model_copy(update={"snr": (30.0, 30.0), "partial_fourier": 0.0})
    full = (MaskFamily(family="uniform", accelerations=(1,), acs_lines=0),)
    source = examples(quiet, masks=full)
    for index in range(0, 12, 4):
        one, scan = source[index], source.scan(index // 4)
        columns = one["kspace"].shape[-1]
        noise_free = [
            fft2c((scan.image[:, None] * scan.coils)[..., first : first + columns])
            for first in range(scan.image.shape[-1] - columns + 1)
        ]
        kspace = one["kspace"] / one["noise_std"]
        errors = [kspace - known for known in noise_free]
        noise = min(errors, key=lambda error: float(error.abs().square().mean()))
        assert float(noise.real.std()) == pytest.approx(1, rel=0.02)
        assert float(noise.imag.std()) == pytest.approx(1, rel=0.02)
        assert abs(float((noise[:, 0] * noise[:, 1].conj()).mean().abs())) < 0.1
        level = torch.quantile((scan.image.mean(0).abs() * scan.coils.abs().square().sum(0).sqrt()).flatten(), 0.97)
        assert float(level) == pytest.approx(30, rel=1e-3)


def test_a_body_inside_of_the_field_of_view_has_coil_maps_that_explain_it():
    def unexplained(scan):
        images = scan.image.mean(0) * scan.coils
        rest = images - scan.maps * (scan.maps.conj() * images).sum(0)
        return float(rest.abs().square().sum() / images.abs().square().sum())

    clips = NO_HEARTS.model_copy(
        update={"phantoms": 0.0, "snr": (200.0, 200.0), "rows": (96, 111), "width": (88, 99), "measured_share": 0.0}
    )
    found = {
        share: [unexplained(examples(clips.model_copy(update={"bounded": share})).scan(n)) for n in range(8)]
        for share in (0.0, 1.0)
    }
    assert np.median(found[1.0]) < 3e-4
    assert max(found[0.0]) > 10 * np.median(found[1.0])
    for seed in range(20):
        opacity = trunk((61, 50), draws(seed))
        assert float(opacity.min()) >= 0
        assert float(opacity.max()) > 0.9
        for edge in (opacity[0], opacity[-1], opacity[:, 0], opacity[:, -1]):
            assert float(edge.max()) < 0.5


def test_snr_is_drawn_evenly_over_its_logarithm():
    values = [draws(seed).log_uniform(8, 300) for seed in range(400)]
    assert min(values) >= 8
    assert max(values) <= 300
    assert np.median(values) == pytest.approx(np.sqrt(8 * 300), rel=0.25)


def test_whitening_makes_correlated_noise_white():
    maps = loop_maps(5, (24, 20), draws())
    body = torch.ones(24, 20)
    white = whitened(maps, body, 0.5, draws(1))
    flat, before = white.flatten(1), maps.flatten(1)
    matrix = flat @ torch.linalg.pinv(before)
    torch.testing.assert_close(matrix @ before, flat, atol=1e-3, rtol=1e-3)
    assert float(torch.triu(matrix.abs(), 1).max()) < 1e-2 * float(matrix.abs().max())


def test_the_operator_of_an_example_has_the_adjoint_that_is_used():
    one = {name: value[None] for name, value in examples()[0].items()}
    series = SampledSeries(one["kspace"], one["mask"], one["maps"], by_matrices=True)
    image = draws().complex_normal(*one["target"].shape)
    coil_images = fft2c(image[:, :, None] * one["maps"]) * one["mask"]
    left = (coil_images.conj() * one["kspace"]).sum()
    right = (image.conj() * series.zero_filled()).sum()
    torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close((image.conj() * series.normal(image)).sum().real, coil_images.abs().square().sum())


@pytest.mark.parametrize("size", [48, 51])
def test_maps_are_those_of_espirit(size):
    source = draws(3)
    coils = loop_maps(6, (size, 44), source)
    y, x = torch.meshgrid(torch.linspace(-1, 1, size), torch.linspace(-1, 1, 44), indexing="ij")
    body = (y**2 + x**2 < 0.7).float() * (1 + 0.3 * source.fractal(1, (size, 44), 1.0)[0])
    acs = resize(fft2c(body * coils), (24, 24))
    acs = acs + 0.01 * acs.abs().max() * 0.05 * source.complex_normal(*acs.shape)
    maps = coil_maps(acs, (size, 44))
    expected = torch.from_numpy(espirit(acs.numpy(), (size, 44), crop=None)[0][0])
    alike = (maps.conj() * expected).sum(0)
    # One phase for all pixels is free.
    alike = alike * torch.exp(-1j * (alike * body).mean().angle())
    assert float(alike.real[body > 0.5].min()) > 0.98
    kept = (coil_maps(acs, (size, 44), crop=0.8) != 0).any(0)
    assert kept[body > 0.5].all()
    assert not kept.all()
    assert float((kept.numpy() == (espirit(acs.numpy(), (size, 44), crop=0.8)[0][0] != 0).any(0)).mean()) > 0.9


@pytest.mark.parametrize("make", [procedural_clip, random_phantom])
def test_sequences_are_images_that_move_and_come_round(make):
    phase = np.array([0.0, 0.25, 0.5, 0.75, 1.0 - 1e-9])
    clip = make((45, 38), phase, draws(4))
    assert clip.shape == (5, 45, 38)
    assert float(clip.min()) >= 0
    assert float((clip[2] - clip[0]).abs().max()) > 0.02
    torch.testing.assert_close(clip[0], clip[4], atol=2e-2, rtol=0)


def test_waveforms_have_the_period_of_the_heart():
    phase = np.linspace(0, 1, 9)
    for seed in range(10):
        course = waveform(phase, draws(seed))
        assert course[0] == pytest.approx(course[-1], abs=1e-3)
        assert course.min() > -0.01
        assert course.max() < 1.01


def test_measured_sequences_keep_their_motion_and_stills_are_set_in_motion():
    rng = np.random.default_rng(0)
    moving = np.zeros((6, 40, 36), np.float32) + rng.random((40, 36))
    moving[:, 18:22] += np.cos(2 * np.pi * np.arange(6) / 6)[:, None, None]
    phase = np.arange(6) / 6
    for images, facts in ((moving, {}), (moving[:1], {}), (moving, {NOT_CYCLIC: 1})):
        pool = SequencePool([ImageSeries("p", "s", images, (1, 1), facts)], CPU)
        made = pool.draw((33, 30), phase, draws(2))
        assert made.shape == (6, 33, 30)
        assert float(made.std(0).max()) > 0.01
    with pytest.raises(ScanError, match="no series to draw"):
        SequencePool([], CPU)


def test_drift_moves_whole_frames():
    images = draws().smooth(1, (32, 30), 4)[0].expand(5, -1, -1)
    moved = breathing_shift(images, 3.0, draws(5))
    torch.testing.assert_close(moved.abs().square().sum((1, 2)), images.square().sum((1, 2)), rtol=1e-3, atol=1e-3)
    assert float((moved[4] - moved[0]).abs().max()) > 0.1


def test_settings_that_cannot_be_met_are_refused():
    with pytest.raises(ValueError, match="nothing to draw"):
        SynthesisSettings(hearts=0, phantoms=0, clips=0)
    with pytest.raises(ValueError, match="rising range"):
        SynthesisSettings(rows=(150, 120))
    content = {**CONTENT, "train": [], "synthesis": {"hearts": 1}}
    with pytest.raises(ConfigError, match="train is missing"):
        parse_recipe(content, "test")


def test_a_network_trains_on_what_needs_no_file(tmp_path):
    content = {
        **CONTENT,
        "network": {
            "architecture": "crunet_mr",
            "arguments": {
                "channels": 4, "cascades": 1, "patch": 2, "data_consistency": "cg", "follows_noise": True,
                "inputs": ["noise", "mean", "residual"], "start": "low_rank_sparse", "start_iterations": 3,
            },
        },
        "train": [],
        "examples": {},
        "synthesis": NO_HEARTS.model_dump(),
        "loss": {"psnr": 1.0, "kspace_mse": 0, "image_mse": 0, "image_l1": 0, "ssim": 0},
        "optimiser": {"learning_rate": 3e-3, "warm_up": 2, "ema": 0.8},
        "steps": 4,
        "validate_every": 100,
        "checkpoint_every": 100,
    }  # fmt: skip
    recipe = parse_recipe(content, "test")
    one = Trainer(recipe, [], [], tmp_path, Group(0, 1, CPU))
    assert not one.network.blocks[0].tail.weight.any()
    one.run()
    assert one.network.blocks[0].tail.weight.any()
    assert -20 < one.best < 0
    assert (tmp_path / "progress.png").is_file()
