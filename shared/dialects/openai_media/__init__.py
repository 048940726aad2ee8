"""OpenAI's media endpoints: embeddings, images, speech, transcriptions and translations.

Unlike the chat dialects each endpoint has its own verbs, one module per endpoint: a body becomes a frozen job with the
Gemini request in it, and events become a body, bytes or a stream. What every dialect shares with the router is here.
"""

from shared.dialects.openai.headers import limit_headers, reply_headers
from shared.dialects.openai_media.errors import render_error

NAME = "openai_media"
TOOL_CALL_PREFIX = "call_"

__all__ = ["NAME", "TOOL_CALL_PREFIX", "limit_headers", "render_error", "reply_headers"]
