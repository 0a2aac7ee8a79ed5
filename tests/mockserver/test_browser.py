"""The page in a real browser: live rows, every button, hostile requests, a token, a connection that broke.

What a person sees is kept as pictures in `.nox/page/`.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from werkzeug.datastructures import Headers

from mockserver import MockServer, Settings
from mockserver.http.messages import Reply, Request
from mockserver.journal.entry import KEPT_OF_ANSWER

playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed (--group test)")
CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="the page is tried in Debian's chromium, which is not here")
PICTURES = Path(__file__).parents[2] / ".nox" / "page"
CHAT = {"query": "hello", "inputs": {}, "user": "abc-123"}
SEND = "dify-chat/sendChatMessage"
QUOTA = "400-provider-quota-exceeded"
Page = playwright.Page
expect = playwright.expect


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    """Start one browser for all tests; what it would ask of the network goes nowhere."""
    with playwright.sync_playwright() as driver:
        options = ["--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        running = driver.chromium.launch(executable_path=CHROMIUM, args=options)
        yield running
        running.close()


@pytest.fixture
def mock() -> Iterator[MockServer]:
    """Run a mock of one API."""
    with MockServer(["dify-chat"], settings=Settings(pace=0, journal=20_000)) as running:
        yield running


@contextlib.contextmanager
def opened(browser: playwright.Browser, address: str, **options: object) -> Iterator[Page]:
    """Open a page on which no script may fail and nothing may be loaded from elsewhere."""
    context = browser.new_context(viewport={"width": 1280, "height": 800}, **options)
    context.set_default_timeout(10_000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
    origin = "/".join(address.split("/")[:3])
    page.on("request", lambda sent: None if sent.url.startswith(origin) else wrong.append(sent.url))
    page.on("dialog", lambda dialog: wrong.append(dialog.message))
    page.goto(address)
    try:
        yield page
        assert wrong == []
    finally:
        context.close()


@pytest.fixture
def page(browser: playwright.Browser, mock: MockServer) -> Iterator[Page]:
    """Open the page of the mock."""
    with opened(browser, f"{mock.origin}/") as opening:
        expect(opening.locator("#state")).to_have_text("live")
        yield opening


def show(page: Page, name: str) -> None:
    """Keep what a person sees."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}.png")


def ask(mock: MockServer, key: str = "app-chat", **body: object) -> httpx.Response:
    """Ask the mock as a client does."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    with httpx.Client(trust_env=False) as client:
        return client.post(
            f"{mock.url('dify-chat')}/chat-messages", headers=headers, content=json.dumps({**CHAT, **body})
        )


def test_requests_appear_as_they_come_and_are_filtered(page: Page, mock: MockServer) -> None:
    """Two worlds, a violation with its quoted line, filters, keys, curl, what it lacks, both sides; and forgetting."""
    expect(page.locator(".empty")).to_contain_text("Nobody has asked")
    ask(mock)
    ask(mock, "app-chat-alice", response_mode="blockingg")
    expect(page.locator(".row")).to_have_count(2)
    expect(page.locator(".row").first).to_contain_text("1 forbidden")
    page.get_by_label("World").select_option("dify-chat-alice")
    expect(page.locator(".row")).to_have_count(1)
    page.get_by_label("World").select_option("")
    page.get_by_label("Status").select_option("2")
    expect(page.locator(".row")).to_have_count(1)
    page.get_by_label("Status").select_option("")
    page.keyboard.press("Escape")
    page.locator("body").press("v")
    expect(page.locator(".row")).to_have_count(1)
    page.locator("body").press("v")
    page.locator("body").press("/")
    page.keyboard.type("no-such-thing")
    expect(page.locator(".empty")).to_contain_text("No request is like that")
    page.get_by_label("Filter").fill("")
    page.get_by_label("Filter").blur()
    page.locator("body").press("j")
    page.keyboard.press("Enter")
    detail = page.get_by_label("Request", exact=True)
    expect(detail.locator(".violations")).to_contain_text("must be one of streaming, blocking")
    expect(detail.locator(".quote")).to_contain_text("004:43-47")
    expect(detail.locator("pre").first).to_contain_text("blockingg")
    detail.get_by_text("As curl").click()
    expect(detail.get_by_label("curl")).to_contain_text("curl")
    detail.get_by_text("What it lacks").click()
    expect(detail.locator("details").last).to_contain_text("scenario")
    show(page, "requests")
    page.keyboard.press("Escape")
    expect(detail).to_be_hidden()
    page.get_by_role("button", name="Forget").click()
    page.get_by_role("button", name="Forget them?").click()
    expect(page.locator(".row")).to_have_count(0)
    page.locator("body").press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.locator("#keys button").click()
    page.locator("body").press("6")
    expect(page).to_have_url(f"{mock.origin}/#contract")


def test_hostile_request_is_text(page: Page, mock: MockServer) -> None:
    """Markup, a megabyte, control characters and directions of writing are shown and not obeyed."""
    evil = "<img src=x onerror=alert(1)><script>alert(2)</script>\x1b[2J\u202egnp.exe\x00"
    ask(mock, "app-chat-<b>x", query=evil, user=evil)
    with httpx.Client(trust_env=False) as client:
        client.get(f"{mock.origin}/v1/{'<i>' * 20}", headers={"X-Evil": "<script>", "Referer": "javascript:alert(3)"})
    ask(mock, query="x" * 1_000_000, user=evil)
    expect(page.locator(".row")).to_have_count(3)
    for number in (1, 2, 3):
        page.goto(f"{mock.origin}/#requests/{number}")
        expect(page.get_by_label("Request", exact=True)).to_contain_text(f"#{number}")
        for details in page.get_by_label("Request", exact=True).locator("summary").all():
            details.click()
    expect(page.get_by_label("Request", exact=True)).to_contain_text("more characters")
    page.goto(f"{mock.origin}/#requests/1")
    expect(page.get_by_label("Request", exact=True)).to_contain_text("<script>alert(2)</script>")
    expect(page.get_by_label("Request", exact=True)).to_contain_text("\\u202e")
    assert page.locator("main img, main script, main i, .world b").count() == 0
    show(page, "hostile")


@pytest.mark.parametrize(
    "place", ["scenarios/../../v1/info", "contract/%2e%2e/%2e%2e/v1/info", "toString", "__proto__/x"]
)
def test_hostile_link_leads_nowhere_else(browser: playwright.Browser, mock: MockServer, place: str) -> None:
    """Whoever makes somebody open the page has it ask, with its token, only what is under `/__mock__`."""
    with opened(browser, f"{mock.origin}/#{place}") as page:
        expect(page.locator("#state")).to_have_text("live")
        expect(page.locator("nav a[aria-current]")).to_have_count(1)
        if "v1" in place:
            expect(page.get_by_role("alert")).to_contain_text("There is no")
    assert mock.mock.journal.count == 0


def test_ten_thousand_requests_are_a_window_of_rows(page: Page, mock: MockServer) -> None:
    """Only what can be seen exists; the first one is reached by a key, and a new one does not move what is read."""
    journal = mock.mock.journal
    for _ in range(10_000):
        journal.close(journal.open(Request("GET", "/v1/info"), 0.0), Reply(200, Headers()))
    expect(page.locator("#counted")).to_have_text("10,000 requests", timeout=20_000)
    assert page.locator(".row").count() < 60
    listed = page.get_by_role("listbox")
    listed.focus()
    listed.press("End")
    expect(page.locator(".row[aria-selected=true] .number")).to_have_text("#1")
    place = "document.querySelector('.row[aria-selected=true]').getBoundingClientRect().y"
    before = page.evaluate(place)  # at once: the row is another element after each new request
    ask(mock)
    expect(page.locator("#counted")).to_have_text("10,001 requests")
    assert abs(before - page.evaluate(place)) < 2
    assert page.locator(".row").count() < 60
    listed.press("Home")
    expect(page.locator(".row[aria-selected=true] .number")).to_have_text("#10001")


def test_time_line_grows_while_the_stream_runs(page: Page, mock: MockServer) -> None:
    """Events by kind, then how it ended, in the list of streams and in the opened request."""
    headers = {"Authorization": "Bearer app-chat", "Prefer": 'fault="endless=150"'}
    body = {**CHAT, "response_mode": "streaming"}
    url = f"{mock.url('dify-chat')}/chat-messages"
    with httpx.Client(trust_env=False) as client, client.stream("POST", url, headers=headers, json=body) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        page.locator("body").press("2")
        card = page.locator(".card")
        expect(card.locator(".how")).to_have_text("running")
        first = int(card.locator(".timeline").get_attribute("data-events") or 0)
        page.wait_for_function(
            "first => Number(document.querySelector('.card .timeline').dataset.events) > first + 3", arg=first
        )
        expect(card.locator("svg.lanes text.kind").first).to_contain_text("workflow_started")
        show(page, "streams")
    expect(card.locator(".how")).to_have_text("the client left")
    card.get_by_role("link", name="#1").click()
    detail = page.get_by_label("Request", exact=True)
    expect(detail.locator(".how")).to_have_text("the client left")
    detail.locator(".events summary").click()
    expect(detail.locator(".events li").first).to_contain_text("workflow_started")


def test_long_stream_goes_on_beyond_what_is_drawn(page: Page, mock: MockServer) -> None:
    """Behind what the journal keeps, pieces and bytes are counted as they come, and the last event is named."""
    headers = {"Authorization": "Bearer app-chat", "Prefer": 'fault="endless=20"'}
    body = {**CHAT, "response_mode": "streaming"}
    url = f"{mock.url('dify-chat')}/chat-messages"
    pieces = "Number(document.querySelector('.card .timeline').dataset.pieces)"
    with httpx.Client(trust_env=False) as client, client.stream("POST", url, headers=headers, json=body) as answer:
        raw, read = answer.iter_raw(), 0
        while read < KEPT_OF_ANSWER + 1000:
            read += len(next(raw))
        page.locator("body").press("2")
        summary = page.locator(".card .summary")
        expect(summary.locator(".undrawn")).to_contain_text("the journal keeps no more; last workflow_finished at")
        expect(page.locator(".card svg text.beyond")).to_have_text("no longer drawn")
        drawn = page.locator(".card .timeline").get_attribute("data-events")
        page.wait_for_function(f"first => {pieces} > first + 3", arg=page.evaluate(pieces))
        assert page.locator(".card .timeline").get_attribute("data-events") == drawn
        show(page, "long-stream")


def test_silence_grows_while_it_lasts(page: Page, mock: MockServer) -> None:
    """What was sent just before is drawn, and the time line does not stand still until the next event comes."""
    headers = {"Authorization": "Bearer app-chat", "Prefer": 'fault="silence=60"'}
    body = {**CHAT, "response_mode": "streaming"}
    url = f"{mock.url('dify-chat')}/chat-messages"
    page.locator("body").press("2")
    with httpx.Client(trust_env=False) as client, client.stream("POST", url, headers=headers, json=body) as answer:
        next(answer.iter_raw())
        card = page.locator(".card")
        expect(card.locator("rect.silence")).to_have_count(1)
        log = mock.requests()[0].stream
        assert log is not None
        expect(card.locator(".timeline")).to_have_attribute("data-events", str(log.pieces))
        show(page, "silence")


def test_view_says_that_it_loads_and_what_kept_it(page: Page, mock: MockServer) -> None:
    """Nothing is empty while the mock is slow; where it does not answer that is said, with a button to try again."""
    waiting: list[playwright.Route] = []

    def wait(route: playwright.Route) -> None:
        waiting.append(route)

    page.route("**/__mock__/worlds*", wait)
    page.route("**/__mock__/scenarios*", wait)
    page.route("**/__mock__/operations*", wait)
    page.locator("body").press("4")
    expect(page.get_by_role("main").get_by_role("status")).to_have_text("Loading the worlds ...")
    show(page, "loading")
    waiting.pop().abort()
    expect(page.get_by_role("alert")).to_have_text("The mock does not answer. Is it still running?")
    page.unroute("**/__mock__/worlds*")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("main")).to_contain_text("No world yet")
    page.goto(f"{mock.origin}/#scenarios/{SEND}")
    loading = page.get_by_role("main").get_by_role("status")
    expect(loading.filter(has_text="Loading the operations ...")).to_have_count(1)
    expect(loading.filter(has_text=f"Loading {SEND} ...")).to_have_count(1)


def test_slow_answer_does_not_replace_a_later_one(page: Page, mock: MockServer) -> None:
    """Who has chosen another operation meanwhile sees that one."""
    waiting: list[playwright.Route] = []

    def wait(route: playwright.Route) -> None:
        waiting.append(route)

    page.route(f"**/__mock__/operations/{SEND}", wait)
    page.goto(f"{mock.origin}/#contract/{SEND}")
    expect(page.get_by_text(f"Loading {SEND} ...")).to_be_visible()
    page.goto(f"{mock.origin}/#contract/dify-chat/getInfo")
    expect(page.locator(".inside h2")).to_have_text("dify-chat/getInfo")
    with page.expect_response(f"**/operations/{SEND}"):
        waiting.pop().continue_()
    page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expect(page.locator(".inside h2")).to_have_text("dify-chat/getInfo")


WIDE = "x" * 400


@pytest.mark.parametrize("width", [420, 1280])
def test_nothing_is_cut_at_the_side(browser: playwright.Browser, mock: MockServer, width: int) -> None:
    """Long names wrap, a time line fits where it is, every view can be reached, words of a table stay whole."""
    ask(mock, f"app-chat-{WIDE[:80]}", response_mode="streaming")
    with httpx.Client(trust_env=False) as client:
        client.get(f"{mock.origin}/{WIDE}")
    with opened(browser, f"{mock.origin}/") as page:
        page.set_viewport_size({"width": width, "height": 800})
        expect(page.locator(".row")).to_have_count(2)
        assert page.evaluate(
            "document.querySelector('#tabs').scrollWidth <= document.querySelector('#tabs').clientWidth"
        )
        expect(page.locator("#tabs a[aria-current=page]")).to_have_text("Requests")
        assert page.get_by_label("World").bounding_box()["width"] <= 200
        for view in ("requests/1", "requests/2", "streams", "worlds", f"scenarios/{SEND}"):
            page.goto(f"{mock.origin}/#{view}")
            expect(page.locator("main .loading")).to_have_count(0)
            if view in ("requests/1", "streams"):
                expect(page.locator("svg.lanes")).to_be_visible()
            wide = page.evaluate(
                "[...document.querySelectorAll('main *:not(svg *, input)')].filter((each) => each.clientWidth && "
                "getComputedStyle(each).overflowX !== 'hidden' && each.scrollWidth > each.clientWidth + 1)"
                ".map((each) => `${each.tagName}.${each.className}`)"
            )
            assert wide == [], view
            show(page, f"wide-{width}-{view.split('/')[0]}{view[-1]}")


def test_stream_is_held_released_and_ended(page: Page, mock: MockServer) -> None:
    """Held, nothing comes; released, it goes on; ended, the client sees it broken off."""
    headers = {"Authorization": "Bearer app-chat", "Prefer": 'fault="endless=150"'}
    url, body = f"{mock.url('dify-chat')}/chat-messages", {**CHAT, "response_mode": "streaming"}
    page.locator("body").press("2")
    with httpx.Client(trust_env=False) as client, client.stream("POST", url, headers=headers, json=body) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        card = page.locator(".card")
        card.get_by_role("button", name="Hold").click()
        expect(card.locator(".controls .held")).to_contain_text("held")
        held = mock.requests()[0].stream
        assert held is not None
        count = held.pieces
        show(page, "held")
        card.get_by_role("button", name="Release").click()
        expect(card.get_by_role("button", name="Hold")).to_be_visible()
        page.wait_for_function(
            "count => Number(document.querySelector('.card .timeline').dataset.events) > count", arg=count
        )
        card.get_by_role("button", name="End").click()
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in pieces:
                pass
    expect(card.locator(".summary .how")).to_have_text("cut off")
    expect(card.get_by_role("button")).to_have_count(0)


def test_answer_is_chosen_and_tried(page: Page, mock: MockServer) -> None:
    """Once, five times, always, in all worlds or in one, a fault with a value; taken back; and the form beside it."""
    page.locator("body").press("3")
    page.get_by_label("Search operations").fill("provider-quota")
    page.get_by_label("Operations").get_by_role("link", name="sendChatMessage").click()
    standing = page.get_by_label("Overrides that stand").locator("li")
    page.get_by_label("Search scenarios and faults").fill("quota-exceeded")
    page.get_by_role("button", name=f"Once: {QUOTA}").click()
    expect(standing).to_contain_text(f"answers {QUOTA} once in all worlds")
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_label("Answer", exact=True)).to_contain_text("provider_quota_exceeded")
    expect(standing).to_have_count(0)
    page.get_by_label("World or key").fill("app-chat-alice")
    page.get_by_role("button", name=f"Five times: {QUOTA}").click()
    expect(standing).to_contain_text("5 times in dify-chat-alice")
    assert (ask(mock).status_code, ask(mock, "app-chat-alice").status_code) == (200, 400)
    expect(standing).to_contain_text("4 times")
    page.get_by_label("World or key").fill("")
    page.get_by_role("button", name=f"Always: {QUOTA}").click()
    expect(standing).to_have_count(2)
    show(page, "scenarios")
    standing.filter(has_text="all worlds").get_by_role("button", name="Take back").click()
    expect(standing).to_have_count(1)
    standing.get_by_role("button", name="Take back").click()
    expect(standing).to_have_count(0)
    page.get_by_label("Search scenarios and faults").fill("retry-after")
    fault = page.locator(".offer").first
    fault.get_by_role("button").first.click()
    expect(page.locator(".note")).to_be_visible()
    page.get_by_label("World or key").fill("nobody's")
    fault.get_by_role("button").first.click()
    expect(page.locator(".note.wrong")).to_contain_text("world")
    page.get_by_label("Prefer", exact=True).fill('fault="endless=50"')
    page.get_by_role("button", name="Send", exact=True).click()
    expect(page.get_by_label("Answer", exact=True)).to_contain_text("message")
    page.get_by_role("button", name="Leave").click()
    expect(page.locator(".answer")).to_contain_text("the client has left")
    expect(page.get_by_role("button", name="Leave")).to_be_hidden()
    page.get_by_role("link", name="Watch it").click()
    expect(page.locator(".card")).to_contain_text("dify-chat/sendChatMessage")


def test_every_operation_can_be_tried(page: Page, mock: MockServer) -> None:
    """The documented request of each is sent as it stands, forms with files, too; and none is answered with a 5xx."""
    names = [operation.name for operation in mock.mock.apis["dify-chat"].operations.values()]
    for count, name in enumerate(names, 1):
        page.goto(f"{mock.origin}/#scenarios/{name}")
        expect(page.locator(".inside h2")).to_have_text(name)
        page.get_by_role("button", name="Send", exact=True).click()
        expect(page.locator(".answer .status")).to_be_visible()
        expect(page.locator(".answer .quiet")).to_contain_text("complete")
        assert mock.mock.journal.count == count
    found = {entry.operation: entry for entry in mock.requests()}
    assert set(found) == set(names)
    assert [entry.operation for entry in found.values() if (entry.status or 500) >= 500] == []


def test_worlds_show_what_they_have_and_begin_anew(page: Page, mock: MockServer) -> None:
    """A new conversation is counted; after a reset, which asks once more, it is gone."""
    ask(mock)
    ask(mock, "app-chat-alice")
    page.locator("body").press("4")
    card = page.locator("[data-world=dify-chat]")
    expect(page.locator(".card")).to_have_count(2)
    expect(card.locator(".facts")).to_contain_text("8")
    show(page, "worlds")
    card.get_by_role("link").click()
    expect(page.locator("main table").first).to_contain_text("abc-123")
    page.get_by_role("button", name="Reset").click()
    page.get_by_role("button", name="Forget all of it?").click()
    expect(page.locator("main")).to_contain_text("Nothing is in it")
    page.get_by_role("link", name="All worlds").click()
    expect(page.locator(".card")).to_have_count(1)
    page.get_by_role("button", name="Reset all").click()
    page.get_by_role("button", name="Forget all worlds?").click()
    expect(page.locator("main")).to_contain_text("No world yet")


def test_broken_file_is_named_with_its_line(browser: playwright.Browser, tmp_path: Path) -> None:
    """As soon as it is broken, and no longer than it is."""
    file = tmp_path / "dify-chat" / "getInfo" / "200-mine.yaml"
    file.parent.mkdir(parents=True)
    good = "description: Mine.\nreply:\n  body: {name: Mine, description: '', tags: []}\n"
    file.write_text(good, encoding="utf-8")
    with (
        MockServer(["dify-chat"], fixtures=tmp_path, settings=Settings(pace=0)) as mock,
        opened(browser, f"{mock.origin}/#health") as page,
    ):
        expect(page.locator("main h2")).to_have_text("All files are well")
        file.write_text("description: [\n", encoding="utf-8")
        page.get_by_role("button", name="Look again").click()
        expect(page.locator(".broken")).to_contain_text("200-mine.yaml, line 2")
        show(page, "health")
        file.write_text(good, encoding="utf-8")
        page.get_by_role("button", name="Look again").click()
        expect(page.locator("main h2")).to_have_text("All files are well")


def test_contract_is_drawn_and_quoted(page: Page) -> None:
    """Each order of a stream as a railroad, each operation with its lines."""
    page.locator("body").press("6")
    page.get_by_label("Search operations").fill("chat-messages")
    page.get_by_label("Operations").get_by_role("link", name="sendChatMessage").click()
    railroad = page.locator("svg.railroad").first
    expect(railroad.locator("text.kind").first).to_have_text("workflow_started")
    expect(page.locator(".inside > .quote").first).to_contain_text("004:23-75")
    expect(page.get_by_role("link", name="Try it, or choose its answer")).to_have_attribute(
        "href", f"#scenarios/{SEND}"
    )
    page.get_by_text("As text").first.click()
    show(page, "contract")
    page.keyboard.press("Escape")
    expect(page.locator(".inside")).to_contain_text("Choose an operation")


def test_page_says_that_nothing_is_remembered(browser: playwright.Browser) -> None:
    """With --journal 0 it does not look as if nobody had asked."""
    settings = Settings(pace=0, journal=0)
    with MockServer(["dify-chat"], settings=settings) as mock, opened(browser, f"{mock.origin}/") as page:
        expect(page.locator(".empty")).to_contain_text("remembers no requests")


def test_token_is_asked_for_and_kept_nowhere(browser: playwright.Browser) -> None:
    """A wrong one is refused, the right one opens; it is in no address and in no storage."""
    settings = Settings(pace=0, admin_token="s3cret-token")
    with MockServer(["dify-chat"], settings=settings) as mock, opened(browser, f"{mock.origin}/") as page:
        asked: list[str] = []
        page.on("request", lambda sent: asked.append(sent.url))
        dialog = page.locator("#token")
        expect(dialog).to_be_visible()
        show(page, "token")
        dialog.locator("input").fill("guessed")
        dialog.get_by_role("button", name="Open").click()
        expect(dialog.locator(".wrong")).to_have_text("That is not the token.")
        dialog.locator("input").fill("s3cret-token")
        dialog.get_by_role("button", name="Open").click()
        expect(page.locator("#state")).to_have_text("live")
        ask(mock)
        expect(page.locator(".row")).to_have_count(1)
        places = (
            "document.cookie",
            "JSON.stringify(localStorage)",
            "document.body.innerHTML",
            "location.href",
        )
        kept = [page.evaluate(place) for place in places]
        assert "s3cret-token" not in "".join([*kept, *asked])


class Cable:
    """A connection to the mock that can be cut: it passes bytes on, until it is pulled."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._open: list[socket.socket] = []
        self.plugged = True
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                if not self.plugged:
                    near.close()
                    continue
                far = socket.create_connection(("127.0.0.1", self._port))
                self._open += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pass, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def pull(self) -> None:
        """Cut every connection, and refuse new ones."""
        self.plugged = False
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Cut every connection for good."""
        self.pull()
        self._listening.close()
        for end in self._open:
            end.close()


def test_connection_that_broke_is_resumed_and_nothing_is_lost(browser: playwright.Browser, mock: MockServer) -> None:
    """What came while it was cut appears afterwards, once, and what was known stays."""
    cable = Cable(mock.port)
    try:
        with opened(browser, f"http://127.0.0.1:{cable.port}/") as page:
            resumed: list[str] = []
            page.on("request", lambda sent: resumed.append(sent.headers.get("last-event-id", "")))
            ask(mock)
            expect(page.locator(".row")).to_have_count(1)
            cable.pull()
            expect(page.locator("#state")).to_have_text("reconnecting")
            ask(mock)
            ask(mock, "app-chat-alice")
            expect(page.locator(".row")).to_have_count(1)
            cable.plugged = True
            expect(page.locator("#state")).to_have_text("live")
            expect(page.locator(".row")).to_have_count(3)
            assert any(last.endswith("-1") for last in resumed)
    finally:
        cable.close()


def test_page_is_narrow_and_dark_where_the_reader_is(browser: playwright.Browser, mock: MockServer) -> None:
    """At 420 pixels nothing is wider than the screen, in no view, and the colours are those of the system."""
    ask(mock)
    ask(mock, "app-chat-alice", response_mode="streaming")
    options = {"color_scheme": "dark", "viewport": {"width": 420, "height": 860}}
    context = browser.new_context(**options)
    page = context.new_page()
    try:
        page.goto(f"{mock.origin}/")
        expect(page.locator(".row")).to_have_count(2)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 22, 27)"
        for view in ("requests", "requests/2", "streams", f"scenarios/{SEND}", "worlds", "health", f"contract/{SEND}"):
            page.goto(f"{mock.origin}/#{view}")
            expect(page.locator("main")).not_to_be_empty()
            assert page.evaluate("document.documentElement.scrollWidth") <= 420, view
            show(page, f"narrow-{view.split('/')[0]}{'-one' if '/' in view else ''}")
    finally:
        context.close()
