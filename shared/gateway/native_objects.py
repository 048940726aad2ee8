"""Files and cached contents: the upstream's project is shared, so names are kept and looked up under their account."""

import asyncio
from collections.abc import Sequence
from typing import Any

from msgspec.structs import replace

from shared.dialects.gemini_native.reading import parsed
from shared.errors import GatewayError
from shared.gateway.context import Exchange
from shared.gateway.native_upstream import NativeUpstream
from shared.gateway.telemetry import log
from shared.gemini.client import RelayCall
from shared.json_codec import number_in
from shared.stores.protocols import OwnedObject, OwnedObjectStore, StoreUnavailable

_AT_ONCE = 8
_PAGE = 10
_MAX_PAGE = 100
_KINDS = {"files": "file", "cachedContents": "cached content", "uploads": "upload"}


class Owners:
    """The owner records of a deployment; every failure is a GatewayError. Foreign names are unknown names."""

    def __init__(self, store: OwnedObjectStore | None) -> None:
        self._store = store

    @property
    def _records(self) -> OwnedObjectStore:
        if self._store is None:
            raise GatewayError("unavailable", "This gateway keeps no objects.")
        return self._store

    async def credential(self, acct: str, names: Sequence[str]) -> str | None:
        """The id of the one credential that sees all these objects, None where there are none."""
        if not names:
            return None
        found = await asyncio.gather(*(self.get(acct, name) for name in names))
        ids = {item.credential_id for item in found}
        if len(ids) > 1:
            raise GatewayError("invalid_request", "The files of this request stand in different upstream projects.")
        return ids.pop()

    async def get(self, acct: str, name: str) -> OwnedObject:
        try:
            item = await self._records.get(acct, name)
        except StoreUnavailable as error:
            raise _unavailable(error) from error
        if item is None:
            raise unknown(name)
        return item

    async def add(self, acct: str, item: OwnedObject) -> None:
        try:
            await self._records.put(acct, item)
        except StoreUnavailable as error:
            raise _unavailable(error) from error

    async def remove(self, acct: str, name: str) -> None:
        try:
            await self._records.delete(acct, name)
        except StoreUnavailable as error:
            raise _unavailable(error) from error

    async def page(self, acct: str, kind: str, after: str, limit: int) -> Sequence[OwnedObject]:
        try:
            return await self._records.page(acct, kind, after, limit)
        except StoreUnavailable as error:
            raise _unavailable(error) from error


class OwnedResources:
    """get, list and delete of one kind of object, the same for files and cached contents."""

    def __init__(self, kind: str, owners: Owners, upstream: NativeUpstream) -> None:
        self.kind = kind
        self._owners = owners
        self._upstream = upstream

    async def own(self, acct: str, item: OwnedObject, exchange: Exchange) -> None:
        """Records what the upstream has just made. Where that fails nobody could use it or end it, and a cached content
        costs by the hour: it is taken back."""
        try:
            await self._owners.add(acct, item)
        except GatewayError:
            try:
                await self._upstream.fetch(RelayCall(item.name, None, "DELETE"), "", exchange, item.credential_id)
            except GatewayError as error:
                name = item.name
                log("upstream_object_stays", level=40, request_id=exchange.request_id, object=name, kind=error.kind)
            raise

    async def call(
        self, acct: str, item_id: str, exchange: Exchange, *, method: str = "GET", body: bytes | None = None,
        query: tuple[tuple[str, str], ...] = (),
    ) -> bytes:  # fmt: skip
        """One call on one object of the account; an object that is gone upstream is forgotten here."""
        name = f"{self.kind}/{item_id}"
        item = await self._owners.get(acct, name)
        call = RelayCall(name, body, method, query)
        try:
            content, _, _ = await self._upstream.fetch(call, "", exchange, item.credential_id)
        except GatewayError as error:
            if error.kind != "not_found":
                raise
            if not item.url:  # else an upload that has not ended
                await self._owners.remove(acct, name)
            raise unknown(name) from error
        if method == "DELETE":
            await self._owners.remove(acct, name)
        elif item.url:
            await self._owners.add(acct, replace(item, url=""))
        return content

    async def page(self, acct: str, query: Any, exchange: Exchange) -> dict[str, Any]:
        """`{files: [...], nextPageToken?}`: the account's own, as the upstream describes them now."""
        limit = _page_size(query.get("pageSize", ""))
        after = query.get("pageToken", "")
        if after and not after.startswith(f"{self.kind}/"):
            raise GatewayError("invalid_request", "Request contains an invalid argument.", param="page_token")
        items = await self._owners.page(acct, self.kind, after, limit)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def read(item: OwnedObject) -> dict[str, Any] | None:
            async with gate:
                try:
                    return parsed(await self.call(acct, item.name.partition("/")[2], exchange))
                except GatewayError as error:
                    if error.kind != "not_found":
                        raise
                    return None  # expired upstream before its time

        rows = await asyncio.gather(*(read(item) for item in items))
        body: dict[str, Any] = {self.kind: [row for row in rows if row is not None]}
        if len(items) == limit:
            body["nextPageToken"] = items[-1].name
        return body


def unknown(name: str) -> GatewayError:
    kind = _KINDS[name.partition("/")[0]]
    return GatewayError("not_found", f"The {kind} does not exist or you do not have access to it.")


def _page_size(text: str) -> int:
    if not text or text == "0":
        return _PAGE
    size = number_in(text)
    if size is None:
        raise GatewayError("invalid_request", "Request contains an invalid argument.", param="page_size")
    return min(size, _MAX_PAGE)


def _unavailable(error: StoreUnavailable) -> GatewayError:
    return GatewayError(
        "unavailable", "The records of files cannot be read or written now.", retry_after=error.retry_after
    )
