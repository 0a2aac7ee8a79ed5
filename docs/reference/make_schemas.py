"""Writes the JSON Schemas of our files into flowcontract/published/: `python docs/reference/make_schemas.py`.

`flowcontract schema NAME` prints them, for editors.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from contract_tests.config.options import OPTIONS as SUITE
from flowcontract import yamlio
from flowcontract.config_file import PROGRAMS
from mockserver.cli.options import FILE_OPTIONS as MOCK

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "flowcontract" / "published"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
SOURCES = {
    "scenario": "fixtures/scenario.schema.json",
    "app": "mockserver/config/apps.schema.yaml",
    "target": "contract_tests/config/target.schema.yaml",
    "x-stream": "flowcontract/streams/x-stream.schema.yaml",
}


def render() -> dict[str, str]:
    """Return each schema by its name, as JSON."""
    found = {name: {"$schema": DRAFT, **yamlio.load(ROOT / path)} for name, path in SOURCES.items()}
    found["flowcontract"] = _config()
    return {name: json.dumps(schema, indent=1, ensure_ascii=False) + "\n" for name, schema in found.items()}


def _config() -> dict[str, Any]:
    """Return the schema of flowcontract.toml, which has the options of the commands."""
    tables = dict(zip(PROGRAMS, (MOCK, SUITE), strict=True))
    return {
        "$schema": DRAFT,
        "title": "flowcontract.toml, or [tool.flowcontract] in pyproject.toml",
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "$schema": {"type": "string"},
            **{
                program: {
                    "type": "object",
                    "additionalProperties": False,
                    "properties": {
                        form: _option(settings)
                        for option, settings in options.items()
                        for form in dict.fromkeys([option[2:], option[2:].replace("-", "_")])
                    },
                }
                for program, options in tables.items()
            },
        },
    }


def _option(settings: Mapping[str, Any]) -> dict[str, Any]:
    description = settings["help"].replace("%(default)s", str(settings.get("default"))).replace("%(default)g", "10")
    if settings.get("action") == "store_true":
        return {"type": "boolean", "description": description}
    if settings.get("action") == "append":
        return {
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "description": description,
        }
    if "choices" in settings:
        return {"enum": list(settings["choices"]), "description": description}
    kinds = ["number", "string"] if isinstance(settings.get("default"), int | float) else ["string", "number"]
    return {"type": kinds, "description": description}


def main() -> None:
    """Write them."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in render().items():
        (FOLDER / f"{name}.schema.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
