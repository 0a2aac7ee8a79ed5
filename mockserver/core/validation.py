"""Authenticate and validate: what a request says of its sender, its values as the contract types them, or a refusal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from flowcontract.scenarios.expressions import RequestView
from flowcontract.schemas.decoding import ABSENT
from flowcontract.validation.request import CheckedRequest, check_request
from flowcontract.validation.uploads import takes_one_file, upload_limits
from mockserver.request import preferences
from mockserver.request.body import Body, parse_query, read_as_sent, read_body
from mockserver.request.refusals import Refusal
from mockserver.state.quotas import StorageFull

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowcontract.schemas.validators import Validators
    from flowcontract.specs.model import Api, Operation
    from mockserver.http.messages import Request
    from mockserver.request.preferences import ScenarioPreference
    from mockserver.request.routing import Route, Router

Query = dict[str, list[str]]
NO_BODY = Body("", ABSENT, {})
NOT_CHECKED = CheckedRequest({}, {}, {}, None, ())


class Routed(NamedTuple):
    """A request, and where it leads.

    ``query``        its parameters; empty where they cannot be read, which `query_error` then says
    ``preference``   the scenario that its query asks for
    """

    request: Request
    route: Route
    query: Query
    query_error: Refusal | None = None
    preference: ScenarioPreference | None = None


@dataclass(frozen=True, slots=True)
class Authenticated:
    """Whether a key opens what was asked for: why it does not, and whether that comes before every other mistake."""

    refusal: Refusal | None = None
    comes_first: bool = False


@dataclass(frozen=True, slots=True)
class Validated:
    """What has been read of a request.

    ``view``        what scenarios see of it
    ``values``      what behaviours see of it: typed, with the contract's defaults
    ``refusal``     the first thing that is wrong with it
    ``preference``  the scenario that it asks for itself, by `Prefer` or by its `user`
    """

    view: RequestView
    body: Body = NO_BODY
    values: CheckedRequest = NOT_CHECKED
    refusal: Refusal | None = None
    preference: ScenarioPreference | None = None


def route(router: Router, request: Request) -> Routed:
    """Find where a request leads; never fails."""
    query_error = None
    try:
        query = parse_query(request.query)
    except Refusal as refusal:
        query, query_error = {}, refusal
    if query:
        query = router.find_manners(request.path).read_query(query)
    preference = preferences.take_off(query)
    found = router.route(request.method, request.path, request.fields, query)
    return Routed(request, found, query, query_error, preference)


def authenticate(routed: Routed, operation: Operation) -> Authenticated:
    """Judge the key of a request, and what its servers tell before they look at the key."""
    refused = routed.route.refused
    if not refused:
        return _OPENS
    refusal = Refusal(refused[-1], "the key does not open this", location="header", finer=refused)
    if _answers_other_apps(operation, refused):
        return Authenticated(refusal)
    return Authenticated(_find_earlier_refusal(routed, operation) or refusal, comes_first=True)


_OPENS = Authenticated()


def validate(
    routed: Routed, operation: Operation, api: Api, authenticated: Authenticated, admit: Callable[[int], None]
) -> Validated:
    """Read a request and compare it with its operation; `admit` raises StorageFull where its files have no room."""
    manners = routed.route.manners
    preference = preferences.parse_prefer(routed.request.fields.get("prefer", ""))
    body, values = NO_BODY, NOT_CHECKED
    try:
        if authenticated.refusal and authenticated.comes_first:
            raise authenticated.refusal
        if routed.query_error:
            raise routed.query_error
        preference = preference or routed.preference
        body = read_body(routed.request, operation, manners)
        in_body = preferences.take_off(body.value)
        preference = preference or in_body
        _refuse_odd_uploads(api.validators, operation, body)
        _refuse_what_has_no_room(body, admit)
        _refuse_without_body(operation, body)
        values = _compare(routed, operation, api, body)
        if manners.wrong_body == "dropped" and isinstance(body.value, Mapping) and _has_wrong_body(values):
            body = NO_BODY
            values = _compare(routed, operation, api, body)
        if values.violations:
            raise Refusal.from_checked(
                values, RequestView(path=routed.route.path, query=_unpack_single(routed.query), body=body.value)
            )
        if authenticated.refusal:
            raise authenticated.refusal
    except Refusal as refusal:
        return Validated(make_view(routed, values), body, values, refusal.drop_traceback(), preference)
    return Validated(make_view(routed, values), body, values, None, preference)


def make_view(routed: Routed, values: CheckedRequest = NOT_CHECKED) -> RequestView:
    """Return what scenarios see of a request, as far as it has been read."""
    return RequestView(
        method=routed.request.method,
        path={**routed.route.path, **values.path},
        query={**_unpack_single(routed.query), **values.query},
        headers=routed.request.fields,
        body=values.body,
    )


def make_view_as_sent(routed: Routed, validated: Validated, operation: Operation) -> RequestView:
    """Return what verbatim scenarios see of a request: all of it, as it was sent, whatever is wrong with it."""
    value = validated.body.value
    if validated.body is NO_BODY:
        value = read_as_sent(routed.request, operation, routed.route.manners)
    return RequestView(
        method=routed.request.method,
        path=routed.route.path,
        query=_unpack_single(routed.query),
        headers=routed.request.fields,
        body=None if value is ABSENT else value,
    )


def _compare(routed: Routed, operation: Operation, api: Api, body: Body) -> CheckedRequest:
    checked = check_request(
        api.validators,
        operation,
        path=routed.route.path,
        query=routed.query,
        headers=routed.request.fields,
        body=body.value,
        media_type=body.media_type,
    )
    return _complete(operation, checked)


def _complete(operation: Operation, checked: CheckedRequest) -> CheckedRequest:
    """Fill in the contract's defaults, and lower what is above a documented limit to it instead of refusing it."""
    query = dict(checked.query)
    for parameter in operation.parameters:
        if parameter.location != "query":
            continue
        value = query.get(parameter.name)
        if value in (None, ""):
            query[parameter.name] = parameter.schema.get("default", "")
        elif parameter.clamp is not None and isinstance(value, int | float) and value > parameter.clamp:
            query[parameter.name] = parameter.clamp
    return CheckedRequest(checked.path, query, checked.headers, checked.body, checked.violations)


def _unpack_single(query: Mapping[str, list[str]]) -> dict[str, Any]:
    """Return the values of a query, a list only where a name came several times."""
    return {name: values[0] if len(values) == 1 else values for name, values in query.items()}


def _has_wrong_body(checked: CheckedRequest) -> bool:
    return any(violation.location == "body" for violation in checked.violations)


def _answers_other_apps(operation: Operation, refused: tuple[str, ...]) -> bool:
    """Tell whether the operation answers the key of another app with a success: of that app, or of nothing."""
    status = operation.refusals.get("other-app", "")[:3]
    return "other-app" in refused and status == str(operation.success.status)


def _find_earlier_refusal(routed: Routed, operation: Operation) -> Refusal | None:
    """Return what servers refuse before they look at the key, if anything; they read the body first."""
    manners = routed.route.manners
    if manners.before_key:
        try:
            read_body(routed.request, operation, manners)
        except Refusal as refusal:
            if refusal.words[-1] in manners.before_key:
                return refusal
    return None


def _refuse_what_has_no_room(body: Body, admit: Callable[[int], None]) -> None:
    try:
        admit(sum(upload.blob.size for uploads in body.uploads.values() for upload in uploads))
    except StorageFull as error:
        raise Refusal("too-large", str(error)) from None


def _refuse_without_body(operation: Operation, body: Body) -> None:
    """Refuse that there is neither a body nor its type, of which servers say other things than of a bad one."""
    if operation.request_required and body.value is ABSENT and not body.media_type:
        raise Refusal("malformed-body", "there is no body", finer=["no-content"])


def _refuse_odd_uploads(validators: Validators, operation: Operation, body: Body) -> None:
    """Refuse what schemas of forms cannot see: several files for one, a file unnamed, of a wrong type or too large."""
    media = operation.request.get(body.media_type)
    count = sum(map(len, body.uploads.values()))
    if count > 1 and takes_one_file(operation):
        names = ", ".join(body.uploads)
        raise Refusal(
            "too-many-files", f"{count} files came as {names}; one is accepted", field=next(iter(body.uploads))
        )
    for name, uploads in body.uploads.items():
        if not uploads[0].filename and "unnamed-file" in operation.refusals:
            raise Refusal("unnamed-file", f"the file in {name} has no name", field=name)
        if media is None:
            continue
        wanted, longest, typed = upload_limits(validators, media, name)
        if typed and not uploads[0].content_type:
            message = f"the file in {name} has no Content-Type of its own"
            raise Refusal("invalid-request", message, field=name, finer=["unsupported-file-type"])
        if wanted is not None and not uploads[0].is_of(wanted):
            message = f"{name} is {uploads[0].content_type}, not one of {wanted}"
            raise Refusal("invalid-request", message, field=name, finer=["unsupported-file-type"])
        if longest is not None and uploads[0].blob.size > longest:
            raise Refusal("too-large", f"{name} has {uploads[0].blob.size} bytes, more than {longest}", field=name)
