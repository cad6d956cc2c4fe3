"""PNG, GIF and MP4: grey pictures in one window for the whole series, in the true shape of the body."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onebreath.images.geometry import Geometry
from onebreath.optional import required

_QUALITY = "16"
"""Of MP4, by x264's scale of constant rate: smaller is better, 16 can hardly be distinguished from none."""


def shown(values: NDArray[np.floating], window: tuple[float, float], geometry: Geometry, zoom: float) -> list[object]:
    """Return frames (frame, y, x) as pictures: square screen pixels, `zoom` of them for the smaller side of a pixel.

    Values up to the lower end of the window are black, from the upper end white.
    """
    image = required("PIL.Image", "report", "A picture")
    low, high = window
    grey = np.rint(255 * ((values - low) / max(high - low, 1e-12)).clip(0, 1)).astype(np.uint8)
    smaller = min(geometry.spacing[:2])
    size = tuple(
        max(1, round(n * mm / smaller * zoom)) for n, mm in zip(geometry.size[:2], geometry.spacing[:2], strict=True)
    )
    return [image.fromarray(frame).resize(size, image.Resampling.BICUBIC) for frame in grey]


def write_png(picture: object, path: Path, said: dict[str, str]) -> None:
    """Write one picture; `said` becomes its text entries."""
    info = required("PIL.PngImagePlugin", "report", "A picture").PngInfo()
    for name, text in said.items():
        info.add_text(name, text)
    picture.save(path, pnginfo=info)  # type: ignore[attr-defined]


def write_gif(pictures: list[object], path: Path, frame_ms: float) -> None:
    """Write an endless loop; GIF knows hundredths of a second."""
    duration = max(20, round(frame_ms, -1))
    pictures[0].save(  # type: ignore[attr-defined]
        path, save_all=True, append_images=pictures[1:], duration=duration, loop=0
    )


def write_mp4(pictures: list[object], path: Path, frame_ms: float, loops: int = 5) -> None:
    """Write H.264 that every player shows; the loop is repeated, as players stop at the end.

    Raises
    ------
    ConfigError
        If PyAV is not installed.
    """
    av = required("av", "video", "MP4")
    with av.open(str(path), "w", format="mp4") as target:
        stream = target.add_stream("libx264", rate=Fraction(1000, max(1, round(frame_ms))), options={"crf": _QUALITY})
        wide, tall = pictures[0].size  # type: ignore[attr-defined]
        stream.width, stream.height, stream.pix_fmt = wide // 2 * 2, tall // 2 * 2, "yuv420p"  # H.264 wants even sizes
        for picture in pictures * loops:
            array = np.asarray(picture)[: stream.height, : stream.width]
            frame = av.VideoFrame.from_ndarray(np.repeat(array[..., None], 3, axis=2), format="rgb24")
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
