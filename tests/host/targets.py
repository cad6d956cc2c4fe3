"""Targets of external nodes for the tests: what a user's own Python gadget may look like, and how it may go wrong."""

import threading

import ismrmrd
import numpy as np

waiting = threading.Event()
"""Set when `never_ready` has read its first message."""


def pass_through(connection):
    for message in connection:
        connection.send(message)


class PassThrough:
    def handle(self, connection):
        pass_through(connection)


def image_of_configuration(connection):
    """One image per scan, its pixels the number of acquisitions, its meta the configuration."""
    count = sum(isinstance(message, ismrmrd.Acquisition) for message in connection)
    image = ismrmrd.Image.from_array(np.full((1, 1, 4, 4), count, np.float32), transpose=False)
    image.image_series_index = 3
    text = connection.raw_bytes.config.decode()
    image.meta = {"configuration": text, "patient": connection.header.encoding[0].trajectory.value}
    connection.send(image)


def doubler(connection):
    for message in connection:
        if isinstance(message, ismrmrd.Acquisition):
            message.data[:] *= 2
        connection.send(message)


def raises(connection):
    next(connection)
    raise ValueError("coil 7 is missing")


def raises_at_the_fourth(connection):
    for number, message in enumerate(connection):
        if number == 3:
            raise ValueError("coil 7 is missing")
        connection.send(message)


def sends_at_the_end(connection):
    for message in list(connection):
        connection.send(message)


def returns_early(connection):
    next(connection)


def never_ready(connection):
    next(connection)
    waiting.set()
    for _ in connection:
        pass


not_callable = 3
