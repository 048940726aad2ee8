"""A scheduled function: a handler without an ASGI application."""

import sys
from typing import Any


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    loop = "awslambdaric" if "awslambdaric" in sys.modules else "ours"
    return {"statusCode": 200, "headers": {"Content-Type": "text/plain"}, "body": f"{loop} {event['rawPath']}"}
