"""Where the shared vocabulary speaks of the chat form, the client must read of its own body."""

import re
from collections.abc import Sequence

from shared.dialects.openai_responses.items import KEPT
from shared.errors import GatewayError

_NAMES = {
    "max_completion_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "include_reasoning": "reasoning.summary",
    "response_format": "text.format",
    "messages": "input",
    "modalities": "tools",
    "image_config": "tools",
    "logprobs": "top_logprobs",
}
_TOOL = r"tools\[(\d+)\](?:\.(?:custom|function)(?=\.|$))?(.*)"


def kept_path(param: str) -> str:
    """What is kept has no path in the body: the member that it came by stands for all of it."""
    head = re.split(r"[.\[]", param, maxsplit=1)[0]
    return head if head in KEPT else param


def client_path(param: str, tools: Sequence[str], outputs: Sequence[str]) -> str:
    """The JSON path in the client's body. `tools` are the paths of the shaped tools, `outputs` those of results."""
    if (tool := re.fullmatch(_TOOL, param)) and int(tool[1]) < len(tools):
        return kept_path(tools[int(tool[1])] + tool[2])
    if (kept := kept_path(param)) in KEPT:
        return kept
    for where in outputs:
        if param.startswith(f"{where}."):
            return (
                re.sub(r"^\.content", ".output", param[len(where) :])
                .replace(".tool_call_id", ".call_id")
                .join((where, ""))
            )
    head, dot, rest = param.partition(".")
    return _NAMES.get(head, head) + dot + rest


def in_client_words(error: GatewayError, tools: Sequence[str], outputs: Sequence[str]) -> GatewayError:
    if error.param is not None:
        error.param = client_path(error.param, tools, outputs)
    return error
