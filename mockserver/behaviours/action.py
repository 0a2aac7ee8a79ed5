"""What a behaviour works with: one valid request in one world, and the scenario that answers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mockserver.http.stream import Stream
from mockserver.request.refusals import Refusal
from mockserver.state.store import ANY

if TYPE_CHECKING:
    from flowcontract.scenarios.expressions import Context
    from flowcontract.specs.model import Operation
    from flowcontract.validation.request import CheckedRequest
    from mockserver.blobs.blob import Blob
    from mockserver.http.messages import End, Reply
    from mockserver.request.body import Upload
    from mockserver.state.store import Equal, Page, Record
    from mockserver.state.worlds import World


@dataclass(slots=True)
class Action:
    """One request to act upon. The world's lock is held while a behaviour runs.

    ``contract``  the schemas that several places of the contract share, by name
    ``request``   its values with the contract's types; absent ones are filled in from the contract's defaults
    ``uploads``   the files of a form by field
    ``answers``   what the app answers to another operation by default, for instance to the one that shows its form
    ``context``   what the scenario's expressions see; `context.ids` fixes `$id.NAME`
    ``now``       the mock's clock, epoch seconds
    ``seed``      what everything invented depends on
    """

    operation: Operation
    contract: Mapping[str, Any]
    request: CheckedRequest
    uploads: Mapping[str, Sequence[Upload]]
    world: World
    answers: Callable[[str], Any]
    context: Context
    now: int
    seed: int
    render: Callable[[str], Reply]

    def reply(self, **values: Any) -> Reply:
        """Render the scenario with `$world.NAME` for each value; values of another name keep the scenario's samples."""
        return self.reply_as("", **values)

    def reply_as(self, instead: str, /, **values: Any) -> Reply:
        """Reply with the scenario of a name in place of the default one; one that was asked for comes all the same."""
        self.context.world = {**self.context.world, **values}
        return self.render(instead)

    def record(self, table: str, key: str, *, user: str | None = None) -> Record:
        """Return a record, if it is that user's; refuse by `unknown-id` otherwise."""
        record = self.world.store.get(table, key)
        if record is None or (user is not None and record.get("user") not in (None, user)):
            raise Refusal("unknown-id", f"there is no {key}", field=key, location="path")
        return record

    def complete(self, record: Record, schema: str) -> Record:
        """Return a record with what the contract demands of it and it lacks, where the contract has a default."""
        said = self.contract[schema]
        named = {name: said["properties"].get(name, {}) for name in said.get("required", ())}
        return {**{name: each["default"] for name, each in named.items() if "default" in each}, **record}

    def upload(self, field: str = "file") -> Upload:
        """Return the one file of a form."""
        return self.uploads[field][0]


Behaviour = Callable[[Action], "Reply"]


def listen(
    reply: Reply,
    hear: Callable[[Any], None],
    end: Callable[[End], None] = lambda _how: None,
    save: Callable[[], None] = lambda: None,
) -> None:
    """Call `hear` with a reply's JSON, piece by piece as a stream says it, then `end`: records are what was said.

    `save` is called before what was heard is sent: to write down once what several pieces have said.
    """
    if isinstance(reply.body, Stream):
        reply.body.on_piece, reply.body.on_pause, reply.body.on_end = hear, save, end
    elif isinstance(reply.body, bytes):
        hear(reply.said)
        save()
        end("complete")


def tell_when_stopped(reply: Reply, final_values: Callable[[], Mapping[str, Any]]) -> None:
    """Let the ending of a stopped stream tell, as `$world.NAME`, what is known by then."""
    if isinstance(reply.body, Stream):
        reply.body.final_values = final_values


def find_text(said: Mapping[str, Any], name: str) -> str | None:
    """Return a text that a reply says; None where it is no text: a scenario of a user's may say anything."""
    value = said.get(name)
    return value if isinstance(value, str) else None


def keep_file(act: Action, reply: Reply, table: str, blob: Blob, file: Record, **more: Any) -> None:
    """Keep a file as the reply tells it, the rest as in `file`; of one without an id nobody could ever ask again."""

    def hear(said: Any) -> None:
        if isinstance(said, dict) and (key := find_text(said, "id")):
            act.world.store.put(table, key, {**file, **said, **more})
            act.world.keep(table, key, blob)

    listen(reply, hear)


def read_page_after(act: Action, field: str, table: str, *, order: str, where: Equal = ANY) -> Page:
    """Return `limit` records behind the one that `field` of the query names; refuse one that is not among them."""
    after = act.request.query.get(field)
    try:
        return act.world.store.read_page(
            table, where=where, order=order, after=after or None, limit=act.request.query["limit"]
        )
    except KeyError:
        finer = [f"invalid-{field.replace('_', '-')}"]
        raise Refusal("unknown-id", f"there is no {after}", field=field, location="query", finer=finer) from None
