"""Peppers and the pool of upstream credentials in Secrets Manager, each cached by the environment."""

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from shared.stores.aws import Aws, AwsFailure
from shared.stores.protocols import Credential, StoreUnavailable

_EXPIRY_S = 300.0
_REFRESH_S = 30.0  # no secret is asked for again sooner, whatever the reason


class SecretsManagerStore:
    """Implements `protocols.SecretStore`.

    `pool` fixes the credentials instead of `pool_secret_id`: a laptop keeps them in its own environment only.
    `clock` counts seconds from any origin.
    """

    def __init__(
        self,
        aws: Aws,
        pepper_secret_id: str,
        pool_secret_id: str = "",
        *,
        pool: Sequence[Credential] = (),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._aws = aws
        self._clock = clock
        self._fixed = tuple(pool)
        self._pepper = _CachedSecret(aws, pepper_secret_id, _parse_peppers, clock)
        self._pool = _CachedSecret(aws, pool_secret_id, _parse_pool, clock)

    async def warm(self) -> None:
        await self._aws.warm("secretsmanager")

    async def pepper(self, pepper_id: str | None = None) -> tuple[str, bytes]:
        current, peppers = await self._pepper.value()
        if pepper_id is None:
            return current, peppers[current]
        if pepper_id not in peppers:
            _, peppers = await self._pepper.value(older_than=_REFRESH_S)
        return pepper_id, peppers[pepper_id]

    async def pool(self, *, refresh: bool = False) -> Sequence[Credential]:
        if self._fixed:
            return self._fixed
        credentials: Sequence[Credential] = await self._pool.value(older_than=_REFRESH_S if refresh else _EXPIRY_S)
        return credentials


class SecretsManagerOrigin:
    """Implements `protocols.OriginSecrets` on a secret `{"current": ..., "previous": ...}`, read every five minutes."""

    def __init__(self, aws: Aws, secret_id: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._secret = _CachedSecret(aws, secret_id, _parse_origin, clock)

    async def accepted(self) -> Sequence[bytes]:
        values: Sequence[bytes] = await self._secret.value(older_than=_EXPIRY_S)
        return values


class _CachedSecret:
    """One secret, parsed. A failed refresh leaves the value that is known in use for another while."""

    def __init__(self, aws: Aws, secret_id: str, parse: Callable[[Any], Any], clock: Callable[[], float]) -> None:
        self._aws = aws
        self._id = secret_id
        self._parse = parse
        self._clock = clock
        self._lock = asyncio.Lock()
        self._value: Any = None
        self._tried_at = float("-inf")

    async def value(self, older_than: float | None = None) -> Any:
        """The value; read again where the last read is more than `older_than` seconds ago (None: never)."""
        if self._is_due(older_than):
            async with self._lock:
                if self._is_due(older_than):  # else whoever held the lock has read it
                    self._tried_at = self._clock()
                    try:
                        self._value = await self._read()
                    except StoreUnavailable:
                        if self._value is None:
                            raise
        return self._value

    def _is_due(self, older_than: float | None) -> bool:
        stale = older_than is not None and self._clock() - self._tried_at > older_than
        return stale or self._value is None

    async def _read(self) -> Any:
        if not self._id:
            raise StoreUnavailable("the name of a secret is not configured")
        try:
            answer = await self._aws.call("secretsmanager", "get_secret_value", SecretId=self._id)
        except AwsFailure as failure:
            raise failure.unavailable() from failure
        try:
            return self._parse(json.loads(answer.get("SecretString") or ""))
        except _Incomplete as error:
            raise StoreUnavailable(f"the secret {self._id}: {error}") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            # neither the text nor the parser's words about it: both may quote the secret
            raise StoreUnavailable(f"the secret {self._id} has not the expected form") from None


class _Incomplete(Exception):
    """The form is right, something is missing; the message is safe to show."""


def _parse_peppers(value: Mapping[str, Any]) -> tuple[str, dict[str, bytes]]:
    """`{"current":"p1","peppers":{"p1":"<base64>"}}`, or the flat `{"current":"p1","p1":"<text>"}` of a template."""
    if "peppers" in value:
        peppers = {name: _decoded(text) for name, text in value["peppers"].items()}
    else:
        peppers = {name: text.encode() for name, text in value.items() if name != "current"}
    if not all(peppers.values()) or value["current"] not in peppers:
        raise _Incomplete("a pepper is empty, or the current one is missing")
    return value["current"], peppers


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("a pepper is not base64") from None


def _parse_pool(value: Mapping[str, Any]) -> tuple[Credential, ...]:
    """`{"keys":[{"id","key","project","weight","status"}]}`, or `{"comma_separated":"k1,k2"}` from the template."""
    if "comma_separated" in value:
        credentials = credentials_of(value["comma_separated"])
    else:
        given = [{name: item for name, item in entry.items() if item is not None} for entry in value["keys"]]
        try:
            credentials = msgspec.convert(given, tuple[Credential, ...])
        except msgspec.ValidationError as error:  # names types and the place, no values
            raise _Incomplete(f"its keys are malformed: {error}") from None
    if not credentials or not all(credential.id and credential.key for credential in credentials):
        raise _Incomplete("it holds no Gemini credential, or one without id or key")
    return credentials


def _parse_origin(value: Mapping[str, str]) -> tuple[bytes, ...]:
    if not value["current"]:
        raise _Incomplete("the current value is empty")
    return tuple(text.encode() for text in (value["current"], value.get("previous", "")) if text)


def credentials_of(comma_separated: str) -> tuple[Credential, ...]:
    """Keys without names of their own: `k1`, `k2`, ... in the order given."""
    keys = [key for part in comma_separated.split(",") if (key := part.strip())]
    return tuple(Credential(id=f"k{number}", key=key) for number, key in enumerate(keys, 1))
