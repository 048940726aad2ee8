"""Frames of running text. Of the frames of one block only the text differs, so the rest is made once, by the dialect's
general way, and only the text is encoded for each."""

from msgspec import Struct

from shared.json_codec import encode, encode_string

MARK = "\0text\0"  # a sample's place for the text; no id and no model name holds a NUL
_ENCODED = encode(MARK)


class RunningText(Struct, frozen=True):
    """The block that an answer is in the middle of, and what stands around its text in every frame."""

    index: int
    before: bytes
    after: bytes

    def frame(self, text: str) -> bytes:
        return b"".join((self.before, encode_string(text), self.after))


class HiddenText(RunningText, frozen=True):
    """A block that is not shown."""

    def frame(self, text: str) -> bytes:
        return b""


def around(sample: bytes) -> tuple[bytes, bytes]:
    """What stands before and after the text of a frame whose text is `MARK`."""
    before, _, after = sample.partition(_ENCODED)
    return before, after
