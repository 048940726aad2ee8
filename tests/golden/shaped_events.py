"""A recorded reply as the events that a dialect renders: split, read, shaped."""

from collections.abc import Iterable

from shared.dialects.contract import Translation
from shared.errors import GatewayError
from shared.events import Event
from shared.gateway.shaping import Shaper
from shared.gemini.reader import ReplyReader
from shared.gemini.upstream_stream import read_chunk
from shared.sse import SseSplitter


def shaped_events(pieces: Iterable[bytes], prefix: str) -> tuple[list[Event], GatewayError | None]:
    """(events shaped for a client, None), or (those before the failure, the failure). Ids of calls that came without
    one begin with the prefix."""
    splitter, reader = SseSplitter(), ReplyReader()
    numbers = iter(range(1000))
    shaper = Shaper(Translation(request={}), lambda: f"{prefix}{next(numbers)}")
    events: list[Event] = []
    try:
        frames = [frame for piece in pieces for frame in splitter.feed(piece)] + splitter.close()
        for frame in frames:
            events += [out for event in reader.feed(read_chunk(frame)) for out in shaper.feed(event)]
        events += [out for event in reader.close() for out in shaper.feed(event)]
    except GatewayError as error:
        return events, error
    return events, None
