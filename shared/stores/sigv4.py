"""AWS's Signature Version 4 for the one kind of request the stores make: a POST of JSON to a service's root."""

import hashlib
import hmac
import time
from collections.abc import Mapping
from functools import lru_cache

from msgspec import Struct

from shared.http1 import header_lines


class SigningKeys(Struct, frozen=True):
    """Credentials as a function finds them in its environment; `token` "" for those of a user."""

    access_key_id: str
    secret_access_key: str
    token: str = ""


class Signer:
    """Signs the requests to `host` that have these headers, their names in lower case; `headers` holds all of them
    that never change. Only body and moment differ between the requests, so what stands around these is made once.
    Source: AWS's documentation of Signature Version 4."""

    def __init__(self, host: str, headers: Mapping[str, str], keys: SigningKeys, region: str, service: str) -> None:
        self._keys, self._region, self._service = keys, region, service
        self.headers = {**headers, **({"x-amz-security-token": keys.token} if keys.token else {})}
        texts = {**self.headers, "host": host, "x-amz-date": ""}
        names = sorted(texts)
        lines = [f"{name}:{texts[name]}" for name in names]
        at = names.index("x-amz-date")
        self._names = ";".join(names)
        self._before = "\n".join(("POST", "/", "", *lines[: at + 1]))
        self._after = "\n".join(("", *lines[at + 1 :], "", self._names, ""))
        self._day = ""

    def signed(self, body: bytes, now: float) -> bytes:
        """The header lines that prove who sends the request and that nobody changed it, besides those that never
        change; `host` is for the HTTP client to write. `now` in epoch seconds."""
        stamp = _stamp(int(now))
        if stamp[:8] != self._day:
            self._begin(stamp[:8])
        canonical = f"{self._before}{stamp}{self._after}{hashlib.sha256(body).hexdigest()}"
        text = f"AWS4-HMAC-SHA256\n{stamp}\n{self._scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        mac = self._mac.copy()
        mac.update(text.encode())
        return b"x-amz-date: %b\r\n%b%b\r\n" % (stamp.encode(), self._credential, mac.hexdigest().encode())

    def _begin(self, day: str) -> None:
        self._day = day
        self._scope = f"{day}/{self._region}/{self._service}/aws4_request"
        credential = (
            f"AWS4-HMAC-SHA256 Credential={self._keys.access_key_id}/{self._scope}, "
            f"SignedHeaders={self._names}, Signature="
        )
        self._credential = header_lines((("authorization", credential),)).removesuffix(b"\r\n")
        key = f"AWS4{self._keys.secret_access_key}".encode()
        for step in (day, self._region, self._service, "aws4_request"):
            key = hmac.digest(key, step.encode(), "sha256")
        self._mac = hmac.new(key, digestmod="sha256")  # copied for each request: half the price of a new one


@lru_cache(maxsize=2)
def _stamp(second: int) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
