"""The Responses API around the pipeline: state before and after an answer, background answers, kept responses."""

import json
from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import Body, RequestContext, StatefulDialect
from shared.errors import GatewayError
from shared.gateway.background import Background
from shared.gateway.context import Exchange
from shared.gateway.conversations import Conversations
from shared.gateway.counting import Counter
from shared.gateway.idempotency import adopt
from shared.gateway.item_pages import page
from shared.gateway.memory import UNFINISHED, Memory, unavailable
from shared.gateway.pipeline import Pipeline, Services
from shared.gateway.request_body import read_body
from shared.gateway.responses import json_response
from shared.gateway.sealing import sealer_for
from shared.gateway.signature_keeper import SignatureKeeper
from shared.json_codec import decode_object
from shared.stores.protocols import KeptDocument, KeyRecord, ResponseStore, SecretStore, StoreUnavailable

_SUMMARISE = (
    "Summarise the conversation so far for an assistant that will go on with it and sees nothing else of it: the goals "
    "and rules given, what was done and found (files, names, values, decisions), what is still to do. Only the summary."
)


class ResponsesApi:
    """The actions of the `responses` rows."""

    def __init__(self, services: Services) -> None:
        if services.kept is None or services.secrets is None:
            raise ValueError("the Responses API needs a store of responses and the secrets")
        self._services = services
        self._store: ResponseStore = services.kept
        self._secrets: SecretStore = services.secrets
        self._pipeline = Pipeline(services)
        self._counter = Counter(services)
        self.conversations = Conversations(services, self._store)
        self._background = Background(services, self._pipeline, self._store, self._secrets)

    async def create(self, request: Request, exchange: Exchange, dialect: StatefulDialect, endpoint: str) -> Response:
        """POST /v1/responses. A GET can only be a WebSocket that wants to open, which a function URL cannot carry."""
        if request.method != "POST":
            return upgrade_refused()
        key, body = await self._received(request, exchange, endpoint)
        memory = await self._memory(body, key, exchange, dialect)
        if memory.background and not dialect.wants_stream(body):
            await self._accepted(body, key, exchange, dialect, memory)
            response = await self._background.begin(body, key, exchange, dialect, memory, endpoint)
            return json_response(200, response)
        return await self._pipeline.run(body, key, exchange, dialect, endpoint, memory)

    async def kept(self, request: Request, exchange: Exchange, dialect: StatefulDialect, endpoint: str) -> Response:
        """GET and DELETE /v1/responses/{id}."""
        key = await self._services.authenticator.principal(request, exchange.source_ip, endpoint)
        response_id = request.path_params["id"]
        document = await self._document(key, response_id)
        if request.method == "DELETE":
            try:
                await self._store.delete(key.acct, response_id)
            except StoreUnavailable as error:
                raise unavailable(error) from error
            return json_response(200, {"id": response_id, "object": "response", "deleted": True})
        if request.query_params.get("stream", "false").lower() == "true":
            raise GatewayError("unsupported_parameter", "The events of a response are not kept.", param="stream")
        return json_response(200, dialect.visible_response(document.body["response"], _include(request)))

    async def cancel(self, request: Request, exchange: Exchange, dialect: StatefulDialect, endpoint: str) -> Response:
        """POST /v1/responses/{id}/cancel: of background responses only; of a finished one nothing changes."""
        key = await self._services.authenticator.principal(request, exchange.source_ip, endpoint)
        document = await self._document(key, request.path_params["id"])
        response = document.body["response"]
        if not response.get("background"):
            raise GatewayError("invalid_request", "Only a background response can be cancelled.")
        if document.state in UNFINISHED:
            response = await self._background.cancel(key.acct, document)
        return json_response(200, dialect.visible_response(response, _include(request)))

    async def input_items(
        self, request: Request, exchange: Exchange, dialect: StatefulDialect, endpoint: str
    ) -> Response:
        """GET /v1/responses/{id}/input_items: those of this response, not of the ones before it."""
        key = await self._services.authenticator.principal(request, exchange.source_ip, endpoint)
        document = await self._document(key, request.path_params["id"])
        items = dialect.visible_response({"output": document.body["input"]}, _include(request))["output"]
        return json_response(200, page(items, request.query_params))

    async def input_tokens(
        self, request: Request, exchange: Exchange, dialect: StatefulDialect, endpoint: str
    ) -> Response:
        """POST /v1/responses/input_tokens: counted as they would be sent, with everything the body builds upon."""
        key, body = await self._received(request, exchange, endpoint)
        memory = await self._memory(body, key, exchange, dialect)
        context = await self._context(body, key, exchange, dialect, memory)
        asked = dialect.count_request(body, context)
        media = self._services.media(key, body, asked, exchange)
        tokens = await self._counter.count(asked, context.model, exchange, media)
        return json_response(200, dialect.count_body(tokens))

    async def compact(self, request: Request, exchange: Exchange, dialect: StatefulDialect, endpoint: str) -> Response:
        """POST /v1/responses/compact: the user's own messages, and a sealed summary of everything, made by a call of
        the model that is metered like any other."""
        key, body = await self._received(request, exchange, endpoint)
        memory = await self._memory({**body, "store": False, "conversation": None}, key, exchange, dialect)
        items = _given_items(body.get("input"))
        if not items and not memory.history:
            raise GatewayError("invalid_request", "There is nothing to summarise.", param="input")
        carried = ("model", "instructions", "previous_response_id")
        asked: dict[str, Any] = {name: body[name] for name in carried if name in body}
        asked |= {"input": [*items, {"role": "user", "content": _SUMMARISE}], "store": False, "include": []}
        made = await self._pipeline.run(asked, key, exchange, dialect, endpoint, memory)
        response = json.loads(bytes(made.body))
        texts = [part.get("text", "") for item in response["output"] for part in item.get("content", [])]
        summary = "".join(texts)
        if not summary.strip():  # a client would put it in the place of the whole conversation
            if made.background is not None:
                await made.background()
            raise _no_summary(response)
        sealed = dialect.seal_summary(summary, memory.sealer.seal)
        tag = exchange.request_id.lower()
        kept = dialect.kept_items(items, memory.references, exchange.request_id) if items else []
        history = [*memory.history, *kept]
        output: list[Mapping[str, Any]] = [item for item in history if item.get("role") == "user"]
        output.append({"type": "compaction", "id": f"cmp_{tag}00", "encrypted_content": sealed})
        answer = {
            "id": f"resp_{tag}",
            "object": "response.compaction",
            "created_at": exchange.created,
            "output": output,
            "usage": response["usage"],
        }
        headers = {name: value for name, value in made.headers.items() if name.startswith("x-")}
        return json_response(200, answer, headers, after=made.background)

    async def run_background(
        self, request: Request, exchange: Exchange, dialect: StatefulDialect, endpoint: str
    ) -> Response:
        """The second invocation of a background response: only a ticket that this deployment sealed starts it."""
        body = decode_object(await read_body(request, self._services.settings.max_body_bytes))
        await self._background.resume(body.get("ticket"), exchange, dialect)
        return json_response(200, {})

    async def _received(self, request: Request, exchange: Exchange, endpoint: str) -> tuple[KeyRecord, dict[str, Any]]:
        key = await self._services.authenticator.principal(request, exchange.source_ip, endpoint)
        raw = await read_body(request, self._services.settings.max_body_bytes)
        adopt(request, key, exchange, raw)
        return key, decode_object(raw)

    async def _memory(self, body: Body, key: KeyRecord, exchange: Exchange, dialect: StatefulDialect) -> Memory:
        try:
            sealer = await sealer_for(key.acct, self._secrets)
        except StoreUnavailable as error:
            raise unavailable(error) from error
        memory = Memory(self._store, key.acct, sealer, dialect, exchange.request_id, exchange.created)
        memory.body_sha = exchange.body_sha
        await memory.load(body)
        return memory

    async def _accepted(
        self, body: Body, key: KeyRecord, exchange: Exchange, dialect: StatefulDialect, memory: Memory
    ) -> None:
        """A body that cannot be translated is refused now and not found out later."""
        dialect.to_gemini(body, await self._context(body, key, exchange, dialect, memory))

    async def _context(
        self, body: Body, key: KeyRecord, exchange: Exchange, dialect: StatefulDialect, memory: Memory
    ) -> RequestContext:
        model = self._services.model(dialect.requested_model(body), key, exchange)
        keeper = SignatureKeeper(self._services.signatures, key.acct, model, exchange.created)
        return await self._pipeline.context(body, key, model, dialect, keeper, memory)

    async def _document(self, key: KeyRecord, response_id: str) -> KeptDocument:
        """404 alike for an id that is unknown, another account's, or of something that was not to be kept."""
        try:
            document = (await self._store.get(key.acct, [response_id])).get(response_id)
        except StoreUnavailable as error:
            raise unavailable(error) from error
        if document is None or document.body.get("object") != "response" or not document.body["stored"]:
            raise GatewayError("not_found", f"Response with id '{response_id[:80]}' not found.")
        return document


def _given_items(given: Any) -> list[Any]:
    if isinstance(given, str):
        return [{"role": "user", "content": given}] if given else []
    if given is not None and not isinstance(given, list):
        raise GatewayError("invalid_request", "Expected a string or an array here.", param="input")
    return given or []


def _no_summary(response: Mapping[str, Any]) -> GatewayError:
    details = response["incomplete_details"]
    if details and details["reason"] == "content_filter":
        return GatewayError("content_blocked", "The summary of the conversation was blocked.")
    return GatewayError("upstream_fault", "The model made no summary of the conversation.", reason="no_summary")


def _include(request: Request) -> list[str]:
    """Both spellings of a list in a query."""
    return [*request.query_params.getlist("include"), *request.query_params.getlist("include[]")]


def upgrade_refused() -> Response:
    """426: clients that try a WebSocket first then use server-sent events."""
    error = {
        "message": "WebSockets are not available here; use server-sent events.",
        "type": "invalid_request_error",
        "param": None,
        "code": "websocket_not_supported",
    }
    return json_response(426, {"error": error}, {"upgrade": "HTTP/1.1", "connection": "upgrade"})


def response_actions(services: Services) -> Mapping[str, Any]:
    """The actions of the rows whose endpoint is `responses`."""
    api = ResponsesApi(services)
    return {
        "respond": api.create,
        "kept_response": api.kept,
        "cancel_response": api.cancel,
        "response_items": api.input_items,
        "count_response": api.input_tokens,
        "compact": api.compact,
        "run_background": api.run_background,
        "converse": api.conversations.create,
        "kept_conversation": api.conversations.one,
        "conversation_items": api.conversations.items,
        "conversation_item": api.conversations.item,
    }
