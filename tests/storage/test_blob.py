"""The container of stored arrays: Gadgetron's layout byte for byte, and whatever else comes is refused."""

import hashlib
import random
import struct

import numpy as np
import pytest

from onebreath.storage.base import StorageError
from onebreath.storage.blob import pack, unpack
from tests.helpers import complex_normal

ARRAY = complex_normal(np.random.default_rng(0), (3, 2), np.complex64)


def test_layout_is_the_published_one() -> None:
    digest = hashlib.sha256(ARRAY.tobytes() + b'[[3, 2], {"a": 1}]').hexdigest()
    text = b'{"a": 1, "onebreath_sha256": "%s"}' % digest.encode()
    expected = b"SFNDAM" + struct.pack("<IIIQQQ", 1, 7, 2, 3, 2, len(text)) + ARRAY.tobytes() + text
    assert pack(ARRAY, {"a": 1}) == expected
    assert unpack(gadgetron(b'{"a": 1}'))[1] == {"a": 1}


def gadgetron(text: bytes) -> bytes:
    """What Gadgetron would have written: no digest."""
    return b"SFNDAM" + struct.pack("<IIIQQQ", 1, 7, 2, 3, 2, len(text)) + ARRAY.tobytes() + text


@pytest.mark.parametrize("shape", [(1,), (4, 3), (2, 0, 3), (2, 3, 4, 5)])
def test_round_trip(shape: tuple[int, ...]) -> None:
    array = complex_normal(np.random.default_rng(1), shape, np.complex64)
    found, facts = unpack(pack(array, {"labels": ["ä", "b"], "dwell": 2.5}))
    assert np.array_equal(found, array)
    assert found.shape == shape
    assert facts == {"labels": ["ä", "b"], "dwell": 2.5}


def test_any_cut_or_changed_head_is_refused_without_allocating_what_it_claims() -> None:
    whole = pack(ARRAY, {"a": 1})
    for end in range(len(whole)):
        with pytest.raises(StorageError):
            unpack(whole[:end])
    chance = random.Random(3)
    for place in range(42):
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        with pytest.raises(StorageError):
            unpack(bytes(changed))
    with pytest.raises(StorageError, match="no JSON object"):
        unpack(gadgetron(b"[]"))


def test_no_changed_bit_is_used() -> None:
    whole = pack(ARRAY, {"a": 1, "b": "text"})
    good, facts = unpack(whole)
    for place in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[place // 8] ^= 1 << place % 8
        try:
            found, told = unpack(bytes(changed))
        except StorageError:
            continue
        told.pop("onebreath_sha256", None)
        # Only the digest's own name was hit: what it stands for is as it was.
        assert np.array_equal(found, good)
        assert {name: told[name] for name in facts} == facts
