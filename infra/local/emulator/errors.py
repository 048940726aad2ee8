"""Google's error bodies: one exception, one builder for every row of what the upstream refuses.

Texts and details are those seen on the public API (status, message, `google.rpc` details); a text that nobody has
quoted is marked "plausible" where it stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

type Details = list[dict[str, Any]]

STATUS_WORD = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "INVALID_ARGUMENT",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

RPC = "type.googleapis.com/google.rpc."
SERVICE = "generativelanguage.googleapis.com"
RATE_LIMIT_DOCS = "https://ai.google.dev/gemini-api/docs/rate-limits"
BAD_KEY = "API key not valid. Please pass a valid API key."


class Refusal(Exception):
    """An answer of the upstream that is an error: HTTP code, canonical status, message, details."""

    def __init__(self, code: int, message: str, *, status: str | None = None, details: Details | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.status = status or STATUS_WORD.get(code, "UNKNOWN")
        self.message = message
        self.details = details or []
        self.silence = 0.0  # seconds before the answer, set by a step

    def body(self) -> dict[str, Any]:
        error: dict[str, Any] = {"code": self.code, "message": self.message, "status": self.status}
        if self.details:
            error["details"] = self.details
        return {"error": error}


def invalid(message: str) -> Refusal:
    return Refusal(400, message)


def bad_request(violations: Iterable[tuple[str, str]]) -> Refusal:
    """A parse error: every (snake_case path, description) in the message and in BadRequest.fieldViolations."""
    rows = list(violations)
    listed = [{"field": path, "description": text} if path else {"description": text} for path, text in rows]
    details: Details = [{"@type": RPC + "BadRequest", "fieldViolations": listed}]
    return Refusal(400, "\n".join(text for _, text in rows), details=details)


def unknown_field(path: str, name: str) -> tuple[str, str]:
    where = f" at '{path}'" if path else ""
    return path, f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.'


def not_repeating(path: str, name: str) -> tuple[str, str]:
    where = f" at '{path}'" if path else ""
    text = (
        f'Invalid JSON payload received. Unknown name "{name}"{where}: Proto field is not repeating, cannot start list.'
    )
    return path, text


def bad_value(path: str, kind: str, shown: str) -> tuple[str, str]:
    return path, f"Invalid value at '{path}' ({kind}), {shown}"


def multiple_credentials() -> Refusal:
    return invalid("Multiple authentication credentials received. Please pass only one.")


def api_key_invalid() -> Refusal:
    info = {
        "@type": RPC + "ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": SERVICE},
    }
    localized = {"@type": RPC + "LocalizedMessage", "locale": "en-US", "message": BAD_KEY}
    return Refusal(400, BAD_KEY, details=[info, localized])


def token_type_unsupported(method: str) -> Refusal:
    message = (
        "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
        "authentication credential. See https://developers.google.com/identity/sign-in/web/devconsole-project."
    )
    info = {
        "@type": RPC + "ErrorInfo",
        "reason": "ACCESS_TOKEN_TYPE_UNSUPPORTED",
        "metadata": {"method": f"google.ai.generativelanguage.v1beta.GenerativeService.{method}", "service": SERVICE},
    }
    return Refusal(401, message, details=[info])


def unregistered_caller() -> Refusal:
    return Refusal(
        403,
        "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or "
        "other form of API consumer identity to call this API.",
    )


def leaked_key() -> Refusal:
    return Refusal(403, "Your API key was reported as leaked. Please use another API key.")


def location() -> Refusal:
    return Refusal(400, "User location is not supported for the API use.", status="FAILED_PRECONDITION")


def model_not_found(name: str, version: str, method: str) -> Refusal:
    return Refusal(
        404,
        f"{name} is not found for API version {version}, or is not supported for {method}. Call ListModels to see "
        "the list of available models and their supported methods.",
    )


def no_such_model(name: str, version: str) -> Refusal:
    return Refusal(404, f"Model is not found: {name} for api version {version}")


def closed_to_new_users(name: str) -> Refusal:
    return Refusal(
        404,
        f"This model {name} is no longer available to new users. Please update your code to use a newer model for "
        "the latest features and improvements.",
    )


def missing_signature(name: str, position: int) -> Refusal:
    return invalid(
        "Function call is missing a thought_signature in functionCall parts. This is required for tools to work "
        "correctly, and missing thought_signature may lead to degraded model performance. Additional data, function "
        f"call `default_api:{name}` , position {position}. Please refer to "
        "https://ai.google.dev/gemini-api/docs/thought-signatures for more details."
    )


def overloaded(form: str = "2026") -> Refusal:
    if form == "2025":
        return Refusal(503, "The model is overloaded. Please try again later.")
    return Refusal(
        503,
        "This model is currently experiencing high demand. Spikes in demand are usually temporary. "
        "Please try again later.",
    )


QUOTAS = {
    "per-minute": ("GenerateRequestsPerMinutePerProjectPerModel-FreeTier", "generate_content_free_tier_requests", "10"),
    "per-day": ("GenerateRequestsPerDayPerProjectPerModel-FreeTier", "generate_content_free_tier_requests", "250"),
    "tokens": (
        "GenerateContentPaidTierInputTokensPerModelPerMinute",
        "generate_content_paid_tier_input_token_count",
        "1000000",
    ),
}


def quota(variant: str, retry_seconds: float | None, model: str) -> Refusal:
    """A 429: `short` has no details; the others carry Help, QuotaFailure and, unless None, RetryInfo."""
    if variant == "short":
        return Refusal(429, "Resource has been exhausted (e.g. check quota).")
    quota_id, metric, value = QUOTAS[variant]
    metric = f"{SERVICE}/{metric}"
    message = (
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        f"error, head to: {RATE_LIMIT_DOCS}. To monitor your current usage, head to: https://ai.dev/rate-limit. \n"
        f"* Quota exceeded for metric: {metric}, limit: {value}, model: {model}"
    )
    violation = {
        "quotaMetric": metric,
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": model},
        "quotaValue": value,
    }
    details: Details = [
        {
            "@type": RPC + "Help",
            "links": [{"description": "Learn more about Gemini API quotas", "url": RATE_LIMIT_DOCS}],
        },
        {"@type": RPC + "QuotaFailure", "violations": [violation]},
    ]
    if retry_seconds is not None:
        message += f"\nPlease retry in {retry_seconds:g}s."
        details.append({"@type": RPC + "RetryInfo", "retryDelay": f"{retry_seconds:g}s"})
    return Refusal(429, message, details=details)


PLAIN = {
    408: "The request timed out. Please try again.",  # plausible
    409: "The operation was aborted.",  # plausible
    413: "Request payload size exceeds the limit: 104857600 bytes.",
    499: "The operation was cancelled.",
    500: (
        "An internal error has occurred. Please retry or report in "
        "https://developers.generativeai.google/guide/troubleshooting"
    ),
    501: "Operation is not implemented, or supported, or enabled.",  # plausible
    502: "Bad gateway.",  # plausible
    504: "Deadline expired before operation could complete.",
}


def scripted(spec: dict[str, Any], model: str, version: str, method: str) -> Refusal:
    """The refusal a step asks for: `status` 400..599, optional `kind`, `retry` seconds, `message`."""
    status = int(spec.get("status", 503))
    refusal = _row(status, str(spec.get("kind", "")), spec, model, version, method)
    if "message" in spec:
        refusal.message = str(spec["message"])
    return refusal


def _row(status: int, kind: str, spec: dict[str, Any], model: str, version: str, method: str) -> Refusal:
    name = f"models/{model}"
    if status == 429:
        retry = spec.get("retry")
        default = None if kind == "per-day" else 25.465784708
        return quota(kind or "per-minute", float(retry) if retry is not None else default, model)
    if status == 503:
        return overloaded("2025" if kind == "overloaded_2025" else "2026")
    rows: dict[tuple[int, str], Refusal] = {
        (400, "unknown_field"): bad_request([unknown_field("generation_config", "x")]),
        (400, "key"): api_key_invalid(),
        (400, "location"): location(),
        (400, "missing_signature"): missing_signature("f", 2),
        (403, "leaked"): leaked_key(),
        (403, "unregistered"): unregistered_caller(),
        (404, "closed"): closed_to_new_users(name),
    }
    defaults = {
        400: invalid("Request contains an invalid argument."),
        401: token_type_unsupported(method[:1].upper() + method[1:]),
        403: Refusal(403, "The caller does not have permission"),
        404: model_not_found(name, version, method),
    }
    if (status, kind) in rows:
        return rows[status, kind]
    return defaults.get(status) or Refusal(status, PLAIN.get(status, "Unknown error."))
