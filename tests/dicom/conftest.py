"""No test of sending meets a worker, or the state, of the computer it runs on."""

from tests.host.conftest import own_state

__all__ = ["own_state"]
