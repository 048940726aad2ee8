"""One generateContent on its way, and how it goes upstream."""

from msgspec import Struct, field

from shared.dialects.gemini_native.framing import ArrayObjects, EventObjects, Splitter, WholeObject
from shared.gateway.request_media import RequestMedia
from shared.gemini.client import RelayCall
from shared.gemini.types import GenerateContentRequest
from shared.json_codec import encode


class NativeCall(Struct):
    """`stream`: its chunks are shown as they come, and as one answer else. `join` hides the hops of a long decode;
    `credential_id` names the credential whose stored objects the request uses; `echo_prefix` is cut where the answer
    begins with it."""

    request: GenerateContentRequest
    stream: bool
    sse: bool
    query: tuple[tuple[str, str], ...] = ()
    join: bool = True
    credential_id: str | None = None
    echo_prefix: str = ""
    media: RequestMedia | None = None  # what the gateway has to make ready first
    notes: list[str] = field(default_factory=list)  # filled in: what was changed after a refusal

    def relay(self, model_id: str, request: GenerateContentRequest) -> RelayCall:
        method = "streamGenerateContent" if self.stream else "generateContent"
        query = (*self.query, ("alt", "sse")) if self.stream and self.sse else self.query
        return RelayCall(f"models/{model_id}:{method}", encode(request), query=query, patient=not self.stream)

    def splitter(self) -> Splitter:
        if not self.stream:
            return WholeObject()
        return EventObjects() if self.sse else ArrayObjects()
