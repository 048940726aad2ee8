"""What an account keeps of its responses: loaded before a request is translated, written when its answer is whole."""

import asyncio
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import structs

from shared.dialects.contract import Body, Item, RequestContext, StatefulDialect, StateRefs
from shared.errors import GatewayError
from shared.gateway.sealing import Sealer
from shared.gateway.telemetry import log
from shared.stores.protocols import KeptDocument, ResponseStore, StoreConflict, StoreUnavailable

KEEP_S = 30 * 24 * 3600
MAX_CHAIN = 1_000  # responses
UNFINISHED = ("queued", "in_progress")
_BUILT_UPON = ("completed", "incomplete")
_TRIES = 12  # of one of many who write to a conversation at once
_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 0.5
PREVIOUS_NOT_FOUND = "previous_response_not_found"


class Memory:
    """The state around one request of one account. `response_id` is the answer's."""

    def __init__(
        self, store: ResponseStore, acct: str, sealer: Sealer, dialect: StatefulDialect, request_id: str, now: int
    ) -> None:
        self._store = store
        self._acct = acct
        self._dialect = dialect
        self._request_id = request_id
        self._expires_at = now + KEEP_S
        self._refs = StateRefs()
        self._body: Body = {}
        self._chain: list[str] = []
        self._kept = False
        self._if_state: Sequence[str] | None = None
        self._created_at: int | None = None
        self.body_sha: str | None = None  # the request body's digest, with an Idempotency-Key only
        self.sealer = sealer
        self.history: list[Item] = []
        self.references: dict[str, Item] = {}

    @property
    def background(self) -> bool:
        """The loaded body asks for an answer that its client does not wait for."""
        return self._refs.background

    @property
    def items(self) -> list[Item]:
        return [*self.history, *self.references.values()]

    @property
    def response_id(self) -> str:
        return f"resp_{self._request_id.lower()}"

    def known_to(self, context: RequestContext) -> RequestContext:
        return structs.replace(context, history=self.history, references=self.references, unseal=self.sealer.unseal)

    async def load(self, body: Body) -> None:
        """Everything that the body builds upon. Unknown and foreign ids are told apart for nobody."""
        self._body, self._refs = body, self._dialect.state_refs(body)
        try:
            if self._refs.previous is not None:
                await self._load_chain(self._refs.previous)
            elif self._refs.conversation is not None:
                await self._load_conversation(self._refs.conversation)
            await self._load_references()
        except StoreUnavailable as error:
            raise unavailable(error) from error

    async def _load_chain(self, previous: str) -> None:
        document = (await self._store.get(self._acct, [previous])).get(previous)
        if document is None or document.body.get("object") != "response":
            raise _previous_not_found(f"Previous response with id '{previous[:80]}' not found.")
        if document.state not in _BUILT_UPON:
            raise GatewayError(
                "invalid_request", f"The previous response is {document.state}.", param="previous_response_id"
            )
        chain = [*document.body["chain"], previous]
        if len(chain) > MAX_CHAIN:
            raise GatewayError(
                "invalid_request", f"More than {MAX_CHAIN} responses in a row.", param="previous_response_id"
            )
        earlier = await self._store.get(self._acct, chain[:-1])
        if len(earlier) < len(chain) - 1:
            raise _previous_not_found("A response that the previous one builds upon is no longer kept.")
        self._chain = chain
        conversation = earlier.get(chain[0], document).body["response"].get("conversation")
        if conversation:
            self.history += await self._conversation_before(conversation["id"], chain[0])
        for response_id in chain:
            self.history += _items_of(earlier.get(response_id, document))

    async def _conversation_before(self, conversation: str, response_id: str) -> Sequence[Item]:
        """What the first response of a chain was built upon, where it was made in a conversation."""
        document = (await self._store.get(self._acct, [conversation])).get(conversation)
        if document is None:
            raise _previous_not_found("The conversation that a previous response belongs to is no longer kept.")
        entries = document.body["entries"]
        until = next((at for at, entry in enumerate(entries) if entry.get("response") == response_id), len(entries))
        earlier = KeptDocument({**document.body, "entries": entries[:until]}, document.state)
        return await conversation_items(self._store, self._acct, earlier)

    async def _load_conversation(self, conversation: str) -> None:
        document = (await self._store.get(self._acct, [conversation])).get(conversation)
        if document is None or document.body.get("object") != "conversation":
            raise GatewayError("not_found", "The conversation was not found.", param="conversation")
        self.history = list(await conversation_items(self._store, self._acct, document))

    async def _load_references(self) -> None:
        """Kept items that the input names: from the history, else from the response that they came with."""
        if not self._refs.items:
            return
        known = {str(item.get("id")): item for item in self.history}
        wanted = [item_id for item_id in self._refs.items if item_id not in known]
        homes = {item_id: self._dialect.response_of_item(item_id) for item_id in wanted}
        documents = await self._store.get(self._acct, [home for home in set(homes.values()) if home])
        for document in documents.values():
            known |= {str(item.get("id")): item for item in _items_of(document)}
        self.references = {item_id: known[item_id] for item_id in self._refs.items if item_id in known}

    async def begin(self, response: Mapping[str, Any], **more: Any) -> None:
        """Keeps a response that is still to be made. Raises where it cannot be: nobody could ask for it later;
        StoreConflict where it was kept before and is no longer wanted, or is the answer to an earlier request with the
        same Idempotency-Key."""
        before, self._if_state = self._if_state or (), UNFINISHED
        try:
            await self._put(response, before, **more)
        except StoreUnavailable as error:
            raise unavailable(error) from error

    def resume(self, created_at: int) -> None:
        """The response was kept by `begin` in another invocation, at `created_at`."""
        self._if_state = UNFINISHED
        self._created_at = created_at

    async def keep(self, response: Mapping[str, Any]) -> None:
        """Once, when the answer is whole. A store that fails costs the memory and not the answer."""
        if self._kept or not (self._refs.store or self._refs.conversation):
            return
        self._kept = True
        try:
            await self._put(response, self._if_state)
            if self._refs.conversation is not None and response["status"] in _BUILT_UPON:
                await append(self._store, self._acct, self._refs.conversation, {"response": response["id"]})
        except StoreConflict as error:  # cancelled or deleted in the meantime
            log("response_not_kept", level=20, exc=error, request_id=self._request_id)
        except StoreUnavailable as error:
            log("response_not_kept", level=40, exc=error, request_id=self._request_id)

    async def _put(self, response: Mapping[str, Any], if_state: Sequence[str] | None, **more: Any) -> None:
        if self._created_at is not None:
            response = {**response, "created_at": self._created_at}
        body = {
            "object": "response",
            "response": response,
            "input": self._dialect.kept_items(self._body["input"], self.references, self._request_id),
            "chain": self._chain,
            "stored": self._refs.store,
            "expires_at": self._expires_at,
            **({"body_sha": self.body_sha} if self.body_sha else {}),
            **more,
        }
        document = KeptDocument(body, str(response["status"]))
        await self._store.put(self._acct, self.response_id, document, self._expires_at, if_state=if_state)


async def conversation_items(store: ResponseStore, acct: str, conversation: KeptDocument) -> Sequence[Item]:
    """All items of a conversation, oldest first. A response that was deleted leaves a gap, as its owner wanted, and so
    does an item that was."""
    entries, removed = conversation.body["entries"], conversation.body.get("removed", ())
    ids = [entry["response"] for entry in entries if "response" in entry]
    documents = await store.get(acct, ids)
    items: list[Item] = []
    for entry in entries:
        if "item" in entry:
            items.append(entry["item"])
        elif (document := documents.get(entry["response"])) is not None:
            items += _items_of(document)
    return [item for item in items if item.get("id") not in removed] if removed else items


async def append(store: ResponseStore, acct: str, conversation: str, *entries: Mapping[str, Any]) -> KeptDocument:
    """Adds entries at the end of a conversation; see `rewrite`."""
    seen: int | None = None

    def extended(body: Mapping[str, Any]) -> dict[str, Any]:
        nonlocal seen
        held = body["entries"]
        seen = len(held) if seen is None else seen
        # those that came since: a write of ours whose answer was lost, before another's
        return {**body, "entries": [*held, *(entry for entry in entries if entry not in held[seen:])]}

    return await rewrite(store, acct, conversation, extended)


async def remove_item(store: ResponseStore, acct: str, conversation: str, item_id: str) -> KeptDocument:
    """A conversation without an item of its own, or without sight of one that belongs to a kept response; see
    `rewrite`."""

    def without(body: Mapping[str, Any]) -> dict[str, Any]:
        entries = [entry for entry in body["entries"] if entry.get("item", {}).get("id") != item_id]
        return {**body, "entries": entries, "removed": [*body.get("removed", ()), item_id]}

    return await rewrite(store, acct, conversation, without)


async def rewrite(
    store: ResponseStore, acct: str, conversation: str, change: Callable[[Mapping[str, Any]], dict[str, Any]]
) -> KeptDocument:
    """Changes a conversation, whoever else writes. StoreConflict where it is gone or too busy."""
    for number in range(_TRIES):
        if number:  # one of those who tried at once was first: the others must not meet again
            pause = min(_PAUSE_S * 2**number, _LONGEST_PAUSE_S)
            await asyncio.sleep(random.random() * pause)  # noqa: S311 - spreads load, guards nothing
        document = (await store.get(acct, [conversation])).get(conversation)
        if document is None:
            break
        changed = KeptDocument(change(document.body), str(int(document.state) + 1))
        expires_at = int(document.body["expires_at"])
        try:
            await store.put(acct, conversation, changed, expires_at, if_state=[document.state])
        except StoreConflict:
            continue
        return changed
    raise StoreConflict("the conversation is gone or too busy")


def _items_of(document: KeptDocument) -> list[Item]:
    """What a kept response adds to a conversation: its input, then its output."""
    return [*document.body["input"], *document.body["response"]["output"]]


def _previous_not_found(message: str) -> GatewayError:
    return GatewayError("invalid_request", message, param="previous_response_id", reason=PREVIOUS_NOT_FOUND)


def unavailable(error: StoreUnavailable) -> GatewayError:
    return GatewayError("unavailable", "What is kept cannot be read or written now.", retry_after=error.retry_after)
