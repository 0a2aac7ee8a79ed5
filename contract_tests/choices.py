"""Where the contract accepts one of several behaviours: which one a server took."""

from __future__ import annotations

from typing import NamedTuple


class Choice(NamedTuple):
    """What a server did where a ruling leaves it the choice.

    ``operation``  qualified: `dify-chat/deleteConversation`
    ``name``       what there was to choose
    ``took``       which way the server went, in words
    ``ruling``     the ruling that accepts them all, as its API names it
    """

    operation: str
    name: str
    took: str
    ruling: str = ""
