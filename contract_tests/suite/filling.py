"""Puts this server's values into a request: its ids and keys, inputs that its app has, files that its app takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from contract_tests.cases.app_inputs import (
    LOCAL,
    REMOTE,
    SORTS,
    Control,
    Files,
    find_kind,
    match_controls,
    read_file_upload,
    read_form,
)
from contract_tests.cases.sample_files import Oversize
from contract_tests.cases.server_values import load_server_values
from contract_tests.http.exchange import Upload
from contract_tests.suite.not_exercised import NotExercised
from flowcontract import pointers

if TYPE_CHECKING:
    from contract_tests.http.exchange import Request
    from contract_tests.http.target import Target
    from flowcontract.specs.model import Operation

_NO_ADDRESS = (
    "no address is known that this server can fetch a file from: name one in the target file, reachable_url = "
    '"https://..."'
)
_LARGEST_MB = 64  # of a file that is sent to be refused


class ValueSource(Protocol):
    """Where the values come from that only the server under test has."""

    @property
    def target(self) -> Target:
        """The target, whose settings give some values."""

    def read_parameters(self, api: str) -> Any:
        """Return what the app says of itself (`getParameters`)."""

    def obtain(self, api: str, name: str, sort: str = "") -> Any:
        """Return the value of a field that has to be created on the server; raise NotExercised where it cannot be."""


@dataclass(slots=True)
class Filler:
    """Fills in one request.

    ``keep``    places that are tested: JSON pointers into the body, `path/NAME`, `query/NAME`, `header/NAME`
    ``values``  what the target file gives for fields and parameters, by name
    """

    source: ValueSource
    operation: Operation
    keep: frozenset[str]
    values: Mapping[str, Any]
    names_created: bool = False  # whether the request names something that the suite created

    @property
    def _about(self) -> Mapping[str, Any]:
        return load_server_values().get(self.operation.api, {})

    def fill(self, request: Request) -> Request:
        """Return a request with this server's values in place of the documents', except in `keep`."""
        body = request.body
        if isinstance(body, Mapping):
            body = self._fill_body(self._adapt_to_app(body), "")
        path = {name: self._fill_parameter("path", name, value) for name, value in request.path_values.items()}
        query = {name: self._fill_parameter("query", name, value) for name, value in request.query.items()}
        headers = {name: self._fill_parameter("header", name, value) for name, value in request.headers.items()}
        return self._add_owner(replace(request, path_values=path, query=query, headers=headers, body=body))

    def _add_owner(self, request: Request) -> Request:
        """Return a request that names its owner: who uses what the suite created must be the user who created it."""
        body = request.body if isinstance(request.body, Mapping) else {}
        for name, how in self._about.get("fields", {}).items():
            always = how.get("owner") == "always"
            if not always and not (how.get("owner") == "of what is made" and self.names_created):
                continue
            if name in body or {f"/{name}", f"query/{name}", f"header/{name}"} & self.keep:
                continue
            value = self._find_value(name, "")
            parameters = {parameter.name: parameter.location for parameter in reversed(self.operation.parameters)}
            if parameters.get(name) == "query":
                return replace(request, query={**request.query, name: value})
            if parameters.get(name) == "header":
                return replace(request, headers={**request.headers, name: value})
            if isinstance(request.body, Mapping):
                return replace(request, body={**request.body, name: value})
        return request

    def _fill_parameter(self, location: str, name: str, value: Any) -> Any:
        """Return the value of a parameter; an empty one stays empty."""
        return value if f"{location}/{name}" in self.keep or not value else self._find_value(name, value)

    def _find_value(self, name: str, value: Any, sort: str = "") -> Any:
        """Return this server's value for a field, else the given one; `sort` is what sort of file it is to name."""
        if name in self.values:
            return self.values[name]
        how = self._about.get("fields", {}).get(name)
        if how is None:
            return value
        if "value" in how:
            return how["value"].format(run=self.source.target.run)
        if "target" in how:
            setting = getattr(self.source.target, how["target"])
            if not setting:
                raise NotExercised(_NO_ADDRESS)
            return str(setting)
        self.names_created = True
        return self.source.obtain(self.operation.api, name, sort)

    def _fill_body(self, value: Any, pointer: str) -> Any:
        """Return a body, or a part of it, with this server's values."""
        if isinstance(value, Mapping):
            sort = next((sort for sort in SORTS if sort == value.get("type")), "")
            return {
                name: self._fill_field(name, item, f"{pointer}/{pointers.escape(name)}", sort)
                for name, item in value.items()
            }
        if isinstance(value, list):
            return [self._fill_body(item, f"{pointer}/{index}") for index, item in enumerate(value)]
        return value

    def _fill_field(self, name: str, value: Any, pointer: str, sort: str) -> Any:
        """Return the value of a field; texts and lists of texts are replaced, unless they are empty."""
        if self._is_kept(pointer):
            return self._fill_body(value, pointer) if pointer not in self.keep else value
        if isinstance(value, str) and value:
            return self._find_value(name, value, sort)
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return [self._find_value(name, item) for item in value]
        if isinstance(value, Oversize):
            return value.upload(value.megabytes or self._find_limit_mb(value.over))
        return value if isinstance(value, Upload) else self._fill_body(value, pointer)

    def _find_limit_mb(self, pointer: str) -> int:
        """Return the size limit, in megabytes, that the app states at a pointer into GET /parameters."""
        try:
            limit = pointers.resolve(self.source.read_parameters(self.operation.api), pointer)
        except KeyError:
            limit = None
        if type(limit) is not int or not 0 < limit <= _LARGEST_MB:
            name = pointer.rpartition("/")[2]
            raise NotExercised(f"the app states no {name} of at most {_LARGEST_MB} MB that a file could exceed")
        return limit

    def _is_kept(self, pointer: str) -> bool:
        """Tell whether a place is tested, or one inside of it is."""
        return any(place == pointer or place.startswith(f"{pointer}/") for place in self.keep)

    # What the app takes.

    def _adapt_to_app(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a body with the inputs that the app's form has, and with files only where it takes some."""
        form = self._about.get("form")
        if form is None or not self.operation.request:
            return dict(body)
        adapted = dict(body)
        inputs, files = form["inputs"], form["files"]
        if isinstance(adapted.get(inputs), Mapping) and f"/{inputs}" not in self.keep:
            adapted[inputs] = self._fit_inputs(adapted[inputs], inputs)
        elif inputs not in adapted and f"/{inputs}" not in self.keep and self._may_have(inputs):
            needed = self._fit_inputs({}, inputs)
            if needed:  # the contract lets them be absent, and this app's form does not
                adapted[inputs] = needed
        if isinstance(adapted.get(files), list) and adapted[files] and f"/{files}" not in self.keep:
            adapted[files] = self._fit_files(adapted[files], f"/{files}")
        return adapted

    def _may_have(self, field: str) -> bool:
        """Tell whether an example of the operation has a field in its body."""
        examples = (example for media in self.operation.request.values() for example in media.examples.values())
        return any(isinstance(example.value, Mapping) and field in example.value for example in examples)

    def _fit_inputs(self, given: Mapping[str, Any], field: str) -> dict[str, Any]:
        """Return what the form requires, what the target gives, and what of the example has a place in the form."""
        form = read_form(self.source.read_parameters(self.operation.api).get("user_input_form"))
        required = {control.variable: self._make_sample(control) for control in form if control.required}
        variables = {control.variable for control in form}
        tested = {name for name in variables & set(given) if f"/{field}/{pointers.escape(name)}" in self.keep}
        fitted = {name: given[name] for name in tested}
        others = {name: value for name, value in given.items() if name not in tested}
        for name, control in list(match_controls(others, form)):
            before = f"/{field}/{pointers.escape(name)}"
            if control is None:
                self._check_dispensable(before, find_kind(given[name]))
                continue
            after = f"/{field}/{pointers.escape(control.variable)}"
            self.keep = frozenset(_move(place, before, after) for place in self.keep)
            fitted[control.variable] = self._fit_value(given[name], after, control)
        kept = {name: value for name, value in fitted.items() if self._is_kept(f"/{field}/{pointers.escape(name)}")}
        return {**required, **fitted, **self.values.get(field, {}), **kept}

    def _check_dispensable(self, pointer: str, kind: str) -> None:
        """Raise NotExercised where an input without a place in the app's form is what the request is about."""
        if kind in ("file", "file-list") or self._is_kept(pointer):
            article = {"file": "a file", "file-list": "a list of files"}.get(kind, kind)
            raise NotExercised(f"the form of this app (GET /parameters) has no variable that takes {article}")

    def _fit_value(self, value: Any, pointer: str, control: Control) -> Any:
        if control.takes("file"):
            return self._fit_file(value, pointer, control.files)
        if control.takes("file-list"):
            return [self._fit_file(item, f"{pointer}/{index}", control.files) for index, item in enumerate(value)]
        return value[: control.longest or None] if isinstance(value, str) else value

    def _fit_files(self, given: list[Any], pointer: str) -> list[Any]:
        """Return files beside the inputs, of the sorts that the app takes there."""
        settings = read_file_upload(self.source.read_parameters(self.operation.api).get("file_upload"))
        if settings is None:
            raise NotExercised("this app takes no files (GET /parameters says so in file_upload)")
        return [self._fit_file(item, f"{pointer}/{index}", settings) for index, item in enumerate(given)]

    def _fit_file(self, value: Any, pointer: str, takes: Files) -> Any:
        """Return a file of a sort that the app takes; what is tested of it stays."""
        if not isinstance(value, Mapping) or pointer in self.keep:
            return value
        method = value.get("transfer_method")
        if method in (LOCAL, REMOTE) and method not in takes.methods and not self._is_kept(pointer):
            raise NotExercised(f"this app takes no files by {method}")
        sort = value.get("type")
        if sort and sort not in takes.sorts and f"{pointer}/type" not in self.keep and takes.sorts:
            return {**value, "type": takes.sorts[0]}
        return dict(value)

    def _make_sample(self, control: Control) -> Any:
        """Return a value that a control takes."""
        if control.kind == "select":
            return next(iter(control.options), "")
        if control.kind == "number":
            return 1
        if control.kind in ("file", "file-list"):
            file = self._make_sample_file(control.files)
            return file if control.kind == "file" else [file]
        return "contract test"[: control.longest or None]

    def _make_sample_file(self, takes: Files) -> dict[str, Any]:
        sort = next(iter(takes.sorts))
        if LOCAL in takes.methods:
            return {
                "type": sort,
                "transfer_method": LOCAL,
                "upload_file_id": self._find_value("upload_file_id", "", sort),
            }
        return {"type": sort, "transfer_method": REMOTE, "url": self._find_value("url", "")}


def _move(place: str, before: str, after: str) -> str:
    """Return a place; one inside of what stood at `before` is where that stands now."""
    inside = place == before or place.startswith(f"{before}/")
    return after + place.removeprefix(before) if inside else place
