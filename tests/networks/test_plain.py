"""Networks that derive from nothing of this package, from the class to the image."""

import sys

import pytest
import torch
from torch import nn

from onebreath.cli import main
from onebreath.errors import ModelError
from onebreath.mri.fourier import ifft2c
from onebreath.registry import ARCHITECTURES
from onebreath.zoo import load
from onebreath.zoo.architectures import build
from onebreath.zoo.command import new_model
from onebreath.zoo.store import save
from tests.chain.running import images_of, run, simulated, steps, stream_of
from tests.test_registry import documented

_shown = {"__name__": __name__, "torch": torch, "nn": nn, "Tensor": torch.Tensor, "ifft2c": ifft2c}
exec(documented("Add a network")["python"], _shown)
Tiny = _shown["Tiny"]


class WithNoise(Tiny):
    """Scales its image by the noise level, to show that it came."""

    def forward(self, kspace, mask, maps, noise_std):
        return noise_std * super().forward(kspace, mask, maps)


class Faulty(nn.Module):
    """Fails in one of several ways."""

    def __init__(self, fault: str):
        super().__init__()
        self.fault, self.weight = fault, nn.Parameter(torch.ones(1))

    def forward(self, kspace, mask, maps):
        image = (maps.conj() * ifft2c(kspace)).sum(dim=2)
        if self.fault == "value" and float(image.abs().max()) > 0:
            return image
        if self.fault == "attribute":
            return self.no_such_thing
        return {"shape": image[..., 1:], "real": image.abs(), "nan": image * torch.nan}[self.fault]


class NoForward(nn.Module):
    """Takes something else."""

    def forward(self, image):
        return image


@pytest.fixture(autouse=True)
def models(monkeypatch, tmp_path):
    """Make the classes known by the names that cards use; return the folder of models."""
    module = type(sys)("site_networks")
    for cls in (Tiny, WithNoise, Faulty, NoForward):
        monkeypatch.setitem(ARCHITECTURES.own, cls.__name__.lower(), f"site_networks:{cls.__name__}")
        setattr(module, cls.__name__, cls)
    monkeypatch.setitem(sys.modules, "site_networks", module)
    monkeypatch.setenv("ONEBREATH_MODELS", str(tmp_path))
    return tmp_path


def test_a_plain_module_is_made_checked_and_reconstructs(models, capsys):
    test = models / "test_tiny.py"
    assert main(["models", "new", "tiny.first", "--set", "channels=4", "--test", str(test)]) == 0
    assert main(["models", "check", "tiny.first"]) == 0
    assert "tiny.first: right, 150 parameters" in capsys.readouterr().out
    written: dict = {}
    exec(compile(test.read_text(), test, "exec"), written)
    written["test_it_runs_on_a_small_series"]()
    scan = simulated(acs_mode="embedded", acceleration=2)
    images = images_of(run(scan.header, stream_of(scan), steps("unrolled", reconstruct={"model": "tiny.first"})))
    assert images
    assert all("tiny.first" in image.attribute_string for image in images)


def test_names_of_parameters_stay_and_the_class_too():
    network = build("tiny", {"channels": 4})
    assert isinstance(network, Tiny)
    assert network.state_dict().keys() == Tiny(4).state_dict().keys()
    assert network.use_precision("auto") == torch.float32
    with pytest.raises(Exception, match="Tiny has no method use_precision"):
        network.use_precision("bfloat16")


def test_noise_is_given_to_those_that_take_it():
    kspace = torch.randn(1, 2, 3, 8, 8, dtype=torch.complex64)
    arguments = kspace, torch.ones(1, 2, 1, 8, 8, dtype=bool), kspace[:, :1]
    network = build("withnoise", {})
    assert torch.equal(network(*arguments, torch.tensor(2.0)), 2 * network(*arguments, torch.tensor(1.0)))
    assert build("tiny", {})(*arguments, torch.tensor(2.0)).shape == (1, 2, 8, 8)


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        ("shape", r"makes torch.complex64 \(1, 4, 32, 31\) in a trial run; expected .*\(1, 4, 32, 32\)"),
        ("real", "makes torch.float32 .* expected complex"),
        ("nan", "not finite in a trial run"),
        ("value", "cannot run without numbers"),
        ("attribute", "AttributeError: .*no_such_thing"),
    ],
)
def test_a_network_that_fails_is_refused_before_any_scan(fault, text, models):
    with pytest.raises(ModelError, match=text):
        new_model("faulty.bad", {"fault": fault}, models)
    card = {
        "name": "faulty.bad", "version": "0", "summary": "bad", "architecture": "faulty", "arguments": {"fault": fault},
        "training": {"data": "none"}, "licence": "MIT", "intended_use": "tests",
    }  # fmt: skip
    save(build("faulty", {"fault": fault}).state_dict(), card, models)
    with pytest.raises(ModelError, match=text):
        load("faulty.bad")


def test_forward_must_take_what_a_reconstruction_is_made_of():
    with pytest.raises(ModelError, match=r"NoForward.forward\(image\) must take \(kspace, mask, maps\)"):
        build("noforward", {})
