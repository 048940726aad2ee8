"""OpenAI's `/v1/files` and `/v1/uploads` on the gateway's own bucket.

A file that fits into a request comes through the function. A larger one comes by a presigned URL straight to the
bucket, or in parts that fit (the SDKs' `upload_file_chunked` with a `part_size`). Nothing is sent to the upstream
before a request names the file. Neither billed nor counted against a key's rates.
"""

import asyncio
import hashlib
import json
import secrets
import string
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import Response

from shared.dialects.contract import Dialect
from shared.dialects.openai_media import files
from shared.dialects.openai_media.files import NewFile
from shared.errors import GatewayError
from shared.gateway.context import Exchange
from shared.gateway.kept_files import PARTS_TYPE, KeptFiles, file_key, has_expired, media_type_of, readable
from shared.gateway.multipart import is_form, read_form
from shared.gateway.pipeline import Services
from shared.gateway.request_body import read_body
from shared.gateway.responses import json_response
from shared.gemini.file_links import KEPT_FILE
from shared.json_codec import decode_object, encode
from shared.stores.protocols import ObjectStore, StoredObject, UploadSigner

_LETTERS = string.ascii_letters + string.digits
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_UPLOAD_S = 3_600  # to send everything in
_PAGE, _MAX_PAGE = 20, 100
_AT_ONCE = 8
_ALL = 1_000  # keys of a list that is wanted oldest first
_PIECE = 8 * 1024 * 1024
_NOT_ANTHROPICS = "Anthropic's Files API is not served: send the content in the message, as base64 or by URL."

Action = Callable[[Request, Exchange, Any, str], Awaitable[Response]]


def file_actions(services: Services, google: Mapping[str, Action] | None = None) -> Mapping[str, Action]:
    """`google`: the actions of Google's Files API, which has two of its paths in common with OpenAI's. So has
    Anthropic's, which is not served."""
    uploads = Uploads(services)
    known = google or {}

    def shared(own: Action, name: str) -> Action:
        async def serve(request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
            if dialect.NAME == "anthropic_messages":
                raise GatewayError("not_found", _NOT_ANTHROPICS)
            if dialect.NAME == "gemini_native" and name in known:
                return await known[name](request, exchange, dialect, "native")
            return await own(request, exchange, dialect, endpoint)

        return serve

    return {
        "files": shared(uploads.collection, "native_files"),
        "file": shared(uploads.one, "native_file"),
        "start_upload": uploads.start,
        "upload_part": uploads.part,
        "complete_upload": uploads.complete,
        "cancel_upload": uploads.cancel,
    }


class Uploads:
    def __init__(self, services: Services) -> None:
        self._services = services

    async def collection(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        """POST and GET `/v1/files`."""
        acct = await self._acct(request, exchange, endpoint)
        if request.method != "POST":
            return json_response(200, await self._page(acct, request.query_params, exchange))
        if not is_form(request):
            raise GatewayError("unsupported_media_type", "The request body must be multipart/form-data.")
        form = await read_form(request, self._services.settings.max_body_bytes)
        new, data = files.file_of_form(form)
        file_id = _file_id(exchange)
        labels = _labels(new, exchange.created)
        with readable():
            await self._objects.put(file_key(acct, file_id), data, new.media_type, labels)
        return json_response(200, files.file_object(file_id, new, exchange.created))

    async def one(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        """GET and DELETE `/v1/files/{file}`."""
        acct = await self._acct(request, exchange, endpoint)
        found = await self._file(acct, request.path_params["file"], exchange)
        file_id = found.key.rpartition("/")[2]
        if request.method != "DELETE":
            return json_response(200, _shown(found))
        with readable():
            await self._objects.delete(found.key)
        await self._kept.forget(acct, file_id, self._services.upstream, exchange)
        return json_response(200, files.deleted_object(file_id))

    async def start(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        """POST `/v1/uploads`: an id for parts, and a URL that takes the whole file."""
        acct = await self._acct(request, exchange, endpoint)
        body = decode_object(await read_body(request, self._services.settings.max_body_bytes))
        new = files.upload_of_body(body)
        upload_id, file_id = f"upload_{_random(24)}", _file_id(exchange)
        record = {
            "file_id": file_id,
            "status": "pending",
            "created_at": exchange.created,
            "new": {name: getattr(new, name) for name in NewFile.__struct_fields__},
        }
        labels = _labels(new, exchange.created)
        with readable():
            await self._save(acct, upload_id, record)
            leave = await self._signer.presigned(file_key(acct, file_id), new.size, new.media_type, labels, _UPLOAD_S)
        presigned = {"method": leave.method, "url": leave.url, "headers": dict(leave.headers), "file_id": file_id}
        return json_response(200, _upload(upload_id, record, presigned=presigned))

    async def part(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        """POST `/v1/uploads/{upload}/parts`."""
        acct = await self._acct(request, exchange, endpoint)
        upload_id = request.path_params["upload"]
        await self._pending(acct, upload_id, exchange)
        if not is_form(request):
            raise GatewayError("unsupported_media_type", "The request body must be multipart/form-data.")
        data = files.part_of_form(await read_form(request, self._services.settings.max_body_bytes))
        part_id = f"part_{_random(24)}"
        with readable():
            await self._objects.put(_part_key(acct, upload_id, part_id), data, "application/octet-stream", {})
        return json_response(200, files.part_object(part_id, upload_id, exchange.created))

    async def complete(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        """POST `/v1/uploads/{upload}/complete`: the bytes announced have to be there, no more and no less."""
        acct = await self._acct(request, exchange, endpoint)
        body = decode_object(await read_body(request, self._services.settings.max_body_bytes))
        wanted = files.completion_of_body(body)
        upload_id = request.path_params["upload"]
        record = await self._pending(acct, upload_id, exchange)
        new, key = NewFile(**record["new"]), file_key(acct, record["file_id"])
        keys = [_part_key(acct, upload_id, part_id) for part_id in wanted.part_ids] or [key]
        with readable():
            parts = await asyncio.gather(*(self._objects.describe(each) for each in keys))
        if None in parts or sum(part.size for part in parts if part) != new.size:
            message = f"The parts named do not hold the {new.size} bytes that were announced."
            raise GatewayError("invalid_request", message, param="part_ids")
        if wanted.md5 and wanted.md5 != await self._md5([part for part in parts if part]):
            raise GatewayError("invalid_request", "The bytes do not have this MD5 checksum.", param="md5")
        with readable():
            if wanted.part_ids:
                labels = _labels(new, record["created_at"])
                await self._objects.put(key, encode({"parts": keys}), PARTS_TYPE, labels)
            record["status"] = "completed"
            await self._save(acct, upload_id, record)
        return json_response(200, _upload(upload_id, record))

    async def cancel(self, request: Request, exchange: Exchange, dialect: Dialect, endpoint: str) -> Response:
        """POST `/v1/uploads/{upload}/cancel`; what was sent already ends with its day."""
        acct = await self._acct(request, exchange, endpoint)
        upload_id = request.path_params["upload"]
        record = await self._pending(acct, upload_id, exchange)
        record["status"] = "cancelled"
        with readable():
            await self._save(acct, upload_id, record)
            await self._objects.delete(file_key(acct, record["file_id"]))
        return json_response(200, _upload(upload_id, record))

    async def _acct(self, request: Request, exchange: Exchange, endpoint: str) -> str:
        key = await self._services.authenticator.principal(request, exchange.source_ip, endpoint)
        return key.acct

    @property
    def _kept(self) -> KeptFiles:
        if self._services.files is None:
            raise GatewayError("not_found", "This gateway keeps no files.")
        return self._services.files

    @property
    def _objects(self) -> ObjectStore:
        return self._kept.objects

    @property
    def _signer(self) -> UploadSigner:
        if self._services.signer is None:
            raise GatewayError("not_found", "This gateway takes no uploads.")
        return self._services.signer

    async def _file(self, acct: str, file_id: str, exchange: Exchange) -> StoredObject:
        found = None
        if KEPT_FILE.fullmatch(file_id):
            with readable():
                found = await self._objects.describe(file_key(acct, file_id))
        if found is None or has_expired(found, exchange.created):
            raise GatewayError("not_found", "No such file.", param="id")
        return found

    async def _page(self, acct: str, query: Mapping[str, str], exchange: Exchange) -> dict[str, Any]:
        """Newest first, as the ids sort; `after` is the last id of the page before."""
        limit, after, order = _limit(query.get("limit", "")), query.get("after", ""), query.get("order") or "desc"
        if order not in ("asc", "desc"):
            raise GatewayError("invalid_request", "Expected asc or desc.", param="order")
        if after and not KEPT_FILE.fullmatch(after):
            raise GatewayError("invalid_request", "Expected the id of a file.", param="after")
        prefix, purpose = file_key(acct, ""), query.get("purpose", "")
        step = _MAX_PAGE if purpose else limit
        shown: list[dict[str, Any]] = []
        more = True
        with readable():
            oldest_first = await self._oldest_first(prefix) if order == "asc" else []
            while more and len(shown) < limit:  # an empty page would tell the SDKs that there is no other
                if order == "desc":
                    keys = list(await self._objects.page(prefix, prefix + after if after else "", step + 1))
                else:
                    keys = [key for key in oldest_first if not after or key < prefix + after][: step + 1]
                more = len(keys) > step
                for item in await self._described(keys[:step]):
                    if item is None or has_expired(item, exchange.created):
                        continue
                    if not purpose or item.labels["purpose"] == purpose:
                        shown.append(_shown(item))
                after = keys[:step][-1].removeprefix(prefix) if keys else after
        return files.list_object(shown[:limit], has_more=more or len(shown) > limit)

    async def _oldest_first(self, prefix: str) -> list[str]:
        return list(reversed(await self._objects.page(prefix, "", _ALL)))

    async def _described(self, keys: list[str]) -> list[StoredObject | None]:
        gate = asyncio.Semaphore(_AT_ONCE)

        async def describe(key: str) -> StoredObject | None:
            async with gate:
                return await self._objects.describe(key)

        return await asyncio.gather(*(describe(key) for key in keys))

    async def _pending(self, acct: str, upload_id: str, exchange: Exchange) -> dict[str, Any]:
        record: dict[str, Any] | None = None
        name = upload_id.removeprefix("upload_")
        if name != upload_id and len(name) == 24 and name.isascii() and name.isalnum():
            key = _upload_key(acct, upload_id)
            with readable():
                found = await self._objects.describe(key)
                record = json.loads(await self._objects.read(key, 0, found.size)) if found else None
        if record is None:
            raise GatewayError("not_found", "No such upload.", param="upload_id")
        if record["status"] != "pending" or exchange.created > record["created_at"] + _UPLOAD_S:
            raise GatewayError("invalid_request", "The upload is no longer pending.", param="upload_id")
        return record

    async def _save(self, acct: str, upload_id: str, record: Mapping[str, Any]) -> None:
        await self._objects.put(_upload_key(acct, upload_id), encode(record), "application/json", {})

    async def _md5(self, parts: list[StoredObject]) -> str:
        digest = hashlib.md5(usedforsecurity=False)
        for part in parts:
            for start in range(0, part.size, _PIECE):
                with readable():
                    digest.update(await self._objects.read(part.key, start, min(_PIECE, part.size - start)))
        return digest.hexdigest()


def _upload(upload_id: str, record: Mapping[str, Any], *, presigned: Mapping[str, Any] | None = None) -> dict[str, Any]:
    new, created = NewFile(**record["new"]), record["created_at"]
    done = files.file_object(record["file_id"], new, created) if record["status"] == "completed" else None
    return files.upload_object(
        upload_id, new, created, created + _UPLOAD_S, record["status"], file_body=done, presigned=presigned
    )


def _labels(new: NewFile, created_at: int) -> dict[str, str]:
    """Everything about a file that its bytes do not say; ASCII, as object metadata has to be."""
    return {
        "filename": quote(new.filename),
        "purpose": new.purpose,
        "media-type": new.media_type,
        "size": str(new.size),
        "created": str(created_at),
        "expires": str(created_at + new.lifetime_s),
    }


def _shown(found: StoredObject) -> dict[str, Any]:
    labels = found.labels
    created = int(labels["created"])
    lifetime = int(labels["expires"]) - created
    name, size = unquote(labels["filename"]), int(labels["size"])
    new = NewFile(name, media_type_of(found), labels["purpose"], size, lifetime)
    return files.file_object(found.key.rpartition("/")[2], new, created)


def _file_id(exchange: Exchange) -> str:
    """Ids sort from the newest to the oldest, as lists show them; 14 characters of chance."""
    left = (1 << 50) - 1 - exchange.started_ms
    sortable = "".join(_CROCKFORD[(left >> shift) & 31] for shift in range(45, -1, -5))
    return f"file-{sortable}{_random(14)}"


def _random(length: int) -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(length))


def _limit(text: str) -> int:
    if not text:
        return _PAGE
    if not text.isascii() or not text.isdigit() or not 1 <= int(text[:6]) <= 10_000:
        raise GatewayError("invalid_request", "Expected an integer between 1 and 10000.", param="limit")
    return min(int(text[:6]), _MAX_PAGE)


def _upload_key(acct: str, upload_id: str) -> str:
    return f"{acct}/uploads/{upload_id}"


def _part_key(acct: str, upload_id: str, part_id: str) -> str:
    return f"{acct}/parts/{upload_id}/{part_id}"
