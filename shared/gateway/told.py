"""What an answer has told of itself so far: read by `ReplyReader` for most dialects, tapped by the native one."""

from typing import Protocol

from shared.events import Usage


class Told(Protocol):
    """See `ReplyReader`."""

    model_version: str
    response_id: str
    earlier_usages: list[Usage]

    @property
    def finish(self) -> str: ...
    @property
    def usage(self) -> Usage: ...
    @property
    def hop_usage(self) -> Usage: ...
    @property
    def continuation_token(self) -> str | None: ...
    @property
    def token_covers_output(self) -> bool: ...
    @property
    def hop_output_seen(self) -> bool: ...
