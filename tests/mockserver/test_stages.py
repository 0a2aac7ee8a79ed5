"""Each stage of a request's journey alone: values in, a value out; and a world that is reset meanwhile."""

from __future__ import annotations

import json
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from mock_calls import NOW, Caller
from werkzeug.datastructures import Headers

from flowcontract.errors import StateUnreachableError
from mockserver.blobs.blob import Blob
from mockserver.core.answering import act, render
from mockserver.core.choosing import (
    Selection,
    Visit,
    add_faults,
    select_matching,
    select_preferred,
    select_refusal,
)
from mockserver.core.validation import Authenticated, Routed, Validated, authenticate, route, validate
from mockserver.faults import FaultError, parse
from mockserver.http.messages import Request
from mockserver.request.preferences import ScenarioPreference
from mockserver.request.refusals import Refusal
from mockserver.scenarios.selection import NoScenario

if TYPE_CHECKING:
    from collections.abc import Callable

    from mockserver.core.mock import Mock

QUESTION = {"query": "Hello", "inputs": {}, "response_mode": "blocking", "user": "abc-123"}


def admit(_size: int) -> None:
    """Have room for every file."""


def asked(
    mock: Mock, body: Any = QUESTION, *, method: str = "POST", path: str = "/v1/chat-messages", **headers: str
) -> Routed:
    """Return a routed request, with a valid key unless `headers` have another."""
    sent = Headers({"Authorization": "Bearer app-chat", "Content-Type": "application/json", **headers})
    content = b"" if body is None else json.dumps(body).encode()
    return route(mock.router, Request(method, path, "", sent, Blob(content)))


def validated(mock: Mock, routed: Routed) -> Validated:
    """Return a request as far as it can be read."""
    assert routed.route.operation
    assert routed.route.api
    operation = routed.route.operation
    return validate(routed, operation, routed.route.api, authenticate(routed, operation), admit)


def visited(mock: Mock, routed: Routed) -> Visit:
    """Return a request in its world."""
    api, operation = routed.route.api, routed.route.operation
    assert api
    assert operation
    world = mock.worlds.open(api.name, "")
    return Visit(routed, api, operation, world, mock.content.apps.of(api.name, ""), mock.content, int(NOW))


@pytest.fixture
def chat(make_app: Callable[..., Caller]) -> Mock:
    """Return the components of a mock of the chat app."""
    return make_app("dify-chat", pace=0).app.mock


def test_route_finds_operation_and_query(chat: Mock) -> None:
    """A path leads to an operation; its query is read, and one that cannot be read says so."""
    found = asked(chat)
    assert found.route.operation is not None
    assert (found.route.operation.id, found.query, found.query_error) == ("sendChatMessage", {}, None)
    assert asked(chat, path="/v1/nothing").route.refused == ("unknown-path",)
    query = "&".join(f"a{number}=1" for number in range(5000))
    crowded = route(chat.router, Request("GET", "/v1/info", query, Headers({"Authorization": "Bearer app-chat"})))
    assert crowded.query == {}
    assert crowded.query_error is not None


@pytest.mark.parametrize(("key", "word"), [("Bearer app-chat", None), ("Bearer nobody's", "wrong-key"), ("", "no-key")])
def test_authenticate_says_why_a_key_does_not_open(chat: Mock, key: str, word: str | None) -> None:
    """A valid key is nothing to tell; a wrong one comes before all else that is wrong."""
    routed = asked(chat, Authorization=key) if key else route(chat.router, Request("POST", "/v1/chat-messages"))
    assert routed.route.operation is not None
    judged = authenticate(routed, routed.route.operation)
    assert (judged.refusal.words[-1] if judged.refusal else None) == word
    assert judged.comes_first == (word is not None)


def test_validate_returns_values_preference_and_what_is_wrong(chat: Mock) -> None:
    """Nothing is raised: what was read before a mistake is there, too."""
    good = validated(chat, asked(chat, {**QUESTION, "user": "joe#mock:400-provider-quota-exceeded"}))
    assert good.refusal is None
    assert good.values.body["user"] == good.view.body["user"] == "joe"
    assert str(good.preference) == "400-provider-quota-exceeded"
    wrong = validated(chat, asked(chat, {"inputs": {}}, Prefer="code=400"))
    assert wrong.refusal is not None
    assert "missing-query" in wrong.refusal.words
    assert (wrong.preference, wrong.body.value) == (ScenarioPreference("400"), {"inputs": {}})


def test_validate_does_not_read_what_a_wrong_key_sends(chat: Mock) -> None:
    """A refusal that comes first is the only thing that is found."""
    routed, stranger = asked(chat, {}), Refusal("wrong-key", "no")
    assert routed.route.operation
    assert routed.route.api
    first = Authenticated(stranger, comes_first=True)
    found = validate(routed, routed.route.operation, routed.route.api, first, admit)
    assert (found.refusal, found.values.violations, found.body.media_type) == (stranger, (), "")


def test_select_by_preference_by_refusal_or_by_match(chat: Mock) -> None:
    """The scenario, and who chose it."""
    routed = asked(chat)
    visit, read = visited(chat, routed), validated(chat, routed)
    preferred = select_preferred(visit, read, ScenarioPreference("400", "provider-quota-exceeded"))
    assert (preferred.scenario.key, preferred.by) == ("400-provider-quota-exceeded", "prefer")
    refused = select_refusal(visit, read, Refusal("unknown-id", "no"))
    assert (refused.scenario.status, refused.by, refused.because) == (404, "problem", "unknown-id")
    matching = select_matching(visit, read)
    assert (matching.scenario.status, matching.by, matching.is_acted_upon) == (200, "default", True)
    assert not refused.is_acted_upon
    with pytest.raises(NoScenario):
        select_preferred(visit, read, ScenarioPreference("400", "nothing-like-it"))


def test_faults_are_added_to_a_selection(chat: Mock) -> None:
    """None changes nothing; one that keeps requests away is what answers; a limit counts."""
    routed = asked(chat)
    visit, read = visited(chat, routed), validated(chat, routed)
    chosen = select_matching(visit, read)
    assert add_faults(visit, chosen, ()) is chosen
    gateway = add_faults(visit, chosen, parse("status=503"))
    assert (gateway.by, gateway.is_acted_upon, gateway.gateway and gateway.gateway.status) == ("fault", False, 503)
    limit = parse("rate-limit=1/60")
    assert add_faults(visit, chosen, limit).is_acted_upon
    over = add_faults(visit, chosen, limit)
    assert (over.scenario.status, over.because, over.retry_after, over.refuses) == (429, "rate-limit", 60, True)
    with pytest.raises(FaultError):
        parse("nonsense")


def test_act_changes_the_world_and_render_does_not(chat: Mock) -> None:
    """A question that is acted upon begins a conversation; rendered alone it leaves none."""
    routed = asked(chat)
    visit, read = visited(chat, routed), validated(chat, routed)
    chosen = select_matching(visit, read)
    with visit.world.transaction():
        before = list(visit.world.store.list_rows("conversations"))
        shown = render(visit, read.view, chosen, chat.settings)
        assert list(visit.world.store.list_rows("conversations")) == before
        acted = act(visit, read, chosen, chat.settings)
        assert len(list(visit.world.store.list_rows("conversations"))) == len(before) + 1
    assert shown.reply.status == acted.reply.status == 200
    assert shown.scenario is acted.scenario is chosen.scenario


def test_render_says_what_is_wrong(chat: Mock) -> None:
    """A refusal's scenario tells the violation; where the key is missing it names a scheme."""
    routed = asked(chat)
    visit, read = visited(chat, routed), validated(chat, routed)
    refusal = Refusal("no-key", "there is no key")
    with visit.world.transaction():
        reply, scenario = render(visit, read.view, select_refusal(visit, read, refusal), chat.settings)
    assert (reply.status, scenario and scenario.status) == (401, 401)
    assert reply.headers["WWW-Authenticate"] == "Bearer"
    gateway = add_faults(visit, Selection(scenario, "default"), parse("status=502")) if scenario else None
    assert gateway is not None
    assert render(visit, read.view, gateway, chat.settings) == (gateway.gateway, None)


# A world that another worker resets between finding and locking it.


STALE = SimpleNamespace(stale=True)


class Reset:
    """Lets the first `times` worlds that are found be stale, as if another worker had reset each."""

    def __init__(self, mock: Mock, times: int) -> None:
        self.found: list[Any] = []
        self.were_free: list[bool] = []
        self._open, self._times = mock.worlds.open, times

    def __call__(self, api: str, suffix: str) -> Any:
        """Open a world in place of `Worlds.open`."""
        self.were_free += [is_free(world) for world in self.found]
        if self.found:
            self.found[-1]._shared = STALE  # `open` begins another in its place
        world = self._open(api, suffix)
        world._shared = STALE if len(self.found) < self._times else None
        self.found.append(world)
        return world


def is_free(world: Any) -> bool:
    """Tell whether another thread can begin a transaction in a world at once."""
    free: list[bool] = []

    def try_to_lock() -> None:
        free.append(world.transaction.lock.acquire(blocking=False))
        if free[0]:
            world.transaction.lock.release()

    thread = threading.Thread(target=try_to_lock)
    thread.start()
    thread.join()
    return free[0]


def test_world_that_was_reset_elsewhere_is_looked_for_again(
    make_app: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The request is answered in the world that took its place, and holds no lock of the ones before."""
    mock = make_app("dify-chat", pace=0)
    reset = Reset(mock.app.mock, 3)
    monkeypatch.setattr(mock.app.mock.worlds, "open", reset)
    assert mock.ask("POST", "/v1/chat-messages", key="app-chat", json_body=QUESTION).status == 200
    assert len({id(world) for world in reset.found}) == 4
    assert reset.were_free
    assert all(reset.were_free)
    (entry,) = mock.app.mock.journal.list_entries()
    assert (entry.status, entry.world, entry.violations) == (200, "dify-chat", [])


def test_world_that_is_reset_for_ever_is_given_up(
    make_app: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """After some attempts the client is told to ask again, and so is the journal."""
    mock = make_app("dify-chat", pace=0)
    reset = Reset(mock.app.mock, 1000)
    monkeypatch.setattr(mock.app.mock.worlds, "open", reset)
    with pytest.raises(StateUnreachableError, match=r"reset dify-chat again and again\. Ask again"):
        mock.ask("GET", "/v1/info", key="app-chat")
    assert len(reset.found) < 10
    assert mock.app.mock.journal.list_entries()[-1].status == 503
