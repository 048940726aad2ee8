"""The generic cell rate algorithm, as arithmetic on integers.

An account's theoretical arrival time (`tat`, microseconds since the epoch) is the moment at which its bucket would be
empty again. Every request moves it ahead; a request is refused while it lies further ahead than the tolerance.
"""

from functools import lru_cache

from msgspec import Struct

_MINUTE_US = 60_000_000


class RateLimit(Struct, frozen=True):
    """One limit and what one request costs of it. `per_minute` is the configured limit; 0 admits nothing."""

    per_minute: int
    cost_us: int
    tolerance_us: int

    @property
    def closed(self) -> bool:
        return self.per_minute == 0

    def refuses(self, tat: int | None, now_us: int) -> bool:
        return self.closed or (tat is not None and tat > now_us + self.tolerance_us)

    def wait_s(self, tat: int | None, now_us: int) -> float | None:
        """Seconds until the same request is admitted; None where waiting does not help."""
        if self.closed:
            return None
        return max(0, (tat or 0) - self.tolerance_us - now_us) / 1_000_000

    def reset_s(self, tat: int | None, now_us: int) -> float:
        return max(0, (tat or 0) - now_us) / 1_000_000

    def room_us(self, tat: int | None, now_us: int) -> int:
        """How far `tat` is from refusing; negative once it refuses."""
        return now_us + self.tolerance_us - max(tat or 0, now_us)


@lru_cache(maxsize=1024)  # the terms of keys, which many share
def request_limit(rpm: int | None, burst: int | None) -> RateLimit | None:
    """None where there is no limit. The burst defaults to ten seconds' worth."""
    if rpm is None:
        return None
    burst = max(1, ceil_div(rpm, 6)) if burst is None else burst
    if rpm == 0 or burst == 0:
        return RateLimit(0, 0, 0)
    cost = ceil_div(_MINUTE_US, rpm)
    return RateLimit(rpm, cost, (burst - 1) * cost)


def token_limit(tpm: int | None, burst: int | None, tokens: int) -> RateLimit | None:
    """None where there is no limit. A request larger than the burst passes and leaves a debt to wait out."""
    if tpm is None:
        return None
    burst = tpm if burst is None else burst
    if tpm == 0 or burst == 0:
        return RateLimit(0, 0, 0)
    return RateLimit(tpm, token_cost_us(tokens, tpm), token_cost_us(burst, tpm))


def token_cost_us(tokens: int, tpm: int) -> int:
    return ceil_div(tokens * _MINUTE_US, tpm)


def requests_left(limit: RateLimit, tat: int | None, now_us: int) -> int:
    return 0 if limit.closed else max(0, limit.room_us(tat, now_us) // limit.cost_us + 1)


def tokens_left(limit: RateLimit, tat: int | None, now_us: int) -> int:
    return 0 if limit.closed else max(0, limit.room_us(tat, now_us) * limit.per_minute // _MINUTE_US)


def ceil_div(dividend: int, divisor: int) -> int:
    return -(-dividend // divisor)
