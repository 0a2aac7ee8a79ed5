"""`nox -s upgrade`: two releases of a real Langflow side by side, the contract being the third voice."""

from __future__ import annotations

import argparse
import re
import signal
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from langflow_server import Langflow  # noqa: E402 - lies beside this file


def main() -> int:
    """Start both, compare them; return the exit status of `contract-tests compare`."""
    parser = argparse.ArgumentParser(
        prog="upgrade", description=__doc__, epilog="Everything else goes to contract-tests compare: --report DIR."
    )
    parser.add_argument("--old", type=Path, required=True, help="the command that starts the old Langflow")
    parser.add_argument("--new", type=Path, required=True, help="the command that starts the new Langflow")
    options, more = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that the servers end, too
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True)))
        command = [sys.executable, "-m", "contract_tests", "compare", "--api", "agentbuilder"]
        for number, place in enumerate(("old", "new"), 1):
            home = folder / str(number)  # a name that is known to be invented: error messages tell it
            home.mkdir(mode=0o700)
            server = stack.enter_context(Langflow(getattr(options, place), home))
            print(f"The {place} Langflow answers at {server.variables['LANGFLOW_URL']}.", flush=True)  # noqa: T201 - a command's own output
            command += [f"--{place}-target", str(write_target(home / "target.toml", server.variables))]
        return subprocess.run([*command, *more], check=False).returncode


def write_target(path: Path, variables: dict[str, str]) -> Path:
    """Write the target file of one server, its variables filled in; two servers cannot share the environment."""
    text = (HERE / "target.toml").read_text(encoding="utf-8")
    path.write_text(re.sub(r"\$\{(\w+)\}", lambda match: variables[match[1]], text), encoding="utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
