"""Anthropic Messages: `POST /v1/messages` and `POST /v1/messages/count_tokens`."""

from shared.dialects.anthropic_messages.errors import render_error
from shared.dialects.anthropic_messages.headers import limit_headers, reply_headers
from shared.dialects.anthropic_messages.reply import fold, renderer
from shared.dialects.anthropic_messages.request import (
    count_request,
    requested_model,
    signature_keys,
    to_gemini,
    wants_stream,
)
from shared.dialects.anthropic_messages.traits import client_traits
from shared.dialects.anthropic_messages.usage import count_body

NAME = "anthropic_messages"
TOOL_CALL_PREFIX = "toolu_"


__all__ = [
    "NAME",
    "TOOL_CALL_PREFIX",
    "client_traits",
    "count_body",
    "count_request",
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
