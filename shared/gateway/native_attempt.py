"""One try at a native answer, over all its hops: what has been read of it, and what of it may be shown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.dialects.gemini_native import joined
from shared.dialects.gemini_native.elements import Element, Elements, Gate, chunk_of, shows
from shared.dialects.gemini_native.framing import Splitter
from shared.dialects.gemini_native.reading import parsed, plain_texts
from shared.errors import GatewayError
from shared.events import Finish
from shared.gateway.context import Exchange
from shared.gateway.native_echo import EchoCut
from shared.gateway.native_tap import Tap
from shared.gateway.upstream import Hop


class Attempt:
    """`stream`: its chunks are shown as they come, and as one answer else. `joins`: the ends of hops are hidden.
    `earlier` is the usage of answers that were asked for again: it is billed, so the answer's usage tells it."""

    def __init__(
        self, exchange: Exchange, echo: EchoCut, earlier: Sequence[Mapping[str, Any]], *, stream: bool, joins: bool
    ) -> None:
        self.tap = Tap()
        self.hop = Hop()
        self._exchange = exchange
        self._echo = echo
        self._stream = stream
        self._joins = joins
        self._usages = list(earlier)  # and of the hops before the running one
        self._gate = Gate()
        self._silent = True  # the running hop has said nothing yet
        self._ending: list[bytes] = []  # what the end of the running hop becomes is known behind it
        self._whole: list[bytes] = []  # plain replies, one for each hop

    @property
    def visible(self) -> bool:
        """Whether the answer has said anything."""
        return self._gate.visible

    @property
    def fresh(self) -> bool:
        """Whether the answer goes on, and has said nothing more yet."""
        return self._silent and self.hop.number > 0

    @property
    def spent(self) -> list[Mapping[str, Any]]:
        """What has been used so far, call by call."""
        counters = self.tap.hop_counters
        return [*self._usages, counters] if counters else self._usages

    def begin_hop(self) -> None:
        self._silent = True

    def feed(self, splitter: Splitter, data: bytes) -> Iterator[Elements]:
        """What may leave of what has arrived; no data is the end of a hop. Raises what is wrong with an object once
        all that came before it has left."""
        raws = splitter.feed(data) if data else splitter.close()
        if self._silent and not (raws or data):
            raise GatewayError("upstream_invalid_response", "The upstream's reply is empty.")
        # the very first object leaves while those that came with it are read
        for together in (raws[:1], raws[1:]) if self._silent else (raws,):
            shown: Elements = []
            try:
                self._read(together, shown)
            except GatewayError:
                if shown:
                    yield shown
                raise
            if shown:
                yield shown

    def end_hop(self) -> Elements:
        """What was held at the end of a hop: without its ending where another hop follows."""
        held: Elements = [*self._ending]
        self._ending.clear()
        if self.hop.wanted:
            open_ended = [joined.unfinished(chunk_of(element)) for element in held]
            held = [chunk for chunk in open_ended if joined.shows_something(chunk)]
        return [one for element in self._joined(held) for one in self._passing([element], *shows(chunk_of(element)))]

    def whole(self) -> Elements:
        """The plain answer, if it is one: plain replies to all hops as one."""
        tap, hops = self.tap, self._whole
        if len(hops) < 2:
            return self._passing(self._joined(hops), tap.has_call, tap.has_output) if hops else []
        before = self._usages[: len(self._usages) - len(hops) + 1]  # of answers that were asked for again
        whole = joined.whole([parsed(hop) for hop in hops])
        return self._passing([joined.later(whole, tap.response_id, before) if before else whole], *shows(whole))

    def end(self) -> tuple[Finish, str] | None:
        """How the answer ended; a stream without a word for it broke off, a whole body without one is what it is."""
        try:
            return self.tap.end()
        except GatewayError:
            if not self._stream:
                return None
            raise

    def rest(self, *, void: bool) -> Elements:
        """What is still held after the end; without its calls where that makes them `void`."""
        return self._without_echo(self._gate.close(void=void))

    def _read(self, raws: list[bytes], shown: Elements) -> None:
        """Adds what may leave to `shown`."""
        at = 0
        while at < len(raws):
            if self._stream and (texts := plain_texts(raws, at)).count:
                self._hear()
                plain = raws[at : at + texts.count]
                self.tap.feed_plain(texts, plain[-1])
                shown += self._sorted(plain)
                at += texts.count
            if at < len(raws):
                chunk = parsed(raws[at])
                self._hear()
                self.tap.feed(chunk)
                shown += self._sorted(raws[at : at + 1])
                at += 1

    def _hear(self) -> None:
        if not self._silent:
            return
        self._silent = False
        self._exchange.mark_first_byte()
        if self.hop.number > 0:
            self._usages.append(self.tap.hop_counters)
            self.tap.next_hop()

    def _sorted(self, raws: list[bytes]) -> Elements:
        """What may leave of what the tap was fed last."""
        tap = self.tap
        if not self._stream:
            self._whole += raws
        elif self._joins and (self._ending or tap.ends_hop):
            self._ending += raws
        else:
            return self._passing(self._joined(raws), tap.has_call, tap.has_output)
        return []

    def _joined(self, elements: Sequence[Element]) -> Elements:
        if not self._usages:
            return list(elements)
        return [joined.later(chunk_of(element), self.tap.response_id, self._usages) for element in elements]

    def _passing(self, elements: Elements, has_call: bool, has_output: bool) -> Elements:
        settled = self.tap.settled
        passed = self._gate.feed(elements, has_call=has_call, has_output=has_output, settled=settled)
        return self._without_echo(passed)

    def _without_echo(self, elements: Elements) -> Elements:
        if self._echo.over:
            return elements
        return [shown for element in elements if (shown := self._echo.feed(element)) is not None]
