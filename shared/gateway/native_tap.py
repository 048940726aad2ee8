"""What a native answer says of itself, read along: what it uses, how it ends, whether it goes on.

The judgement is that of `gemini.reader`, whose events nobody needs here: the client gets the bytes.
"""

from collections.abc import Mapping
from typing import Any, cast

from msgspec.structs import replace

from shared.dialects.gemini_native.elements import candidates_of, is_call, parts_of, shows
from shared.dialects.gemini_native.reading import PlainTexts, parsed
from shared.errors import GatewayError
from shared.events import Finish, Usage
from shared.gemini.errors import from_chunk
from shared.gemini.finish import BLOCK_NUMBERS, FINISH_NUMBERS, enum_word, finish_class
from shared.gemini.grounding import search_queries
from shared.gemini.usage import estimate_tokens, has_counters, read_usage

_UNSPECIFIED = FINISH_NUMBERS[0]  # no word at all: the default value of an enum
_IN_BETWEEN = {"content", "index"}  # the members of a candidate that says nothing of its end


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


class _Hop:
    """What one upstream call has said."""

    def __init__(self) -> None:
        self.said = _Said()
        self.calls: _Said | None = None  # those that no reason for the end has confirmed yet
        self.behind_calls = _Said()  # waits with them
        self.counters: Mapping[str, Any] | bytes | None = None  # the latest, or the chunk that holds them
        self.counters_are_last = False  # no content and no finish after them
        self.chunk_seen = False
        self.candidate_seen = False
        self.finish = ""
        self.block_reason: str | None = None
        self.grounding: Mapping[str, Any] = {}
        self.token: str | None = None
        self.token_is_fresh = False

    def read_part(self, part: Mapping[str, Any]) -> None:
        self.counters_are_last = self.token_is_fresh = False
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


class Tap:
    """One answer over all hops of a long decode; see `ReplyReader` for what the names mean.

    `has_call`, `has_output` and `ends_hop` tell what was fed last.
    """

    def __init__(self) -> None:
        self.started = False
        self.response_id = ""
        self.model_version = ""
        self.has_call = False
        self.has_output = False
        self.ends_hop = False
        self.earlier_usages: list[Usage] = []
        self._hop = _Hop()

    @property
    def finish(self) -> str:
        return self._hop.finish

    @property
    def settled(self) -> bool:
        """Whether the upstream has named a reason for the end that is no fault."""
        reason = self._hop.finish
        return reason not in ("", _UNSPECIFIED) and finish_class(reason) not in ("fault", "account")

    @property
    def continuation_token(self) -> str | None:
        return self._hop.token

    @property
    def token_covers_output(self) -> bool:
        return self._hop.token is not None and self._hop.token_is_fresh

    @property
    def hop_output_seen(self) -> bool:
        return self._hop.said.anything

    @property
    def hop_counters(self) -> Mapping[str, Any]:
        """The latest `usageMetadata` of the running hop that counts anything."""
        return self._hop.usage_metadata or {}

    @property
    def usage(self) -> Usage:
        usage = self.hop_usage
        return sum(self.earlier_usages, Usage()) + usage if self.earlier_usages else usage

    def feed_plain(self, texts: PlainTexts, last: bytes) -> None:
        """What `feed` does with each of these chunks."""
        hop = self._hop
        self._identify(texts.model_version, texts.response_id)
        said = hop.said if hop.calls is None else hop.behind_calls
        said.text += texts.characters
        said.thoughts += texts.thought_characters
        has_output = texts.characters + texts.thought_characters > 0
        said.anything = said.anything or has_output
        hop.counters, hop.counters_are_last = last, True
        hop.chunk_seen, hop.candidate_seen, hop.token_is_fresh = True, True, False
        self.has_call, self.has_output, self.ends_hop = False, has_output, False

    def feed(self, chunk: Mapping[str, Any]) -> None:
        """An error object raises the `GatewayError` that it means, as `ReplyReader.feed` does."""
        if "error" in chunk:
            raise from_chunk(chunk["error"], begun=self.started)
        hop = self._hop
        hop.chunk_seen = True
        self._identify(chunk.get("modelVersion"), chunk.get("responseId"))
        candidates = candidates_of(chunk)
        self.has_call, self.has_output = shows(candidates)
        self.ends_hop = any(candidate.get("finishReason") == "CONTINUATION" for candidate in candidates)
        for candidate in candidates:
            if not candidate.get("index"):  # absent means 0
                self._read_candidate(candidate)
                break
        if isinstance(feedback := chunk.get("promptFeedback"), dict):
            hop.block_reason = enum_word(feedback.get("blockReason"), BLOCK_NUMBERS) or hop.block_reason or ""
        if has_counters(metadata := chunk.get("usageMetadata")):
            hop.counters, hop.counters_are_last = metadata, True

    def next_hop(self) -> None:
        """Go on with the objects of another upstream call."""
        self.earlier_usages.append(self.hop_usage)
        self._hop = _Hop()

    def end(self) -> tuple[Finish, str]:
        """How the answer ended, as a class and in the upstream's word; raises upstream_truncated without one."""
        hop = self._hop
        finish: Finish
        if hop.block_reason is not None and not hop.finish and (hop.block_reason or not hop.candidate_seen):
            finish, reason = "blocked", hop.block_reason or BLOCK_NUMBERS[0]
        elif hop.finish:
            finish, reason = finish_class(hop.finish), hop.finish
        else:
            raise GatewayError("upstream_truncated", "The upstream's reply ended before it was complete.")
        hop.release(finish)
        return finish, reason

    def _identify(self, version: Any, response_id: Any) -> None:
        self.started = True
        if not self.model_version and isinstance(version, str):
            self.model_version = version.rpartition("/")[2]
        if not self.response_id and isinstance(response_id, str):
            self.response_id = response_id

    def _read_candidate(self, candidate: Mapping[str, Any]) -> None:
        hop = self._hop
        hop.candidate_seen = True
        for part in parts_of(candidate):
            hop.read_part(part)
        if candidate.keys() <= _IN_BETWEEN:
            return
        reason = enum_word(candidate.get("finishReason"), FINISH_NUMBERS)
        settled = reason not in ("", _UNSPECIFIED)
        if settled or (reason and not hop.finish):
            hop.finish, hop.counters_are_last = reason, False
        if isinstance(token := candidate.get("continuationToken"), str) and token:
            hop.token, hop.token_is_fresh = token, True
        if isinstance(grounding := candidate.get("groundingMetadata"), dict) and grounding:
            hop.grounding = grounding
        if settled:
            hop.release(finish_class(reason))

    @property
    def hop_usage(self) -> Usage:
        """The running hop's latest counters as a whole; estimates where content came after them or none came at
        all."""
        hop, said, metadata = self._hop, self._hop.said, self._hop.usage_metadata
        if metadata is None:
            usage = Usage(
                output_tokens=estimate_tokens(said.text),
                reasoning_tokens=estimate_tokens(said.thoughts),
                estimated=hop.chunk_seen,
            )
        else:
            usage = read_usage(metadata, text_characters=said.text, thought_characters=said.thoughts)
        outdated = metadata is not None and not hop.counters_are_last
        searches = search_queries(hop.grounding) if hop.grounding else 0
        if outdated or searches:
            return replace(usage, search_queries=searches, estimated=usage.estimated or outdated)
        return usage
