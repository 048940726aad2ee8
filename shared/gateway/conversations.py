"""Conversations: lists of items that responses are added to, kept under their account."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import StatefulDialect
from shared.errors import GatewayError
from shared.gateway.context import Exchange
from shared.gateway.item_pages import page
from shared.gateway.memory import KEEP_S, append, conversation_items, remove_item, rewrite
from shared.gateway.pipeline import Services
from shared.gateway.request_body import read_body
from shared.gateway.responses import json_response
from shared.json_codec import decode_object
from shared.stores.protocols import KeptDocument, KeyRecord, ResponseStore, StoreConflict, StoreUnavailable

_MOST_AT_ONCE = 20


class Conversations:
    def __init__(self, services: Services, store: ResponseStore) -> None:
        self._services = services
        self._store = store

    async def create(self, request: Request, exchange: Exchange, dialect: StatefulDialect, endpoint: str) -> Response:
        """POST /v1/conversations `{items?, metadata?}`."""
        key, body = await self._received(request, exchange, endpoint)
        conversation_id = f"conv_{exchange.request_id.lower()}"
        expires_at = exchange.created + KEEP_S
        kept = {
            "object": "conversation",
            "created_at": exchange.created,
            "metadata": dialect.read_metadata(body),
            "entries": [{"item": item} for item in _items(body, exchange, dialect)],
            "expires_at": expires_at,
        }
        await self._guarded(self._store.put(key.acct, conversation_id, KeptDocument(kept, "0"), expires_at))
        return json_response(200, _shown(conversation_id, kept))

    async def one(self, request: Request, exchange: Exchange, dialect: StatefulDialect, endpoint: str) -> Response:
        """GET, POST `{metadata}` and DELETE /v1/conversations/{id}."""
        conversation_id = request.path_params["id"]
        if request.method == "POST":
            key, body = await self._received(request, exchange, endpoint)
        else:
            key, body = await self._key(request, exchange, endpoint), {}
        document = await self._document(key, conversation_id)
        if request.method == "DELETE":
            await self._guarded(self._store.delete(key.acct, conversation_id))
            return json_response(200, {"id": conversation_id, "object": "conversation.deleted", "deleted": True})
        if request.method == "POST":
            metadata = dialect.read_metadata(body)
            changed = rewrite(self._store, key.acct, conversation_id, lambda kept: {**kept, "metadata": metadata})
            document = await self._guarded(changed)
        return json_response(200, _shown(conversation_id, document.body))

    async def items(self, request: Request, exchange: Exchange, dialect: StatefulDialect, endpoint: str) -> Response:
        """GET and POST /v1/conversations/{id}/items."""
        conversation_id = request.path_params["id"]
        if request.method == "POST":
            key, body = await self._received(request, exchange, endpoint)
            await self._document(key, conversation_id)
            items = _items(body, exchange, dialect)
            entries = [{"item": item} for item in items]
            await self._guarded(append(self._store, key.acct, conversation_id, *entries))
            return json_response(200, page(items, {"order": "asc", "limit": "100"}))
        key = await self._key(request, exchange, endpoint)
        document = await self._document(key, conversation_id)
        return json_response(200, page(await self._shown_items(key, document, request, dialect), request.query_params))

    async def item(self, request: Request, exchange: Exchange, dialect: StatefulDialect, endpoint: str) -> Response:
        """GET and DELETE /v1/conversations/{id}/items/{item}; the latter answers with the conversation."""
        conversation_id, item_id = request.path_params["id"], request.path_params["item"]
        key = await self._key(request, exchange, endpoint)
        document = await self._document(key, conversation_id)
        items = await self._shown_items(key, document, request, dialect)
        found = next((item for item in items if item.get("id") == item_id), None)
        if found is None:
            raise GatewayError("not_found", f"Item with id '{item_id[:80]}' not found in the conversation.")
        if request.method == "GET":
            return json_response(200, found)
        document = await self._guarded(remove_item(self._store, key.acct, conversation_id, item_id))
        return json_response(200, _shown(conversation_id, document.body))

    async def _shown_items(
        self, key: KeyRecord, document: KeptDocument, request: Request, dialect: StatefulDialect
    ) -> list[dict[str, Any]]:
        items = list(await self._guarded(conversation_items(self._store, key.acct, document)))
        include = request.query_params.getlist("include")
        shown: list[dict[str, Any]] = dialect.visible_response({"output": items}, include)["output"]
        return shown

    async def _key(self, request: Request, exchange: Exchange, endpoint: str) -> KeyRecord:
        return await self._services.authenticator.principal(request, exchange.source_ip, endpoint)

    async def _received(self, request: Request, exchange: Exchange, endpoint: str) -> tuple[KeyRecord, dict[str, Any]]:
        key = await self._key(request, exchange, endpoint)
        raw = await read_body(request, self._services.settings.max_body_bytes)
        return key, decode_object(raw) if raw.strip() else {}

    async def _document(self, key: KeyRecord, conversation_id: str) -> KeptDocument:
        found = await self._guarded(self._store.get(key.acct, [conversation_id]))
        document: KeptDocument | None = found.get(conversation_id)
        if document is None or document.body.get("object") != "conversation":
            raise GatewayError("not_found", f"Conversation with id '{conversation_id[:80]}' not found.")
        return document

    async def _guarded(self, work: Any) -> Any:
        try:
            return await work
        except StoreConflict as error:
            raise GatewayError("unavailable", "The conversation is being written by others.", retry_after=1) from error
        except StoreUnavailable as error:
            raise GatewayError(
                "unavailable", "Conversations cannot be reached now.", retry_after=error.retry_after
            ) from error


def _items(body: Mapping[str, Any], exchange: Exchange, dialect: StatefulDialect) -> list[dict[str, Any]]:
    given = body["items"] if body.get("items") is not None else []
    if not isinstance(given, list) or len(given) > _MOST_AT_ONCE:
        raise GatewayError("invalid_request", f"Expected at most {_MOST_AT_ONCE} items.", param="items")
    dialect.check_items(given, "items")
    return dialect.kept_items(given, {}, exchange.request_id)


def _shown(conversation_id: str, kept: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: kept[name] for name in ("object", "created_at", "metadata")}
    return {"id": conversation_id, **shown}
