import threading
import time
from collections.abc import Iterable, Iterator

import pytest
from threadpoolctl import threadpool_info

from onebreath.chain import gadget
from onebreath.chain.chain import Chain, build, check_order, groups
from onebreath.chain.gadget import Gadget, Message
from onebreath.errors import ConfigError, ConnectionLost, OnebreathError, ScanError, WireError
from tests.scans import header


class Pass(Gadget):
    name = "pass"
    consumes = emits = ("Acquisition",)

    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        yield from messages


class FailAt(Pass):
    def __init__(self, place: int, error: BaseException) -> None:
        super().__init__(header(8, 8), self.Properties())
        self.place, self.error = place, error

    def process(self, messages: Iterable[Message]) -> Iterator[Message]:
        for place, message in enumerate(messages):
            if place == self.place:
                raise self.error
            yield message


def make(cls: type[Gadget]) -> Gadget:
    return cls(header(8, 8), cls.Properties())


def test_messages_keep_their_order():
    chain = Chain([make(Pass) for _ in range(4)])
    assert list(chain.run(range(1000))) == list(range(1000))


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_failing_gadget_lets_the_sender_finish_first(place):
    sent = []

    def source():
        for number in range(2000):
            sent.append(number)
            yield number

    gadgets = [make(Pass) for _ in range(3)]
    gadgets[place] = FailAt(10, ScanError("line 10 is bad"))
    with pytest.raises(ScanError, match="line 10 is bad"):
        list(Chain(gadgets).run(source()))
    assert len(sent) == 2000


def test_an_input_that_breaks_later_does_not_hide_the_error():
    def source():
        yield from range(2000)
        raise ConnectionLost("gone")

    with pytest.raises(ScanError, match="line 10 is bad"):
        list(Chain([FailAt(10, ScanError("line 10 is bad"))]).run(source()))


def test_nothing_is_read_after_the_input_broke():
    class Broken:
        asked = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.asked += 1
            raise WireError("nonsense")

    broken = Broken()
    with pytest.raises(WireError, match="nonsense"):
        list(Chain([make(Pass)]).run(broken))
    assert broken.asked == 1


def test_an_unexpected_error_names_the_gadget(caplog):
    with pytest.raises(OnebreathError, match=r"internal error in gadget pass: ZeroDivisionError"):
        list(Chain([FailAt(0, ZeroDivisionError("x"))]).run(range(3)))
    assert "ZeroDivisionError" in caplog.text


def test_no_thread_is_left_when_the_reader_goes_away():
    before = threading.active_count()
    stream = Chain([make(Pass) for _ in range(3)]).run(range(10**5))
    assert next(stream) == 0
    stream.close()
    assert threading.active_count() == before


def test_gadgets_overlap():
    at_work = set()
    together = []

    class Slow(Pass):
        consumes = emits = ("ReconData",)

        def process(self, messages):
            for message in messages:
                at_work.add(self)
                time.sleep(0.01)
                together.append(len(at_work))
                at_work.remove(self)
                yield message

    assert len(list(Chain([make(Slow), make(Slow), make(Slow)]).run(range(20)))) == 20
    assert max(together) == 3


def test_gadgets_that_hand_on_lines_share_a_thread_with_the_next():
    class Slices(Pass):
        consumes = emits = ("ReconData",)

    gadgets = [make(cls) for cls in (Pass, Pass, Slices, Slices)]
    assert groups(gadgets) == [gadgets[:3], gadgets[3:]]


def test_lines_are_read_in_the_thread_that_works_on_them():
    def source():
        yield threading.current_thread().name

    class Slices(Pass):
        consumes = emits = ("ReconData",)

    assert list(Chain([make(Pass), make(Pass)]).run(source())) == ["onebreath-pass"]
    assert list(Chain([make(Slices)]).run(source())) == ["onebreath-input"]


def test_a_full_queue_holds_the_sender_back():
    sent = []

    def source():
        for number in range(5000):
            sent.append(number)
            yield number

    stream = Chain([make(Pass)]).run(source())
    next(stream)
    time.sleep(0.1)
    assert len(sent) < 500
    stream.close()


def test_an_order_in_which_a_gadget_gets_nothing_is_refused():
    with pytest.raises(ConfigError, match=r"'export' works on ImageArray, but 'sort' before it makes ReconData"):
        check_order([gadget.gadget_class(name) for name in ("prewhiten", "compress", "sort", "export")])


def test_a_chain_without_gadgets_is_refused():
    with pytest.raises(ConfigError, match="names no gadget"):
        build(header(8, 8), [])


def test_timing_is_logged_when_asked_for(caplog):
    chain = Chain([Pass(header(8, 8), Pass.Properties(perform_timing=True))])
    with caplog.at_level("INFO", logger="onebreath.chain"):
        list(chain.run(range(3)))
    assert "pass worked for" in caplog.text


def test_blas_keeps_to_one_thread():
    list(Chain([make(Pass)]).run(range(3)))
    pools = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
    assert pools
    assert set(pools) == {1}
