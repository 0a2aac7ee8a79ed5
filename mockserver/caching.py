"""What has been worked out of a text: remembered, unless it is long, since clients may send any number of long ones."""

from __future__ import annotations

from functools import lru_cache, wraps
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, TypeVar, TypeVarTuple, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sized

_LONGEST = 1000  # characters
_Key = TypeVar("_Key")
_Texts = TypeVarTuple("_Texts")
_Found = TypeVar("_Found")


class Recent(Generic[_Key, _Found]):
    """The last `size` things that were found, by what they were found for; several threads may add to it."""

    __slots__ = ("_lock", "_size", "find", "known")

    def __init__(self, size: int) -> None:
        """Remember so many; `find` returns one, None where it is not known."""
        self.known: dict[_Key, _Found] = {}
        self.find = self.known.get
        self._size, self._lock = size, Lock()

    def add(self, key: _Key, found: _Found) -> None:
        """Remember one more, and forget the one that was added first where there are too many."""
        with self._lock:
            self.known[key] = found
            if len(self.known) > self._size:
                del self.known[next(iter(self.known))]


def memoize_by_identity(
    size: int, keeps: Callable[[Any], bool] = lambda _found: True
) -> Callable[[Callable[[_Key], _Found]], Callable[[_Key], _Found]]:
    """Remember the last `size` results of a function of one object that never changes, by which object it is.

    What is remembered holds its object; `keeps` tells of a result whether that is worth it.
    """

    def remembering(function: Callable[[_Key], _Found]) -> Callable[[_Key], _Found]:
        known: Recent[int, tuple[_Key, _Found]] = Recent(size)  # with the object no other has its id

        @wraps(function)
        def remembered(given: _Key) -> _Found:
            found = known.find(id(given))
            if found is not None:
                return found[1]
            result = function(given)
            if keeps(result):
                known.add(id(given), (given, result))
            return result

        return remembered

    return remembering


def memoize(size: int) -> Callable[[Callable[[*_Texts], _Found]], Callable[[*_Texts], _Found]]:
    """Remember the last `size` results of a function of texts, or of other things that have a length, all short."""

    def remembering(function: Callable[[*_Texts], _Found]) -> Callable[[*_Texts], _Found]:
        known = cast("Callable[[*_Texts], _Found]", lru_cache(size)(function))

        @wraps(function)
        def remembered(*given: *_Texts) -> _Found:
            for argument in given:
                if len(cast("Sized", argument)) > _LONGEST:
                    return function(*given)
            return known(*given)

        return remembered

    return remembering
