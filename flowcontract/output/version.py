"""The version of this package."""

from __future__ import annotations


def read_version() -> str:
    """Return the version that is installed, such as `0.1.0`."""
    from importlib import metadata  # noqa: PLC0415 - takes longer than everything else of `mockserver --help`

    return metadata.version("flowcontract")
