"""An account's state as pure data: how it begins, gains a key, and gets other limits under running counters."""

from collections.abc import Mapping
from typing import Any

from shared.stores.attributes import Item, encode_item, expressions
from shared.stores.dynamodb_admission import UNLIMITED_HOLDS, UNLIMITED_NANO, state_key
from shared.stores.protocols import AccountLimits, KeyRecord, KeyStatus


def open_put(table: str, record: KeyRecord, period: str) -> dict[str, Any]:
    """The state of a new account; refused where there is one."""
    limit = UNLIMITED_NANO if record.budget_limit_nano is None else record.budget_limit_nano
    state = {
        "status": "active",
        "kids": {record.kid: "active"},
        "avail": limit,
        "spent": 0,
        "spent_all": 0,
        "limit": limit,
        "period": period,
        "maxc": UNLIMITED_HOLDS if record.max_concurrency is None else record.max_concurrency,
        "holds": {},
        "v": 1,
    }
    item = {**state_key(record.acct), **encode_item(state)}
    return {"TableName": table, "Item": item, **expressions({"ConditionExpression": "attribute_not_exists(#pk)"}, {})}


def join_update(table: str, record: KeyRecord) -> dict[str, Any]:
    """One more key of an account; a status that was set stays."""
    parts = {"UpdateExpression": "SET #kids.#kid = if_not_exists(#kids.#kid, :active)"}
    return _on_state(table, record.acct, parts, {"active": "active"}, {"kid": record.kid})


def status_update(table: str, acct: str, kid: str, status: KeyStatus) -> dict[str, Any]:
    """Whoever revokes a key does so for ever: no other status that is on its way then arrives after it."""
    condition, values = "attribute_exists(#pk)", {"status": status}
    if status != "revoked":
        condition, values = f"{condition} AND NOT #kids.#kid = :revoked", {**values, "revoked": "revoked"}
    parts = {"UpdateExpression": "SET #kids.#kid = :status", "ConditionExpression": condition}
    return _on_state(table, acct, parts, values, {"kid": kid})


def limits_update(table: str, acct: str, state: Item, limits: AccountLimits, operation: str) -> dict[str, Any]:
    """What is available moves by exactly the difference of the limits, so that requests in flight keep their counters.

    `operation` names the change in the state: where the condition fails and the state has it, an answer was lost.
    """
    limit = UNLIMITED_NANO if limits.budget_limit_nano is None else limits.budget_limit_nano
    sets = [
        "#limit = :limit",
        "#avail = #avail + :delta",
        "#maxc = :maxc",
        "#v = #v + :one",
        "#op = :op",
    ]
    values: dict[str, Any] = {
        "limit": limit,
        "delta": limit - state["limit"],
        "maxc": UNLIMITED_HOLDS if limits.max_concurrency is None else limits.max_concurrency,
        "one": 1,
        "op": operation,
        "v": state["v"],
    }
    condition, held = "#v = :v", state["period"]
    if len(limits.period) != len(held):  # `all`, yyyymm or yyyymmdd: another kind, not a later one
        sets.append("#period = :period")
        values["period"] = limits.period
        if held.isdigit() and limits.day[: len(held)] > held:  # it is over: nothing was spent in the new one
            sets[1] = "#avail = #avail + #spent + :delta"
            sets.append("#spent = :zero")
            values |= {"zero": 0, "held": held}
            condition += " AND #period = :held"
    parts = {"UpdateExpression": "SET " + ", ".join(sets), "ConditionExpression": condition}
    return _on_state(table, acct, parts, values)


def _on_state(
    table: str, acct: str, parts: Mapping[str, str], values: Item, names: Mapping[str, str] | None = None
) -> dict[str, Any]:
    return {"TableName": table, "Key": state_key(acct), **expressions(parts, values, names)}
