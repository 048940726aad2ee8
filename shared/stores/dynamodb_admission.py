"""Admission as pure data: the one conditional update that asks for room, and the verdict on the image it failed on."""

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal

from msgspec import Struct

from shared.limit_state import LimitState
from shared.stores.attributes import Attributes, Item, Update, expressions
from shared.stores.gcra import RateLimit, request_limit, requests_left, token_limit, tokens_left
from shared.stores.protocols import Admission, Admitted, Refused

UNLIMITED_NANO = 2**53 - 1  # "no budget" as a number, so that one expression serves every key
UNLIMITED_HOLDS = 1_000  # bounds the size of the state item

_FULL_HOUSE_RETRY_S = 1.0
_ACTIVE = {"S": "active"}

Limits = tuple[RateLimit | None, RateLimit | None]  # on requests, on tokens
UNLIMITED: Limits = (None, None)

_Form = Literal["unlimited", "closed", "busy", "idle"]


class Arrivals(Struct, frozen=True):
    """The theoretical arrival times last seen in an account's state; they choose the form of the rate clauses."""

    requests: int | None = None
    tokens: int | None = None

    @classmethod
    def of(cls, image: Item) -> "Arrivals":
        return cls(image.get("tat_r"), image.get("tat_t"))

    @classmethod
    def updated(cls, attributes: Attributes) -> "Arrivals":
        """Those that an update answers with, in DynamoDB's form."""
        requests, tokens = attributes.get("tat_r"), attributes.get("tat_t")
        return cls(requests and int(requests["N"]), tokens and int(tokens["N"]))


class ChangePeriod(Struct, frozen=True):
    """The state is in an older budget period."""

    old: str
    new: str


class TryAgain(Struct, frozen=True):
    """Nothing forbids the request: another form of the clauses, or the state's own period, will fit."""

    period: str


def state_key(acct: str) -> dict[str, Any]:
    return {"pk": {"S": f"A#{acct}"}, "sk": {"S": "STATE"}}


def limits_of(admission: Admission) -> Limits:
    if admission.rpm is None and admission.tpm is None:
        return UNLIMITED
    return (
        request_limit(admission.rpm, admission.rpm_burst),
        token_limit(admission.tpm, admission.tpm_burst, admission.estimate_tokens),
    )


def admission_update(table: str, admission: Admission, limits: Limits, period: str, seen: Arrivals) -> dict[str, Any]:
    """The UpdateItem call: budget, concurrency, rates, status and reservation, all or nothing."""
    values: dict[str, Any] = {
        ":hold": {"M": _hold(admission)},
        ":estimate": {"N": str(admission.estimate_nano)},
        ":active": _ACTIVE,
        ":period": {"S": period},
    }
    requests = _rate("tat_r", limits[0], seen.requests, admission.now_us, values)
    tokens = _rate("tat_t", limits[1], seen.tokens, admission.now_us, values)
    names = {"#rid": admission.rid, "#kid": admission.kid}
    return _admission(requests, tokens).of(table, state_key(admission.acct), names, values)


def _rate(name: str, limit: RateLimit | None, tat: int | None, now_us: int, values: dict[str, Any]) -> _Form:
    """The form of a rate's clauses, whose values it adds. Conditions know neither max() nor arithmetic, so a rate has
    two: busy (tat lies ahead) and idle."""
    if limit is None:
        return "unlimited"
    if limit.closed:
        return "closed"
    values[":now"] = {"N": str(now_us)}
    if tat is None or tat <= now_us:
        values[f":{name}_start"] = {"N": str(now_us + limit.cost_us)}
        return "idle"
    values[f":{name}_latest"] = {"N": str(now_us + limit.tolerance_us)}
    values[f":{name}_cost"] = {"N": str(limit.cost_us)}
    return "busy"


@cache
def _admission(requests: _Form, tokens: _Form) -> Update:
    """The update of an admission whose rates have these forms."""
    sets = ["#holds.#rid = :hold", "#avail = #avail - :estimate"]
    conditions = [
        "#status = :active",
        "#kids.#kid = :active",
        "#period = :period",
        "attribute_not_exists(#holds.#rid)",
        "#avail >= :estimate",
        "size(#holds) < #maxc",
    ]
    for name, form in (("tat_r", requests), ("tat_t", tokens)):
        if form == "closed":  # never true beside the others: the image then gives the verdict
            conditions.append("attribute_not_exists(#pk)")
        elif form == "busy":
            conditions.append(f"#{name} > :now AND #{name} <= :{name}_latest")
            sets.append(f"#{name} = #{name} + :{name}_cost")
        elif form == "idle":
            conditions.append(f"(attribute_not_exists(#{name}) OR #{name} <= :now)")
            sets.append(f"#{name} = :{name}_start")
    answers = {"ReturnValues": "UPDATED_NEW", "ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    return Update("SET " + ", ".join(sets), " AND ".join(conditions), answers)


def _hold(admission: Admission) -> dict[str, Any]:
    hold = {
        "e": {"N": str(admission.estimate_nano)},
        "x": {"N": str(admission.expires_at)},
        "d": {"S": admission.day},
        "m": {"S": admission.model},
        "k": {"S": admission.kid},
        "n": {"S": admission.nonce},
    }
    if admission.body_sha is not None:
        hold["b"] = {"S": admission.body_sha}
    return hold


def judge(
    admission: Admission, limits: Limits, period: str, image: Item | None
) -> Admitted | Refused | ChangePeriod | TryAgain:
    """What the image that failed the condition means. The order of the questions is part of the protocol."""
    if image is None:
        return Refused("half_issued")
    hold = image["holds"].get(admission.rid)
    state = limit_state(admission, limits, image["avail"], Arrivals.of(image))
    if hold is not None and hold["n"] == admission.nonce:
        return Admitted(state)  # our first answer was lost
    if image["status"] != "active" or image["kids"].get(admission.kid) != "active":
        return Refused("key_inactive")
    if hold is not None:
        same_body = hold.get("b") == admission.body_sha
        return Refused("duplicate_running" if same_body else "duplicate_mismatch", limits=state)
    if image["period"] != period:
        return _other_period(image["period"], admission.day)
    return _full(admission, limits, image, state) or TryAgain(period)


def _other_period(held: str, day: str) -> ChangePeriod | TryAgain:
    """The state's own kind of period rules: the caller's record may be a minute old. Nothing ever goes back in time."""
    wanted = day[: len(held)] if held.isdigit() else held
    return ChangePeriod(held, wanted) if wanted > held else TryAgain(held)


def _full(admission: Admission, limits: Limits, image: Item, state: LimitState) -> Refused | None:
    if image["avail"] < admission.estimate_nano:
        return Refused("budget", limits=state)
    requests, tokens = limits
    now = admission.now_us
    if requests is not None and requests.refuses(image.get("tat_r"), now):
        return Refused("rate", requests.wait_s(image.get("tat_r"), now), state)
    if tokens is not None and tokens.refuses(image.get("tat_t"), now):
        return Refused("tokens", tokens.wait_s(image.get("tat_t"), now), state)
    if len(image["holds"]) >= image["maxc"]:
        return Refused("concurrency", _FULL_HOUSE_RETRY_S if image["maxc"] else None, state)
    return None


def limit_state(admission: Admission, limits: Limits, available_nano: int, arrivals: Arrivals) -> LimitState:
    """The limits after a decision that left this budget and these arrival times."""
    (requests, tokens), now = limits, admission.now_us
    return LimitState(
        requests_limit=admission.rpm,
        requests_remaining=None if requests is None else requests_left(requests, arrivals.requests, now),
        requests_reset=0.0 if requests is None else requests.reset_s(arrivals.requests, now),
        tokens_limit=admission.tpm,
        tokens_remaining=None if tokens is None else tokens_left(tokens, arrivals.tokens, now),
        tokens_reset=0.0 if tokens is None else tokens.reset_s(arrivals.tokens, now),
        budget_remaining_nano=max(0, available_nano) if admission.hard_budget else None,
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
