"""Applications to measure: the mock behind other servers, and next to nothing behind the same ones.

`python apps.py mock|bare PORT` serves with Werkzeug; `apps:asgi` and `apps:bare_asgi` are for an ASGI server.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BODY = json.dumps({"result": "success", "name": "Assistant"}).encode()
EVENT = b'data: {"event": "message", "task_id": "900bbd43-dc0b-4383-a372-aa6e6c414227", "answer": " word"}\n\n'
EVENTS, APART_S, FLAT_EVENTS = 20, 0.05, 1000


async def bare_asgi(scope: Any, receive: Any, send: Any) -> None:
    """Answer with the same bytes, whatever is asked."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    if scope["path"] not in ("/stream", "/flat"):
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})
        return
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
    if scope["path"] == "/flat":
        await send({"type": "http.response.body", "body": EVENT * FLAT_EVENTS})
        return
    begun = time.monotonic()
    for number in range(EVENTS):
        await asyncio.sleep(max(0.0, begun + number * APART_S - time.monotonic()))
        await send({"type": "http.response.body", "body": EVENT, "more_body": number < EVENTS - 1})


def bare_wsgi(environ: dict[str, Any], start_response: Any) -> Any:
    """Answer with the same bytes, whatever is asked."""
    from werkzeug.wrappers import Request, Response

    request = Request(environ)
    request.get_data()
    if request.path == "/stream":
        return Response(_paced(), content_type="text/event-stream")(environ, start_response)
    body = EVENT * FLAT_EVENTS if request.path == "/flat" else BODY
    return Response(body, content_type="application/json")(environ, start_response)


def _paced() -> Iterator[bytes]:
    begun = time.monotonic()
    for number in range(EVENTS):
        time.sleep(max(0.0, begun + number * APART_S - time.monotonic()))
        yield EVENT


def _mock() -> Any:
    from mockserver.server.mock_server import create_app

    folder = Path(os.environ["BENCH_FIXTURES"]) if "BENCH_FIXTURES" in os.environ else None
    return create_app(fixtures=folder)


def __getattr__(name: str) -> Any:
    if name != "asgi":
        raise AttributeError(name)
    from mockserver.server.asgi import AsgiAdapter

    return AsgiAdapter(_mock())


def main() -> None:
    """Serve with Werkzeug's threaded server, in HTTP/1.1."""
    from werkzeug.serving import WSGIRequestHandler, make_server

    from mockserver.server.wsgi import WsgiAdapter

    class Handler(WSGIRequestHandler):
        protocol_version = "HTTP/1.1"

        def log(self, *_: Any) -> None:
            """Say nothing."""

    app = WsgiAdapter(_mock()) if sys.argv[1] == "mock" else bare_wsgi
    server = make_server("127.0.0.1", int(sys.argv[2]), app, threaded=True, request_handler=Handler)
    server.socket.listen(4096)
    server.serve_forever()


if __name__ == "__main__":
    main()
