"""How long the gateway waits for its upstream; data only, so that the configuration can name it without an HTTP
library."""

from msgspec import Struct


class Timeouts(Struct, frozen=True):
    """Seconds. A thinking model may be silent for long, before its first event and between two; `whole` is the patience
    with one long answer that cannot be streamed. The time left of a request bounds them all."""

    connect: float = 3
    write: float = 10
    first_byte: float = 60
    first_byte_thinking: float = 240
    idle: float = 60
    idle_thinking: float = 180
    whole: float = 900
