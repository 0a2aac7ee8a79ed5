"""What a plain scenario cannot do: upload then run, rename then list, stop what runs. One module per API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mockserver.behaviours import agentbuilder, cybertron, dify, dify_chat, dify_workflow

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mockserver.behaviours.action import Behaviour
    from mockserver.state.worlds import World

BEHAVIOURS: Mapping[str, Mapping[str, Behaviour]] = {
    "agentbuilder": agentbuilder.BEHAVIOURS,
    "cybertron": cybertron.BEHAVIOURS,
    "dify-chat": dify_chat.BEHAVIOURS,
    "dify-workflow": dify_workflow.BEHAVIOURS,
}
"""By API and operationId. An operation that is not here answers with its scenario alone."""


def revive(api: str, world: World, now: int) -> None:
    """See to a world that was kept: what went on when the mock ended does not go on."""
    if api.startswith("dify-"):
        dify.forget_orphaned_tasks(world)
    if api == "dify-workflow":
        dify_workflow.fail_interrupted(world, now)
