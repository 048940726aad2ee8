"""A circuit breaker for each upstream model: an upstream that fails every time is left alone for a while.

It lives in one process and writes nothing. Models are told apart because Google's overloads are a model's own, and a
fallback to another model must stay possible.
"""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from shared.errors import ErrorKind, GatewayError

CIRCUIT_OPEN: Final = "circuit_open"  # the reason of the refusal: no upstream call was made
REST_S: Final = (10.0, 30.0)
_PROBE_WAIT_S: Final = 1.0
_MODELS: Final = 256

# A refusal of the request, of a credential or of a quota is an answer of an upstream that works.
_FAILURES: frozenset[ErrorKind] = frozenset(
    {
        "upstream_overloaded",
        "upstream_internal",
        "upstream_timeout",
        "upstream_unreachable",
        "upstream_invalid_response",
    }
)


class _Circuit(Struct):
    failures: int = 0
    until: float = 0.0  # 0: closed
    probing: bool = False


class CircuitBreaker:
    """Opens after `failures` in a row, 0 never; stays open for 10 to 30 s; then one call probes for all.

    `clock` gives monotonic seconds, `between` a random number between two others.
    """

    def __init__(self, failures: int, clock: Callable[[], float], between: Callable[[float, float], float]) -> None:
        self._limit = failures
        self._clock = clock
        self._between = between
        self._circuits: dict[str, _Circuit] = {}

    def watch(self, model: str) -> "_Watch":
        """Around one call up to its first byte. Raises `upstream_overloaded`, with the rest as `retry_after`, where the
        circuit is open."""
        return _Watch(self, model)

    def enter(self, model: str) -> bool:
        """Whether this call is the probe."""
        circuit = self._circuits.get(model)
        if circuit is None or not circuit.until:
            return False
        left = circuit.until - self._clock()
        if left > 0 or circuit.probing:
            raise GatewayError(
                "upstream_overloaded",
                "The upstream fails at the moment. Please try again later.",
                retry_after=max(left, _PROBE_WAIT_S),
                reason=CIRCUIT_OPEN,
            )
        circuit.probing = True
        return True

    def leave(self, model: str, error: BaseException | None, *, probe: bool) -> None:
        if error is None:
            self._circuits.pop(model, None)
        elif isinstance(error, GatewayError):
            if error.kind not in _FAILURES:
                self._circuits.pop(model, None)
            elif self._limit:
                self._failed(model)
        elif probe and model in self._circuits:  # the call was given up, which says nothing about the upstream
            self._circuits[model].probing = False

    def _failed(self, model: str) -> None:
        if model not in self._circuits and len(self._circuits) >= _MODELS:
            self._circuits.pop(next(iter(self._circuits)))
        circuit = self._circuits.setdefault(model, _Circuit())
        circuit.failures += 1
        if circuit.probing or (not circuit.until and circuit.failures >= self._limit):
            circuit.until = self._clock() + self._between(*REST_S)
            circuit.probing = False


class _Watch:
    """A plain class: a context manager made of a generator costs several times as much, for every call."""

    __slots__ = ("_breaker", "_model", "_probe")

    def __init__(self, breaker: CircuitBreaker, model: str) -> None:
        self._breaker, self._model = breaker, model

    def __enter__(self) -> None:
        self._probe = self._breaker.enter(self._model)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._breaker.leave(self._model, error, probe=self._probe)
