"""The state of a key's limits after a decision, for the headers of every dialect."""

from msgspec import Struct


class LimitState(Struct, frozen=True):
    """What the limits look like after a decision; None = unlimited. Resets are seconds from now."""

    requests_limit: int | None = None
    requests_remaining: int | None = None
    requests_reset: float = 0.0
    tokens_limit: int | None = None
    tokens_remaining: int | None = None
    tokens_reset: float = 0.0
    budget_remaining_nano: int | None = None
