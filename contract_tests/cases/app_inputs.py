"""What an app says of itself in `/parameters`: the controls of its input form, and the files that it takes.

The server is not trusted: whatever is not as documented is ignored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from contract_tests.cases.examples import NOBODY

TEXTS = ("text-input", "paragraph")
LOCAL, REMOTE = "local_file", "remote_url"
SORTS = ("document", "image", "audio", "video")  # of files, as in the documents
_METHODS = (LOCAL, REMOTE)


@dataclass(frozen=True, slots=True)
class Files:
    """Which files something takes: their sorts, and the methods of transfer."""

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


def read_form(form: Any) -> tuple[Control, ...]:
    """Return the controls of `user_input_form`."""
    items = (item for item in form if isinstance(item, Mapping)) if isinstance(form, list) else ()
    pairs = ((kind, settings) for item in items for kind, settings in item.items() if isinstance(settings, Mapping))
    return tuple(_read_control(kind, settings) for kind, settings in pairs if isinstance(settings.get("variable"), str))


def _read_control(kind: str, settings: Mapping[str, Any]) -> Control:
    longest = settings.get("max_length")
    return Control(
        kind,
        settings["variable"],
        required=settings.get("required") is True,
        default=settings.get("default"),
        longest=longest if isinstance(longest, int) and longest > 0 else 0,
        options=_select_texts(settings.get("options")),
        files=_read_files(settings, "allowed_file_types", "allowed_file_upload_methods"),
    )


def read_file_upload(settings: Any) -> Files | None:
    """Return which files `file_upload` allows beside the inputs; None where it allows none."""
    if not isinstance(settings, Mapping):
        return None
    if settings.get("enabled") is True:
        return _read_files(settings, "allowed_file_types", "allowed_file_upload_methods")
    image = settings.get("image")
    if isinstance(image, Mapping) and image.get("enabled") is True:
        return Files(("image",), _read_files(image, "", "transfer_methods").methods)
    return None


def _read_files(settings: Mapping[str, Any], sorts: str, methods: str) -> Files:
    """Return which files a control takes, by two of its settings; one that is not there sets no bound."""
    named = _select_texts(settings.get(sorts))
    allowed = tuple(method for method in _select_texts(settings.get(methods)) if method in _METHODS)
    return Files(tuple(sort for sort in SORTS if sort in named) if named else SORTS, allowed or _METHODS)


def _select_texts(value: Any) -> tuple[str, ...]:
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()


def break_bound(control: Control, bound: str) -> Any:
    """Return a value that breaks a bound of a control: longest, options, number, file; None where it has no such."""
    if bound == "longest" and control.kind in TEXTS and control.longest:
        return "x" * (control.longest + 1)
    if bound == "options" and control.options:
        return "none of the options"
    if bound == "number" and control.kind == "number":
        return "twelve"
    if bound == "file" and control.kind in ("file", "file-list") and LOCAL in control.files.methods:
        file = {"type": control.files.sorts[0], "transfer_method": LOCAL, "upload_file_id": NOBODY}
        return file if control.kind == "file" else [file]
    return None


def find_kind(value: Any) -> str:
    """Return the kind of control that takes a value of an example."""
    if isinstance(value, Mapping):
        return "file"
    if isinstance(value, list):
        return "file-list"
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else "text"


def match_controls(example: Mapping[str, Any], form: tuple[Control, ...]) -> Iterator[tuple[str, Control | None]]:
    """Yield each variable of an example with the control for it: that of its name, or another one of the same kind."""
    same_name = {
        control.variable: control
        for control in reversed(form)
        if control.variable in example and control.takes(find_kind(example[control.variable]))
    }
    taken = set(same_name)
    for name, value in example.items():
        free = (control for control in form if control.takes(find_kind(value)) and control.variable not in taken)
        match = same_name.get(name) or next(free, None)
        taken |= {match.variable} if match else set()
        yield name, match
