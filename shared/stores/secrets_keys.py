"""The key registry on Secrets Manager: 256 bundles of records, good to about fifty thousand keys.

One secret per key would cost four hundred times as much. A secret takes about one write in ten minutes for ever, so
keys are issued in batches far apart, not one after the other for hours.
"""

import asyncio
import hashlib
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from msgspec import Struct

from shared.stores import key_records
from shared.stores.aws import Aws, AwsFailure
from shared.stores.protocols import KeyRecord, StoreConflict, StoreUnavailable

_log = logging.getLogger(__name__)

MAX_BUNDLE_BYTES = 65_536  # of a secret; Secrets Manager itself counts it, local engines do not
_FRESH_S = 5.0  # on top of the minute for which a record is believed
_TRIES = 5
_KID = re.compile(r"[0-9A-Za-z]{1,64}")
_SHARD = re.compile(r"[0-9a-f]{2}")
_ALREADY_MOVED = ("InvalidParameterException", "InvalidRequestException")


class _Bundle(Struct, frozen=True):
    """A shard as it was read; `version` is "" where the secret does not exist."""

    version: str
    records: Mapping[str, Any]  # kid -> the record's JSON


_NOTHING = _Bundle("", {})


class SecretsKeyStore:
    """Implements `protocols.KeyStore`. `prefix` is `gw/<stage>/keys/`. `clock` counts seconds from any origin.

    A shard is believed for 5 s, so that its keys share one read; what this instance writes it reads at once.
    """

    def __init__(self, aws: Aws, prefix: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._aws = aws
        self._prefix = prefix if prefix.endswith("/") else prefix + "/"
        self._clock = clock
        self._known: dict[str, tuple[float, _Bundle]] = {}
        self._flights: dict[str, asyncio.Task[_Bundle]] = {}

    async def warm(self) -> None:
        await self._aws.warm("secretsmanager")

    async def resolve(self, kid: str, *, fresh: bool = False) -> KeyRecord | None:
        if not _KID.fullmatch(kid):
            return None
        shard = shard_of(kid)
        bundle = await (self._refreshed(shard) if fresh else self._bundle(shard))
        value = bundle.records.get(kid)
        return None if value is None else _record(kid, value)

    async def put(self, record: KeyRecord, *, overwrite: bool = True) -> None:
        if not _KID.fullmatch(record.kid):
            raise ValueError("a kid consists of letters and digits")
        shard = shard_of(record.kid)
        for _ in range(_TRIES):
            read_at, bundle = self._clock(), await self._read(shard)
            value = json.loads(key_records.dumps(record))
            if bundle.records.get(record.kid) == value:  # the answer to our own write was lost
                return
            if not overwrite and record.kid in bundle.records:
                raise StoreConflict(f"the key {record.kid} exists already")
            records = {**bundle.records, record.kid: value}
            text = json.dumps(records, separators=(",", ":"), ensure_ascii=False)
            if (size := len(text.encode())) > MAX_BUNDLE_BYTES:
                raise ValueError(f"the bundle {shard} would have {size} bytes, at most {MAX_BUNDLE_BYTES} fit")
            version = str(uuid.uuid4())
            if await self._write(shard, bundle, text, version):
                self._known[shard] = (read_at, _Bundle(version, records))
                return
        raise StoreUnavailable(f"the bundle {shard} is being written by others")

    async def page(self, cursor: str | None = None) -> tuple[Sequence[KeyRecord], str | None]:
        """A bundle at a time; the cursor is the shard to go on from."""
        if cursor is not None and not _SHARD.fullmatch(cursor):
            raise ValueError("the cursor is not valid")
        shards = [shard for shard in await self._shards() if shard >= (cursor or "")]
        if not shards:
            return [], None
        records = (await self._read(shards[0])).records
        return list(_readable(records)), shards[1] if len(shards) > 1 else None

    async def _bundle(self, shard: str) -> _Bundle:
        """Concurrent misses of one shard share one read, which outlives whoever began it."""
        read_at, bundle = self._known.get(shard, (float("-inf"), _NOTHING))
        if self._clock() - read_at < _FRESH_S:
            return bundle
        flight = self._flights.get(shard)
        if flight is None:
            flight = self._flights[shard] = asyncio.ensure_future(self._refreshed(shard))
            flight.add_done_callback(lambda done: self._landed(shard, done))
        return await asyncio.shield(flight)

    def _landed(self, shard: str, flight: asyncio.Task[_Bundle]) -> None:
        del self._flights[shard]
        if not flight.cancelled():
            flight.exception()  # seen here, even where every waiter has left

    async def _refreshed(self, shard: str) -> _Bundle:
        read_at = self._clock()
        bundle = await self._read(shard)
        if self._known.get(shard, (float("-inf"), _NOTHING))[0] <= read_at:  # a write since then knows better
            self._known[shard] = (read_at, bundle)
        return bundle

    async def _read(self, shard: str) -> _Bundle:
        try:
            answer = await self._aws.call("secretsmanager", "get_secret_value", SecretId=self._prefix + shard)
        except AwsFailure as failure:
            if failure.code == "ResourceNotFoundException":
                return _NOTHING
            raise failure.unavailable() from failure
        try:
            records = json.loads(answer["SecretString"])
        except ValueError:
            records = None
        if not isinstance(records, dict):  # the text itself stays out of the message
            raise StoreUnavailable(f"the secret {self._prefix}{shard} is no bundle of key records")
        return _Bundle(answer["VersionId"], records)

    async def _write(self, shard: str, bundle: _Bundle, text: str, version: str) -> bool:
        """False where another writer was faster: the new version enters unseen, and becomes the current one only while
        the one that was read still is."""
        name = self._prefix + shard
        if not bundle.version:
            return await self._unless(
                ("ResourceExistsException",), "create_secret", Name=name, SecretString=text, ClientRequestToken=version
            )
        label = f"write-{version}"  # a put without a label of its own would take AWSCURRENT at once
        await self._unless(
            (),
            "put_secret_value",
            SecretId=name,
            SecretString=text,
            ClientRequestToken=version,
            VersionStages=[label],
        )
        moved = await self._unless(
            _ALREADY_MOVED,
            "update_secret_version_stage",
            SecretId=name,
            VersionStage="AWSCURRENT",
            MoveToVersionId=version,
            RemoveFromVersionId=bundle.version,
        )
        # without a label a version is forgotten in time; a secret has room for twenty labels
        await self._unless(
            _ALREADY_MOVED,
            "update_secret_version_stage",
            SecretId=name,
            VersionStage=label,
            RemoveFromVersionId=version,
        )
        return moved

    async def _unless(self, refusals: Sequence[str], operation: str, **request: Any) -> bool:
        try:
            await self._aws.call("secretsmanager", operation, patient=True, **request)
        except AwsFailure as failure:
            if failure.code in refusals:
                return False
            raise failure.unavailable() from failure
        return True

    async def _shards(self) -> list[str]:
        """Of the secrets that exist, in order."""
        filters = [{"Key": "name", "Values": [self._prefix]}]
        request: dict[str, Any] = {"Filters": filters, "MaxResults": 100}
        found: list[str] = []
        while True:
            try:
                answer = await self._aws.call("secretsmanager", "list_secrets", patient=True, **request)
            except AwsFailure as failure:
                raise failure.unavailable() from failure
            names = (secret["Name"] for secret in answer["SecretList"])
            found += (name.removeprefix(self._prefix) for name in names if name.startswith(self._prefix))
            if not answer.get("NextToken"):
                return sorted(shard for shard in found if _SHARD.fullmatch(shard))
            request["NextToken"] = answer["NextToken"]


def shard_of(kid: str) -> str:
    return hashlib.sha256(kid.encode()).hexdigest()[:2]


def _readable(records: Mapping[str, Any]) -> Iterator[KeyRecord]:
    """One damaged record must not hide all others from their operator: it is left out, and named in the log."""
    for kid, value in records.items():
        try:
            yield _record(kid, value)
        except StoreUnavailable as error:
            _log.error("key_record_damaged", extra={"fields": {"error": str(error)}})


def _record(kid: str, value: Any) -> KeyRecord:
    try:
        return key_records.loads(json.dumps(value))
    except ValueError as error:  # the text itself stays out of the message
        raise StoreUnavailable(f"the record of the key {kid} cannot be read") from error
