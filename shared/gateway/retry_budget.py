"""How often one environment may try again: retries must not multiply the load of an upstream that is down."""

from typing import Final

CAPACITY: Final = 100.0
_EARNED: Final = 0.1


class RetryBudget:
    """A bucket of retries, full at the start; every call earns a tenth of one."""

    def __init__(self, capacity: float = CAPACITY) -> None:
        self._capacity = capacity
        self._left = capacity

    @property
    def left(self) -> float:
        return self._left

    def earn(self) -> None:
        self._left = min(self._capacity, self._left + _EARNED)

    def take(self) -> bool:
        """Whether there was a retry left to take."""
        if self._left < 1:
            return False
        self._left -= 1
        return True
