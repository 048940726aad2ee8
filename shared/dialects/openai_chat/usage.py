"""Token counts in the words of Chat Completions."""

from typing import Any

from shared.events import Usage


def chat_usage(usage: Usage) -> dict[str, Any]:
    """`prompt_tokens` holds the cached ones, `completion_tokens` the reasoning. OpenAI has no slot for VIDEO and
    DOCUMENT."""
    prompt, completion = usage.input_total, usage.output_total
    completion_details: dict[str, int] = {
        "reasoning_tokens": usage.reasoning_tokens,
        "audio_tokens": usage.output_modalities.get("AUDIO", 0),
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    }
    if usage.output_modalities:
        completion_details["text_tokens"] = usage.output_modalities.get("TEXT", 0)
        completion_details["image_tokens"] = usage.output_modalities.get("IMAGE", 0)
    prompt_details: dict[str, int] = {
        "cached_tokens": usage.cached_tokens,
        "cache_write_tokens": 0,
        "audio_tokens": usage.prompt_modalities.get("AUDIO", 0),
    }
    if usage.prompt_modalities:
        prompt_details["text_tokens"] = usage.prompt_modalities.get("TEXT", 0)
        prompt_details["image_tokens"] = usage.prompt_modalities.get("IMAGE", 0)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": prompt_details,
        "completion_tokens_details": completion_details,
    }
