import base64
import zlib
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from scipy.ndimage import find_objects, label

from onebreath.cli import main
from onebreath.images.reading import read_images
from onebreath.report.facts import Facts
from onebreath.report.page import page
from onebreath.report.viewer import encoded, pictures
from onebreath.report.words import sections
from tests.images.files import cine, image, write
from tests.report.browser import Browser, body

VIRIDIS_TOP = (253, 231, 37)


def circle(radius_mm: float, shape: tuple[int, int], fov_mm: tuple[float, float]) -> np.ndarray:
    """A disc, round in millimetres: `fov_mm` is along x and y."""
    y, x = ((np.arange(n) - n // 2) * mm / n for n, mm in zip(shape, reversed(fov_mm), strict=True))
    return (np.hypot(y[:, None], x[None]) < radius_mm).astype(np.float32)[None]


def test_a_circle_is_round_on_the_screen(tmp_path: Path) -> None:
    browser = Browser(tmp_path)
    disc = 3 * circle(100.0, (128, 128), (360.0, 290.0))
    images = write(tmp_path / "disc.h5", {20: [image(disc, series=20, meta={"GADGETRON_DataRole": "Gfactor"})]})
    assert main(["report", str(images)]) == 0
    seen = browser.picture(tmp_path / "disc.html")
    yellow = np.all(np.abs(seen.astype(int) - VIRIDIS_TOP) < 12, axis=2)
    parts, count = label(yellow)
    sizes = np.bincount(parts.ravel())[1:]
    rows, columns = find_objects(parts)[int(np.argmax(sizes))]
    tall, wide = rows.stop - rows.start, columns.stop - columns.start
    assert count >= 1
    assert wide > 200
    assert abs(wide - tall) <= 0.025 * wide, f"{wide} x {tall} screen pixels: 360 x 290 mm is drawn with false aspect"


def test_a_mirrored_scan_is_shown_as_a_scanner_shows_it(tmp_path: Path) -> None:
    values = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    where = {"read_dir": (-1, 0, 0), "phase_dir": (0, 1, 0), "slice_dir": (0, 0, 1)}
    (series,) = read_images(write(tmp_path / "i.h5", {1: [image(values, **where)]}))
    (made,) = encoded(pictures([series]))
    (place,) = made["places"]
    assert place["ends"] == {"left": "R", "right": "L", "top": "A", "bottom": "P"}
    assert place["turn"] == {"exchanged": False, "reversed_x": True, "reversed_y": False}, "for the pixels' numbers"
    shown = np.frombuffer(zlib.decompress(base64.b64decode(place["pixels"])), "<u2").reshape(3, 4)
    np.testing.assert_array_equal(np.rint(shown / 65535 * 11), values[0, :, ::-1])


def test_the_page_runs_in_a_browser_and_fetches_nothing(tmp_path: Path) -> None:
    browser = Browser(tmp_path)
    phase = [image(np.full((1, 12, 16), 1.5, np.float32), series=3001, image_type=2)]
    both = [image(np.full((1, 12, 16), 1 + 1j, np.complex64), series=4001)]
    images = write(tmp_path / "cine.h5", {1: cine(), 3001: phase, 4001: both})
    assert main(["report", str(images), "-o", str(tmp_path / "page.html")]) == 0
    document = browser.document(tmp_path / "page.html")
    assert body(document) == {"ready": "4"}, "cine, phase, and magnitude and phase of the complex series"
    assert document.count('class="viewer"') == 4
    assert "22.5 ms after the R-wave" in document
    text = (tmp_path / "page.html").read_text()
    assert "http://" not in text
    assert "https://" not in text
    assert "default-src 'none'" in text


def test_what_a_file_says_cannot_become_part_of_the_page(tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)></script><script>alert(2)</script>"
    meta = {"protocolName": evil, "Onebreath_reconstruct_method": evil, "GADGETRON_DataRole": evil}
    path = write(tmp_path / "i.h5", {1: [image(np.ones((1, 4, 4), np.float32), meta=meta)]})
    assert evil not in page(read_images(path), evil)


def test_the_patient_is_not_on_the_page(tmp_path: Path) -> None:
    path = write(tmp_path / "i.h5", {1: cine()})
    made = page(read_images(path), "i.h5")
    assert "PAT4711" not in made
    assert "study9" not in made
    assert "[hidden]" in made, "the noise's source is the scan itself"


def test_decisions_are_told_in_words(tmp_path: Path) -> None:
    meta = {
        "Onebreath_reconstruct_fallback": "model x is not for 7 T",
        "Onebreath_reconstruct_wanted": "unrolled",
        "Onebreath_reconstruct_thresholds_for_noise_times": "4",
        "Onebreath_reconstruct_choice": "grappa by held-back lines",
        "Onebreath_reconstruct_choice_errors": "grappa 0.05 +- 0.001; a_net 0.1 +- 0.002; "
        "b_net at least 0.2 +- 0.003, by a first look; b not tested: too slow",
        "Onebreath_sort_dropped_lines": "3 outside the matrix",
        "Onebreath_sort_missing_lines": "4",
        "Onebreath_sort_incomplete_frames": "2",
        "Onebreath_sort_incomplete_frames_policy": "fill",
        "Onebreath_sort_filled_from_frames_away": "1",
        "Onebreath_sort_repeated_lines_averaged": "5",
        "Onebreath_export_clipped_pixels": "7",
        "Onebreath_export_noise_factor": "0.5",
        "Onebreath_warnings": ["careful with this one", "and that"],
        "Onebreath_reconstruct_model": "x",
        "Onebreath_reconstruct_weights_sha256": "ab" * 32,
    }
    path = write(tmp_path / "i.h5", {1: [image(np.ones((1, 4, 4), np.float32), meta=meta)]})
    made = page(read_images(path), "i.h5")
    for words in (
        "This is a fallback: unrolled was not used, because: model x is not for 7 T",
        '<td>a_net</td><td class="number">0.1</td><td class="number">0.002</td>',
        '<td>b_net</td><td class="number">0.2</td><td class="number">0.003</td>',
        "behind at a first look, its error is at least this",
        "not tested: too slow",
        "with thresholds for 4 times the noise",
        "Lines were left out: 3 outside the matrix.",
        "4 lines are missing in 2 frames; what was done: fill.",
        "at most 1 frames away",
        "5 lines that had been acquired more than once were averaged.",
        "7 pixels were clipped.",
        "the noise of a pixel is 0.5 times that in SNR units",
        "2 warnings",
        "careful with this one",
        "ab" * 32,
    ):
        assert words in made, words


def test_the_error_is_told_of_all_slices_and_where_it_is_not_known() -> None:
    name = "Onebreath_reconstruct_choice_error_90_percent"
    texts = ["0.0304 to 0.0770", "0.0200 to 0.1100", "not known, as this slice has other lines"]
    metas = [{"Onebreath_reconstruct_method": "grappa", name: text} for text in texts]
    told = [one for section in sections(Facts(metas)) for one in section.sentences if "The error of" in one.text]
    assert [one.text for one in told] == [
        "The error of the magnitude is 0.0200 to 0.1100 of the image in nine of ten scans, of all slices together.",
        "The error of the magnitude is not known, as this slice has other lines.",
    ]
    assert [one.tone for one in told] == ["plain", "note"]


@pytest.mark.parametrize(("budget", "levels", "places"), [(1 << 20, 16, 2), (1200, 8, 2), (600, 8, 1)])
def test_a_large_scan_is_shown_with_less_and_says_so(tmp_path: Path, budget: int, levels: int, places: int) -> None:
    path = write(tmp_path / "i.h5", {1: cine(slices=2, phases=3)})  # 2 x 3 x 12 x 16 pixels
    (one,) = encoded(pictures(read_images(path)), budget)
    assert (one["levels"], len(one["places"])) == (levels, places)
    assert len(one["remarks"]) == (levels == 8) + (places == 1)


@pytest.mark.parametrize("scale", [1e-10, 1e-30])
def test_images_of_tiny_values_are_shown_as_those_of_usual_ones(tmp_path: Path, scale: float) -> None:
    usual, tiny = (
        encoded(pictures(read_images(write(tmp_path / f"{factor}.h5", {1: scaled(cine(), factor)}))))[0]
        for factor in (1.0, scale)
    )
    assert [end / scale for end in tiny["window"]] == pytest.approx(usual["window"], rel=1e-5)
    ours, theirs = (
        np.frombuffer(zlib.decompress(base64.b64decode(one["places"][1]["pixels"])), "<u2") for one in (tiny, usual)
    )
    assert np.ptp(theirs) > 10000
    np.testing.assert_allclose(ours.astype(int), theirs, atol=1)


def scaled(images: list[ismrmrd.Image], factor: float) -> list[ismrmrd.Image]:
    """The same images in other units."""
    for one in images:
        one.data[:] *= np.float32(factor)
    return images


def test_few_bright_pixels_on_black_are_shown(tmp_path: Path) -> None:
    values = np.zeros((1, 32, 32), np.float32)
    values[0, 4, 5] = 3e-9
    (one,) = encoded(pictures(read_images(write(tmp_path / "i.h5", {1: [image(values)]}))))
    assert one["window"] == pytest.approx([0, 3e-9])


def test_replay_leaves_a_report_with_the_raw_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scan, images = tmp_path / "scan.h5", tmp_path / "images.h5"
    assert main(["simulate", str(scan), "--matrix", "32", "32", "--slices", "1", "--phases", "2", "--coils", "4"]) == 0
    assert main(["replay", str(scan), "-c", "Onebreath_Cine_ZeroFilled.xml", "-o", str(images), "--report"]) == 0
    assert f"report: {tmp_path / 'images.html'}" in capsys.readouterr().out
    text = (tmp_path / "images.html").read_text()
    assert "Raw data: scan.h5" in text
    assert "encoded 64 x 32 x 1 samples" in text
    assert "The images were made by zero_filled." in text


def test_a_missing_package_is_one_line_that_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    path = write(tmp_path / "i.h5", {1: cine()})
    assert main(["report", str(path)]) == 1
    assert capsys.readouterr().err == (
        "onebreath report: A report needs the package jinja2: pip install 'onebreath[report]'.\n"
    )
    assert main(["replay", str(path), "--report"]) == 1
    assert "onebreath[report]" in capsys.readouterr().err
