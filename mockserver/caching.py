"""What has been worked out of a text: remembered, unless it is long, since clients may send any number of long ones."""

from __future__ import annotations

from functools import lru_cache, wraps
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

_LONGEST = 1000  # characters
_Texts = TypeVarTuple("_Texts")
_Found = TypeVar("_Found")


def memo(size: int) -> Callable[[Callable[[*_Texts], _Found]], Callable[[*_Texts], _Found]]:
    """Remember the last `size` results of a function of texts, or of other things that have a length, all short."""

    def remembering(function: Callable[[*_Texts], _Found]) -> Callable[[*_Texts], _Found]:
        known = cast("Callable[[*_Texts], _Found]", lru_cache(size)(function))

        @wraps(function)
        def remembered(*given: *_Texts) -> _Found:
            short = all(len(cast("Sized", argument)) <= _LONGEST for argument in given)
            return (known if short else function)(*given)

        return remembered

    return remembering
