"""How long the mock takes from its command line to its first answer, and how long reading the contract takes."""

from __future__ import annotations

import argparse
import os
import re
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from flowcontract.specs.model import load_apis


def cold_start() -> tuple[float, float]:
    """Return seconds to the first answer, and the megabytes that the idle server then occupies (Linux only, else 0)."""
    begun = time.perf_counter()
    command = [sys.executable, "-m", "mockserver", "serve", "--port", "0"]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed program has its byte code
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stdout is not None
            url = next(found[0] for line in server.stdout if (found := re.search(r"http://127\.0\.0\.1:\d+", line)))
            request = urllib.request.Request(f"{url}/v1/info", headers={"Authorization": "Bearer app-chat"})  # noqa: S310
            with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310 - loopback
                answer.read()
            seconds = time.perf_counter() - begun
            status = Path(f"/proc/{server.pid}/status")
            resident = re.search(r"VmRSS:\s+(\d+)", status.read_text()) if status.is_file() else None
        finally:
            server.kill()
    return seconds, int(resident[1]) / 1024 if resident else 0.0


def reading() -> float:
    """Return the seconds that bundling and reading all contracts takes in a warm process."""
    begun = time.perf_counter()
    load_apis()
    return time.perf_counter() - begun


def main() -> None:
    """Print the median and the range of each figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=9, help="how often each is measured (default: 9)")
    runs = parser.parse_args().runs
    cold_start()  # the first start writes byte code
    starts = [cold_start() for _ in range(runs)]
    rows = {
        "cold start to first answer, s": [seconds for seconds, _ in starts],
        "idle memory, MB": [memory for _, memory in starts],
        "reading the four contracts, s": [reading() for _ in range(runs)],
    }
    for name, figures in rows.items():
        print(f"{name:32} median {statistics.median(figures):7.3f}   min {min(figures):7.3f}   max {max(figures):7.3f}")


if __name__ == "__main__":
    main()
