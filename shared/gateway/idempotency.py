"""The header `Idempotency-Key`: one admission for each value and account, whatever arrives twice.

Answers are not kept, so nothing is replayed: a repeat is refused while the first request runs and after it.
"""

import base64
import hashlib
import re

from starlette.requests import Request

from shared.errors import GatewayError
from shared.gateway.context import Exchange
from shared.gateway.request_headers import headers_of
from shared.stores.protocols import KeyRecord

HEADER = "idempotency-key"
_RAW_HEADER = HEADER.encode()
_LONGEST = 255
_RID_LENGTH = 26  # of the request ids we make ourselves
# made up by older SDKs for their own retries: nobody chose it, and refusing their retries would break them
_OF_AN_SDK = r"stainless-[a-z]+-retry-.*"


def adopt(request: Request, key: KeyRecord, exchange: Exchange, body: bytes) -> None:
    """Where the request names an idempotency key, the exchange gets the body's digest, and the request id that the
    account and the named key make, the same for every repeat. Runs before admission."""
    if _RAW_HEADER not in headers_of(request):
        return
    named = [text for text in (value.strip(" \t") for value in request.headers.getlist(HEADER)) if text]
    if not named or re.fullmatch(_OF_AN_SDK, named[0]):
        return
    if len(set(named)) > 1 or len(named[0]) > _LONGEST or not named[0].isprintable():
        message = f"Idempotency-Key must be one value of at most {_LONGEST} printable characters."
        raise GatewayError("invalid_request", message, param=HEADER)
    if exchange.shown_id == exchange.request_id:
        exchange.shown_id = request_id(key.acct, named[0])
    exchange.request_id = request_id(key.acct, named[0])
    exchange.body_sha = hashlib.sha256(body).hexdigest()


def request_id(acct: str, idempotency_key: str) -> str:
    digest = hashlib.sha256(f"{acct}\n{idempotency_key}".encode()).digest()
    return base64.b32encode(digest).decode()[:_RID_LENGTH]
