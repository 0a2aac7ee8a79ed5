"""A scenario of ours as a release sends it: its fields, and of a stream its kinds and their order.

Our scenarios are written for the documents. Under a profile each is sent with what that release has: kinds that it does
not know are left out, so are fields that its schemas forbid; fields of which they allow one value have that value, and
those that they require and ours lack have their `default`. Events keep their order unless the release has another:
one that may not come yet waits for those behind it, and what keeps the connection open comes where it must.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from flowcontract import paths
from flowcontract.pointers import get_value
from flowcontract.scenarios.model import Event
from flowcontract.scenarios.reading import read_default_app
from flowcontract.scenarios.sets import PROFILES
from flowcontract.scenarios.templates import compile_value
from flowcontract.schemas.located import Located
from flowcontract.streams.machine import Machine

if TYPE_CHECKING:
    from flowcontract.scenarios.model import Scenario
    from flowcontract.specs.model import Api, Operation
    from flowcontract.streams.contract import StreamContract
    from flowcontract.streams.machine import State

_MOCK_VALUE = "x-mock-value"  # as a scenario would have it, with expressions
_ITSELF = "$itself"  # the object that lacks the field, once more
_DEFAULT = "default-streaming"  # how the stream is called that comes when nothing is asked for


def as_release(scenario: Scenario, api: Api, operation: Operation) -> Scenario:
    """Return a scenario as the release of `api` sends it; unchanged if it is a user's own, or there is no release."""
    if api.profile is None or not _is_of_documents(scenario):
        return scenario
    sample = {**read_default_app(scenario.path.parents[1]), **scenario.sample}
    if scenario.reply.kind == "body":
        return _fit_body(scenario, api, operation, sample)
    contract = operation.stream
    if contract is None or not scenario.reply.streamed:
        return scenario
    known = [event for event in scenario.reply.events if _read_kind(event, contract) in contract.events]
    fitted = [_fit(event, contract, api, sample) for event in known]
    ordered = _in_order(fitted, contract)
    if ordered is None:
        return scenario
    stopped = scenario.reply.stopped if scenario.name == _DEFAULT else None  # else as the default of the release
    return replace(scenario, reply=replace(scenario.reply, events=tuple(ordered), stopped=stopped))


def _fit_body(scenario: Scenario, api: Api, operation: Operation, sample: Mapping[str, Any]) -> Scenario:
    response = operation.responses.get(scenario.status)
    media = response.media.get("application/json") if response else None
    if media is None or not isinstance(scenario.reply.body, Mapping):
        return scenario
    body = _fit_value(scenario.reply.body, Located(api.bundle, media.schema))
    if body == scenario.reply.body:
        return scenario
    return replace(scenario, reply=replace(scenario.reply, body=body, template=compile_value(body, sample=sample)))


def keep_alive_kind(contract: StreamContract) -> str:
    """Return the kind of event that is sent while nothing happens, of which only the name counts; '' for none."""
    bare = (
        kind for kind in contract.orders.list_kinds() if contract.events[kind].schema.get("required") == [contract.kind]
    )
    return next((kind for kind in (*contract.spec.get("anywhere", ()), *bare)), "")


def _is_of_documents(scenario: Scenario) -> bool:
    """Tell whether a scenario is ours, and of no release: a user's own is sent as it is written."""
    path, root = scenario.path, paths.find_fixtures_root()
    return path.is_relative_to(root) and path.relative_to(root).parts[1] != PROFILES


def _read_kind(event: Event, contract: StreamContract) -> str:
    kind = get_value(event.data, contract.kind)
    return kind if isinstance(kind, str) else event.event or ""


# Fields.


def _fit(event: Event, contract: StreamContract, api: Api, sample: Mapping[str, Any]) -> Event:
    if event.data is None:
        return event
    schema = Located(api.bundle, contract.events[_read_kind(event, contract)].schema)
    fitted = _fit_value(event.data, schema)
    return event if fitted == event.data else replace(event, data=fitted, template=compile_value(fitted, sample=sample))


def _fit_value(value: Any, schema: Located) -> Any:
    """Return a value as a schema wants it, as far as the schema leaves no choice."""
    schema = schema.resolve()
    if schema.get_keyword("type") == "null":
        return None
    if schema.get_keyword("const") is not None:
        return schema.get_keyword("const")
    if isinstance(value, Mapping):
        return dict(_fit_fields(value, _as_object(schema)))
    items = schema.get_keyword("items")
    if isinstance(value, list) and items is not None:
        return [_fit_value(item, schema.wrap(items)) for item in value]
    return value


def _as_object(schema: Located) -> Located:
    """Return the one alternative of a schema that is an object, the schema itself where there is no such choice."""
    alternatives = [schema.wrap(each).resolve() for each in schema.get_keyword("anyOf") or ()]
    objects = [each for each in alternatives if each.get_keyword("type") == "object"]
    return objects[0] if len(objects) == 1 else schema


def _fit_fields(value: Mapping[str, Any], schema: Located) -> Iterator[tuple[str, Any]]:
    for name, dependent in (schema.get_keyword("dependentSchemas") or {}).items():
        if name in value:
            value = dict(_fit_fields(value, schema.wrap(dependent).resolve()))
    properties = schema.get_keyword("properties") or {}
    fields = {
        name: _fit_value(field, schema.wrap(properties[name])) if name in properties else field
        for name, field in value.items()
        if properties.get(name) is not False
    }
    yield from fields.items()
    for name in schema.get_keyword("required") or ():
        of = schema.wrap(properties.get(name, {})).resolve()
        if name in value:
            continue
        if _MOCK_VALUE in of.node:
            of_mock = of.get_keyword(_MOCK_VALUE)
            yield name, _fit_value(fields, of) if of_mock == _ITSELF else of_mock
        elif "default" in of.node:
            yield name, of.get_keyword("default")


# Order.


def _in_order(events: list[Event], contract: StreamContract) -> list[Event] | None:
    """Return events in an order that a release has, without what it no longer sends in their end; None for none."""
    machine, waiting = Machine(contract), list(events)
    state, ordered = machine.start, list[Event]()
    alive = keep_alive_kind(contract)
    while waiting:
        found = next(((event, after) for event in waiting if (after := _step(machine, state, event))), None)
        if found is not None:
            event, state = found
            waiting.remove(event)
        else:
            event = Event(event=alive)
            after = _step(machine, state, event) if alive else None
            if after is None or (ordered and ordered[-1] == event):
                break
            state = after
        ordered.append(event)
    return ordered if machine.accepts(state) else None


def _step(machine: Machine, state: State, event: Event) -> State | None:
    return machine.follow(state, _read_kind(event, machine.contract), event.data)
