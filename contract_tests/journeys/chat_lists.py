"""What the lists of messages and of conversations have to show, page by page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contract_tests.journeys.chat import build_inputs, list_messages, list_or_empty, read_ids, remove_white_space
from contract_tests.journeys.dify import leave_out_files
from contract_tests.suite.not_exercised import NotExercised

if TYPE_CHECKING:
    from contract_tests.journeys.journey import Journey
    from contract_tests.journeys.response_values import ResponseValue

_DIRECTION = "ruling pages-go-backwards-in-time"
_PAGES = {"listMessages": ("004:508-513", "004:531"), "listConversations": ("004:623-628", "004:644")}


def check_messages(
    chat: Journey, conversation: str, expected: dict[str, list[Any]], listed: list[ResponseValue]
) -> None:
    """Demand that a list has the questions, answers, quotations and inputs of messages.

    White space is ignored: several answer nodes may be joined by line breaks, and trailing blanks may be lost.
    """
    inputs = leave_out_files(build_inputs(chat))
    for row in listed:
        shown = [
            row["query"].text,
            remove_white_space(row.get("answer")),
            list_or_empty(row.get("retriever_resources")),
        ]
        lines = ("004:84", "004:95-100", "004:113", "004:520", "004:526", "004:530")
        what = "question, answer and quotations as they were,"
        chat.expect_equal("listMessages", what, expected.get(row["id"].text, shown), shown, *lines)
        given = {name: row.get("inputs", name) for name in inputs}
        chat.expect_equal("listMessages", "the inputs as they were,", inputs, given, "004:37-39", "004:519")
        what = "the conversation of the message,"
        chat.expect_equal("listMessages", what, conversation, row.get("conversation_id"), "004:518")


def check_pages(chat: Journey, user: str, conversation: str, order: list[str]) -> list[ResponseValue]:
    """Return three messages, read two at a time; demand that pages go back in time. `order` has the oldest id first.

    Within a page either direction is accepted: the next page is requested by the id of the oldest message.
    """
    newest = list_messages(chat, user, conversation, limit="2")
    page = newest["data"].rows
    chat.expect_equal("listMessages", "two messages on a page of two,", 2, len(page), "004:511-513")
    chat.expect_equal("listMessages", "the limit that was asked for,", 2, newest.get("limit"), "004:512", "004:532")
    chat.expect_equal("listMessages", "`has_more` before the last page,", True, newest.get("has_more"), "004:531")
    chat.expect_equal(
        "listMessages", "the latest messages first,", sorted(order[1:]), sorted(read_ids(page)), "004:499"
    )
    shown = [message for message in order if message in read_ids(page)] or read_ids(page)
    if not shown:
        raise NotExercised("the first page is empty, so the journey ended there")
    rest = list_messages(chat, user, conversation, limit="2", first_id=shown[0])
    chat.expect_equal("listMessages", "`has_more` on the last page,", False, rest.get("has_more"), "004:531")
    listed = [*rest["data"].rows, *page]
    chat.expect_equal("listMessages", "every message once,", sorted(order), sorted(read_ids(listed)), "004:515-532")
    whole = read_ids(list_messages(chat, user, conversation, limit="10")["data"].rows)
    if sorted(whole) == sorted(order):
        what, source = "messages in the order of their making, or the other way round", ("004:499", _DIRECTION)
        chat.expect("listMessages", what, whole, *source, condition=whole in (order, order[::-1]))
    return listed


def check_page_by_page(chat: Journey, name: str, mark: str, made: list[str], **query: str) -> None:
    """Demand that pages of one item show all items once, and have `has_more` until the last."""
    seen: list[str] = []
    more, empty = True, False
    while more and not empty and len(seen) <= len(made):
        after = {mark: seen[-1]} if seen else {}
        page = chat.call(name, query={**query, "limit": "1", **after})
        chat.expect_equal(name, "the limit that was asked for,", 1, page.get("limit"), *_PAGES[name])
        found = read_ids(page["data"].rows)
        empty = not found
        seen += found
        more = page.get("has_more") is True
    lost, twice = sorted(set(made) - set(seen)), len(seen) - len(set(seen))
    what = f"each of {len(made)} items once, over all pages"
    got = f"{len(set(seen))} of them, {twice} twice; lost: {', '.join(lost) or 'none'}"
    chat.expect(name, what, got, *_PAGES[name], condition=sorted(seen) == sorted(made))
    if empty and not lost:  # where items are lost, the page that was promised for them is as well
        chat.expect_equal(name, "`has_more` on the last page,", False, True, *_PAGES[name])


def check_order(chat: Journey, made: list[str], found: list[ResponseValue], order: str) -> None:
    """Demand that a list has every conversation once, in an order."""
    what = "every conversation of the user once,"
    chat.expect_equal("listConversations", what, sorted(made), sorted(read_ids(found)), "004:609-617")
    times = [row[order.removeprefix("-")].number for row in found]
    ordered = sorted(times, reverse=order.startswith("-"))
    chat.expect_equal("listConversations", f"times in the order of {order},", ordered, times, "004:629-633")


def check_renamed(chat: Journey, renamed: ResponseValue, found: list[ResponseValue]) -> None:
    """Demand that a list has the conversation as renaming answered, and the others with other names."""
    kept = {name: renamed.get(name) for name in ("name", "inputs", "status", "created_at")}
    for row in found:
        if row.get("id") != renamed.get("id"):
            condition = row.get("name") != "renamed"
            chat.expect(
                "listConversations", "the other names as they were", row.get("name"), "004:732", condition=condition
            )
            continue
        got = {name: row.get(name) for name in kept}
        lines = ("004:636-643", "004:747-754")
        chat.expect_equal("listConversations", "the conversation as renaming told it,", kept, got, *lines)
        condition = row["updated_at"].number > row["created_at"].number
        what = "`updated_at` above `created_at` of a conversation that went on and was renamed"
        chat.expect("listConversations", what, row.value, "004:642-643", condition=condition)
