"""The method `unrolled`: the network's image in SNR units, and every choice stated."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from onebreath import zoo
from onebreath.errors import ConfigError, MethodError, ModelError
from onebreath.methods.base import SliceData
from onebreath.methods.learned.devices import devices_to_try
from onebreath.methods.learned.memory import GIB, Size, Way, needed_bytes
from onebreath.methods.learned.unrolled import Unrolled
from onebreath.methods.noise import Effort, measure_noise
from onebreath.methods.scan import scan_of
from onebreath.mri.fourier import ifft2c
from onebreath.mri.sampling import describe
from onebreath.networks.convolution import loading
from onebreath.registry import ARCHITECTURES
from tests.helpers import complex_normal, nrmse, relative_error
from tests.models import save_model


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    return tmp_path


def slice_data(frames=3, coils=2, y=20, x=18, sets=1, scale=100.0):
    rng = np.random.default_rng(3)
    maps = complex_normal(rng, (sets, coils, y, x), np.complex64)
    maps /= np.sqrt((np.abs(maps) ** 2).sum(1, keepdims=True))
    mask = np.zeros((1, y, 1), bool)
    mask[:, ::4] = mask[:, y // 2 - 3 : y // 2 + 3] = True
    kspace = complex_normal(rng, (frames, coils, y, x), np.complex64) * mask[:, None] * np.float32(scale)
    kspace.flags.writeable = False
    return SliceData(kspace, mask, None, 0, maps, describe(mask, y // 2))


def direct(data, name, noise_std=None):
    """The network called by hand, with the card's normalisation."""
    kspace, mask, maps = (torch.from_numpy(np.array(x)) for x in (data.kspace, data.mask, data.maps))
    scale = np.abs(ifft2c(data.kspace)).max()
    noise = torch.tensor([1 / scale])
    with torch.inference_mode():
        image = zoo.load(name).network(kspace[None] / scale, mask[None, :, None], maps[None, :1], noise)
    return image[0].numpy() * scale


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_image_is_that_of_the_network(root, architecture):
    save_model(root, f"{architecture}.tiny")
    data = slice_data()
    result = Unrolled(model=f"{architecture}.tiny", device="cpu")(data)
    assert relative_error(result.images, direct(data, f"{architecture}.tiny")) <= 1e-5
    assert isinstance(result.images, np.ndarray)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_image_has_the_units_of_the_data(root, architecture):
    save_model(root, f"{architecture}.tiny")
    method = Unrolled(model=f"{architecture}.tiny", device="cpu")
    small, large = method(slice_data(scale=0.01)), method(slice_data(scale=1e4))
    assert relative_error(large.images, small.images * 1e6) <= 1e-4
    assert large.facts["scale"] == pytest.approx(small.facts["scale"] * 1e6, rel=1e-4)


def test_a_network_that_weighs_noise_is_told_its_standard_deviation(root):
    arguments = {"channels": 4, "cascades": 2, "data_consistency": "soft"}
    save_model(root, arguments=arguments)
    data = slice_data(scale=2)
    image = Unrolled(model="crunet_mr.tiny", device="cpu")(data).images
    assert relative_error(image, direct(data, "crunet_mr.tiny")) <= 1e-5


def test_a_network_with_phase_encoding_along_x_sees_the_slice_transposed(root):
    save_model(root, conventions={"phase_encoding": "x"})
    save_model(root, "crunet_mr.usual")
    data = slice_data(y=20, x=16)
    across = replace(data, **{name: getattr(data, name).swapaxes(-1, -2) for name in ("kspace", "mask", "maps")})
    method = Unrolled(model="crunet_mr.tiny", device="cpu")
    wanted = Unrolled(model="crunet_mr.usual", device="cpu")(across).images.swapaxes(-1, -2)
    assert relative_error(method(data).images, wanted) <= 1e-6


def test_facts_tell_what_was_done(root):
    folder = save_model(root)
    facts = Unrolled(model="crunet_mr.tiny", device="cpu")(slice_data(sets=2)).facts
    card = zoo.read_card(folder)
    assert facts["model"] == "crunet_mr.tiny"
    assert facts["weights_sha256"] == card.weights.sha256
    assert facts["device"] == "cpu"
    assert facts["precision"] == "float32"
    assert facts["convolutions"] == ("torch" if loading.library() is None else "compiled")
    assert facts["pieces"] == "whole image"
    assert facts["domain"] == "inside"
    assert facts["map_sets_unused"] == 1
    assert "passed_over" not in facts
    json.dumps(facts)


def test_tensors_come_back_as_tensors(root):
    save_model(root)
    data = slice_data()
    kspace, mask, maps = (torch.from_numpy(np.array(x)) for x in (data.kspace, data.mask, data.maps))
    tensors = SliceData(kspace, mask, None, 0, maps, data.sampling)
    method = Unrolled(model="crunet_mr.tiny", device="cpu")
    assert relative_error(method(tensors).images, method(data).images) == 0
    assert isinstance(method(tensors).images, torch.Tensor)


WIDE = {"frames": 2, "y": 16, "x": 256}


def limit(way):
    """A memory limit, in GiB, that is just enough for one way to run the tiny model on a wide slice."""
    return needed_bytes("crunet_mr", {"channels": 4, "cascades": 2}, Size(2, 2, 16, 256), way) / GIB * 1.001


def test_short_memory_makes_tiles_and_says_so(root):
    save_model(root)
    data = slice_data(**WIDE)
    whole = Unrolled(model="crunet_mr.tiny", device="cpu")(data)
    short = limit(Way(tiles=4, halo=16))
    assert short < limit(Way())
    tiled = Unrolled(model="crunet_mr.tiny", device="cpu", memory_limit_gb=short, tile_halo=16)(data)
    assert tiled.facts["pieces"] == "4 tiles along the readout, halo 16"
    assert tiled.facts["passed_over"].startswith("whole image on cpu: needs 0.0")
    assert relative_error(tiled.images, whole.images) <= 10 * tiled.facts["seam_deviation"] + 1e-5
    assert tiled.facts["seam_deviation"] < 0.01


def test_too_little_memory_is_an_error_with_both_numbers(root):
    save_model(root)
    with pytest.raises(MethodError, match=r"8 tiles on cpu: needs 0\.\d\d GiB, free 0\.00 GiB.*Free memory"):
        Unrolled(model="crunet_mr.tiny", device="cpu", memory_limit_gb=1e-5)(slice_data(**WIDE))


def test_memory_that_runs_out_is_survived_and_stated(root, monkeypatch):
    save_model(root)
    run = Unrolled._run

    def scarce(self, data, plan):
        if plan.tiles == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return run(self, data, plan)

    monkeypatch.setattr(Unrolled, "_run", scarce)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    facts = Unrolled(model="crunet_mr.tiny", device="cpu")(slice_data(**WIDE)).facts
    assert facts["pieces"] == "2 tiles along the readout, halo 48"
    assert facts["passed_over"].endswith("but memory ran out")


def test_tiles_that_disagree_are_not_used(root):
    save_model(root)
    strict = {"tiles": 2, "tile_halo": 1, "tile_tolerance": 1e-9}
    with pytest.raises(MethodError, match=r"2 tiles on cpu: .*, but tiles differ by .* at a seam"):
        Unrolled(model="crunet_mr.tiny", device="cpu", **strict)(slice_data(**WIDE))


def test_a_scan_outside_the_domain_is_refused_or_stated(root):
    save_model(root, domain={"acceleration": [5, 10], "frames": [1, 30], "field_strength_t": [1.5, 3]})
    with pytest.raises(MethodError, match=r"outside the domain of model crunet_mr\.tiny: acceleration is 4, the model"):
        Unrolled(model="crunet_mr.tiny", device="cpu")(slice_data())
    facts = Unrolled(model="crunet_mr.tiny", device="cpu", outside_domain="allow")(slice_data()).facts
    assert facts["domain"] == "outside: acceleration is 4, the model is for 5 to 10"


def test_what_a_slice_cannot_show_is_stated(root):
    save_model(root, domain={"frames": [1, 30], "field_strength_t": [1.5, 3]})
    facts = Unrolled(model="crunet_mr.tiny", device="cpu")(slice_data()).facts
    assert facts["domain"] == "inside; not known: field_strength_t"


def test_a_slice_tells_its_domain():
    scan = scan_of(slice_data())
    assert (scan.acceleration, scan.mask_family, scan.acs_lines) == (4, "uniform_acs", 6)
    assert (scan.frames, scan.coils, scan.matrix_y, scan.matrix_x) == (3, 2, 20, 18)


def without(data, **changes):
    return SliceData(**{**vars(data), **changes})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: without(d, maps=None), "needs coil maps; let the calibrate gadget run"),
        (lambda d: without(d, kspace=d.kspace * 0), "nothing but zeros"),
        (lambda d: without(d, kspace=d.kspace * np.nan), "the k-space hold 2160 samples that are NaN or infinite"),
        (lambda d: without(d, maps=d.maps * np.inf), "the coil maps hold"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")
def test_data_that_cannot_be_reconstructed(root, change, message):
    save_model(root)
    with pytest.raises(MethodError, match=message):
        Unrolled(model="crunet_mr.tiny", device="cpu")(change(slice_data()))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"device": "gpu"}, "device"),
        ({"precision": "float16"}, "precision"),
        ({"modle": "x"}, "modle"),
        ({"tiles": -1}, "tiles"),
        ({"memory_limit_gb": 0}, "memory_limit_gb"),
    ],
)
def test_wrong_parameters_are_named(root, parameters, message):
    save_model(root)
    with pytest.raises(ConfigError, match=message):
        Unrolled(**{"model": "crunet_mr.tiny", **parameters})


def test_parameters_may_be_texts_as_in_a_configuration(root):
    save_model(root)
    parameters = Unrolled(model="crunet_mr.tiny", memory_limit_gb="2.5", tiles="2").parameters
    assert (parameters.memory_limit_gb, parameters.tiles) == (2.5, 2)


def test_a_missing_model_is_known_before_any_data(root):
    with pytest.raises(ModelError, match=r"there is no model 'crunet_mr\.nowhere'.*onebreath models import"):
        Unrolled(model="crunet_mr.nowhere").prepare()


def test_a_damaged_model_is_known_before_any_data(root):
    path = save_model(root) / "weights.safetensors"
    Unrolled(model="crunet_mr.tiny").prepare()
    path.write_bytes(path.read_bytes()[:-1])
    unrolled = Unrolled(model="crunet_mr.tiny")
    unrolled.prepare()
    assert "changed or damaged" in unrolled.model.warning


def test_a_gpu_that_is_not_there_is_told(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 1)
    assert devices_to_try("auto") == ["cuda:1", "cpu"]
    assert devices_to_try("cuda") == ["cuda:0"]
    assert devices_to_try("cpu") == ["cpu"]
    with pytest.raises(MethodError, match="device is 'cuda:2', but torch sees 2 CUDA devices"):
        devices_to_try("cuda:2")


def test_on_a_cpu_nothing_is_recorded_and_that_is_told(root):
    save_model(root)
    data = slice_data()
    asked = Unrolled(model="crunet_mr.tiny", device="cpu", recorded=True)(data)
    usual = Unrolled(model="crunet_mr.tiny", device="cpu")(data)
    assert asked.facts["recorded"] is False
    assert "recorded" not in usual.facts
    assert np.array_equal(asked.images, usual.images)


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_gpu_gives_the_image_of_the_cpu(root):
    save_model(root)
    data = slice_data(**WIDE)
    wanted = Unrolled(model="crunet_mr.tiny", device="cpu")(data).images
    whole, tiled = (Unrolled(model="crunet_mr.tiny", device="cuda", tiles=tiles)(data) for tiles in (1, 2))
    assert relative_error(whole.images, wanted) <= 1e-4
    assert relative_error(tiled.images, wanted) <= 1e-3
    assert whole.facts["device"].startswith("cuda:0 ")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_derivative_is_how_the_image_changes(root, architecture):
    save_model(root, f"{architecture}.tiny")
    method, data = Unrolled(model=f"{architecture}.tiny", device="cpu"), slice_data()
    noise = complex_normal(np.random.default_rng(5), data.kspace.shape, np.complex64) * data.mask[:, None]
    step = 1e-2
    plus, minus = (method(replace(data, kspace=data.kspace + sign * step * noise)).images for sign in (1, -1))
    assert nrmse(method.derivative(data)(noise), (plus - minus) / (2 * step)) < 0.1  # kinks of activations


def test_noise_of_a_network_is_measured_with_probes_where_memory_allows(root):
    save_model(root)
    data, effort = slice_data(), Effort(samples=50, seconds=3600)
    method = Unrolled(model="crunet_mr.tiny", device="cpu")
    images = method(data).images
    probed = measure_noise(method, data, images, effort)
    assert probed.how == "probes of the derivative, 50 samples, standard error 10.1%"
    short = Unrolled(model="crunet_mr.tiny", device="cpu", memory_limit_gb=1.5 * tiny_gib(data))
    replicas = measure_noise(short, data, images, effort)
    assert replicas.how == "noise replicas, 50 samples, standard error 10.1%"
    assert np.mean(probed.std) == pytest.approx(np.mean(replicas.std), rel=0.02)


def tiny_gib(data):
    """Memory that one reconstruction with the tiny model needs."""
    return needed_bytes("crunet_mr", {"channels": 4, "cascades": 2}, Size(*data.kspace.shape), Way()) / GIB
