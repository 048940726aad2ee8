"""What one ``GET /invocation/next`` brings: the event and its context."""

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from shared.lambda_runtime.connection import Answer

Event = dict[str, Any]

_LONGEST_MS = 900_000  # no function runs longer; taken where no deadline is given


class Context:
    """The second argument of a Lambda handler, with the attributes of AWS's own context object.

    ``deadline_ms`` is epoch milliseconds: at that moment Lambda kills the process.
    """

    def __init__(
        self,
        aws_request_id: str,
        deadline_ms: int,
        invoked_function_arn: str,
        client_context: Any = None,
        identity: Any = None,
        tenant_id: str | None = None,
    ) -> None:
        self.aws_request_id = aws_request_id
        self.deadline_ms = deadline_ms
        self.invoked_function_arn = invoked_function_arn
        self.client_context = client_context
        self.identity = identity
        self.tenant_id = tenant_id
        self.function_name = os.environ.get("AWS_LAMBDA_FUNCTION_NAME", "")
        self.function_version = os.environ.get("AWS_LAMBDA_FUNCTION_VERSION", "")
        self.memory_limit_in_mb = os.environ.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
        self.log_group_name = os.environ.get("AWS_LAMBDA_LOG_GROUP_NAME", "")
        self.log_stream_name = os.environ.get("AWS_LAMBDA_LOG_STREAM_NAME", "")

    def get_remaining_time_in_millis(self) -> int:
        """Milliseconds left, never negative."""
        return max(0, self.deadline_ms - int(time.time() * 1000))


class Invocation:
    """One event to answer, still as JSON text. ``invocation_id`` is echoed on the reply where the Runtime API sent
    one.
    """

    def __init__(self, payload: bytes, context: Context, trace_id: str | None, invocation_id: str | None) -> None:
        self.payload = payload
        self.context = context
        self.trace_id = trace_id
        self.invocation_id = invocation_id


def invocation_of(answer: Answer) -> Invocation:
    """Reads the answer of ``/next``. The one header that must be there is the request id."""
    headers = answer.headers
    context = Context(
        aws_request_id=headers["lambda-runtime-aws-request-id"],
        deadline_ms=int(headers.get("lambda-runtime-deadline-ms") or time.time() * 1000 + _LONGEST_MS),
        invoked_function_arn=headers.get("lambda-runtime-invoked-function-arn", ""),
        client_context=_json_header(headers, "lambda-runtime-client-context"),
        identity=_json_header(headers, "lambda-runtime-cognito-identity"),
        tenant_id=headers.get("lambda-runtime-aws-tenant-id"),
    )
    return Invocation(
        payload=answer.body,
        context=context,
        trace_id=headers.get("lambda-runtime-trace-id"),
        invocation_id=headers.get("lambda-runtime-invocation-id"),
    )


def _json_header(headers: Mapping[str, str], name: str) -> Any:
    value = headers.get(name)
    return json.loads(value) if value else None
