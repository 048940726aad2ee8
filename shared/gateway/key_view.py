"""A key record as operators and holders see it: everything but what nobody needs to see."""

from typing import Any

from shared.gateway.money import usd
from shared.stores import key_records
from shared.stores.protocols import KeyRecord

_SECRET = ("hash", "pepper_id")


def shown(record: KeyRecord) -> dict[str, Any]:
    """The record without hash and pepper; its budget in USD too. Times are epoch seconds."""
    value = {name: item for name, item in key_records.to_json(record).items() if name not in _SECRET}
    limit = record.budget_limit_nano
    value["budget"] = {**value["budget"], "limit_usd": None if limit is None else usd(limit)}
    return value
