"""Runs one published client in a process of its own: base URL and key in, what the client understood out, as JSON."""

import json
import sys
from importlib import util
from pathlib import Path

EVENTS = 500_000  # more would fill the memory: a stream without an end


def load(name):
    """Import a driver by its file, since drivers are named as the packages that they drive."""
    spec = util.spec_from_file_location(f"driver_of_{name}", Path(__file__).parent / "clients" / f"{name}.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def understood(driver, base_url, key):
    """Return the text, the events, or what was raised."""
    events = []
    try:
        for event in driver.ask(base_url, key):
            events.append(event)
            if len(events) > EVENTS:
                return {"hung": True}
    except Exception as error:
        return {"raised": f"{type(error).__name__}: {error}"}
    pieces = [event for event in events if isinstance(event, dict) and event.get("event") == "message"]
    return {"text": "".join(piece.get("answer") or "" for piece in pieces), "events": events}


def main():
    """Answer line by line; whatever the client itself prints goes elsewhere."""
    answers, sys.stdout = sys.stdout, sys.stderr
    driver = load(sys.argv[1])
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(understood(driver, *json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
