"""The list of models as one superset of OpenAI's and Anthropic's rows: both clients call the same path."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.errors import GatewayError
from shared.gemini.catalog import ModelInfo, capabilities_of
from shared.json_codec import number_in

# Claude Code keeps only ids that begin with `claude`: these names resolve back to the Gemini ids behind them
DISCOVERY_PREFIX = "claude-"
MAX_PAGE = 1000


def row(model: ModelInfo, shown_id: str | None = None) -> dict[str, Any]:
    """Every field that either SDK's type requires; `created` and `created_at` are the epoch where no date is known."""
    return {
        "id": shown_id or model.id,
        "object": "model",
        "type": "model",
        "created": model.created,
        "created_at": datetime.fromtimestamp(model.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "display_name": model.display_name,
        "owned_by": "google",
        "lifecycle": "active",
        "max_input_tokens": model.input_limit,
        "max_tokens": model.output_limit,
    }


def discovery_rows(models: Sequence[ModelInfo]) -> list[dict[str, Any]]:
    """The models that write, again, under names that Claude Code shows."""
    return [row(model, DISCOVERY_PREFIX + model.id) for model in models if _writes(model)]


def _writes(model: ModelInfo) -> bool:
    if "generateContent" not in model.methods or not model.id.startswith("gemini-"):
        return False
    return capabilities_of(model.id).modalities != ("AUDIO",)


def page(rows: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """All rows, or Anthropic's page of them where the query holds `limit`, `after_id` or `before_id`."""
    chosen = [item for item in rows if query.get("lifecycle", "active") in ("active", "all")]
    ids = [item["id"] for item in chosen]
    start, end = 0, len(chosen)
    if after := query.get("after_id"):
        start = _position(ids, after, "after_id") + 1
    if before := query.get("before_id"):
        end = _position(ids, before, "before_id")
    limit = _limit(query.get("limit"), len(chosen))
    # counted from the end where only `before_id` is given
    first = max(start, end - limit) if before and not after else start
    shown = chosen[first : min(end, first + limit)]
    more = first > start if before and not after else first + limit < end
    return {
        "object": "list",
        "data": shown,
        "has_more": more,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def _position(ids: Sequence[str], wanted: str, param: str) -> int:
    try:
        return ids.index(wanted)
    except ValueError:
        raise GatewayError("invalid_request", "There is no such model.", param=param) from None


def _limit(text: str | None, default: int) -> int:
    if text is None:
        return max(default, 1)
    limit = number_in(text)
    if limit is None or not 1 <= limit <= MAX_PAGE:
        raise GatewayError("invalid_request", f"must be a number from 1 to {MAX_PAGE}.", param="limit")
    return limit
