"""Tool calls of the history and their results: paired before anything is built, because most refusals of the upstream
start here. It wants one result for each call, in call order, in the one content right after the calls."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from shared.dialects.anthropic_messages.blocks import BlockReader
from shared.dialects.anthropic_messages.fields import filled, optional_string
from shared.gemini.catalog import Capabilities
from shared.gemini.tool_names import ToolNames
from shared.gemini.types import FunctionResponse, Part

NO_RESULT = "no result"
# What newer models take inside a functionResponse.
_RESULT_MEDIA = frozenset({"image/png", "image/jpeg", "image/webp", "application/pdf", "text/plain"})


class Call(Struct, eq=False):
    """One `tool_use` block. `native_id` is the upstream's own id, known once the signature of the call was looked up;
    `part` is what stands for the call in the model's turn."""

    call_id: str
    name: str
    args: dict[str, Any]
    result: Mapping[str, Any] | None = None
    result_param: str = ""
    native_id: str | None = None
    part: Part | None = None


def read_call(block: Mapping[str, Any], where: str) -> Call:
    """A call under the client's name; input that is no object becomes an empty one, so that no call is lost."""
    name = filled(block.get("name"), f"{where}.name")
    given = block.get("input")
    return Call(
        optional_string(block.get("id"), f"{where}.id"), name, dict(given) if isinstance(given, Mapping) else {}
    )


class Pairing:
    """Binds results to calls, both given in the order of the conversation: a result belongs to the newest turn that
    still waits for its id, since clients reuse ids in later turns."""

    def __init__(self) -> None:
        self._waiting: dict[str, list[deque[Call]]] = {}  # by id, the calls of each turn, newest turn last

    def add_turn(self, calls: Sequence[Call]) -> None:
        groups: dict[str, deque[Call]] = {}
        for call in calls:
            groups.setdefault(call.call_id, deque()).append(call)
        for call_id, group in groups.items():
            self._waiting.setdefault(call_id, []).append(group)

    def bind(self, block: Mapping[str, Any], where: str) -> bool:
        """False for a result that no call waits for."""
        turns = self._waiting.get(optional_string(block.get("tool_use_id"), f"{where}.tool_use_id"), [])
        while turns and not turns[-1]:
            turns.pop()
        if not turns:
            return False
        call = turns[-1].popleft()
        call.result, call.result_param = block, where
        return True


class ResultReader:
    """Results as `functionResponse` parts for one model."""

    def __init__(self, caps: Capabilities, names: ToolNames, reader: BlockReader) -> None:
        self._caps = caps
        self._names = names
        self._blocks = reader

    def response(self, call: Call) -> tuple[Part, list[Part]]:
        """(the functionResponse, media that must follow all responses of the turn: older models take none inside)."""
        function: FunctionResponse = {"name": self._names.to_wire(call.name)}
        if call.native_id:
            function = {"id": call.native_id, **function}
        if call.result is None:
            return {"functionResponse": {**function, "response": {"error": NO_RESULT}}}, []
        parts = self._blocks.result_parts(call.result.get("content"), f"{call.result_param}.content")
        inside: list[Part] = []
        after: list[Part] = []
        for part in parts:
            if self._caps.tool_media and _fits_inside(part):
                inside.append(part)
            elif "text" not in part:
                after.append(part)
        # The text is never parsed: a `$ref` in an object would be taken for a reference to a part (R41).
        key = "error" if call.result.get("is_error") is True else "result"
        function["response"] = {key: _text(parts)}
        if inside:
            function["parts"] = [{"inlineData": part["inlineData"]} for part in inside]
        return {"functionResponse": function}, after

    def orphan(self, block: Mapping[str, Any], where: str) -> list[Part]:
        """A result of no known call, told as text so that nothing is lost."""
        parts = self._blocks.result_parts(block.get("content"), f"{where}.content")
        told: Part = {"text": f"Result of an earlier tool call: {_text(parts)}"}
        return [told, *(part for part in parts if "text" not in part)]


def _text(parts: Sequence[Part]) -> str:
    text = "\n".join(part["text"] for part in parts if "text" in part)
    if text or not parts:
        return text
    return f"(attached: {', '.join(_kind(part) for part in parts)})"


def _kind(part: Part) -> str:
    return part["inlineData"]["mimeType"] if "inlineData" in part else part["fileData"].get("mimeType", "file")


def _fits_inside(part: Part) -> bool:
    return "inlineData" in part and part["inlineData"]["mimeType"] in _RESULT_MEDIA
