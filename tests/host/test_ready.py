"""Acquisitions that lie ready are taken together; nothing else is, and nothing is waited for."""

import socket
import threading

import numpy as np
import pytest

from onebreath.mrd.blocks import LineBlock, singly
from onebreath.wire.connection import Connection
from tests.host.wiring import CLOSE, acquisition, encoded, pair, start, waveform


def sent(*messages: object, end: bytes = CLOSE) -> list:
    """What a connection gives in blocks when all of these lie ready before it reads."""
    with pair() as (ours, theirs):
        theirs.sendall(start() + encoded(*messages) + end)
        theirs.shutdown(socket.SHUT_WR)
        return list(Connection(ours).in_blocks())


def same(one: object, other: object) -> bool:
    return type(one) is type(other) and encoded(one) == encoded(other)


def test_lines_that_lie_ready_come_as_one_block():
    lines = [acquisition(number) for number in range(20)]
    first, block = sent(*lines)
    assert isinstance(block, LineBlock)
    assert len(block) == 19
    assert all(map(same, [first, *block], lines))


@pytest.mark.parametrize(
    "other",
    [
        waveform(),
        acquisition(50, channels=3),
        acquisition(50, samples=17),
        acquisition(50, channels=2, samples=32),
        acquisition(50, dimensions=2),
    ],
    ids=["waveform", "channels", "samples", "same size", "trajectory"],
)
def test_a_block_ends_at_anything_else(other):
    messages = [*map(acquisition, range(5)), other, *map(acquisition, range(5))]
    made = sent(*messages)
    assert [len(block) for block in made if isinstance(block, LineBlock)] == [4, 4]
    assert all(map(same, singly(made), messages))


@pytest.mark.parametrize("form", [{"dimensions": 2}, {"channels": 0}, {"samples": 0}], ids=str)
def test_lines_with_a_trajectory_or_without_samples_come_singly(form):
    lines = [acquisition(number, **form) for number in range(5)]
    made = sent(*lines)
    assert not any(isinstance(message, LineBlock) for message in made)
    assert all(map(same, made, lines))


def test_a_line_that_came_in_part_is_waited_for_only_when_its_turn_comes():
    lines = [acquisition(number) for number in range(4)]
    data = start() + encoded(*lines)
    with pair() as (ours, theirs):
        theirs.sendall(data[:-10])
        messages = Connection(ours).in_blocks()
        first, block = next(messages), next(messages)
        assert len(block) == 2
        theirs.sendall(data[-10:] + CLOSE)
        (last,) = messages
    assert all(map(same, [first, *block, last], lines))


def test_filtered_connections_and_those_with_readers_of_their_own_give_lines_singly():
    with pair() as (ours, theirs):
        theirs.sendall(start() + encoded(*map(acquisition, range(5))) + CLOSE)
        connection = Connection(ours)
        connection.filter(lambda message: True)
        assert not any(isinstance(message, LineBlock) for message in connection.in_blocks())


def test_blocks_are_no_larger_than_their_memory_and_lose_nothing():
    lines = [acquisition(number, channels=16, samples=512) for number in range(120)]
    expected = np.stack([line.data for line in lines])
    with pair(tcp=True) as (ours, theirs):
        sender = threading.Thread(target=theirs.sendall, args=(start() + encoded(*lines) + CLOSE,))
        sender.start()
        made = np.stack([line.data.copy() for line in singly(Connection(ours).in_blocks())])
        sender.join()
    assert np.array_equal(made, expected)
