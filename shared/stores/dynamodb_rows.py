"""Settlements as items and transactions: the request row, the daily aggregate, the state update, the adjustment."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from shared.stores.attributes import Attributes, Item, Update, decode_item, encode_item, expressions
from shared.stores.dynamodb_admission import state_key
from shared.stores.gcra import token_cost_us
from shared.stores.protocols import Settlement

ROW_DAYS = 90
PROJECT = "p#"  # before the project's id: the attribute of an aggregate that holds the project's part of the cost
_COUNTED = ("in_tok", "cache_tok", "out_tok", "think_tok", "cost_nano")
_ONE, _ZERO = {"N": "1"}, {"N": "0"}
_IF_NEW = expressions({"ConditionExpression": "attribute_not_exists(#pk)"}, {})
_BOOK = "REMOVE #holds.#rid SET #avail = #avail + :rest, #spent = #spent + :actual, #spent_all = #spent_all + :actual"
_TOKENS_BACK = ", #tat_t = if_not_exists(#tat_t, :back) - :back"
_IF_HELD = "#holds.#rid.#n = :nonce"
_BOOKING = Update(_BOOK, _IF_HELD)
_BOOKING_TOKENS = Update(_BOOK + _TOKENS_BACK, _IF_HELD)
_SPENDING = Update(
    "SET #avail = #avail - :a, #spent = #spent + :a, #spent_all = #spent_all + :a", "attribute_exists(#pk)"
)


def row_key(rid: str, sk: str = "R") -> dict[str, Any]:
    return {"pk": {"S": f"R#{rid}"}, "sk": {"S": sk}}


def row_of(settlement: Settlement) -> dict[str, Any]:
    """The request row in DynamoDB's form. It names what was asked and what it cost, never a word of the prompt or the
    answer."""
    row: dict[str, Any] = {
        "pk": {"S": f"R#{settlement.rid}"},
        "sk": {"S": "R"},
        "gsi1pk": {"S": f"A#{settlement.acct}#{settlement.day}"},
        "gsi1sk": {"S": f"{settlement.ts_ms}#{settlement.rid}"},
        "acct": {"S": settlement.acct},
        "kid": {"S": settlement.kid},
        "ts": {"N": str(settlement.ts_ms)},
        "day": {"S": settlement.day},
        "model": {"S": settlement.model},
        "model_ver": {"S": settlement.model_version},
        "dialect": {"S": settlement.dialect},
        "endpoint": {"S": settlement.endpoint},
        "stream": {"BOOL": settlement.stream},
        "http": {"N": str(settlement.status)},
        "finish": {"S": settlement.finish_reason},
        "in_tok": {"N": str(settlement.input_tokens)},
        "cache_tok": {"N": str(settlement.cached_tokens)},
        "out_tok": {"N": str(settlement.output_tokens)},
        "think_tok": {"N": str(settlement.reasoning_tokens)},
        "modal": {"M": encode_item(settlement.modalities)},
        "cost_nano": {"N": str(settlement.cost_nano)},
        "price_ver": {"S": settlement.price_version},
        "est": {"N": str(settlement.estimate_nano)},
        "st": {"S": settlement.state},
        "estimated": {"BOOL": settlement.estimated},
        "dur_ms": {"N": str(settlement.duration_ms)},
        "up_req_id": {"S": settlement.upstream_response_id},
        "key_slot": {"S": settlement.credential_id},
        "attempts": {"N": str(settlement.attempts)},
        "ttl": {"N": str(settlement.ts_ms // 1000 + ROW_DAYS * 86_400)},
    }
    if settlement.ttft_ms is not None:
        row["ttft_ms"] = {"N": str(settlement.ttft_ms)}
    if settlement.projects:
        row["projects"] = {"M": encode_item(settlement.projects)}
    if settlement.body_sha is not None:
        row["body_sha"] = {"S": settlement.body_sha}
    return row


def _is_error(status: int, state: str) -> bool:
    """A lost request counts as an error: nobody knows what its client got."""
    return status >= 400 or state == "lost"


def settle_transaction(table: str, settlement: Settlement, *, hold: bool) -> dict[str, Any]:
    """Row, state and aggregate together. The token holds for ten minutes, the conditions for ever.

    Without a hold (the admission failed open, or its state was lost) the whole cost is taken from what is available.
    """
    row = row_of(settlement)
    put = {"TableName": table, "Item": row, "ReturnValuesOnConditionCheckFailure": "ALL_OLD", **_IF_NEW}
    added = {name: row[name] for name in _COUNTED if row[name] != _ZERO}
    added["n"] = _ONE
    if _is_error(settlement.status, settlement.state):
        added["err"] = _ONE
    if settlement.projects:
        added |= encode_item(_by_project(settlement.projects))
    state = _booking(table, settlement) if hold else _spending(table, settlement.acct, settlement.cost_nano)
    aggregate = _aggregate(table, settlement.acct, settlement.day, settlement.model, added)
    return {
        # rid + state is at most 26 + 9 characters of the 36 allowed; the other body needs another token
        "ClientRequestToken": f"{settlement.rid}{settlement.state}{'' if hold else '-'}",
        "TransactItems": [{"Put": put}, {"Update": state}, {"Update": aggregate}],
    }


def _booking(table: str, settlement: Settlement) -> dict[str, Any]:
    values = {
        ":rest": {"N": str(settlement.estimate_nano - settlement.cost_nano)},
        ":actual": {"N": str(settlement.cost_nano)},
        ":nonce": {"S": settlement.nonce},
    }
    update = _BOOKING
    if tpm := settlement.tpm:
        used = settlement.input_tokens + settlement.output_tokens
        back = token_cost_us(settlement.estimate_tokens, tpm) - token_cost_us(used, tpm)
        values[":back"] = {"N": str(back)}
        update = _BOOKING_TOKENS
    return update.of(table, state_key(settlement.acct), {"#rid": settlement.rid}, values)


def _spending(table: str, acct: str, amount_nano: int) -> dict[str, Any]:
    return _SPENDING.of(table, state_key(acct), {}, {":a": {"N": str(amount_nano)}})


def _by_project(costs: Mapping[str, int]) -> dict[str, int]:
    """What the aggregate adds for each upstream project, under attributes of their own: ADD cannot make a map."""
    return {f"{PROJECT}{project}": cost for project, cost in costs.items() if cost}


def _aggregate(table: str, acct: str, day: str, model: str, added: Attributes) -> dict[str, Any]:
    # `v` counts the writes: of two images of one aggregate it tells which is the later
    key = {"pk": {"S": f"A#{acct}"}, "sk": {"S": f"D#{day}#{model}"}}
    return {"TableName": table, "Key": key, **additions({**added, "v": _ONE})}


def additions(amounts: Attributes) -> dict[str, Any]:
    """The expression arguments that add each amount to the attribute of its name, whatever characters it has."""
    texts, places = _addition(tuple(amounts))
    return {**texts, "ExpressionAttributeValues": dict(zip(places, amounts.values(), strict=True))}


@lru_cache(maxsize=256)
def _addition(names: tuple[str, ...]) -> tuple[dict[str, Any], list[str]]:
    """What depends on the names alone, and the places of their values."""
    aliases = {f"#a{number}": name for number, name in enumerate(names)}
    places = [f":a{number}" for number in range(len(names))]
    update = "ADD " + ", ".join(f"{alias} {place}" for alias, place in zip(aliases, places, strict=True))
    return {"UpdateExpression": update, "ExpressionAttributeNames": aliases}, places


def adjust_transaction(table: str, settlement: Settlement, lost: Item) -> dict[str, Any]:
    """The truth about a request that was booked as lost: the difference, once, on the day and model of its row."""
    actual = decode_item(row_of(settlement))
    differences = {name: actual[name] - lost[name] for name in _COUNTED}
    adjustment = {
        **{name: value for name, value in actual.items() if name not in ("gsi1pk", "gsi1sk")},  # rows are listed once
        **differences,
        "sk": "ADJ",
        "day": lost["day"],
        "model": lost["model"],
        "reason": "late_settlement",
        "ttl": lost["ttl"],
    }
    errors = _is_error(settlement.status, settlement.state) - _is_error(lost["http"], lost["st"])
    added = differences | {"err": errors} | _by_project(settlement.projects)
    amounts = encode_item({"n": 0, **{name: amount for name, amount in added.items() if amount}})
    put = {"TableName": table, "Item": encode_item(adjustment), **_IF_NEW}
    return {
        "ClientRequestToken": f"{settlement.rid}adjust",
        "TransactItems": [
            {"Put": put},
            {"Update": _spending(table, settlement.acct, differences["cost_nano"])},
            {"Update": _aggregate(table, lost["acct"], lost["day"], lost["model"], amounts)},
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
