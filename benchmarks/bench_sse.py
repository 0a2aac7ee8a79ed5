"""How fast the decoder reads: megabytes per second on one core, for streams as real servers send them.

Run `python benchmarks/bench_sse.py [MEGABYTES]`; every line is one shape of stream, read in pieces of 64 KiB.
"""

from __future__ import annotations

import json
import sys
import time

from flowcontract.streams.sse import Decoder, encode, encode_json

PIECE = 64 * 1024
_IDS = {"conversation_id": "edcc460d-6e5f-4a29-bb86-04530767f569", "task_id": "338fd04a-dda4-4060-82fc-1331d288aa1b"}
_TOKEN = json.dumps({"event": "message", **_IDS, "created_at": 1795212114, "answer": " glad", "from": ["llm", "text"]})
_NODE = json.dumps({"event": "node_finished", **_IDS, "data": {"outputs": {"text": "I am glad to meet you. " * 40}}})
_CHINESE = json.dumps({"event": "message", **_IDS, "answer": "很高兴认识你" * 20}, ensure_ascii=False)

SHAPES = {
    "small events (tokens)": encode(_TOKEN),
    "a run (tokens and nodes)": encode(_TOKEN) * 4 + encode(_NODE),
    "raw UTF-8": encode(_CHINESE),
    "CR LF": encode(_TOKEN).replace(b"\n", b"\r\n"),
    "event, id and data": encode(_TOKEN, event="message", id="17"),
    "JSON and blank lines": encode_json(_TOKEN),
}


def main() -> int:
    """Measure every shape and print a table."""
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    for name, block in SHAPES.items():
        stream = block * (megabytes * 1_000_000 // len(block))
        decoder = Decoder("json-blank-line" if name.startswith("JSON") else "sse")
        begun = time.perf_counter()
        blocks = sum(len(decoder.feed(stream[at : at + PIECE])) for at in range(0, len(stream), PIECE))
        seconds = time.perf_counter() - begun
        print(f"{name:28} {len(stream) / seconds / 1e6:7.0f} MB/s {blocks / seconds / 1e3:7.0f} thousand blocks/s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
