"""The pool of upstream credentials: weighted choice among healthy ones, rest for those that Google refused."""

import random
import time
from collections.abc import Callable, Collection

from shared.errors import ErrorKind, GatewayError
from shared.gateway.telemetry import hide, log
from shared.stores.protocols import Credential, SecretStore, StoreUnavailable

_DEFAULT_COOLDOWN_S = 5.0
_DAY_COOLDOWN_S = 3600.0
_BAD_KEY_COOLDOWN_S = 300.0

Rest = tuple[float, ErrorKind]
_NO_REST: Rest = (0.0, "internal")


class CredentialPool:
    """`clock` is monotonic seconds. Cooldowns live in this process, per credential and model."""

    def __init__(
        self, secrets: SecretStore, clock: Callable[[], float] = time.monotonic, chance: random.Random | None = None
    ) -> None:
        self._secrets = secrets
        self._clock = clock
        self._chance = chance or random.SystemRandom()
        self._resting: dict[tuple[str, str], tuple[float, ErrorKind]] = {}

    async def choose(self, model: str, exclude: Collection[str] = ()) -> Credential:
        """A healthy credential whose id is not in `exclude`; GatewayError when none is left."""
        try:
            slots = [slot for slot in await self._secrets.pool() if slot.status == "active"]
        except StoreUnavailable as error:
            raise GatewayError(
                "unavailable", "The upstream credentials cannot be read.", retry_after=error.retry_after
            ) from error
        if not slots:
            raise GatewayError("unavailable", "The gateway has no upstream credential.", retry_after=30)
        hide(*(slot.key for slot in slots))
        now = self._clock()
        rests = {slot.id: self._rest_of(slot.id, model, now) for slot in slots}
        ready = [slot for slot in slots if rests[slot.id] is None and slot.id not in exclude]
        if ready:
            return self._chance.choices(ready, weights=[max(slot.weight, 1) for slot in ready])[0]
        raise _none_left([rest for rest in rests.values() if rest])

    def rest(self, slot: Credential, model: str, error: GatewayError) -> None:
        """Keep a credential out of the choice for as long as its error says."""
        if error.kind == "upstream_auth":
            self._resting[slot.id, ""] = self._clock() + _BAD_KEY_COOLDOWN_S, error.kind
            log("credential_refused", level=40, credential=slot.id, reason=error.reason)
        elif error.kind == "upstream_quota":
            self._resting[slot.id, model] = self._clock() + _DAY_COOLDOWN_S, error.kind
        elif error.kind == "upstream_rate_limited":
            wait = error.retry_after or _DEFAULT_COOLDOWN_S
            self._resting[slot.id, model] = self._clock() + wait, error.kind

    async def refresh(self) -> None:
        """Read the pool again after a refused credential; the store itself limits how often."""
        try:
            await self._secrets.pool(refresh=True)
        except StoreUnavailable as error:
            log("pool_refresh_failed", level=30, exc=error)

    def _rest_of(self, slot_id: str, model: str, now: float) -> Rest | None:
        """(seconds left, why) of the longer rest, or None."""
        rests = [self._resting[place] for place in ((slot_id, ""), (slot_id, model)) if place in self._resting]
        until, kind = max(rests, default=_NO_REST)
        return (until - now, kind) if until > now else None


def _none_left(rests: list[Rest]) -> GatewayError:
    """Quota is worth waiting for, a refused key is not; credentials that only this request has tried rest for a bit."""
    quotas = [rest for rest in rests if rest[1] != "upstream_auth"]
    if rests and not quotas:
        return GatewayError("upstream_auth", "The upstream refuses the gateway's credentials.")
    wait, kind = min(quotas, default=(_DEFAULT_COOLDOWN_S, "upstream_rate_limited"))
    return GatewayError(kind, "Every upstream credential is at its quota.", retry_after=wait)
