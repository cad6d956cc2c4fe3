from hypothesis import given
from hypothesis import strategies as st

from onebreath.gadgets.reconstruct.numbers import ImageNumbers
from onebreath.mrd.header import ScanHeader
from onebreath.mrd.meta import COUNTERS
from tests.scans import header, line_header


def number(numbers: ImageNumbers, values: dict[str, int] | None = None, series: int = 1, **idx: int) -> int:
    return numbers(series, line_header(0, 8, 1, **idx).idx, values or {})


def test_image_numbers_count_slices_fastest():
    numbers = ImageNumbers(ScanHeader(header(8, 8, phases=3, slices=2)))
    assert [number(numbers, phase=p, slice=s) for p in range(3) for s in range(2)] == [1, 2, 3, 4, 5, 6]
    assert number(numbers, series=2) == 1


def test_what_was_acquired_numbers_the_images_where_the_header_announces_less():
    numbers = ImageNumbers(ScanHeader(header(8, 8)))
    made = [number(numbers, {"phase": 5, "slice": 3}, phase=p, slice=s) for s in range(3) for p in range(5)]
    assert sorted(made) == list(range(1, 16))


def test_numbers_beyond_the_headers_field_are_replaced_by_free_ones():
    numbers = ImageNumbers(ScanHeader(header(8, 8, phases=40000, slices=2)))
    assert number(numbers, phase=39999, slice=1) == 1


@given(places=st.lists(st.tuples(*[st.integers(0, 65535)] * 6), min_size=1, max_size=40))
def test_no_number_is_given_twice_whatever_the_counters_say(places):
    numbers = ImageNumbers(ScanHeader(header(8, 8)))
    made = [number(numbers, **dict(zip(COUNTERS, place, strict=True))) for place in places]
    assert len(set(made)) == len(made)
    assert all(1 <= one <= 65535 for one in made)
