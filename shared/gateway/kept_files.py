"""Files that clients leave in the gateway's own bucket, and their way to the upstream's Files API.

An object is `<account>/files/<file id>`; large ones arrive by a presigned URL, past the function. The first request
that names a file sends it to the upstream; where it stands there is kept on record as long as the upstream keeps it.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

from msgspec import Struct

from shared.errors import GatewayError
from shared.gateway.context import Exchange
from shared.gateway.telemetry import log
from shared.gateway.upstream import Upstream
from shared.gemini.client import RelayCall
from shared.gemini.file_links import upstream_file
from shared.stores.protocols import (
    Credential,
    ObjectStore,
    OwnedObject,
    OwnedObjectStore,
    StoredObject,
    StoreUnavailable,
)

PARTS_TYPE = "application/vnd.gateway.parts+json"  # of an object that only lists the parts of a file
_UPSTREAM_KEEPS_S = 47 * 3600  # an hour less than the Files API
_PIECE = 8 * 1024 * 1024  # a multiple of the upload's granularity, 256 KiB
_READY_S = 120.0  # a video is read through before it can be used
_PAUSE_S, _LONGEST_PAUSE_S = 0.25, 4.0
_MAX_ANSWER = 1_000_000


class SentFile(Struct, frozen=True):
    """A file as the upstream knows it; only the credential that sent it can use it."""

    uri: str
    media_type: str
    credential_id: str


class KeptFiles:
    def __init__(self, objects: ObjectStore, owned: OwnedObjectStore) -> None:
        self.objects = objects
        self._owned = owned

    @property
    def bucket(self) -> str:
        return self.objects.bucket

    async def at_upstream(
        self,
        acct: str,
        file_id: str,
        model_id: str,
        upstream: Upstream,
        credential_id: str | None,
        exchange: Exchange,
    ) -> SentFile | None:
        """Where the account's file stands at the upstream, sent there now if need be; None for an unknown id.
        `credential_id`: the credential that the request is bound to. Raises GatewayError."""
        with readable():
            object_ = await self.objects.describe(file_key(acct, file_id))
            record = await self._owned.get(acct, f"sent/{file_id}") if object_ is not None else None
        if object_ is None or has_expired(object_, exchange.created):
            return None
        fits = record is not None and credential_id in (None, record.credential_id)
        if record is not None and fits and await upstream.pool.has(record.credential_id):
            return SentFile(record.url, media_type_of(object_), record.credential_id)
        slot = await upstream.slot(model_id, set(), credential_id)
        sent = await self._send(object_, slot, upstream, exchange)
        expires_at = exchange.created + _UPSTREAM_KEEPS_S
        try:
            with readable():
                # the upstream's name too: whoever is told it may use it like a file sent there directly
                await self._owned.put(acct, OwnedObject(sent["name"], slot.id, expires_at))
                await self._owned.put(acct, OwnedObject(f"sent/{file_id}", slot.id, expires_at, sent["uri"]))
        except GatewayError:  # nobody would find it, and every further try would leave another
            await _ended(upstream, sent["name"], slot, exchange)
            raise
        return SentFile(sent["uri"], media_type_of(object_), slot.id)

    async def forget(self, acct: str, file_id: str, upstream: Upstream, exchange: Exchange) -> None:
        """After the file is gone here: the upstream's copy too, where there is one."""
        name = f"sent/{file_id}"
        with readable():
            record = await self._owned.get(acct, name)
        if record is None:
            return
        sent = upstream_file(record.url)
        try:
            slot = await upstream.slot("", set(), record.credential_id)
        except GatewayError as error:
            _stays(error, exchange)
        else:
            await _ended(upstream, sent, slot, exchange)
        with readable():
            await self._owned.delete(acct, sent)
            await self._owned.delete(acct, name)

    async def _send(
        self, object_: StoredObject, slot: Credential, upstream: Upstream, exchange: Exchange
    ) -> Mapping[str, Any]:
        """Google's resumable upload, and the wait until the file can be used."""
        parts = await self._parts(object_)
        size = sum(part.size for part in parts)
        start = RelayCall(
            "files",
            b"{}",
            headers=(
                ("content-type", "application/json"),
                ("x-goog-upload-protocol", "resumable"),
                ("x-goog-upload-command", "start"),
                ("x-goog-upload-header-content-length", str(size)),
                ("x-goog-upload-header-content-type", media_type_of(object_)),
            ),
            upload=True,
        )
        _, headers = await _asked(upstream, start, slot, exchange)
        url = headers.get("x-goog-upload-url", "")
        answer, offset = b"", 0
        async for piece in self._pieces(parts):
            last = offset + len(piece) >= size
            command = "upload, finalize" if last else "upload"
            sent = (("x-goog-upload-offset", str(offset)), ("x-goog-upload-command", command))
            answer, _ = await _asked(upstream, RelayCall("", piece, headers=sent, url=url), slot, exchange)
            offset += len(piece)
        file = _file(_object(answer).get("file"))
        return await self._usable(file, slot, upstream, exchange)

    async def _usable(
        self, file: Mapping[str, Any], slot: Credential, upstream: Upstream, exchange: Exchange
    ) -> Mapping[str, Any]:
        pause = _PAUSE_S
        try:
            async with asyncio.timeout(min(_READY_S, exchange.remaining_s)):
                while file.get("state") == "PROCESSING":
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, _LONGEST_PAUSE_S)
                    answer, _ = await _asked(upstream, RelayCall(file["name"], None, "GET"), slot, exchange)
                    file = _file(_object(answer))
        except TimeoutError:
            raise GatewayError("upstream_timeout", "The upstream is still reading the file.", retry_after=10) from None
        if file.get("state", "ACTIVE") != "ACTIVE":
            raise GatewayError("invalid_request", "The upstream cannot use the file.")
        return file

    async def _parts(self, object_: StoredObject) -> list[StoredObject]:
        if object_.media_type != PARTS_TYPE:
            return [object_]
        with readable():
            keys = json.loads(await self.objects.read(object_.key, 0, object_.size))["parts"]
            found = [await self.objects.describe(key) for key in keys]
        parts = [part for part in found if part is not None]
        if len(parts) != len(keys):
            raise GatewayError("not_found", "The file has expired.")
        return parts

    async def _pieces(self, parts: list[StoredObject]) -> AsyncIterator[bytes]:
        """The bytes of all parts in pieces of one size, the last one shorter."""
        held = bytearray()
        for part in parts:
            for start in range(0, part.size, _PIECE):
                with readable():
                    held += await self.objects.read(part.key, start, min(_PIECE, part.size - start))
                while len(held) > _PIECE:  # one more byte: the last piece must not be empty
                    yield bytes(held[:_PIECE])
                    del held[:_PIECE]
        yield bytes(held)


def file_key(acct: str, file_id: str) -> str:
    return f"{acct}/files/{file_id}"


def has_expired(object_: StoredObject, now: int) -> bool:
    """The bucket itself forgets by the day."""
    return int(object_.labels.get("expires", "0") or 0) <= now


def media_type_of(object_: StoredObject) -> str:
    """What the file is, whatever its bytes are stored as."""
    return object_.labels.get("media-type", object_.media_type)


class readable:
    """A store that cannot decide, as an error of ours."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StoreUnavailable):
            message = "The files of the gateway cannot be read or written now."
            raise GatewayError("unavailable", message, retry_after=error.retry_after) from error


async def _ended(upstream: Upstream, name: str, slot: Credential, exchange: Exchange) -> None:
    try:
        await _asked(upstream, RelayCall(name, None, "DELETE"), slot, exchange)
    except GatewayError as error:
        _stays(error, exchange)


def _stays(error: GatewayError, exchange: Exchange) -> None:
    """For 48 hours at most."""
    log("upstream_file_stays", level=30, request_id=exchange.request_id, kind=error.kind)


async def _asked(
    upstream: Upstream, call: RelayCall, slot: Credential, exchange: Exchange
) -> tuple[bytes, Mapping[str, str]]:
    gathered = bytearray()
    async with upstream.client.relay(call, slot.key, deadline_s=exchange.remaining_s) as reply:
        async for piece in reply.pieces:
            gathered += piece
            if len(gathered) > _MAX_ANSWER:
                raise GatewayError("upstream_invalid_response", "The upstream's reply is too large.")
        return bytes(gathered), reply.headers


def _object(answer: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(answer)
    except ValueError as error:
        raise GatewayError("upstream_invalid_response", "The upstream's reply is not valid JSON.") from error
    return value if isinstance(value, Mapping) else {}


def _file(value: Any) -> Mapping[str, Any]:
    file = value if isinstance(value, Mapping) else {}
    if not str(file.get("name", "")).startswith("files/") or not isinstance(file.get("uri"), str):
        raise GatewayError("upstream_invalid_response", "The upstream did not name the new file.")
    return file
