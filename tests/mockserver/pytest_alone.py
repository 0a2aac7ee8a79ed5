"""Runs of pytest within tests, without the other plugins that are installed here."""

from importlib.metadata import entry_points

ALONE = [
    option
    for plugin in entry_points(group="pytest11")
    if plugin.name not in ("flowcontract", "mockserver")
    for option in ("-p", f"no:{plugin.name}")
]
"""Options: importing Schemathesis, Hypothesis and Faker takes ten times as long as such a run."""
