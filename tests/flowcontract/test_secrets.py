"""Names that carry a secret are known however they are written, and known secrets are hidden however encoded."""

from __future__ import annotations

import base64
import html
import json
import time
from urllib.parse import quote, quote_plus

import pytest

from flowcontract.output.secret_names import is_secret_name
from flowcontract.output.secret_texts import (
    MASK,
    find_secret_values,
    find_spans_in_text,
    find_values_in_text,
    mask_fields,
    mask_text,
)
from flowcontract.output.secrets import Secrets

SECRET = "aB3/+=\"\\<ü😀 &'9"
PLAIN = "app-9f8e7d6c5b4a"
SECRET_NAMES = """
    password PASSWORD userPassword user_password password2 passwordConfirmation new_password pwd userpwd passphrase
    accessToken access_token X-Auth-Token csrf_token X-CSRFToken id_token clientSecret client_secret clientsecret secret
    apiKey api_key api-key apikey API_KEY XAPIKEY x-api-key X-Access-Key Ocp-Apim-Subscription-Key X-Functions-Key
    PRIVATE-TOKEN X-Goog-Api-Key X-RapidAPI-Key xi-api-key secretKey private_key openaiApiKey OPENAI_API_KEY credentials
    X-Amz-Credential X-Amz-Signature sig auth X-Auth Authorization Proxy-Authorization Cookie Set-Cookie jwt bearer
    x%2Dapi%2Dkey x%252dapi%252dkey api+key user[password] passwords[] credentials[user] apiKeys access_tokens
    session X-Session store_api_key
"""
ORDINARY_NAMES = """
    key keys monkey keyboard text_key Idempotency-Key Sec-WebSocket-Key public_key sort_key total_tokens max_tokens
    prompt_tokens tokens tokenizer token_type token_count author authors secretary session_id conversation_id user query
    Access-Control-Allow-Credentials passport compass bypass passed Content-Type design assign 0 []
"""


@pytest.mark.parametrize(
    "name",
    SECRET_NAMES.split(),
)
def test_a_name_that_tells_of_a_secret_is_known(name: str) -> None:
    """Whatever the case, the separators and the encoding."""
    assert is_secret_name(name)
    assert MASK in mask_fields(f'{{"{name}": "x"}}')


def test_a_name_with_spaces_or_wide_letters_is_known() -> None:
    """People write `api key`, and full-width letters are letters."""
    assert is_secret_name("api key")
    assert is_secret_name("".join(chr(ord(letter) + 0xFEE0) for letter in "password"))


@pytest.mark.parametrize(
    "name",
    ORDINARY_NAMES.split(),
)
def test_a_name_that_only_looks_alike_is_not_hidden(name: str) -> None:
    """A journal that hides everything tells nothing."""
    assert not is_secret_name(name)
    assert not is_secret_name("")


def _units(value: str) -> list[bytes]:
    raw = value.encode("utf-16-be")
    return [raw[start : start + 2] for start in range(0, len(raw), 2)]


def _encodings(value: str) -> dict[str, str]:
    every = "".join(f"%{byte:02x}" for byte in value.encode())
    return {
        "raw": value,
        "quote": quote(value),
        "quote without safe": quote(value, safe=""),
        "lower case": quote(value, safe="").replace("%2F", "%2f"),
        "quote_plus": quote_plus(value),
        "twice": quote(quote(value, safe=""), safe=""),
        "every byte": every,
        "every byte twice": quote(every),
        "every unit escaped": "".join(f"\\u{unit.hex()}" for unit in _units(value)),
        "every character in html": "".join(f"&#{ord(character)};" for character in value),
        "json": json.dumps(value),
        "json in utf-8": json.dumps(value, ensure_ascii=False),
        "json in json": json.dumps(json.dumps(value)),
        "json with escaped slashes": json.dumps(value).replace("/", "\\/"),
        "json for html": json.dumps(value).replace("<", "\\u003C").replace("&", "\\u0026"),
        "html": html.escape(value),
        "xml": value.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&#34;"),
        "base64": base64.b64encode(value.encode()).decode(),
        "basic": base64.b64encode(b"user:" + value.encode()).decode(),
        "basic 2": base64.b64encode(b"user2:" + value.encode()).decode(),
        "basic 3": base64.urlsafe_b64encode(b"user22:" + value.encode() + b":more").decode(),
    }


@pytest.mark.parametrize("secret", [SECRET, PLAIN], ids=["odd", "plain"])
@pytest.mark.parametrize("how", _encodings(""))
def test_a_secret_is_hidden_however_it_is_encoded(secret: str, how: str) -> None:
    """Nothing of it is left, and what stands around it stays."""
    encoded = _encodings(secret)[how].strip('"').strip('\\"') if "json" in how else _encodings(secret)[how]
    shown = Secrets([secret]).mask(f"before={encoded}&after")
    assert MASK in shown
    if how.startswith("bas"):  # base64 of what stands around it stays, and a character that it has bits in
        assert len(shown) <= len(f"before={encoded}&after") - len(secret.encode()) * 4 // 3 + len(MASK) + 2
    else:
        assert shown == f"before={MASK}&after"


def test_several_secrets_of_a_text_are_all_hidden() -> None:
    """The longest first, so that nothing is left of one that contains another."""
    secrets = Secrets(["app-chat", "app-chat-alice", "sk-12345678"])
    assert secrets.mask("app-chat-alice app-chat sk-12345678") == f"{MASK} {MASK} {MASK}"


def test_short_secrets_do_not_eat_the_text() -> None:
    """Below eight characters only whole words are hidden, below four none."""
    assert Secrets(["u", "abc"]).mask("a cup of abc") == "a cup of abc"
    assert Secrets(["test"]).mask("the latest test, test_it a%20test \\ntest") == (
        f"the latest {MASK}, {MASK}_it a%20{MASK} \\n{MASK}"
    )
    assert Secrets(["true", "***"]).mask("true ***") == "true ***"


def test_a_secret_that_looks_encoded_itself_is_hidden() -> None:
    """Raw, and encoded once more; a half of a character in it harms nothing."""
    secret = 'a%41b+c\\n"d&amp;e'
    for text in (secret, json.dumps(secret), quote(secret, safe=""), html.escape(secret)):
        assert "41b" not in Secrets([secret]).mask(text)
    assert Secrets(["abcdefgh%C3"]).mask("abcdefghü \ud800") == "abcdefghü \ud800"


def test_bytes_that_are_no_utf_8_stay_what_they_are() -> None:
    """Only the secret goes."""
    assert Secrets([PLAIN]).mask_bytes(b"\xff\xfe" + PLAIN.encode() + b"\x80") == b"\xff\xfe***\x80"


def test_a_json_value_is_masked_by_names_and_by_values() -> None:
    """Lists, objects and numbers under a secret name as well; null and booleans tell nothing."""
    value = {"password": ["a", "b"], "pin_secret": 1234, "token": None, "note": f"it is {PLAIN}", PLAIN: [PLAIN, 1]}
    assert Secrets([PLAIN]).mask_json(value) == {
        "password": MASK,
        "pin_secret": MASK,
        "token": None,
        "note": f"it is {MASK}",
        MASK: [MASK, 1],
    }


def test_json_of_any_depth_is_masked_without_an_error() -> None:
    """Nobody's nesting ends a report."""
    deep: object = PLAIN
    for _ in range(50_000):
        deep = [deep]
    assert Secrets([PLAIN]).mask_json(deep) == MASK


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('{"password": "x", "a": 1}', '{"password": "***", "a": 1}'),
        ('{"password":["x", {"y": "]"}], "a": 1}', '{"password":"***", "a": 1}'),
        ('{"apiKey" : {"value": "x"}}', '{"apiKey" : "***"}'),
        ('{"token": 12.5, "token": null}', '{"token": "***", "token": null}'),
        ('{"pass\\u0077ord": "x"}', '{"pass\\u0077ord": "***"}'),
        ('{"q": "a \\" b", "password": "x\\"y", "z": 2}', '{"q": "a \\" b", "password": "***", "z": 2}'),
        ('{"password": "cut in the mid', '{"password": "***"'),
        ('{"password": "cut in an escape\\', '{"password": "***"'),
        ('{"password": ["cut", "he', '{"password": "***"'),
        ('{"password": ', '{"password": '),
        ('data: {"accessToken":"x"}\n\n', 'data: {"accessToken":"***"}\n\n'),
        ('an odd " and {"password": "x"}', 'an odd " and {"password": "***"}'),
        ('data: {"a": 1, "password":\ndata: "x"}\n\n', 'data: {"a": 1, "password":\ndata: "***"}\n\n'),
    ],
)
def test_fields_of_a_json_text_are_masked_where_they_stand(text: str, shown: str) -> None:
    """Also where the text is cut, or is no JSON throughout; the rest stays as it is written."""
    assert mask_fields(text) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (r'{"data": "{\"api_key\": \"x\", \"a\": \"b\"}"}', r'{"data": "{\"api_key\": \"***\", \"a\": \"b\"}"}'),
        (r'{"data": "{\"api_key\": \"cut \\\"he', r'{"data": "{\"api_key\": \"***'),
        (r'{"data": "{\"pin_token\": 12, \"token\": null}"}', r'{"data": "{\"pin_token\": ***, \"token\": null}"}'),
        (r'{"a": "{\"b\": \"{\\\"token\\\": \\\"x\\\"}\"}"}', r'{"a": "{\"b\": \"{\\\"token\\\": \\\"***\\\"}\"}"}'),
        ("http://a/b?c=d#access_token=x&e=f", "http://a/b?c=d#access_token=***&e=f"),
    ],
)
def test_secrets_in_texts_of_json_and_in_fragments_are_masked(text: str, shown: str) -> None:
    """At any depth, where they stand."""
    assert mask_text(text) == shown
    masked = text
    for start, end, by in reversed(list(find_spans_in_text(text))):
        masked = masked[:start] + by + masked[end:]
    assert masked == shown


@pytest.mark.parametrize(
    "text",
    [
        *('"' * 200_000, '"a\\"' * 100_000, '\\"' * 100_000, '{"password": [' * 20_000),
        *('\\"token\\": \\"' + "\\" * 200_000, '\\"token\\":' * 20_000),
    ],
)
def test_no_text_takes_long(text: str) -> None:
    """Reading is linear: nobody's body holds the journal up."""
    began = time.process_time()
    mask_text(text)
    assert time.process_time() - began < 5


def test_secret_values_are_found_below_their_names_and_in_json_texts() -> None:
    """However deep."""
    nested = json.dumps({"clientSecret": "in a text"})
    value = {"a": [{"password": ["one", {"x": 22}]}], "note": nested, "token": True, "user": "u"}
    assert sorted(find_secret_values(value)) == ["22", "in a text", "one"]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("Authorization", "Bearer app-chat-1", ["app-chat-1"]),
        ("Authorization", "app-chat-1", ["app-chat-1"]),
        ("Authorization", "Basic dXNlcjpodW50ZXIyMg==", ["dXNlcjpodW50ZXIyMg==", "hunter22"]),
        ("Cookie", "sid=abcdef; lang=en", ["abcdef"]),
        ("Set-Cookie", "sid=abcdef; Path=/path", ["abcdef"]),
        ("X-Api-Key", "abcd efgh", ["efgh"]),
    ],
)
def test_a_header_tells_its_secret(name: str, value: str, found: list[str]) -> None:
    """Without its scheme, which is none."""
    secrets = Secrets()
    secrets.add_header(name, value)
    assert sorted(secrets) == sorted(found)


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("say Authorization: Bearer xyz", "say Authorization: Bearer ***"),
        (
            '{"text": "curl -H \'authorization: Basic dTpw\' http://h"}',
            '{"text": "curl -H \'authorization: Basic ***\' http://h"}',
        ),
        ("the key is bearer app-12345678, keep it", "the key is bearer ***, keep it"),
        ("Authorization must be given and start with 'Bearer'", None),
        ("Authorization: Bearer {API_KEY}", None),
        ("a bearer of good news; uses Bearer authentication; bearer 2 of 3", None),
    ],
)
def test_a_header_quoted_in_a_text_is_masked(text: str, masked: str | None) -> None:
    """A server that repeats what it was asked tells the key in prose; words about keys stay."""
    assert mask_text(text) == (masked or text)
    assert [text[start:end] for start, end, _ in find_spans_in_text(text)] == (
        [] if masked is None else list(find_values_in_text(text))
    )


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_what_is_utf16_is_not_shown(encoding: str) -> None:
    """No name of a secret is found between its zeros."""
    raw = '{"api_key": "sk-12345678"}'.encode(encoding)
    for text in (raw.decode("utf-8", "surrogateescape"), raw.decode("latin-1")):
        assert mask_text(text) == "(UTF-16, not shown)"
        assert list(find_spans_in_text(text)) == [(0, len(text), "(UTF-16, not shown)")]
    assert mask_text("a\0b\0\0") == "(UTF-16, not shown)"
    assert mask_text("one \0 of them") == "one \0 of them"
