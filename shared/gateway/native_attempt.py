"""One try at a native answer, over all its hops: what has been read of it, and what of it may be shown."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shared.dialects.gemini_native import joined
from shared.dialects.gemini_native.elements import Element, Elements, Gate, candidates_of, chunk_of, shows
from shared.dialects.gemini_native.framing import Splitter
from shared.dialects.gemini_native.reading import parsed, plain_texts
from shared.errors import GatewayError
from shared.events import Finish
from shared.gateway.context import Exchange
from shared.gateway.metering import Meter
from shared.gateway.native_call import NativeCall
from shared.gateway.native_echo import EchoCut
from shared.gateway.native_tap import Tap
from shared.gateway.recovery import AskAgain, Progress
from shared.gateway.upstream import Hop, note
from shared.gemini.client import RelayCall, RelayReply
from shared.gemini.errors import from_chunk
from shared.stores.protocols import Credential


class Attempt:
    """`usages` are those of answers that were asked for again: they are billed, so this answer's usage tells them, and
    leaving the attempt adds its own. However it is left, what it used is noted."""

    def __init__(
        self,
        call: NativeCall,
        progress: Progress,
        slot: Credential,
        meter: Meter,
        exchange: Exchange,
        usages: list[Mapping[str, Any]],
    ) -> None:
        meter.outcome.attempts += 1
        meter.outcome.use(slot)
        self.tap = Tap()
        self.hop = Hop(self.tap, meter, exchange)
        self._joins = call.join  # the ends of hops are hidden
        self.reading = False
        self._call = call
        self._number = meter.outcome.attempts  # stands beside other candidates and discarded attempts
        self._progress = progress
        self._meter = meter
        self._exchange = exchange
        self._usages = usages  # and of the hops before the running one
        self._stream = call.stream
        self._echo = EchoCut(call.echo_prefix, whole=not call.stream)
        self._gate = Gate()
        self._splitter: Splitter  # of the running hop
        self._silent = True  # the running hop has said nothing yet
        self._ending: list[bytes] = []  # what the end of the running hop becomes is known behind it
        self._hidden: list[bytes] = []  # the ending before, which is the answer's where no other hop speaks
        self._whole: list[bytes] = []  # plain replies, one for each hop

    def __enter__(self) -> "Attempt":
        return self

    def __exit__(self, *exc: object) -> None:  # also where the client has left
        if self.tap.started:
            note(self.hop, self._number)
        if counters := self.tap.hop_counters:
            self._usages.append(counters)

    def next_call(self) -> tuple[RelayCall, bool]:
        """The call for the next hop, and whether the model thinks."""
        self._silent = True
        progress = self._progress
        return self._call.relay(progress.model_id, self.hop.request(progress.request)), progress.thinking

    def begin_hop(self, reply: RelayReply) -> None:
        self.hop.served_as(reply.headers.get("x-gemini-service-tier", "").lower())
        self._splitter = self._call.splitter()
        self.reading = True

    def feed(self, data: bytes) -> Iterator[Elements]:
        """What may leave of what has arrived; no data is the end of a hop. Raises what is wrong with an object once
        all that came before it has left."""
        self.reading = bool(data)
        raws = self._splitter.feed(data) if data else self._splitter.close()
        if not raws:
            if self._silent and not data:
                raise GatewayError("upstream_invalid_response", "The upstream's reply is empty.")
            return
        # the very first object leaves while those that came with it are read
        for together in (raws[:1], raws[1:]) if self._silent and len(raws) > 1 else (raws,):
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
        """What was held at the end of a hop: without its ending where another hop follows. Where that one was refused,
        the ending alone."""
        ending, self._ending = self._ending, []
        held: Elements = [*ending]
        if self.hop.wanted:
            if not self._silent:
                self._hidden = ending
            open_ended = [joined.unfinished(chunk_of(element)) for element in held]
            held = [chunk for chunk in open_ended if joined.shows_something(chunk)]
        elif self.hop.fresh:
            held = [joined.ending(chunk_of(element)) for element in self._hidden]
        return [one for element in self._joined(held) for one in self._passing_anew(element)]

    def close(self) -> Elements:
        """What was held back to the end of the answer. One that says nothing, or that the model failed at, is asked for
        once more; the second time it is the answer, with the upstream's own word for it."""
        whole = self._whole_answer()
        finish, reason = self._end() or (None, "")
        self._meter.outcome.finish_reason = reason
        if finish is not None and not self._gate.visible:
            self._judge(finish, reason)
        return whole + self._leaving(self._gate.close(void=finish == "fault"))

    def _whole_answer(self) -> Elements:
        """Plain replies to all hops as one."""
        tap, hops = self.tap, self._whole
        if len(hops) < 2:
            return self._passing(self._joined(hops), tap.has_call, tap.has_output) if hops else []
        before = self._usages[: len(self._usages) - len(hops) + 1]  # of answers that were asked for again
        whole = joined.whole([parsed(hop) for hop in hops])
        return self._passing_anew(joined.later(whole, tap.response_id, before) if before else whole)

    def _end(self) -> tuple[Finish, str] | None:
        """A stream without a word for its end broke off, a whole body without one is what it is."""
        try:
            return self.tap.end()
        except GatewayError:
            if not self._stream:
                return None
            raise

    def _judge(self, finish: Finish, reason: str) -> None:
        """An answer that showed nothing: once more, where another try may say more."""
        if finish == "account":
            raise GatewayError("upstream_auth", "The upstream has disabled this project.", reason=reason.lower())
        if finish in ("stop", "no_output", "fault") and not self._progress.refilled:
            self._progress.refill(reason)
            raise AskAgain

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
                if self._silent and "error" in chunk:  # a refusal under another status, as one with its own
                    raise from_chunk(chunk["error"])
                self._hear()
                self.tap.feed(chunk)
                shown += self._sorted(raws[at : at + 1])
                at += 1

    def _hear(self) -> None:
        if not self._silent:
            return
        self._silent = False
        self._exchange.mark_first_byte()
        if self.hop.fresh:
            self.hop.fresh = False
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
        return self._leaving(self._gate.feed(elements, has_call=has_call, has_output=has_output, settled=settled))

    def _passing_anew(self, element: Element) -> Elements:
        """For one that the tap was not fed last."""
        return self._passing([element], *shows(candidates_of(chunk_of(element))))

    def _leaving(self, elements: Elements) -> Elements:
        if elements and not self._echo.over:
            elements = [shown for element in elements if (shown := self._echo.feed(element)) is not None]
        if elements:
            self._progress.shown = True
        return elements
