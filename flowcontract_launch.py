"""Starts the mock, or says in one sentence which other `mockserver` stands in its place.

It is a module of its own at the top: PyPI's mockserver-client, and many a project, have a package `mockserver` too, and
where theirs is found first nothing of ours can be asked.
"""

from __future__ import annotations

import sys
from importlib import metadata, util
from pathlib import Path

MISUSE = 2
_MARK = 'DISTRIBUTION = "flowcontract"'


def find_shadow() -> str:
    """Return a sentence on what is imported instead of our `mockserver`, '' if it is ours; nothing is imported."""
    found = util.find_spec("mockserver")
    if found is None:
        return "there is no package mockserver here. Install flowcontract again: pip install --force-reinstall ."
    places = [found.origin] if found.origin else list(found.submodule_search_locations or ())
    if found.origin and _MARK in Path(found.origin).read_text(encoding="utf-8", errors="replace"):
        return ""
    owners = [name for name in metadata.packages_distributions().get("mockserver", ()) if name != "flowcontract"]
    folder = Path(places[0]) if places else Path()
    packages = folder.parents[1] if found.origin else folder.parent
    who = f"the package {owners[0]}" if owners and packages.name == "site-packages" else "a folder of your own"
    return (
        f"{who} has a mockserver, too, which is found before ours ({places[0] if places else 'mockserver'}). "
        "Install flowcontract into an environment of its own, in its checkout: "
        "python -m venv mock && mock/bin/pip install ."
    )


def run_mockserver() -> int:
    """Run the command `mockserver`; return its exit status, 2 where another package has its name."""
    if shadow := find_shadow():
        print(f"mockserver: {shadow}", file=sys.stderr)  # noqa: T201 - a command prints
        return MISUSE
    from mockserver.cli.main import main  # noqa: PLC0415 - not before it is known to be ours

    return main()
