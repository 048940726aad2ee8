"""`/v1beta/openai/...`: the prefix under which Google itself speaks OpenAI's language, served by our own dialect.

Requests written for Google's endpoint work as they are: `extra_body: {"google": {...}}` in both wire shapes, ids with
`models/`, signatures in `extra_content.google`. What Google's lacks, this has: `tool_calls` as the finish reason of a
stream too, an index and an id on every streamed call, one usage chunk and only when asked, OpenAI's fields without a
400, OpenAI's error object. Gemini API reference, "Google's OpenAI endpoint".
"""

from shared.dialects.openai_chat import (
    TOOL_CALL_PREFIX,
    fold,
    limit_headers,
    render_error,
    renderer,
    reply_headers,
    requested_model,
    signature_keys,
    to_gemini,
    wants_stream,
)

NAME = "google_compat"

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
