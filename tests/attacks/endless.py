"""A method that never ends by itself."""

import threading
import time

from onebreath.cancellation import checkpoint
from onebreath.methods.base import Method, MethodParameters

BEGUN = threading.Event()


class Endless(Method):
    """Iterates for ever, as all methods may for long."""

    name = "endless"
    Parameters = MethodParameters

    def __call__(self, data):
        BEGUN.set()
        while True:
            checkpoint()
            time.sleep(0.005)
