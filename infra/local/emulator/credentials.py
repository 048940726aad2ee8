"""Which credential a request carries, and what the upstream says to it.

Every key is good except those whose text says otherwise: `invalid` (400), `leaked` (403), `location` (400
FAILED_PRECONDITION). A bearer token is good when it looks like an OAuth token (`ya29.`).
"""

from __future__ import annotations

from collections.abc import Iterable

from infra.local.emulator import errors

type Pairs = Iterable[tuple[str, str]]

KEY_NAMES = ("x-goog-api-key", "key")
TOKEN_NAMES = ("authorization", "access_token")


def found(headers: Pairs, query: Pairs) -> list[tuple[str, str]]:
    """Every (name, value) of a request that is a credential; header names in lower case."""
    rows = [pair for pair in headers if pair[0] in ("x-goog-api-key", "authorization")]
    return rows + [pair for pair in query if pair[0] in ("key", "access_token")]


def check(credentials: list[tuple[str, str]], method: str) -> None:
    """Raises the Refusal for no credential, two of them, or a bad one; `method` is the RPC's name."""
    keys = [value for name, value in credentials if name in KEY_NAMES]
    tokens = [value for name, value in credentials if name in TOKEN_NAMES]
    if len(keys) + len(tokens) > 1:
        raise errors.multiple_credentials()
    if tokens:
        if not tokens[0].removeprefix("Bearer ").startswith("ya29."):
            raise errors.token_type_unsupported(method[:1].upper() + method[1:])
        return
    if not keys or not keys[0].strip():
        raise errors.unregistered_caller()
    if "leaked" in keys[0]:
        raise errors.leaked_key()
    if "location" in keys[0]:
        raise errors.location()
    if "invalid" in keys[0]:
        raise errors.api_key_invalid()
