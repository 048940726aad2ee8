"""Thought signatures kept for clients that drop what they do not know."""

from collections.abc import Iterable, Mapping, Sequence

from shared.events import (
    BlockDelta,
    BlockEnd,
    BlockStart,
    End,
    Event,
    JsonObject,
    LooseSignature,
    ServerTool,
    ToolCall,
)
from shared.gateway.telemetry import log
from shared.gemini.catalog import ResolvedModel
from shared.gemini.signatures import FoundSignature, SignatureLookup, call_key, content_key, server_key, text_key
from shared.json_codec import encode_text
from shared.stores.protocols import SignatureStore, StoreUnavailable

_KEEP_S = 30 * 24 * 3600


class SignatureKeeper:
    """Recalls the signatures of a history and keeps those of its answer, scoped to one account. A store that fails
    costs quality, not the request: the translator then falls back to the documented dummy."""

    def __init__(self, store: SignatureStore, acct: str, model: ResolvedModel, now: int) -> None:
        self._store = store
        self._acct = acct
        self.family = model.capabilities.family
        self._expires_at = now + _KEEP_S

    async def recall(self, keys: Sequence[str]) -> SignatureLookup:
        if not keys:
            return {}
        try:
            return await self._store.get(self._acct, keys)
        except StoreUnavailable as error:
            log("signatures_unavailable", level=30, exc=error)
            return {}

    async def keep(self, items: Mapping[str, FoundSignature]) -> None:
        """Before the client can answer what they sign: its next turn must find them."""
        try:
            await self._store.put(self._acct, items, self._expires_at)
        except StoreUnavailable as error:
            log("signatures_not_kept", level=30, exc=error)


class Signed:
    """What one choice has signed: its calls, what the upstream's own tools did before them, and its visible text, whose
    signature may come anywhere."""

    def __init__(self, family: str) -> None:
        self._family = family
        self._blocks: set[int] = set()
        self._text: list[str] = []
        self._signature: str | None = None
        self._served: list[JsonObject] = []  # parts of the upstream's own tools since the last call

    def watch(self, events: Iterable[Event]) -> dict[str, FoundSignature]:
        """What is to be kept by now, for these events: signed calls, and at the end the signed text."""
        # exact types: a long stream has many events, and matching a class that is not theirs is slow
        items: dict[str, FoundSignature] = {}
        for event in events:
            if type(event) is BlockDelta:
                if event.index in self._blocks:
                    self._text.append(event.text)
            elif type(event) is BlockStart:
                if event.kind == "text":
                    self._blocks.add(event.index)
            elif type(event) is BlockEnd:
                if event.signature is not None and event.index in self._blocks:
                    self._signature = event.signature
            elif type(event) is LooseSignature:
                self._signature = event.signature
            elif type(event) is ToolCall:
                self._keep_call(event, items)
            elif type(event) is End and self._signature and (text := "".join(self._text)).strip():
                # not white space alone, which has one key for all texts of that kind
                items[text_key("", text)] = FoundSignature(self._signature, family=self._family)
            elif type(event) is ServerTool:
                self._served.append(event.part)
        return items

    def _keep_call(self, call: ToolCall, items: dict[str, FoundSignature]) -> None:
        """Under the public id, and under the content for clients that rewrite ids. Unsigned parallel calls keep their
        native id, which newer models want back, and the first the parts of the upstream's own tools before it."""
        if self._served:
            items[server_key(call.call_id)] = FoundSignature(encode_text(self._served), family=self._family)
            self._served = []
        if call.signature or call.native_id:
            found = FoundSignature(call.signature or "", call.native_id, call.name, self._family)
            items[call_key(call.call_id)] = found
            if call.signature:
                items[content_key("", call.name, call.args)] = found
