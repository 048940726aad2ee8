"""The head of an HTTP/1.1 message, both ways. Pure."""

from collections.abc import Iterable, Mapping, Sequence

_BODILESS = frozenset({204, 304})
_HEXADECIMAL = frozenset(b"0123456789abcdefABCDEF")
_MAX_CHUNK_DIGITS = 8  # a payload has at most 6 MB


class HttpBroken(ValueError):
    """The peer sent what is no HTTP/1.1 answer; the message holds nothing of it."""


class Head:
    """Status and headers of an answer, names in lower case. ``length`` None: the body has no stated length."""

    def __init__(self, status: int, headers: Mapping[str, str], length: int | None, *, keeps_alive: bool) -> None:
        self.status = status
        self.headers = headers
        self.length = length
        self.keeps_alive = keeps_alive

    @property
    def chunked(self) -> bool:
        return "transfer-encoding" in self.headers

    @property
    def bodiless(self) -> bool:
        return self.status < 200 or self.status in _BODILESS


def encoded_head(first_line: str, headers: Iterable[tuple[str, str]]) -> bytes:
    """ValueError for what would end a line early: a value that is not ours must not become a header of its own."""
    lines = [f"{name}: {value}" for name, value in headers]
    if any("\r" in line or "\n" in line or "\0" in line for line in lines):
        raise ValueError("a header holds a line end")
    return "".join([first_line, *(f"{line}\r\n" for line in lines), "\r\n"]).encode("latin-1")


def read_head(data: bytes) -> Head:
    """``data`` ends with the empty line."""
    status_line, *lines = data[:-4].split(b"\r\n")
    version, _, rest = status_line.partition(b" ")
    code, _, _ = rest.partition(b" ")
    if version not in (b"HTTP/1.1", b"HTTP/1.0") or len(code) != 3 or not code.isdigit() or code < b"100":
        raise HttpBroken("no status line")
    headers = read_fields(lines)
    encoding = headers.get("transfer-encoding", "chunked").lower()
    stated = headers.get("content-length")
    if encoding != "chunked" or (stated is not None and not (stated.isascii() and stated.isdigit())):
        raise HttpBroken("the length of the body is not told")
    options = [option.strip() for option in headers.get("connection", "").lower().split(",")]
    length = None if stated is None else int(stated)
    framed = length is not None or "transfer-encoding" in headers or int(code) in _BODILESS
    keeps_alive = framed and version == b"HTTP/1.1" and "close" not in options
    return Head(int(code), headers, length, keeps_alive=keeps_alive)


def read_fields(lines: Sequence[bytes]) -> dict[str, str]:
    """Header lines without their ends; of one name the last counts."""
    fields: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or name != name.strip() or b"\r" in value or b"\n" in value:
            raise HttpBroken("a header line is malformed")
        fields[name.decode("latin-1").lower()] = value.strip(b" \t").decode("latin-1")
    return fields


def chunk_size(line: bytes) -> int:
    """``line`` with its end; extensions mean nothing."""
    digits = line[:-2].partition(b";")[0].rstrip(b" \t")
    if not 0 < len(digits) <= _MAX_CHUNK_DIGITS or not _HEXADECIMAL.issuperset(digits):
        raise HttpBroken("no size of a chunk")
    return int(digits, 16)
