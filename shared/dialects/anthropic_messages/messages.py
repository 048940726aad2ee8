"""The body's `system` and `messages` as Gemini's `systemInstruction` and strictly alternating `contents`."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Literal

from msgspec import Struct, field

from shared.dialects.anthropic_messages.assistant import THINKING, AssistantReader
from shared.dialects.anthropic_messages.blocks import BlockReader, system_texts
from shared.dialects.anthropic_messages.fields import REQUIRED, blocks, invalid, mapping, sequence
from shared.dialects.anthropic_messages.notes import Notes
from shared.dialects.anthropic_messages.sources import text_part
from shared.dialects.anthropic_messages.tool_choice import ToolPlan
from shared.dialects.anthropic_messages.tool_results import Call, Pairing, ResultReader, read_call
from shared.gemini.catalog import Capabilities
from shared.gemini.signatures import SignatureLookup
from shared.gemini.types import Content, Part

MAX_MESSAGES = 100_000
CONTINUE = "Go on with your last message exactly where it stops. Repeat nothing of it, and add no remark about this."

# Claude Code's first system block: accounting for Anthropic's own servers. Older releases put a nonce into it, which
# would keep the upstream's prefix cache from ever hitting.
_BILLING = "x-anthropic-billing-header:"
_ROLES = ("user", "assistant", "system")

Block = tuple[str, Mapping[str, Any]]


class Conversation(Struct, frozen=True):
    """`prefilled`: the last message is the assistant's and plain text, to be continued."""

    system: list[Part]
    contents: list[Content]
    prefilled: bool


class _Message(Struct, frozen=True):
    role: str
    content: list[Block]
    where: str


class _Turn(Struct):
    """`answers`: the client answered calls here, so that the turn separates its neighbours even without parts."""

    role: Literal["user", "model"]
    parts: list[Part]
    calls: list[Call] = field(default_factory=list)
    answers: bool = False


def read_system(value: Any) -> list[Part]:
    """The parts of `systemInstruction`: one per block, without empty ones and Claude Code's billing header."""
    if value is None:
        return []
    if isinstance(value, str) and value.startswith(_BILLING):
        value = value.partition("\n")[2]  # a client that joins its blocks
    texts = system_texts(value, "system")
    return [{"text": text} for text in texts if not text.startswith(_BILLING)]


def read_messages(
    body: Mapping[str, Any], caps: Capabilities, plan: ToolPlan, lookup: SignatureLookup, notes: Notes
) -> Conversation:
    """The conversation. Raises invalid_request with the JSON path of what cannot be carried."""
    messages = _checked(body.get("messages"))
    contents = _History(caps, plan, lookup, notes).read(messages)
    if not contents:
        raise invalid("At least one message with content is required", "messages")
    return Conversation(read_system(body.get("system")), contents, _is_prefill(messages[-1]))


def finish_prefill(contents: list[Content], caps: Capabilities) -> str:
    """Makes a trailing model turn acceptable and returns the text that the answer may repeat, or "".

    Newer models refuse a final model turn: the turn stays, and a user turn that asks to go on is added to `contents`.
    """
    if caps.prefill or contents[-1]["role"] != "model":
        return ""
    prefix = "".join(part["text"] for part in contents[-1]["parts"] if "text" in part and not part.get("thought"))
    contents.append({"role": "user", "parts": [{"text": CONTINUE}]})
    return prefix


def _checked(value: Any) -> list[_Message]:
    items = sequence(value, "messages")
    if not items:
        raise invalid("At least one message is required", "messages")
    if len(items) > MAX_MESSAGES:
        raise invalid(f"List should have at most {MAX_MESSAGES} items", "messages")
    checked: list[_Message] = []
    fading: list[list[Block]] = []  # of system turns that only the turn of the user before them is to see
    for position, item in enumerate(items):
        where = f"messages[{position}]"
        message = mapping(item, where)
        role, content = message.get("role"), message.get("content")
        if not isinstance(role, str) or role not in _ROLES:
            raise invalid("Input should be 'user' or 'assistant'", f"{where}.role")
        if content is None and role != "system":
            raise invalid(REQUIRED, f"{where}.content")
        param = f"{where}.content"
        said = [(param, {"type": "text", "text": content})] if isinstance(content, str) else blocks(content, param)
        checked.append(_Message(role, list(said), where))
        if role == "user":
            for seen in fading:
                seen.clear()
            fading.clear()
        elif role == "system" and message.get("clear_at") == "next_user_message":
            fading.append(checked[-1].content)
    return checked


def _is_prefill(message: _Message) -> bool:
    if message.role != "assistant":
        return False
    kinds = {block.get("type") for _, block in message.content if block.get("text") != ""}
    return "text" in kinds and kinds <= {"text", *THINKING}


class _History:
    def __init__(self, caps: Capabilities, plan: ToolPlan, lookup: SignatureLookup, notes: Notes) -> None:
        self._caps = caps
        self._notes = notes
        self._blocks = BlockReader(plan.names)
        self._assistant = AssistantReader(caps, plan, lookup, self._blocks)
        self._results = ResultReader(caps, plan.names, self._blocks)
        self._bound: set[str] = set()  # the paths of results that a call waited for

    def read(self, messages: Sequence[_Message]) -> list[Content]:
        calls = self._pair(messages)
        turns: list[_Turn] = []
        for message in messages:
            if message.role == "assistant":
                turns += self._assistant_turns(message, calls[message.where])
            elif message.role == "user":
                turns.append(self._user_turn(message))
            else:
                turns.append(_Turn("user", _reminder(message)))
        merged = _merged(turns)
        self._answer(merged)
        self._drop_thoughts(merged)
        for turn in merged:
            turn.answers = False
        alternating = merged if all(turn.parts for turn in merged) else _merged(merged)
        if alternating and alternating[0].role == "model":
            alternating.insert(0, _Turn("user", [{"text": " "}]))
        return [{"role": turn.role, "parts": turn.parts} for turn in alternating]

    def _pair(self, messages: Sequence[_Message]) -> dict[str, list[Call]]:
        """The calls of each assistant message by its path, each with its result."""
        pairing, calls = Pairing(), {}
        for message in messages:
            if message.role == "assistant":
                found = [read_call(block, where) for where, block in message.content if block.get("type") == "tool_use"]
                calls[message.where] = found
                pairing.add_turn(found)
            elif message.role == "user":
                results = [item for item in message.content if item[1].get("type") == "tool_result"]
                self._bound.update(where for where, block in results if pairing.bind(block, where))
        return calls

    def _assistant_turns(self, message: _Message, calls: list[Call]) -> list[_Turn]:
        told = [part for _, block in message.content if block.get("type") == "compaction" for part in _summary(block)]
        spoken = _Turn("model", self._assistant.parts(message.content, calls), calls)
        return [_Turn("user", told), spoken] if told else [spoken]

    def _user_turn(self, message: _Message) -> _Turn:
        turn = _Turn("user", [])
        for where, block in message.content:
            kind = block.get("type")
            if where in self._bound:
                turn.answers = True
            elif kind == "text":
                turn.parts += text_part(block, where)
            elif kind == "tool_result":
                turn.parts += self._results.orphan(block, where)
            elif kind == "compaction":
                turn.parts += _summary(block)
            elif kind not in ("tool_addition", "tool_removal"):
                turn.parts += self._blocks.parts(block, where)
        return turn

    def _answer(self, turns: list[_Turn]) -> None:
        """Puts the results in front of the turn after their calls, whatever else it says; calls that the conversation
        ends with are dropped, because nobody can answer them any more."""
        for turn, following in pairwise(turns):
            responses: list[Part] = []
            media: list[Part] = []
            for call in turn.calls:
                if call.result is None:
                    self._notes.add("tool_result_missing", call.call_id or call.name)
                response, after = self._results.response(call)
                responses.append(response)
                media += after
            following.parts = [*responses, *media, *following.parts]
        if turns and turns[-1].role == "model":
            last = turns[-1]
            called = {id(call.part) for call in last.calls}
            kept = [part for part in last.parts if id(part) not in called]
            last.parts = [] if all(part.get("thought") for part in kept) else kept

    def _drop_thoughts(self, turns: list[_Turn]) -> None:
        """Thoughts before the current turn are dead weight. The turn begins after the last words of the user that
        bring no result; a final model turn that must be followed by new words ends it."""
        begin = len(turns) - 1
        while begin > 0 and not _speaks(turns[begin]):
            begin -= 1
        if turns and turns[-1].role == "model" and not self._caps.prefill:
            begin = len(turns)
        for turn in turns[:begin]:
            turn.parts = [part for part in turn.parts if not part.get("thought")]


def _speaks(turn: _Turn) -> bool:
    """Words of the user, and no results."""
    return turn.role == "user" and bool(turn.parts) and not any("functionResponse" in part for part in turn.parts)


def _summary(block: Mapping[str, Any]) -> list[Part]:
    text = block.get("content")
    return [{"text": f"summary: {text}"}] if isinstance(text, str) and text else []


def _reminder(message: _Message) -> list[Part]:
    """A system turn keeps its place: moved into the system instruction, it would come before what it speaks of, and
    change the beginning of the prompt on every turn."""
    content = [block for _, block in message.content]
    text = "\n".join(system_texts(content, f"{message.where}.content"))
    return [{"text": f"<system-reminder>\n{text}\n</system-reminder>"}] if text else []


def _merged(turns: Sequence[_Turn]) -> list[_Turn]:
    """Without turns that say nothing, neighbours of one role made one."""
    kept: list[_Turn] = []
    for turn in turns:
        if not turn.parts and not turn.answers:
            continue
        if kept and kept[-1].role == turn.role:
            last = kept[-1]
            last.parts += turn.parts  # in place: copies of what grows would cost its square
            last.calls += turn.calls
            last.answers = last.answers or turn.answers
        else:
            kept.append(turn)
    return kept
