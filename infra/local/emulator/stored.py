"""Files and cached contents: what the upstream keeps for one credential.

Shapes and headers are those of recorded uploads (`x-goog-upload-*`) and of Google's discovery document. Files live 48
hours at Google and as long as the emulator here; a file is ready at once.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from dataclasses import dataclass, field
from typing import Any

from infra.local.emulator import parsing
from infra.local.emulator.errors import Refusal, invalid

type Json = dict[str, Any]

_FILES = re.compile(r"/(?:v1beta|v1alpha|v1)/files(?:/(?P<name>[\w-]+))?")
_UPLOAD = re.compile(r"/upload/(?P<version>v1beta|v1alpha|v1)/files")
_CACHES = re.compile(r"/(?:v1beta|v1alpha|v1)/cachedContents(?:/(?P<name>[\w-]+))?")
_FILE_NAME = re.compile(r"files/[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?")  # File.name of google-genai 3.4.0
_TTL = re.compile(r"(\d+)(?:\.\d+)?s")
_DAY_S = 86_400


@dataclass(slots=True)
class Reply:
    """A JSON body and extra headers."""

    body: Json
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


@dataclass(slots=True)
class _Session:
    owner: str
    file: Json
    size: int
    mime_type: str
    version: str
    data: bytearray = field(default_factory=bytearray)


@dataclass(slots=True)
class Stored:
    """Everything by owner, which is the credential: another one's objects are forbidden, unknown ones too."""

    files: dict[str, tuple[str, Json]] = field(default_factory=dict)
    caches: dict[str, tuple[str, Json]] = field(default_factory=dict)
    _sessions: dict[str, _Session] = field(default_factory=dict)

    def reset(self) -> None:
        self.files.clear()
        self.caches.clear()
        self._sessions.clear()

    def is_session(self, path: str, query: Json) -> bool:
        """Whether a request is for a running upload, whose address is good without a credential."""
        return _UPLOAD.fullmatch(path) is not None and query.get("upload_id") in self._sessions

    def answer(self, method: str, path: str, row: Json, raw: bytes, owner: str) -> Reply | None:
        """None for a path that is none of these; raises Refusal. `owner` does not matter to a running upload."""
        if (upload := _UPLOAD.fullmatch(path)) and method in ("POST", "PUT"):
            return self._upload(upload["version"], row, raw, owner)
        if found := _FILES.fullmatch(path):
            return _resource(self.files, "files", method, found["name"], owner, row["query"])
        if found := _CACHES.fullmatch(path):
            if method == "POST" and not found["name"]:
                return self._cache(parsing.loads(raw), owner)
            if method == "PATCH" and found["name"]:
                kept = _own(self.caches, "cachedContents", found["name"], owner)
                kept |= _expiry(parsing.loads(raw))
                return Reply(kept)
            return _resource(self.caches, "cachedContents", method, found["name"], owner, row["query"])
        return None

    def _upload(self, version: str, row: Json, raw: bytes, owner: str) -> Reply:
        headers, query = row["headers"], row["query"]
        if upload_id := query.get("upload_id"):
            return self._piece(upload_id, headers, raw)
        if headers.get("x-goog-upload-protocol") == "multipart":
            return Reply(
                {"file": self._keep(*_multipart(headers.get("content-type", ""), raw), version, headers, owner)}
            )
        if headers.get("x-goog-upload-command") != "start":
            raise invalid("Upload command is missing.")  # plausible
        upload_id = secrets.token_urlsafe(16)
        size = int(headers.get("x-goog-upload-header-content-length", "0"))
        mime_type = headers.get("x-goog-upload-header-content-type", "application/octet-stream")
        file = parsing.loads(raw).get("file", {}) if raw else {}
        self._check_name(file)
        self._sessions[upload_id] = _Session(owner, file, size, mime_type, version)
        url = f"http://{headers['host']}/upload/{version}/files?upload_id={upload_id}&upload_protocol=resumable"
        return Reply(
            {},
            [
                (b"x-goog-upload-url", url.encode()),
                (b"x-goog-upload-status", b"active"),
                (b"x-goog-upload-chunk-granularity", b"8388608"),
            ],
        )

    def _piece(self, upload_id: str, headers: Json, raw: bytes) -> Reply:
        session = self._sessions.get(upload_id)
        if session is None or int(headers.get("x-goog-upload-offset", "0")) != len(session.data):
            raise invalid("Upload session is not valid.")  # plausible
        session.data += raw
        if "finalize" not in headers.get("x-goog-upload-command", ""):
            return Reply({}, [(b"x-goog-upload-status", b"active")])
        del self._sessions[upload_id]
        data = bytes(session.data)
        file = self._keep(session.file, session.mime_type, data, session.version, headers, session.owner)
        return Reply({"file": file}, [(b"x-goog-upload-status", b"final")])

    def _check_name(self, given: Json) -> None:
        name = str(given.get("name") or "")
        if name and not _FILE_NAME.fullmatch(name):
            raise invalid("* CreateFileRequest.file.name: invalid file name\n")  # plausible
        if name in self.files:
            raise Refusal(409, "Requested entity already exists", status="ALREADY_EXISTS")  # plausible

    def _keep(self, given: Json, mime_type: str, data: bytes, version: str, headers: Json, owner: str) -> Json:
        self._check_name(given)
        name = str(given.get("name") or "files/" + secrets.token_hex(6))
        now = time.time()
        host = headers["host"]
        file: Json = {
            "name": name,
            "mimeType": given.get("mimeType") or given.get("mime_type") or mime_type,
            "sizeBytes": str(len(data)),
            "createTime": _stamp(now),
            "updateTime": _stamp(now),
            "expirationTime": _stamp(now + 2 * _DAY_S),
            "sha256Hash": base64.b64encode(hashlib.sha256(data).hexdigest().encode()).decode(),
            "uri": f"http://{host}/{version}/{name}",
            "state": "ACTIVE",
            "source": "UPLOADED",
        }
        if display := given.get("displayName") or given.get("display_name"):
            file["displayName"] = display
        self.files[name] = owner, file
        return file

    def _cache(self, body: Json, owner: str) -> Reply:
        if not body.get("model"):
            raise invalid("* CreateCachedContentRequest.model: model is required\n")  # plausible
        name, now = "cachedContents/" + secrets.token_hex(12), time.time()
        kept: Json = {
            "name": name,
            "model": body["model"],
            "displayName": body.get("displayName", ""),
            "createTime": _stamp(now),
            "updateTime": _stamp(now),
            "usageMetadata": {"totalTokenCount": 4096},
            **_expiry(body or {"ttl": "3600s"}),
        }
        self.caches[name] = owner, kept
        return Reply(kept)


def _resource(
    kept: dict[str, tuple[str, Json]], kind: str, method: str, name: str | None, owner: str, query: Json
) -> Reply:
    if name is None and method == "GET":
        rows = [value for who, value in kept.values() if who == owner]
        size, start = int(query.get("pageSize") or 10), int(query.get("pageToken") or 0)
        body: Json = {kind: rows[start : start + size]}
        return Reply(body | ({"nextPageToken": str(start + size)} if start + size < len(rows) else {}))
    if name is None or method not in ("GET", "DELETE"):
        raise Refusal(404, "Requested entity was not found.")
    found = _own(kept, kind, name, owner)
    if method == "DELETE":
        del kept[f"{kind}/{name}"]
        return Reply({})
    return Reply(found)


def _own(kept: dict[str, tuple[str, Json]], kind: str, name: str, owner: str) -> Json:
    who, value = kept.get(f"{kind}/{name}", ("", {}))
    if who != owner:
        if kind == "files":
            text = f"You do not have permission to access the File {name} or it may not exist."
            raise Refusal(403, text, status="PERMISSION_DENIED")
        raise Refusal(403, "CachedContent not found (or permission denied)", status="PERMISSION_DENIED")
    return value


def _multipart(content_type: str, raw: bytes) -> tuple[Json, str, bytes]:
    """The JSON part and the data part of a `multipart/related` body."""
    boundary = content_type.rpartition("boundary=")[2].strip('"').encode()
    pieces = [piece.strip(b"\r\n") for piece in raw.split(b"--" + boundary)][1:-1]
    if len(pieces) != 2:
        raise invalid("Multipart body is malformed.")  # plausible
    (_, _, meta), (head, _, data) = (piece.partition(b"\r\n\r\n") for piece in pieces)
    mime_type = head.decode().lower().partition("content-type:")[2].split("\r\n")[0].strip()
    return parsing.loads(meta).get("file", {}), mime_type, data


def _expiry(body: Json) -> Json:
    found = _TTL.fullmatch(str(body.get("ttl", "")))
    if body.get("expireTime"):
        return {"expireTime": body["expireTime"]}
    return {"expireTime": _stamp(time.time() + int(found[1] if found else 3600))}


def _stamp(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
