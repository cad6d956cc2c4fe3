"""Size limits for the parts of a message."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from onebreath.errors import WireError


def half_of_memory() -> int:
    """Return half of this machine's memory in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


@dataclass(frozen=True)
class Limits:
    """Largest sizes accepted in a message; anything above is treated as a broken stream.

    Parameters
    ----------
    config, header : int
        Bytes of a configuration, of a header.
    text : int
        Bytes of a text, query, or the meta of one image.
    channels : int
        Channels of an acquisition; the MRD channel mask has room for 1024.
    acquisition : int
        Bytes of the data or of the trajectory of one acquisition or waveform.
    array : int
        Bytes of one array: an image, the k-space of a ReconData, the images of an ImageArray.
    items : int
        Number of headers, metas, waveforms or bits in one message.
    message : int
        Bytes of one message, all its parts together; half of this machine's memory.
    """

    text: int = 16 << 20
    config: int = 1 << 20
    header: int = 4 << 20
    channels: int = 1024
    acquisition: int = 1 << 28
    array: int = 1 << 35
    items: int = 1 << 22
    message: int = field(default_factory=half_of_memory)

    def check(self, name: str, value: int, limit: int) -> int:
        """Return `value` if it is within `limit`.

        Raises
        ------
        WireError
            Naming the field, its value and the limit.
        """
        if not 0 <= value <= limit:
            raise WireError(f"{name} is {value}, above the limit of {limit}: the stream is broken or not Gadgetron's")
        return value
