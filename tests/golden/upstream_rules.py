"""What the upstream accepts: Google's own schema, strictly, and the rules that a schema cannot say."""

import json
from datetime import date
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from shared.gemini.catalog import resolve

HERE = Path(__file__).parent
DAY = date(2026, 11, 21)

# The schema is made of Google's discovery document, revision 20260325, which refers to this type without defining it.
# Values: google-genai 3.4.0, types.PartMediaResolutionLevel.
NEWER = {
    "MediaResolution": {
        "type": "object",
        "properties": {
            "level": {"enum": [f"MEDIA_RESOLUTION_{word}" for word in ("LOW", "MEDIUM", "HIGH", "ULTRA_HIGH")]}
        },
        "additionalProperties": False,
    }
}


def strict_validator() -> Draft202012Validator:
    """Gemini's GenerateContentRequest with no unknown field allowed anywhere."""
    spec = json.loads((HERE / "gemini.schema.json").read_text())
    return Draft202012Validator({"$ref": "#/$defs/GenerateContentRequest", "$defs": spec["$defs"] | NEWER})


VALIDATOR = strict_validator()


def assert_sound(request: dict[str, Any], model: str) -> None:
    """What the schema cannot say: the upstream's rules for conversations and settings."""
    contents = request["contents"]
    assert contents[0]["role"] == "user"
    assert all(content["parts"] for content in contents)
    assert all(part.get("text") != "" for content in contents for part in content["parts"])
    for before, after in zip(contents, [*contents[1:], {"parts": []}], strict=True):
        made = [part["functionCall"]["name"] for part in before["parts"] if "functionCall" in part]
        if made:
            assert made == [part["functionResponse"]["name"] for part in after["parts"] if "functionResponse" in part]
    caps = resolve(model, DAY).capabilities
    settings = request.get("generationConfig", {})
    thinking = settings.get("thinkingConfig", {})
    assert caps.prefill or contents[-1]["role"] == "user"
    assert not {"candidateCount", "presencePenalty", "frequencyPenalty"} & set(settings)
    assert caps.sampling or not {"temperature", "topP", "topK"} & set(settings)
    assert ("thinkingLevel" if caps.thinking == "budget" else "thinkingBudget") not in thinking
    assert len(settings.get("stopSequences", [])) <= 5
    calling = request.get("toolConfig", {}).get("functionCallingConfig")
    assert not calling or "functionDeclarations" in request["tools"][0]
    if "tools" in request and "responseMimeType" in settings:
        assert caps.json_with_tools
        assert (calling or {}).get("mode") != "ANY"
