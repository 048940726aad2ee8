"""The candidates of a native answer: one call of the upstream for each, side by side."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from msgspec import structs

from shared.dialects.gemini_native.choices import Choices, together
from shared.dialects.gemini_native.elements import Element
from shared.gateway.context import Exchange
from shared.gateway.fan_out import merged
from shared.gateway.metering import Meter
from shared.gateway.native_links import relayed
from shared.gateway.native_upstream import NativeCall, NativeUpstream
from shared.gemini.catalog import ResolvedModel


async def candidates(
    upstream: NativeUpstream, call: NativeCall, count: int, model: ResolvedModel, exchange: Exchange, meter: Meter
) -> AsyncGenerator[Element]:
    """The objects of an answer with `count` candidates, those of a stream as they come; one candidate passes as it is.
    The first that fails ends them all."""
    calls = [call] if count == 1 else [structs.replace(call, notes=[]) for _ in range(count)]
    answers = [relayed(upstream, each, model, exchange, meter) for each in calls]
    choices, whole = Choices(count), [Element({}, None)] * count
    async with aclosing(merged(answers)) as elements:
        async for index, element in elements:
            _gather_notes(call, calls)
            if count == 1:
                yield element
            elif call.stream:
                yield Element(choices.chunk(index, element.chunk), None)
            else:
                whole[index] = element
    if count > 1 and not call.stream:
        yield Element(together([element.chunk for element in whole]), None)


def _gather_notes(call: NativeCall, calls: Sequence[NativeCall]) -> None:
    call.notes[:] = dict.fromkeys(note for each in calls for note in each.notes)
