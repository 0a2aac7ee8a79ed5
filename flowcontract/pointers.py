"""Places in a JSON value: JSON pointers (`/data/0`, RFC 6901), and the dotted paths of stream contracts (`data.0`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


def escape(token: str) -> str:
    """Return a reference token as it is written in a JSON pointer."""
    return token.replace("~", "~0").replace("/", "~1")


def unescape(token: str) -> str:
    """Return the reference token that a part of a JSON pointer stands for."""
    return token.replace("~1", "/").replace("~0", "~")


def join(tokens: Iterable[str | int]) -> str:
    """Return the JSON pointer that these reference tokens make."""
    return "".join(f"/{escape(str(token))}" for token in tokens)


def split(pointer: str) -> list[str]:
    """Return the reference tokens of a JSON pointer."""
    return [unescape(token) for token in pointer.split("/")[1:]]


def resolve(document: Any, pointer: str) -> Any:
    """Return the value at a JSON pointer (`''` or `/a/0`); raise KeyError with the pointer where there is none."""
    return _walk(document, split(pointer), pointer)


def build_resolver(pointer: str) -> Callable[[Any], Any]:
    """Return a function that finds the value at a JSON pointer in a document, None where there is none."""
    tokens = split(pointer)

    def find(document: Any) -> Any:
        try:
            return _walk(document, tokens, pointer)
        except KeyError:
            return None

    return find


def _walk(document: Any, tokens: Iterable[str], path: str) -> Any:
    value = document
    for token in tokens:
        value = _get_child(value, token, path)
    return value


def lookup(payload: object, path: str) -> Any:
    """Return the value at a dotted path (`data.outputs.answer`, `selector.0`); raise KeyError where there is none."""
    return _walk(payload, path.split("."), path)


def get_value(payload: object, path: str) -> Any:
    """Return the value at a dotted path, or None where there is none."""
    if isinstance(payload, dict) and "." not in path:  # nearly always, many times for each event
        return payload.get(path)
    try:
        return lookup(payload, path)
    except KeyError:
        return None


def build_reader(path: str) -> Callable[[object], Any]:
    """Return `get_value` for one path; faster where the path is the name of a field."""
    if "." in path:
        return lambda payload: get_value(payload, path)
    return lambda payload: payload.get(path) if isinstance(payload, dict) else get_value(payload, path)


def from_path(path: str) -> str:
    """Return the JSON pointer of a dotted path."""
    return "/" + path.replace(".", "/")


def list_texts(value: object, pointer: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in a value, with its JSON pointer; `pointer` is that of the value."""
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from list_texts(inner, f"{pointer}/{escape(name)}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from list_texts(inner, f"{pointer}/{index}")


def _get_child(value: Any, name: str, whole: str) -> Any:
    """Return a field or an item; raise KeyError with the whole pointer or path where there is none."""
    if isinstance(value, dict) and name in value:
        return value[name]
    if isinstance(value, list) and name.isdecimal() and int(name) < len(value):
        return value[int(name)]
    raise KeyError(whole)
