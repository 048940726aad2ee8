"""Model lists in Google's shape."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import GatewayError
from shared.gemini.catalog import ModelInfo, capabilities_of
from shared.json_codec import number_in

MAX_PAGE = 1000
_PAGE = 50


def resource(model: ModelInfo, shown_id: str | None = None) -> dict[str, Any]:
    """One `Model`; `shown_id` is the name that a client asked for where that is an alias."""
    caps = capabilities_of(model.id)
    methods = list(model.methods)
    if "generateContent" in methods and caps.streams:
        methods.insert(1, "streamGenerateContent")
    row: dict[str, Any] = {
        "name": f"models/{shown_id or model.id}",
        "baseModelId": model.id,
        "version": "001",
        "displayName": model.display_name,
        "description": model.display_name,
        "inputTokenLimit": model.input_limit,
        "outputTokenLimit": model.output_limit,
        "supportedGenerationMethods": methods,
    }
    if "generateContent" in methods:
        row |= {"temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2}
        if caps.thinking != "none":
            row["thinking"] = True
    return row


def page(rows: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """`pageSize` (default 50, at most 1000) rows from `pageToken` on, which is the position of the first."""
    size = min(_number(query, "pageSize", "page_size") or _PAGE, MAX_PAGE)
    start = _number(query, "pageToken", "page_token")
    if start > len(rows):
        raise _refused("page_token")
    body: dict[str, Any] = {"models": list(rows[start : start + size])}
    if start + size < len(rows):
        body["nextPageToken"] = str(start + size)
    return body


def _number(query: Mapping[str, str], *names: str) -> int:
    text = next((query[name] for name in names if query.get(name)), "0")
    number = number_in(text)
    if number is None:
        raise _refused(names[-1])
    return number


def _refused(param: str) -> GatewayError:
    return GatewayError("invalid_request", "Request contains an invalid argument.", param=param)
