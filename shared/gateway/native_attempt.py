"""One try at a native answer, over all its hops: what has been read of it, and what of it may be shown."""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct, field

from shared.dialects.gemini_native import joined
from shared.dialects.gemini_native.elements import Element, Elements, Gate
from shared.dialects.gemini_native.reading import apart
from shared.errors import GatewayError
from shared.events import End
from shared.gateway.native_echo import EchoCut
from shared.gateway.upstream import Hop
from shared.gemini.finish import finish_class
from shared.gemini.reader import ReplyReader
from shared.stores.protocols import Credential


class Join(Struct):
    """What earlier hops, and answers that were asked for again, leave behind for the chunks of later ones."""

    usages: list[Mapping[str, Any]] = field(default_factory=list)
    response_id: str = ""
    last_usage: Mapping[str, Any] = field(default_factory=dict)
    held: Elements = field(default_factory=list)

    def watch(self, chunk: Mapping[str, Any]) -> None:
        self.response_id = self.response_id or str(chunk.get("responseId", ""))
        if isinstance(usage := chunk.get("usageMetadata"), Mapping):
            self.last_usage = usage

    def next_hop(self) -> None:
        self.usages.append(self.last_usage)
        self.last_usage = {}

    def joined(self, elements: Elements) -> Elements:
        if not self.usages:
            return elements
        return [Element(joined.later(one.chunk, self.response_id, self.usages), None) for one in apart(elements)]

    def end_hop(self, *, more: bool) -> Elements:
        """What was held at the end of a hop: without its ending where another hop follows."""
        held, self.held = self.held, []
        if more:
            open_ended = [Element(joined.unfinished(element.chunk), None) for element in apart(held)]
            held = [element for element in open_ended if joined.shows_something(element.chunk)]
        return self.joined(held)

    def whole(self, hops: Elements) -> Elements:
        """Plain replies to all hops as one."""
        if len(hops) == 1:
            return self.joined(hops)
        before = self.usages[: len(self.usages) - len(hops) + 1]  # of answers that were asked for again
        whole = joined.whole([hop.chunk for hop in hops])
        return [Element(joined.later(whole, self.response_id, before) if before else whole, None)]

    @property
    def spent(self) -> list[Mapping[str, Any]]:
        """What has been used so far, call by call."""
        return [*self.usages, self.last_usage] if self.last_usage else self.usages


class Attempt:
    """`stream`: its chunks are shown as they come, and as one answer else. `joins`: the ends of hops are hidden.
    `number` is that of the first call among the upstream calls of the request."""

    def __init__(self, slot: Credential, join: Join, number: int, echo: EchoCut, *, stream: bool, joins: bool) -> None:
        self.slot = slot
        self.join = join
        self.number = number
        self.reader = ReplyReader()
        self.hop = Hop()
        self._gate = Gate()
        self._echo = echo
        self._stream = stream
        self._joins = joins
        self._whole: Elements = []

    @property
    def visible(self) -> bool:
        """Whether the answer has said anything."""
        return self._gate.visible

    def next_hop(self) -> None:
        self.reader.next_hop()
        self.join.next_hop()

    def feed(self, burst: Sequence[Element]) -> tuple[Elements, GatewayError | None]:
        """What of these may leave now, and the failure that one of them turned out to be: those before it count."""
        shown: Elements = []
        try:
            for element in burst:
                self.reader.feed(element.chunk)  # an error object raises
                self.join.watch(element.chunk)
                if not self._stream:
                    self._whole.append(element)
                elif self._joins and (self.join.held or joined.ends_hop(element.chunk)):
                    self.join.held.append(element)  # what it becomes is known at the end of the hop
                else:
                    shown += self._passing(self.join.joined([element]))
        except GatewayError as failure:
            return shown, failure
        return shown, None

    def end_hop(self) -> Elements:
        return self._passing(self.join.end_hop(more=self.hop.wanted))

    def whole(self) -> Elements:
        """The plain answer, if it is one."""
        return self._passing(self.join.whole(self._whole)) if self._whole else []

    def end(self) -> End | None:
        """How the answer ended; a stream without a word for it broke off, a whole body without one is what it is."""
        try:
            end = self.reader.close()[-1]
        except GatewayError:
            if not self._stream:
                return None
            raise
        assert isinstance(end, End)
        return end

    def rest(self, *, void: bool) -> Elements:
        """What is still held after the end; without its calls where that makes them `void`."""
        return self._without_echo(self._gate.close(void=void))

    def _passing(self, elements: Elements) -> Elements:
        settled = self._settled
        return self._without_echo([one for held in elements for one in self._gate.feed(held, settled=settled)])

    def _without_echo(self, elements: Elements) -> Elements:
        if self._echo.over:
            return elements
        return [shown for element in apart(elements) if (shown := self._echo.feed(element))]

    @property
    def _settled(self) -> bool:
        """Whether the upstream has named a reason for the end that is no fault."""
        reason = self.reader.finish
        return reason not in ("", "FINISH_REASON_UNSPECIFIED") and finish_class(reason) not in ("fault", "account")
