"""What an answer tells of itself beside its content: who gives it, what it uses, how it ends, whether it goes on.

The rules stand here once for its two readers: `ReplyReader`, which makes events of the content, and the native
dialect's tap, which reads along while the bytes pass.
"""

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from shared.errors import GatewayError
from shared.events import Finish, Usage
from shared.gemini.finish import BLOCK_NUMBERS, FINISH_NUMBERS, enum_word, finish_class
from shared.gemini.grounding import search_queries
from shared.gemini.usage import estimate_tokens

IN_BETWEEN = {"content", "index"}  # the members of a candidate that says nothing of its end
_UNSPECIFIED = FINISH_NUMBERS[0]  # no word at all: the default value of an enum


def is_settled(reason: str) -> bool:
    """Whether the upstream has named a reason for the end."""
    return reason not in ("", _UNSPECIFIED)


class ToldHop:
    """What one upstream call has told; a long decode has several."""

    def __init__(self) -> None:
        self.chunk_seen = False
        self.candidate_seen = False
        self.finish = ""  # the upstream's word
        self.block_reason: str | None = None  # "" for a prompt that was blocked without a word
        self.grounding: Mapping[str, Any] = {}
        self.pages_read = False  # by the tool for links of the request
        self.token: str | None = None
        self.token_is_fresh = False  # nothing came after it
        self.usage_is_last = False  # no content and no finish after the latest counts

    def read_ending(self, candidate: Mapping[str, Any]) -> bool:
        """Note what a candidate says of its end; whether it is a reason, which settles calls that wait for one."""
        reason = enum_word(candidate.get("finishReason"), FINISH_NUMBERS)
        settled = is_settled(reason)
        if settled or (reason and not self.finish):
            self.finish, self.usage_is_last = reason, False
        if isinstance(token := candidate.get("continuationToken"), str) and token:
            self.token, self.token_is_fresh = token, True
        if isinstance(grounding := candidate.get("groundingMetadata"), dict) and grounding:
            self.grounding = grounding  # the last that is not empty: it is {} on all chunks but one
        if candidate.get("urlContextMetadata"):
            self.pages_read = True
        return settled

    def read_feedback(self, feedback: Any) -> None:
        if isinstance(feedback, dict):
            reason = enum_word(feedback.get("blockReason"), BLOCK_NUMBERS)
            self.block_reason = reason or self.block_reason or ""

    @property
    def prompt_blocked(self) -> bool:
        if self.block_reason is None or self.finish:
            return False
        return bool(self.block_reason) or not self.candidate_seen

    def end(self) -> tuple[Finish, str]:
        """How it ended, as a class and in the upstream's word. Raises upstream_truncated where that never said."""
        if self.prompt_blocked:
            return "blocked", self.block_reason or BLOCK_NUMBERS[0]
        if not self.finish:
            raise GatewayError("upstream_truncated", "The upstream's reply ended before it was complete.")
        return finish_class(self.finish), self.finish

    def usage(self, counted: Usage | None, text: int, thoughts: int) -> Usage:
        """`counted` is the latest usage object as a whole, None where none came: then so many characters of text and of
        thoughts make an estimate. Counts that content came after are an estimate too, and in an answer that is cut off
        what has none: Gemini 3 counts its thoughts once they are over, and 2.0 its text."""
        outdated = counted is not None and not self.usage_is_last
        if counted is None:
            counted = Usage(
                output_tokens=estimate_tokens(text),
                reasoning_tokens=estimate_tokens(thoughts),
                estimated=self.chunk_seen,
            )
        elif not self.finish and (text or thoughts):
            made = counted.output_tokens or estimate_tokens(text)
            thought = counted.reasoning_tokens or estimate_tokens(thoughts)
            if made + thought > counted.output_total:
                counted = replace(counted, output_tokens=made, reasoning_tokens=thought, estimated=True)
        if not outdated and not self.grounding:
            return counted
        searches, maps = search_queries(self.grounding, pages_read=self.pages_read)
        return replace(counted, search_queries=searches, map_queries=maps, estimated=counted.estimated or outdated)


class Told:
    """One answer over all hops of a long decode. `model_version` and `response_id` are "" until they are told.

    `usage` is the latest known at any time, the sum of `earlier_usages` and `hop_usage`; `finish` the upstream's word
    for the running hop ("" so far), `continuation_token` the hop's latest token; `token_covers_output` says that
    nothing came after that token, so a broken stream can resume there.
    """

    _hop: ToldHop

    def __init__(self) -> None:
        self.started = False
        self.response_id = ""
        self.model_version = ""
        self.earlier_usages: list[Usage] = []  # of the hops before the running one
        self._usage: Usage | None = None  # as of the latest chunk, once it was asked for

    @property
    def finish(self) -> str:
        return self._hop.finish

    @property
    def hop_ended(self) -> bool:
        """Whether the running hop has told how it ends."""
        return self._hop.finish != "" or self._hop.prompt_blocked

    @property
    def continuation_token(self) -> str | None:
        return self._hop.token

    @property
    def token_covers_output(self) -> bool:
        return self._hop.token is not None and self._hop.token_is_fresh

    @property
    def hop_output_seen(self) -> bool:
        """Whether the running hop brought any text, thought or part: a hop without is not worth another."""
        raise NotImplementedError

    @property
    def usage(self) -> Usage:
        if self._usage is None:
            usage = self.hop_usage
            self._usage = sum(self.earlier_usages, Usage()) + usage if self.earlier_usages else usage
        return self._usage

    @property
    def hop_usage(self) -> Usage:
        """The running hop's part of `usage`."""
        raise NotImplementedError

    def _identify(self, version: Any, response_id: Any) -> None:
        if not self.model_version and isinstance(version, str):
            self.model_version = version.rpartition("/")[2]
        if not self.response_id and isinstance(response_id, str):
            self.response_id = response_id
