"""Structured output, by the upstream's own means, or by asking for it in words where it has none."""

import json
from collections.abc import Mapping
from typing import Any

from shared.gemini.catalog import Capabilities
from shared.gemini.schema import clean_json_schema, openapi_schema
from shared.gemini.types import GenerationConfig


def apply_format(
    schema: Mapping[str, Any], param: str, config: GenerationConfig, caps: Capabilities, *, tools: bool, forced: bool
) -> str:
    """Asks for JSON in `config`, or returns the sentence for the system instruction that asks in words.

    In words: models up to 2.5 refuse JSON output beside any tool, newer ones beside forced calls (R42 of the Gemini
    reference). The answer may then come inside a code fence.
    """
    cleaned = clean_json_schema(schema, param=param)
    if (tools and not caps.json_with_tools) or forced:
        shown = json.dumps(cleaned, ensure_ascii=False, separators=(",", ":"))
        return (
            "Whenever you answer with text, the answer must be one JSON value and nothing else, without a code fence. "
            f"It must be valid under this JSON Schema:\n{shown}"
        )
    config["responseMimeType"] = "application/json"
    if caps.json_schema:
        config["responseJsonSchema"] = cleaned
    else:
        config["responseSchema"] = openapi_schema(schema, param=param)
    return ""
