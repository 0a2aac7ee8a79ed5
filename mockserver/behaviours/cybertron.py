"""Cybertron: an upload starts a flow and gets a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockserver.behaviours.action import Action, Behaviour
    from mockserver.http.messages import Reply


def upload_into_flow(act: Action) -> Reply:
    """Give the file of a flow that there is its number; nothing else is kept."""
    act.record("flows", act.request.body["flow_uuid"])
    return act.reply(file_id=act.world.store.count("files"))


BEHAVIOURS: Mapping[str, Behaviour] = {"offlineUploadFile": upload_into_flow}
