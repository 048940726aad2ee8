"""AWS's Signature Version 4 for the one kind of request the stores make: a POST of JSON to a service's root."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache

from msgspec import Struct


class SigningKeys(Struct, frozen=True):
    """Credentials as a function finds them in its environment; `token` "" for those of a user."""

    access_key_id: str
    secret_access_key: str
    token: str = ""


def signed(
    headers: Mapping[str, str], body: bytes, keys: SigningKeys, region: str, service: str, now: datetime
) -> dict[str, str]:
    """`headers`, which are lower case and hold host, with those that prove who sends them and that nobody changed
    them or the body. `now` in UTC. Source: AWS's documentation of Signature Version 4."""
    stamp = now.strftime("%Y%m%dT%H%M%SZ")
    complete = {**headers, "x-amz-date": stamp}
    if keys.token:
        complete["x-amz-security-token"] = keys.token
    names = sorted(complete)
    canonical = "\n".join(
        (
            "POST",
            "/",
            "",
            *(f"{name}:{complete[name]}" for name in names),
            "",
            ";".join(names),
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    signature = _hmac(_signing_key(keys.secret_access_key, stamp[:8], region, service), text).hex()
    credential = f"{keys.access_key_id}/{scope}"
    complete["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={';'.join(names)}, Signature={signature}"
    )
    return complete


@lru_cache(maxsize=8)  # one a day and service
def _signing_key(secret: str, day: str, region: str, service: str) -> bytes:
    key = f"AWS4{secret}".encode()
    for step in (day, region, service, "aws4_request"):
        key = _hmac(key, step)
    return key


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
