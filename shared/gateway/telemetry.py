"""Logs: one JSON object a line, redacted, never a prompt. The lines `upstream_start` and `usage` are also the
write-ahead log of metering: reconciliation reads them when a settlement was lost."""

import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

LOGGER = logging.getLogger("gateway")
METRIC_NAMESPACE = "GeminiGateway"
_MAX_FIELD = 2_000
_SECRETS = re.compile(
    r"sk-gw1_[0-9A-Za-z_]{10,}|AIza[\w-]{20,}|AQ\.[\w-]{16,}|([?&]key=)[^&\s\"]+"
    r"|(?i:(bearer\s+|x-goog-api-key[\"':=\s]+))[^\s\"',]+"
)
_literals: set[str] = set()


def hide(*secrets: str) -> None:
    """Redact these exact texts too, from now on: every loaded secret goes through here."""
    _literals.update(secret for secret in secrets if len(secret) >= 8)


def redact(text: str) -> str:
    for secret in _literals:
        if secret in text:
            text = text.replace(secret, "REDACTED")
    return _SECRETS.sub(lambda match: f"{match.group(1) or match.group(2) or ''}REDACTED", text)


class JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "message": record.getMessage(),
            "logger": record.name,
        }
        if request_id := getattr(record, "aws_request_id", ""):  # set by the runtime loop
            fields["aws_request_id"] = request_id
        fields |= getattr(record, "fields", {})
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)[-_MAX_FIELD:]
        # redacted after encoding, so that no field and no exception text escapes it
        return redact(json.dumps({k: _bounded(v) for k, v in fields.items()}, default=str))


def _bounded(value: Any) -> Any:
    return value[:_MAX_FIELD] if isinstance(value, str) else value


def configure(level: str) -> None:
    """JSON lines on standard output for everything; the HTTP client's own lines would print whole URLs."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for noisy in ("httpx", "httpcore", "botocore", "boto3", "urllib3"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def log(event: str, *, level: int = logging.INFO, exc: BaseException | None = None, **fields: Any) -> None:
    record(event, fields, level=level, exc=exc)


def record(
    event: str, fields: Mapping[str, Any], *, level: int = logging.INFO, exc: BaseException | None = None
) -> None:
    LOGGER.log(level, event, extra={"fields": fields}, exc_info=exc)


def usage_line(fields: Mapping[str, Any], *, metrics: Mapping[str, int], dimensions: Mapping[str, str]) -> None:
    """One line in CloudWatch's embedded metric format: the row's figures and the metrics made from them."""
    directive = {
        "Namespace": METRIC_NAMESPACE,
        "Dimensions": [sorted(dimensions)],
        "Metrics": [{"Name": name, "Unit": "Milliseconds" if name.endswith("Ms") else "Count"} for name in metrics],
    }
    emf = {"_aws": {"Timestamp": fields["ts_ms"], "CloudWatchMetrics": [directive]}}
    record("usage", {**emf, **dimensions, **metrics, **fields})
