"""What the request side tells the renderer of the same message."""

from msgspec import Struct

from shared.dialects.anthropic_messages.estimate import estimate_tokens
from shared.gemini.types import GenerateContentRequest


class MessagesOptions(Struct, frozen=True):
    """`Translation.options` of this dialect.

    `thinking_asked`: `thinking.type` is `enabled` or `adaptive`, so signatures travel in thinking blocks.
    `show_thinking`: their text may be shown too (display is not `omitted`). `family`: the `Capabilities.family` of the
    model that answers, for envelopes. `server_tools`: the server tools that were declared and are served, among
    `web_search`, `web_fetch` and `code_execution`. `only_server_tools`: no function tool stands beside them.
    `blocked_domains`: hosts, in lower case, whose search results must not be shown. `speed`: the mode that really
    serves where the client sent `speed`, else None. `prompt`: what is to be estimated where the answer starts before
    the upstream has counted.
    """

    thinking_asked: bool = False
    show_thinking: bool = False
    family: str = ""
    server_tools: frozenset[str] = frozenset()
    only_server_tools: bool = False
    blocked_domains: tuple[str, ...] = ()
    speed: str | None = None
    prompt: GenerateContentRequest | None = None

    @property
    def input_estimate(self) -> int:
        """In tokens. Made when asked for, which is seldom: it walks the whole prompt."""
        return estimate_tokens(self.prompt) if self.prompt is not None else 0
