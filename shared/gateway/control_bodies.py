"""The bodies of the control plane. A member that is not known here is refused: a misspelt limit would be no limit."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from shared.errors import GatewayError
from shared.gateway.key_registry import LONGEST_OVERLAP_S, OVERLAP_S
from shared.gateway.key_terms import KeyTerms
from shared.gateway.money import nano_from_usd

Limit = Annotated[int | None, Field(ge=0, le=2**53 - 1)]
Moment = Annotated[int | str | None, Field(description="Epoch seconds, or an ISO 8601 time; UTC without a zone.")]
Amount = Annotated[str, StringConstraints(pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$")]
Names = list[str] | None

_MOMENTS = ("not_before", "expires_at")
_LISTS = ("models", "endpoints", "ip_allow")
_OUTSIDE = {"budget_limit_nano": "budget.limit_usd", "budget_period": "budget.period"}


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Budget(_Body):
    """What all requests of a period may cost; `none` is the key's whole life."""

    period: Literal["day", "month", "none"] = "none"
    limit_usd: Amount | None = Field(None, examples=["12.50"])


class Terms(_Body):
    """None of a limit = unlimited, 0 = nothing; an empty list = everything."""

    owner: str = ""
    models: Names = Field(None, description="Globs such as gemini-2.5-*; empty = all.")
    endpoints: Names = Field(None, description="Empty = the whole data plane; `admin` = this control plane.")
    ip_allow: Names = Field(None, description="Addresses or networks; empty = anywhere.")
    not_before: Moment = None
    expires_at: Moment = None
    rpm: Limit = Field(None, description="Requests a minute.")
    rpm_burst: Limit = None
    tpm: Limit = Field(None, description="Tokens a minute.")
    tpm_burst: Limit = None
    max_concurrency: Limit = None
    budget: Budget | None = None
    max_output_tokens: Limit = None
    url_fetch: bool = False
    code_exec: bool = True
    allow_query_key: bool = True


class NewKey(Terms):
    """A key to issue."""

    name: str


class KeyChange(Terms):
    """What to change; members that are absent stay, those of a budget too, null takes a limit away."""

    name: str = ""
    status: Literal["active", "disabled"] = "active"


class Rotation(_Body):
    """How long the old key works beside the new one."""

    overlap_seconds: int = Field(OVERLAP_S, ge=0, le=LONGEST_OVERLAP_S)


def parsed[B: BaseModel](model: type[B], value: Any) -> B:
    """`invalid_request` with the first member at fault in `param`."""
    try:
        return model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        param = path_of(first["loc"], model)
        raise GatewayError("invalid_request", f"`{param}`: {first['msg']}.", param=param) from None


def path_of(location: tuple[int | str, ...], model: type[BaseModel] | None = None) -> str:
    """`("budget", "limit_usd")` -> `budget.limit_usd`; the tags of unions are not part of a client's body."""
    path = ""
    for step in location:
        if isinstance(step, int):
            path += f"[{step}]"
        elif not path:
            path = step
        elif step in Budget.model_fields or model is None:
            path += f".{step}"
    return path


def terms_of(body: NewKey) -> KeyTerms:
    return KeyTerms(**_fields(body, set(type(body).model_fields)))


def changes_of(body: KeyChange) -> dict[str, Any]:
    """By the names of `KeyTerms`: the members that the body has."""
    return _fields(body, body.model_fields_set - {"status"})


def _fields(body: Terms, named: set[str]) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in named:
        value = getattr(body, name)
        if name == "budget":
            fields |= _budget(value, set(Budget.model_fields) if isinstance(body, NewKey) else None)
        elif name in _LISTS:
            fields[name] = tuple(value or ())
        elif name in _MOMENTS:
            fields[name] = _moment(name, value)
        else:
            fields[name] = value
    return fields


def _budget(budget: Budget | None, members: set[str] | None) -> dict[str, Any]:
    """Of these members; None: of those that the body has. A limit that is taken away takes its period along."""
    named = members or (set() if budget is None else budget.model_fields_set)
    if budget is None or (budget.limit_usd is None and named == {"limit_usd"}):
        return {"budget_period": "none", "budget_limit_nano": None}
    terms: dict[str, Any] = {"budget_period": budget.period} if "period" in named else {}
    if "limit_usd" in named:
        terms["budget_limit_nano"] = None if budget.limit_usd is None else nano_from_usd(budget.limit_usd)
    return terms


def _moment(name: str, value: int | str | None) -> int | None:
    if not isinstance(value, str):
        return value
    try:
        parsed_time = datetime.fromisoformat(value)
    except ValueError:
        message = f"`{name}` must be epoch seconds or a time such as 2027-01-31T18:00:00Z."
        raise GatewayError("invalid_request", message, param=name) from None
    return int((parsed_time if parsed_time.tzinfo else parsed_time.replace(tzinfo=UTC)).timestamp())


def outside_names(text: str) -> str:
    """The members of a body in place of the terms they become."""
    for term, member in _OUTSIDE.items():
        text = text.replace(term, member)
    return text
