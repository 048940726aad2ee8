"""Lists of items in pages, as OpenAI's clients turn them."""

from collections.abc import Mapping, Sequence
from typing import Any

from shared.errors import GatewayError

_DEFAULT, _MOST = 20, 100
_DIGITS = 9  # of a number; Python makes none of thousands


def page(items: Sequence[Mapping[str, Any]], query: Mapping[str, str]) -> dict[str, Any]:
    """One page of `items`, which are given oldest first; `order` is desc where the client does not say."""
    order = query.get("order", "desc")
    if order not in ("asc", "desc"):
        raise GatewayError("invalid_request", "Expected asc or desc.", param="order")
    limit = query.get("limit", str(_DEFAULT))
    if not limit.isdecimal() or len(limit) > _DIGITS or not 1 <= int(limit) <= _MOST:
        raise GatewayError("invalid_request", f"Expected a number between 1 and {_MOST}.", param="limit")
    listed = list(items) if order == "asc" else list(reversed(items))
    after = query.get("after")
    if after:
        places = [place for place, item in enumerate(listed) if item.get("id") == after]
        if not places:
            raise GatewayError("invalid_request", "No item has this id.", param="after")
        listed = listed[places[0] + 1 :]
    shown = listed[: int(limit)]
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0].get("id") if shown else None,
        "last_id": shown[-1].get("id") if shown else None,
        "has_more": len(listed) > len(shown),
    }
