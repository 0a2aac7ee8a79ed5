"""Every single mutation of every streamed scenario is rejected, unless the contract really allows what it makes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from stream_cases import FILES, Piece, cases_of, contract_of, verdict

from flowcontract.lint.replies import build_sample_context
from flowcontract.scenarios import load_scenarios, render_events
from flowcontract.specs.model import load_api
from flowcontract.streams.judge import StreamJudge

_MUTATIONS = {
    "drop": lambda pieces, n: pieces[:n] + pieces[n + 1 :],
    "repeat": lambda pieces, n: [*pieces[: n + 1], *pieces[n:]],
    "swap": lambda pieces, n: [*pieces[:n], *pieces[n + 1 : n + 2], pieces[n], *pieces[n + 2 :]],
    "trail": lambda pieces, n: [*pieces, pieces[n]],
}


@dataclass(frozen=True)
class Allowed:
    """Mutations that the contract allows, and why: of `kinds` only, or (`any_of`) of any event beside one of them."""

    why: str
    mutations: frozenset[str]
    kinds: frozenset[str]
    any_of: bool = False
    scenarios: tuple[str, ...] = ()  # all, unless named

    def covers(self, scenario: str, mutation: str, kinds: set[str]) -> bool:
        """Tell whether a mutation is one of these."""
        meant = bool(kinds & self.kinds) if self.any_of else kinds <= self.kinds
        return meant and mutation in self.mutations and (not self.scenarios or scenario in self.scenarios)


def _allowed(why: str, mutations: str, kinds: str, **more) -> Allowed:
    return Allowed(why, frozenset(mutations.split()), frozenset(kinds.split()), **more)


_BRANCHES = "parallel_branch_started parallel_branch_finished"
_COMMON = [
    _allowed("a ping counts for nothing", "drop repeat swap trail", "ping", any_of=True),
    _allowed("nothing says how many pieces speech has, if any", "drop repeat swap", "tts_message"),
]
ALLOWED = {
    "dify-chat": [
        *_COMMON,
        _allowed("no document names branches", "drop repeat swap", _BRANCHES, any_of=True),
        _allowed("nothing says how many files come", "drop repeat", "message_file"),
        _allowed(
            "a message or file may come inside a node or between nodes", "swap", "message message_file node_started"
        ),
        _allowed(
            "a message or file may come inside a node or between nodes", "swap", "message message_file node_finished"
        ),
        _allowed(
            "without an answer in the outputs there is nothing to compare the pieces with",
            "drop repeat swap",
            "message",
            scenarios=("200-documented-streaming", "200-moderated", "200-node-failed-then-error", "200-stopped"),
        ),
        _allowed("004:189: an error ends the stream wherever it comes", "drop", "workflow_finished"),
        _allowed("Dify 1.14.2 sends the message's end before the run's", "swap", "workflow_finished message_end"),
        _allowed("Dify's source code sends speech between any two events", "swap", "message_end tts_message"),
        _allowed("whether and when a text is replaced is the moderator's decision", "drop", "message_replace"),
        _allowed(
            "whether and when a text is replaced is the moderator's decision",
            "swap",
            "workflow_finished message_replace",
        ),
    ],
    "dify-workflow": [
        *_COMMON,
        _allowed("parallel nodes finish in any order", "swap", "node_finished"),
        _allowed("a chunk may name a node that starts later", "swap", "node_started text_chunk"),
        _allowed("Dify's source code sends speech between any two events", "swap", "workflow_finished tts_message"),
        _allowed(
            "without a finish of the node there is nothing to compare the pieces with",
            "drop repeat swap",
            "text_chunk",
            scenarios=("200-in-stream-error", "200-stopped"),
        ),
    ],
    "agentbuilder": [
        _allowed(
            "nothing says how many there are, and in which order",
            "drop repeat swap",
            "add_message token log end_vertex",
        ),
        _allowed("a component's error may stand before the run's, or not", "drop repeat swap trail", "error"),
    ],
}


def _streams(api: str):
    """Yield each streamed scenario of an API's streaming operation, with its blocks and their kinds."""
    operation = next(one for one in load_api(api).operations.values() if one.stream)
    for key, scenario in load_scenarios([api]).read_scenarios(operation).items():
        if scenario.reply.streamed:
            pieces = [piece.data for piece in render_events(scenario.reply, build_sample_context(operation))]
            yield key, pieces, [_kind(operation.stream, piece) for piece in pieces]


def _kind(contract, piece: bytes) -> str:
    judge = StreamJudge(contract)
    judge.feed(piece)
    return judge.fresh[0].kind if judge.fresh else ""


@pytest.mark.parametrize("file", FILES)
def test_every_single_mutation_of_a_scenario_is_rejected_unless_it_is_listed(file: str):
    """What is accepted with one event dropped, repeated, swapped or added has a reason; no reason is stale."""
    contract = contract_of(cases_of(file)[0].operation)
    unlisted, used, count = [], set(), 0
    for scenario, pieces, kinds in _streams(file):
        assert verdict(contract, tuple(map(Piece, pieces)))[1] == (), scenario
        for mutation, mutate in _MUTATIONS.items():
            for number in range(len(pieces)):
                mutated = mutate(pieces, number)
                if mutated == pieces or verdict(contract, tuple(map(Piece, mutated)))[1]:
                    count += mutated != pieces
                    continue
                meant = set(kinds[number : number + 2] if mutation == "swap" else kinds[number : number + 1])
                reasons = [one for one in ALLOWED[file] if one.covers(scenario, mutation, meant)]
                used.update(reasons)
                unlisted += [] if reasons else [f"{scenario}: {mutation} {number + 1} {sorted(meant)}"]
    assert unlisted == []
    assert [one for one in ALLOWED[file] if one not in used] == []
    assert count > 40  # rejected ones
