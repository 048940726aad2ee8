"""The candidates of a native answer: one call of the upstream for each, side by side."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from msgspec import structs

from shared.dialects.gemini_native.choices import Choices, together
from shared.dialects.gemini_native.elements import Elements, chunk_of
from shared.gateway.context import Exchange
from shared.gateway.fan_out import merged
from shared.gateway.metering import Meter
from shared.gateway.native_call import NativeCall
from shared.gateway.native_links import relayed
from shared.gateway.native_upstream import NativeUpstream
from shared.gemini.catalog import ResolvedModel


def candidates(
    upstream: NativeUpstream, call: NativeCall, count: int, model: ResolvedModel, exchange: Exchange, meter: Meter
) -> AsyncGenerator[Elements]:
    """The objects of an answer with `count` candidates, those of a stream as they come; one candidate passes as it is.
    The first that fails ends them all."""
    if count == 1:
        return relayed(upstream, call, model, exchange, meter)
    return _several(upstream, call, count, model, exchange, meter)


async def _several(
    upstream: NativeUpstream, call: NativeCall, count: int, model: ResolvedModel, exchange: Exchange, meter: Meter
) -> AsyncGenerator[Elements]:
    calls = [structs.replace(call, notes=[]) for _ in range(count)]
    answers = [relayed(upstream, each, model, exchange, meter) for each in calls]
    choices = Choices(count)
    whole: Elements = [{}] * count
    async with aclosing(merged(answers)) as bursts:
        async for index, burst in bursts:
            _gather_notes(call, calls)
            if call.stream:
                yield [choices.chunk(index, chunk_of(element)) for element in burst]
            else:
                (whole[index],) = burst
    if not call.stream:
        yield [together([chunk_of(element) for element in whole])]


def _gather_notes(call: NativeCall, calls: Sequence[NativeCall]) -> None:
    call.notes[:] = dict.fromkeys(note for each in calls for note in each.notes)
