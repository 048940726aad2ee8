"""Admission as pure data: the one conditional update that asks for room, and the verdict on the image it failed on."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from msgspec import Struct

from shared.limit_state import LimitState
from shared.stores.attributes import Item, expressions
from shared.stores.gcra import RateLimit, request_limit, requests_left, token_limit, tokens_left
from shared.stores.protocols import Admission, Admitted, Refused

UNLIMITED_NANO = 2**53 - 1  # "no budget" as a number, so that one expression serves every key
UNLIMITED_HOLDS = 1_000  # bounds the size of the state item

_FULL_HOUSE_RETRY_S = 1.0
_RATES = ("tat_r", "tat_t")  # the attributes of the limits on requests and on tokens

_Form = Literal["unlimited", "closed", "busy", "idle"]


class Arrivals(Struct, frozen=True):
    """The theoretical arrival times last seen in an account's state; they choose the form of the rate clauses."""

    requests: int | None = None
    tokens: int | None = None

    @classmethod
    def of(cls, image: Item) -> "Arrivals":
        return cls(image.get("tat_r"), image.get("tat_t"))


class ChangePeriod(Struct, frozen=True):
    """The state is in an older budget period."""

    old: str
    new: str


class TryAgain(Struct, frozen=True):
    """Nothing forbids the request: another form of the clauses, or the state's own period, will fit."""

    period: str


def state_key(acct: str) -> dict[str, Any]:
    return {"pk": {"S": f"A#{acct}"}, "sk": {"S": "STATE"}}


def limits_of(admission: Admission) -> tuple[RateLimit | None, RateLimit | None]:
    """(requests, tokens)"""
    return (
        request_limit(admission.rpm, admission.rpm_burst),
        token_limit(admission.tpm, admission.tpm_burst, admission.estimate_tokens),
    )


def admission_update(table: str, admission: Admission, period: str, seen: Arrivals) -> dict[str, Any]:
    """The UpdateItem call: budget, concurrency, rates, status and reservation, all or nothing."""
    requests, tokens = limits_of(admission)
    now = admission.now_us
    values: dict[str, Any] = {
        "hold": _hold(admission),
        "estimate": admission.estimate_nano,
        "active": "active",
        "period": period,
    }
    forms = _form(requests, seen.requests, now), _form(tokens, seen.tokens, now)
    for name, limit, form in zip(_RATES, (requests, tokens), forms, strict=True):
        if limit is not None:
            values |= _rate_values(name, limit, form, now)
    return {
        "TableName": table,
        "Key": state_key(admission.acct),
        "ReturnValues": "UPDATED_NEW",
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        **expressions(_admission_parts(*forms), values, {"rid": admission.rid, "kid": admission.kid}),
    }


def _form(limit: RateLimit | None, tat: int | None, now_us: int) -> _Form:
    """Conditions know neither max() nor arithmetic, so a rate has two forms: busy (tat lies ahead) and idle."""
    if limit is None:
        return "unlimited"
    if limit.closed:
        return "closed"
    return "busy" if tat is not None and tat > now_us else "idle"


@cache
def _admission_parts(requests: _Form, tokens: _Form) -> Mapping[str, str]:
    """The expressions of an admission whose rates have these forms."""
    sets = ["#holds.#rid = :hold", "#avail = #avail - :estimate"]
    conditions = [
        "#status = :active",
        "#kids.#kid = :active",
        "#period = :period",
        "attribute_not_exists(#holds.#rid)",
        "#avail >= :estimate",
        "size(#holds) < #maxc",
    ]
    for name, form in zip(_RATES, (requests, tokens), strict=True):
        if form == "closed":  # never true beside the others: the image then gives the verdict
            conditions.append("attribute_not_exists(#pk)")
        elif form == "busy":
            conditions.append(f"#{name} > :now AND #{name} <= :{name}_latest")
            sets.append(f"#{name} = #{name} + :{name}_cost")
        elif form == "idle":
            conditions.append(f"(attribute_not_exists(#{name}) OR #{name} <= :now)")
            sets.append(f"#{name} = :{name}_start")
    return {"UpdateExpression": "SET " + ", ".join(sets), "ConditionExpression": " AND ".join(conditions)}


def _rate_values(name: str, limit: RateLimit, form: _Form, now_us: int) -> dict[str, int]:
    if form == "closed":
        return {}
    if form == "busy":
        return {"now": now_us, f"{name}_latest": now_us + limit.tolerance_us, f"{name}_cost": limit.cost_us}
    return {"now": now_us, f"{name}_start": now_us + limit.cost_us}


def _hold(admission: Admission) -> dict[str, Any]:
    hold: dict[str, Any] = {
        "e": admission.estimate_nano,
        "x": admission.expires_at,
        "d": admission.day,
        "m": admission.model,
        "k": admission.kid,
        "n": admission.nonce,
    }
    if admission.body_sha is not None:
        hold["b"] = admission.body_sha
    return hold


def judge(admission: Admission, period: str, image: Item | None) -> Admitted | Refused | ChangePeriod | TryAgain:
    """What the image that failed the condition means. The order of the questions is part of the protocol."""
    if image is None:
        return Refused("half_issued")
    hold = image["holds"].get(admission.rid)
    if hold is not None and hold["n"] == admission.nonce:
        return Admitted(limit_state(admission, image))  # our first answer was lost
    if image["status"] != "active" or image["kids"].get(admission.kid) != "active":
        return Refused("key_inactive")
    limits = limit_state(admission, image)
    if hold is not None:
        same_body = hold.get("b") == admission.body_sha
        return Refused("duplicate_running" if same_body else "duplicate_mismatch", limits=limits)
    if image["period"] != period:
        return _other_period(image["period"], admission.day)
    return _full(admission, image, limits) or TryAgain(period)


def _other_period(held: str, day: str) -> ChangePeriod | TryAgain:
    """The state's own kind of period rules: the caller's record may be a minute old. Nothing ever goes back in time."""
    wanted = day[: len(held)] if held.isdigit() else held
    return ChangePeriod(held, wanted) if wanted > held else TryAgain(held)


def _full(admission: Admission, image: Item, limits: LimitState) -> Refused | None:
    if image["avail"] < admission.estimate_nano:
        return Refused("budget", limits=limits)
    requests, tokens = limits_of(admission)
    now = admission.now_us
    if requests is not None and requests.refuses(image.get("tat_r"), now):
        return Refused("rate", requests.wait_s(image.get("tat_r"), now), limits)
    if tokens is not None and tokens.refuses(image.get("tat_t"), now):
        return Refused("tokens", tokens.wait_s(image.get("tat_t"), now), limits)
    if len(image["holds"]) >= image["maxc"]:
        return Refused("concurrency", _FULL_HOUSE_RETRY_S, limits)
    return None


def limit_state(admission: Admission, image: Item) -> LimitState:
    """The limits after a decision, from `avail`, `tat_r` and `tat_t` of an image or of updated attributes."""
    requests, tokens = limits_of(admission)
    now, tat_r, tat_t = admission.now_us, image.get("tat_r"), image.get("tat_t")
    return LimitState(
        requests_limit=admission.rpm,
        requests_remaining=None if requests is None else requests_left(requests, tat_r, now),
        requests_reset=0.0 if requests is None else requests.reset_s(tat_r, now),
        tokens_limit=admission.tpm,
        tokens_remaining=None if tokens is None else tokens_left(tokens, tat_t, now),
        tokens_reset=0.0 if tokens is None else tokens.reset_s(tat_t, now),
        budget_remaining_nano=max(0, image["avail"]) if admission.hard_budget else None,
    )


def period_update(table: str, acct: str, change: ChangePeriod) -> dict[str, Any]:
    """A new period starts: what was spent in the old one is available again. Once only, by its condition."""
    parts = {
        "UpdateExpression": "SET #avail = #avail + #spent, #spent = :zero, #period = :new",
        "ConditionExpression": "#period = :old",
    }
    values = {"zero": 0, "new": change.new, "old": change.old}
    return {"TableName": table, "Key": state_key(acct), **expressions(parts, values)}


def release_update(table: str, admission: Admission) -> dict[str, Any]:
    """Give a duplicate's hold back, and what it took of the rates: it will make no upstream call."""
    requests, tokens = limits_of(admission)
    sets = ["#avail = #avail + :estimate"]
    values: dict[str, Any] = {"estimate": admission.estimate_nano, "nonce": admission.nonce}
    for name, limit in (("tat_r", requests), ("tat_t", tokens)):
        if limit is not None and not limit.closed:
            sets.append(f"#{name} = if_not_exists(#{name}, :{name}_back) - :{name}_back")
            values[f"{name}_back"] = limit.cost_us
    return _release(table, admission.acct, admission.rid, sets, values)


def abandoned_update(table: str, acct: str, rid: str, hold: Mapping[str, Any]) -> dict[str, Any]:
    """Give an expired hold back whose request has its row already."""
    values = {"estimate": hold["e"], "nonce": hold["n"]}
    return _release(table, acct, rid, ["#avail = #avail + :estimate"], values)


def _release(table: str, acct: str, rid: str, sets: list[str], values: Mapping[str, Any]) -> dict[str, Any]:
    parts = {
        "UpdateExpression": "REMOVE #holds.#rid SET " + ", ".join(sets),
        "ConditionExpression": "#holds.#rid.#n = :nonce",
    }
    return {"TableName": table, "Key": state_key(acct), **expressions(parts, values, {"rid": rid})}
