"""Every class of bad requests, each a generator over the documented ones; the same seed gives the same bytes."""

from __future__ import annotations

import itertools
import json
import random
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from attack_requests import BOUNDARY, Part, Plain, multipart
from attack_wire import Attack
from attack_words import (
    ENCODED,
    FRAMING,
    HEADERS,
    JSON_TEXTS,
    JSON_VALUES,
    METHODS,
    OFFERS,
    RAW,
    TARGETS,
    TEXTS,
    WRONG_HOSTS,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_BIG = 10 << 20


@dataclass(frozen=True)
class Material:
    """What the classes work with: documented requests, and where randomness comes from."""

    plain: Sequence[Plain]
    seed: int = 0

    def chance(self, kind: str) -> random.Random:
        """Return a source of randomness that belongs to one class."""
        return random.Random(f"{self.seed}/{kind}")

    @property
    def json(self) -> list[Plain]:
        """The requests whose body is JSON."""
        return [one for one in self.plain if isinstance(one.body, dict)]

    @property
    def forms(self) -> list[Plain]:
        """The requests whose body is a form with files."""
        bodies = [one for one in self.plain if isinstance(one.body, list)]
        return [one for one in bodies if any(b"filename" in part.head for part in one.body)]

    @property
    def first(self) -> list[Plain]:
        """One request of each operation."""
        return list({one.operation.name: one for one in self.plain}.values())


def _attack(kind: str, name: str, plain: Plain, **more: Any) -> Attack:
    return Attack(kind, name, plain.raw(), plain.operation.name, **more)


def json_texts(material: Material) -> Iterator[Attack]:
    """Bodies that should have been JSON."""
    for plain, (name, text) in itertools.product(material.json, JSON_TEXTS.items()):
        yield _attack("json text", name, replace(plain, body=text))


def json_values(material: Material) -> Iterator[Attack]:
    """Every field of a body, at every depth, with every odd value; left out; and sent twice."""
    for plain in material.json:
        for path in _paths(plain.body):
            where = ".".join(map(str, path))
            for name, text in JSON_VALUES.items():
                yield _attack("json value", f"{where}: {name}", replace(plain, body=_with(plain.body, path, text)))
            for name, text in TEXTS.items():
                value = json.dumps(text)
                yield _attack("json value", f"{where}: {name}", replace(plain, body=_with(plain.body, path, value)))
            yield _attack("json value", f"{where} twice", replace(plain, body=_twice(plain.body, path)))
            yield _attack("json value", f"{where} left out", replace(plain, body=_without(plain.body, path)))


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _paths(inner, (*path, key))


_HOLE = "<the hole>"


def _with(body: Any, path: Sequence[Any], text: str) -> bytes:
    """Return a body as JSON in which a text stands, as it is, at a place."""
    return json.dumps(_put(body, path, _HOLE)).replace(json.dumps(_HOLE), text).encode("utf-8", "surrogatepass")


def _put(value: Any, path: Sequence[Any], new: Any) -> Any:
    if not path:
        return new
    items = value.items() if isinstance(value, dict) else enumerate(value)
    changed = {key: _put(inner, path[1:], new) if key == path[0] else inner for key, inner in items}
    return changed if isinstance(value, dict) else list(changed.values())


def _twice(body: Any, path: Sequence[Any]) -> bytes:
    name = json.dumps(path[-1])
    return _with(body, path, f"1, {name}: null, {name}: {{}}" if isinstance(path[-1], str) else "1, 1")


def _without(body: Any, path: Sequence[Any]) -> bytes:
    whole = json.dumps(_put(body, path, _HOLE))
    hole = json.dumps(_HOLE)
    label = f"{json.dumps(path[-1])}: " if isinstance(path[-1], str) else ""
    return re.sub(rf"(, )?{re.escape(label + hole)}", "", whole).replace("{, ", "{").replace("[, ", "[").encode()


def paths(material: Material) -> Iterator[Attack]:
    """Every path parameter, spoilt in every way."""
    for plain in material.first:
        base, _, query = plain.target.partition("?")
        wanted = plain.operation.path.split("/")
        segments = base.split("/")
        offset = len(segments) - len(wanted)
        for index in (at for at, segment in enumerate(wanted) if segment.startswith("{")):
            for name, odd in _odd_pieces():
                spoilt = [*segments[: offset + index], odd, *segments[offset + index + 1 :]]
                target = "/".join(spoilt) + (f"?{query}" if query else "")
                yield _attack("path parameter", f"{wanted[index]}: {name}", replace(plain, target=target))


def _odd_pieces() -> Iterator[tuple[str, str]]:
    yield from ENCODED.items()
    for name, text in TEXTS.items():
        yield f"text, {name}", quote(text.encode("utf-8", "surrogatepass")[:6000], safe="")


def queries(material: Material) -> Iterator[Attack]:
    """Every parameter of a query, and one that nobody knows, spoilt, repeated, and far too many."""
    for plain in material.first:
        base = plain.target.partition("?")[0]
        names = [one.name for one in plain.operation.parameters if one.location == "query"]
        for parameter, (name, odd) in itertools.product([*names, "unknown"], _odd_pieces()):
            piece = odd.replace("#", "%23").replace(" ", "%20")
            yield _attack("query", f"{parameter}: {name}", replace(plain, target=f"{base}?{parameter}={piece}"))
        for parameter in names:
            for value in (
                "0",
                "-1",
                "1.5",
                "1e3",
                "0x10",
                "9" * 30,
                "9" * 5000,
                "inf",
                "nan",
                "\u0661",
                "[]",
                "null",
                "+1",
            ):
                target = f"{base}?{parameter}={quote(value)}"
                yield _attack("query", f"{parameter}={value[:20]}", replace(plain, target=target))
            yield _attack("query", f"{parameter} twice", replace(plain, target=f"{base}?{parameter}=1&{parameter}=2"))
            yield _attack("query", f"{parameter}[]", replace(plain, target=f"{base}?{parameter}[]=1&{parameter}[a]=2"))
        for name, query in {
            "names only": "a&b&c&=&==&&",
            "2000 fields": "&".join(f"f{number}=1" for number in range(2000)),
            "60 KB": "user=" + "a" * 60_000,
            "semicolons": "a=1;b=2;c",
            "nested": "a[b][c][d]=1&a.b.c=2&__proto__[x]=1",
        }.items():
            yield _attack("query", name, replace(plain, target=f"{base}?{query}"))


def headers(material: Material) -> Iterator[Attack]:
    """Every header that something listens to, with every odd value, for every operation."""
    for plain, (name, values) in itertools.product(material.first, HEADERS.items()):
        for value in values:
            asked = name == "Prefer"
            spoilt = replace(plain, headers={**plain.headers, name: value})
            yield _attack("header", f"{name}: {value[:40]!r}", spoilt, asked=asked, ending="half-close")
    for plain in material.first:
        for name in [name for name in plain.headers if name.lower() != "content-type"]:
            kept = {key: value for key, value in plain.headers.items() if key != name}
            yield _attack("header", f"without {name}", replace(plain, headers=kept))
            again = f"{name}: {plain.headers[name]}x".encode()
            yield _attack("header", f"{name} twice", replace(plain, extra=(again,)))


def methods(material: Material) -> Iterator[Attack]:
    """Every operation with every method."""
    for plain, method in itertools.product(material.first, METHODS):
        odd = method not in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
        spoilt = replace(plain, method=method)
        yield Attack(
            "method", f"{plain.operation.name} {method[:20]}", spoilt.raw(), silence=odd and not method.isalpha()
        )


def targets(material: Material) -> Iterator[Attack]:
    """Request targets of every form, and of none."""
    key = b"Authorization: Bearer app-chat-fuzz\r\n"
    for method, target in itertools.product((b"GET", b"OPTIONS", b"POST", b"CONNECT", b"DELETE"), TARGETS):
        raw = method + b" " + target + b" HTTP/1.1\r\nHost: mock\r\nConnection: close\r\n" + key + b"\r\n"
        yield Attack("target", f"{method.decode()} {target[:60]!r}", raw, silence=True)


def broken_http(material: Material) -> Iterator[Attack]:
    """Bytes in which HTTP itself is odd."""
    for name, raw in RAW.items():
        yield Attack("broken http", name, raw, silence=True, ending="half-close")
        yield Attack("broken http", f"{name}, and away", raw, silence=True, ending="leave")


def offers(material: Material) -> Iterator[Attack]:
    """Documented requests that offer another protocol, as every JDK does: they are answered as without the offer."""
    for plain in material.first:
        payload = plain.payload()
        chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(payload), payload)
        wanted = tuple(plain.operation.responses.keys() & {200, 201, 204, 404})
        for protocol, extra in OFFERS.items():
            offered = replace(plain, headers={**plain.headers, "Connection": "Upgrade, HTTP2-Settings"}, extra=extra)
            yield _attack("offer", protocol, offered, wanted=wanted, ending="half-close")
            if payload:
                head, _, _ = offered.raw().partition(b"\r\n\r\n")
                head = head.replace(b"Content-Length: %d" % len(payload), b"Transfer-Encoding: chunked")
                raw = head + b"\r\n\r\n" + chunked
                yield Attack("offer", f"{protocol}, chunked", raw, wanted=wanted, ending="half-close")


def hosts(material: Material) -> Iterator[Attack]:
    """Hosts that are none, two of them, and protocols that are not HTTP/1.x: 400 (RFC 9112, 3.2)."""
    key = b"Authorization: Bearer app-chat-fuzz\r\nConnection: close\r\n\r\n"
    for plain, host in itertools.product(material.first, WRONG_HOSTS):
        raw = plain.raw().replace(b"\r\nHost: mock", b"".join(b"\r\nHost: " + each for each in host), 1)
        yield Attack("host", f"{host!r}", raw, wanted=(400,), ending="half-close")
    for protocol in ("HTTP/2.0", "HTTP/3.0", "HTTP/0.9", "RTSP/1.0", "ICE/1.0", "http/1.1", "HTTPS/1.1", "SIP/2.0"):
        raw = b"GET /v1/info " + protocol.encode() + b"\r\nHost: mock\r\n" + key
        yield Attack("host", protocol, raw, wanted=(400,), ending="half-close")
        yield Attack("host", f"{protocol}, dripping", raw, wanted=(400,), ending="half-close", drip=1)


def framing(material: Material) -> Iterator[Attack]:
    """Lengths and chunks that do not fit."""
    for plain in (one for one in material.first if one.body is not None):
        payload = plain.payload()
        known = {"length": len(payload), "longer": len(payload) + 1000}
        for name, (lines, template) in FRAMING.items():
            head = "\r\n".join(
                [
                    f"{plain.method} {plain.target} HTTP/1.1",
                    "Host: mock",
                    "Connection: close",
                    f"Content-Type: {plain.content_type}",
                    *(f"{key}: {value}" for key, value in plain.headers.items()),
                    lines.format(**known),
                ]
            )
            body = template.replace("{body}", "\0\0").format(**known).encode().replace(b"\0\0", payload)
            raw = head.encode("latin-1") + b"\r\n\r\n" + body
            yield Attack("framing", name, raw, plain.operation.name, ending="half-close")


def forms(material: Material) -> Iterator[Attack]:
    """Forms that are broken, cut short at every place, or lie about their files."""
    for plain in material.forms:
        for name, body in _odd_forms(plain.body):
            yield _attack("multipart", name, replace(plain, body=body))
        whole = plain.payload()
        for end in range(0, len(whole), 7):
            yield _attack("multipart, cut", f"after {end} bytes", replace(plain, body=whole[:end]))


def _odd_forms(parts: list[Part]) -> Iterator[tuple[str, bytes]]:
    """Yield what can be wrong with a form, and its bytes."""
    file = next(one for one in parts if b"filename" in one.head)
    others = [one for one in parts if one is not file]
    field = next(iter(re.findall(rb'name="([^"]*)"', file.head))).decode()
    for name, text in TEXTS.items():
        yield f"file name: {name}", multipart([*others, Part.of(field, b"abc", text, "text/plain")])
        yield f"field name: {name}", multipart([*parts, Part.of(text, b"abc")])
        yield f"file of field: {name}", multipart([*parts, Part.of(text, b"abc", "a.txt")])
        yield f"type of file: {name}", multipart([*others, Part.of(field, b"abc", "a.txt", text)])
        encoded = f"Content-Disposition: form-data; name=\"{field}\"; filename*=UTF-8''".encode()
        odd = quote(text.encode("utf-8", "surrogatepass"), safe="").encode()
        yield f"file name, encoded: {name}", multipart([*others, Part(encoded + odd, b"abc")])
        for other in others:
            label = next(iter(re.findall(rb'name="([^"]*)"', other.head))).decode()
            rest = [one for one in parts if one is not other]
            spoilt = Part.of(label, text.encode("utf-8", "surrogatepass"))
            yield f"{label}: {name}", multipart([*rest, spoilt])
    for name, head in _ODD_HEADS.items():
        yield f"head: {name}", multipart([*others, Part(head.replace(b"FIELD", field.encode()), b"abc")])
    yield "two files", multipart([*parts, file])
    yield "no file", multipart(others)
    yield "nothing but the file", multipart([file])
    yield "a file without bytes", multipart([*others, Part(file.head, b"")])
    yield "the file as text", multipart([*others, Part.of(field, b"abc")])
    yield "everything twice", multipart([*parts, *parts])
    yield "every text as a file", multipart([file, *(Part(one.head + b'; filename="a.txt"', b"abc") for one in others)])
    yield "2000 fields", multipart([*parts, *(Part.of(f"f{number}", b"1") for number in range(2000))])
    yield "2000 files", multipart([*parts, *(Part.of(field, b"1", f"{number}.txt") for number in range(2000))])
    yield "a text of 5 MB", multipart([*parts, Part.of("user", b"u" * (5 << 20))])
    yield "a text that is no UTF-8", multipart([*parts, Part.of("user", b"\xff\xfe\x00")])
    yield "a head of 1 MB", multipart([Part(b"X: " + b"a" * (1 << 20), b"abc"), *parts])
    yield "10,000 heads", multipart([Part(b"X: a\r\n" * 10_000 + file.head, b"abc")])
    yield "a name of 60 KB", multipart([*others, Part.of(field, b"abc", "n" * 60_000 + ".txt")])
    whole = multipart(parts)
    yield "another boundary", whole.replace(BOUNDARY, b"fuzz-bounda1y")
    yield (
        "boundary in the file",
        multipart([*others, Part(file.head, b"a\r\n--" + BOUNDARY + b"x\r\n--" + BOUNDARY[:-1])]),
    )
    yield "never closed", whole[: -len(BOUNDARY) - 6]
    yield "closed at once", b"--" + BOUNDARY + b"--\r\n" + whole
    yield "text in front", b"preamble " * 10_000 + b"\r\n" + whole
    yield "text behind", whole + b"epilogue " * 10_000
    yield "line feeds only", whole.replace(b"\r\n", b"\n")
    yield "carriage returns only", whole.replace(b"\r\n", b"\r")
    yield (
        "forms in forms",
        multipart([Part(b'Content-Disposition: form-data; name="a"\r\nContent-Type: multipart/mixed', whole)]),
    )
    yield "a boundary and dashes", (b"--" + BOUNDARY) * 5000
    yield "line breaks", b"\r\n" * 50_000
    yield "dashes", b"\r\n--" * 50_000


_ODD_HEADS: dict[str, bytes] = {
    "none": b"",
    "no disposition": b"Content-Type: text/plain",
    "no name": b'Content-Disposition: form-data; filename="a.txt"',
    "empty name": b'Content-Disposition: form-data; name=""; filename="a.txt"',
    "no quotes": b"Content-Disposition: form-data; name=FIELD; filename=a b.txt",
    "open quotes": b'Content-Disposition: form-data; name="FIELD"; filename="a.txt',
    "escaped quotes": b'Content-Disposition: form-data; name="FIELD"; filename="a\\"b\\\\.txt"',
    "two names": b'Content-Disposition: form-data; name="FIELD"; name="other"; filename="a"; filename="b"',
    "attachment": b'Content-Disposition: attachment; name="FIELD"; filename="a.txt"',
    "no type": b"Content-Disposition:",
    "twice": b'Content-Disposition: form-data; name="FIELD"; filename="a"\r\nContent-Disposition: form-data; name="b"',
    "no UTF-8": b'Content-Disposition: form-data; name="FIELD"; filename="\xff\xfe.txt"',
    "null byte": b'Content-Disposition: form-data; name="FIELD"; filename="a\x00.txt"',
    "folded": b'Content-Disposition: form-data;\r\n name="FIELD";\r\n filename="a.txt"',
    "no colon": b"nonsense",
    "base64": b'Content-Disposition: form-data; name="FIELD"; filename="a"\r\nContent-Transfer-Encoding: base64',
    "length": b'Content-Disposition: form-data; name="FIELD"; filename="a"\r\nContent-Length: 99999999999',
    "odd type": b'Content-Disposition: form-data; name="FIELD"; filename="a"\r\nContent-Type: ;;\xff/\x00; charset=kl',
    "continued name": b"Content-Disposition: form-data; name*0=FI; name*1=ELD; filename*0=a; filename*1=b",
    "backslashes": b'Content-Disposition: form-data; name="FIELD"; filename="C:\\a\\n.txt"',
    "extended first": b"Content-Disposition: form-data; name=FIELD; filename*=UTF-8''%e2%82%ac; filename=a",
    "odd charset": b"Content-Disposition: form-data; name=\"FIELD\"; filename*=klingon'x'%ff%fe",
    "no charset": b'Content-Disposition: form-data; name="FIELD"; filename*=%ff',
}


def big(material: Material) -> Iterator[Attack]:
    """Ten megabytes of JSON, of forms, and a little more than is taken."""
    bodies = {
        "a text": b'{"query": "' + b"a" * _BIG + b'", "user": "u", "inputs": {}}',
        "a list of numbers": b'{"query": "q", "user": "u", "inputs": {"a": [' + b"1," * (_BIG // 2) + b"1]}}",
        "many keys": b'{"query": "q", "user": "u", "inputs": {'
        + b",".join(b'"k%07d":1' % n for n in range(800_000))
        + b"}}",
        "nesting": b'{"inputs": ' + b"[" * _BIG,
        "nesting, closed": b"[" * (_BIG // 2) + b"]" * (_BIG // 2),
        "escapes": b'{"query": "' + b"\\u0041" * (_BIG // 6) + b'", "user": "u", "inputs": {}}',
        "spaces": b" " * _BIG + b"{}",
        "digits": b"9" * _BIG,
        "17 MB": b'{"query": "' + b"a" * (17 << 20) + b'"}',
        "null bytes": bytes(_BIG),
    }
    for plain, (name, body) in itertools.product(material.json[::3], bodies.items()):
        yield _attack("ten megabytes", name, replace(plain, body=body))
    for plain in material.forms:
        rest = [one for one in plain.body if b"filename" not in one.head]
        file = next(one for one in plain.body if b"filename" in one.head)
        for name, parts in {
            "a file": [*rest, Part(file.head, b"a" * _BIG)],
            "a field": [*plain.body, Part.of("user", b"a" * _BIG)],
            "a file name": [*rest, Part.of("file", b"a", "n" * _BIG)],
            "a field name": [*plain.body, Part.of("n" * _BIG, b"a")],
            "no line breaks": [*rest, Part(b"a" * _BIG, b"")],
            "carriage returns": [*rest, Part(file.head, b"\r" * _BIG)],
            "near boundaries": [*rest, Part(file.head, (b"\r\n--" + BOUNDARY[:-1]) * (_BIG // 16))],
        }.items():
            yield _attack("ten megabytes", name, replace(plain, body=parts))
    for plain in (one for one in material.first if one.body is None):
        yield _attack("ten megabytes", "where no body belongs", replace(plain, body=bytes(_BIG)))


def slow(material: Material) -> Iterator[Attack]:
    """Clients that send little by little, stop in the middle, or leave."""
    for plain in material.first:
        raw, name = plain.raw(), plain.operation.name
        yield Attack("slow", "drips", raw, name, drip=max(1, len(raw) // 50))
        yield Attack(
            "slow",
            "says no more after the head",
            raw.partition(b"\r\n\r\n")[0] + b"\r\n\r\n",
            name,
            ending="half-close",
        )
        yield Attack("slow", "half-closed", raw, name, ending="half-close")
        for end in (10, len(raw) // 3, len(raw) // 2, len(raw) - 1, len(raw)):
            yield Attack("slow", f"leaves after {end} bytes", raw[:end], name, silence=True, ending="leave")
            half = Attack("slow", f"says no more after {end} bytes", raw[:end], name, silence=True, ending="half-close")
            yield half


def preflights(material: Material) -> Iterator[Attack]:
    """Preflights: what browsers ask first, and what they would never ask."""
    odd = ("*", "", "authorization", "x" * 5000, "a, b" * 500, "\xff", "a\tb", "Cookie, Authorization, X-Api-Key")
    for plain, wanted in itertools.product(material.first, odd):
        asked = plain.with_headers(
            Origin="https://evil.example",
            Access_Control_Request_Method=wanted or "POST",
            Access_Control_Request_Headers=wanted,
            Access_Control_Request_Private_Network="true",
        )
        yield _attack("preflight", wanted[:20], replace(asked, method="OPTIONS", body=None, media_type=""))


def keys(material: Material) -> Iterator[Attack]:
    """Thousands of keys, each of which opens a world."""
    for number, plain in zip(range(3000), itertools.cycle(material.first), strict=False):
        changed = {name: re.sub(r"-fuzz$", f"-{number:x}", value) for name, value in plain.headers.items()}
        yield _attack("keys", f"number {number}", replace(plain, headers=changed))


def mutations(material: Material) -> Iterator[Attack]:
    """Documented requests with a few bytes changed, lost, doubled or swapped; without end."""
    chance = material.chance("mutation")
    raws = [one.raw() for one in material.plain]
    while True:
        spoilt = bytearray(chance.choice(raws))
        for _ in range(chance.choice((1, 1, 2, 3, 8))):
            _spoil(spoilt, chance)
        yield Attack("mutated bytes", "", bytes(spoilt), silence=True, asked=b"refer" in spoilt, ending="half-close")


_TOKENS = (
    b"\x00",
    b"\r\n",
    b"\n",
    b"%",
    b"%00",
    b'"',
    b"{",
    b"[" * 50,
    b"-1",
    b"9" * 30,
    b"\xff",
    b"..",
    b"/",
    b":",
    b"\\",
    b"\\ud800",
    b"null",
)


def _spoil(raw: bytearray, chance: random.Random) -> None:
    """Change one place."""
    at = chance.randrange(len(raw) or 1)
    size = chance.choice((1, 1, 2, 4, 16, 64))
    match chance.randrange(6):
        case 0:
            raw[at : at + 1] = bytes([chance.randrange(256)])
        case 1:
            del raw[at : at + size]
        case 2:
            raw[at:at] = raw[at : at + size]
        case 3:
            raw[at:at] = chance.choice(_TOKENS)
        case 4:
            raw[at : at + size] = chance.choice(_TOKENS)
        case _:
            other = chance.randrange(len(raw) or 1)
            raw[at : at + size], raw[other : other + size] = raw[other : other + size], raw[at : at + size]


KINDS: dict[str, Callable[[Material], Iterator[Attack]]] = {
    "json-texts": json_texts,
    "json-values": json_values,
    "paths": paths,
    "queries": queries,
    "headers": headers,
    "methods": methods,
    "targets": targets,
    "broken-http": broken_http,
    "offers": offers,
    "hosts": hosts,
    "framing": framing,
    "forms": forms,
    "big": big,
    "slow": slow,
    "preflights": preflights,
    "keys": keys,
}
"""Every class but the mutations, which have no end."""
