"""Images for thumbnails and reports: nameless, few, and only for a while."""

import os
import stat
import time
from io import BytesIO
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
from PIL import Image

from onebreath.images.reading import read_images
from onebreath.web import pictures as module
from onebreath.web import recorder
from onebreath.web.pictures import Pictures, thumbnail
from tests.host import tiny
from tests.host.test_worker import client_scan, gadget_scan
from tests.host.wiring import start
from tests.images.files import image
from tests.web.served import served

SECRETS = ("TINY-1", "Miller", "Anna", "1_2_3_4", "19700102")


def identified() -> bytes:
    """A header that names a patient in every way."""
    subject = b"<subjectInformation><patientName>Miller^Anna</patientName>"
    header = tiny.header().replace(b"<subjectInformation>", subject)
    header = header.replace(b"</patientID>", b"</patientID><patientBirthdate>1970-01-02</patientBirthdate>")
    return header.replace(b"<protocolName>test<", b"<protocolName>cine of Miller<")


@pytest.mark.parametrize("side", ["connect", "client"])
def test_nothing_that_is_kept_or_shown_names_the_patient(
    tmp_path: Path, side: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(tmp_path) as page:
        if side == "client":
            header = identified()
            monkeypatch.setattr(tiny, "header", lambda: header)
            assert len(client_scan(page.worker, tiny.stream())) == 1
        else:
            data = b"".join([start(tiny.configuration(), identified()), *tiny.pieces(b"")[1:]])
            assert len(gadget_scan(page.worker, data).images) == 1
        assert page.written()
        ((scan, protocol),) = page.rows("SELECT scan, protocol FROM scans")
        assert protocol == "cine of [hidden]"
        shown = [page.get(path).text for path in ("/", "/scans", f"/scans/{scan}", "/trends", "/log")]
        report = page.get(f"/scans/{scan}/report")
        assert report.status == 200
        assert report.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")
        files = [path for path in (tmp_path / "state/web").rglob("*") if path.is_file()]
        assert {path.suffix for path in files} >= {".h5", ".png", ".html", ".sqlite"}
        for path in files:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        kept = [path.read_bytes().decode("latin-1") for path in files]
        (series,) = read_images(next(path for path in files if path.suffix == ".h5"))
        told = [str(meta) for meta in series.metas]
        database = [str(row) for table in ("scans", "log", "alarms") for row in page.rows(f"SELECT * FROM {table}")]
        for text in [*shown, report.text, *kept, *told, *database]:
            for secret in SECRETS:
                assert secret not in text


def test_no_pictures_are_kept_where_none_are_wanted(tmp_path: Path) -> None:
    with served(tmp_path, hours=0.0) as page:
        client_scan(page.worker, tiny.stream())
        assert page.written()
        ((scan,),) = page.rows("SELECT scan FROM scans")
        assert not (tmp_path / "state/web/pictures").exists()
        assert "--web-pictures 0" in page.get(f"/scans/{scan}").text
        assert "<img" not in page.get("/").text
        for rest in ("report", "thumbnail.png"):
            assert page.get(f"/scans/{scan}/{rest}").status == 404


def test_scans_whose_images_are_too_many_have_none_and_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "MOST_BYTES", 100)
    with served(tmp_path) as page:
        for _ in range(2):
            assert len(client_scan(page.worker, tiny.stream())) == 1
        assert page.written()
        scans = page.rows("SELECT scan FROM scans")
        assert len(scans) == 2
        for (scan,) in scans:
            assert "wait to be written" in page.get(f"/scans/{scan}").text


def test_pictures_are_removed_in_time_and_for_room(tmp_path: Path) -> None:
    kept = Pictures(tmp_path, hours=1.0, most=3000)
    for number in range(5):
        path = tmp_path / f"{number}.h5"
        path.write_bytes(bytes(1000))
        os.utime(path, (time.time() - 100 + number,) * 2)
    os.utime(tmp_path / "4.h5", (time.time() - 7200,) * 2)
    kept.prune(room=500)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.h5", "3.h5"]
    os.utime(tmp_path / "3.h5", (time.time() + 7200,) * 2)  # the clock was wrong
    kept.prune()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2.h5"]


def test_a_disk_without_room_costs_the_pictures_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def full(count: int) -> None:
        raise OSError(28, "No space left on device")

    kept = Pictures(tmp_path / "p", 1.0, full)
    kept.keep("20260101-1", [image(np.ones((1, 4, 4), np.float32))], str)
    assert list((tmp_path / "p").iterdir()) == []
    assert "the pictures of scan 20260101-1 are not kept" in caplog.text


def test_a_damaged_file_of_images_is_a_page_that_says_so(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        client_scan(page.worker, tiny.stream())
        assert page.written()
        ((scan,),) = page.rows("SELECT scan FROM scans")
        (tmp_path / f"state/web/pictures/{scan}.h5").write_bytes(b"damaged")
        answer = page.get(f"/scans/{scan}/report")
        assert answer.status == 500
        assert "could not be made" in answer.text
        assert "Traceback" not in answer.text
        assert page.get("/").status == 200


def test_a_thumbnail_has_the_aspect_of_the_field_of_view_and_the_middle_image() -> None:
    images = [image(np.full((1, 20, 20), level, np.float32)) for level in (0, 1, 0)]
    for one in images:
        one.field_of_view = (300.0, 150.0, 8.0)
    with Image.open(BytesIO(thumbnail(images))) as seen:
        assert seen.size == (module.SIDE, module.SIDE // 2)
        assert np.asarray(seen).min() == 255


def test_a_thumbnail_is_upright() -> None:
    values = np.zeros((1, 24, 96), np.float32)
    values[0, 2, 90] = 1
    one = image(values, read_dir=(0, 1, 0), phase_dir=(-1, 0, 0), field_of_view=(96.0, 24.0, 8.0))
    with Image.open(BytesIO(thumbnail([one]))) as seen:
        assert seen.size == (24, 96)
        assert np.unravel_index(np.asarray(seen).argmax(), (96, 24)) == (90, 21)


@pytest.mark.parametrize("kind", [np.uint16, np.float32, np.complex64])
def test_thumbnails_are_made_of_all_kinds_of_pixels(kind: type) -> None:
    data = np.zeros((1, 8, 8), kind)
    data[0, 2, 3] = 7
    made = ismrmrd.Image.from_array(data, transpose=False)
    with Image.open(BytesIO(thumbnail([made]))) as seen:
        assert np.asarray(seen).max() > 200
    nothing = ismrmrd.Image.from_array(np.full((1, 8, 8), np.nan, np.float32), transpose=False)
    assert thumbnail([nothing]).startswith(b"\x89PNG")
