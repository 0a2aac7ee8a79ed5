"""Puts this server's values into a request: its ids and keys, inputs that its app has, files that its app takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from contract_tests.cases.app_inputs import (
    LOCAL,
    REMOTE,
    SORTS,
    Control,
    Files,
    controls,
    fitting,
    kind_of,
    top_level_files,
)
from contract_tests.cases.sample_files import Oversize
from contract_tests.cases.server_values import resources
from contract_tests.http.exchange import Upload
from contract_tests.suite.not_exercised import NotExercised
from flowcontract import pointers

if TYPE_CHECKING:
    from contract_tests.http.exchange import Request
    from contract_tests.suite.session import Suite
    from flowcontract.specs.model import Operation

_NO_ADDRESS = (
    "no address is known that this server can fetch a file from: name one in the target file, reachable_url = "
    '"https://..."'
)

_LARGEST_MB = 64  # of a file that is sent to be refused


@dataclass(slots=True)
class Filler:
    """Fills one request.

    ``keep``    the places that are tested: JSON pointers into the body, `path/NAME`, `query/NAME`
    ``values``  what the target file gives for fields and parameters, by name
    """

    suite: Suite
    operation: Operation
    keep: frozenset[str]
    values: Mapping[str, Any]
    used_made: bool = False  # whether the request names something that the suite made

    @property
    def _about(self) -> Mapping[str, Any]:
        return resources().get(self.operation.api, {})

    def filled(self, request: Request) -> Request:
        """Return a request with this server's values in the places of the documents', except in `keep`."""
        body = request.body
        if isinstance(body, Mapping):
            body = self.body(self._as_the_app_takes(body), "")
        filled = replace(
            request,
            path_values={name: self.text(f"path/{name}", name, value) for name, value in request.path_values.items()},
            query={name: self.text(f"query/{name}", name, value) for name, value in request.query.items()},
            headers={name: self.text(f"header/{name}", name, value) for name, value in request.headers.items()},
            body=body,
        )
        return self.owner(filled)

    def owner(self, request: Request) -> Request:
        """Return a request that says whose it is: what the suite made is its user's; some APIs always want to know."""
        body = request.body if isinstance(request.body, Mapping) else {}
        for name, how in self._about.get("fields", {}).items():
            always = how.get("owner") == "always"
            if not always and not (how.get("owner") == "of what is made" and self.used_made):
                continue
            if name in body or {f"/{name}", f"query/{name}", f"header/{name}"} & self.keep:
                continue
            value = self.value(name, "")
            location = next((one.location for one in self.operation.parameters if one.name == name), "")
            if location == "query":
                return replace(request, query={**request.query, name: value})
            if location == "header":
                return replace(request, headers={**request.headers, name: value})
            if isinstance(request.body, Mapping):
                return replace(request, body={**request.body, name: value})
        return request

    def text(self, place: str, name: str, value: Any) -> Any:
        """Return the value for a parameter."""
        return value if place in self.keep or not value else self.value(name, value)

    def value(self, name: str, value: Any, sort: str = "") -> Any:
        """Return this server's value for a field, else the given one; `sort` is what sort of file it is to name."""
        if name in self.values:
            return self.values[name]
        how = self._about.get("fields", {}).get(name)
        if how is None:
            return value
        if "value" in how:
            return how["value"].format(run=self.suite.target.run)
        if "target" in how:
            return self._of_the_target(how["target"])
        self.used_made = True
        return self.suite.made(self.operation.api, name, sort)

    def _of_the_target(self, setting: str) -> str:
        found = getattr(self.suite.target, setting)
        if not found:
            raise NotExercised(_NO_ADDRESS)
        return str(found)

    def body(self, value: Any, pointer: str) -> Any:
        """Return a body, or a part of it, with this server's values."""
        if isinstance(value, Mapping):
            sort = next((sort for sort in SORTS if sort == value.get("type")), "")
            return {key: self.field(key, item, pointer + pointers.join([key]), sort) for key, item in value.items()}
        if isinstance(value, list):
            return [self.body(item, f"{pointer}/{index}") for index, item in enumerate(value)]
        return value

    def field(self, name: str, value: Any, pointer: str, sort: str = "") -> Any:
        """Return the value of a field; texts and lists of texts are replaced, unless they are empty."""
        if self._is_kept(pointer):
            return self.body(value, pointer) if pointer not in self.keep else value
        if isinstance(value, str) and value:
            return self.value(name, value, sort)
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            return [self.value(name, item) for item in value]
        if isinstance(value, Oversize):
            return value.upload(value.megabytes or self._told(value.over))
        return value if isinstance(value, Upload) else self.body(value, pointer)

    def _told(self, pointer: str) -> int:
        """Return how many megabytes the app tells (GET /parameters)."""
        try:
            told = pointers.resolve(self.suite.parameters(self.operation.api), pointer)
        except KeyError:
            told = None
        if type(told) is not int or not 0 < told <= _LARGEST_MB:
            raise NotExercised(f"the app tells no {pointer.rpartition('/')[2]} of at most {_LARGEST_MB} MB to go over")
        return told

    def _is_kept(self, pointer: str) -> bool:
        """Tell whether a place is tested, or one inside of it is."""
        return any(place == pointer or place.startswith(f"{pointer}/") for place in self.keep)

    # What the app takes.

    def _as_the_app_takes(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a body with the inputs that the app's form has, and with files only where it takes some."""
        form = self._about.get("form")
        if form is None or not self.operation.request:
            return dict(body)
        found = dict(body)
        inputs, files = form["inputs"], form["files"]
        if isinstance(found.get(inputs), Mapping) and f"/{inputs}" not in self.keep:
            found[inputs] = self._inputs(found[inputs], inputs)
        if isinstance(found.get(files), list) and found[files] and f"/{files}" not in self.keep:
            found[files] = self._files(found[files], f"/{files}")
        return found

    def _inputs(self, given: Mapping[str, Any], field: str) -> dict[str, Any]:
        """Return what the form requires, what the target gives, and what of the example has a place in the form."""
        form = controls(self.suite.parameters(self.operation.api).get("user_input_form"))
        values = self.values.get(field, {})
        required = {control.variable: self.sample(control) for control in form if control.required}
        own = {control.variable for control in form}
        tested = {name for name in own & set(given) if f"/{field}/{pointers.escape(name)}" in self.keep}
        fitted = {name: given[name] for name in tested}
        others = {name: value for name, value in given.items() if name not in tested}
        for name, control in list(fitting(others, form)):
            before = f"/{field}/{pointers.escape(name)}"
            if control is None:
                self._left_out(before, kind_of(given[name]))
                continue
            here = f"/{field}/{pointers.escape(control.variable)}"
            self.keep = frozenset(_moved(place, before, here) for place in self.keep)
            fitted[control.variable] = self._for_control(given[name], here, control)
        chosen = {name: value for name, value in fitted.items() if self._is_kept(f"/{field}/{pointers.escape(name)}")}
        return {**required, **fitted, **values, **chosen}

    def _left_out(self, pointer: str, kind: str) -> None:
        """Leave out what the app's form has no place for; raise NotExercised where it is what was to be asked."""
        if kind in ("file", "file-list") or self._is_kept(pointer):
            article = {"file": "a file", "file-list": "a list of files"}.get(kind, kind)
            raise NotExercised(f"the form of this app (GET /parameters) has no variable that takes {article}")

    def _for_control(self, value: Any, pointer: str, control: Control) -> Any:
        if control.takes("file"):
            return self._file(value, pointer, control.files)
        if control.takes("file-list"):
            return [self._file(item, f"{pointer}/{index}", control.files) for index, item in enumerate(value)]
        return value[: control.longest or None] if isinstance(value, str) else value

    def _files(self, given: list[Any], pointer: str) -> list[Any]:
        """Return files beside the inputs, of the sorts that the app takes there."""
        settings = top_level_files(self.suite.parameters(self.operation.api).get("file_upload"))
        if settings is None:
            raise NotExercised("this app takes no files (GET /parameters says so in file_upload)")
        return [self._file(item, f"{pointer}/{index}", settings) for index, item in enumerate(given)]

    def _file(self, value: Any, pointer: str, takes: Files) -> Any:
        """Return a file of a sort that may be handed over; what is tested of it stays."""
        if not isinstance(value, Mapping) or pointer in self.keep:
            return value
        found, method = dict(value), value.get("transfer_method")
        if method in (LOCAL, REMOTE) and method not in takes.methods and not self._is_kept(pointer):
            raise NotExercised(f"this app takes no files by {method}")
        sort = value.get("type")
        if sort and sort not in takes.sorts and f"{pointer}/type" not in self.keep and takes.sorts:
            found["type"] = takes.sorts[0]
        return found

    def sample(self, control: Control) -> Any:
        """Return a value that a control takes."""
        if control.kind == "select":
            return next(iter(control.options), "")
        if control.kind == "number":
            return 1
        if control.kind in ("file", "file-list"):
            file = self._sample_file(control.files)
            return file if control.kind == "file" else [file]
        return "contract test"[: control.longest or None]

    def _sample_file(self, takes: Files) -> dict[str, Any]:
        sort = next(iter(takes.sorts))
        if LOCAL in takes.methods:
            return {"type": sort, "transfer_method": LOCAL, "upload_file_id": self.value("upload_file_id", "", sort)}
        return {"type": sort, "transfer_method": REMOTE, "url": self.value("url", "")}


def _moved(place: str, before: str, here: str) -> str:
    """Return a place inside of one that has moved."""
    inside = place == before or place.startswith(f"{before}/")
    return here + place.removeprefix(before) if inside else place
