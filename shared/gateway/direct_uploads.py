"""Files too large to pass through a function: the client sends them to the upstream itself.

The upstream's session address takes one file and nothing else, and needs no credential. The file's name is the
gateway's choice and stands under the account before the session begins, so that the finished file is found although
the gateway never sees it. A name of the client's choice could be somebody else's file in the shared project.
"""

import secrets
from collections.abc import Mapping

from shared.errors import GatewayError
from shared.gateway.context import Exchange
from shared.gateway.native_objects import Owners
from shared.gateway.native_upstream import NativeUpstream
from shared.gemini.client import RelayCall
from shared.json_codec import decode_object, encode
from shared.stores.protocols import OwnedObject

_PREFIX = "x-goog-upload-"
_LENGTH = f"{_PREFIX}header-content-length"
_PASSED_UP = (_LENGTH, f"{_PREFIX}header-content-type", f"{_PREFIX}file-name")
_KEPT_S = (24 + 48) * 3600  # a day to send the file in; Google keeps it for 48 hours from then
_SDK_PIECE = 8 * 1024 * 1024  # what Google's SDKs send at once
_LONGEST = 15  # digits of a length


def goes_past(headers: Mapping[str, str], limit: int, *, elsewhere: str = "") -> bool:
    """Whether the upload that a request starts has to go past the gateway, which takes `limit` bytes in one request.

    Raises `invalid_request` for a length that is none, `request_too_large` where it can go neither way: `elsewhere` is
    told to the client then. Of Google's SDKs only Python's sends the pieces to the address it was given and without a
    key. JavaScript's (3.1.0) sends them to the host of its base URL, earlier ones of it and Go's add the key that they
    have, which is the gateway's.
    """
    length = headers.get(_LENGTH, "0")
    if not (length.isascii() and length.isdigit()):
        raise GatewayError("invalid_request", "Expected a number of bytes.", param=_LENGTH)
    if len(length) <= _LONGEST and int(length) <= limit:
        return False
    sdk = headers.get("x-goog-api-client", "")
    if sdk and limit >= _SDK_PIECE:
        return False  # every piece of it fits
    command, protocol = (headers.get(_PREFIX + name, "").strip().lower() for name in ("command", "protocol"))
    if (command, protocol) != ("start", "resumable") or len(length) > _LONGEST:
        raise GatewayError("request_too_large", f"A file may have at most {limit} bytes here.")
    if sdk and "gl-python/" not in sdk:
        message = f"A file may have at most {limit} bytes here: this SDK sends larger pieces to the gateway.{elsewhere}"
        raise GatewayError("request_too_large", message)
    return True


class DirectUploads:
    def __init__(self, owners: Owners, upstream: NativeUpstream) -> None:
        self._owners = owners
        self._upstream = upstream

    async def start(
        self, acct: str, headers: Mapping[str, str], body: bytes, exchange: Exchange
    ) -> tuple[bytes, dict[str, str]]:
        """(body, headers) of the answer to the start of a resumable upload: `x-goog-upload-url` is the upstream's own
        and takes the file. Raises GatewayError; nothing stays on record then."""
        name = f"files/{secrets.token_hex(16)}"
        passed = tuple((header, headers[header]) for header in _PASSED_UP if header in headers)
        fixed = (
            ("content-type", "application/json"),
            (f"{_PREFIX}protocol", "resumable"),
            (f"{_PREFIX}command", "start"),
        )
        call = RelayCall("files", _named(body, name), headers=fixed + passed, upload=True)
        slot = await self._upstream.slot("", set(), None)
        expires_at = exchange.created + _KEPT_S
        await self._owners.add(acct, OwnedObject(name, slot.id, expires_at))
        try:
            content, reply, _ = await self._upstream.fetch(call, "", exchange, slot.id)
            url = self._upstream.client.session_url(reply.headers.get(f"{_PREFIX}url", ""), slot.key)
        except GatewayError:
            await self._owners.remove(acct, name)
            raise
        # the record knows from now on that the file is on its way, and is not forgotten for its absence
        await self._owners.add(acct, OwnedObject(name, slot.id, expires_at, url))
        shown = {f"{_PREFIX}url": url, f"{_PREFIX}status": "active"}
        granularity = reply.headers.get(f"{_PREFIX}chunk-granularity", "")
        return content, shown | ({f"{_PREFIX}chunk-granularity": granularity} if granularity else {})


def _named(body: bytes, name: str) -> bytes:
    """The client's `{"file": {...}}` with the gateway's name in it."""
    given = decode_object(body) if body.strip() else {}
    file = given.get("file") or {}
    if not isinstance(file, dict):
        raise GatewayError("invalid_request", "Expected an object.", param="file")
    if file.get("name"):
        raise GatewayError("invalid_request", "A file of this size cannot be named; it gets a name.", param="file.name")
    return encode({**given, "file": {**file, "name": name}})
