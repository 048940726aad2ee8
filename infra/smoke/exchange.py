"""One HTTP exchange, with the moment of every read."""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

_TIMEOUT_S = 120.0
_READ_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Reply:
    """`arrivals` are seconds since the request left, one for each piece of the body that brought content; comments and
    pings of an event stream bring none."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    arrivals: tuple[float, ...]

    def json(self) -> Any:
        """None where the body is not JSON."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def request_id(self) -> str:
        return self.headers.get("x-request-id", "")

    def events(self) -> list[Any]:
        """The `data:` lines of an event stream, parsed; what is not JSON, such as `[DONE]`, stays text."""
        lines = self.body.decode("utf-8", "replace").splitlines()
        return [_parsed(line[5:].strip()) for line in lines if line.startswith("data:")]


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def ask(
    base_url: str, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, Any] | None = None
) -> Reply:
    """OSError or http.client.HTTPException where there is no complete reply."""
    parts = urlsplit(base_url)
    make = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = make(parts.hostname or "", parts.port, timeout=_TIMEOUT_S)
    try:
        data = None if body is None else json.dumps(body).encode()
        typed = {**headers, "content-type": "application/json"} if data else dict(headers)
        began = time.monotonic()
        connection.request(method, parts.path.rstrip("/") + path, data, typed)
        response = connection.getresponse()
        pieces: list[bytes] = []
        arrivals: list[float] = []
        while piece := response.read1(_READ_BYTES):
            pieces.append(piece)
            if not piece.startswith(b":"):
                arrivals.append(time.monotonic() - began)
        named = {name.lower(): value for name, value in response.getheaders()}
        return Reply(response.status, named, b"".join(pieces), tuple(arrivals))
    finally:
        connection.close()
