"""The report in a browser."""

from __future__ import annotations

import shutil

import pytest
from reported import empty, failure, report, told

from contract_tests.report.html import render_page
from flowcontract.specs.model import load_apis

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (--group test)")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the page is tried in Debian's chromium, which is not here")


@pytest.mark.parametrize("width", [420, 1280])
def test_report_does_not_scroll_sideways(width, tmp_path):
    """Its tables do, each by itself."""
    results = empty()
    operations = load_apis(["dify-chat"])["dify-chat"].operations.values()
    seen = [(each.name, "status", str(status), False) for each in operations for status in each.responses]
    results.add(report(failures=[failure()], seen=seen), "failed", 0.1)
    (tmp_path / "report.html").write_text(render_page(told(results)), encoding="utf-8")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.goto((tmp_path / "report.html").as_uri())
        assert page.locator("table.grid").count() > 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
