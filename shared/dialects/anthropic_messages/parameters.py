"""The body's plain parameters: output limit, sampling, stop sequences, and what the gateway refuses to drop silently.

Unknown fields are never refused: Claude Code sends undocumented ones, and new ones with every release.
"""

from collections.abc import Mapping
from typing import Any

from shared.dialects.anthropic_messages.fields import REQUIRED, integer, invalid, mapping, number, sequence, string
from shared.dialects.anthropic_messages.notes import Notes
from shared.gemini.catalog import Capabilities
from shared.gemini.types import GenerationConfig


def check_unsupported(body: Mapping[str, Any]) -> None:
    """Refuses what would change the meaning of the request if it were dropped."""
    if body.get("compaction") is not None:
        raise invalid("Compaction on request is not supported", "compaction")
    if body.get("container"):  # an id, or skills to load
        raise invalid("Containers are not supported", "container")
    if body.get("mcp_servers"):  # without them the model would lack the tools
        raise invalid("MCP servers are not supported: connect to them from the client", "mcp_servers")
    if body.get("thread") is not None:
        raise invalid("Threads are not supported", "thread", reason="thread_unsupported_request")


def read_max_tokens(body: Mapping[str, Any]) -> int:
    """The client's `max_tokens`, which the API demands; 0 asks for no output at all."""
    value = body.get("max_tokens")
    if value is None:
        raise invalid(REQUIRED, "max_tokens")
    return integer(value, "max_tokens", 0)


def add_max_tokens(asked: int | None, config: GenerationConfig, limit: int, ceiling: int | None, notes: Notes) -> None:
    """maxOutputTokens: the client's number, at most the model's `limit` and the key's own `ceiling`."""
    limit = min(limit, ceiling) if ceiling is not None else limit
    if asked is not None:
        config["maxOutputTokens"] = max(1, min(asked, limit))
        if ceiling is not None and asked > ceiling:
            notes.add("clamped", "max_tokens")


def add_sampling(body: Mapping[str, Any], config: GenerationConfig, caps: Capabilities, notes: Notes) -> None:
    """temperature, topP and topK, only for models that still take them (R18 of the Gemini reference)."""
    given: GenerationConfig = {}
    if body.get("temperature") is not None:
        given["temperature"] = number(body["temperature"], "temperature", 0, 1)
    if body.get("top_p") is not None:
        given["topP"] = number(body["top_p"], "top_p", 0, 1)
    if body.get("top_k") is not None:
        given["topK"] = integer(body["top_k"], "top_k", 0)
    if caps.sampling:
        config.update(given)
        return
    for name, wire in (("temperature", "temperature"), ("top_p", "topP"), ("top_k", "topK")):
        if wire in given:
            notes.ignored(name)


def read_stop(body: Mapping[str, Any]) -> tuple[str, ...]:
    """All stop sequences, for the gateway to find: the upstream takes five and never tells which one it met."""
    value = body.get("stop_sequences")
    found: dict[str, None] = {}
    for position, item in enumerate(sequence(value, "stop_sequences") if value is not None else ()):
        param = f"stop_sequences[{position}]"
        if not string(item, param).strip():
            raise invalid("Each stop sequence must contain non-whitespace", param)
        found[item] = None
    return tuple(found)


def read_speed(body: Mapping[str, Any], *, fast_as_priority: bool = False) -> str | None:
    """The mode that serves a request whose client named one: `fast` costs money that the deployment must agree to."""
    speed = body.get("speed")
    if speed is None:
        return None
    return "fast" if speed == "fast" and fast_as_priority else "standard"


def read_format(body: Mapping[str, Any]) -> tuple[Mapping[str, Any], str] | None:
    """The JSON Schema for the answer, and its path: `output_config.format` or the older `output_format`."""
    config = body.get("output_config")
    for holder, name, param in (
        (mapping(config, "output_config") if config is not None else {}, "format", "output_config.format"),
        (body, "output_format", "output_format"),
    ):
        if holder.get(name) is None:
            continue
        wanted = mapping(holder[name], param)
        if wanted.get("type") != "json_schema":
            raise invalid("Input should be 'json_schema'", f"{param}.type")
        return mapping(wanted.get("schema"), f"{param}.schema"), f"{param}.schema"
    return None
