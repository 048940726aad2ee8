"""Errors in the words of the Responses API: the body of a refusal, and `error` of a response that failed later."""

from collections.abc import Mapping
from typing import Any

from shared.dialects.openai import errors as openai
from shared.errors import GatewayError

PREVIOUS_NOT_FOUND = "previous_response_not_found"

# What is not listed is the server's fault. Codex knows the last two besides the type's own codes.
_CODES: Mapping[str, str] = {
    "rate_limited": "rate_limit_exceeded",
    "concurrency_limited": "rate_limit_exceeded",
    "upstream_rate_limited": "rate_limit_exceeded",
    "content_blocked": "invalid_prompt",
    "invalid_request": "invalid_prompt",
    "budget_exhausted": "insufficient_quota",
    "upstream_quota": "insufficient_quota",
    "context_length_exceeded": "context_length_exceeded",
}


def response_error(error: GatewayError) -> dict[str, str]:
    """`{code, message}`; the wait stands in the message, where Codex reads it."""
    kind = f"upstream_{error.reason}" if error.kind == "upstream_interrupted" else error.kind
    code = _CODES.get(kind, "server_error")
    message = error.message
    if code == "rate_limit_exceeded" and error.retry_after is not None and "try again in" not in message:
        message = f"{message} Please try again in {error.retry_after:g}s."
    return {"code": code, "message": message}


def render_error(error: GatewayError, request_id: str) -> tuple[int, Mapping[str, Any], Mapping[str, str]]:
    """(status, body, headers) as in every dialect of OpenAI, with the one code of its own."""
    status, body, headers = openai.render_error(error, request_id)
    if error.reason == PREVIOUS_NOT_FOUND:
        body = {"error": {**body["error"], "code": PREVIOUS_NOT_FOUND}}
    return status, body, headers
