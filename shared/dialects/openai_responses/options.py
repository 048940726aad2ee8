"""What the request side tells the renderer of the same response."""

from collections.abc import Mapping
from typing import Any, Literal

from msgspec import Struct, field

ToolForm = Literal["function", "custom", "local_shell", "shell", "apply_patch"]


class ToolKind(Struct, frozen=True):
    """How a call of a tool goes back: the form of its item, and the client's own name where tools of a namespace were
    declared under a longer one."""

    form: ToolForm = "function"
    name: str = ""
    namespace: str | None = None


class ResponseOptions(Struct, frozen=True):
    """`Translation.options` of this dialect.

    `echo`: members of the response object that repeat the request. `include`: the client's list of further members.
    `show_reasoning`: summaries of thoughts were asked for. `kinds`: by the name that a call comes back under; a tool
    that is not listed is a function. `family`: of the model, which alone can read its signatures. `transformations`:
    what of the input was left out, in OpenAI's words.
    """

    echo: Mapping[str, Any] = field(default_factory=dict)
    include: frozenset[str] = frozenset()
    show_reasoning: bool = False
    logprobs: bool = False
    kinds: Mapping[str, ToolKind] = field(default_factory=dict)
    family: str = ""
    transformations: tuple[Mapping[str, Any], ...] = ()
    service_tier: str | None = None
