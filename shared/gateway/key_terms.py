"""What an operator may grant a key, and the check that nothing else gets in."""

import ipaddress
from typing import Any, get_args

from msgspec import Struct

from shared.errors import GatewayError
from shared.stores.protocols import KeyRecord, Period

ENDPOINTS = (
    "chat",
    "responses",
    "messages",
    "native",
    "embeddings",
    "images",
    "audio",
    "files",
    "models",
    "admin",
)
_LIMITS = (
    "rpm",
    "rpm_burst",
    "tpm",
    "tpm_burst",
    "max_concurrency",
    "budget_limit_nano",
    "max_output_tokens",
)
_MOMENTS = ("not_before", "expires_at")
LATEST = 253_402_300_799  # the last second of the year 9999: what is beyond was meant in milliseconds
_LARGEST = 2**53 - 1  # exact in JSON everywhere; as nano-dollars about nine million
_MOST_HOLDS = 1_000
_LONGEST_NAME = 200


class KeyTerms(Struct, frozen=True):
    """Names and meanings as in `KeyRecord`: None = unlimited, 0 = nothing, an empty list = everything."""

    name: str
    owner: str = ""
    models: tuple[str, ...] = ()
    endpoints: tuple[str, ...] = ()
    ip_allow: tuple[str, ...] = ()
    not_before: int | None = None
    expires_at: int | None = None
    rpm: int | None = None
    rpm_burst: int | None = None
    tpm: int | None = None
    tpm_burst: int | None = None
    max_concurrency: int | None = None
    budget_period: Period = "none"
    budget_limit_nano: int | None = None
    max_output_tokens: int | None = None
    url_fetch: bool = False
    code_exec: bool = True
    allow_query_key: bool = True

    @classmethod
    def of(cls, record: KeyRecord) -> "KeyTerms":
        return cls(**{name: getattr(record, name) for name in cls.__struct_fields__})

    def fields(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__struct_fields__}


def check_terms(terms: KeyTerms) -> None:
    """`invalid_request` with the field in `param`. A negative, a boolean or a fraction is never taken for a limit:
    gateways that let them through made keys unlimited."""
    if not terms.name.strip() or len(terms.name) > _LONGEST_NAME or not terms.name.isprintable():
        raise _wrong("name", f"must be 1 to {_LONGEST_NAME} printable characters")
    for name in _LIMITS:
        value = getattr(terms, name)
        if value is not None and (type(value) is not int or not 0 <= value <= _LARGEST):
            raise _wrong(name, f"must be an integer from 0 to {_LARGEST}, or absent for no limit")
    for name in _MOMENTS:
        value = getattr(terms, name)
        if value is not None and (type(value) is not int or not 0 <= value <= LATEST):
            raise _wrong(name, "must lie in the years 1970 to 9999: epoch seconds, or absent for no limit")
    if terms.max_concurrency is not None and terms.max_concurrency > _MOST_HOLDS:
        raise _wrong("max_concurrency", f"must be at most {_MOST_HOLDS}")
    if terms.budget_period not in get_args(Period):
        raise _wrong("budget_period", f"must be one of {', '.join(get_args(Period))}")
    if terms.budget_period != "none" and terms.budget_limit_nano is None:
        raise _wrong("budget_limit_nano", "must be given with a budget period")
    _check_lists(terms)


def _check_lists(terms: KeyTerms) -> None:
    for endpoint in terms.endpoints:
        if endpoint not in ENDPOINTS:
            raise _wrong("endpoints", f"has an unknown name; known are {', '.join(ENDPOINTS)}")
    for pattern in terms.models:
        if not pattern or not pattern.isascii() or any(char.isspace() for char in pattern):
            raise _wrong("models", "must hold globs without spaces, such as gemini-2.5-*")
    for network in terms.ip_allow:
        try:
            ipaddress.ip_network(network, strict=False)
        except ValueError:
            raise _wrong("ip_allow", "must hold addresses or networks such as 192.0.2.0/24") from None


def _wrong(name: str, what: str) -> GatewayError:
    return GatewayError("invalid_request", f"`{name}` {what}.", param=name)
