"""The pool of upstream credentials: weighted choice among healthy ones, rest for those that Google refused."""

import random
import time
from collections.abc import Callable, Collection

from shared.errors import GatewayError
from shared.gateway.telemetry import hide, log
from shared.stores.protocols import Credential, SecretStore, StoreUnavailable

_DEFAULT_COOLDOWN_S = 5.0
_DAY_COOLDOWN_S = 3600.0
_BAD_KEY_COOLDOWN_S = 300.0


class CredentialPool:
    """`clock` is monotonic seconds. Cooldowns live in this process, per credential and model."""

    def __init__(
        self, secrets: SecretStore, clock: Callable[[], float] = time.monotonic, chance: random.Random | None = None
    ) -> None:
        self._secrets = secrets
        self._clock = clock
        self._chance = chance or random.SystemRandom()
        self._until: dict[tuple[str, str], float] = {}

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
        waits = {slot.id: self._wait(slot.id, model, now) for slot in slots}
        ready = [slot for slot in slots if not waits[slot.id] and slot.id not in exclude]
        if ready:
            return self._chance.choices(ready, weights=[max(slot.weight, 1) for slot in ready])[0]
        shortest = min(wait or _DEFAULT_COOLDOWN_S for wait in waits.values())
        raise GatewayError("upstream_rate_limited", "Every upstream credential is at its quota.", retry_after=shortest)

    def rest(self, slot: Credential, model: str, error: GatewayError) -> None:
        """Keep a credential out of the choice for as long as its error says."""
        if error.kind == "upstream_auth":
            self._until[slot.id, ""] = self._clock() + _BAD_KEY_COOLDOWN_S
            log("credential_refused", level=40, credential=slot.id, reason=error.reason)
        elif error.kind == "upstream_quota":
            self._until[slot.id, model] = self._clock() + _DAY_COOLDOWN_S
        elif error.kind == "upstream_rate_limited":
            self._until[slot.id, model] = self._clock() + (error.retry_after or _DEFAULT_COOLDOWN_S)

    async def refresh(self) -> None:
        """Read the pool again after a refused credential; the store itself limits how often."""
        try:
            await self._secrets.pool(refresh=True)
        except StoreUnavailable as error:
            log("pool_refresh_failed", level=30, exc=error)

    def _wait(self, slot_id: str, model: str, now: float) -> float:
        until = max(self._until.get((slot_id, ""), 0.0), self._until.get((slot_id, model), 0.0))
        return max(0.0, until - now)
