"""Readers and writers of a configuration: the messages that it lets in and out, as in a Gadgetron server.

The server reads nothing, and writes nothing but texts, for which the configuration names no reader or writer. An
external node has all of them unless it names its own, which then replace those.
"""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element

from gadgetron.external import constants

from onebreath.errors import ConfigError

ACQUISITION = constants.GADGET_MESSAGE_ISMRMRD_ACQUISITION
WAVEFORM = constants.GADGET_MESSAGE_ISMRMRD_WAVEFORM
IMAGE = constants.GADGET_MESSAGE_ISMRMRD_IMAGE
RECON_DATA = constants.GADGET_MESSAGE_RECON_DATA
IMAGE_ARRAY = constants.GADGET_MESSAGE_IMAGE_ARRAY
BUCKET = constants.GADGET_MESSAGE_BUCKET

BY_NAME = {
    "Acquisition": ACQUISITION, "Waveform": WAVEFORM, "Image": IMAGE, "ReconData": RECON_DATA,
    "ImageArray": IMAGE_ARRAY, "AcquisitionBucket": BUCKET,
}  # fmt: skip
"""Messages by the names that gadgets give them."""
EVERYTHING = frozenset({ACQUISITION, WAVEFORM, IMAGE, RECON_DATA, IMAGE_ARRAY, BUCKET})
"""What an external node may get and give unless it says otherwise."""

_TEXT = constants.GADGET_MESSAGE_TEXT
_CORE = {"Acquisition": ACQUISITION, "Waveform": WAVEFORM, "Image": IMAGE, "Buffer": RECON_DATA, "Text": _TEXT}
_CORE |= {"IsmrmrdImageArray": IMAGE_ARRAY, "AcquisitionBucket": BUCKET}
_MRICORE = {"MRIImage": IMAGE, "GadgetIsmrmrdAcquisitionMessage": ACQUISITION, "GadgetIsmrmrdWaveformMessage": WAVEFORM}
KNOWN = {
    "reader": {
        "gadgetron_core_readers": {f"{name}Reader": number for name, number in _CORE.items()},
        "gadgetron_mricore": {f"{name}Reader": number for name, number in _MRICORE.items()},
    },
    "writer": {
        "gadgetron_core_writers": {f"{name}Writer": number for name, number in _CORE.items()},
        "gadgetron_mricore": {f"{name}Writer": number for name, number in _MRICORE.items()}
        | {"DependencyQueryWriter": _TEXT},
    },
}
"""Messages that Gadgetron's own readers and writers are for, by kind, library and class."""
MOST = 65535


def element_for(kind: str, message: int) -> str:
    """Return the XML of Gadgetron's own reader or writer (`kind`) of a message."""
    library = f"gadgetron_core_{kind}s"
    name = next(name for name, number in KNOWN[kind][library].items() if number == message)
    return f"<{kind}><dll>{library}</dll><classname>{name}</classname></{kind}>"


def elements_for(kind: str, messages: Iterable[int]) -> str:
    """Return the XML of a section of readers or writers."""
    return f"<{kind}s>{''.join(element_for(kind, message) for message in sorted(messages))}</{kind}s>"


def messages_of(section: Element | None, kind: str, where: str) -> frozenset[int]:
    """Return the messages that a section's readers or writers are for; none if there is no section.

    Those from libraries of others are not known here, and give nothing.

    Parameters
    ----------
    section
        ``<readers>`` or ``<writers>``, or the root of a configuration in the old grammar.
    kind
        ``reader`` or ``writer``.
    where
        What errors call the configuration.

    Raises
    ------
    ConfigError
        If one of Gadgetron's libraries has no such class, or a ``<slot>`` is no number.
    """
    found: set[int] = set()
    for element in () if section is None else section.findall(kind):
        library, name = (element.findtext("dll") or ""), (element.findtext("classname") or "")
        if not library or not name:
            raise ConfigError(f"{where}: a <{kind}> needs <dll> and <classname>; Gadgetron cannot load it")
        classes = KNOWN[kind].get(library)
        if classes is not None and name not in classes:
            raise ConfigError(
                f"{where}: the library {library} has no {kind} '{name}', so Gadgetron would refuse it; "
                f"it has {', '.join(sorted(classes))}"
            )
        slot = element.findtext("slot") or ""
        if kind == "reader" and slot:
            found.add(_slot(slot, where))
        elif classes is not None:
            found.add(classes[name])
    return frozenset(found)


def foreign(section: Element | None, kind: str) -> list[str]:
    """Return the readers or writers of a section that are from a library of others, as ``library:class``."""
    elements = () if section is None else section.findall(kind)
    pairs = [(element.findtext("dll") or "", element.findtext("classname") or "") for element in elements]
    return [f"{library}:{name}" for library, name in pairs if library not in KNOWN[kind]]


def _slot(text: str, where: str) -> int:
    if not text.strip().isdecimal() or int(text) > MOST:
        raise ConfigError(f"{where}: <slot>{text}</slot> of a reader is no number of a message")
    return int(text)
