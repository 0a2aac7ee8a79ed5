"""Recognises names of secrets, in any spelling and encoding."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from urllib.parse import unquote, unquote_plus


def _split_words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_WORD = re.compile(r"[^\W\d_]+|\d+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_TELLING = _split_words(
    "auth authorization bearer cookie cookies credential credentials jwt oauth otp passcode passphrase passwd password "
    "passwords passwds pwd secret secrets session sig signature token totp"
)
"""Last words of names of secrets."""
_GLUED = re.compile(
    r"(?:passw(?:or)?ds?|passphrase|passcode|pwd|secrets?|credentials?|token|jwt"
    r"|(?:api|access|auth|client|private|secret|subscription|master|admin|shared|signing|encryption)keys?"
    r"|(?:access|auth|api|refresh|bearer)tokens)\Z"
)
"""Ends of compound words without humps and hyphens: `clientsecret`, `XAPIKEY`."""
HINTS = (
    "auth",
    "token",
    "key",
    "pass",
    "pwd",
    "secret",
    "cred",
    "cookie",
    "session",
    "sig",
    "jwt",
    "otp",
    "bearer",
    "\\u",
    "%",
)
"""Every name of a secret contains one of these, or of their encodings."""
_HARMLESS_KEYS = _split_words(
    "answer cache column dict event field foreign form group hash i18n idempotency index input item json lookup map "
    "message object output partition path primary property public question result row socket sort text translation "
    "value variable"
)
"""Words before `key` in names that are no secrets; `X-Anything-Key` is one."""
_SECRET_TOKENS = _split_words("access api auth bearer refresh secret session")
"""Words before `tokens` in names of secrets; other tokens (`total_tokens`) are counts."""
_TOLD_OF_TOKENS = _split_words("first last per")
"""Words before `token` in names of measures: `time_to_first_token`."""
_OF_THE_SECRET = _split_words(
    "again base64 b64 confirm confirmation confirmed current digest encoded hash new old plain plaintext raw repeat "
    "string text value verify"
)
"""Words that may follow: `password_confirmation`."""


@lru_cache(maxsize=4096)
def is_secret_name(name: str) -> bool:
    """Tell whether a name is that of a secret: of a header, a parameter, a field of a form or of JSON.

    In any spelling: `api_key`, `X-Access-Key`, `clientSecret`, `user[password]`, `x%2Dapi%2Dkey`, `APIKEY`.
    """
    if name.lower().startswith("access-control-"):  # `Access-Control-Allow-Credentials: true`
        return False
    plain = unicodedata.normalize("NFKC", unquote_plus(unquote(name)))
    return any(_is_telling(part) for part in re.split(r"[\[\]]", plain))


def _is_telling(part: str) -> bool:
    words = [word.lower() for word in _WORD.findall(_HUMP.sub(" ", part))]
    while len(words) > 1 and (words[-1] in _OF_THE_SECRET or words[-1].isdigit()):
        words.pop()
    before, last = ["", "", *words][-2:]
    if last in ("key", "keys"):
        return bool(before) and before not in _HARMLESS_KEYS
    if last == "token" and before in _TOLD_OF_TOKENS:
        return False
    if last == "tokens":
        return before in _SECRET_TOKENS
    return last in _TELLING or _GLUED.search(last) is not None
