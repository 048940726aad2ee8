"""OpenAI Responses: `POST /v1/responses` and what stands around it."""

from shared.dialects.openai.headers import limit_headers, reply_headers
from shared.dialects.openai_responses.echo import visible_response
from shared.dialects.openai_responses.encrypted import seal_summary
from shared.dialects.openai_responses.errors import render_error
from shared.dialects.openai_responses.items import check_items, kept_items, response_of_item
from shared.dialects.openai_responses.reply import failed, fold, fold_whole, queued, renderer, shown
from shared.dialects.openai_responses.request import (
    count_body,
    count_request,
    read_metadata,
    requested_model,
    signature_keys,
    state_refs,
    to_gemini,
    wants_stream,
)

NAME = "openai_responses"
TOOL_CALL_PREFIX = "call_"

__all__ = [
    "NAME",
    "TOOL_CALL_PREFIX",
    "check_items",
    "count_body",
    "count_request",
    "failed",
    "fold",
    "fold_whole",
    "kept_items",
    "limit_headers",
    "queued",
    "read_metadata",
    "render_error",
    "renderer",
    "reply_headers",
    "requested_model",
    "response_of_item",
    "seal_summary",
    "shown",
    "signature_keys",
    "state_refs",
    "to_gemini",
    "visible_response",
    "wants_stream",
]
