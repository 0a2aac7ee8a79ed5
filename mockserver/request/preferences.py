"""Who asks for which scenario and which faults: the `Prefer` header, the suffix on `user`, or an override."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from werkzeug.http import parse_list_header, parse_options_header, unquote_header_value

if TYPE_CHECKING:
    from flowcontract.scenarios import Scenario

PREFERENCES = ("code", "example", "fault")
"""Which preferences we understand; others are somebody else's (RFC 7240, 2)."""
MARK = "#mock:"
"""What stands between a `user` and the scenario that it asks for: `abc-123#mock:400-provider-quota-exceeded`."""
_LONGEST = 4000  # characters of a preference; what is not understood is compared with all there is, and said again
_KEY = re.compile(r"[1-5][0-9]{2}-")
_NAMED = re.compile(r"(?P<scenario>[^;=]*?)\s*(?:(?:^|;)\s*fault=(?P<fault>.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class ScenarioPreference:
    """Which scenario is asked for, by status, by name or both, which faults, and who asks: in this order they count."""

    code: str | None = None
    example: str | None = None
    fault: str | None = None
    by: Literal["prefer", "user", "override"] = "prefer"

    @classmethod
    def from_name(cls, text: str, by: Literal["user", "override"]) -> ScenarioPreference:
        """ScenarioPreference for `400-not-found`, as `mockserver list` prints it, for `not-found`, or for `400`.

        Faults stand behind it, `200-tts; fault=split=1, bom`, or alone, `fault=split=1, bom`.
        """
        text = text[:_LONGEST].strip()
        match = _NAMED.fullmatch(text)
        name, fault = (match["scenario"], match["fault"]) if match else (text, None)
        if _KEY.match(name):
            return cls(name[:3], name[4:], fault, by)
        return cls(name, None, fault, by) if name.isdecimal() else cls(None, name or None, fault, by)

    @property
    def chooses(self) -> bool:
        """Whether a scenario is asked for, not only faults."""
        return bool(self.code or self.example)

    def __str__(self) -> str:
        """Return what was asked for: `400-not-found`, `400-not-found; fault=split=1`."""
        scenario = "-".join(part for part in (self.code, self.example) if part)
        return "; ".join(part for part in (scenario, self.fault and f"fault={self.fault}") if part)

    def describe_applied(self, scenario: Scenario | None, faults: str) -> str:
        """Return the value of `Preference-Applied` for a preference that was granted, with the `faults` that count."""
        asked = {"fault": self.fault and faults and f'"{faults}"'}
        if scenario is not None:
            asked = {"code": self.code and str(scenario.status), "example": self.example and scenario.name} | asked
        return ", ".join(f"{name}={value}" for name, value in asked.items() if value)


def parse_prefer(prefer: str) -> ScenarioPreference | None:
    """Read the Prefer header; None where nothing of ours is preferred. Other preferences are ignored.

    `Prefer: code=400, example=NAME, fault="split=1, bom"` is RFC 7240's form.
    """
    preferences = read_preferences(prefer)
    code, example = preferences.get("code"), preferences.get("example")
    if example and _KEY.match(example):  # `400-not-found`, as `mockserver list` prints it
        code, example = code or example[:3], example[4:]
    fault = preferences.get("fault")
    return ScenarioPreference(code, example, fault) if code or example or fault else None


def read_preferences(prefer: str) -> dict[str, str]:
    """Return the names and values in a Prefer header; of a name that comes twice the first counts (RFC 7240, 2)."""
    preferences: dict[str, str] = {}
    for item in parse_list_header(prefer[:_LONGEST]) if prefer else ():
        preference, parameters = parse_options_header(item)
        name, _, value = preference.partition("=")
        for key, text in ((name, value), *parameters.items()):
            preferences.setdefault(key.strip().lower(), unquote_header_value(text.strip()))
    return preferences


def take_off(holder: Any) -> ScenarioPreference | None:
    """Take what is asked for off the `user` of a query or a body, so that nothing behind here sees it."""
    user = holder.get("user") if isinstance(holder, dict) else None
    texts = user if isinstance(user, list) else [user]
    asked = [text.partition(MARK)[2] for text in texts if isinstance(text, str) and MARK in text]
    if not asked:
        return None
    bare = [text.partition(MARK)[0] if isinstance(text, str) else text for text in texts]
    holder["user"] = bare if isinstance(user, list) else bare[0]
    return ScenarioPreference.from_name(asked[0], "user")
