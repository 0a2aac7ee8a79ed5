"""Asks a server once through the suite's client, in little memory; prints what came of it as JSON."""

from __future__ import annotations

import json
import resource
import sys

from contract_tests.config.target import load_target
from contract_tests.http.client import Client
from contract_tests.http.exchange import Request
from flowcontract.specs.model import load_apis


def main() -> None:
    """Ask `sys.argv[1]`."""
    target = load_target(load_apis(["dify-chat"]), base_url=sys.argv[1], keys=["dify-chat=app-secret"])
    object.__setattr__(target, "answer_s", 1.0)
    object.__setattr__(target, "stream_s", float(sys.argv[2]))
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    exchange = Client(target, target.apis["dify-chat"]).send(Request("GET", "/x"))
    more_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - used) / 1024
    trouble = exchange.trouble or (exchange.answer.trouble if exchange.answer else "")
    print(json.dumps({"status": exchange.status, "trouble": trouble, "more_mb": more_mb}))  # noqa: T201 - what it is for


if __name__ == "__main__":
    main()
