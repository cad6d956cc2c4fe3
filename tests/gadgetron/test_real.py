"""What the server's log tells of a process that crashed by itself."""

import pytest

from tests.gadgetron.real import FINISHED, STARTED, STREAM, WAITING, died_before_a_node

QUERY = ["Accepted connection from: ::ffff:127.0.0.1", "Connection state: [VOID]", FINISHED]
BEGIN = ["Accepted connection from: ::ffff:127.0.0.1", STREAM, "loading gadget_factory_export_ - NoiseAdjustGadget"]
WAITS = f"{WAITING} 'onebreath.host.entry' on port: 42547"


@pytest.mark.parametrize(
    ("lines", "own"),
    [
        ([*QUERY, *BEGIN, WAITS], True),
        ([*QUERY, *BEGIN, WAITS, f"{STARTED} (pid: 1)."], False),
        ([*QUERY, *BEGIN, WAITS, f"{STARTED} (pid: 1).", FINISHED], False),
        ([*QUERY, *BEGIN, WAITS, "ERROR [Core.cpp:73] Finalizing connection to client failed"], False),
        ([*QUERY, *BEGIN], False),
        (QUERY, False),
    ],
)
def test_a_crash_of_the_servers_own_is_told_from_one_that_a_node_may_have_caused(lines: list[str], own: bool) -> None:
    assert died_before_a_node("\n".join(lines)) == own
