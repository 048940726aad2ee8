"""OpenAI Chat Completions: `POST /v1/chat/completions`."""

from shared.dialects.openai.errors import render_error
from shared.dialects.openai.headers import limit_headers, reply_headers
from shared.dialects.openai_chat.reply import fold, renderer
from shared.dialects.openai_chat.request import requested_model, signature_keys, to_gemini, wants_stream

NAME = "openai_chat"
TOOL_CALL_PREFIX = "call_"


__all__ = [
    "NAME",
    "TOOL_CALL_PREFIX",
    "fold",
    "limit_headers",
    "render_error",
    "renderer",
    "reply_headers",
    "requested_model",
    "signature_keys",
    "to_gemini",
    "wants_stream",
]
