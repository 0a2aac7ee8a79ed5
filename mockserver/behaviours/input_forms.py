"""Whether what is put in fits the app's form, and files are what the app takes: as `/parameters` announces it."""

from __future__ import annotations

import mimetypes
import posixpath
import re
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

from flowcontract.schemas import media_types as media
from mockserver.caching import memoize_by_identity
from mockserver.request.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from mockserver.behaviours.action import Action
    from mockserver.request.body import Upload

_MB = 1 << 20
_OTHER_USERS = "other-users-file"  # in `x-refusals`: what an upload of another user is answered with
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_TEXT_LIMIT = {"document": "file_size_limit"}  # the others are called by their type: image_file_size_limit


def check_inputs(act: Action, inputs: Mapping[str, Any], user: str) -> None:
    """Refuse inputs that the app's form does not allow, and files that the app does not take or the user has not."""
    parameters = act.answers("getParameters")
    controls = _list_controls(parameters)
    for name, (kind, settings) in controls.items():
        _check_input(kind, settings, inputs.get(name))
    for file in _list_files(act.request.body):
        _check_owner(act, file, user)
        _check_allowed(file, controls.get(file.variable, ("", {}))[1])
    _check_images(act.request.body.get("files"), parameters["file_upload"].get("image", {}))


@memoize_by_identity(256)
def _list_controls(parameters: Mapping[str, Any]) -> Mapping[str, tuple[str, Mapping[str, Any]]]:
    """Return by the variable of each control of a form the control's kind and settings."""
    controls = (item for control in parameters["user_input_form"] for item in control.items())
    return {settings["variable"]: (kind, settings) for kind, settings in controls}


def _check_input(kind: str, settings: Mapping[str, Any], value: Any) -> None:
    nothing: tuple[Any, ...] = (None, "") if kind == "file" else (None, "", [])
    if kind in _CHECKS and value not in nothing:
        _CHECKS[kind](settings, value)
    elif settings.get("required") and value in nothing:
        _refuse(settings, "is required in input form")


def _refuse(settings: Mapping[str, Any], why: str) -> NoReturn:
    name = settings["variable"]
    raise Refusal("invalid-request", f"{name} {why}", field=f"inputs.{name}", finer=["wrong-input"])


def _check_text(settings: Mapping[str, Any], value: Any) -> None:
    longest = settings.get("max_length")
    if not isinstance(value, str):
        _refuse(settings, "in input form must be a string")
    if longest and len(value) > longest:
        _refuse(settings, f"in input form must be less than {longest} characters")


def _check_choice(settings: Mapping[str, Any], value: Any) -> None:
    options = settings.get("options", [])
    if not isinstance(value, str):
        _refuse(settings, "in input form must be a string")
    if value not in options:
        _refuse(settings, f"in input form must be one of the following: {', '.join(options)}")


def _check_number(settings: Mapping[str, Any], value: Any) -> None:
    if isinstance(value, bool) or not _NUMBER.fullmatch(str(value)):
        _refuse(settings, "in input form must be a valid number")


def _is_file(value: Any) -> bool:
    return isinstance(value, dict) and "transfer_method" in value and "type" in value


def _check_file(settings: Mapping[str, Any], value: Any) -> None:
    if not _is_file(value):
        _refuse(settings, "in input form must be a file: an object with type and transfer_method")


def _check_files(settings: Mapping[str, Any], value: Any) -> None:
    most = settings.get("max_length")
    if not isinstance(value, list) or not all(map(_is_file, value)):
        _refuse(settings, "in input form must be a list of files: of objects with type and transfer_method")
    if most and len(value) > most:
        _refuse(settings, f"in input form takes at most {most} file{'' if most == 1 else 's'}")


_CHECKS: Mapping[str, Callable[[Mapping[str, Any], Any], None]] = {
    "text-input": _check_text,
    "paragraph": _check_text,
    "select": _check_choice,
    "number": _check_number,
    "file": _check_file,
    "file-list": _check_files,
}


class _File(NamedTuple):
    """A file that a request names: in `files`, or as an input, whose variable it then is."""

    where: str
    variable: str
    said: Mapping[str, Any]


def _list_files(body: Mapping[str, Any]) -> Iterator[_File]:
    """Yield every file that a body names, alone or in a list."""
    named = [("files", "", body.get("files"))]
    named += [(f"inputs.{name}", name, value) for name, value in (body.get("inputs") or {}).items()]
    for where, variable, value in named:
        for file in value if isinstance(value, list) else [value]:
            if isinstance(file, dict) and "transfer_method" in file:
                yield _File(where, variable, file)


def _check_owner(act: Action, file: _File, user: str) -> None:
    """Refuse an uploaded file that is not there, is another user's, or is not of the type that is said."""
    identifier = file.said.get("upload_file_id")
    if file.said["transfer_method"] != "local_file" or not isinstance(identifier, str):
        return
    known = act.world.store.get("files", identifier)
    lenient = act.operation.refusals.get(_OTHER_USERS, "").startswith("2")  # a release that does not look
    if known is None or (known.get("user") not in (None, user) and not lenient):
        raise Refusal(
            "invalid-request", f"there is no file {identifier} of user {user}", field=file.where, finer=["wrong-input"]
        )
    kind = known.get("type")  # printed files have none: the documents send the same one as a document and as an image
    if kind is not None and file.said.get("type") != kind:
        message = f"file {identifier} is of type {kind}, not {file.said.get('type')}"
        raise Refusal("invalid-request", message, field=file.where, finer=["wrong-input"])


def _check_allowed(file: _File, settings: Mapping[str, Any]) -> None:
    """Refuse a file whose type or way of coming is none that its variable allows."""
    for name, allowed in (("type", "allowed_file_types"), ("transfer_method", "allowed_file_upload_methods")):
        choices = settings.get(allowed)
        if choices and file.said.get(name) not in choices:
            message = f"{name} {file.said.get(name)} is not allowed for {file.variable}, only {', '.join(choices)}"
            raise Refusal("invalid-request", message, field=file.where, finer=["wrong-input"])


def _check_images(files: Any, settings: Mapping[str, Any]) -> None:
    """Refuse more images, or other ways for them to come, than the app announces; where they are off, nothing is."""
    if not settings.get("enabled") or not isinstance(files, list):
        return
    images = [file for file in files if file.get("type") == "image"]
    if len(images) > settings["number_limits"]:
        raise Refusal(
            "invalid-request",
            f"at most {settings['number_limits']} images are accepted",
            field="files",
            finer=["wrong-input"],
        )
    for image in images:
        if image["transfer_method"] not in settings["transfer_methods"]:
            message = f"images come by {' or '.join(settings['transfer_methods'])}, not {image['transfer_method']}"
            raise Refusal("invalid-request", message, field="files", finer=["wrong-input"])


def check_upload(act: Action, upload: Upload) -> str | None:
    """Return a file's type; refuse one that the app does not take, or that is larger than files of its type may be."""
    parameters, extension = act.answers("getParameters"), _get_ending(upload) or _guess_ending(upload.content_type)
    kind = _find_kind(act, extension)
    types, extensions = _list_announced(parameters)
    wrong = extension not in extensions and (kind is None or (types and kind not in types))
    if extension and wrong:  # a name without an ending has none that could be unsupported (001:424, 004:329)
        message = (
            f"{upload.filename} is not of an accepted type: {', '.join(sorted(types | extensions)) or 'any known'}"
        )
        raise Refusal("invalid-request", message, field="file", finer=["unsupported-file-type"])
    limit = parameters["system_parameters"][_TEXT_LIMIT.get(kind or "document", f"{kind}_file_size_limit")]
    if upload.blob.size > limit * _MB:
        message = f"{upload.filename} has {upload.blob.size} bytes, more than {limit} MB"
        raise Refusal("too-large", message, field="file")
    return kind


def get_extension(act: Action, upload: Upload) -> str:
    """Return the ending of a file's name, in lower case without the dot; of a name without one there is none.

    Where a contract has no empty endings, the whole name is one (Dify 0.14.0, 109_upload_no_extension).
    """
    never_empty = act.contract["UploadedFile"]["properties"]["extension"].get("minLength")
    return _get_ending(upload) or (upload.filename.lower() if never_empty else "")


def _get_ending(upload: Upload) -> str:
    return posixpath.splitext(upload.filename)[1].removeprefix(".").lower()


def _guess_ending(content_type: str) -> str:
    """Return the ending of a type's files; none of `application/octet-stream`, which is said of what is not known."""
    said = "" if content_type == media.UNKNOWN_FILE else content_type
    return (mimetypes.guess_extension(said) or "").removeprefix(".")


def _find_kind(act: Action, extension: str) -> str | None:
    types: Mapping[str, Sequence[str]] = act.context.app["file_types"]
    return next((kind for kind, endings in types.items() if extension in endings), None)


def _list_announced(parameters: Mapping[str, Any]) -> tuple[set[str], set[str]]:
    """Return the types and the endings that an app says it takes; no types where it does not say."""
    holders = [parameters["file_upload"], *(settings for _, settings in _list_controls(parameters).values())]
    types = {kind for holder in holders for kind in holder.get("allowed_file_types", ())}
    endings = {ending for holder in holders for ending in holder.get("allowed_file_extensions", ())}
    if types and parameters["file_upload"].get("image", {}).get("enabled"):
        types.add("image")
    return types, {ending.removeprefix(".").lower() for ending in endings}
