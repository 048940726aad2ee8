"""What is fuzzed: each target takes bytes and must return; any exception but the one refusal it may make is a finding.

Beyond not crashing, each target states what must be true of its result. `python -m tests.fuzz NAME` runs one under
coverage guidance; `tests/fuzz/test_fuzz.py` replays every seed and runs all of them for a moment.
"""

import base64
import binascii
import ipaddress
import json
import socket
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast
from urllib.parse import urlsplit

from shared.errors import GatewayError
from shared.gateway.auth import MAX_KEY_LENGTH
from shared.gateway.keyring import parse_key
from shared.gateway.multipart import FormReader
from shared.gemini.public_urls import is_gemini_file, is_public_address, is_youtube, refuse_unless_public
from shared.json_codec import MAX_DEPTH, decode_object, encode
from shared.lambda_runtime.event import body_of, is_payload_v2, scope_of
from shared.sse import SseEvent, SseSplitter, frame

Target = Callable[[bytes], None]


def sse_splitter(data: bytes) -> None:
    """Any split of the same bytes gives the same events, and what was split can be framed and split again."""
    if not data:
        return
    cut, data = data[0], data[1:]
    whole, pieces = _split([data]), _split([data[:cut], data[cut : cut + 1], data[cut + 1 :]])
    assert whole == pieces, (whole, pieces)
    assert whole == _split([data[at : at + 1] for at in range(len(data))]), "byte by byte"
    if isinstance(whole, list):
        framed = b"".join(frame(event.data, event.event or None) for event in whole if event.kind == "event")
        kept = [event for event in whole if event.kind == "event"]
        if all("\r" not in event.event and "\n" not in event.event and "\0" not in event.event for event in kept):
            again = _split([framed])
            assert isinstance(again, list)
            texts = [event.data.replace(b"\r\n", b"\n").replace(b"\r", b"\n") for event in kept]
            assert [event.data for event in again] == texts


def _split(pieces: list[bytes]) -> list[SseEvent] | str:
    splitter = SseSplitter(max_event_bytes=4_096, max_total_bytes=65_536)
    try:
        return [event for piece in pieces for event in splitter.feed(piece)] + splitter.close()
    except GatewayError as error:
        assert error.kind == "upstream_invalid_response"
        return error.kind


def json_guard(data: bytes) -> None:
    """What passes is an object that the standard library reads too, with nothing in it that must not pass."""
    try:
        value = decode_object(data, 2_000)
    except GatewayError as error:
        assert error.kind == "invalid_json"
        return
    assert isinstance(value, dict)
    data.decode("utf-8")
    assert _sound(value, 1)
    assert decode_object(encode(value)) == value
    json.loads(data)


def _sound(value: Any, depth: int) -> bool:
    if depth > MAX_DEPTH + 1:
        return False
    if isinstance(value, dict):
        return all(_sound(key, depth + 1) and _sound(item, depth + 1) for key, item in value.items())
    if isinstance(value, list):
        return all(_sound(item, depth + 1) for item in value)
    if isinstance(value, str):
        return not any("\ud800" <= character <= "\udfff" for character in value)
    if isinstance(value, float):
        return value == value and abs(value) != float("inf")
    return value is None or isinstance(value, bool) or -(2**63) <= value < 2**64


def function_url_event(data: bytes) -> None:
    """An event becomes a scope that ASGI allows; what Lambda would never send may fail, but only by what the loop
    catches and reports."""
    try:
        event = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not is_payload_v2(event):
        return
    try:
        scope, body = scope_of(event, cast(Any, SimpleNamespace())), body_of(event)
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error):
        assert not _as_lambda_sends(event)
        return
    assert isinstance(scope["path"], str)
    assert scope["path"]
    assert isinstance(body, bytes)
    assert isinstance(scope["query_string"], bytes)
    for name, value in scope["headers"]:
        assert isinstance(name, bytes)
        assert isinstance(value, bytes)
        assert name == name.lower()
    host, port = scope["server"]
    assert isinstance(host, str)
    assert isinstance(port, int)


def _as_lambda_sends(event: Any) -> bool:
    """Whether the event has the types that a function URL documents; such a one must never fail."""

    def texts(value: Any) -> bool:
        return value is None or (
            isinstance(value, dict) and all(isinstance(key, str) and _encodable(item) for key, item in value.items())
        )

    http = event.get("requestContext", {}).get("http")
    if not isinstance(http, dict) or not all(_encodable(http.get(name)) for name in ("method", "path")):
        return False
    cookies = event.get("cookies")
    sound = texts(event.get("headers")) and all(map(_encodable, (event.get("headers") or {}).keys()))
    sound = sound and (cookies is None or (isinstance(cookies, list) and all(map(_encodable, cookies))))
    sound = sound and all(event.get(name) is None or _encodable(event[name]) for name in ("rawPath", "rawQueryString"))
    return sound and (event.get("body") is None or _encodable(event["body"])) and not event.get("isBase64Encoded")


def _encodable(value: Any) -> bool:
    try:
        return isinstance(value, str) and bool(value.encode()) | True
    except UnicodeEncodeError:
        return False


def url_judge(data: bytes) -> None:
    """What is allowed is http(s) on its own port, without user-info, and its host is no address of the inside."""
    url = data.decode("utf-8", "surrogateescape")
    try:
        refuse_unless_public(url, None)
    except GatewayError as error:
        assert error.kind == "url_not_allowed"
        return
    parts = urlsplit(url)
    assert parts.scheme in ("http", "https")
    assert parts.port in (None, 80, 443)
    assert parts.username is None
    assert parts.password is None
    host = parts.hostname or ""
    assert host
    assert not any(character.isspace() or ord(character) < 0x21 for character in url)
    assert not host.endswith((".localhost", ".internal", ".local"))
    assert host != "localhost"
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        assert not _is_spelt_otherwise(host)
    else:
        assert is_public_address(address)
        assert address.is_global or getattr(address, "ipv4_mapped", None) is not None
    is_youtube(url)
    is_gemini_file(url)


def _is_spelt_otherwise(host: str) -> bool:
    """An address in octal, hexadecimal or fewer parts, as resolvers take it."""
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True


def address_judge(data: bytes) -> None:
    """No address that Python calls private, and no spelling of one inside another, is public."""
    if len(data) not in (4, 16):
        data = (data + bytes(16))[:16]
    address = ipaddress.ip_address(data)
    if not is_public_address(address):
        return
    plain = getattr(address, "ipv4_mapped", None) or address
    inside = (plain.is_private, plain.is_loopback, plain.is_link_local, plain.is_multicast, plain.is_unspecified)
    assert not any(inside), address
    if isinstance(plain, ipaddress.IPv6Address):
        for hidden in (plain.sixtofour, plain.teredo[1] if plain.teredo else None):
            assert hidden is None or is_public_address(hidden)


def client_key(data: bytes) -> None:
    """A text is a key of ours or none; a key says itself again."""
    text = data.decode("latin-1")
    if len(text) > MAX_KEY_LENGTH or not text.isascii():
        return
    key = parse_key(text)
    if key is not None:
        assert key.kid in text
        assert key.secret in text


def form(data: bytes) -> None:
    """Any split of the same bytes gives the same form or the same refusal."""
    if not data:
        return
    cut, data = data[0], data[1:]
    assert _form([data]) == _form([data[:cut], data[cut:]])


def _form(pieces: list[bytes]) -> Any:
    reader = FormReader(b"b")
    try:
        for piece in pieces:
            reader.feed(piece)
        return reader.close()
    except GatewayError as error:
        return error.kind


TARGETS: dict[str, Target] = {
    "sse_splitter": sse_splitter,
    "json_guard": json_guard,
    "function_url_event": function_url_event,
    "url_judge": url_judge,
    "address_judge": address_judge,
    "client_key": client_key,
    "form": form,
}


def seeds_of_events() -> list[bytes]:
    """Function URL events in their usual forms."""
    plain = {
        "version": "2.0",
        "rawPath": "/v1/chat/completions",
        "rawQueryString": "a=1&b=%20",
        "cookies": ["a=b"],
        "headers": {"Host": "x.lambda-url.us-east-1.on.aws:443", "content-type": "application/json"},
        "requestContext": {"http": {"method": "POST", "path": "/v1/chat/completions", "sourceIp": "1.2.3.4"}},
        "body": "{}",
        "isBase64Encoded": False,
    }
    encoded = {**plain, "body": base64.b64encode(b"\0\xff").decode(), "isBase64Encoded": True}
    bare = {"version": "2.0", "requestContext": {"http": {"method": "GET", "path": "/"}}}
    return [json.dumps(event).encode() for event in (plain, encoded, bare)]
