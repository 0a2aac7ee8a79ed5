"""Two contracts of an API compared: operations, parameters, bodies, statuses, error codes, streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowcontract.diff.change import Change, Effect, Level, get_answer_levels, get_request_levels
from flowcontract.diff.fields import describe_answer, describe_request
from flowcontract.diff.schemas import ADDED, REMOVED, Difference, compare_schemas
from flowcontract.diff.streams import compare_streams
from flowcontract.schemas.located import Located

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from flowcontract.specs.model import Api, MediaType, Operation, Parameter, Response

    Describe = Callable[[str, str, Difference], Change]


def compare_apis(old: Api, new: Api) -> list[Change]:
    """Return every change from one contract to another, the most serious first, in the order of the contract."""
    changes = [*_compare_api(old, new)]
    before, after = (
        {(operation.method, operation.path): operation for operation in api.operations.values()} for api in (old, new)
    )
    for place, operation in before.items():
        if place in after:
            changes += _compare_operation(old, new, operation, after[place])
        else:
            what = f"{operation.method} {operation.path} is gone"
            changes.append(Change(operation.name, "operation", what, Level.BREAKING, Level.SAFE))
    for place, operation in after.items():
        if place not in before:
            what = f"{operation.method} {operation.path} is new"
            changes.append(Change(operation.name, "operation", what, Level.SAFE, Level.BREAKING))
    return sorted(dict.fromkeys(changes), key=lambda change: -list(Level).index(change.level))


def _compare_api(old: Api, new: Api) -> Iterator[Change]:
    if old.base_path != new.base_path:
        what = f"{old.base_path} became {new.base_path}"
        yield Change(new.name, "base path", what, Level.BREAKING, Level.BREAKING)
    for name in dict.fromkeys((*old.schemes, *new.schemes)):
        before, after = (
            (scheme.location, scheme.parameter, scheme.prefix) if (scheme := api.schemes.get(name)) else None
            for api in (old, new)
        )
        if before != after:
            what = f"{_describe_scheme(before)} became {_describe_scheme(after)}"
            yield Change(new.name, f"security scheme {name}", what, Level.BREAKING, Level.BREAKING)


def _describe_scheme(scheme: tuple[str, str, str] | None) -> str:
    return "none" if scheme is None else " ".join(part for part in scheme if part).strip()


def _compare_operation(old_api: Api, new_api: Api, old: Operation, new: Operation) -> Iterator[Change]:
    documents = (old_api.bundle, new_api.bundle)
    if old.id != new.id:
        yield Change(new.name, "operationId", f"{old.id} became {new.id}", Level.LOOK, Level.SAFE)
    yield from _compare_security(old, new)
    yield from _compare_parameters(documents, old, new)
    yield from _compare_bodies(documents, old, new)
    yield from _compare_statuses(documents, old, new)
    yield from _compare_problems(old, new)


def _compare_problems(old: Operation, new: Operation) -> Iterator[Change]:
    """Compare how a wrong request is answered: `x-refusals`, a word for what is wrong -> the scenario that answers."""
    for word in dict.fromkeys((*old.refusals, *new.refusals)):
        before, after = old.refusals.get(word), new.refusals.get(word)
        if before != after:
            answers = [f"with {scenario}" if scenario else "as in other operations" for scenario in (before, after)]
            what = f"{word} was answered {answers[0]}, now {answers[1]}"
            yield Change(new.name, "wrong requests", what, Level.LOOK, Level.LOOK)


def _compare_security(old: Operation, new: Operation) -> Iterator[Change]:
    before, after = set(old.security), set(new.security)
    for alternative in sorted(before - after):
        what = f"{' with '.join(alternative) or 'no key'} no longer opens it"
        yield Change(new.name, "security", what, Level.BREAKING, Level.SAFE)
    for alternative in sorted(after - before):
        what = f"{' with '.join(alternative) or 'no key'} opens it, too"
        yield Change(new.name, "security", what, Level.SAFE, Level.BREAKING)


def _compare_parameters(
    documents: tuple[Mapping[str, Any], Mapping[str, Any]], old: Operation, new: Operation
) -> Iterator[Change]:
    before, after = (
        {(parameter.location, parameter.name): parameter for parameter in operation.parameters}
        for operation in (old, new)
    )
    for place in dict.fromkeys((*before, *after)):
        yield from _compare_parameter(documents, new.name, before.get(place), after.get(place))


def _compare_parameter(
    documents: tuple[Mapping[str, Any], Mapping[str, Any]], operation: str, old: Parameter | None, new: Parameter | None
) -> Iterator[Change]:
    found = old or new
    assert found is not None
    place = f"{found.location} parameter {found.name}"
    if old is None or new is None:
        effect = Effect.NARROWED if new and new.required else Effect.WIDENED if old and old.required else None
        what = (ADDED if old is None else REMOVED) + (", and required" if effect is Effect.NARROWED else "")
        yield describe_request(operation, place, Difference((), what, effect))
        return
    if old.required != new.required:
        effect = Effect.NARROWED if new.required else Effect.WIDENED
        yield Change(
            operation, place, "required now" if new.required else "no longer required", *get_request_levels(effect)
        )
    if old.clamp != new.clamp:
        what = f"values above {old.clamp} were, above {new.clamp} are answered as the largest"
        yield Change(operation, place, what, Level.LOOK, Level.LOOK)
    schemas = (Located(documents[0], old.schema), Located(documents[1], new.schema))
    for difference in compare_schemas(*schemas):
        yield describe_request(operation, place, difference)


def _compare_bodies(
    documents: tuple[Mapping[str, Any], Mapping[str, Any]], old: Operation, new: Operation
) -> Iterator[Change]:
    if old.request and new.request and old.request_required != new.request_required:
        effect = Effect.NARROWED if new.request_required else Effect.WIDENED
        what = "required now" if new.request_required else "no longer required"
        yield Change(new.name, "request body", what, *get_request_levels(effect))
    for name in dict.fromkeys((*old.request, *new.request)):
        before, after = old.request.get(name), new.request.get(name)
        if before and after:
            yield from _compare_media(documents, new.name, f"request body {name}", (before, after), describe_request)
        else:
            effect = Effect.NARROWED if before else Effect.WIDENED
            what = f"{name} is no longer taken" if before else f"{name} is taken, too"
            yield Change(new.name, "request body", what, *get_request_levels(effect))


def _compare_media(
    documents: tuple[Mapping[str, Any], Mapping[str, Any]],
    operation: str,
    place: str,
    media: tuple[MediaType, MediaType],
    describe: Describe,
) -> Iterator[Change]:
    old, new = media
    if old.stream and new.stream:
        yield from compare_streams(operation, old.stream, new.stream, documents)
        return
    for difference in compare_schemas(Located(documents[0], old.schema), Located(documents[1], new.schema)):
        yield describe(operation, place, difference)


def _compare_statuses(
    documents: tuple[Mapping[str, Any], Mapping[str, Any]], old: Operation, new: Operation
) -> Iterator[Change]:
    for status in sorted(old.responses.keys() | new.responses.keys()):
        before, after = old.responses.get(status), new.responses.get(status)
        if before and after:
            yield from _compare_response(documents, new.name, before, after)
        else:
            yield _build_status_change(new.name, status, came=before is None)


def _build_status_change(operation: str, status: int, *, came: bool) -> Change:
    """Return the change that a status is new or gone; a success is something that every client has to understand."""
    succeeds = status < 300  # noqa: PLR2004 - HTTP's own range
    clients = (Level.BREAKING if succeeds else Level.LOOK) if came else Level.LOOK if succeeds else Level.SAFE
    servers = Level.LOOK if not came else Level.SAFE
    return Change(operation, f"response {status}", "may come now" if came else "comes no more", clients, servers)


def _compare_response(
    documents: tuple[Mapping[str, Any], Mapping[str, Any]], operation: str, old: Response, new: Response
) -> Iterator[Change]:
    place = f"response {new.status}"
    for name in dict.fromkeys((*old.media, *new.media)):
        before, after = old.media.get(name), new.media.get(name)
        if before and after:
            yield from _compare_media(documents, operation, f"{place} {name}".strip(), (before, after), describe_answer)
        else:
            effect = Effect.NARROWED if before else Effect.WIDENED
            what = f"{name} comes no more" if before else f"{name} may come"
            yield Change(operation, place, what, *get_answer_levels(effect))
    codes, new_codes = _list_codes(old), _list_codes(new)
    for code in sorted(new_codes - codes):
        yield Change(operation, place, f"the error code {code} may come", Level.LOOK, Level.SAFE)
    for code in sorted(codes - new_codes):
        yield Change(operation, place, f"the error code {code} comes no more", Level.LOOK, Level.LOOK)


def _list_codes(response: Response) -> frozenset[str]:
    values = (example.value for media in response.media.values() for example in media.examples.values())
    return frozenset(str(value["code"]) for value in values if isinstance(value, dict) and "code" in value)
