"""Where the blocks of an answer go: into stream events, or into the one message that an accumulator makes of those.

Both are told the same by the same `BlockWriter`, so a buffered answer equals its stream.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from shared.json_codec import encode, encode_string, encode_text

JsonMembers = dict[str, Any]

_EVENT = b"event: %b\ndata: %b\n\n"
_START = b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
_DELTA = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":%b}\n\n'
_TEXT = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b_delta","%b":'
_TEXT_END = b"}}\n\n"
_STOP = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_END = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class Output(Protocol):
    """One message: `begin`, then blocks one after the other, then `finish`. `text`, `input` and `delta` are of the
    block that was started last; `said` is the text that was last added."""

    said: str

    def begin(self, message: JsonMembers) -> None: ...

    def start(self, index: int, block: JsonMembers) -> None: ...

    def text(self, text: str) -> None: ...

    def input(self, arguments: Mapping[str, Any]) -> None: ...

    def delta(self, delta: JsonMembers) -> None: ...

    def stop(self) -> None: ...

    def finish(self, ending: JsonMembers, usage: JsonMembers) -> None: ...


class StreamOutput:
    """The events as frames, which `take` hands out. Of the frames of a block's text only the text differs."""

    def __init__(self) -> None:
        self.said = ""
        self._frames: list[bytes] = []
        self._index = -1
        self._before = b""  # what stands before the text of the open block

    def take(self) -> bytes:
        if not self._frames:
            return b""
        frames, self._frames = self._frames, []
        return b"".join(frames)

    def begin(self, message: JsonMembers) -> None:
        self._frames.append(_EVENT % (b"message_start", encode({"type": "message_start", "message": message})))

    def start(self, index: int, block: JsonMembers) -> None:
        kind = block["type"].encode()
        self._index, self._before = index, _TEXT % (index, kind, kind)
        self._frames.append(_START % (index, encode(block)))

    def text(self, text: str) -> None:
        self.said = text
        self._frames += (self._before, encode_string(text), _TEXT_END)

    def more(self, text: str) -> bytes:
        """The frame of text that goes out at once."""
        self.said = text
        return self._before + encode_string(text) + _TEXT_END

    def input(self, arguments: Mapping[str, Any]) -> None:
        self.delta({"type": "input_json_delta", "partial_json": encode_text(dict(arguments))})

    def delta(self, delta: JsonMembers) -> None:
        self._frames.append(_DELTA % (self._index, encode(delta)))

    def stop(self) -> None:
        self._frames.append(_STOP % self._index)

    def finish(self, ending: JsonMembers, usage: JsonMembers) -> None:
        last = {"type": "message_delta", "delta": ending, "usage": usage}
        self._frames += (_EVENT % (b"message_delta", encode(last)), _END)


class FoldedOutput:
    """`message` is what an accumulator has made of the events so far."""

    def __init__(self) -> None:
        self.said = ""
        self.message: JsonMembers = {}
        self._block: JsonMembers = {}
        self._pieces: list[str] = []

    def begin(self, message: JsonMembers) -> None:
        self.message = message

    def start(self, index: int, block: JsonMembers) -> None:
        self._block, self._pieces = block, []
        self.message["content"].append(block)

    def text(self, text: str) -> None:
        self.said = text
        self._pieces.append(text)

    def input(self, arguments: Mapping[str, Any]) -> None:
        self._block["input"] = dict(arguments)

    def delta(self, delta: JsonMembers) -> None:
        if delta["type"] == "signature_delta":
            self._block["signature"] = delta["signature"]
        else:
            self._block["citations"].append(delta["citation"])

    def stop(self) -> None:
        kind = self._block["type"]
        if kind in ("text", "thinking"):
            self._block[kind] = "".join(self._pieces)

    def finish(self, ending: JsonMembers, usage: JsonMembers) -> None:
        self.message |= {**ending, "usage": {**self.message["usage"], **usage}}
