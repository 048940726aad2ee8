"""This function, invoked once more: work that outlives its request."""

import base64
import json
from collections.abc import Mapping
from typing import Any

from shared.stores.aws import Aws, AwsFailure, retrying

_TRIES = 3
_ACCEPTED = 202


class LambdaInvoker:
    """Implements `protocols.Invoker` with asynchronous invocations. The payload is an event of a function URL, so that
    the function needs no second way in; Lambda takes 256 KB of it."""

    def __init__(self, aws: Aws, function_name: str) -> None:
        self._aws = aws
        self._function_name = function_name

    async def invoke(self, path: str, body: Mapping[str, Any]) -> None:
        """StoreUnavailable where Lambda does not take it."""
        payload = json.dumps(url_event(path, body)).encode()
        request = {"FunctionName": self._function_name, "InvocationType": "Event", "Payload": payload}
        try:
            answer = await retrying(lambda: self._aws.call("lambda", "invoke", patient=True, **request), _TRIES)
        except AwsFailure as failure:
            raise failure.unavailable() from failure
        if answer.get("StatusCode") != _ACCEPTED:
            raise AwsFailure("lambda.invoke", "NotAccepted").unavailable()


def url_event(path: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """A POST as a function URL delivers it (payload format 2.0)."""
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {"content-type": "application/json"},
        "requestContext": {
            "http": {"method": "POST", "path": path, "protocol": "HTTP/1.1", "sourceIp": "", "userAgent": ""},
            "stage": "$default",
        },
        "body": base64.b64encode(json.dumps(body).encode()).decode(),
        "isBase64Encoded": True,
    }
