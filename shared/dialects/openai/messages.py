"""A chat history as Gemini's `systemInstruction` and strictly alternating `contents`.

The rules are those of the OpenAI dialect reference, "Roles and history" and "Tool calls and results in history".
"""

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from shared.dialects.contract import RequestContext
from shared.dialects.openai import carriers
from shared.dialects.openai.content import ContentReader, text_of
from shared.dialects.openai.fields import invalid, mapping, sequence, string
from shared.dialects.openai.notes import Notes
from shared.dialects.openai.tool_calls import (
    MISSING_RESULT,
    Call,
    Ledger,
    SignedCall,
    call_part,
    calls_of,
    look_up,
    response_object,
    response_part,
    served_before,
)
from shared.dialects.openai.turns import Turn, alternate
from shared.errors import GatewayError
from shared.gemini.parts import extract_markdown_images, media_part
from shared.gemini.signatures import takes_signatures, text_key, usable
from shared.gemini.tool_names import ToolNames
from shared.gemini.types import Content, Part

_SYSTEM = ("system", "developer")
_ROLES = (*_SYSTEM, "user", "assistant", "tool", "function")
# What newer models take inside a functionResponse (OpenAI dialect reference, §6.7).
_RESULT_MEDIA = frozenset({"image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"})


class Conversation(Struct, frozen=True):
    """`system` are the parts of the system instruction; `resolution` is for the whole request, where any was asked."""

    system: list[Part]
    contents: list[Content]
    resolution: str | None = None


class Message(Struct, frozen=True):
    """One message of a conversation; `where` is its JSON path in the client's own body."""

    role: str
    body: Mapping[str, Any]
    where: str


def read_messages(value: Any, names: ToolNames, context: RequestContext, notes: Notes, *, served: bool) -> Conversation:
    """The conversation of a body's `messages`. `served`: the upstream runs tools of its own beside the client's. Raises
    invalid_request with the JSON path of what cannot be carried."""
    return read_history(_checked(value), names, context, notes, served=served)


def read_history(
    messages: Sequence[Message], names: ToolNames, context: RequestContext, notes: Notes, *, served: bool
) -> Conversation:
    """The same of messages that another dialect has made of its own items; their roles must be known ones."""
    return _History(names, context, notes, served).read(messages)


def _checked(value: Any) -> list[Message]:
    if value is None or not sequence(value, "messages"):
        raise invalid("At least one message is needed.", "messages")
    checked: list[Message] = []
    for position, item in enumerate(value):
        where = f"messages[{position}]"
        message = mapping(item, where)
        role = message.get("role")
        if not isinstance(role, str) or role not in _ROLES:
            raise invalid(f"Expected one of {', '.join(_ROLES)}.", f"{where}.role")
        checked.append(Message(role, message, where))
    return checked


class _History:
    def __init__(self, names: ToolNames, context: RequestContext, notes: Notes, served: bool) -> None:
        self._names = names
        self._served = served
        self._lookup = context.signatures
        self._caps = context.model.capabilities
        self._notes = notes
        self._content = ContentReader(self._caps)
        self._system: list[str] = []
        self._turns: list[Turn] = []
        self._unanswered: list[Call] = []  # of the assistant messages since the last other one

    def read(self, messages: Sequence[Message]) -> Conversation:
        calls = self._pair(messages)
        leading = True
        for position, message in enumerate(messages):
            role = message.role
            leading = leading and role in _SYSTEM
            if self._unanswered and role != "assistant":
                self._answer()
            if leading:
                self._system += text_of(message.body.get("content"), f"{message.where}.content")
            elif role in _SYSTEM:
                self._add_system(message)
            elif role == "user":
                self._turns.append(Turn("user", self._parts(message)))
            elif role == "assistant":
                self._add_assistant(message, calls[position])
        if self._unanswered:
            self._answer()
        contents = alternate(self._turns)
        system: list[Part] = [{"text": text} for text in self._system]
        if not contents:  # the upstream refuses a request without contents
            contents, system = alternate([Turn("user", system)]), []
        if not contents:
            raise invalid("The messages hold nothing that can be sent.", "messages")
        return Conversation(system, contents, self._content.resolution)

    def _pair(self, messages: Sequence[Message]) -> dict[int, list[Call]]:
        """The calls of each assistant message, each with its result, wherever in the history that stands."""
        ledger, calls = Ledger(), {}
        for position, message in enumerate(messages):
            if message.role == "assistant":
                calls[position] = found = calls_of(message.body, message.where)
                if found:
                    ledger.add_turn(found)
            elif message.role in ("tool", "function"):
                ledger.add_result(message.body, message.where, self._notes)
        ledger.close()
        return calls

    def _parts(self, message: Message) -> list[Part]:
        return self._content.parts(message.body.get("content"), f"{message.where}.content")

    def _add_system(self, message: Message) -> None:
        """A system message in mid-conversation keeps its place: moving it up would lose the order and break the
        upstream's prefix cache."""
        text = "\n".join(text_of(message.body.get("content"), f"{message.where}.content"))
        if text:
            self._turns.append(Turn("user", [{"text": f"<system>{text}</system>"}]))

    def _add_assistant(self, message: Message, calls: list[Call]) -> None:
        if calls:
            calls[0].leads = not self._unanswered
        parts = self._signed_thoughts(message.body) + self._spoken(message, has_calls=bool(calls))
        for call in calls:
            if self._served:
                parts += served_before(call, self._lookup, self._caps)
            parts.append(call_part(call, self._signed(call), self._names))
        self._turns.append(Turn("model", parts))
        self._unanswered += calls

    def _signed_thoughts(self, body: Mapping[str, Any]) -> list[Part]:
        """Echoed reasoning that has its signature; all other is left out, because the upstream takes none unsigned."""
        if carriers.REASONING.isdisjoint(body) or not takes_signatures(self._caps):
            return []
        signed = list(carriers.signed_reasoning(body))
        text = carriers.reasoning_text(body)
        if text and not signed:
            stored = self._kept(text)
            signed = [(text, stored)] if stored else []
        return [{"text": text, "thought": True, "thoughtSignature": known} for text, known in signed]

    def _spoken(self, message: Message, *, has_calls: bool) -> list[Part]:
        """Text, refusal and images of an assistant message."""
        body, where = message.body, message.where
        parts = self._content.parts(body.get("content"), f"{where}.content", assistant=True)
        text = "".join(part.get("text", "") for part in parts)
        if body.get("refusal") is not None:
            refusal = string(body["refusal"], f"{where}.refusal")
            parts += [{"text": refusal}] if refusal else []
        cut: list[Part] = []
        for part in parts:
            cut += _without_markdown_images(part)
        cut += _echoed_images(body.get("images"), f"{where}.images")
        signature = carriers.of_message(body, has_calls=has_calls).text
        signature = self._kept(text) or signature if text else None
        if signature:
            _sign_last_text(cut, signature)
        return cut

    def _kept(self, text: str) -> str | None:
        """The signature that the store has for a text; a hash is taken only where it has any."""
        return usable(self._lookup.get(text_key("", text)), self._caps) if self._lookup else None

    def _signed(self, call: Call) -> SignedCall:
        return look_up(call, self._names.to_wire(call.name), self._lookup, self._caps)

    def _answer(self) -> None:
        """The results of the calls just made, in call order and in one turn, right after them."""
        responses: list[Part] = []
        following: list[Part] = []
        for call in self._unanswered:
            if call.result is None:
                if self._notes.strict:
                    raise GatewayError("invalid_request", "A tool call has no result.", param="messages")
                self._notes.add("tool_result_missing", call.shown)
                responses.append(response_part(call, self._signed(call), self._names, dict(MISSING_RESULT), []))
                continue
            response, inside, after = self._result(call)
            responses.append(response_part(call, self._signed(call), self._names, response, inside))
            if after:
                label = f"Media in the result of the tool {self._names.to_wire(call.name)}:"
                following += [{"text": label}, *after]
        self._unanswered = []
        self._turns += [Turn("user", responses), Turn("user", following, apart=True)]

    def _result(self, call: Call) -> tuple[dict[str, Any], list[Part], list[Part]]:
        """(response object, media inside it, media that must follow in a content of its own). Media beside the
        responses would break the upstream's count of responses."""
        if call.result is None or isinstance(call.result.content, str):
            return response_object(str(call.result.content) if call.result else ""), [], []
        parts = self._content.parts(call.result.content, call.result.param)
        text = "".join(part.get("text", "") for part in parts)
        inside = [part for part in parts if self._caps.tool_media and _fits_in_result(part)]
        after = [part for part in parts if "text" not in part and part not in inside]
        return response_object(text), inside, after


def _without_markdown_images(part: Part) -> list[Part]:
    if "text" not in part:
        return [part]
    pieces = extract_markdown_images(part["text"])
    return [{"text": piece} if isinstance(piece, str) else piece for piece in pieces if piece]


def _echoed_images(value: Any, param: str) -> list[Part]:
    """`images` of an assistant message: our own answer's extension, sent back."""
    found: list[Part] = []
    for position, item in enumerate(sequence(value, param) if value is not None else ()):
        where = f"{param}[{position}].image_url"
        source = mapping(mapping(item, f"{param}[{position}]").get("image_url"), where)
        found.append(media_part(string(source.get("url"), f"{where}.url"), mime=None, param=f"{where}.url"))
    return found


def _sign_last_text(parts: list[Part], signature: str) -> None:
    for position in range(len(parts) - 1, -1, -1):
        if "text" in parts[position]:
            parts[position] = {**parts[position], "thoughtSignature": signature}
            return


def _fits_in_result(part: Part) -> bool:
    return "inlineData" in part and part["inlineData"]["mimeType"] in _RESULT_MEDIA
