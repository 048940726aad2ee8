"""Rules that hold for the bodies of every dialect, whatever its own document says."""

from collections.abc import Iterator, Mapping
from typing import Any

from shared.errors import GatewayError
from shared.gemini.schema import MAX_BYTES, MAX_ENUM_VALUES
from shared.gemini.types import GenerateContentRequest
from shared.json_codec import encode
from shared.stores.protocols import KeyRecord

MAX_TOOLS = 512
# what other gateways read from a body; here nothing a client writes changes where a request goes, or as whom
_ROUTING = ("api_base", "base_url", "api_key", "headers", "extra_headers", "custom_llm_provider")
_ROUTING_NAMES = frozenset(_ROUTING)


def refuse_routing(body: Mapping[str, Any]) -> None:
    if _ROUTING_NAMES.isdisjoint(body):
        return
    for name in _ROUTING:
        if body.get(name) is not None:
            raise GatewayError("unsupported_parameter", "This parameter is not supported.", param=name)


def check_tools(request: GenerateContentRequest, key: KeyRecord, *, schemas: bool = False) -> None:
    """At most 512 functions, and code execution only for keys that may. `schemas`: those of a client that sends
    Google's own form, which no translator has bounded."""
    declared: list[Mapping[str, Any]] = []
    for tool in request.get("tools", ()):
        if "codeExecution" in tool and not key.code_exec:
            raise GatewayError("feature_not_allowed", "This key may not execute code.", param="tools")
        declared += tool.get("functionDeclarations", ())
    if len(declared) > MAX_TOOLS:
        raise GatewayError("invalid_request", f"Expected at most {MAX_TOOLS} tools.", param="tools")
    for declaration in declared if schemas else ():
        for name in ("parameters", "parametersJsonSchema", "response", "responseJsonSchema"):
            if name in declaration:
                _check_schema(declaration[name])


def _check_schema(schema: Any) -> None:
    written = encode(schema)
    if len(written) > MAX_BYTES:
        raise GatewayError("invalid_request", "The schema of a function is larger than 128 KB.", param="tools")
    if b'"enum"' in written and sum(len(values) for values in _enums(schema)) > MAX_ENUM_VALUES:
        message = f"The schema of a function has more than {MAX_ENUM_VALUES} enum values."
        raise GatewayError("invalid_request", message, param="tools")


def _enums(schema: Any) -> Iterator[list[Any]]:
    stack = [schema]
    while stack:
        item = stack.pop()
        if isinstance(item, Mapping):
            if isinstance(item.get("enum"), list):
                yield item["enum"]
            stack.extend(item.values())
        elif isinstance(item, list):
            stack.extend(item)
