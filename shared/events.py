"""The reply vocabulary: what an upstream answer says, freed of wire shapes.

`gemini.reader` makes these events, every dialect's `Renderer` turns them into its own frames, and a buffered reply is
a fold over the same events. One event stream is one candidate. Order: `Start`, then blocks in the order the model
produced them, then `Citation`s, then exactly one `End`. A failure is no event: it is a `GatewayError` that ends the
stream early.
"""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field

JsonObject = Mapping[str, Any]

BlockKind = Literal["text", "reasoning"]

Finish = Literal[
    "stop",
    "length",
    "continuation",  # a long decode that was not continued any further
    "blocked",  # a policy of the upstream stopped the prompt or the answer
    "no_output",  # ended without saying why: OTHER, LANGUAGE, NO_IMAGE, an unknown reason
    "fault",  # the model failed: malformed call, missing signature, ...
    "account",  # the upstream disabled the project
]


class Usage(Struct, frozen=True):
    """Tokens of one upstream call, or the sum of several. All counts are >= 0.

    `prompt_tokens` holds the cached ones; `output_tokens` does not hold `reasoning_tokens`. Modality maps are keyed by
    the upstream's words (TEXT, IMAGE, AUDIO, VIDEO, DOCUMENT) and may be empty. `estimated` marks counts that the
    upstream did not give.
    """

    prompt_tokens: int = 0
    cached_tokens: int = 0
    tool_use_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    search_queries: int = 0
    map_queries: int = 0  # of answers that Maps alone grounds
    prompt_modalities: Mapping[str, int] = field(default_factory=dict)
    cached_modalities: Mapping[str, int] = field(default_factory=dict)
    output_modalities: Mapping[str, int] = field(default_factory=dict)
    service_tier: str = ""
    estimated: bool = False

    @property
    def input_total(self) -> int:
        return self.prompt_tokens + self.tool_use_tokens

    @property
    def output_total(self) -> int:
        return self.output_tokens + self.reasoning_tokens

    def __add__(self, other: "Usage") -> "Usage":
        """The sum over several upstream calls: hops of a long decode, a fan-out."""
        return Usage(
            self.prompt_tokens + other.prompt_tokens,
            self.cached_tokens + other.cached_tokens,
            self.tool_use_tokens + other.tool_use_tokens,
            self.output_tokens + other.output_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
            self.search_queries + other.search_queries,
            self.map_queries + other.map_queries,
            _sums(self.prompt_modalities, other.prompt_modalities),
            _sums(self.cached_modalities, other.cached_modalities),
            _sums(self.output_modalities, other.output_modalities),
            other.service_tier or self.service_tier,
            self.estimated or other.estimated,
        )


def _sums(mine: Mapping[str, int], theirs: Mapping[str, int]) -> Mapping[str, int]:
    if not mine or not theirs:
        return mine or theirs
    return {name: mine.get(name, 0) + theirs.get(name, 0) for name in {**mine, **theirs}}


class Start(Struct, frozen=True):
    """The first chunk arrived. `model_version` is the model that runs, without `models/`. Both may be empty. `usage`
    is what that chunk counted, if it did: provisional, the last chunk's counts are the true ones."""

    response_id: str
    model_version: str
    usage: Usage | None = None


class BlockStart(Struct, frozen=True):
    index: int
    kind: BlockKind


class BlockDelta(Struct, frozen=True):
    """New text only, never empty."""

    index: int
    text: str


class BlockEnd(Struct, frozen=True):
    """`signature` is the upstream's opaque base64 for this text, where it sent one."""

    index: int
    signature: str | None = None


class ToolCall(Struct, frozen=True):
    """A whole function call. `name` is the upstream's until the gateway restores the client's; `call_id` is the public
    id (at most 40 characters), empty until the gateway gives it one."""

    index: int
    name: str
    args: JsonObject
    native_id: str | None = None
    signature: str | None = None
    call_id: str = ""


class Media(Struct, frozen=True):
    """An image or sound made by the model: `data` is standard base64 with padding."""

    index: int
    mime_type: str
    data: str
    signature: str | None = None


class Draft(Media, frozen=True):
    """A picture among the model's thoughts, on the way to the final one; only for who asks the reader for drafts."""


class Code(Struct, frozen=True):
    """Code that the upstream's own interpreter ran."""

    index: int
    language: str
    code: str
    native_id: str | None = None
    signature: str | None = None


class CodeResult(Struct, frozen=True):
    index: int
    outcome: str
    output: str
    native_id: str | None = None
    signature: str | None = None


class ServerTool(Struct, frozen=True):
    """A `toolCall` or `toolResponse` part of a tool that the upstream ran itself, as it came, signature included."""

    index: int
    part: JsonObject


class LooseSignature(Struct, frozen=True):
    """A signature on an empty part with no open text block to carry it."""

    signature: str


class Logprobs(Struct, frozen=True):
    """One upstream chunk's `logprobsResult`: chosen tokens and, per token, the likeliest alternatives."""

    chosen: tuple[JsonObject, ...]
    top: tuple[tuple[JsonObject, ...], ...]


class Citation(Struct, frozen=True):
    """A source of a stretch of the visible text; `start` and `end` count characters of all visible text so far."""

    start: int
    end: int
    url: str
    title: str


class End(Struct, frozen=True):
    """The answer is complete. `reason` is the upstream's own word. `metadata` holds what only extensions can show:
    groundingMetadata, citationMetadata, urlContextMetadata, safetyRatings, as they came."""

    finish: Finish
    reason: str
    usage: Usage
    message: str | None = None
    prompt_blocked: bool = False
    stop_sequence: str | None = None  # set where the gateway itself found the client's stop sequence
    metadata: JsonObject = field(default_factory=dict)


Event = (
    Start
    | BlockStart
    | BlockDelta
    | BlockEnd
    | ToolCall
    | Media
    | Code
    | CodeResult
    | ServerTool
    | LooseSignature
    | Logprobs
    | Citation
    | End
)
