"""Thought signatures kept for clients that drop what they do not know."""

from collections.abc import Iterable, Sequence

from shared.events import BlockDelta, BlockEnd, BlockStart, End, Event, LooseSignature, ToolCall
from shared.gateway.telemetry import log
from shared.gemini.catalog import ResolvedModel
from shared.gemini.signatures import FoundSignature, SignatureLookup, call_key, content_key, text_key
from shared.stores.protocols import SignatureStore, StoreUnavailable

_KEEP_S = 30 * 24 * 3600


class SignatureKeeper:
    """Recalls the signatures of a history and keeps those of its answer, scoped to one account. A store that fails
    costs quality, not the request: the translator then falls back to the documented dummy."""

    def __init__(self, store: SignatureStore, acct: str, model: ResolvedModel, now: int) -> None:
        self._store = store
        self._acct = acct
        self._family = model.capabilities.family
        self._expires_at = now + _KEEP_S

    async def recall(self, keys: Sequence[str]) -> SignatureLookup:
        if not keys:
            return {}
        try:
            return await self._store.get(self._acct, keys)
        except StoreUnavailable as error:
            log("signatures_unavailable", level=30, exc=error)
            return {}

    async def keep_calls(self, calls: Iterable[ToolCall]) -> None:
        """Under the public id, and under the content for clients that rewrite ids. Unsigned parallel calls keep their
        native id, which newer models want back."""
        items: dict[str, FoundSignature] = {}
        for call in calls:
            if call.signature or call.native_id:
                found = FoundSignature(call.signature or "", call.native_id, call.name, self._family)
                items[call_key(call.call_id)] = found
                if call.signature:
                    items[content_key("", call.name, dict(call.args))] = found
        if items:
            await self._put(items)

    async def keep_text(self, text: str, signature: str) -> None:
        await self._put({text_key("", text): FoundSignature(signature, family=self._family)})

    async def _put(self, items: dict[str, FoundSignature]) -> None:
        try:
            await self._store.put(self._acct, items, self._expires_at)
        except StoreUnavailable as error:
            log("signatures_not_kept", level=30, exc=error)


class SignedText:
    """Gathers one choice's visible text and the signature it ends with."""

    def __init__(self) -> None:
        self._blocks: set[int] = set()
        self._text: list[str] = []
        self.signature: str | None = None

    def watch(self, events: Iterable[Event]) -> bool:
        """Whether there is something to keep now: calls among the events, or the end of what was signed."""
        due = False
        for event in events:
            match event:
                case BlockDelta():
                    if event.index in self._blocks:
                        self._text.append(event.text)
                case BlockStart(kind="text"):
                    self._blocks.add(event.index)
                case BlockEnd(signature=str()) if event.index in self._blocks:
                    self.signature = event.signature
                case LooseSignature():
                    self.signature = event.signature
                case ToolCall() | End():
                    due = True
        return due

    @property
    def text(self) -> str:
        return "".join(self._text)
