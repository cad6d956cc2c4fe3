"""Computations side by side: order, context, errors and cancellation."""

import contextvars
import threading

import pytest

from onebreath import threads as module
from onebreath.cancellation import checkpoint, ended_by
from onebreath.errors import MethodError
from onebreath.threads import side_by_side

NAME = contextvars.ContextVar("name", default="none")


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch):
    monkeypatch.setattr(module.os, "cpu_count", lambda: 2)


def test_works_meet_while_they_run_and_keep_their_order_and_context():
    both = threading.Barrier(2, timeout=10)
    NAME.set("scan")

    def work(name):
        both.wait()
        return name, NAME.get()

    assert side_by_side([lambda: work("a"), lambda: work("b")]) == [("a", "scan"), ("b", "scan")]


@pytest.mark.parametrize("wrong", [0, 1])
def test_the_others_stop_when_one_fails(wrong):
    def endless():
        while True:
            checkpoint()

    def fails():
        raise MethodError("no coil maps")

    works = [endless, endless]
    works[wrong] = fails
    with pytest.raises(MethodError, match="no coil maps"):
        side_by_side(works)


def test_the_scan_being_cancelled_reaches_all():
    def cancelled():
        raise MethodError("the client has gone")

    with ended_by(cancelled), pytest.raises(MethodError, match="the client has gone"):
        side_by_side([checkpoint, checkpoint])


def test_without_a_thread_the_calling_one_does_all(monkeypatch):
    def refuse(_):
        raise MemoryError

    monkeypatch.setattr(module, "begin", refuse)
    mine = threading.current_thread()
    assert side_by_side([threading.current_thread, threading.current_thread]) == [mine, mine]
