"""Configuration of one deployment, read once from the environment at init."""

import json
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct, field

from shared.gemini.timeouts import Timeouts

GOOGLE = "https://generativelanguage.googleapis.com"
_YES, _NO = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_OWN_NAMES = ("gemini-", "gemma-", "models/")  # who names a model wants that model
MAX_BODY_BYTES = 5_500_000  # below Lambda's 6 MB, whose own 413 speaks no dialect


class ConfigurationError(Exception):
    """The environment is unusable; the message names the variable and never its value."""


class Settings(Struct, frozen=True):
    """Names match the variables in template.yaml, in lower case."""

    stage: str = "local"
    gemini_base_url: str = GOOGLE
    max_body_bytes: int = MAX_BODY_BYTES
    metering_fail_mode: Literal["closed", "open"] = "closed"
    strict_parameters: bool = False
    safety_off: bool = False
    gemini_auth_errors: Literal["unauthenticated", "google"] = "unauthenticated"
    strict_version: bool = False
    fast_as_priority: bool = False
    resolve_grounding_urls: bool = False
    max_hops: int = 4
    default_output_reservation: int = 8_192
    commit_after_s: float = 10.0
    heartbeat_s: float = 15.0
    url_fetch: Literal["on", "https", "off"] = "on"  # for keys that may; "https": not over plain http
    request_timeout_s: float = 900.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    breaker_failures: int = 5
    retry_budget: float = 100.0
    shared_cooldowns: bool = False
    model_aliases: Mapping[str, str | tuple[str, ...]] = field(default_factory=dict)  # a tuple: with fallbacks
    log_level: str = "INFO"

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Unset and empty variables mean the default."""

        def text(name: str, default: str) -> str:
            return environ.get(name, "").strip() or default

        def flag(name: str) -> bool:
            word = text(name, "false").lower()
            if word not in _YES and word not in _NO:
                raise ConfigurationError(f"{name} must be true or false")
            return word in _YES

        def number(name: str, default: float) -> float:
            try:
                value = float(text(name, str(default)))
            except ValueError:
                raise ConfigurationError(f"{name} must be a number") from None
            if not value >= 0:
                raise ConfigurationError(f"{name} must not be negative")
            return value

        fail_mode = text("METERING_FAIL_MODE", "closed")
        if fail_mode not in ("closed", "open"):
            raise ConfigurationError("METERING_FAIL_MODE must be closed or open")
        auth_errors = text("GEMINI_AUTH_ERRORS", "unauthenticated")
        if auth_errors not in ("unauthenticated", "google"):
            raise ConfigurationError("GEMINI_AUTH_ERRORS must be unauthenticated or google")
        url_fetch = text("URL_FETCH", "on")
        if url_fetch not in ("on", "https", "off"):
            raise ConfigurationError("URL_FETCH must be on, https or off")
        log_level = text("LOG_LEVEL", "INFO").upper()
        if log_level not in _LOG_LEVELS:
            raise ConfigurationError(f"LOG_LEVEL must be one of {', '.join(_LOG_LEVELS)}")
        base_url = text("GEMINI_BASE_URL", GOOGLE).rstrip("/")
        if not base_url.startswith(("http://", "https://")):
            raise ConfigurationError("GEMINI_BASE_URL must be an http or https URL")
        return cls(
            stage=text("STAGE", "local"),
            gemini_base_url=base_url,
            max_body_bytes=int(number("MAX_BODY_BYTES", MAX_BODY_BYTES)),
            metering_fail_mode="open" if fail_mode == "open" else "closed",
            strict_parameters=flag("STRICT_PARAMETERS"),
            safety_off=flag("SAFETY_OFF"),
            gemini_auth_errors="google" if auth_errors == "google" else "unauthenticated",
            strict_version=flag("STRICT_VERSION"),
            fast_as_priority=flag("FAST_AS_PRIORITY"),
            resolve_grounding_urls=flag("RESOLVE_GROUNDING_URLS"),
            max_hops=int(number("MAX_HOPS", 4)),
            default_output_reservation=int(number("DEFAULT_OUTPUT_RESERVATION", 8_192)),
            commit_after_s=number("COMMIT_AFTER_SECONDS", 10),
            heartbeat_s=number("HEARTBEAT_SECONDS", 15),
            url_fetch="https" if url_fetch == "https" else "off" if url_fetch == "off" else "on",
            request_timeout_s=number("REQUEST_TIMEOUT_SECONDS", 900),
            timeouts=Timeouts(
                connect=number("UPSTREAM_CONNECT_SECONDS", 3),
                write=number("UPSTREAM_WRITE_SECONDS", 10),
                first_byte=number("UPSTREAM_FIRST_BYTE_SECONDS", 60),
                first_byte_thinking=number("UPSTREAM_FIRST_BYTE_THINKING_SECONDS", 240),
                idle=number("UPSTREAM_IDLE_SECONDS", 60),
                idle_thinking=number("UPSTREAM_IDLE_THINKING_SECONDS", 180),
                whole=number("UPSTREAM_WHOLE_SECONDS", 900),
            ),
            breaker_failures=int(number("BREAKER_FAILURES", 5)),
            retry_budget=number("RETRY_BUDGET", 100),
            shared_cooldowns=flag("SHARED_COOLDOWNS"),
            model_aliases=_aliases(text("MODEL_ALIASES", "{}")),
            log_level=log_level,
        )


def _aliases(text: str) -> Mapping[str, str | tuple[str, ...]]:
    """`{"fast": "gemini-3.6-flash", "safe": ["gemini-3.8-flash", "gemini-3.6-flash"]}`: what a list names after its
    first model answers when that one cannot."""
    try:
        value = json.loads(text)
    except ValueError:
        value = None
    if not isinstance(value, dict) or not all(_is_target(item) for item in value.values()):
        raise ConfigurationError("MODEL_ALIASES must be a JSON object of strings, or of lists of strings")
    if any(isinstance(item, list) and name.startswith(_OWN_NAMES) for name, item in value.items()):
        raise ConfigurationError("MODEL_ALIASES: a model's own name cannot have fallbacks; give them to another name")
    return {name: item if isinstance(item, str) else tuple(item) for name, item in value.items()}


def _is_target(value: object) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, str) and item for item in value)
    )
