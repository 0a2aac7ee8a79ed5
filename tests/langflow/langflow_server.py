"""A real Langflow for a while: on loopback, with SQLite, in a folder of its own, with an account, a key and a flow."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    from collections.abc import Mapping

FLOWS = {
    variable: json.loads((Path(__file__).parent / name).read_text(encoding="utf-8"))
    for variable, name in {"FLOW_ID": "chat-flow.json", "FILE_FLOW_ID": "file-flow.json"}.items()
}
_START_S = 300
# The pipe closes when this process ends, however it ends: then the whole group goes, and Langflow's workers with it.
_UNTIL_THE_PIPE_CLOSES = 'exec 3<&0; { cat <&3 >/dev/null; kill -TERM 0; } & exec "$@" 3<&- </dev/null'


class Langflow:
    """Runs while it is entered; then `variables` are what `target.toml` wants to know."""

    def __init__(self, program: Path, folder: Path) -> None:
        """Prepare to run `program`, the `langflow` of some environment; all that it writes goes into `folder`."""
        self._account = {"username": "contract-tests", "password": secrets.token_urlsafe(16)}
        self._port = free_port()
        self._log = folder / "langflow.log"
        self._command = [str(program), "run", "--backend-only", "--host", "127.0.0.1", "--port", str(self._port)]
        self._environment = environment(os.environ, folder, self._account)
        self.variables: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Start it, log in, make a key and the flow; raise RuntimeError with its last words if it does not start."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _UNTIL_THE_PIPE_CLOSES, "sh", *self._command],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._environment,
                start_new_session=True,
            )
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{self._port}", timeout=60, trust_env=False) as client:
                self._wait(client)
                self.variables = prepared(client, self._account)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End it, and whatever it has started."""
        with contextlib.suppress(ProcessLookupError):  # it has ended, and so has the rest of its group
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()

    def _wait(self, client: httpx.Client) -> None:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(httpx.TransportError):
                if client.get("/health").is_success:
                    return
            time.sleep(0.5)
        raise RuntimeError(
            f"Langflow did not start within {_START_S} s:\n{self._log.read_text(errors='replace')[-3000:]}"
        )


def free_port() -> int:
    """Return a port of loopback on which nobody listens."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def environment(inherited: Mapping[str, str], folder: Path, account: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a Langflow that keeps to its folder and takes no setting of this machine's."""
    return {
        **{name: value for name, value in inherited.items() if not name.startswith("LANGFLOW_")},
        "HOME": str(folder),
        "DO_NOT_TRACK": "true",
        "LANGFLOW_CONFIG_DIR": str(folder),
        "LANGFLOW_DATABASE_URL": f"sqlite:///{folder}/langflow.db",
        "LANGFLOW_AUTO_LOGIN": "false",
        "LANGFLOW_SUPERUSER": account["username"],
        "LANGFLOW_SUPERUSER_PASSWORD": account["password"],
        "LANGFLOW_LOG_ENV": "container_json",
    }


def prepared(client: httpx.Client, account: Mapping[str, str]) -> dict[str, str]:
    """Log in, make a key and the flows; return them by the names of the documents' variables."""
    token = client.post("/api/v1/login", data=dict(account)).raise_for_status().json()["access_token"]
    client.headers["Authorization"] = f"Bearer {token}"
    key = client.post("/api/v1/api_key/", json={"name": "contract tests"}).raise_for_status().json()["api_key"]
    components = client.get("/api/v1/all").raise_for_status().json()
    flow_ids = {}
    for variable, drawing in FLOWS.items():
        flow = {"name": drawing["name"], "data": built(drawing, components)}
        flow_ids[variable] = client.post("/api/v1/flows/", json=flow).raise_for_status().json()["id"]
    url = str(client.base_url).rstrip("/")
    return {"LANGFLOW_URL": url, "LANGFLOW_API_KEY": key, "LANGFLOW_TOKEN": token, **flow_ids}


def built(drawing: Mapping[str, Any], components: Mapping[str, Any]) -> dict[str, Any]:
    """Return a flow as Langflow keeps it, from nodes and edges and what this version says of its components.

    ``components``  category -> component -> definition, as `GET /api/v1/all` answers
    Raises LookupError for a component that this version does not have.
    """
    known = {name: one for some in components.values() if isinstance(some, dict) for name, one in some.items()}
    types = {node["id"]: node["type"] for node in drawing["nodes"]}
    if missing := sorted(set(types.values()) - set(known)):
        raise LookupError(f"This Langflow has no component {', '.join(missing)}. Change the flow that asks for it.")
    nodes = [
        {
            "id": name,
            "type": "genericNode",
            "position": {"x": 0, "y": 0},
            "data": {"id": name, "type": sort, "node": known[sort]},
        }
        for name, sort in types.items()
    ]
    return {"nodes": nodes, "edges": [_edge(edge, types, known) for edge in drawing["edges"]]}


def _edge(edge: Mapping[str, str], types: Mapping[str, str], known: Mapping[str, Any]) -> dict[str, Any]:
    source, target = known[types[edge["source"]]], known[types[edge["target"]]]
    output = next(one for one in source["outputs"] if one["name"] == edge["output"])
    field = target["template"][edge["field"]]
    handles = {
        "sourceHandle": {
            "dataType": types[edge["source"]],
            "id": edge["source"],
            "name": edge["output"],
            "output_types": output["types"],
        },
        "targetHandle": {
            "fieldName": edge["field"],
            "id": edge["target"],
            "inputTypes": field["input_types"],
            "type": field["type"],
        },
    }
    texts = {name: _quoted(handle) for name, handle in handles.items()}
    return {
        "id": f"{edge['source']}-{edge['target']}",
        **{key: edge[key] for key in ("source", "target")},
        **texts,
        "data": handles,
    }


def _quoted(handle: Mapping[str, Any]) -> str:
    """Return a handle as text: JSON with another quotation mark, as the editor writes it into attributes."""
    return json.dumps(handle, separators=(",", ":")).replace('"', "\N{LATIN SMALL LIGATURE OE}")
