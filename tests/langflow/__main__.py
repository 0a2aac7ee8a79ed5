"""`nox -s langflow`: the contract suite against a real Langflow, whose known differences are written down."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from langflow_server import Langflow  # noqa: E402 - lies beside this file


def main() -> int:
    """Start Langflow, run the suite; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="langflow",
        description=__doc__,
        epilog="Everything else goes to contract-tests: --accept, --report DIR, -k TEXT.",
    )
    parser.add_argument("--program", type=Path, required=True, help="the command `langflow` of an environment")
    parser.add_argument("--version", required=True, help="its version: which deviations are known")
    options, more = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the server ends, too
    started = time.monotonic()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        Langflow(options.program, Path(folder)) as server,
    ):
        print(f"Langflow {options.version} answers after {time.monotonic() - started:.0f} s", flush=True)  # noqa: T201 - a command's own output
        known = HERE / f"deviations-{options.version}.toml"
        command = [sys.executable, "-m", "contract_tests", "--target", str(HERE / "target.toml")]
        command += ["--api", "agentbuilder", "--deviations", str(known), *more]
        return subprocess.run(command, env={**os.environ, **server.variables}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
