"""Makes page.png and page-streams.png: the page of a mock that a client has asked.

    pip install playwright pillow && python docs/pictures/page.py

The browser is Debian's chromium.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import httpx
from PIL import Image
from playwright.sync_api import Page, expect, sync_playwright

from mockserver import MockServer, Settings

FOLDER = Path(__file__).parent
SIZE = {"width": 1280, "height": 720}
CHAT = {"query": "hello", "inputs": {}, "user": "abc-123"}
WRONG = {"inputs": {}, "response_mode": "stream", "user": "abc-123"}


def ask(mock: MockServer) -> None:
    """Ask as a client does that is being written."""
    chat = f"{mock.url('dify-chat')}/chat-messages"
    alice = mock.headers("dify-chat", "-alice")
    with httpx.Client(trust_env=False) as client:
        client.get(f"{mock.url('dify-chat')}/parameters", headers=alice)
        client.post(chat, headers=alice, json={**CHAT, "response_mode": "streaming"})
        client.post(f"{mock.url('dify-workflow')}/workflows/run", headers=mock.headers("dify-workflow"), json={})
        client.post(chat, headers={"Authorization": "app-chat"}, json=CHAT)
        client.post(chat, headers=alice, json={**CHAT, "user": "abc#mock:400-provider-quota-exceeded"})
        client.get(f"{mock.url('agentbuilder')}/v1/files", headers=mock.headers("agentbuilder"))
        client.post(chat, headers=alice, json=CHAT)
        client.post(
            f"{mock.url('dify-workflow')}/workflows/run", headers=mock.headers("dify-workflow", "-alice"), json=WRONG
        )


def keep(page: Page, name: str) -> None:
    """Keep what is seen, in few colours, of which small marks keep theirs."""
    picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    picture.quantize(256, kmeans=2).save(FOLDER / f"{name}.png", optimize=True)


def main() -> None:
    """Make the pictures."""
    with MockServer(settings=Settings(pace=1)) as mock, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, device_scale_factor=1.5)
        ask(mock)
        page.goto(f"{mock.origin}/#requests/{mock.mock.journal.count}")
        expect(page.locator(".quote").first).to_be_visible()
        keep(page, "page")
        fault = {"Prefer": 'fault="silence=2"'}
        url, headers = f"{mock.url('dify-chat')}/chat-messages", mock.headers("dify-chat") | fault
        body = {**CHAT, "response_mode": "streaming"}
        with httpx.Client(trust_env=False) as client, client.stream("POST", url, headers=headers, json=body) as answer:
            page.goto(f"{mock.origin}/#streams")
            expect(page.locator(".card")).to_have_count(2)
            for _ in answer.iter_raw():
                pass
        page.wait_for_timeout(500)
        page.set_viewport_size({"width": 1280, "height": 480})
        keep(page, "page-streams")
        browser.close()


if __name__ == "__main__":
    main()
