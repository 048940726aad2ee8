"""OpenAI's errors as its media endpoints write them: a refused picture has a type and codes of its own."""

from collections.abc import Mapping
from typing import Any, Final

from shared.dialects.openai import errors as openai
from shared.errors import GatewayError
from shared.json_codec import encode
from shared.sse import frame

# reasons of an `invalid_request` that says why there is no picture
MODERATED: Final = "moderation_blocked"
NO_PICTURE: Final = "image_generation_user_error"


def error_body(error: GatewayError, request_id: str) -> dict[str, Any]:
    body = openai.error_body(error, request_id)
    if error.kind == "invalid_request" and error.reason in (MODERATED, NO_PICTURE):
        body["error"] |= {"type": NO_PICTURE, "code": error.reason}
    return body


def render_error(error: GatewayError, request_id: str) -> tuple[int, Mapping[str, Any], Mapping[str, str]]:
    """(status, body, headers) of an answer that is an error."""
    status, _, headers = openai.render_error(error, request_id)
    return status, error_body(error, request_id), headers


def error_frame(error: GatewayError, request_id: str) -> bytes:
    """The last frame of a stream that broke: the SDKs raise at an `error` member."""
    return frame(encode(error_body(error, request_id)))
