"""The one place that reads credentials from a request, and the checks that follow from the key alone.

Every header form is valid on every route and leads to the same decision; two different keys are a refusal.
"""

import fnmatch
import ipaddress
import time
from collections import deque
from collections.abc import Callable, Iterable

from msgspec import structs
from starlette.requests import Request

from shared.errors import GatewayError
from shared.gateway.keyring import KeyDirectory, parse_key
from shared.gemini.catalog import ResolvedModel, not_found
from shared.stores.protocols import KeyRecord, StoreUnavailable

MAX_KEY_LENGTH = 256
FAILURES_PER_MINUTE = 30

_MESSAGE = "Incorrect API key provided."
_HEADERS = frozenset({b"authorization", b"api-key", b"x-api-key", b"x-goog-api-key"})


def presented_keys(request: Request, *, query_key: bool) -> list[str]:
    """Every credential text in the request, in any accepted form; `?key=` counts only where `query_key` says so. Lines
    of one header arrive from Lambda joined by commas, which no key holds."""
    found = [
        _stripped(line.decode("latin-1"), scheme=name == b"authorization")
        for name, value in request.scope["headers"]
        if name in _HEADERS
        for line in value.split(b",")
    ]
    if query_key and request.scope["query_string"]:
        found += [_stripped(value) for value in request.query_params.getlist("key")]
    return [text for text in found if text]


def _stripped(value: str, *, scheme: bool = False) -> str:
    """Without the blanks around it, and the scheme `Bearer` where there may be one."""
    value = value.strip(" \t")
    if scheme:
        word, _, rest = value.partition(" ")
        if word.lower() == "bearer":
            return rest.strip(" \t")
        # any other scheme (Basic, Digest, ...) stays as it is and matches no key
    return value


class Authenticator:
    """Decides who asks. `clock` is monotonic seconds."""

    def __init__(self, directory: KeyDirectory, clock: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._failures = FailureCounter(clock)

    async def principal(self, request: Request, source_ip: str, endpoint: str, *, query_key: bool = False) -> KeyRecord:
        """The record behind the request's key, if it may come from this address to this endpoint."""
        record = await self.authenticate(request, source_ip, query_key=query_key)
        check_address(record, source_ip)
        check_endpoint(record, endpoint)
        return record

    async def authenticate(self, request: Request, source_ip: str, *, query_key: bool = False) -> KeyRecord:
        """The active record behind the request's key; else `authentication`, `rate_limited` or `unavailable`."""
        texts = presented_keys(request, query_key=query_key)
        if len(texts) > 1 and len(set(texts)) > 1:
            raise self._failed(source_ip, "Two different API keys were sent in one request.")
        text = texts[0] if texts else ""
        record = self._directory.remembered(text)
        return record if record is not None else await self._looked_up(text, source_ip)

    async def _looked_up(self, text: str, source_ip: str) -> KeyRecord:
        parsed = parse_key(text) if text and len(text) <= MAX_KEY_LENGTH and text.isascii() else None
        if parsed is None:
            raise self._failed(source_ip, _MESSAGE)
        blocked = self._failures.blocked(source_ip)
        if blocked and not self._directory.knows(parsed):
            raise GatewayError("rate_limited", "Too many failed authentications.", retry_after=blocked)
        try:
            record = await self._directory.lookup(parsed)
        except StoreUnavailable as error:
            raise GatewayError(
                "unavailable", "The key registry cannot be reached.", retry_after=error.retry_after
            ) from error
        if record is None:
            raise self._failed(source_ip, _MESSAGE)
        return record

    async def record(self, kid: str) -> KeyRecord:
        """The record of a key that was presented before and must still be in force, for work that outlived its
        request."""
        try:
            record = await self._directory.active(kid)
        except StoreUnavailable as error:
            raise GatewayError(
                "unavailable", "The key registry cannot be reached.", retry_after=error.retry_after
            ) from error
        if record is None:
            raise GatewayError("authentication", _MESSAGE)
        return record

    def _failed(self, source_ip: str, message: str) -> GatewayError:
        wait = self._failures.count(source_ip)
        if wait:
            return GatewayError("rate_limited", "Too many failed authentications.", retry_after=wait)
        return GatewayError("authentication", message)


class FailureCounter:
    """Failed authentications per source address and minute, in this process only; bounded in memory."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    def count(self, source_ip: str) -> float:
        """Note one failure; seconds to wait if the address is over its allowance, else 0."""
        times = self._times.setdefault(_network(source_ip), deque(maxlen=FAILURES_PER_MINUTE + 1))
        times.append(self._clock())
        if len(self._times) > 10_000:
            self._times.pop(next(iter(self._times)))
        return self.blocked(source_ip)

    def blocked(self, source_ip: str) -> float:
        if not self._times:
            return 0.0
        times = self._times.get(_network(source_ip))
        if times is None or len(times) <= FAILURES_PER_MINUTE:
            return 0.0
        return max(0.0, times[0] + 60.0 - self._clock())


def _network(source_ip: str) -> str:
    """IPv6 clients own a whole /64."""
    try:
        address = ipaddress.ip_address(source_ip)
    except ValueError:
        return source_ip
    return str(ipaddress.ip_network(f"{source_ip}/64", strict=False)) if address.version == 6 else source_ip


def check_address(record: KeyRecord, source_ip: str) -> None:
    if not record.ip_allow:
        return
    try:
        address = ipaddress.ip_address(source_ip)
        allowed = any(address in ipaddress.ip_network(network, strict=False) for network in record.ip_allow)
    except ValueError:
        allowed = False
    if not allowed:
        raise GatewayError("ip_not_allowed", "This API key may not be used from this address.")


def check_endpoint(record: KeyRecord, endpoint: str) -> None:
    """A key without a list may use the whole data plane; the control plane wants `admin` named."""
    allowed = endpoint in record.endpoints if record.endpoints else endpoint != "admin"
    if not allowed:
        raise GatewayError("endpoint_not_allowed", f"This API key may not use the endpoint `{endpoint}`.")


def model_allowed(record: KeyRecord, names: Iterable[str]) -> bool:
    if not record.models:
        return True
    return all(any(fnmatch.fnmatchcase(name, pattern) for pattern in record.models) for name in names)


def scoped(record: KeyRecord, model: ResolvedModel) -> ResolvedModel:
    """The model with nothing behind it that the key may not reach. Every name the request needs must be in scope; one
    outside is answered like an unknown one."""
    if not record.models:
        return model
    if not model_allowed(record, model.candidates):
        raise not_found(model.requested)
    if model.fallback_on_404 and not model_allowed(record, [model.fallback_on_404]):
        model = structs.replace(model, fallback_on_404=None)
    within = tuple(link for link in model.fallbacks if model_allowed(record, (link.id, link.effective)))
    return model if within == model.fallbacks else structs.replace(model, fallbacks=within)
