"""JSON in and out: the only place that parses a client's bytes, and the only way frames are written.

`json.loads` alone accepts what must not pass: NaN, duplicate keys, lone surrogates, UTF-16, unbounded depth and size.
"""

import json
import re
from typing import Any, NoReturn

import orjson

from shared.errors import GatewayError

MAX_DEPTH = 64
MAX_NODES = 100_000
_INT64_MIN, _INT64_MAX = -(2**63), 2**64 - 1

# one that nobody closes reaches to the end: looking for strings inside of it would take its length squared
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKETS = bytes.maketrans(b"[]{}", b"()()")
_NO_MARKS = bytes(set(range(256)) - set(b"[]{},"))
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_LONG_NUMBER = b"0" * 19  # every integer beyond 64 bits has as many digits
# line ends for many client SDKs, although legal inside JSON strings
_LINE_ENDS = {0x2028: "\\u2028", 0x2029: "\\u2029", 0x85: "\\u0085"}
_compact = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ascii = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


def number_in(text: str) -> int | None:
    """A number that a query or a form gives as text, of nine digits at most: Python makes none of thousands. None for
    anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else None


def encode_text(value: Any) -> str:
    """Compact JSON with non-ASCII kept; safe inside an SSE `data:` line."""
    text = _compact(value)
    if "\u2028" in text or "\u2029" in text or "\x85" in text:
        text = text.translate(_LINE_ENDS)
    return text


def encode_string(text: str) -> bytes:
    """`encode` of a string. Line ends are looked for among its characters, a tenth of looking among the bytes."""
    if "\u2028" in text or "\u2029" in text or "\x85" in text:
        return encode(text)
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:  # a surrogate
        return encode(text)


def encode(value: Any) -> bytes:
    """UTF-8 of `encode_text`; a lone surrogate, which UTF-8 cannot hold, is written as its escape."""
    try:
        data = orjson.dumps(value)
    except orjson.JSONEncodeError:  # a surrogate, an integer beyond 64 bits, a key that is no string
        return _ascii(value).encode()
    if data.isascii():
        return data
    # one byte is found much sooner than several, and `in` costs more than `find` before it looks at anything
    if data.find(b"\xa8") >= 0:
        data = data.replace(b"\xe2\x80\xa8", b"\\u2028")
    if data.find(b"\xa9") >= 0:
        data = data.replace(b"\xe2\x80\xa9", b"\\u2029")
    if data.find(b"\x85") >= 0:
        data = data.replace(b"\xc2\x85", b"\\u0085")
    return data


def decode_reply(data: bytes) -> Any:
    """JSON of the upstream's. ValueError or RecursionError where it is none."""
    # the arguments of a call are the client's data: only the standard library keeps integers beyond 64 bits
    if data.find(b'"functionCall"') < 0 or data.translate(_DIGITS).find(_LONG_NUMBER) < 0:
        try:
            return orjson.loads(data)
        except orjson.JSONDecodeError:  # half a surrogate pair, NaN, depth: passes below
            pass
    return json.loads(data.decode())


def decode_object(raw: bytes, max_nodes: int = MAX_NODES) -> dict[str, Any]:
    """A client's body as a JSON object, or GatewayError `invalid_json` that names the position or the rule broken."""
    if not raw or raw.isspace():
        _refuse("The request body is empty; a JSON object is expected.")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        _refuse(f"The request body is not valid UTF-8 (byte {error.start}).")
    if text.startswith("\ufeff"):
        _refuse("The request body starts with a byte order mark.")
    _bound(raw, max_nodes)
    try:
        value = _guarded(text)
    except json.JSONDecodeError as error:
        _refuse(f"The request body is not valid JSON: {error.msg} at line {error.lineno} column {error.colno}.")
    if not isinstance(value, dict):
        _refuse("The request body must be a JSON object.")
    if "\\ud" in text or "\\uD" in text:  # as every half is written
        _no_surrogates(value)
    return value


def _refuse(message: str) -> NoReturn:
    raise GatewayError("invalid_json", message)


def _bound(raw: bytes, max_nodes: int) -> None:
    """Depth and node count, before any tree is built. With what stands inside strings counted too, most bodies are
    within."""
    opened = raw.count(b"{") + raw.count(b"[")
    if opened > MAX_DEPTH or opened + raw.count(b",") > max_nodes:
        _bound_closely(raw, max_nodes)


def _bound_closely(raw: bytes, max_nodes: int) -> None:
    marks = _STRING.sub(b"", raw).translate(_BRACKETS, _NO_MARKS)
    containers = marks.count(b"(")
    if _deeper(marks.replace(b",", b""), MAX_DEPTH):
        _refuse(f"The request body is nested deeper than {MAX_DEPTH} levels.")
    if containers > MAX_NODES:  # numbers may be many where tokens are sent, arrays of them never
        _refuse(f"The request body holds more than {MAX_NODES} arrays and objects.")
    if containers + marks.count(b",") > max_nodes:
        _refuse(f"The request body holds more than {max_nodes} values.")


def _deeper(brackets: bytes, levels: int) -> bool:
    """Whether `((...))` nests deeper, or leaves more open: each round takes the innermost pairs away."""
    for _ in range(levels):
        if not brackets:
            return False
        outer = brackets.replace(b"()", b"")
        if len(outer) == len(brackets):
            break
        brackets = outer
    return b"()" in brackets or brackets.count(b"(") > levels


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                _refuse(f"The key {key[:100]!a} stands twice in one object.")
            seen.add(key)
    return value


def _no_constant(name: str) -> NoReturn:
    _refuse(f"{name} is not a JSON number.")


def _finite(text: str) -> float | int:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        _refuse("A number is too large.")
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


def _int64(text: str) -> int:
    if len(text) > 20 or not _INT64_MIN <= (number := int(text)) <= _INT64_MAX:
        _refuse("An integer does not fit in 64 bits.")
    return number


_guarded = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite, parse_int=_int64
).decode


def _no_surrogates(value: Any) -> None:
    """Escapes can smuggle half a character, which no UTF-8 text can carry on."""
    try:
        orjson.dumps(value)
    except orjson.JSONEncodeError:  # numbers and depth are within bounds by now
        _refuse("A string holds a lone surrogate (\\ud800 to \\udfff).")
