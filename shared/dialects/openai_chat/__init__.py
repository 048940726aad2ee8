"""OpenAI Chat Completions: `POST /v1/chat/completions`."""

from collections.abc import Mapping

from shared.dialects.openai_chat.errors import render_error
from shared.dialects.openai_chat.reply import fold, renderer
from shared.dialects.openai_chat.request import requested_model, signature_keys, to_gemini, wants_stream

NAME = "openai_chat"
TOOL_CALL_PREFIX = "call_"


def reply_headers(elapsed_ms: int) -> Mapping[str, str]:
    return {
        "openai-version": "2020-10-01",
        "openai-organization": "gateway",
        "openai-processing-ms": str(elapsed_ms),
    }


__all__ = [
    "NAME",
    "TOOL_CALL_PREFIX",
    "fold",
    "render_error",
    "renderer",
    "reply_headers",
    "requested_model",
    "signature_keys",
    "to_gemini",
    "wants_stream",
]
