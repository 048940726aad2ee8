"""A key record as JSON, the form in which every registry backend keeps it and the control plane shows it."""

import json
from collections.abc import Mapping
from typing import Any

from shared.stores.protocols import KeyRecord

_PLAIN = (
    "kid",
    "acct",
    "hash",
    "pepper_id",
    "name",
    "owner",
    "status",
    "created_at",
    "not_before",
    "expires_at",
    "rpm",
    "rpm_burst",
    "tpm",
    "tpm_burst",
    "max_concurrency",
    "max_output_tokens",
    "allow_query_key",
    "replaced_by",
    "version",
)
_LISTS = ("models", "endpoints", "ip_allow")


def to_json(record: KeyRecord) -> dict[str, Any]:
    return {
        **{name: getattr(record, name) for name in _PLAIN},
        **{name: list(getattr(record, name)) for name in _LISTS},
        "budget": {"period": record.budget_period, "limit_nano": record.budget_limit_nano},
        "features": {"url_fetch": record.url_fetch, "code_exec": record.code_exec},
    }


def dumps(record: KeyRecord) -> str:
    """Compact, and without what equals its default: a standard parameter has room for 4,096 bytes."""
    defaults = to_json(KeyRecord(kid="", acct="", hash="", pepper_id=""))
    kept = {name: value for name, value in to_json(record).items() if value != defaults[name]}
    return json.dumps(kept, separators=(",", ":"), ensure_ascii=False)


def loads(text: str) -> KeyRecord:
    """Unknown members are of a newer version and ignored. ValueError where the text is no record."""
    value = json.loads(text)
    if not isinstance(value, dict):
        raise ValueError("a key record is a JSON object")  # noqa: TRY004 - the text is at fault, not the caller
    try:
        lists = {name: tuple(value[name]) for name in _LISTS if name in value}
        members: dict[str, Any] = {name: value[name] for name in _PLAIN if name in value}
        return KeyRecord(**members | lists | _nested(value))
    except TypeError as error:
        raise ValueError(f"incomplete key record: {error}") from error


def _nested(value: Mapping[str, Any]) -> dict[str, Any]:
    budget, features = value.get("budget") or {}, value.get("features") or {}
    found = {
        "budget_period": budget.get("period"),
        "budget_limit_nano": budget.get("limit_nano"),
        "url_fetch": features.get("url_fetch"),
        "code_exec": features.get("code_exec"),
    }
    return {name: item for name, item in found.items() if item is not None}
