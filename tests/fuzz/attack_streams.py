"""Ten thousand streams, some of whose clients leave in the middle: memory and open files have to stay as they are."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from attack_server import Victim

if TYPE_CHECKING:
    from attack_server import Health
    from attack_verdict import Report

_AT_ONCE = 50
_WARM_UP = 3000
_GROWTH = 1.10
_HANDLES = 5
OPTIONS = ("--pace", "0.02", "--max-records", "500")


def attack(report: Report, *, count: int = 10_000) -> None:
    """Open `count` streams after a warm-up, and compare memory and open files before and after."""
    with Victim(options=OPTIONS) as victim:
        asyncio.run(_many(victim.address, _WARM_UP))
        before = victim.health()
        ends = asyncio.run(_many(victim.address, count))
        after = victim.health()
        report.kinds["streams"] = count
        report.statuses["streams"].update(ends)
        report.slowest["streams"] = (0.0, "not measured")
        report.notes.append(f"{count:,} streams after {_WARM_UP:,}: {_told(before)} before, {_told(after)} after")
        report.failures += [f"streams: {what}" for what in _worse(before, after)]
        if complaints := victim.complaints().strip():
            report.failures.append(f"streams: complaints on standard error:\n{complaints[:3000]}")


def _told(health: Health) -> str:
    return f"{health.rss_kb} KB, {health.handles} files open, {health.left_over} temporary"


def _worse(before: Health, after: Health) -> list[str]:
    found = []
    if before.rss_kb and after.rss_kb and after.rss_kb > before.rss_kb * _GROWTH:
        found.append(f"memory grew from {before.rss_kb} to {after.rss_kb} KB")
    if before.handles and after.handles and after.handles > before.handles + _HANDLES:
        found.append(f"open files grew from {before.handles} to {after.handles}")
    if after.left_over:
        found.append(f"{after.left_over} temporary files are left over")
    return found


async def _many(address: tuple[str, int], count: int) -> dict[str, int]:
    """Open streams, some at a time; return how they ended."""
    ends: dict[str, int] = {}
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            end = await _stream(address, number)
            ends[end] = ends.get(end, 0) + 1

    await asyncio.gather(*(work() for _ in range(_AT_ONCE)))
    return ends


async def _stream(address: tuple[str, int], number: int) -> str:
    """Read one stream to its end, or leave: every fifth client after the first bytes, every seventh at once."""
    chat = number % 2
    path, key = ("chat-messages", "app-chat") if chat else ("workflows/run", "app-workflow")
    content = {"user": f"u{number % 9}", "inputs": {}, "response_mode": "streaming", **({"query": "q"} if chat else {})}
    body = json.dumps(content)
    head = f"POST /v1/{path} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {key}-{number % 3}\r\nConnection: close\r\n"
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
        if number % 7 == 0:
            return "left at once"
        answer = await asyncio.wait_for(reader.read(400), 20)
        if number % 5 == 0:
            return "left in the middle"
        while piece := await asyncio.wait_for(reader.read(1 << 16), 20):
            answer += piece
        whole = b"message_end" in answer or b"workflow_finished" in answer
        return "complete" if answer.startswith(b"HTTP/1.1 200") and whole else "broken"
    except ConnectionError:
        return "reset"
    finally:
        writer.close()
