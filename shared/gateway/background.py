"""Responses that nobody waits for: begun by one invocation, made by another (a task on a laptop), asked for later."""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from msgspec import structs

from shared.dialects.contract import Body, ReplyContext, StatefulDialect
from shared.errors import GatewayError
from shared.gateway.context import Exchange
from shared.gateway.limits import refusal
from shared.gateway.memory import UNFINISHED, Memory, unavailable
from shared.gateway.pipeline import Pipeline, Services
from shared.gateway.sealing import sealer_for
from shared.gateway.telemetry import log
from shared.stores.protocols import (
    KeptDocument,
    KeyRecord,
    RefusalKind,
    Refused,
    ResponseStore,
    SecretStore,
    StoreConflict,
    StoreUnavailable,
)

RUN_PATH = "/internal/responses/run"
_AUDIENCE = "#background"  # no account is named so
_TICKET_S = 6 * 3600  # how long Lambda may keep an asynchronous invocation waiting


class Background:
    def __init__(self, services: Services, pipeline: Pipeline, store: ResponseStore, secrets: SecretStore) -> None:
        self._services = services
        self._pipeline = pipeline
        self._store = store
        self._secrets = secrets
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def begin(
        self, body: Body, key: KeyRecord, exchange: Exchange, dialect: StatefulDialect, memory: Memory, endpoint: str
    ) -> Mapping[str, Any]:
        """The queued response, kept before anybody can ask for it."""
        reply = ReplyContext(exchange.request_id, exchange.created, dialect.requested_model(body))
        response = dialect.queued(body, reply)
        try:
            await memory.begin(response, body=dict(body), kid=key.kid, endpoint=endpoint)
        except StoreConflict as conflict:
            raise await self._repeated(key.acct, memory, exchange) from conflict
        if self._services.invoker is None:
            work = self._make(body, key, exchange, dialect, endpoint, memory, response)
            self._spawn(memory.response_id, work)
            return response
        ticket = {"acct": key.acct, "request_id": exchange.request_id, "until": exchange.created + _TICKET_S}
        try:
            sealer = await sealer_for(_AUDIENCE, self._secrets)
            await self._services.invoker.invoke(RUN_PATH, {"ticket": sealer.seal(json.dumps(ticket).encode())})
        except StoreUnavailable as error:
            failure = GatewayError("unavailable", "The response could not be begun.", retry_after=error.retry_after)
            await memory.keep(dialect.failed(response, failure))
            raise failure from error
        return response

    async def _repeated(self, acct: str, memory: Memory, exchange: Exchange) -> GatewayError:
        """What the ledger would say of the Idempotency-Key, which sees a background response only once it is made."""
        try:
            kept = (await self._store.get(acct, [memory.response_id])).get(memory.response_id)
        except StoreUnavailable as error:
            return unavailable(error)
        verdict: RefusalKind = "duplicate_running"
        if kept is not None and kept.body.get("body_sha") != exchange.body_sha:
            verdict = "duplicate_mismatch"
        elif kept is None or kept.state not in UNFINISHED:
            verdict = "duplicate_done"
        return refusal(Refused(verdict), exchange.request_id)

    async def resume(self, ticket: Any, exchange: Exchange, dialect: StatefulDialect) -> None:
        """The other end of the invocation. Lambda repeats one that broke off: what was begun twice has failed."""
        acct, request_id = await self._opened(ticket, exchange.created)
        response_id = f"resp_{request_id.lower()}"
        document = (await self._store.get(acct, [response_id])).get(response_id)
        if document is None or document.state not in UNFINISHED:
            return
        kept, response = document.body, document.body["response"]
        memory = Memory(self._store, acct, await sealer_for(acct, self._secrets), dialect, request_id, exchange.created)
        memory.resume(int(response["created_at"]))
        memory.body_sha = kept.get("body_sha")
        own = structs.replace(exchange, request_id=request_id, shown_id=request_id, body_sha=memory.body_sha)
        try:
            await memory.load(kept["body"])
            if document.state != "queued":
                raise GatewayError("internal", "The response was interrupted.")
            key = await self._services.authenticator.record(kept["kid"])
        except GatewayError as error:
            await memory.keep(dialect.failed(response, error))
            return
        await self._make(kept["body"], key, own, dialect, kept["endpoint"], memory, response)

    async def cancel(self, acct: str, document: KeptDocument) -> Mapping[str, Any]:
        """The response as it is afterwards: cancelled, unless it was finished a moment before."""
        response = {**document.body["response"], "status": "cancelled"}
        response_id, expires_at = response["id"], int(document.body["expires_at"])
        changed = KeptDocument({**document.body, "response": response}, "cancelled")
        try:
            await self._store.put(acct, response_id, changed, expires_at, if_state=UNFINISHED)
        except StoreConflict:
            now = (await self._store.get(acct, [response_id])).get(response_id)
            if now is None:
                raise GatewayError("not_found", "The response was deleted.") from None
            finished: Mapping[str, Any] = now.body["response"]
            return finished
        except StoreUnavailable as error:
            raise GatewayError("unavailable", "Not cancelled now.", retry_after=error.retry_after) from error
        if task := self._tasks.get(response_id):
            task.cancel()
        return response

    async def _make(
        self,
        body: Body,
        key: KeyRecord,
        exchange: Exchange,
        dialect: StatefulDialect,
        endpoint: str,
        memory: Memory,
        response: Mapping[str, Any],
    ) -> None:
        try:
            started = {**response, "status": "in_progress"}
            await memory.begin(started, body=dict(body), kid=key.kid, endpoint=endpoint)
            answer = await self._pipeline.run({**body, "stream": False}, key, exchange, dialect, endpoint, memory)
            if answer.background is not None:
                await answer.background()
        except StoreConflict:
            log("background_not_wanted", request_id=exchange.request_id)  # cancelled or deleted before it began
        except GatewayError as error:
            await memory.keep(dialect.failed(response, error))
        except Exception as error:
            log("background_failed", level=40, exc=error, request_id=exchange.request_id)
            await memory.keep(dialect.failed(response, GatewayError("internal", "Internal error.")))

    def _spawn(self, response_id: str, work: Any) -> None:
        task: asyncio.Task[None] = asyncio.ensure_future(work)
        self._tasks[response_id] = task
        task.add_done_callback(lambda _: self._tasks.pop(response_id, None))

    async def _opened(self, ticket: Any, now: int) -> tuple[str, str]:
        sealer = await sealer_for(_AUDIENCE, self._secrets)
        plain = sealer.unseal(ticket) if isinstance(ticket, str) else None
        value = json.loads(plain) if plain is not None else {"until": 0}
        if value["until"] < now:
            raise GatewayError("not_found", "Unknown path.")
        return str(value["acct"]), str(value["request_id"])
