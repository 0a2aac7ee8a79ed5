"""What a question is answered with: a text that question and seed choose, and the pieces in which a model writes it."""

from __future__ import annotations

import random
import re
from functools import lru_cache
from typing import TYPE_CHECKING

from flowcontract.expressions import Context, Template, compile_value

if TYPE_CHECKING:
    from mockserver.behaviours.acts import Act

_CHINESE = "\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef"
_PIECE = re.compile(rf"\s*[{_CHINESE}]{{1,6}}|\s*[^\s{_CHINESE}]+|\s+")
_MOST_PIECES = 64


def answer(act: Act) -> str:
    """Return the answer to a question; the same question in the same world always has the same one."""
    query = act.request.body["query"]
    seed = act.world.id_of("answer", query)
    app = act.context.app
    texts = _fitting(app["texts"][app["answers"]], query)
    chosen = random.Random(seed).choice(texts)  # noqa: S311 - reproducible on purpose, guards nothing
    said = _compiled(chosen).render(Context(request=act.context.request, seed=seed, now=act.now, app=app))
    return said if isinstance(said, str) else str(said)


def _fitting(texts: list[str], query: str) -> list[str]:
    """Return the texts with Chinese characters for a question with some, the others for any other; all if none fit."""
    return [text for text in texts if _is_chinese(text) == _is_chinese(query)] or texts


def _is_chinese(text: str) -> bool:
    return re.search("[\u3400-\u4dbf\u4e00-\u9fff]", text) is not None


@lru_cache(256)
def _compiled(text: str) -> Template:
    return compile_value(text)


def pieces(text: str) -> list[str]:
    """Return a text in pieces of about a word, at most 64, that add up to it."""
    words = _PIECE.findall(text)
    step = -(-len(words) // _MOST_PIECES) or 1
    return ["".join(words[start : start + step]) for start in range(0, len(words), step)] or [""]
