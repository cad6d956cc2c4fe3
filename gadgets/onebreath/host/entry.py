"""Targets of external nodes: what ``<execute name="onebreath.host.entry" target="chain" type="python"/>`` starts.

``chain`` runs all gadgets of its ``<configuration>`` in one process; each gadget is also a target of its own, so that
it can stand alone between Gadgetron's gadgets.
"""

from __future__ import annotations

from collections.abc import Callable

from gadgetron import external

from onebreath.chain import build
from onebreath.host.properties import CHAIN_TARGET, steps_of
from onebreath.host.wire import adopt, reporting

Target = Callable[[external.Connection], None]


def run_target(connection: external.Connection, target: str) -> None:
    """Run the node's gadgets on everything that arrives, and send on what they make.

    Whatever goes wrong is reported to the server as ERROR, after its data have been read to the end.

    Parameters
    ----------
    connection
        As handed over by ``python -m gadgetron``, or one of ours.
    target
        ``chain``, or the name of the only gadget.
    """
    connection = adopt(connection)
    with reporting(connection, target):
        chain = build(connection.header, steps_of(connection.config, target))
        for message in chain.run(connection):
            connection.send(message)


def _target(name: str) -> Target:
    def target(connection: external.Connection) -> None:
        run_target(connection, name)

    target.__name__ = name
    target.__doc__ = f"Run {name} as an external node; see `run_target`."
    return target


chain = _target(CHAIN_TARGET)
prewhiten = _target("prewhiten")
compress = _target("compress")
sort = _target("sort")
calibrate = _target("calibrate")
reconstruct = _target("reconstruct")
export = _target("export")
