"""Work that may take only so long."""

import threading
import time

import pytest

from onebreath.cancellation import checkpoint
from onebreath.errors import DeadlineMissed, MethodError
from onebreath.methods.deadline import Begun, within


def test_work_in_time_gives_its_result_or_its_error():
    assert within(5, lambda: 3) == 3

    def fail():
        raise MethodError("no maps")

    with pytest.raises(MethodError, match="no maps"):
        within(5, fail)


def test_an_error_about_time_of_the_work_itself_is_not_mistaken_for_a_missed_deadline():
    def fail():
        raise TimeoutError("the disk is slow")

    with pytest.raises(TimeoutError, match="the disk is slow"):
        within(5, fail)


def test_late_work_is_left_behind_and_stops_at_its_next_checkpoint():
    stopped = threading.Event()

    def slow():
        try:
            while True:
                time.sleep(0.01)
                checkpoint()
        except DeadlineMissed:
            stopped.set()

    begun = time.perf_counter()
    with pytest.raises(DeadlineMissed, match=r"longer than 0\.\d+ s"):
        within(0.05, slow)
    assert time.perf_counter() - begun < 30
    assert stopped.wait(30)


def test_work_that_has_begun_can_be_waited_for_twice():
    release = threading.Event()
    running = Begun(lambda: release.wait(60))
    assert not running.ended(0.02)
    release.set()
    assert running.ended(60)
    assert running.result(0) is True
    assert running.seconds >= 0.02


def test_nothing_starts_beside_work_that_hangs():
    release = threading.Event()
    with pytest.raises(DeadlineMissed, match="longer than"):
        within(0.02, release.wait)
    with pytest.raises(DeadlineMissed, match="has not ended yet"):
        within(5, lambda: 1)
    release.set()
    for thread in threading.enumerate():
        if thread.name == "onebreath-method":
            thread.join(60)
    assert within(5, lambda: 1) == 1


def test_without_time_nothing_is_begun():
    with pytest.raises(DeadlineMissed, match="no time"):
        within(0, lambda: pytest.fail("was begun"))


def test_work_that_nobody_limits_has_no_checkpoints_to_fear():
    checkpoint()
