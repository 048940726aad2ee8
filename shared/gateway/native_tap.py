"""What a native answer says of itself, read along: what it uses, how it ends, whether it goes on.

What the reader of the other dialects makes events of is counted only: the client gets the bytes.
"""

from collections.abc import Mapping
from typing import Any, cast

from shared.dialects.gemini_native.elements import candidates_of, is_call, parts_of, shows
from shared.dialects.gemini_native.reading import PlainTexts, parsed
from shared.events import Finish, Usage
from shared.gemini.errors import from_chunk
from shared.gemini.finish import finish_class
from shared.gemini.told import IN_BETWEEN, Told, ToldHop, is_settled
from shared.gemini.usage import has_counters, read_usage


class _Said:
    """Characters, in case the upstream counts no tokens, and whether there was `anything`, other parts included."""

    __slots__ = ("anything", "text", "thoughts")

    def __init__(self) -> None:
        self.text = 0
        self.thoughts = 0
        self.anything = False

    def add(self, text: Any, *, thought: bool) -> None:
        if not isinstance(text, str):
            self.anything = True
        elif text:
            self.anything = True
            if thought:
                self.thoughts += len(text)
            else:
                self.text += len(text)

    def join(self, other: "_Said") -> None:
        self.text += other.text
        self.thoughts += other.thoughts
        self.anything = self.anything or other.anything


class _Hop(ToldHop):
    """With how much it has said."""

    def __init__(self) -> None:
        super().__init__()
        self.said = _Said()
        self.calls: _Said | None = None  # those that no reason for the end has confirmed yet
        self.behind_calls = _Said()  # waits with them
        self.counters: Mapping[str, Any] | bytes | None = None  # the latest, or the chunk that holds them

    def read_part(self, part: Mapping[str, Any]) -> None:
        self.usage_is_last = self.token_is_fresh = False
        if is_call(part):
            self.calls = into = self.calls or _Said()
        else:
            into = self.said if self.calls is None else self.behind_calls
        into.add(part.get("text"), thought=part.get("thought") is True)

    def release(self, finish: Finish) -> None:
        """A reason for the end settles what was held; a fault of the model forbids its calls."""
        if self.calls is not None:
            self.said.join(self.behind_calls)
            if finish not in ("fault", "account"):
                self.said.join(self.calls)
            self.calls, self.behind_calls = None, _Said()

    @property
    def usage_metadata(self) -> Mapping[str, Any] | None:
        counters = self.counters
        if isinstance(counters, bytes):
            self.counters = counters = cast(Mapping[str, Any], parsed(counters)["usageMetadata"])
        return counters


class Tap(Told):
    """`has_call`, `has_output` and `ends_hop` tell what was fed last."""

    _hop: _Hop

    def __init__(self) -> None:
        super().__init__()
        self.has_call = False
        self.has_output = False
        self.ends_hop = False
        self._hop = _Hop()

    @property
    def settled(self) -> bool:
        """Whether the upstream has named a reason for the end that is no fault."""
        reason = self._hop.finish
        return is_settled(reason) and finish_class(reason) not in ("fault", "account")

    @property
    def hop_output_seen(self) -> bool:
        return self._hop.said.anything

    @property
    def hop_counters(self) -> Mapping[str, Any]:
        """The latest `usageMetadata` of the running hop that counts anything."""
        return self._hop.usage_metadata or {}

    def feed_plain(self, texts: PlainTexts, last: bytes) -> None:
        """What `feed` does with each of these chunks."""
        hop = self._hop
        self.started, self._usage = True, None
        self._identify(texts.model_version, texts.response_id)
        said = hop.said if hop.calls is None else hop.behind_calls
        said.text += texts.characters
        said.thoughts += texts.thought_characters
        has_output = texts.characters + texts.thought_characters > 0
        said.anything = said.anything or has_output
        hop.counters, hop.usage_is_last = last, True
        hop.chunk_seen, hop.candidate_seen, hop.token_is_fresh = True, True, False
        self.has_call, self.has_output, self.ends_hop = False, has_output, False

    def feed(self, chunk: Mapping[str, Any]) -> None:
        """An error object raises the `GatewayError` that it means, as `ReplyReader.feed` does."""
        if "error" in chunk:
            raise from_chunk(chunk["error"], begun=self.started)
        hop = self._hop
        hop.chunk_seen = True
        self.started, self._usage = True, None
        self._identify(chunk.get("modelVersion"), chunk.get("responseId"))
        candidates = candidates_of(chunk)
        self.has_call, self.has_output = shows(candidates)
        self.ends_hop = any(candidate.get("finishReason") == "CONTINUATION" for candidate in candidates)
        for candidate in candidates:
            if not candidate.get("index"):  # absent means 0
                self._read_candidate(candidate)
                break
        if "promptFeedback" in chunk:
            hop.read_feedback(chunk["promptFeedback"])
        if has_counters(metadata := chunk.get("usageMetadata")):
            hop.counters, hop.usage_is_last = metadata, True

    def next_hop(self) -> None:
        """Go on with the objects of another upstream call."""
        self.earlier_usages.append(self.hop_usage)
        self._usage = None
        self._hop = _Hop()

    def end(self) -> tuple[Finish, str]:
        """How the answer ended; see `ToldHop.end`. What was held counts with the rest from here on."""
        finish, reason = self._hop.end()
        self._hop.release(finish)
        self._usage = None
        return finish, reason

    def _read_candidate(self, candidate: Mapping[str, Any]) -> None:
        hop = self._hop
        hop.candidate_seen = True
        for part in parts_of(candidate):
            hop.read_part(part)
        if candidate.keys() <= IN_BETWEEN:
            return
        if hop.read_ending(candidate):
            hop.release(finish_class(hop.finish))

    @property
    def hop_usage(self) -> Usage:
        said, metadata = self._hop.said, self._hop.usage_metadata
        counted = None
        if metadata is not None:
            counted = read_usage(metadata, text_characters=said.text, thought_characters=said.thoughts)
        return self._hop.usage(counted, said.text, said.thoughts)
