"""What an app says of itself in `/parameters`: the controls of its input form, and the files that it takes.

Nothing here trusts the server: what has not the form that the documents print is no control.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contract_tests.cases.examples import NOBODY

TEXTS = ("text-input", "paragraph")
LOCAL, REMOTE = "local_file", "remote_url"
SORTS = ("document", "image", "audio", "video")  # of files, as the documents name them
_METHODS = (LOCAL, REMOTE)


@dataclass(frozen=True, slots=True)
class Files:
    """Which files something takes: their sorts, and how they may be handed over."""

    sorts: tuple[str, ...] = SORTS
    methods: tuple[str, ...] = _METHODS


@dataclass(frozen=True, slots=True)
class Control:
    """One control of an input form; `longest` is 0 where nothing bounds it."""

    kind: str  # text-input | paragraph | select | number | file | file-list, or one that no document names
    variable: str
    required: bool = False
    default: Any = None
    longest: int = 0
    options: tuple[str, ...] = ()
    files: Files = Files()

    def takes(self, kind: str) -> bool:
        """Tell whether values of a kind (text, number, file, file-list) fit."""
        return kind == ("text" if self.kind in TEXTS else self.kind)


def controls(form: Any) -> tuple[Control, ...]:
    """Return the controls of `user_input_form`."""
    items = (item for item in form if isinstance(item, Mapping)) if isinstance(form, list) else ()
    pairs = ((kind, told) for item in items for kind, told in item.items() if isinstance(told, Mapping))
    return tuple(_control(kind, told) for kind, told in pairs if isinstance(told.get("variable"), str))


def _control(kind: str, told: Mapping[str, Any]) -> Control:
    longest = told.get("max_length")
    return Control(
        kind,
        told["variable"],
        required=told.get("required") is True,
        default=told.get("default"),
        longest=longest if isinstance(longest, int) and longest > 0 else 0,
        options=_texts(told.get("options")),
        files=_files(told, "allowed_file_types", "allowed_file_upload_methods"),
    )


def top_level_files(settings: Any) -> Files | None:
    """Return which files may be handed over beside the inputs, by `file_upload`; None where none may."""
    if not isinstance(settings, Mapping):
        return None
    if settings.get("enabled") is True:
        return _files(settings, "allowed_file_types", "allowed_file_upload_methods")
    image = settings.get("image")
    if isinstance(image, Mapping) and image.get("enabled") is True:
        return Files(("image",), _files(image, "", "transfer_methods").methods)
    return None


def _files(told: Mapping[str, Any], sorts: str, methods: str) -> Files:
    """Return what a control says of files; what it does not say, it does not bound."""
    said = _texts(told.get(sorts))
    known = tuple(sort for sort in SORTS if sort in said) if said else SORTS
    return Files(known, tuple(method for method in _texts(told.get(methods)) if method in _METHODS) or _METHODS)


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def wrong_value(control: Control, how: str) -> Any:
    """Return a value against one bound of a control: longest, options, number, file; None where it has none such."""
    if how == "longest" and control.kind in TEXTS and control.longest:
        return "x" * (control.longest + 1)
    if how == "options" and control.options:
        return "none of the options"
    if how == "number" and control.kind == "number":
        return "twelve"
    if how == "file" and control.kind in ("file", "file-list") and LOCAL in control.files.methods:
        file = {"type": control.files.sorts[0], "transfer_method": LOCAL, "upload_file_id": NOBODY}
        return file if control.kind == "file" else [file]
    return None


def kind_of(value: Any) -> str:
    """Return what sort of control a value of an example is for."""
    if isinstance(value, Mapping):
        return "file"
    if isinstance(value, list):
        return "file-list"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else "text"


def fitting(example: Mapping[str, Any], form: tuple[Control, ...]) -> Iterator[tuple[str, Control | None]]:
    """Yield each variable of an example with the control of the form that it can be sent to: its own, or one alike."""
    taken = {name for name in example if _own(name, example[name], form)}
    for name, value in example.items():
        alike = (one for one in form if one.takes(kind_of(value)) and one.variable not in taken)
        control = _own(name, value, form) or next(alike, None)
        taken |= {control.variable} if control else set()
        yield name, control


def _own(name: str, value: Any, form: tuple[Control, ...]) -> Control | None:
    return next((one for one in form if one.variable == name and one.takes(kind_of(value))), None)
