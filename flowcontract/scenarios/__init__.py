"""Scenario files: reading, matching with requests, expressions, rendering."""

from flowcontract.scenarios.matching import Match, find_differences
from flowcontract.scenarios.model import Event, Reply, Scenario
from flowcontract.scenarios.reading import APP, MAX_FILE_BYTES, read_default_app, read_scenario
from flowcontract.scenarios.rendering import Piece, render_body, render_body_and_value, render_events, render_headers
from flowcontract.scenarios.sets import ScenarioSet, is_documented, load_scenarios, reload_scenarios

__all__ = [
    "APP",
    "MAX_FILE_BYTES",
    "Event",
    "Match",
    "Piece",
    "Reply",
    "Scenario",
    "ScenarioSet",
    "find_differences",
    "is_documented",
    "load_scenarios",
    "read_default_app",
    "read_scenario",
    "reload_scenarios",
    "render_body",
    "render_body_and_value",
    "render_events",
    "render_headers",
]
