"""PNG, GIF and MP4: grey pictures with one window per series, in the true shape of the body."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from onebreath.errors import ConfigError
from onebreath.images.geometry import Geometry
from onebreath.keeping import whole
from onebreath.optional import required

LARGEST_SIDE = 16384
"""Most screen pixels along a side: few viewers and players take more, and a picture of it is 256 MiB."""
_QUALITY = "16"
"""Constant rate factor of x264 for MP4: smaller is better, and 16 is nearly indistinguishable from lossless."""


def shown(values: NDArray[np.floating], window: tuple[float, float], geometry: Geometry, zoom: float) -> list[Any]:
    """Frames (frame, y, x) as pictures with square screen pixels, `zoom` of them per smaller side of a pixel.

    Values are black up to the lower end of the window, and white from its upper end, which is above the lower one; what
    is no number is black.
    """
    image = required("PIL.Image", "report", "A picture")
    low, high = window
    scaled = np.nan_to_num((values.astype(np.float64) - low) / (high - low), nan=0.0, posinf=1.0, neginf=0.0)
    grey = np.rint(255 * scaled.clip(0, 1)).astype(np.uint8)
    return [image.fromarray(frame).resize(sides(geometry, zoom), image.Resampling.BICUBIC) for frame in grey]


def sides(geometry: Geometry, zoom: float) -> tuple[int, int]:
    """Width and height of a picture in screen pixels, `zoom` of them per smaller side of a pixel.

    Raises
    ------
    ConfigError
        If one is above `LARGEST_SIDE`.
    """
    smaller = min(geometry.spacing[:2])
    wide, tall = (n * mm / smaller * zoom for n, mm in zip(geometry.size[:2], geometry.spacing[:2], strict=True))
    if max(wide, tall) > LARGEST_SIDE:
        raise ConfigError(
            f"--zoom {zoom:g} would make pictures of {wide:.0f} x {tall:.0f} screen pixels, more than {LARGEST_SIDE} a "
            f"side; these images allow up to {int(LARGEST_SIDE * zoom / max(wide, tall))}."
        )
    return max(1, round(wide)), max(1, round(tall))


def write_png(picture: Any, path: Path, texts: dict[str, str]) -> None:
    """Write one picture atomically, with text entries."""
    info = required("PIL.PngImagePlugin", "report", "A picture").PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    with whole(path) as part:
        picture.save(part, "PNG", pnginfo=info)


def write_gif(pictures: list[Any], path: Path, frame_ms: float) -> None:
    """Write an endless loop atomically; GIF rounds the duration of frames to hundredths of a second."""
    duration = max(20, round(frame_ms, -1))
    with whole(path) as part:
        pictures[0].save(part, "GIF", save_all=True, append_images=pictures[1:], duration=duration, loop=0)


def write_mp4(pictures: list[Any], path: Path, frame_ms: float, loops: int = 5) -> None:
    """Write H.264 video atomically, with the loop repeated, as players stop at the end.

    Raises
    ------
    ConfigError
        If PyAV is not installed, or the file cannot be written.
    """
    av = required("av", "video", "MP4")
    with whole(path) as part, av.open(str(part), "w", format="mp4") as target:
        stream = target.add_stream("libx264", rate=Fraction(1000, max(1, round(frame_ms))), options={"crf": _QUALITY})
        wide, tall = pictures[0].size
        stream.width, stream.height, stream.pix_fmt = wide // 2 * 2, tall // 2 * 2, "yuv420p"  # H.264 needs even sizes
        for picture in pictures * loops:
            array = np.asarray(picture)[: stream.height, : stream.width]
            frame = av.VideoFrame.from_ndarray(np.repeat(array[..., None], 3, axis=2), format="rgb24")
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
