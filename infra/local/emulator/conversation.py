"""The conversation of a request: its turns, and what the upstream refuses about contents, calls and signatures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from infra.local.emulator import errors, signatures
from infra.local.emulator.errors import invalid
from infra.local.emulator.models import Model

type Json = dict[str, Any]

COUNT_MISMATCH = (
    "Please ensure that the number of function response parts is equal to the number of function call parts of the "
    "function call turn."
)
CALL_TURN = (
    "Please ensure that function call turn comes immediately after a user turn or after a function response turn."
)
RESULT_TURN = "Please ensure that function response turn comes immediately after a function call turn."
IMAGES = ("png", "jpeg", "jpg", "webp", "heic", "heif", "gif")
DOCUMENTS = ("pdf", "x-javascript", "x-python", "rtf")


def calls_of(content: Json) -> list[Json]:
    return [part["functionCall"] for part in content["parts"] if "functionCall" in part]


def results_of(content: Json) -> list[Json]:
    return [part["functionResponse"] for part in content["parts"] if "functionResponse" in part]


def role_of(content: Json) -> str:
    role = content.get("role") or "user"
    return "user" if role == "function" else str(role)


def check_contents(contents: list[Json], model: Model) -> None:
    if not contents:
        raise invalid("* GenerateContentRequest.contents: contents is not specified\n")
    for i, content in enumerate(contents):
        _check_content(content, i, model)
    _check_call_turns(contents, model)
    _check_signatures(contents, model)
    if role_of(contents[-1]) == "model" and model.refuses_prefill:
        raise invalid("The final turn of the conversation must not be a model turn.")  # plausible


def _check_content(content: Json, i: int, model: Model) -> None:
    if content.get("role") not in (None, "", "user", "model", "function"):
        raise invalid("Please use a valid role: user, model.")
    if not content.get("parts"):
        raise invalid(f"* GenerateContentRequest.contents[{i}].parts: contents.parts must not be empty.\n")
    for j, part in enumerate(content["parts"]):
        if not set(part) - {"thought", "partMetadata", "videoMetadata", "mediaResolution"}:
            raise invalid(
                f"* GenerateContentRequest.contents[{i}].parts[{j}].data: required oneof field 'data' must have one "
                "initialized field\n"
            )
        if "functionCall" in part and not part["functionCall"].get("name"):
            raise invalid(
                f"* GenerateContentRequest.contents[{i}].parts[{j}].function_call.name: Name cannot be empty.\n"
            )
        if "functionResponse" in part:
            _check_result(part["functionResponse"], f"contents[{i}].parts[{j}]")
        if "inlineData" in part:
            _check_mime(part["inlineData"].get("mimeType", ""), f"contents[{i}].parts[{j}].inline_data", model)


def _check_mime(mime: str, path: str, model: Model) -> None:
    kind, _, detail = mime.partition(";")[0].strip().lower().partition("/")
    if not mime:
        raise invalid(f"* GenerateContentRequest.{path}.mime_type: mime_type must be specified\n")  # plausible
    known = kind in ("audio", "video", "text") or detail in {"image": IMAGES, "application": DOCUMENTS}.get(kind, ())
    if not known or (detail == "gif" and model.generation < 3):
        raise invalid(f"Unsupported MIME type: {mime}")


def _check_result(result: Json, path: str) -> None:
    if not result.get("name"):
        raise invalid(f"* GenerateContentRequest.{path}.function_response.name: Name cannot be empty.\n")
    response = result.get("response", {})
    if not isinstance(response, dict):
        raise errors.bad_request(
            [
                errors.bad_value(
                    f"{path}.function_response.response", "type.googleapis.com/google.protobuf.Struct", f'"{response}"'
                )
            ]
        )
    if _has_ref(response):
        # A `$ref` key inside a function response is taken for a reference to a media part.
        raise invalid("Request contains an invalid argument.")


def _has_ref(value: Any) -> bool:
    if isinstance(value, dict):
        return "$ref" in value or any(_has_ref(item) for item in value.values())
    return isinstance(value, list) and any(_has_ref(item) for item in value)


@dataclass(frozen=True, slots=True)
class Turn:
    """Neighbouring contents of one role: the live server reads them as one turn."""

    role: str
    start: int
    calls: list[Json]
    results: list[Json]


def turns_of(contents: list[Json]) -> list[Turn]:
    turns: list[Turn] = []
    for i, content in enumerate(contents):
        role, calls, results = role_of(content), calls_of(content), results_of(content)
        if turns and turns[-1].role == role:
            turns[-1].calls.extend(calls)
            turns[-1].results.extend(results)
        else:
            turns.append(Turn(role, i, calls, results))
    return turns


def _check_call_turns(contents: list[Json], model: Model) -> None:
    turns = turns_of(contents)
    for i, turn in enumerate(turns):
        if turn.calls:
            if turn.role != "model" or i == 0:
                raise invalid(CALL_TURN)
            _check_answers(turn.calls, turns[i + 1].results if i + 1 < len(turns) else [], model)
        if turn.results and (turn.role == "model" or i == 0 or not turns[i - 1].calls):
            raise invalid(RESULT_TURN)
        if model.generation < 3 and any(result.get("parts") for result in turn.results):
            raise invalid("Multimodal function responses are not supported for this model.")  # plausible


def _check_answers(calls: list[Json], results: list[Json], model: Model) -> None:
    if len(results) != len(calls):
        raise invalid(COUNT_MISMATCH)
    if model.generation < 3.6:
        return
    wanted = sorted((call.get("id", ""), call["name"]) for call in calls)
    given = sorted((result.get("id", ""), result["name"]) for result in results)
    if wanted != given:
        raise invalid(
            "Please ensure that the id and name of every function response match the function call it answers."
        )  # plausible


def turn_start(contents: list[Json]) -> int:
    """Index of the content that opened the current turn: the last user turn that holds no function result."""
    starts = [turn.start for turn in turns_of(contents) if turn.role == "user" and not turn.results]
    return starts[-1] if starts else 0


def _check_signatures(contents: list[Json], model: Model) -> None:
    if model.gemma:
        if any("thoughtSignature" in part for content in contents for part in content["parts"]):
            raise invalid("Thought signature is not supported for this model.")  # plausible
        return
    if not model.enforces_signatures:
        return
    for i in range(turn_start(contents), len(contents)):
        first = True
        for part in contents[i]["parts"]:
            if "functionCall" not in part:
                continue
            name, signature = part["functionCall"]["name"], part.get("thoughtSignature")
            if signature:
                if signatures.judge(signature, f"call:{name}") == "corrupted":
                    raise invalid("Corrupted thought signature.")
            elif first:
                raise errors.missing_signature(name, i + 1)
            first = False
