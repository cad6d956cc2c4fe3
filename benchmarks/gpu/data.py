"""Training data small enough to be carried: frames as JPEG 2000, the centre of k-space in half precision.

Frames are coded by the square root of their brightness in 8 bits and compressed to `QUALITY`: the error is about as
large as the noise of the images themselves, 2 % of the blood. `compress` and `expand` keep the names and layout of the
folder that recipes know as ``$ONEBREATH_SHARED``.
"""

from __future__ import annotations

import io
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[2]
QUALITY = 40.0
"""Peak signal-to-noise ratio of the compressed frames in dB; 2 dB less save a sixth."""
BRIGHTEST = 99.99
"""Percentile that becomes the largest code; what is brighter is clipped to it."""
STACKS = {
    "cine_sunnybrook/SCD0000101.npz": "CC0, Sunnybrook Cardiac Data (P. Radau et al., 2009)",
    "cine_sunnybrook/SCD0000201.npz": "CC0, Sunnybrook Cardiac Data (P. Radau et al., 2009)",
    "cine_sunnybrook/SCD0000301.npz": "CC0, Sunnybrook Cardiac Data (P. Radau et al., 2009)",
    "cine_xueh2.npz": "MIT, xueh2/matlab_mrrecon",
    "static_sunnybrook/images_crop160.npz": "CC0, Sunnybrook Cardiac Data (P. Radau et al., 2009)",
}
"""Image files and their licences. Patients that are kept for reports are never among them."""
KSPACE = {
    "cardiac34ch/kspace.npy": "MIT, xueh2/matlab_mrrecon",
    "brain16ch/kspace.npy": "MIT, pdawood/iterativeRaki",
}
"""Measured k-space that coil maps are estimated from."""
CENTRE = 64
"""Rows and columns of that k-space that are kept; the maps are estimated from fewer."""
COPIES = {"cine_sunnybrook/meta.json": "CC0, Sunnybrook Cardiac Data (P. Radau et al., 2009)"}
LICENCES = "LICENCES.md"
_HEADS = "how_the_frames_were_compressed"


def compress(target: Path, shared: Path | None = None, quality: float = QUALITY) -> list[str]:
    """Write what there is of the training data into `target`; returns a line for each file."""
    source = (shared or Path(os.environ.get("ONEBREATH_SHARED", ROOT.parent / "shared"))) / "data"
    lines, rows = [], ["# Licences of this data", "", "| file | licence and source |", "|---|---|"]
    for name, licence in (STACKS | KSPACE | COPIES).items():
        if not (source / name).is_file():
            lines.append(f"{name}: not at {source}, left out; recipes that name it cannot run there")
            continue
        made = target / name
        made.parent.mkdir(parents=True, exist_ok=True)
        if name in STACKS:
            _pack_stack(source / name, made, quality)
        elif name in KSPACE:
            np.save(made, _halved(np.load(source / name)))
        else:
            shutil.copyfile(source / name, made)
        rows.append(f"| {name} | {licence} |")
        lines.append(f"{name}: {(source / name).stat().st_size / 2**20:.1f} -> {made.stat().st_size / 2**20:.1f} MiB")
    target.mkdir(parents=True, exist_ok=True)
    note = f"Frames are compressed with loss (JPEG 2000, {quality:g} dB); of k-space there is the centre, in 16 bits."
    (target / LICENCES).write_text("\n".join([*rows, "", note]) + "\n", encoding="utf-8")
    return lines


def expand(packed: Path, target: Path) -> Path:
    """Write ``target/data`` as the original folder was; returns `target`, to be used as ``ONEBREATH_SHARED``."""
    for name in (*STACKS, *KSPACE, *COPIES):
        if not (packed / name).is_file():
            continue
        made = target / "data" / name
        made.parent.mkdir(parents=True, exist_ok=True)
        if name in STACKS:
            _unpack_stack(packed / name, made)
        elif name in KSPACE:
            pairs = np.load(packed / name).astype(np.float32)
            np.save(made, np.ascontiguousarray(pairs).view(np.complex64)[..., 0])
        else:
            shutil.copyfile(packed / name, made)
    return target


def encode(frames: np.ndarray, top: float, quality: float = QUALITY) -> list[bytes]:
    """Frames (frame, row, column) as JPEG 2000; `top` becomes the largest code."""
    codes = np.round(255 * np.sqrt(np.clip(frames / top, 0, 1))).astype(np.uint8)
    coded = []
    for frame in codes:
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG2000", quality_mode="dB", quality_layers=[quality])
        coded.append(file.getvalue())
    return coded


def decode(coded: list[bytes], top: float) -> np.ndarray:
    """Undo `encode`: float32 frames."""
    with ThreadPoolExecutor() as pool:
        frames = list(pool.map(lambda one: np.asarray(Image.open(io.BytesIO(one))), coded))
    return top * (np.stack(frames).astype(np.float32) / 255) ** 2


def _pack_stack(source: Path, made: Path, quality: float) -> None:
    """Compress all arrays of frames (..., row, column) of a file; other arrays stay as they are."""
    content: dict[str, np.ndarray] = {}
    heads: dict[str, dict[str, object]] = {}
    with np.load(source) as file:
        for name in file.files:
            array = file[name]
            if array.ndim < 3:
                content[name] = array
                continue
            top = float(max(np.percentile(array, BRIGHTEST), 1))
            coded = encode(array.reshape(-1, *array.shape[-2:]), top, quality)
            heads[name] = {"shape": array.shape, "dtype": str(array.dtype), "top": top, "sizes": [*map(len, coded)]}
            content[name] = np.frombuffer(b"".join(coded), np.uint8)
    with made.open("wb") as target:
        np.savez(target, **content, **{_HEADS: np.array(json.dumps(heads))})


def _unpack_stack(packed: Path, made: Path) -> None:
    with np.load(packed) as file:
        content = {name: file[name] for name in file.files}
    for name, head in json.loads(str(content.pop(_HEADS))).items():
        blob, ends = content[name].tobytes(), np.cumsum(head["sizes"])
        coded = [blob[end - size : end] for end, size in zip(ends, head["sizes"], strict=True)]
        content[name] = np.round(decode(coded, head["top"])).astype(head["dtype"]).reshape(head["shape"])
    np.savez(made, **content)


def _halved(kspace: np.ndarray) -> np.ndarray:
    """The centre of k-space as pairs in half precision; the largest number is 1000, so that small ones keep digits."""
    ny, nx = kspace.shape[-2:]
    rows, columns = (slice(max(n // 2 - CENTRE // 2, 0), n // 2 + CENTRE // 2) for n in (ny, nx))
    part = kspace[..., rows, columns]
    pairs = np.stack([part.real, part.imag], axis=-1)
    return (pairs * (1000 / np.abs(pairs).max())).astype(np.float16)
