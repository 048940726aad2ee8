"""Settlements as items and transactions: the request row, the daily aggregate, the state update, the adjustment."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from shared.stores.attributes import Item, encode, encode_item, expressions
from shared.stores.dynamodb_admission import state_key
from shared.stores.gcra import token_cost_us
from shared.stores.protocols import Settlement

ROW_DAYS = 90
PROJECT = "p#"  # before the project's id: the attribute of an aggregate that holds the project's part of the cost
_COUNTED = ("in_tok", "cache_tok", "out_tok", "think_tok", "cost_nano")
_IF_NEW = expressions({"ConditionExpression": "attribute_not_exists(#pk)"}, {})
_BOOKED = "REMOVE #holds.#rid SET #avail = #avail + :rest, #spent = #spent + :actual, #spent_all = #spent_all + :actual"
_TOKENS_BACK = ", #tat_t = if_not_exists(#tat_t, :back) - :back"
_IF_HELD = "#holds.#rid.#n = :nonce"


def row_key(rid: str, sk: str = "R") -> dict[str, Any]:
    return {"pk": {"S": f"R#{rid}"}, "sk": {"S": sk}}


def row_of(settlement: Settlement) -> dict[str, Any]:
    """The request row. It names what was asked and what it cost, never a word of the prompt or the answer."""
    return {
        "pk": f"R#{settlement.rid}",
        "sk": "R",
        "gsi1pk": f"A#{settlement.acct}#{settlement.day}",
        "gsi1sk": f"{settlement.ts_ms}#{settlement.rid}",
        **_facts(settlement),
    }


def _facts(settlement: Settlement) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "acct": settlement.acct,
        "kid": settlement.kid,
        "ts": settlement.ts_ms,
        "day": settlement.day,
        "model": settlement.model,
        "model_ver": settlement.model_version,
        "dialect": settlement.dialect,
        "endpoint": settlement.endpoint,
        "stream": settlement.stream,
        "http": settlement.status,
        "finish": settlement.finish_reason,
        "in_tok": settlement.input_tokens,
        "cache_tok": settlement.cached_tokens,
        "out_tok": settlement.output_tokens,
        "think_tok": settlement.reasoning_tokens,
        "modal": settlement.modalities,
        "cost_nano": settlement.cost_nano,
        "price_ver": settlement.price_version,
        "est": settlement.estimate_nano,
        "st": settlement.state,
        "estimated": settlement.estimated,
        "dur_ms": settlement.duration_ms,
        "up_req_id": settlement.upstream_response_id,
        "key_slot": settlement.credential_id,
        "attempts": settlement.attempts,
        "ttl": settlement.ts_ms // 1000 + ROW_DAYS * 86_400,
    }
    if settlement.ttft_ms is not None:
        facts["ttft_ms"] = settlement.ttft_ms
    if settlement.projects:
        facts["projects"] = settlement.projects
    if settlement.body_sha is not None:
        facts["body_sha"] = settlement.body_sha
    return facts


def is_error(row: Item) -> bool:
    """A lost request counts as an error: nobody knows what its client got."""
    return bool(row["http"] >= 400 or row["st"] == "lost")


def settle_transaction(table: str, settlement: Settlement, *, hold: bool) -> dict[str, Any]:
    """Row, state and aggregate together. The token holds for ten minutes, the conditions for ever.

    Without a hold (the admission failed open, or its state was lost) the whole cost is taken from what is available.
    """
    row = row_of(settlement)
    put = {
        "TableName": table,
        "Item": encode_item(row),
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        **_IF_NEW,
    }
    deltas = {name: row[name] for name in _COUNTED} | {"n": 1, "err": int(is_error(row))} | _by_project(row)
    state = _state_with_hold(table, settlement) if hold else _state_without_hold(table, settlement)
    return {
        # rid + state is at most 26 + 9 characters of the 36 allowed; the other body needs another token
        "ClientRequestToken": f"{settlement.rid}{settlement.state}{'' if hold else '-'}",
        "TransactItems": [{"Put": put}, {"Update": state}, {"Update": _aggregate(table, row, deltas)}],
    }


def _state_with_hold(table: str, settlement: Settlement) -> dict[str, Any]:
    parts = {"UpdateExpression": _BOOKED, "ConditionExpression": _IF_HELD}
    values = {
        "rest": settlement.estimate_nano - settlement.cost_nano,
        "actual": settlement.cost_nano,
        "nonce": settlement.nonce,
    }
    if settlement.tpm:
        used = settlement.input_tokens + settlement.output_tokens
        values["back"] = token_cost_us(settlement.estimate_tokens, settlement.tpm) - token_cost_us(used, settlement.tpm)
        parts["UpdateExpression"] = _BOOKED + _TOKENS_BACK
    return {
        "TableName": table,
        "Key": state_key(settlement.acct),
        **expressions(parts, values, {"rid": settlement.rid}),
    }


def _state_without_hold(table: str, settlement: Settlement) -> dict[str, Any]:
    return _spend(table, settlement.acct, settlement.cost_nano)


def _spend(table: str, acct: str, amount_nano: int) -> dict[str, Any]:
    parts = {
        "UpdateExpression": "SET #avail = #avail - :a, #spent = #spent + :a, #spent_all = #spent_all + :a",
        "ConditionExpression": "attribute_exists(#pk)",
    }
    return {"TableName": table, "Key": state_key(acct), **expressions(parts, {"a": amount_nano})}


def _by_project(item: Item) -> dict[str, int]:
    """What the aggregate adds for each upstream project, under attributes of their own: ADD cannot make a map."""
    return {f"{PROJECT}{project}": cost for project, cost in item.get("projects", {}).items()}


def _aggregate(table: str, row: Item, deltas: Mapping[str, int]) -> dict[str, Any]:
    # `v` counts the writes: of two images of one aggregate it tells which is the later
    added = {name: amount for name, amount in deltas.items() if amount or name == "n"} | {"v": 1}
    key = {"pk": {"S": f"A#{row['acct']}"}, "sk": {"S": f"D#{row['day']}#{row['model']}"}}
    return {"TableName": table, "Key": key, **additions(added)}


def additions(amounts: Mapping[str, int]) -> dict[str, Any]:
    """The expression arguments that add each amount to the attribute of its name, whatever characters it has."""
    return {
        "UpdateExpression": _addition(len(amounts)),
        "ExpressionAttributeNames": {f"#a{number}": name for number, name in enumerate(amounts)},
        "ExpressionAttributeValues": {f":a{number}": encode(value) for number, value in enumerate(amounts.values())},
    }


@lru_cache(maxsize=256)
def _addition(count: int) -> str:
    return "ADD " + ", ".join(f"#a{number} :a{number}" for number in range(count))


def adjust_transaction(table: str, settlement: Settlement, lost: Item) -> dict[str, Any]:
    """The truth about a request that was booked as lost: the difference, once, on the day and model of its row."""
    actual = row_of(settlement)
    differences = {name: actual[name] - lost[name] for name in _COUNTED}
    adjustment = {
        **_facts(settlement),
        **differences,
        "pk": actual["pk"],
        "sk": "ADJ",
        "day": lost["day"],
        "model": lost["model"],
        "reason": "late_settlement",
        "ttl": lost["ttl"],
    }
    put = {
        "TableName": table,
        "Item": encode_item(adjustment),
        **_IF_NEW,
    }
    deltas = differences | {"n": 0, "err": int(is_error(actual)) - int(is_error(lost))} | _by_project(actual)
    return {
        "ClientRequestToken": f"{settlement.rid}adjust",
        "TransactItems": [
            {"Put": put},
            {"Update": _spend(table, settlement.acct, differences["cost_nano"])},
            {"Update": _aggregate(table, lost, deltas)},
        ],
    }


def lost_settlement(acct: str, rid: str, hold: Mapping[str, Any]) -> Settlement:
    """A request that never settled, at its full estimate; its moment is the end of its hold, the last it can have."""
    return Settlement(
        acct=acct,
        kid=hold["k"],
        rid=rid,
        nonce=hold["n"],
        day=hold["d"],
        ts_ms=hold["x"] * 1000,
        state="lost",
        dialect="",
        endpoint="",
        stream=False,
        model=hold["m"],
        model_version="",
        status=0,
        finish_reason="",
        input_tokens=0,
        cached_tokens=0,
        output_tokens=0,
        reasoning_tokens=0,
        cost_nano=hold["e"],
        estimate_nano=hold["e"],
        estimate_tokens=0,
        price_version="",
        estimated=True,
        ttft_ms=None,
        duration_ms=0,
        body_sha=hold.get("b"),
    )
