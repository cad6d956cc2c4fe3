"""A genuine phantom scan: its sharpness is that of its pixels."""

from pathlib import Path

import pytest

from onebreath.acceptance.edge import edge_response, find_disc
from onebreath.acceptance.phantom import ghosting
from onebreath.acceptance.subject import read_subject
from onebreath.cli import main
from onebreath.errors import ScanError

pytest.importorskip("twixtools")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::SyntaxWarning")
def test_the_edge_of_a_siemens_phantom_is_as_sharp_as_its_pixels(shared: Path, tmp_path: Path) -> None:
    source = shared / "data" / "vendor_raw" / "gre.dat"
    if not source.is_file():
        pytest.skip(f"no {source}")
    assert main(["import", str(source), "-o", str(tmp_path / "gre.h5")]) == 0
    subject = read_subject(tmp_path / "gre.h5", "dataset", None)
    assert subject.pixel_mm == pytest.approx((1.25, 1.25)) and subject.full
    image = subject.combined.mean(axis=0)
    disc = find_disc(image, subject.pixel_mm)  # which holds inserts, and stands on a support
    for axis in (0, 1):
        found = edge_response(image, subject.pixel_mm, disc, axis)
        # A band limit alone gives 1.207 and 0.5.
        assert 0.95 < found.fwhm_mm / 1.25 < 1.3
        assert 0.45 < found.mtf50 * 1.25 < 0.6
    with pytest.raises(ScanError, match="too little air"):
        ghosting(subject.sum_of_squares, subject.pixel_mm, disc)
