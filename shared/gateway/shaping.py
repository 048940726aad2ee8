"""What the gateway does to reply events before a dialect renders them: the client's tool names, public ids, stop
sequences that the upstream does not know, fences around JSON, an echoed prefill. Pure; one `Shaper` per choice."""

import re
from collections.abc import Callable, Sequence

from shared.dialects.contract import Translation
from shared.events import BlockDelta, BlockEnd, BlockStart, Citation, End, Event, ToolCall, Usage
from shared.gemini.tool_names import restore

_OPENING_FENCE = r"\s*```(?:json|JSON)?[ \t]*\r?\n?"
_CLOSING_FENCE = r"\r?\n?```\s*$"


class TextFilter:
    """Changes the visible text on its way: `feed` may hold text back, `flush` gives what is left of a block. `dropped`
    counts the characters taken off the starts of blocks."""

    dropped = 0

    def feed(self, text: str) -> str:
        raise NotImplementedError

    def flush(self) -> str:
        return ""


class StopScan(TextFilter):
    """Cuts the text before the first stop sequence, which may span deltas; `found` names it."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._held = ""
        self.found: str | None = None

    def feed(self, text: str) -> str:
        if self.found is not None:
            return ""
        self._held += text
        hits = [(position, stop) for stop in self._stops if (position := self._held.find(stop)) >= 0]
        if hits:
            position, self.found = min(hits)
            cut, self._held = self._held[:position], ""
            return cut
        keep = self._possible_start()
        out, self._held = self._held[: len(self._held) - keep], self._held[len(self._held) - keep :]
        return out

    def flush(self) -> str:
        out, self._held = self._held, ""
        return out

    def _possible_start(self) -> int:
        """Length of the longest tail that could begin a stop sequence."""
        held, longest = self._held, 0
        for stop in self._stops:
            start = held.find(stop[0], max(0, len(held) - len(stop) + 1))
            while start >= 0 and not stop.startswith(held[start:]):
                start = held.find(stop[0], start + 1)
            if start >= 0:
                longest = max(longest, len(held) - start)
        return longest


class Unfence(TextFilter):
    """Removes the code fence that models put around JSON when they were only asked for it; fences that stand inside
    other words stay as they are."""

    _TAIL = 8

    def __init__(self) -> None:
        self._held = ""
        self._opened = False  # whether it is clear how the block begins
        self._fence = False  # and that it begins with a fence

    def feed(self, text: str) -> str:
        self._held += text
        if not self._opened:
            if len(self._held.lstrip()) < 12 and "\n" not in self._held.lstrip():
                return ""  # not yet clear whether a fence opens
            self._open()
        out, self._held = self._held[: -self._TAIL], self._held[-self._TAIL :]
        return out

    def flush(self) -> str:
        if not self._opened:
            self._open()
        out = re.sub(_CLOSING_FENCE, "", self._held) if self._fence else self._held
        self._held, self._opened = "", False
        return out

    def _open(self) -> None:
        self._opened = True
        self._fence = _fenced(self._held)
        if self._fence:
            inside = re.sub(_OPENING_FENCE, "", self._held, count=1)
            self.dropped += len(self._held) - len(inside)
            self._held = inside


def _fenced(text: str) -> bool:
    return text.lstrip().startswith("```")


class StripEcho(TextFilter):
    """Drops the prefill where the answer repeats it instead of going on after it."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._held = ""
        self._decided = False

    def feed(self, text: str) -> str:
        if self._decided:
            return text
        self._held += text
        if len(self._held) < len(self._prefix) and self._prefix.startswith(self._held):
            return ""
        self._decided = True
        out = self._held.removeprefix(self._prefix)
        self.dropped, self._held = len(self._held) - len(out), ""
        return out

    def flush(self) -> str:
        out, self._held = self._held, ""
        return out


class Shaper:
    """`feed` maps one event to the events a renderer should see. `new_id` makes a public tool call id. Once `stopped`,
    feed no more: `stop` ends the answer."""

    def __init__(self, translation: Translation, new_id: Callable[[], str]) -> None:
        self._translation = translation
        self._new_id = new_id
        self._scan = StopScan(translation.stop) if translation.stop else None
        self._filters: list[TextFilter] = []
        if translation.echo_prefix:
            self._filters.append(StripEcho(translation.echo_prefix))
        if translation.unfence_json:
            self._filters.append(Unfence())
        if self._scan:
            self._filters.append(self._scan)
        self._open: set[int] = set()  # text blocks that are being filtered
        self._came = self._went = 0  # characters of visible text, where filters change it
        self._begins: dict[int, int] = {}  # where a block begins in the text that came: how much nearer it stands now
        self._calls = 0

    def feed(self, event: Event) -> list[Event]:
        match event:
            case ToolCall():
                call = self._call(event)
                return [] if call is None else [call]
            case BlockStart(kind="text") if self._filters:
                self._open.add(event.index)
                self._begins[self._came] = self._came - self._went - self._dropped()
            case BlockDelta() if event.index in self._open:
                self._came += len(event.text)
                return self._delta(event.index, self._run(event.text))
            case BlockEnd() if event.index in self._open:
                self._open.discard(event.index)
                rest = self._delta(event.index, self._drain())
                self._begins[max(self._begins)] += self._dropped()
                return [*rest, event]
            case Citation() if self._filters:
                return self._moved(event)
        return [event]

    def feed_all(self, events: list[Event]) -> list[Event]:
        """The events that a renderer should see of these; where a stop sequence is among them, it ends them. Most
        often nothing is to be done, and they are the same list."""
        shaped: list[Event] = []
        if self._filters:
            for event in events:
                shaped += self.feed(event)
                if self.stopped:
                    return shaped + self.stop()
            return shaped
        if ToolCall not in map(type, events):
            return events
        for event in events:
            if type(event) is not ToolCall:
                shaped.append(event)
            elif (call := self._call(event)) is not None:
                shaped.append(call)
        return shaped

    def _call(self, call: ToolCall) -> ToolCall | None:
        self._calls += 1
        if self._translation.single_call and self._calls > 1:
            return None  # the first call carries the step's signature
        name = restore(call.name, self._translation.tool_names, self._translation.declared_tools)
        public_id = call.call_id or self._new_id()
        return ToolCall(call.index, name, call.args, call.native_id, call.signature, public_id)

    def _delta(self, index: int, text: str) -> list[Event]:
        self._went += len(text)
        return [BlockDelta(index, text)] if text else []

    def _dropped(self) -> int:
        return sum(item.dropped for item in self._filters)

    def _moved(self, citation: Citation) -> list[Event]:
        """The citation of the same words where they stand now; none of words that are gone."""
        nearer = max((gone for begin, gone in self._begins.items() if begin <= citation.start), default=0)
        start, end = max(0, citation.start - nearer), min(citation.end - nearer, self._went)
        return [Citation(start, end, citation.url, citation.title)] if start < end else []

    @property
    def stopped(self) -> bool:
        """A stop sequence was found: what the upstream still says is not for the client."""
        return self._scan is not None and self._scan.found is not None

    def stop(self) -> list[Event]:
        """The events that end an answer at its stop sequence."""
        found = self._scan.found if self._scan else None
        ends: list[Event] = [BlockEnd(index) for index in self._open]
        return [*ends, End("stop", "STOP", Usage(), stop_sequence=found)]

    def _run(self, text: str) -> str:
        for item in self._filters:
            text = item.feed(text)
        return text

    def _drain(self) -> str:
        """What every filter still holds, passed through those after it."""
        text = ""
        for item in self._filters:
            text = (item.feed(text) if text else "") + item.flush()
        return text
