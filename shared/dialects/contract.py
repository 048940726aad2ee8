"""What every dialect is to the gateway: the same verbs, all pure.

A dialect is a package whose module satisfies `Dialect`. It turns a client's body into one Gemini request plus what the
gateway must do around the call (`Translation`), and turns reply events into the client's frames (`Renderer`).
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, Protocol

from msgspec import Struct, field

from shared.errors import GatewayError
from shared.events import Event, Usage
from shared.gemini.catalog import ResolvedModel
from shared.gemini.signatures import SignatureLookup
from shared.gemini.types import GenerateContentRequest
from shared.limit_state import LimitState

Body = Mapping[str, Any]
Item = Mapping[str, Any]
Seal = Callable[[bytes], str]
Unseal = Callable[[str], bytes | None]


class RequestContext(Struct, frozen=True):
    """What a translator may know of the world besides the body."""

    model: ResolvedModel
    signatures: SignatureLookup
    strict: bool = False  # 400 instead of ignoring what Gemini lacks
    safety_off: bool = False  # the default of safety settings where the client names none
    max_output_tokens: int | None = None  # the key's own ceiling
    api_version: str = ""  # the client's `anthropic-version`
    strict_version: bool = False  # hold the client to the rules of that version
    fast_as_priority: bool = False  # `speed: fast` may cost what the upstream's priority tier costs
    history: Sequence[Item] = ()  # of a dialect with state: what came before the body, oldest first
    references: Mapping[str, Item] = field(default_factory=dict)  # kept items that the body names by their ids
    unseal: Unseal | None = None  # opens what `ReplyContext.seal` made for the same account; None for anything else


class Translation(Struct):
    """One client request as the gateway carries it out.

    `warnings` are `code:detail` items for `x-gateway-warnings`. `tool_names` maps a wire name to the client's where
    they differ; `declared_tools` holds every wire name. `stop` are the sequences the gateway must find itself.
    `options` is the dialect's own note to its renderer.
    """

    request: GenerateContentRequest
    stream: bool = False
    choices: int = 1
    warnings: list[str] = field(default_factory=list)
    tool_names: dict[str, str] = field(default_factory=dict)
    declared_tools: frozenset[str] = frozenset()
    single_call: bool = False
    stop: tuple[str, ...] = ()
    echo_prefix: str = ""  # text of a trailing assistant turn that the answer may repeat
    unfence_json: bool = False  # JSON was asked for by prompt only: strip code fences
    prompt_only: bool = False  # the client wants no output: the prompt is counted and nothing generated
    options: Any = None


class ReplyContext(Struct, frozen=True):
    """What a renderer may know: ids and times come from the gateway, so that rendering stays pure."""

    request_id: str
    created: int  # epoch seconds
    requested_model: str
    seal: Seal | None = None  # encrypts and authenticates what a client carries for us
    shown_id: str = ""  # the id that the client was told; empty: `request_id`
    clock: Callable[[], int] | None = None  # epoch seconds; None: time stands still

    @property
    def now(self) -> int:
        return self.created if self.clock is None else self.clock()

    @property
    def error_id(self) -> str:
        return self.shown_id or self.request_id


class Renderer(Protocol):
    """A stream of frames for one client answer; `choice` is the index of the candidate an event belongs to."""

    def feed(self, event: Event, choice: int = 0) -> bytes: ...

    def close(self, usage: Usage) -> bytes:
        """After the `End` of every choice; `usage` is the sum over them."""

    def fail(self, error: GatewayError) -> bytes:
        """The terminal frames of a stream that broke after its first byte."""

    def heartbeat(self) -> bytes: ...


class Dialect(Protocol):
    """The verbs of a dialect package. `fold` makes the buffered body: one list of events per choice."""

    NAME: str
    TOOL_CALL_PREFIX: str

    def requested_model(self, body: Body) -> str: ...

    def wants_stream(self, body: Body) -> bool: ...

    def signature_keys(self, body: Body) -> Sequence[str]: ...

    def to_gemini(self, body: Body, context: RequestContext) -> Translation: ...

    def renderer(self, translation: Translation, reply: ReplyContext) -> Renderer: ...

    def fold(
        self, choices: Sequence[Iterable[Event]], translation: Translation, reply: ReplyContext, usage: Usage
    ) -> Mapping[str, Any]: ...

    def render_error(self, error: GatewayError, request_id: str) -> tuple[int, Mapping[str, Any], Mapping[str, str]]:
        """(status, body, headers)."""

    def reply_headers(self, request_id: str, elapsed_ms: int) -> Mapping[str, str]:
        """Headers that every answer of this dialect carries."""

    def limit_headers(self, limits: LimitState, now: int) -> Mapping[str, str]:
        """The state of the key's limits in this dialect's headers; nothing for what is unlimited. `now` in seconds."""


class CountingDialect(Dialect, Protocol):
    """A dialect whose clients can ask for a count of tokens."""

    def count_request(self, body: Body, context: RequestContext) -> GenerateContentRequest: ...

    def count_body(self, tokens: int) -> Mapping[str, Any]: ...


class TellingDialect(Dialect, Protocol):
    """A dialect whose clients say who they are."""

    def client_traits(self, headers: Mapping[bytes, bytes], body: Body) -> Mapping[str, str]:
        """For the log; free text that authorises nothing. `headers` by lower-case name."""


class StateRefs(Struct, frozen=True):
    """What a body of a dialect with state asks of the store. Ids are the client's words, to be checked.

    `items` are ids of single kept items; `store`: the answer is to be kept; `background`: it is made without the
    client waiting for it.
    """

    previous: str | None = None
    conversation: str | None = None
    items: tuple[str, ...] = ()
    store: bool = False
    background: bool = False


class StatefulRenderer(Renderer, Protocol):
    @property
    def final(self) -> Mapping[str, Any] | None:
        """The whole response object, once the stream has come to its terminal frame."""


class StatefulDialect(CountingDialect, Protocol):
    """A dialect whose answers can be kept and built upon. A kept answer is whole; a client sees what it asked for."""

    def state_refs(self, body: Body) -> StateRefs: ...

    def kept_items(self, given: Any, references: Mapping[str, Item], request_id: str) -> list[dict[str, Any]]:
        """The input of an accepted body as it is kept, each item with an id."""

    def check_items(self, given: Sequence[Any], where: str) -> None:
        """Refuses items that no body could build upon; `where` is their JSON path. A body's own input is checked when
        it is translated."""

    def read_metadata(self, body: Body) -> Mapping[str, str]: ...

    def response_of_item(self, item_id: str) -> str | None: ...

    def renderer(self, translation: Translation, reply: ReplyContext) -> StatefulRenderer: ...

    def fold_whole(
        self, choices: Sequence[Iterable[Event]], translation: Translation, reply: ReplyContext, usage: Usage
    ) -> Mapping[str, Any]: ...

    def shown(self, whole: Mapping[str, Any], translation: Translation) -> Mapping[str, Any]: ...

    def visible_response(self, response: Mapping[str, Any], include: Collection[str]) -> Mapping[str, Any]: ...

    def queued(self, body: Body, reply: ReplyContext) -> Mapping[str, Any]: ...

    def failed(self, response: Mapping[str, Any], error: GatewayError) -> Mapping[str, Any]: ...

    def seal_summary(self, text: str, seal: Seal) -> str: ...
