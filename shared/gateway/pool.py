"""The pool of upstream credentials: weighted choice among healthy ones, rest for those that Google refused.

Quotas belong to a project, so a quota that is used up rests all credentials of its project, for one model; a refused
key rests alone.
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Coroutine, Sequence

from msgspec import Struct

from shared.errors import ErrorKind, GatewayError
from shared.gateway.quota_day import seconds_to_reset
from shared.gateway.retry_budget import RetryBudget
from shared.gateway.telemetry import hide, log
from shared.gemini.errors import DENIED, QuotaError
from shared.stores.protocols import Cooldown, CooldownStore, Credential, SecretStore, StoreUnavailable

_DEFAULT_COOLDOWN_S = 5.0
_SPENT_COOLDOWN_S = 3600.0  # a bill nobody paid: no reset is announced
_BAD_KEY_COOLDOWN_S = 300.0
_EARLY_S = 0.05  # whoever slept for a rest may wake before its end: loops count milliseconds, clocks do not
_READ_EVERY_S = 30.0


Rest = tuple[float, ErrorKind]


class _Place(Struct, frozen=True):
    """What rests of a project, or of a credential that names none: its quota for a model; all of it where both are
    empty."""

    model: str
    quota_id: str


_EVERYTHING = _Place("", "")
_NO_MODEL = "-"  # calls about none, for files as an example: their quota is no model's


class CredentialPool:
    """Cooldowns and the retry budget of this process. `clock` is monotonic seconds, `now` epoch seconds. A call about
    no model is one for the model "".

    With a `shared` store other processes learn of a cooldown: it is written when one begins, and read, beside the
    requests, every 30 s.
    """

    def __init__(
        self,
        secrets: SecretStore,
        clock: Callable[[], float] = time.monotonic,
        chance: random.Random | None = None,
        *,
        shared: CooldownStore | None = None,
        retries: RetryBudget | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._secrets = secrets
        self._clock = clock
        self._now = now
        self._chance = chance or random.SystemRandom()
        self._shared = shared
        self._told: Sequence[Credential] = ()  # what the store said last
        self._active: list[Credential] = []  # of those
        self._resting: dict[str, dict[_Place, Rest]] = {}  # by owner
        self._read_at = float("-inf")
        self._tasks: set[asyncio.Task[None]] = set()
        self.retries = retries or RetryBudget()

    async def choose(self, model: str, exclude: Collection[str] = ()) -> Credential:
        """A healthy credential whose id is not in `exclude`; GatewayError when none is left."""
        slots = await self._slots()
        self._learn(slots)
        self.retries.earn()
        ready = self._ready(slots, model, exclude)
        if len(ready) == 1:
            return ready[0]
        if ready:
            return self._chance.choices(ready, weights=[max(slot.weight, 1) for slot in ready])[0]
        raise _none_left(self._rests(slots, model))

    async def has_another(self, model: str, exclude: Collection[str]) -> bool:
        """Whether `choose` would find one."""
        return bool(self._ready(await self._slots(), model, exclude))

    async def wait(self, model: str) -> float | None:
        """Seconds until a credential is ready that a quota keeps from the model; None where one is, or none will be."""
        slots = await self._slots()
        return None if self._ready(slots, model, ()) else _none_left(self._rests(slots, model)).retry_after

    async def has(self, credential_id: str) -> bool:
        """Whether the credential is in use, resting or not."""
        return any(slot.id == credential_id for slot in await self._slots())

    def rest(self, slot: Credential, model: str, error: GatewayError) -> None:
        """Keep a credential, or its project for this model, out of the choice for as long as the error says."""
        quota_id = error.quota_id if isinstance(error, QuotaError) else ""
        if error.kind == "upstream_auth":
            owner, place, wait = slot.id, _EVERYTHING, _BAD_KEY_COOLDOWN_S
            if error.reason == DENIED:
                place, wait = _Place(model or _NO_MODEL, ""), _DEFAULT_COOLDOWN_S
            log("credential_refused", level=40, credential=slot.id, reason=error.reason)
        elif error.kind == "upstream_quota":
            wait = _SPENT_COOLDOWN_S if error.reason == "spent" else seconds_to_reset(self._now())
            owner, place = _owner(slot), _Place(model or _NO_MODEL, quota_id)
        elif error.kind == "upstream_rate_limited":
            wait = error.retry_after or _DEFAULT_COOLDOWN_S
            owner, place = _owner(slot), _Place(model or _NO_MODEL, quota_id)
        else:
            return
        self._forget_past()
        self._resting.setdefault(owner, {})[place] = self._clock() + wait, error.kind
        log("credential_rests", credential=slot.id, model=model, quota=quota_id, kind=error.kind, seconds=round(wait))
        if self._shared is not None:
            self._spawn(self._tell(self._shared, owner))

    async def refresh(self) -> None:
        """Read the pool again after a refused credential; the store itself limits how often."""
        try:
            await self._secrets.pool(refresh=True)
        except StoreUnavailable as error:
            log("pool_refresh_failed", level=30, exc=error)

    async def settled(self) -> None:
        """When everything told to and asked of other processes has arrived."""
        while self._tasks:
            await asyncio.gather(*self._tasks)

    async def _slots(self) -> list[Credential]:
        try:
            told = await self._secrets.pool()
        except StoreUnavailable as error:
            raise GatewayError(
                "unavailable", "The upstream credentials cannot be read.", retry_after=error.retry_after
            ) from error
        if told is not self._told:  # a store that reads again tells another sequence
            hide(*(slot.key for slot in told))
            self._told, self._active = told, [slot for slot in told if slot.status == "active"]
        if not self._active:
            raise GatewayError("unavailable", "The gateway has no upstream credential.", retry_after=30)
        return self._active

    def _ready(self, slots: Sequence[Credential], model: str, exclude: Collection[str]) -> list[Credential]:
        return [slot for slot in slots if slot.id not in exclude and self._rest_of(slot, model) is None]

    def _rests(self, slots: Sequence[Credential], model: str) -> list[Rest]:
        return [rest for slot in slots if (rest := self._rest_of(slot, model))]

    def _rest_of(self, slot: Credential, model: str) -> Rest | None:
        """(seconds left, why) of the longest rest, or None."""
        if not self._resting:
            return None
        now = self._clock()
        owners = [found for owner in {slot.id, _owner(slot)} if (found := self._resting.get(owner))]
        rests = [rest for found in owners for place, rest in found.items() if place.model in ("", model or _NO_MODEL)]
        return max(((until - now, kind) for until, kind in rests if until - now > _EARLY_S), default=None)

    def _forget_past(self) -> None:
        now = self._clock()
        for owner, rests in list(self._resting.items()):
            self._resting[owner] = {place: rest for place, rest in rests.items() if rest[0] > now}
            if not self._resting[owner]:
                del self._resting[owner]

    async def _tell(self, shared: CooldownStore, owner: str) -> None:
        """All that rests under the same owner, so that one write replaces the last."""
        ahead = self._now() - self._clock()
        rests = [
            Cooldown(place.model, place.quota_id, kind, round(until + ahead))
            for place, (until, kind) in self._resting.get(owner, {}).items()
        ]
        try:
            await shared.put(owner, rests)
        except StoreUnavailable as error:
            log("cooldown_not_shared", level=30, exc=error)

    def _learn(self, slots: Sequence[Credential]) -> None:
        if self._shared is None or self._clock() - self._read_at < _READ_EVERY_S:
            return
        self._read_at = self._clock()
        owners = {slot.id for slot in slots} | {_owner(slot) for slot in slots}
        self._spawn(self._read(self._shared, sorted(owners)))

    async def _read(self, shared: CooldownStore, owners: Sequence[str]) -> None:
        try:
            found = await shared.get(owners)
        except StoreUnavailable as error:
            log("cooldowns_unreadable", level=30, exc=error)
            return
        ahead = self._now() - self._clock()
        self._forget_past()
        for owner, rests in found.items():
            known = self._resting.setdefault(owner, {})
            for rest in rests:
                place = _Place(rest.model, rest.quota_id)
                known[place] = max(known.get(place, (0.0, rest.kind)), (rest.until - ahead, rest.kind))

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _owner(slot: Credential) -> str:
    return f"project:{slot.project}" if slot.project else slot.id


def _none_left(rests: Sequence[Rest]) -> GatewayError:
    """Quota is worth waiting for, a refused key is not; credentials that only this request has tried rest for a bit."""
    quotas = [rest for rest in rests if rest[1] != "upstream_auth"]
    if rests and not quotas:
        return GatewayError("upstream_auth", "The upstream refuses the gateway's credentials.")
    wait, kind = min(quotas, default=(_DEFAULT_COOLDOWN_S, "upstream_rate_limited"))
    return GatewayError(kind, "Every upstream credential is at its quota.", retry_after=wait)
