"""What the upstream's failures mean: one `GatewayError` for every shape in which they arrive.

Google's error bodies can carry keys, project numbers and pieces of the prompt. Nothing of them is passed on but what is
rebuilt here: a kind, the message where it concerns the client's request, redacted, and the time to wait.

`reason` names what a changed request can cure, or tells apart what shares a kind.
"""

import json
import re
from collections.abc import Mapping
from typing import Any

from shared.errors import ErrorKind, GatewayError

_RETRYABLE: frozenset[ErrorKind] = frozenset(
    {
        "upstream_rate_limited",
        "upstream_overloaded",
        "upstream_internal",
        "upstream_timeout",
        "upstream_unreachable",
    }
)

NO_ANSWER = "status"  # reason of an `upstream_invalid_response` to which no 200 was said
DENIED = "denied"  # reason of an `upstream_auth` that may as well be about what the request names
_OWN_FAULT = "The upstream refused the gateway's access. This is not a fault of the request."
_MESSAGE_LIMIT = 1000
_BODY_LIMIT = 1024 * 1024

# Patterns as text: `re` keeps what it has compiled, and only a failed call needs any.
_SECRETS = (
    r"(?i)AIza[\w-]{6,}|AQ\.[\w.-]{6,}|ya29\.[\w.-]+|sk-[\w-]{6,}|(?<=Bearer )\S+|(?<=[?&]key=)[^&\s\"']+"
    r"|(?<=x-goog-api-key: )\S+|(?<=x-goog-api-key:)\S+|(?<=api_key:)\S+|(?<=project_number:)\d+"
    r"|(?<=projects/)[\w-]+|(?<=project )\d{6,}"
)
# Google quotes the offending value, which is the client's text, behind the field's path and type.
_QUOTED_VALUE = r"(?s)(Invalid value at '[^']*'(?: \([^)]*\))?), .*?(?=Invalid value at|\Z)"
_CONTROL = r"[\x00-\x08\x0b-\x1f\x7f]"
_RETRY_IN = r"(?i)retry in (\d+(?:\.\d+)?)\s*(ms|s)\b"
_FIELD = r"GenerateContentRequest\.([\w.\[\]]+?)(?=[:\s]|\.?$)|Unknown name \"[^\"]*\" at '([^']+)'"
_DECLARATION = r"^tools\[\d+\]\.function_?[dD]eclarations\[(\d+)\]"

# (text in the message of a 400, reason): the first match decides. Texts as recorded or quoted in public issues.
_ACCESS = (
    ("api key not valid", "api_key_invalid"),
    ("api key expired", "api_key_invalid"),
    ("api_key_invalid", "api_key_invalid"),
    ("user location is not supported", "location"),
    ("multiple authentication credentials", "credentials"),
    ("please enable billing", "billing"),
)
_INVALID = (
    ("missing a thought_signature", "missing_signature"),
    ("only one of thinking budget and thinking level", "level_and_budget"),
    ("thinking level", "level_unsupported"),
    ("thinking_level", "level_unsupported"),
    ("thinkinglevel", "level_unsupported"),
    ("thinking budget", "budget_unsupported"),
    ("thinking_budget", "budget_unsupported"),
    ("only works in thinking mode", "budget_unsupported"),
    ("logprobs", "logprobs"),
    ('unknown name "parametersjsonschema"', "json_schema"),
    ('unknown name "responsejsonschema"', "json_schema"),
    ('unknown name "parameters_json_schema"', "json_schema"),
    ('unknown name "response_json_schema"', "json_schema"),
    ("cannot fetch content from the provided url", "url_fetch"),
    ("url_error", "url_fetch"),
    ("robots.txt", "url_fetch"),
)
_OVERFLOW = r"(?i)(input|prompt) token count|maximum number of tokens|exceeds? the (model's )?context"
_TOO_LARGE = r"(?i)payload size exceeds|request (entity )?too large|exceeds the maximum (request|file) size"
_NO_MODEL = r"(?is)models?[/ ].*(not found|not supported|no longer available)|publisher model"
_SPENT = r"(?i)limit: 0\b|spend(ing)? cap|credits are depleted|billing account"
_FOREIGN_OBJECT = r"(?i)access the file|cached ?content|corpus|permission to access"

# All that Google says of a video that is private, too; of a credential it says more.
_NO_PERMISSION = "The caller does not have permission"


def from_response(status: int, body: bytes) -> GatewayError:
    """The failure that an upstream answer other than 200 means. `body` may be Google's envelope as an object or an
    array, with or without `data:` before it, or anything else, such as a proxy's HTML, which is never passed on."""
    envelope = _envelope(body[:_BODY_LIMIT])
    return _judge(status, envelope)


def from_chunk(error: Any, *, begun: bool = False) -> GatewayError:
    """The failure that an error object inside a 200 stream means: the value under `error`, judged by its `code`. Once
    an answer has `begun` that is `upstream_interrupted`, with the finer word as `reason`."""
    envelope = error if isinstance(error, Mapping) else {}
    code = envelope.get("code")
    if isinstance(code, str) and code.isdigit() and len(code) == 3:
        code = int(code)
    status = (
        code if isinstance(code, int) and 400 <= code <= 599 else _STATUS_CODES.get(str(envelope.get("status")), 502)
    )
    failure = _judge(status, envelope)
    if not begun:
        return failure
    word = failure.reason or failure.kind.removeprefix("upstream_")
    return GatewayError("upstream_interrupted", failure.message, retry_after=failure.retry_after, reason=word)


def is_retryable(error: GatewayError) -> bool:
    """Whether the same request may succeed later, if nothing of the answer was passed on yet."""
    return error.kind in _RETRYABLE


class QuotaError(GatewayError):
    """A 429 of the upstream. `quota_id` is the quota that Google names, the day's first; "" where it names none."""

    quota_id: str = ""


_STATUS_CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "OUT_OF_RANGE": 400,
    "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNKNOWN": 500,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}


def _judge(status: int, envelope: Mapping[str, Any] | None) -> GatewayError:
    if envelope is None and status in (400, 401, 403, 404, 413, 429):
        # Not from Google's API: a proxy or a wrong host, except for the two that mean the same everywhere.
        if status == 429:
            return GatewayError("upstream_rate_limited", _waiting(None))
        if status != 413:
            return _unexpected(f"The upstream answered {status} in an unknown form.")
    error = envelope or {}
    said = error.get("message")
    message = said if isinstance(said, str) else ""
    match status:
        case 400:
            return _bad_request(error, message)
        case 401:
            return GatewayError("upstream_auth", _OWN_FAULT, reason="credentials")
        case 403:
            return _forbidden(error, message)
        case 404:
            return _not_found(message)
        case 413:
            return GatewayError("request_too_large", "The request is too large for the upstream.")
        case 429:
            return _exhausted(error, message)
    return _broken(status, message)


def _bad_request(error: Mapping[str, Any], message: str) -> GatewayError:
    lowered = message.lower()
    details = _details(error)
    if any(detail.get("reason") == "API_KEY_INVALID" for detail in details):
        return GatewayError("upstream_auth", _OWN_FAULT, reason="api_key_invalid")
    trouble = next((word for text, word in _ACCESS if text in lowered), None)
    if trouble is not None:
        return GatewayError("upstream_auth", _OWN_FAULT, reason=trouble)
    shown = redact(message) or "The upstream refused the request."
    if re.search(_OVERFLOW, message) and "max_output" not in lowered:
        return GatewayError("context_length_exceeded", shown)
    if re.search(_TOO_LARGE, message):
        return GatewayError("request_too_large", shown)
    reason = next((word for text, word in _INVALID if text in lowered), None)
    if reason is None and message.startswith("Model ") and "not found" in lowered:
        return GatewayError("model_not_found", shown, param="model")
    return GatewayError("invalid_request", shown, param=_param(details, message), reason=reason)


def _forbidden(error: Mapping[str, Any], message: str) -> GatewayError:
    if re.search(_FOREIGN_OBJECT, message):
        return GatewayError("not_found", "The file or cached content does not exist or is not accessible.")
    if message.startswith(_NO_PERMISSION) and not any("reason" in detail for detail in _details(error)):
        return GatewayError("upstream_auth", _OWN_FAULT, reason=DENIED)
    reason = "leaked" if "leaked" in message.lower() else "forbidden"
    return GatewayError("upstream_auth", _OWN_FAULT, reason=reason)


def _not_found(message: str) -> GatewayError:
    if re.search(_NO_MODEL, message):
        return GatewayError("model_not_found", redact(message), param="model")
    return GatewayError("not_found", redact(message) or "The upstream does not know the requested object.")


def _exhausted(error: Mapping[str, Any], message: str) -> GatewayError:
    quotas = [
        str(violation.get("quotaId", ""))
        for detail in _details(error)
        for violation in _objects(detail.get("violations"))
    ]
    wait = _retry_delay(error, message)
    daily = [quota for quota in quotas if "PerDay" in quota]
    if daily or re.search(_SPENT, message):
        reason = "per_day" if daily else "spent"
        refusal = QuotaError("upstream_quota", "The upstream's quota is used up.", reason=reason)
    else:
        refusal = QuotaError("upstream_rate_limited", _waiting(wait), retry_after=wait)
    refusal.quota_id = next(filter(None, [*daily, *quotas]), "")
    return refusal


def _broken(status: int, message: str) -> GatewayError:
    shown = redact(message)
    match status:
        case 408 | 504:
            return GatewayError("upstream_timeout", "The upstream did not answer in time.")
        case 500:
            return GatewayError("upstream_internal", shown or "The upstream failed.")
        case 502:
            return GatewayError("upstream_unreachable", "The upstream could not be reached.")
        case 503 | 529:
            return GatewayError("upstream_overloaded", shown or "The upstream is overloaded. Please try again later.")
    return _unexpected(f"The upstream answered with the unexpected status {status}.")


def _unexpected(message: str) -> GatewayError:
    return GatewayError("upstream_invalid_response", message, reason=NO_ANSWER)


def redact(message: str) -> str:
    """A message of Google's that may be shown: no keys, no project numbers, no quoted request values, one length."""
    shown = re.sub(_QUOTED_VALUE, r"\1. ", message[: 4 * _MESSAGE_LIMIT])
    shown = re.sub(_SECRETS, "[redacted]", re.sub(_CONTROL, " ", shown)).strip()
    return shown if len(shown) <= _MESSAGE_LIMIT else f"{shown[:_MESSAGE_LIMIT]}…"


def _waiting(seconds: float | None) -> str:
    # No space before the unit, as OpenAI writes it: clients find the wait by that pattern.
    when = "later" if seconds is None else f"in {seconds:g}s"
    return f"The upstream's rate limit is reached. Please try again {when}."


def _retry_delay(error: Mapping[str, Any], message: str) -> float | None:
    """Seconds from RetryInfo (`"34.4s"`), else from the message; Google sends no Retry-After header."""
    for detail in _details(error):
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and re.fullmatch(r"\d{1,7}(\.\d{1,9})?s", delay):
            return float(delay[:-1])
    found = re.search(_RETRY_IN, message)
    if found is None:
        return None
    return float(found[1]) / (1000 if found[2].lower() == "ms" else 1)


def _param(details: list[Mapping[str, Any]], message: str) -> str | None:
    """The client's parameter for Google's field path, as far as every dialect shares it: a function declaration is
    `tools[i]`, a generation setting its own name. Paths into the contents are the dialect's own and give None."""
    paths = [violation.get("field") for detail in details for violation in _objects(detail.get("fieldViolations"))]
    found = re.search(_FIELD, message)
    if found:
        paths.append(found[1] or found[2])
    for path in paths:
        if isinstance(path, str) and path:
            bare = redact(path.removeprefix("GenerateContentRequest."))[:200]
            if bare.startswith("tools["):
                return re.sub(_DECLARATION, r"tools[\1]", bare)
            if bare.startswith(("generation_config.", "generationConfig.")):
                return bare.partition(".")[2]
    return None


def _details(error: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return _objects(error.get("details"))


def _objects(listed: Any) -> list[Mapping[str, Any]]:
    return [item for item in listed if isinstance(item, Mapping)] if isinstance(listed, list) else []


def _envelope(body: bytes) -> Mapping[str, Any] | None:
    """The object under `error`, out of any of its wrappings; None where the body is something else."""
    text = body.decode("utf-8", "replace").strip().removeprefix("\ufeff")
    if text.startswith("data:"):
        text = text.removeprefix("data:")
    try:
        parsed, _ = json.JSONDecoder().raw_decode(text.strip())
    except (ValueError, RecursionError):
        return None
    if isinstance(parsed, list):
        parsed = parsed[0] if parsed else None
    error = parsed.get("error") if isinstance(parsed, Mapping) else None
    return error if isinstance(error, Mapping) else None
