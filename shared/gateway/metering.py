"""From admission to exactly one row: reserve before the upstream call, settle after the last byte."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any

from msgspec import Struct, field, structs

from shared.errors import GatewayError
from shared.events import Usage
from shared.gateway import usage_lines
from shared.gateway.budgets import Estimate
from shared.gateway.context import Exchange
from shared.gateway.limits import period_of, refusal, unlimited
from shared.gateway.settings import Settings
from shared.gateway.telemetry import log, record, redact, upstream_error
from shared.gemini.catalog import ResolvedModel
from shared.gemini.errors import NO_ANSWER
from shared.gemini.pricing import PRICE_VERSION, Price, cost_nano, price_of
from shared.limit_state import LimitState
from shared.stores.protocols import (
    Admission,
    Admitted,
    Credential,
    KeyRecord,
    Ledger,
    Refused,
    RowState,
    Settlement,
    SettlementQueue,
    StoreUnavailable,
)

_GRACE_S = 60
_BEGUN = frozenset({"upstream_invalid_response", "upstream_interrupted"})

RenderError = Callable[[GatewayError, str], tuple[int, Mapping[str, Any], Mapping[str, str]]]
_NANO = 1_000_000_000


def usd(nano: int) -> str:
    """Nano-dollars as an exact decimal string."""
    whole, rest = divmod(abs(nano), _NANO)
    return f"{'-' if nano < 0 else ''}{whole}.{str(rest).zfill(9)}"


class Outcome(Struct):
    """What a request turned out to be; filled in while it runs."""

    calls: dict[int, Usage] = field(default_factory=dict)  # by upstream call: candidates, discarded attempts
    hops: dict[int, list[Usage]] = field(default_factory=dict)  # those before a call's last, each billed alone
    versions: dict[int, str] = field(default_factory=dict)  # what answered a call, where it said so
    model_version: str = ""
    upstream_response_id: str = ""
    finish_reason: str = ""
    status: int = 200
    error: GatewayError | None = None
    called: bool = False  # an upstream call was made
    credential_id: str = ""
    attempts: int = 0
    projects: dict[int, str] = field(default_factory=dict)  # by upstream call: which one Google bills

    def use(self, slot: Credential, call: int | None = None) -> None:
        """The call that was counted last goes out with this credential; `call` is its number where that is not the
        attempt's."""
        self.credential_id = slot.id
        self.projects[self.attempts if call is None else call] = slot.project

    def fail(self, error: GatewayError) -> None:
        """The request ended in this error; its row says so where the upstream gave no reason."""
        error.message = redact(error.message)  # the upstream's words may hold what it was sent
        self.error = error
        self.finish_reason = self.finish_reason or error.kind

    @property
    def usage(self) -> Usage | None:
        """The sum over all upstream calls; None where none told a count."""
        if len(self.calls) == 1 and not self.hops:
            return next(iter(self.calls.values()))
        earlier = [usage for usages in self.hops.values() for usage in usages]
        return sum([*earlier, *self.calls.values()], Usage()) if self.calls else None


class Meter:
    """The metering of one request."""

    def __init__(
        self,
        ledger: Ledger,
        queue: SettlementQueue,
        settings: Settings,
        key: KeyRecord,
        exchange: Exchange,
        model: ResolvedModel,
        estimate: Estimate,
        *,
        dialect: str,
        endpoint: str,
        stream: bool,
    ) -> None:
        self._ledger = ledger
        self._queue = queue
        self._settings = settings
        self._key = key
        self._exchange = exchange
        self._model = model
        self._estimate = estimate
        self._today = exchange.today
        self._dialect = dialect
        self._endpoint = endpoint
        self._stream = stream
        self._had_hold = False
        self._left_nano: int | None = None  # of a hard budget, behind the reservation
        self._priced: dict[int, Usage] = {}
        self._known_costs: dict[int, int] = {}
        self.outcome = Outcome()

    @property
    def input_bound(self) -> int:
        """Prompt tokens at most, for an upstream that never told a count."""
        return self._estimate.input_tokens

    async def admit(self) -> LimitState:
        """Reserve the estimate, or raise the refusal in the words of a GatewayError."""
        key, exchange = self._key, self._exchange
        if key.max_output_tokens == 0 and self._model.capabilities.output_limit:
            message = "This API key may not generate anything: its `max_output_tokens` is 0."
            raise GatewayError("feature_not_allowed", message)
        admission = Admission(
            acct=key.acct,
            kid=key.kid,
            rid=exchange.request_id,
            nonce=exchange.nonce,
            now_us=exchange.started_ms * 1000,
            expires_at=exchange.created + round(exchange.remaining_s) + _GRACE_S,
            day=exchange.day,
            period=period_of(key, exchange.day),
            model=self._model.id,
            estimate_nano=self._estimate.nano,
            estimate_tokens=self._estimate.tokens,
            rpm=key.rpm,
            rpm_burst=key.rpm_burst,
            tpm=key.tpm,
            tpm_burst=key.tpm_burst,
            hard_budget=key.budget_limit_nano is not None,
            body_sha=exchange.body_sha,
        )
        try:
            result: Admitted | Refused = await self._ledger.admit(admission)
        except StoreUnavailable as error:
            result = self._without_ledger(error)
        else:
            self._had_hold = True
        if isinstance(result, Refused):
            raise refusal(result, exchange.request_id)
        self._left_nano = result.limits.budget_remaining_nano
        return result.limits

    def _without_ledger(self, error: StoreUnavailable) -> Admitted:
        """A key with a hard budget is refused; others pass where the deployment says so, and are booked later."""
        if self._key.budget_limit_nano is not None or self._settings.metering_fail_mode == "closed":
            raise GatewayError(
                "unavailable", "The request could not be admitted now.", retry_after=error.retry_after
            ) from error
        log("admission_failed_open", level=40, exc=error, request_id=self._exchange.request_id, kid=self._key.kid)
        return unlimited()

    def before_upstream(self) -> None:
        """The write-ahead line: from here on the request costs at least its estimate until it is settled."""
        self.outcome.called = True
        kid, acct, model = self._key.kid, self._key.acct, self._model.id
        members: dict[str, Any] = {
            "request_id": self._exchange.request_id,
            "kid": kid,
            "acct": acct,
            "day": self._exchange.day,
            "model": model,
            "estimate_nano": self._estimate.nano,
        }
        outside = f"{kid} {acct} {model}"
        if self._exchange.client:
            members["client"] = self._exchange.client
            outside = " ".join((outside, *self._exchange.client.values()))
        record("upstream_start", members, outside=outside)

    def cost(self) -> int:
        """Nano-dollars of what is known so far."""
        return sum(self._costs().values())

    def covers_another(self, hops: Sequence[Usage], version: str) -> bool:
        """Whether a hard budget has room for one more hop of a call that used this: it reads what the last one read and
        wrote, and may write as much again."""
        if self._left_nano is None:
            return True
        last = hops[-1]
        another = structs.replace(last, prompt_tokens=last.prompt_tokens + last.output_total)
        return self._cost([*hops, another], version) <= self._estimate.nano + self._left_nano

    def _costs(self) -> dict[int, int]:
        """By upstream call: long prompts and searches are priced per call, or hop of one, not per request. Asked for by
        the answer's header and by the row, between which nothing is used as a rule."""
        outcome = self.outcome
        if outcome.calls != self._priced:
            self._priced = dict(outcome.calls)
            self._known_costs = {
                call: self._cost([*outcome.hops.get(call, ()), usage], outcome.versions.get(call))
                for call, usage in outcome.calls.items()
            }
        return self._known_costs

    def _cost(self, usages: Sequence[Usage], version: str | None) -> int:
        price, _ = self._price(self.outcome.model_version if version is None else version)
        return sum([cost_nano(usage, price) for usage in usages])

    def _price(self, version: str) -> tuple[Price, bool]:
        """Of what answered, and whether it is a guess; "" where the upstream did not say what did."""
        effective = self._model.effective
        return price_of(version or effective, self._today, effective)

    def _by_project(self, costs: Mapping[int, int]) -> dict[str, int]:
        """What each upstream project will be billed; nothing for credentials whose project nobody named."""
        found: dict[str, int] = {}
        projects = self.outcome.projects
        if not any(projects.values()):
            return found
        for call, cost in costs.items():
            project = projects.get(call) or next(iter(projects.values()), "")
            found[project] = found.get(project, 0) + cost
        return {project: cost for project, cost in found.items() if project and cost}

    def _unread(self) -> bool:
        """Whether the upstream began an answer of which nothing could be read: its prompt at least is paid for."""
        outcome, error = self.outcome, self.outcome.error
        if not outcome.called or outcome.calls or error is None:
            return False
        return error.kind in _BEGUN and error.reason != NO_ANSWER

    def _state(self, usage: Usage | None, unread: bool) -> RowState:
        if usage is None:
            return "void"
        if unread and self.outcome.status >= 400:
            return "estimated"
        return "partial" if self.outcome.error else "estimated" if usage.estimated else "done"

    def settlement(self) -> Settlement:
        outcome, exchange, key = self.outcome, self._exchange, self._key
        if unread := self._unread():
            outcome.calls[outcome.attempts] = Usage(prompt_tokens=self.input_bound, estimated=True)
        known, costs = outcome.usage, self._costs()
        usage = known or Usage()
        guessed = known is not None and self._price(outcome.model_version)[1]
        return Settlement(
            acct=key.acct,
            kid=key.kid,
            rid=exchange.request_id,
            nonce=exchange.nonce,
            day=exchange.day,
            ts_ms=exchange.started_ms,
            state=self._state(known, unread),
            dialect=self._dialect,
            endpoint=self._endpoint,
            stream=self._stream,
            model=exchange.served or self._model.id,
            model_version=outcome.model_version,
            status=outcome.status,
            finish_reason=outcome.finish_reason,
            input_tokens=usage.input_total,
            cached_tokens=usage.cached_tokens,
            output_tokens=usage.output_total,
            reasoning_tokens=usage.reasoning_tokens,
            cost_nano=sum(costs.values()),
            estimate_nano=self._estimate.nano,
            estimate_tokens=self._estimate.tokens,
            price_version=PRICE_VERSION,
            estimated=guessed or usage.estimated,
            ttft_ms=exchange.ttft_ms,
            duration_ms=exchange.elapsed_ms,
            modalities=_modalities(usage),
            upstream_response_id=outcome.upstream_response_id,
            credential_id=outcome.credential_id,
            projects=self._by_project(costs),
            attempts=outcome.attempts,
            body_sha=exchange.body_sha,
            tpm=key.tpm,
            had_hold=self._had_hold,
        )

    async def settle(self) -> None:
        """Write the row; a failure never reaches the client. Runs to its end even when the request is cancelled: what
        that cut short is done anew, apart from the request, and the ledger writes no row twice."""
        settlement = self.settlement()
        usage_lines.write(settlement)
        self._exchange.booked = True
        if (error := self.outcome.error) is not None and error.kind.startswith("upstream_"):
            upstream_error(error.kind, request_id=settlement.rid, model=settlement.model, attempts=settlement.attempts)
        try:
            await self._book(settlement)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.ensure_future(self._book(settlement)))
            raise

    async def _book(self, settlement: Settlement) -> None:
        try:
            await self._ledger.settle(settlement)
        except StoreUnavailable as error:
            log("settle_queued", level=40, exc=error, metrics={"SettlementQueued": 1}, request_id=settlement.rid)
            try:
                await self._queue.send(settlement)
            except StoreUnavailable as lost:
                # the usage line above is the last record: reconciliation books it
                log("settle_lost", level=50, exc=lost, metrics={"SettlementLost": 1}, request_id=settlement.rid)
        await usage_lines.export(settlement)


def _modalities(usage: Usage) -> dict[str, int]:
    """Tokens by direction and kind."""
    found = {f"in_{kind}": tokens for kind, tokens in usage.prompt_modalities.items()}
    for kind, tokens in usage.output_modalities.items():
        found[f"out_{kind}"] = tokens
    return found


def settled_on_failure(meter: Meter, render_error: RenderError) -> AbstractAsyncContextManager[None]:
    """An admitted request that leaves this block by an error gives its reservation back and pays what it used; its row
    has the status that `render_error`, the dialect's, makes of the error."""
    return _SettledOnFailure(meter, render_error)


class _SettledOnFailure:
    def __init__(self, meter: Meter, render_error: RenderError) -> None:
        self._meter = meter
        self._render_error = render_error

    async def __aenter__(self) -> None:
        pass

    async def __aexit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if error is not None:
            failure = error if isinstance(error, GatewayError) else GatewayError("internal", "Internal error.")
            self._meter.outcome.fail(failure)
            self._meter.outcome.status = self._render_error(failure, "")[0]
            await self._meter.settle()
