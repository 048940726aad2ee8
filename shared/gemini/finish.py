"""The upstream's enum words: finish reasons and their classes, and the numbers that old transports send instead."""

from typing import Any

from shared.events import Finish

# google-genai 3.4.0. What a class means to a client is the dialect's decision.
FINISH: dict[str, Finish] = {
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "continuation",
    "SAFETY": "blocked",
    "RECITATION": "blocked",
    "BLOCKLIST": "blocked",
    "PROHIBITED_CONTENT": "blocked",
    "SPII": "blocked",
    "IMAGE_SAFETY": "blocked",
    "IMAGE_PROHIBITED_CONTENT": "blocked",
    "IMAGE_RECITATION": "blocked",
    "ESCALATION": "blocked",
    "MODEL_ARMOR": "blocked",
    "LANGUAGE": "no_output",
    "OTHER": "no_output",
    "IMAGE_OTHER": "no_output",
    "NO_IMAGE": "no_output",
    "FINISH_REASON_UNSPECIFIED": "fault",
    "MALFORMED_FUNCTION_CALL": "fault",
    "MALFORMED_RESPONSE": "fault",
    "UNEXPECTED_TOOL_CALL": "fault",
    "TOO_MANY_TOOL_CALLS": "fault",
    "MISSING_THOUGHT_SIGNATURE": "fault",
    "PUP_LIMITED_DISABLED": "account",
}

# `$alt=json;enum-encoding=int` puts protobuf numbers in place of words. The Developer API's numbering; Vertex AI's
# differs from 6 on.
FINISH_NUMBERS = (
    "FINISH_REASON_UNSPECIFIED",
    "STOP",
    "MAX_TOKENS",
    "SAFETY",
    "RECITATION",
    "OTHER",
    "LANGUAGE",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "IMAGE_SAFETY",
)
BLOCK_NUMBERS = (
    "BLOCK_REASON_UNSPECIFIED",
    "SAFETY",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "IMAGE_SAFETY",
)
MODALITY_NUMBERS = ("MODALITY_UNSPECIFIED", "TEXT", "IMAGE", "VIDEO", "AUDIO", "DOCUMENT")
OUTCOME_NUMBERS = ("OUTCOME_UNSPECIFIED", "OUTCOME_OK", "OUTCOME_FAILED", "OUTCOME_DEADLINE_EXCEEDED")
LANGUAGE_NUMBERS = ("LANGUAGE_UNSPECIFIED", "PYTHON")


def enum_word(value: Any, numbers: tuple[str, ...]) -> str:
    """The word of an enum value given as a word or a number; "" where there is none."""
    if isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return numbers[value] if 0 <= value < len(numbers) else f"UNKNOWN_{value}"
    return ""


def finish_class(reason: str) -> Finish:
    """A reason that this table does not know is treated like OTHER."""
    return FINISH.get(reason, "no_output")
