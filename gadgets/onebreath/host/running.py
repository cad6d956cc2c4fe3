"""Gadgets of this package on one connection, in whichever process that is."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ismrmrd
from gadgetron.types import ImageArray

from onebreath.cancellation import checkpoint
from onebreath.chain.chain import build
from onebreath.chain.claims import claims_apart, with_claims_sealed
from onebreath.chain.gadget import usual_order
from onebreath.chain.marks import checked, marked, node_name
from onebreath.chain.notes import is_note, note, note_maker
from onebreath.chain.seals import Seals
from onebreath.config.node_options import Steps, read_options
from onebreath.diagnostics.events import tell
from onebreath.host.client_messages import ClientMessages
from onebreath.wire.client_channel import ClientChannel
from onebreath.wire.connection import Connection, reporting
from onebreath.wire.messages import Text

log = logging.getLogger("onebreath.host")


def run_here(connection: Connection, target: str, served_by: str, deliver: str = "") -> None:
    """Run a node in this process, at once; whatever goes wrong is reported to the other side.

    Parameters
    ----------
    connection
        On which CONFIG and HEADER have been read.
    target
        ``chain``, or the name of the only gadget.
    served_by
        Text for the images' meta: which process this is, and why.
    deliver
        Text for the images' meta: when they are delivered; if not given, that it is now.
    """
    with reporting(connection, target):
        options = read_options(connection.config, target)
        facts = {"served_by": served_by, **options.asked_for}
        if options.properties.deliver == "later":
            facts["deliver"] = deliver or "now; only a resident worker can deliver later"
        run_steps(connection, options.steps, facts)


def run_steps(
    connection: Connection, steps: Steps, facts: dict[str, Any], check: Callable[[], None] = lambda: None
) -> int:
    """Run gadgets on all incoming messages, and send back their output.

    Parameters
    ----------
    connection
        Where messages come from and go to.
    steps
        The gadgets and their properties.
    facts
        What the host decided; recorded in the images' meta.
    check
        Called before every message that is sent; what it raises ends the scan.

    Returns
    -------
    int
        Number of images sent, whichever messages they came in.
    """
    chain = build(connection.header, steps)
    for_client = ClientMessages() if isinstance(connection.channel, ClientChannel) else None
    sends_lines = for_client is None and "Acquisition" in chain.gadgets[-1].emits
    messages: Any = checked(connection.in_blocks() if chain.takes_blocks else connection, keep=sends_lines)
    here, seals = {name for name, _ in steps}, Seals(connection.raw_bytes.header)
    messages = claims_apart(believed(messages, here), seals)
    if "reconstruct" in here:  # which writes notes into the meta; others pass them on
        messages = itertools.chain([note("host", **facts)], _with_unsealed_noted(messages, seals, facts))
    tell("header", xml=connection.raw_bytes.header)
    made, count = chain.run(messages), 0
    for message in marked(made, node_name(chain.gadgets)) if sends_lines else made:
        check()
        checkpoint()
        given = _with_seal(message, here, seals) if for_client is None else for_client(message)
        if isinstance(given, Text):
            connection.channel.send(given)
        elif given is not None:
            connection.send(given)
        count += images_in(message)
        tell("images", message=message)
    return count


def believed(messages: Iterable[Any], here: set[str]) -> Iterator[Any]:
    """Yield the messages without forged notes.

    What gadgets of this node, later ones and the host decide is decided here; a note of theirs that comes from outside
    is forged, and so is any that reaches the first gadget of a chain.
    """
    order = usual_order()
    first = min((order.index(name) for name in here if name in order), default=0)
    rightly = set(order[:first]) - here
    warned = False
    for message in messages:
        if not is_note(message) or note_maker(message) in rightly:
            yield message
        elif not warned:
            warned = True
            log.warning("notes that were sent from outside are not believed, and left out")


def _with_unsealed_noted(messages: Iterable[Any], seals: Seals, facts: dict[str, Any]) -> Iterator[Any]:
    """Yield the messages; collect, for the images' meta, the gadgets whose notes no node of this user has made."""
    unsealed: list[str] = []
    for message in messages:
        if is_note(message) and not seals.holds(message) and note_maker(message) not in unsealed:
            unsealed.append(note_maker(message))
            yield note("host", **facts, notes_without_seal=", ".join(unsealed))
        yield message


def _with_seal(message: Any, here: set[str], seals: Seals) -> Any:
    """Return a message as it goes to the next node: what was decided here is sealed here."""
    if is_note(message):
        return seals.seal(message) if note_maker(message) in {*here, "host"} else message
    return with_claims_sealed(message, seals)


def images_in(message: Any) -> int:
    """Return how many images a message holds: none in a note or a waveform, all frames of an array."""
    if isinstance(message, ImageArray):
        return int(message.headers.size)
    return int(isinstance(message, ismrmrd.Image))
