"""One JSON object per log line, with the request id: what AWS's own loop would otherwise see to."""

import json
import logging
import re
import sys
import time
import traceback
from contextvars import ContextVar
from typing import Any

REQUEST_ID: ContextVar[str] = ContextVar("aws_request_id", default="")

# The last barrier only; whoever logs leaves credentials out.
_CREDENTIAL = r"AIza[\w-]{10,}|sk-gw\d+_\w+|(?<=[Bb]earer )[^\s\"']+|(?<=[?&]key=)[^&\s\"']+"
_MAX_TEXT = 4_000


class JsonFormatter(logging.Formatter):
    """Time in UTC as RFC 3339, level, logger, message, ``aws_request_id``, the record's ``fields`` (a mapping given as
    ``extra={"fields": ...}``) and a traceback as a list of frames.
    """

    def format(self, record: logging.LogRecord) -> str:
        seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, Any] = {
            "timestamp": f"{seconds}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
        }
        if request_id := getattr(record, "aws_request_id", ""):
            line["aws_request_id"] = request_id
        fields: dict[str, Any] = getattr(record, "fields", {})
        line.update({name: redact(value) if isinstance(value, str) else value for name, value in fields.items()})
        if record.exc_info and record.exc_info[1] is not None:
            line.update(_exception(record.exc_info[1]))
        return json.dumps(line, default=str)


def install(level: str) -> None:
    """Makes standard output the only place of the root logger; an unknown level is INFO.

    Every record made from here on has the attribute ``aws_request_id`` (empty between events), so that an application
    that brings its own formatter can print it too.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.getLevelNamesMapping().get(level.upper(), logging.INFO))
    logging.setLogRecordFactory(_record)


def redact(text: str) -> str:
    """The text without what looks like a credential, cut to 4,000 characters."""
    return re.sub(_CREDENTIAL, "***", text[:_MAX_TEXT])


def _record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    record = logging.LogRecord(*args, **kwargs)
    record.aws_request_id = REQUEST_ID.get()
    return record


def _exception(error: BaseException) -> dict[str, Any]:
    frames = traceback.extract_tb(error.__traceback__)[-20:]
    return {
        "errorType": type(error).__name__,
        "errorMessage": redact(str(error))[:1_000],
        "stackTrace": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
    }
