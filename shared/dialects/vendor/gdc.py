"""`POST /v1/projects/{project}/locations/{location}/chat/completions`: Gemini on Google Distributed Cloud.

The body is OpenAI's with the model also as `model_id` and with media parts of its own (`audio_url`, `input_video`,
`document_url`, ...), all of which `openai_chat` reads on every path; paths into a bucket are refused. The two path
segments authorise nothing. OpenAI dialect reference, "Vendor variants".
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

NAME = "gdc"

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
