"""The page in a real browser, while scans come."""

from pathlib import Path

from tests.host import tiny
from tests.host.test_worker import client_scan, hold
from tests.host.workers import books, wait_for
from tests.web.browser import browser, log_in
from tests.web.served import served


def test_scans_appear_and_end_without_reload(tmp_path: Path) -> None:
    with served(tmp_path) as page, browser() as seen:
        log_in(seen, page)
        seen.evaluate("window.unchanged = true")
        assert seen.inner_text("#running") == "0"
        holding = hold(page.worker)
        seen.wait_for_selector("#running:text-is('1')")
        (running,) = page.worker.service.scheduler.snapshot()["running"]
        seen.wait_for_selector(f"tr[data-scan='{running['scan']}'] .busy")
        holding.close()
        seen.wait_for_selector(f"tr[data-scan='{running['scan']}'] .bad")
        client_scan(page.worker, tiny.stream())
        done = next(one for one in books_of(page) if one["outcome"] == "done")
        seen.wait_for_selector(f"tr[data-scan='{done['scan']}'] .good")
        seen.wait_for_selector(f"tr[data-scan='{done['scan']}'] img")
        wide = f"document.querySelector(\"tr[data-scan='{done['scan']}'] img\").naturalWidth > 0"
        wait_for(lambda: seen.evaluate(wide))
        assert seen.inner_text("#running") == "0"
        assert seen.evaluate("window.unchanged === true"), "the page was loaded anew"
        assert seen.inner_text("#state") == "live"
        seen.click(f"tr[data-scan='{done['scan']}'] a")
        seen.wait_for_selector("text=The images were made by zero_filled")
        seen.click("#report")
        seen.wait_for_selector("body[data-ready]")
        assert seen.evaluate("document.querySelectorAll('.viewer').length") >= 1
        assert seen.faults == []


def books_of(page) -> list[dict]:
    wait_for(lambda: not books(page.worker, "running", "waiting"))
    return page.worker.service.scheduler.snapshot()["ended"]


def test_a_browser_that_is_killed_leaves_nothing_behind(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        with browser() as seen:
            log_in(seen, page)
            wait_for(lambda: page.web.pages.listeners.streams == 1)
        wait_for(lambda: page.web.pages.listeners.streams == 0)
        client_scan(page.worker, tiny.stream())
        assert books(page.worker, "ended") == ["done"]
        assert page.get("/").status == 200


def test_pages_fit_a_narrow_window_in_both_schemes(tmp_path: Path) -> None:
    with served(tmp_path) as page:
        client_scan(page.worker, tiny.stream())
        assert page.written()
        colours = set()
        for scheme in ("light", "dark"):
            with browser(scheme, width=1024) as seen:
                log_in(seen, page)
                colours.add(seen.evaluate("getComputedStyle(document.body).backgroundColor"))
                for path in ("/", "/scans", "/trends", "/log"):
                    seen.goto(f"http://127.0.0.1:{page.port}{path}")
                    overhang = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
                    assert seen.evaluate(overhang) <= 0, path
                assert seen.faults == []
        assert len(colours) == 2
