"""The calls of a request's own path, straight to AWS's JSON protocols: signed by us, sent by our HTTP client.

boto3 costs several times more CPU to import than all else a hot function loads, most of its memory, and nine times as
much per call; so the few operations that every request needs go this way, and everything else, listings, secrets'
versions, invocations, stays with boto3. The requests and answers have boto3's form.
"""

import base64
import json
import math
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
from msgspec import Struct

from shared.http1 import HttpClient, HttpFailure, Request
from shared.stores.sigv4 import Signer, SigningKeys


class _Service(Struct, frozen=True):
    """`target` names the API in `x-amz-target`; `version` is that of its JSON protocol."""

    target: str
    version: str
    operations: frozenset[str]


_SERVICES = {
    "dynamodb": _Service(
        "DynamoDB_20120810",
        "1.0",
        frozenset(
            {"batch_get_item", "batch_write_item", "get_item", "put_item", "transact_write_items", "update_item"}
        ),
    ),
    "ssm": _Service("AmazonSSM", "1.1", frozenset({"get_parameter"})),
    "secretsmanager": _Service("secretsmanager", "1.1", frozenset({"get_secret_value"})),
    "sqs": _Service("AmazonSQS", "1.0", frozenset({"send_message"})),
}
_MAX_ANSWER = 32 * 1024 * 1024  # above the 16 MB of the largest BatchGetItem
# set where AWS is reached another way than this module knows: boto3 knows them all
_SPECIAL = (
    "AWS_CA_BUNDLE",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
)


class _Way(Struct, frozen=True):
    """What the requests of one operation have in common, and who signs them."""

    request: Request
    signer: Signer


class DirectFailure(Exception):
    """AWS refused: its error code, status and the error's body."""

    def __init__(self, code: str, status: int, body: Mapping[str, Any]) -> None:
        super().__init__(code)
        self.code, self.status, self.body = code, status, body


class DirectAws:
    """One account and region. `endpoint` "" means AWS's own addresses."""

    def __init__(
        self,
        keys: SigningKeys,
        region: str,
        endpoint: str,
        http: HttpClient,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._keys, self._region, self._http, self._now = keys, region, http, now
        self._endpoint = endpoint.rstrip("/")
        self._ways: dict[tuple[str, str], _Way] = {}

    @classmethod
    def from_environ(cls, environ: Mapping[str, str], http: HttpClient) -> "DirectAws | None":
        """None where the environment does not hold all that this way needs: a profile, a container's credentials (a
        function under SnapStart has those), a proxy's certificates are boto3's business."""
        find = environ.get
        access, secret = find("AWS_ACCESS_KEY_ID"), find("AWS_SECRET_ACCESS_KEY")
        region = find("AWS_REGION") or find("AWS_DEFAULT_REGION")
        special = any(find(name) for name in _SPECIAL) or any(name.startswith("AWS_ENDPOINT_URL_") for name in environ)
        if not access or not secret or not region or special:
            return None
        keys = SigningKeys(access, secret, find("AWS_SESSION_TOKEN") or "")
        return cls(keys, region, find("AWS_ENDPOINT_URL") or "", http)

    def serves(self, service: str, operation: str) -> bool:
        return service in _SERVICES and operation in _SERVICES[service].operations

    async def call(
        self, service: str, operation: str, request: Mapping[str, Any], until: float = math.inf
    ) -> Mapping[str, Any]:
        """Raises DirectFailure, and where no whole answer arrived HttpFailure, or TimeoutError at `until` in the loop's
        time."""
        way = self._ways.get((service, operation)) or self._way(service, operation)
        body = _written(request)
        reply = await self._http.send(way.request, until, way.signer.signed(body, self._now()), body)
        data = await reply.whole(_MAX_ANSWER, until)
        if len(data) > _MAX_ANSWER:
            raise HttpFailure("the answer is too large")
        _check(reply.headers.get("x-amz-crc32"), data)
        answer = _parsed(service, data)
        if reply.status != 200:
            raise DirectFailure(_code(answer, reply.headers), reply.status, answer)
        return answer

    def _way(self, service: str, operation: str) -> _Way:
        kind = _SERVICES[service]
        url = self._endpoint or f"https://{service}.{self._region}.{_domain(self._region)}"
        action = "".join(word.capitalize() for word in operation.split("_"))
        headers = {
            "content-type": f"application/x-amz-json-{kind.version}",
            "x-amz-target": f"{kind.target}.{action}",
        }
        signer = Signer(urlsplit(url).netloc, headers, self._keys, self._region, service)
        request = Request("POST", f"{url}/", tuple(signer.headers.items()))
        way = self._ways[service, operation] = _Way(request, signer)
        return way


def _domain(region: str) -> str:
    return "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"


def _written(request: Mapping[str, Any]) -> bytes:
    try:
        return orjson.dumps(request, default=_binary)
    except orjson.JSONEncodeError:  # half a surrogate pair, an integer beyond 64 bits
        return json.dumps(request, separators=(",", ":"), default=_binary).encode()


def _binary(value: Any) -> str:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is no DynamoDB value")


def _check(stated: str | None, data: bytes) -> None:
    if stated is not None and stated != str(zlib.crc32(data)):
        raise HttpFailure("the answer was damaged on its way")


def _parsed(service: str, data: bytes) -> dict[str, Any]:
    """boto3 gives binary attributes as bytes."""
    try:
        if service == "dynamodb" and b'"B"' in data:
            answer = json.loads(data.decode(), object_hook=_attribute)
        else:
            answer = orjson.loads(data) if data else {}
    except ValueError as error:
        raise HttpFailure("the answer is no JSON") from error
    if not isinstance(answer, dict):
        raise HttpFailure("the answer is no JSON object")
    return answer


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    return {"B": base64.b64decode(value["B"])} if value.keys() == {"B"} and isinstance(value["B"], str) else value


def _code(answer: Mapping[str, Any], headers: Mapping[str, str]) -> str:
    """`com.amazonaws.dynamodb.v20120810#ThrottlingException`, or in the header `ThrottlingException:http://...`; SQS
    puts the code that its callers know before a semicolon in a header of its own."""
    query = headers.get("x-amzn-query-error", "")
    stated = query.partition(";")[0] or str(answer.get("__type") or headers.get("x-amzn-errortype") or "Unknown")
    return stated.rpartition("#")[2].partition(":")[0]
