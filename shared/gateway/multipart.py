"""A multipart/form-data body, bounded in every direction and counted while it arrives."""

import logging
import re
from typing import Final

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from shared.dialects.openai_media.members import Form, Upload
from shared.errors import GatewayError

MAX_PARTS: Final = 128
MAX_HEADER_BYTES: Final = 8_192  # of one part, all headers together
MAX_TEXT_BYTES: Final = 1_000_000  # of one field that is no file
_MAX_HEADERS: Final = 16
_DRAINED: Final = 4  # times the limit: a client that is still sending would see a reset instead of the 413
_BOUNDARY = re.compile(rb"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")  # RFC 2046, 5.1.1

logging.getLogger("python_multipart").setLevel(logging.ERROR)  # its warnings are the client's to cause, in any number


def is_form(request: Request) -> bool:
    return request.headers.get("content-type", "").strip().lower().startswith("multipart/")


async def read_form(request: Request, limit: int) -> Form:
    """The whole form, at most `limit` bytes whatever length was declared. GatewayError `invalid_request` for a body
    that is broken, unfinished or over a bound, `unsupported_media_type` for another kind, `request_too_large`."""
    reader = FormReader(_boundary(request))
    size = 0
    try:
        async for piece in request.stream():
            size += len(piece)
            if size <= limit:
                reader.feed(piece)
            elif size > _DRAINED * limit:
                break
    except ClientDisconnect:
        raise _broken("The request body ended early.") from None
    if size > limit:
        raise GatewayError("request_too_large", f"The request body is larger than {limit} bytes.")
    return reader.close()


class FormReader:
    """Bytes in, a form out; any split of the same bytes gives the same form."""

    def __init__(self, boundary: bytes) -> None:
        self._texts: list[tuple[str, str]] = []
        self._files: list[tuple[str, Upload]] = []
        self._parts = 0
        self._header_bytes = 0
        self._headers: dict[bytes, bytes] = {}
        self._name = bytearray()
        self._value = bytearray()
        self._data = bytearray()
        self._disposition: dict[bytes, bytes] = {}
        self._begun = False
        self._ended = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._header_name,
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_done,
                "on_part_data": self._part_data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
            max_header_count=_MAX_HEADERS,
            max_header_size=MAX_HEADER_BYTES,
        )

    def feed(self, data: bytes) -> None:
        if self._ended:
            return  # an epilogue says nothing
        if not self._begun:  # behind a leading line end the parser skips anything, but only within the same piece
            data = data.lstrip(b"\r\n")
            self._begun = bool(data)
        try:
            self._parser.write(data)
        except FormParserError:
            raise _broken("The form is not well-formed multipart/form-data.") from None

    def close(self) -> Form:
        if not self._ended:
            raise _broken("The form ends before its last boundary.")
        return Form(self._texts, self._files)

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise _broken(f"The form has more than {MAX_PARTS} parts.")
        self._header_bytes = 0
        self._headers, self._disposition = {}, {}
        self._data = bytearray()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._name += data[start:end]

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._count(end - start)
        self._value += data[start:end]

    def _count(self, more: int) -> None:
        self._header_bytes += more
        if self._header_bytes > MAX_HEADER_BYTES:
            raise _broken(f"The headers of a part are larger than {MAX_HEADER_BYTES} bytes.")

    def _header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name.clear()
        self._value.clear()

    def _headers_done(self) -> None:
        kind, self._disposition = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind.lower() != b"form-data" or b"name" not in self._disposition:
            raise _broken("A part of the form has no name.")
        encoding = self._headers.get(b"content-transfer-encoding", b"binary").strip().lower()
        if encoding not in (b"binary", b"8bit", b"7bit"):
            raise _broken("A part of the form has a transfer encoding.")

    def _part_data(self, data: bytes, start: int, end: int) -> None:
        if b"filename" not in self._disposition and len(self._data) + end - start > MAX_TEXT_BYTES:
            raise _broken("A field of the form is too long.")
        self._data += data[start:end]

    def _part_end(self) -> None:
        name = _text(self._disposition[b"name"])
        if b"filename" in self._disposition:
            kind = self._headers.get(b"content-type", b"").decode("latin-1").strip()
            filename = _text(self._disposition[b"filename"])
            self._files.append((name, Upload(filename, kind, bytes(self._data))))
        else:
            self._texts.append((name, _text(bytes(self._data))))

    def _end(self) -> None:
        self._ended = True


def _boundary(request: Request) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise GatewayError("unsupported_media_type", "Compressed request bodies are not accepted.")
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    if kind.lower() != b"multipart/form-data":
        raise GatewayError("unsupported_media_type", "The request body must be multipart/form-data.")
    boundary = options.get(b"boundary", b"")
    if not _BOUNDARY.fullmatch(boundary):
        raise _broken("The boundary of the form is missing or is none.")
    return boundary


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise _broken("A text of the form is not valid UTF-8.") from None


def _broken(message: str) -> GatewayError:
    return GatewayError("invalid_request", message)
