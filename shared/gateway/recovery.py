"""What becomes of a failed call of the upstream: another credential, the same again, a repair, another model.

Only while the client has seen nothing; how often and for how long is bounded by attempts, the request's own time and
the pool's retry budget.
"""

import asyncio
import random

from msgspec import Struct, field, structs

from shared.errors import GatewayError
from shared.gateway.context import Exchange
from shared.gateway.fallback import FALL_BACK_ON, adapted, taken_over
from shared.gateway.pool import CredentialPool
from shared.gateway.repairs import REPAIRS, with_sentinels
from shared.gateway.settings import Settings
from shared.gateway.telemetry import log
from shared.gemini.breaker import CIRCUIT_OPEN
from shared.gemini.catalog import Capabilities, ResolvedModel, capabilities_of
from shared.gemini.errors import DENIED, is_retryable
from shared.gemini.types import GenerateContentRequest
from shared.stores.protocols import Credential

MAX_ATTEMPTS = 3
_BACKOFF_S, _BACKOFF_CAP_S = 0.25, 4.0
_MIN_TIME_S = 2.0
_QUOTAS = frozenset({"upstream_quota", "upstream_rate_limited"})
_SLOT_TROUBLE = _QUOTAS | {"upstream_auth"}


class AskAgain(Exception):
    """The answer held nothing and the client has seen nothing."""


class Progress(Struct):
    """What one answer has used up; shared by its attempts."""

    model_id: str
    request: GenerateContentRequest
    thinking: bool
    drafts: bool = False
    attempts: int = 0  # of this model
    retries: int = 0  # of the same call, in vain so far
    link: int = 0  # how many fallbacks were tried
    shown: bool = False
    refilled: bool = False  # an empty or faulty answer was already asked for again
    repaired: set[str] = field(default_factory=set)
    bad_slots: set[str] = field(default_factory=set)

    def refill(self, reason: str) -> None:
        """Make the request ready for its one more try after an answer that held nothing, and ended for `reason`."""
        self.refilled = True
        if reason == "MISSING_THOUGHT_SIGNATURE":
            self.request = with_sentinels(self.request)


class Recovery:
    """For the life of a process: it remembers which models the upstream has withdrawn."""

    def __init__(self, pool: CredentialPool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._chance = random.SystemRandom()
        self._gone: dict[str, str] = {}  # ids that answered 404, and what serves them now

    def begin(self, request: GenerateContentRequest, model: ResolvedModel, exchange: Exchange) -> Progress:
        exchange.served = self.serving(model.id, model.fallback_on_404)
        return Progress(exchange.served, request, model.capabilities.thinking != "none")

    def serving(self, model_id: str, fallback: str | None) -> str:
        """What is sent for this id; nothing stands in for it without `fallback`, which a key may be unable to reach."""
        return self._gone.get(model_id, model_id) if fallback is not None else model_id

    def as_served(self, model: ResolvedModel) -> ResolvedModel:
        """With the rules of the model that serves it now, where the upstream has withdrawn it."""
        target = self.serving(model.id, model.fallback_on_404)
        if target == model.id:
            return model
        return structs.replace(model, effective=target, capabilities=capabilities_of(target))

    async def recover(
        self,
        error: GatewayError,
        progress: Progress,
        slot: Credential | None,
        model: ResolvedModel,
        exchange: Exchange,
    ) -> bool:
        """Prepare the next attempt; False where the error is final. `slot` is None where none could be chosen."""
        if slot is not None:
            await self.rest(error, progress, slot)
            if self.moved(error, progress, model.id, model.fallback_on_404):
                exchange.served = progress.model_id
                target = capabilities_of(progress.model_id)
                progress.request = taken_over(progress.request, model.capabilities, target)
                progress.thinking = target.thinking != "none"
                return True
            if self._repair(error, progress):
                return True
            if await self.again(error, progress, exchange):
                return True
        error.retried = progress.retries > 0
        if self._fall_back(error, progress, model, exchange):
            return True
        if error.kind in _QUOTAS and error.retry_after is None:
            error.retry_after = await self._pool.wait(progress.model_id)
        return False

    async def rest(self, error: GatewayError, progress: Progress, slot: Credential) -> None:
        if error.kind not in _SLOT_TROUBLE:
            return
        progress.bad_slots.add(slot.id)
        vague = error.kind == "upstream_rate_limited" and error.retry_after is None
        again = vague and progress.attempts < MAX_ATTEMPTS
        # tried again by this very call, after a moment; or refused what is asked for, and not the credential
        if (again or error.reason == DENIED) and not await self._pool.has_another(
            progress.model_id, progress.bad_slots
        ):
            return
        self._pool.rest(slot, progress.model_id, error)
        if error.kind == "upstream_auth":
            await self._pool.refresh()

    def moved(self, error: GatewayError, progress: Progress, model_id: str, fallback: str | None) -> bool:
        """Google has withdrawn the model and names another; the process remembers it."""
        if error.kind != "model_not_found" or fallback is None or progress.model_id != model_id:
            return False
        self._gone[model_id] = progress.model_id = fallback
        return True

    async def again(self, error: GatewayError, progress: Progress, exchange: Exchange) -> bool:
        """The same call once more: with another credential at once where this one is the trouble, else after a wait."""
        if progress.attempts >= MAX_ATTEMPTS or error.reason == CIRCUIT_OPEN:
            return False
        slot_trouble = error.kind in _SLOT_TROUBLE
        at_once = slot_trouble and await self._pool.has_another(progress.model_id, progress.bad_slots)
        if not at_once and not is_retryable(error):
            return False
        wait = 0.0 if at_once else error.retry_after or self._backoff(progress.attempts)
        if not self._time_for(wait, exchange) or not self._pool.retries.take():
            return False
        progress.retries += 1
        if not at_once:
            progress.bad_slots.clear()
            await asyncio.sleep(wait)
        return True

    def _fall_back(self, error: GatewayError, progress: Progress, model: ResolvedModel, exchange: Exchange) -> bool:
        """The next model of the alias, as long as no header has named this one; never for vectors and counts, which
        mean something with one model only."""
        if error.kind not in FALL_BACK_ON or not model.fallbacks or not progress.request:
            return False
        if exchange.streamed and exchange.elapsed_ms >= self._settings.commit_after_s * 1000:
            return False
        for link in model.fallbacks[progress.link :]:
            progress.link += 1
            request = adapted(progress.request, self._running(model, progress), link.capabilities)
            if request is None or link.id in (progress.model_id, model.id) or not self._time_for(0, exchange):
                continue
            log("fell_back", request_id=exchange.request_id, model=progress.model_id, to=link.id, kind=error.kind)
            progress.model_id = exchange.served = link.id
            progress.request, progress.thinking = request, link.capabilities.thinking != "none"
            progress.attempts = progress.retries = 0
            progress.repaired.clear()
            progress.bad_slots.clear()
            return True
        return False

    def _running(self, model: ResolvedModel, progress: Progress) -> Capabilities:
        return next((link.capabilities for link in model.fallbacks if link.id == progress.model_id), model.capabilities)

    def _repair(self, error: GatewayError, progress: Progress) -> bool:
        """Each repair at most once."""
        reason = error.reason or ""
        if reason not in REPAIRS or reason in progress.repaired:
            return False
        progress.repaired.add(reason)
        changed = REPAIRS[reason](progress.request)
        progress.request = changed or progress.request
        return changed is not None

    def _backoff(self, attempt: int) -> float:
        return self._chance.uniform(0, min(_BACKOFF_CAP_S, _BACKOFF_S * 2**attempt))

    def _time_for(self, wait: float, exchange: Exchange) -> bool:
        # longer than the status line can be held: the client gets the wait instead, as `retry-after`
        return wait <= self._settings.commit_after_s and exchange.remaining_s >= _MIN_TIME_S + wait

    async def pause(self, attempt: int, exchange: Exchange) -> bool:
        """Wait as long as a call refused `attempt` times should; False, at once, where it may not be tried again."""
        wait = self._backoff(attempt)
        if not self._time_for(wait, exchange) or not self._pool.retries.take():
            return False
        await asyncio.sleep(wait)
        return True
