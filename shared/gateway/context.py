"""One request's identity and clock: everything that is neither its body nor its key."""

import asyncio
import os
import re
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any

from msgspec import Struct, field
from starlette.requests import Request
from starlette.types import Scope

from shared.errors import GatewayError
from shared.gateway.request_headers import header

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_CROCKFORD_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]
_PAIR_SHIFTS = (30, 20, 10, 0)
# of any byte its low five bits, for `bytes.translate`: a byte of chance for each character
_CHANCE = _CROCKFORD.encode() * 8
_LOWER_CHANCE = _CHANCE.lower()
_CLIENT_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DAY_S = 86_400
VIEWER = "gateway.viewer"  # in a scope: whom the edge was asked by
_SAFETY_S = 3.0  # what is kept back of the function's time for the last frame and the settlement


def ulid(now_ms: int, chance: bytes) -> str:
    """26 characters, 48 bits of time and 80 of the 16 bytes of chance; sorts by time."""
    return _time_text(now_ms >> 10) + _CROCKFORD_PAIRS[now_ms & 1023] + chance.translate(_CHANCE).decode()


@lru_cache(maxsize=2)
def _time_text(seconds: int) -> str:
    """All of a moment but its last two characters, which change every millisecond; a second has 1,024 of them here."""
    return "".join([_CROCKFORD_PAIRS[(seconds >> shift) & 1023] for shift in _PAIR_SHIFTS])


def call_id(prefix: str) -> str:
    """A tool call's public id: the dialect's prefix and 26 characters, at most 40 in all."""
    return prefix + os.urandom(26).translate(_LOWER_CHANCE).decode()


class Exchange(Struct):
    """What the gateway knows about one request while it lives."""

    request_id: str
    shown_id: str  # what `x-request-id` says: the client's own id where it sent a sound one
    started_ms: int
    started: float  # monotonic seconds
    deadline: float  # monotonic seconds
    source_ip: str
    nonce: str = field(default_factory=lambda: os.urandom(8).hex())
    first_byte: float | None = None
    streamed: bool = False  # the status leaves before the answer is whole
    served: str = ""  # the id that the answer came from, where that is settled
    api_version: str = ""
    client: Mapping[str, str] | None = None  # what it says of itself, for the log
    body_sha: str | None = None  # the body's digest, with an Idempotency-Key only
    booked: bool = False  # its usage line was written
    # these follow from `started_ms`
    created: int = 0  # epoch seconds
    today: date = date.min
    day: str = ""  # as yyyymmdd

    def __post_init__(self) -> None:
        self.created = self.started_ms // 1000
        self.today, self.day = _utc_day(self.created // _DAY_S)

    @classmethod
    def begin(cls, request: Request, timeout_s: float) -> "Exchange":
        now_ms = time.time_ns() // 1_000_000
        started = time.monotonic()
        context = request.scope.get("aws.context")
        remaining_s = context.get_remaining_time_in_millis() / 1000 if context is not None else timeout_s
        chance = os.urandom(24)
        request_id = ulid(now_ms, chance[:16])
        client_id = header(request, b"x-request-id")
        return cls(
            request_id=request_id,
            shown_id=client_id if client_id and _CLIENT_ID.fullmatch(client_id) else request_id,
            started_ms=now_ms,
            started=started,
            deadline=started + max(0.0, remaining_s - _SAFETY_S),
            source_ip=source_ip(request.scope),
            nonce=chance[16:].hex(),
            api_version=header(request, b"anthropic-version")[:40],
        )

    @property
    def remaining_s(self) -> float:
        return max(0.0, self.deadline - time.monotonic())

    @property
    def elapsed_ms(self) -> int:
        return round((time.monotonic() - self.started) * 1000)

    def mark_first_byte(self) -> None:
        if self.first_byte is None:
            self.first_byte = time.monotonic()

    @property
    def ttft_ms(self) -> int | None:
        return None if self.first_byte is None else round((self.first_byte - self.started) * 1000)


@lru_cache(maxsize=8)
def _utc_day(number: int) -> tuple[date, str]:
    """The days since 1970 as a date and as yyyymmdd."""
    day = datetime.fromtimestamp(number * _DAY_S, UTC).date()
    return day, day.strftime("%Y%m%d")


def source_ip(scope: Scope) -> str:
    """The address that asked. No forwarding header is believed, but for what `FrontDoor` took from the edge's own."""
    if viewer := scope.get(VIEWER):
        return str(viewer)
    event = scope.get("aws.event")
    if isinstance(event, dict):
        asked = event.get("requestContext", {})
        return str((asked.get("http") or asked.get("identity") or {}).get("sourceIp", ""))  # identity: REST events
    client: Sequence[Any] | None = scope.get("client")
    return client[0] if client else ""


@asynccontextmanager
async def in_time(exchange: Exchange) -> AsyncGenerator[None]:
    """Work on a buffered answer within the time left; raises `upstream_timeout`."""
    try:
        async with asyncio.timeout(exchange.remaining_s):
            yield
    except TimeoutError:
        raise out_of_time() from None


def out_of_time() -> GatewayError:
    return GatewayError("upstream_timeout", "The answer took longer than the time left.")
