"""What a question is answered with: a text that question and seed choose, and the pieces in which a model writes it."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from flowcontract.scenarios.expressions import Context, RequestView
from flowcontract.scenarios.templates import Template, compile_value
from mockserver.caching import memoize, memoize_by_identity

if TYPE_CHECKING:
    from mockserver.behaviours.action import Action

_CHINESE = "\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef"
_PIECE = re.compile(rf"\s*[{_CHINESE}]{{1,6}}|\s*[^\s{_CHINESE}]+|\s+")
_READ = re.compile(r"\$((?:request|now|app|world|id)\b[^\s}]*)")
_MOST_PIECES = 64


def answer(act: Action, field: str, question: str) -> str:
    """Return the answer to a question, which texts know as a field of the body.

    With the same seed the same question always has the same answer.
    """
    app = act.context.app
    seed = f"{act.seed}/answer/{question}"
    chosen = _choose_text(_as_tuple(app["texts"][app["answers"]]), seed, question)
    if _find_reads(chosen) <= {f"request.body#/{field}"}:
        return _answer_without_context(chosen, seed, field, question)
    request = replace(act.context.request, body={**(act.request.body or {}), field: question})
    return _render(chosen, Context(request=request, seed=seed, now=act.now, app=app))


@memoize_by_identity(256)
def _as_tuple(texts: list[str]) -> tuple[str, ...]:
    return tuple(texts)


@memoize(1024)
def _find_reads(text: str) -> frozenset[str]:
    """Return what of the context a text looks at."""
    return frozenset(_READ.findall(text))


@memoize(1024)
def _choose_text(texts: tuple[str, ...], seed: str, question: str) -> str:
    """Return one of those texts that have Chinese characters if the question has, or have none; of all if none fit."""
    fitting = [text for text in texts if _is_chinese(text) == _is_chinese(question)] or texts
    return random.Random(seed).choice(fitting)  # noqa: S311 - reproducible on purpose, guards nothing


@memoize(1024)
def _answer_without_context(text: str, seed: str, field: str, question: str) -> str:
    """Return what a text says that looks at nothing but the question; inventing takes longer than all the rest."""
    return _render(text, Context(request=RequestView(body={field: question}), seed=seed))


def _render(text: str, context: Context) -> str:
    said, written = _compile(text).render_with_json(context)
    return said if isinstance(said, str) else written


def _is_chinese(text: str) -> bool:
    return re.search("[\u3400-\u4dbf\u4e00-\u9fff]", text) is not None


@lru_cache(256)
def _compile(text: str) -> Template:
    return compile_value(text)


@memoize(1024)
def split_pieces(text: str) -> list[str]:
    """Return a text in pieces of about a word, at most 64, that add up to it; not to be changed."""
    words = _PIECE.findall(text)
    step = -(-len(words) // _MOST_PIECES) or 1
    return ["".join(words[start : start + step]) for start in range(0, len(words), step)] or [""]
