"""The body's parameters, each under one name wherever the client put it, and `generationConfig` made of them.

Google's own vocabulary arrives in two wire shapes: `google: {...}` at the top (what openai-python makes of
`extra_body={"google": ...}`) and `extra_body: {"google": {...}}` (Google's documented form).
"""

from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from shared.dialects.openai.fields import boolean, either_case, integer, invalid, mapping, number, sequence, string
from shared.dialects.openai.notes import Notes
from shared.errors import GatewayError
from shared.gemini.catalog import Capabilities
from shared.gemini.types import GenerationConfig

SAMPLING = frozenset(["temperature", "top_p", "top_k"])
MAX_CHOICES = 8
MAX_STOP_UPSTREAM = 5
MAX_TOP_LOGPROBS = 20

# A request byte must never choose the host that gets the credential.
ROUTING = ("api_base", "base_url", "api_key", "headers", "extra_headers", "custom_llm_provider")
_ROUTING = frozenset(ROUTING)

# Read somewhere in this dialect.
_READ = frozenset(
    [
        "model",
        "model_id",
        "messages",
        "contents",
        "system_instruction",
        "stream",
        "stream_options",
        "max_completion_tokens",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "n",
        "stop",
        "seed",
        "logprobs",
        "top_logprobs",
        "presence_penalty",
        "frequency_penalty",
        "reasoning_effort",
        "reasoning",
        "thinking",
        "include_reasoning",
        "response_format",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "functions",
        "function_call",
        "modalities",
        "audio",
        "image_config",
        "service_tier",
        "web_search_options",
        "google",
        "extra_body",
        "safety_settings",
        "generation_config",
        "moderation",
        "usage",
    ]
)
# For the operator's log only: neither warned about nor refused in strict mode.
_SILENT = frozenset(
    [
        "user",
        "safety_identifier",
        "metadata",
        "store",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
    ]
)
_KNOWN = _READ | _SILENT
_IDENTIFIERS = ("user", "safety_identifier", "prompt_cache_key")
_UNUSED = frozenset([*_IDENTIFIERS, "presence_penalty", "frequency_penalty", "moderation"])
_LONGEST_IDENTIFIER = 512
_OF_GOOGLE = frozenset(["google", "extra_body", "generation_config"])
_GOOGLE = frozenset(
    [
        "thinking_config",
        "cached_content",
        "safety_settings",
        "generation_config",
        "tools",
        "image_config",
        "aspect_ratio",
        "media_resolution",
    ]
)
# Google's spelling of what it shares with this dialect at the top of the body.
_CAMEL = {
    "safetySettings": "safety_settings",
    "generationConfig": "generation_config",
    "systemInstruction": "system_instruction",
}
# generationConfig's names where they differ from this dialect's.
_RENAMED = {
    "max_output_tokens": "max_tokens",
    "stop_sequences": "stop",
    "candidate_count": "n",
    "response_logprobs": "logprobs",
    "logprobs": "top_logprobs",
    "response_modalities": "modalities",
    "response_json_schema": "response_schema",
}
_GENERATION = frozenset(
    [
        "temperature",
        "top_p",
        "top_k",
        "max_tokens",
        "stop",
        "n",
        "seed",
        "logprobs",
        "top_logprobs",
        "presence_penalty",
        "frequency_penalty",
        "modalities",
        "thinking_config",
        "image_config",
        "media_resolution",
        "speech_config",
        "response_mime_type",
        "response_schema",
    ]
)


class Given(Struct, frozen=True):
    """A parameter that is there and not null, with its JSON path."""

    value: Any
    path: str


class Parameters:
    """Every parameter of one body. Where one is given in several places, OpenAI's place wins over Google's."""

    def __init__(self, body: Mapping[str, Any], notes: Notes) -> None:
        self._given: dict[str, Given] = {}
        self.get: Callable[[str], Given | None] = self._given.get  # asked for every name of the vocabulary
        refuse_routing(body, "")
        for name, value in body.items():
            known = _CAMEL.get(name, name)
            if value is not None and known in _KNOWN:
                self._given.setdefault(known, Given(value, name))
            elif value not in (None, {}, []):
                notes.ignored(name)
        if not self.lacks(_OF_GOOGLE):
            self._google(body.get("google"), "google", notes)
            self._extra_body(body.get("extra_body"), notes)
            self._generation(notes)

    def lacks(self, names: frozenset[str]) -> bool:
        """Whether none of these is given: most bodies have few parameters, so that whole groups can be passed over."""
        return names.isdisjoint(self._given)

    def value(self, name: str) -> Any:
        given = self._given.get(name)
        return given.value if given else None

    def _take(self, name: str, value: Any, path: str) -> None:
        self._given.setdefault(name, Given(value, path))

    def _google(self, value: Any, path: str, notes: Notes) -> None:
        if value is None:
            return
        for name, member in either_case(mapping(value, path)).items():
            if name not in _GOOGLE:
                notes.ignored(f"{path}.{name}")
            else:
                self._take("google_tools" if name == "tools" else name, member, f"{path}.{name}")

    def _extra_body(self, value: Any, notes: Notes) -> None:
        if value is None:
            return
        extra = mapping(value, "extra_body")
        refuse_routing(extra, "extra_body.")
        self._google(extra.get("google"), "extra_body.google", notes)
        for name in extra:
            if name != "google":
                notes.ignored(f"extra_body.{name}")

    def _generation(self, notes: Notes) -> None:
        given = self.get("generation_config")
        if given is None:
            return
        for name, member in either_case(mapping(given.value, given.path)).items():
            known = _RENAMED.get(name, name)
            path = f"{given.path}.{name}"
            if known not in _GENERATION:
                notes.ignored(path)
            elif known == "modalities":
                self._take(known, [str(word).lower() for word in sequence(member, path)], path)
            else:
                self._take(known, member, path)


def refuse_routing(body: Mapping[str, Any], prefix: str) -> None:
    if _ROUTING.isdisjoint(body):
        return
    for name in ROUTING:
        if body.get(name) is not None:
            raise GatewayError("unsupported_parameter", "This parameter is not supported.", param=f"{prefix}{name}")


def check_unused(params: Parameters, notes: Notes) -> None:
    """Checks the types of what is not used, and names what an answer will lack."""
    if params.lacks(_UNUSED):
        return
    for name in _IDENTIFIERS:
        given = params.get(name)
        if given:
            text = string(given.value, name)
            if len(text) > _LONGEST_IDENTIFIER or not text.isprintable():
                raise invalid(f"Expected at most {_LONGEST_IDENTIFIER} printable characters.", name)
    for name in ("presence_penalty", "frequency_penalty"):
        given = params.get(name)
        if given and number(given.value, given.path, -2, 2) != 0:
            notes.ignored(given.path)  # models from 2.5 on refuse penalties
    moderation = params.get("moderation")
    if moderation is None:
        return
    policy = either_case(mapping(moderation.value, "moderation")).get("policy")
    for side in ("input", "output"):
        rule = policy.get(side) if isinstance(policy, Mapping) else None
        if isinstance(rule, Mapping) and rule.get("mode") == "block":
            raise GatewayError(
                "unsupported_parameter", "Moderation cannot block here.", param=f"moderation.policy.{side}.mode"
            )


def add_sampling(params: Parameters, config: GenerationConfig, caps: Capabilities, notes: Notes) -> None:
    """temperature 0-2, top_p 0-1, top_k >= 0 (-1 means unset): checked always, sent where the model still samples."""
    temperature, top_p, top_k = (params.get(name) for name in ("temperature", "top_p", "top_k"))
    wanted: GenerationConfig = {}
    if temperature:
        wanted["temperature"] = number(temperature.value, temperature.path, 0, 2)
    if top_p:
        wanted["topP"] = number(top_p.value, top_p.path, 0, 1)
    if top_k and (chosen := integer(top_k.value, top_k.path, -1, 2**31 - 1)) >= 0:
        wanted["topK"] = chosen
    if caps.sampling:
        config.update(wanted)
        return
    for given, wire in ((temperature, "temperature"), (top_p, "topP"), (top_k, "topK")):
        if given and wire in wanted:
            notes.ignored(given.path)


def add_limits(
    params: Parameters, config: GenerationConfig, caps: Capabilities, ceiling: int | None, notes: Notes
) -> None:
    """maxOutputTokens (the client's newer name wins), at most the model's and the key's own limit; seed."""
    limit = min(caps.output_limit, ceiling) if ceiling is not None else caps.output_limit
    given = params.get("max_completion_tokens") or params.get("max_tokens")
    if given:
        asked = integer(given.value, given.path, 1)
        config["maxOutputTokens"] = min(asked, limit)
        if asked > limit:
            notes.add("clamped", given.path)
    elif ceiling is not None:
        config["maxOutputTokens"] = limit
    seed = params.get("seed")
    if seed:
        config["seed"] = (integer(seed.value, seed.path) + 2**31) % 2**32 - 2**31


def read_stop(params: Parameters, config: GenerationConfig) -> tuple[str, ...]:
    """Puts what the upstream takes into `config` and returns the sequences that the gateway has to find itself."""
    given = params.get("stop")
    if given is None:
        return ()
    if isinstance(given.value, str):
        listed = [given.value]
    else:
        items = sequence(given.value, given.path)
        listed = [string(item, f"{given.path}[{position}]") for position, item in enumerate(items)]
    sequences = tuple(dict.fromkeys(item for item in listed if item))
    if sequences:
        config["stopSequences"] = list(sequences[:MAX_STOP_UPSTREAM])
    return sequences[MAX_STOP_UPSTREAM:]


def add_logprobs(params: Parameters, config: GenerationConfig, caps: Capabilities, notes: Notes) -> bool:
    """Whether the answer shows log probabilities."""
    wanted, top = params.get("logprobs"), params.get("top_logprobs")
    asked = boolean(wanted.value, wanted.path) if wanted else False
    count = integer(top.value, top.path, 0, MAX_TOP_LOGPROBS) if top else 0
    if count and not asked:
        raise invalid("top_logprobs needs logprobs to be true.", top.path if top else "top_logprobs")
    if not asked:
        return False
    if not caps.logprobs:
        notes.ignored("logprobs")
        return False
    config["responseLogprobs"] = True
    if count:
        config["logprobs"] = count
    return True


def read_choices(params: Parameters) -> int:
    given = params.get("n")
    return integer(given.value, given.path, 1, MAX_CHOICES) if given else 1
