# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # Bring your own network
#
# Any `torch.nn.Module` with `forward(kspace, mask, maps)` reconstructs within the chain. Here a small one is trained
# for a few seconds, stored as a model with its card, and used by its name. This shows the way, not a good network;
# see [training](../training.md) for that.

# %%
import os
import tempfile
from pathlib import Path

import h5py
import ismrmrd
import numpy as np
import torch
from torch import Tensor, nn

from onebreath.mri.fourier import fft2c, ifft2c

torch.manual_seed(0)
torch.set_num_threads(1)
folder = Path(tempfile.mkdtemp())
os.environ["ONEBREATH_MODELS"] = str(folder / "models")
os.environ["ONEBREATH_STORAGE"] = "off"

# %% [markdown]
# ## The network
#
# `kspace (batch, frame, coil, y, x)` is complex and zero where nothing was sampled, `mask (batch, frame, 1, y, x)`,
# `maps (batch, 1, coil, y, x)`; it returns a complex `image (batch, frame, y, x)`. This one takes some gradient steps
# on the data, each followed by two convolutions. Without biases the result scales with the data, so brightness does
# not matter.


# %%
class Steps(nn.Module):
    """Gradient steps on the data, with a small convolutional network after each."""

    def __init__(self, steps: int = 4, channels: int = 12) -> None:
        super().__init__()
        self.sizes = nn.Parameter(torch.ones(steps))
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(2, channels, 3, padding=1, bias=False),
                nn.ReLU(),
                nn.Conv2d(channels, 2, 3, padding=1, bias=False),
            )
            for _ in range(steps)
        )

    def forward(self, kspace: Tensor, mask: Tensor, maps: Tensor) -> Tensor:
        """Return images (batch, frame, y, x)."""
        image = (maps.conj() * ifft2c(kspace)).sum(dim=2)
        for size, layers in zip(self.sizes, self.layers, strict=True):
            difference = mask * fft2c(maps * image[:, :, None]) - kspace
            image = image - size * (maps.conj() * ifft2c(difference)).sum(dim=2)
            parts = torch.view_as_real(image).flatten(0, 1).permute(0, 3, 1, 2)
            image = image + torch.view_as_complex(layers(parts).permute(0, 2, 3, 1).contiguous()).view_as(image)
        return image


# %% [markdown]
# ## Train it
#
# Simulated scans of other anatomies (`seed`) bring the true images and coil maps. Noise of a whitened scan has unit
# standard deviation.

# %%
from onebreath.simulation.options import ScanOptions
from onebreath.simulation.scan import simulate

LOOK = {"matrix": (64, 64), "slices": 1, "phases": 4, "coils": 6, "acceleration": 4, "acs_lines": 24, "snr": 40.0}
mask = torch.zeros(1, 1, 1, 64, 1)
mask[..., ::4, :] = mask[..., 20:44, :] = 1


def example(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return k-space, maps and the true images of a simulated scan."""
    truth = simulate(ScanOptions(**LOOK, seed=seed)).truth
    maps = truth["maps"][0] / np.linalg.norm(truth["maps"][0], axis=0)
    # Maps computed from calibration lines have no phase of their own: it goes to the image, whatever it is.
    phase = np.exp(1j * np.angle(np.sum(maps, axis=0)))
    images, coils = (
        torch.from_numpy(values).to(torch.complex64)[None]
        for values in (truth["image"][0] * phase, (maps * phase.conj())[None])
    )
    kspace = fft2c(coils * images[:, :, None])
    noise = torch.view_as_complex(torch.randn(*kspace.shape, 2))
    return mask * (kspace + noise), coils, images


def error(image: Tensor, truth: Tensor) -> Tensor:
    """Return the relative difference from the truth."""
    return torch.linalg.vector_norm(image - truth) / torch.linalg.vector_norm(truth)


network = Steps()
optimiser = torch.optim.Adam(network.parameters(), 3e-3)
examples = [example(seed) for seed in range(1, 5)]
errors = []
for step in range(400):
    kspace, maps, truth = examples[step % len(examples)]
    loss = error(network(kspace, mask, maps), truth)
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    errors.append(float(loss.detach()))
print(f"error {np.mean(errors[:4]):.3f} at the beginning, {np.mean(errors[-4:]):.3f} at the end")
assert np.mean(errors[-4:]) < 0.6 * np.mean(errors[:4])

# %% [markdown]
# ## Make it a model
#
# Networks of installed packages are found by an entry point, `steps = "module:Steps"` in the group
# `onebreath.networks` ([architecture](../architecture.md)). A notebook is no package, so here the class is entered by
# hand. `save` writes card and weights, and checks that they fit each other.

# %%
from onebreath.registry import ARCHITECTURES
from onebreath.zoo.store import save

ARCHITECTURES.own["steps"] = f"{Steps.__module__}:Steps"
card = {
    "name": "steps.first",
    "version": "1",
    "summary": "gradient steps with small convolutions",
    "architecture": "steps",
    "training": {"data": "four simulated scans"},
    "licence": "MIT",
    "intended_use": "an example, for no images of people",
}
print(sorted(path.name for path in save(network.state_dict(), card, folder / "models").iterdir()))

# %% [markdown]
# ## Reconstruct with it
#
# A scan that was not trained on goes through a configuration in which the method is `unrolled` and the model ours.
# The chain whitens the noise and computes the coil maps from the calibration lines; in training above the noise was
# white and the maps exact, so the error is larger here. `onebreath train` makes its examples as the chain makes its
# data.

# %%
from onebreath.config.changes import changed
from onebreath.config.finding import find
from onebreath.host.replay import replay

scan = simulate(ScanOptions(**LOOK, seed=9))
scan.write(folder / "scan.h5")
name = "Onebreath_Cine_CRUNetMR.xml"
ours = changed(find(name).read_bytes(), name, {"reconstruct": {"model": "steps.first"}})
outcomes = {
    "ours": replay(folder / "scan.h5", config_local=ours, output=folder / "images.h5", group="ours"),
    "zero-filled": replay(
        folder / "scan.h5", "Onebreath_Cine_ZeroFilled.xml", output=folder / "images.h5", group="zero-filled"
    ),
}
truth = torch.from_numpy(np.abs(scan.truth["image"][0])).double()
found = {}
with h5py.File(folder / "images.h5") as file:
    for group, outcome in outcomes.items():
        assert not outcome.failed, outcome.texts
        meta = ismrmrd.Meta.deserialize(file[group]["image_1"]["attributes"].asstr()[0])
        image = torch.from_numpy(file[group]["image_1"]["data"][:, 0, 0].astype(float))
        found[group] = float(error(image * (image * truth).sum() / (image * image).sum(), truth))
        print(f"{group}: {meta['Onebreath_reconstruct_method']}, error {found[group]:.3f}")
        assert group == "zero-filled" or meta["Onebreath_reconstruct_method"] == "unrolled"
assert found["ours"] < found["zero-filled"]
