"""The report of the last run, kept for `contract-tests explain`."""

from __future__ import annotations

from flowcontract.specs.cache import find_cache_folder, write_private

LAST_RUN = "last-run.json"
"""Its name in the user's cache folder."""


def remember(text: str) -> None:
    """Store a report as that of the last run in the user's cache folder, if there is one."""
    folder = find_cache_folder()
    if folder is not None:
        write_private(folder / LAST_RUN, text.encode())
