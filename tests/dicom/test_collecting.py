"""What is collected for a PACS: all images of a scan, or the word that there are too many."""

import ismrmrd
import numpy as np
import pytest

from onebreath.diagnostics.logs import about
from onebreath.dicom.export import collecting
from onebreath.dicom.export.collecting import Collector

IMAGE = ismrmrd.Image.from_array(np.ones((1, 1, 4, 4), np.uint16), transpose=False)


def collected(collector, scan, count=1):
    with about(scan):
        for _ in range(count):
            collector.hear("images", {"message": IMAGE})


@pytest.fixture
def collector():
    return Collector(lambda: {"one": "", "two": "", "three": ""})


def test_images_stay_with_their_scan_and_others_are_not_collected(collector):
    collected(collector, "one", 2)
    collected(collector, "two")
    collected(collector, "a scan that only fetches images")
    assert [len(collector.take(scan).images) for scan in ("one", "two")] == [2, 1]
    assert collector.take("a scan that only fetches images") is None


def test_scans_beyond_the_limit_are_said_to_be_too_many_and_earlier_ones_stay(collector, monkeypatch):
    monkeypatch.setattr(collecting, "MOST_SCANS", 2)
    for scan in ("one", "two", "three"):
        collected(collector, scan)
    assert [collector.take(scan).too_many for scan in ("one", "two", "three")] == [False, False, True]


def test_images_beyond_the_memory_are_let_go_whole(collector, monkeypatch):
    monkeypatch.setattr(collecting, "MOST_BYTES", 3 * IMAGE.data.nbytes // 2)
    collected(collector, "one")
    collected(collector, "two")
    first, second = collector.take("one"), collector.take("two")
    assert (len(first.images), len(second.images), second.too_many) == (1, 0, True)
    collector.let_go(first)
    assert collector.held == 0
