"""Cybertron: an upload starts a flow and gets a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mockserver.problems import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockserver.behaviours.acts import Act, Behaviour
    from mockserver.messages import Reply


def upload_into_flow(act: Act) -> Reply:
    """Give the file of a flow that there is its number; nothing else is kept."""
    if not (act.request.body.get("username") or act.request.headers.get("username")):
        # no schema spans form and headers, so this is the one condition that the contract can only tell in words
        message = "`username` is needed, in the form or as a header"
        raise Refusal("invalid-request", message, field="username", finer=["missing-username"])
    act.record("flows", act.request.body["flow_uuid"])
    return act.reply(file_id=act.world.store.count("files"))


BEHAVIOURS: Mapping[str, Behaviour] = {"offlineUploadFile": upload_into_flow}
