"""What the request side tells the renderer of the same chat completion."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct


class ChatOptions(Struct, frozen=True):
    """`Translation.options` of this dialect.

    `include_usage`: the stream ends with a usage chunk. `legacy_function_call`: the client speaks `functions`, so calls
    go back as `message.function_call`. `custom_tools`: the client's names of tools whose calls go back as
    `{"type": "custom", "custom": {name, input}}`, where `input` is the argument of that name. `images_as_field`:
    images go to `message.images` and not into the text as markdown. `audio_format`: `wav` or `pcm16` where the answer
    is sound, else None. `echo_metadata`: the client's `metadata`, to be repeated in the body. `show_reasoning`:
    thoughts were asked for. `logprobs`: they were asked for, and the model may give them. `mixed`: code that ran or
    pictures may stand among text that has sources.
    """

    include_usage: bool = False
    legacy_function_call: bool = False
    custom_tools: frozenset[str] = frozenset()
    images_as_field: bool = False
    audio_format: str | None = None
    echo_metadata: Mapping[str, Any] | None = None
    show_reasoning: bool = False
    logprobs: bool = False
    mixed: bool = False
