# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     name: python3
# ---

# %% [markdown]
# # First scan
#
# No scanner is needed: a cardiac scan is simulated, written as an ISMRMRD file, and sent through two configurations.
# The same file would go to a Gadgetron server if `replay` were given an `address`.

# %%
import os
import tempfile
from pathlib import Path

import h5py
import ismrmrd
import matplotlib.pyplot as plt
import numpy as np

from onebreath.host.replay import replay
from onebreath.simulation.options import ScanOptions
from onebreath.simulation.scan import simulate

folder = Path(tempfile.mkdtemp())
os.environ["ONEBREATH_STORAGE"] = "off"  # a simulated scan leaves nothing for real ones

# %% [markdown]
# ## Simulate
#
# Every fourth line is acquired, besides a fully sampled block around the centre from which the coil maps are
# computed.

# %%
options = ScanOptions(matrix=(96, 96), slices=1, phases=4, coils=6, acceleration=4, snr=40.0, seed=1)
scan = simulate(options)
scan.write(folder / "scan.h5")
truth = np.abs(scan.truth["image"])[0]  # (frame, y, x)
print(len(scan.acquisitions), "lines,", options.coils, "coils; truth", truth.shape)

# %% [markdown]
# ## Reconstruct
#
# `replay` runs the chain in this process. It returns what happened; the images are written to a file, in a group for
# each run.

# %%
configurations = {"zero-filled": "Onebreath_Cine_ZeroFilled.xml", "CG-SENSE": "Onebreath_Cine_CGSENSE.xml"}
for name, configuration in configurations.items():
    outcome = replay(folder / "scan.h5", configuration, output=folder / "images.h5", group=name)
    assert not outcome.failed, outcome.texts
    print(f"{name}: {outcome}")

# %% [markdown]
# ## Look
#
# Errors are given as a fraction of the truth, after the best common scale. The scan is read out towards the patient's
# right, as transverse scans often are; columns are reversed for the picture, to see the patient from the feet.

# %%
images, metas = {}, {}
with h5py.File(folder / "images.h5") as file:
    for name in configurations:
        series = file[name]["image_1"]
        images[name] = series["data"][:, 0, 0].astype(float)  # (frame, y, x)
        metas[name] = ismrmrd.Meta.deserialize(series["attributes"].asstr()[0])


def error(image: np.ndarray) -> float:
    """Return the relative difference from the truth."""
    scale = np.vdot(image, truth) / np.vdot(image, image)
    return float(np.linalg.norm(scale * image - truth) / np.linalg.norm(truth))


figure, axes = plt.subplots(1, 3, figsize=(9, 3.4))
for axis, (name, image) in zip(axes, {"truth": truth, **images}.items(), strict=True):
    axis.imshow(image[0][:, ::-1], cmap="gray")
    axis.set_title(name if name == "truth" else f"{name}, error {error(image):.0%}")
    axis.axis("off")
plt.show()

# %%
assert error(images["CG-SENSE"]) < 0.7 * error(images["zero-filled"])

# %% [markdown]
# ## Read what was decided
#
# Every decision about the scan is part of the images' meta, so an image in the archive still says how it was made.

# %%
for key in sorted(metas["CG-SENSE"]):
    if key.startswith("Onebreath_"):
        print(f"{key}: {metas['CG-SENSE'][key]}")
