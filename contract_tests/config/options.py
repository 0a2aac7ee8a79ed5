"""The options of the suite, each once: `contract-tests` and pytest take the same."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from flowcontract.provenance.evidence import BARS, DEFAULT_BAR


def parse_minutes(text: str) -> float:
    """Read a number of minutes; raise ArgumentTypeError for anything else."""
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise argparse.ArgumentTypeError(f'"{text}" is no number of minutes above 0')
    return found


OPTIONS: dict[str, dict[str, Any]] = {
    "--base-url": {
        "metavar": "URL",
        "help": "where the server is; each API's base path is added, unless it stands there",
    },
    "--api": {"action": "append", "default": [], "metavar": "NAME", "help": "an API; may be repeated (default: all)"},
    "--key": {
        "action": "append",
        "default": [],
        "metavar": "API=KEY",
        "help": "a key, or API.SCHEME=KEY; may be repeated (default: the mock's)",
    },
    "--target": {"type": Path, "metavar": "FILE", "help": "a TOML file that says what is different on this server"},
    "--profile": {
        "action": "append",
        "default": [],
        "metavar": "API=NAME",
        "help": "judge an API by a profile of its contract",
    },
    "--report": {
        "type": Path,
        "metavar": "DIR",
        "help": "write report.html, report.json, report.sarif, exchanges.har and junit.xml there",
    },
    "--baseline": {
        "type": Path,
        "metavar": "FILE",
        "help": "the report.json of an earlier run: say what is different now, beside the verdict",
    },
    "--deviations": {
        "type": Path,
        "metavar": "FILE",
        "help": "known differences (TOML): reported, but no failures",
    },
    "--accept": {"action": "store_true", "help": "add all differences of this run to the file of --deviations"},
    "--prune": {"action": "store_true", "help": "remove from the file of --deviations what occurs no longer"},
    "--demand-fuzz": {"action": "store_true", "help": "what fuzzing finds fails the run (default: it is told apart)"},
    "--demand": {
        "choices": [str(tier) for tier in BARS],
        "default": str(DEFAULT_BAR),
        "help": "what a violation must at least rest on to fail the run; others are notes (default: %(default)s)",
    },
    "--require": {"metavar": "LEVEL", "help": "fail below a coverage in percent: 80, or codes=100,events=50"},
    "--max-minutes": {
        "type": parse_minutes,
        "default": 10.0,
        "metavar": "N",
        "help": "what a run may take; one that takes longer ends as incomplete (default: %(default)g)",
    },
    "--thorough": {"action": "store_true", "help": "take up to ten minutes: more fuzzing, waiting for pings"},
}
