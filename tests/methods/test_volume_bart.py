"""CG-SENSE and GRAPPA of a volume against the BART toolbox, on the same lines; skipped where it is not installed."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from onebreath.methods.cg_sense import CgSense
from onebreath.methods.grappa.grappa import Grappa
from onebreath.methods.volumes.data import Source, VolumeData
from onebreath.mri.coils import rss
from onebreath.mri.fourier import fftc
from onebreath.mri.volume_maps import volume_maps
from onebreath.mri.volume_sampling import describe_volume
from onebreath.simulation.coils import coil_maps
from onebreath.simulation.encoding import slab_profile
from onebreath.simulation.geometry import Grid
from onebreath.simulation.phantom import Phantom

NX, NY, NZ, COILS, ACS = 64, 48, 24, 8, 16
THICKNESS, SNR = 5.0, 60.0
WORSE = 1.05

pytestmark = pytest.mark.skipif(shutil.which("bart") is None, reason="BART is not installed")


@pytest.fixture(scope="module")
def scan() -> tuple[VolumeData, np.ndarray, np.ndarray]:
    """Lines of a 2 x 2 lattice and a block, k-space (coil, z, y, x) with zeros, and the true magnitude (z, y, x)."""
    grid = Grid((NY, NX), (290 / NY, 360 / NX))
    heights = (np.arange(NZ) - NZ // 2) * THICKNESS
    phantom = Phantom(grid)
    maps = np.stack([coil_maps(COILS, grid.axis(0), grid.axis(1), float(z), 2) for z in heights], axis=1)
    obj = np.stack([phantom.draw(float(z), 0.0) for z in heights]) * slab_profile(heights)[:, None, None]
    truth = np.abs(obj) * rss(maps, 0)
    scale = SNR / truth[NZ // 2][phantom.blood_pixel()]
    kspace = fftc((maps * obj * scale).astype(np.complex64), (-3, -2, -1))
    rng = np.random.default_rng(3)
    kspace += rng.standard_normal((*kspace.shape, 2), np.float32).view(np.complex64)[..., 0]
    z, y = np.arange(NZ)[:, None], np.arange(NY)[None]
    block = (abs(z - NZ // 2 + 0.5) < ACS / 2) & (abs(y - NY // 2 + 0.5) < ACS / 2)
    mask = ((z % 2 == 0) & (y % 2 == 0)) | block
    first = ((NZ - ACS) // 2, (NY - ACS) // 2)
    acs = kspace[:, first[0] : first[0] + ACS, first[1] : first[1] + ACS]
    found = np.empty((1, COILS, NZ, NY, NX), np.complex64)
    volume_maps(acs, first, found, "espirit", {"crop": None})
    where = np.argwhere(mask[None])
    sampling = describe_volume(mask[None], (NZ // 2, NY // 2), (0, NX - 1), NX)
    data = VolumeData([Source(kspace[None], where)], acs, first, found, sampling)
    return data, kspace * mask[..., None], truth


@pytest.fixture(scope="module")
def bart(scan, tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Magnitude (z, y, x) by BART: maps of `ecalib`, image of `pics`, both as they are by default but for the block."""
    folder = tmp_path_factory.mktemp("bart")
    data = scan[1].transpose(3, 2, 1, 0)
    (folder / "k.hdr").write_text("# Dimensions\n" + " ".join(map(str, [*data.shape, *[1] * 12])) + "\n")
    data.ravel(order="F").tofile(folder / "k.cfl")
    env = {**os.environ, "OMP_NUM_THREADS": "2"}
    for command in (["ecalib", "-m1", f"-r{ACS}", "-k5", "k", "s"], ["pics", "-S", "k", "s", "i"]):
        subprocess.run(["bart", *command], cwd=folder, check=True, capture_output=True, env=env)
    return np.abs(_read(folder / "i"))


def _read(path: Path) -> np.ndarray:
    dims = [int(one) for one in path.with_suffix(".hdr").read_text().splitlines()[1].split()]
    return np.fromfile(path.with_suffix(".cfl"), np.complex64).reshape(dims, order="F").squeeze().T


def error(image: np.ndarray, truth: np.ndarray) -> float:
    """NRMSE of a magnitude after one free scale."""
    scaled = image * (np.sum(image * truth) / np.sum(image**2))
    return float(np.linalg.norm(scaled - truth) / np.linalg.norm(truth))


@pytest.mark.parametrize("method", [CgSense(), Grappa(gfactor=False)], ids=["cg_sense", "grappa"])
def test_a_volume_is_no_worse_than_barts(method, scan, bart: np.ndarray) -> None:
    data, _, truth = scan
    ours, theirs = error(np.abs(method.volume(data).images[0]), truth), error(bart, truth)
    body = truth > 0.05 * truth.max()
    print(f"ours {ours:.4f}, BART {theirs:.4f}")
    assert ours <= WORSE * theirs
    ours = error(np.abs(method.volume(data).images[0])[body], truth[body])
    assert ours <= WORSE * error(bart[body], truth[body])
