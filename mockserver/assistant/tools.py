"""The tools, each a question: what can be asked for, what was asked, why a scenario did not answer, is this right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcontract.errors import FlowContractError
from flowcontract.output.secrets import Secrets
from flowcontract.scenarios import load_scenarios
from mockserver.assistant.judging import find_operation, judge_text
from mockserver.assistant.showing import mark, show
from mockserver.faults import FAULTS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flowcontract.specs.model import Api
    from mockserver.assistant.running import RunningMock

_MOST_REQUESTS = 100
_ROW = (
    "number", "at", "world", "operation", "status", "scenario", "by", "because", "faults", "violations",
    "answer_violations", "hints", "failure", "duration_ms",
)  # fmt: skip


class Tools:
    """What the tools do; each returns JSON that an assistant can read."""

    def __init__(
        self, apis: Mapping[str, Api], mock: RunningMock, fixtures: Path | None = None, token: str = ""
    ) -> None:
        """Answer from the contract and from a mock.

        ``fixtures``  scenarios of one's own, that are listed as well
        ``token``     what the mock is asked with, which is never shown
        """
        self._apis, self._mock = apis, mock
        self._scenarios = load_scenarios(tuple(apis), fixtures)
        self.secrets = Secrets([token])

    def list_scenarios(self, operation: str = "") -> dict[str, Any]:
        """List all operations, and the faults; or the scenarios of one operation.

        operation: as dify-chat/sendChatMessage. A request asks for a scenario with the header `Prefer: code=STATUS,
        example=NAME`, and for a fault with `Prefer: fault=FAULT`.
        """
        if operation:
            _, found = find_operation(self._apis, operation)
            known = self._scenarios.read_scenarios(found)
            named = {key: scenario.description for key, scenario in sorted(known.items())}
            return {"operation": found.name, "scenarios": show(named, self.secrets)}
        every = [(api, each) for api in self._apis.values() for each in api.operations.values()]
        rows = [
            {
                "operation": each.name,
                "request": f"{each.method} {api.base_path}{each.path}",
                "streams": each.stream is not None,
                "scenarios": len(self._scenarios.read_scenarios(each)),
            }
            for api, each in every
        ]
        return {"operations": rows, "faults": {fault.usage: fault.summary for fault in FAULTS.values()}}

    def list_requests(  # noqa: PLR0913 - what can be filtered by
        self,
        *,
        number: int | None = None,
        operation: str = "",
        world: str = "",
        status: int | None = None,
        limit: int = 20,
        wrong_only: bool = False,
    ) -> dict[str, Any]:
        """Show the last requests to the mock, and what of them the contract forbids; or everything of one.

        number: of one request, shown whole. operation, world (a key), status: only those. limit: up to 100.
        wrong_only: only those that broke the contract, in the request or in the answer.
        """
        if number is not None:
            return mark(self._mock.ask("GET", f"/requests/{int(number)}"), self.secrets)
        if not 1 <= limit <= _MOST_REQUESTS:
            raise FlowContractError(f"limit is between 1 and {_MOST_REQUESTS}, not {limit}.")
        wanted: dict[str, Any] = {"operation": operation, "world": world, "status": status}
        wanted["limit"] = _MOST_REQUESTS if wrong_only else limit
        found = self._mock.ask("GET", "/requests", query=wanted)["requests"]
        rows = [_summarize(each) for each in found if not wrong_only or _is_wrong(each)]
        return mark({"requests": rows[-limit:]}, self.secrets)

    def show_differences(self, number: int | None = None) -> dict[str, Any]:
        """Say which scenarios did not answer a request, and what it lacks of each, the nearest first.

        number: of the request; without one the last that came.
        """
        if number is None:
            last = self._mock.ask("GET", "/requests", query={"limit": 1})["requests"]
            if not last:
                raise FlowContractError("No request has come yet.")
            number = int(last[0]["number"])
        return mark(
            {"number": number, "scenarios": self._mock.ask("GET", f"/requests/{int(number)}/misses")}, self.secrets
        )

    def judge(self, text: str, operation: str = "", status: int = 200, content_type: str = "") -> dict[str, Any]:
        """Judge an answer by the contract: its body, a stream (server-sent events), or a recording (HAR).

        text: the answer itself, never a path; its head (`HTTP/1.1 200 OK` ...) may stand before it.
        operation: as dify-chat/sendChatMessage; a recording needs none. status, content_type: of the answer.
        """
        return mark(judge_text(self._apis, operation, text, status, content_type), self.secrets)

    def list_overrides(self) -> dict[str, Any]:
        """List the overrides: scenarios that answer an operation in place of others."""
        return {"overrides": show(self._mock.ask("GET", "/overrides"), self.secrets)}

    def override(
        self, operation: str, scenario: str, times: int | None = None, world: str | None = None
    ) -> dict[str, Any]:
        """Let a scenario answer an operation, or a fault spoil its answers.

        operation: as dify-chat/sendChatMessage. scenario: as 429-rate-limited, or fault=FAULT, as `list` names them.
        times: how often; without it always. world: a key; without one for all.
        """
        wanted = {"operation": operation, "scenario": scenario, "times": times, "world": world}
        return {"overrides": show(self._mock.ask("PUT", "/overrides", body=wanted), self.secrets)}

    def remove_overrides(self, operation: str = "", world: str = "") -> dict[str, Any]:
        """Remove overrides: those of an operation, of a world, or all."""
        removed = self._mock.ask("DELETE", "/overrides", query={"operation": operation, "world": world})
        return {"removed": show(removed["removed"], self.secrets)}


def _summarize(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a request says most; what is empty is left out."""
    row = {name: entry.get(name) for name in _ROW}
    row["violations"] = [each.get("message") for each in entry.get("violations", ())]
    row["answer_violations"] = [each.get("message") for each in entry.get("answer_violations", ())]
    asked = entry.get("request", {})
    row["request"] = f"{asked.get('method')} {asked.get('path')}"
    return {name: value for name, value in row.items() if value not in (None, [], "")}


def _is_wrong(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("violations") or entry.get("answer_violations") or entry.get("failure"))
