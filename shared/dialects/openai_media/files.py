"""OpenAI's files and uploads: what a client may leave, and how it is described to it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct

from shared.dialects.openai.fields import integer, invalid, mapping, sequence, string
from shared.dialects.openai.parameters import refuse_routing
from shared.dialects.openai_media.members import Form, Upload
from shared.gemini.media_types import accepted, by_filename, normalise_mime, sniff
from shared.json_codec import number_in

MAX_FILE_BYTES: Final = 512_000_000  # of OpenAI's files; the upstream would take 2 GB
LONGEST_S: Final = 86_400  # the bucket forgets everything after a day
_SHORTEST_S: Final = 3_600
_PURPOSES: Final = ("assistants", "batch", "fine-tune", "vision", "user_data", "evals")
_LONGEST_NAME: Final = 255
_MAX_PARTS: Final = 1_000
_UNTYPED = frozenset({"", "application/octet-stream", "binary/octet-stream"})
_PART_ID = r"part_[A-Za-z0-9]{24}"
_MD5 = r"[0-9a-fA-F]{32}"


class NewFile(Struct, frozen=True):
    """`media_type` is one that Gemini takes; `lifetime_s` seconds from now."""

    filename: str
    media_type: str
    purpose: str
    size: int
    lifetime_s: int = LONGEST_S


class Completion(Struct, frozen=True):
    part_ids: tuple[str, ...]
    md5: str  # lower-case hex; "" where the client names none


def file_of_form(form: Form) -> tuple[NewFile, bytes]:
    """The body of `POST /v1/files`."""
    fields = form.members()
    refuse_routing(fields, "")
    upload = _one(form, "file")
    if not upload.data:
        raise invalid("The file is empty.", "file")
    filename = _filename(upload.name or "file", "file")
    return (
        NewFile(
            filename,
            _media_type(upload.media_type, filename, "file", upload.data),
            _purpose(fields.get("purpose")),
            len(upload.data),
            _lifetime(fields.get("expires_after"), in_form=True),
        ),
        upload.data,
    )


def upload_of_body(body: Mapping[str, Any]) -> NewFile:
    """The body of `POST /v1/uploads`."""
    refuse_routing(body, "")
    filename = _filename(string(body.get("filename"), "filename"), "filename")
    return NewFile(
        filename,
        _media_type(string(body.get("mime_type") or "", "mime_type"), filename, "mime_type"),
        _purpose(body.get("purpose")),
        integer(body.get("bytes"), "bytes", 1, MAX_FILE_BYTES),
        _lifetime(body.get("expires_after")),
    )


def part_of_form(form: Form) -> bytes:
    """The body of `POST /v1/uploads/{id}/parts`."""
    data = _one(form, "data").data
    if not data:
        raise invalid("The part is empty.", "data")
    return data


def completion_of_body(body: Mapping[str, Any]) -> Completion:
    """The body of `POST /v1/uploads/{id}/complete`; no parts where the file came by its presigned URL."""
    ids = [string(item, f"part_ids[{at}]") for at, item in enumerate(sequence(body.get("part_ids", ()), "part_ids"))]
    if len(ids) > _MAX_PARTS or len(set(ids)) != len(ids):
        raise invalid(f"Expected at most {_MAX_PARTS} parts, each once.", "part_ids")
    for at, part_id in enumerate(ids):
        if not re.fullmatch(_PART_ID, part_id):
            raise invalid("This is no part of the upload.", f"part_ids[{at}]")
    md5 = body.get("md5")
    if md5 is not None and not re.fullmatch(_MD5, string(md5, "md5")):
        raise invalid("Expected 32 hexadecimal digits.", "md5")
    return Completion(tuple(ids), md5.lower() if md5 else "")


def file_object(file_id: str, file: NewFile, created_at: int) -> dict[str, Any]:
    return {
        "id": file_id,
        "object": "file",
        "bytes": file.size,
        "created_at": created_at,
        "expires_at": created_at + file.lifetime_s,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def upload_object(
    upload_id: str,
    file: NewFile,
    created_at: int,
    expires_at: int,
    status: str,
    *,
    file_body: Mapping[str, Any] | None = None,
    presigned: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """`presigned` is no field of OpenAI's: `{method, url, headers, file_id}`, by which the whole file can be sent past
    the gateway."""
    body: dict[str, Any] = {
        "id": upload_id,
        "object": "upload",
        "bytes": file.size,
        "created_at": created_at,
        "expires_at": expires_at,
        "filename": file.filename,
        "purpose": file.purpose,
        "status": status,
        "file": file_body,
    }
    return body | ({"presigned": dict(presigned)} if presigned else {})


def part_object(part_id: str, upload_id: str, created_at: int) -> dict[str, Any]:
    return {"id": part_id, "object": "upload.part", "created_at": created_at, "upload_id": upload_id}


def list_object(files: Sequence[Mapping[str, Any]], *, has_more: bool) -> dict[str, Any]:
    ends = {"first_id": files[0]["id"], "last_id": files[-1]["id"]} if files else {"first_id": None, "last_id": None}
    return {"object": "list", "data": list(files), "has_more": has_more, **ends}


def deleted_object(file_id: str) -> dict[str, Any]:
    return {"id": file_id, "object": "file", "deleted": True}


def _one(form: Form, name: str) -> Upload:
    uploads = form.uploads(name)
    if len(uploads) != 1:
        raise invalid("Expected one file here.", name)
    return uploads[0]


def _filename(name: str, param: str) -> str:
    """The last part of a path; printable, as it is shown in lists."""
    bare = re.split(r"[\\/]", name.strip())[-1]
    if not bare or len(bare.encode()) > _LONGEST_NAME or not bare.isprintable():
        raise invalid(f"Expected a printable file name of at most {_LONGEST_NAME} bytes.", param)
    return bare


def _media_type(stated: str, filename: str, param: str, data: bytes = b"") -> str:
    """What the client says where it says something that Gemini takes, else the name's ending, else the first bytes."""
    kind = normalise_mime(stated)
    if kind in _UNTYPED or not accepted(kind):
        kind = by_filename(filename) or (sniff(data) or "")
    if not kind or not accepted(kind) or kind.startswith("audio/L16"):
        raise invalid("Files of this type are not supported.", param)
    return kind


def _purpose(value: Any) -> str:
    if value not in _PURPOSES:
        raise invalid(f"Expected one of {', '.join(_PURPOSES)}.", "purpose")
    return str(value)


def _lifetime(value: Any, *, in_form: bool = False) -> int:
    """Seconds; a file never lives longer than the bucket keeps it."""
    if value is None:
        return LONGEST_S
    members = mapping(value, "expires_after")
    if members.get("anchor") != "created_at":
        raise invalid("Expected created_at.", "expires_after.anchor")
    seconds = members.get("seconds")
    if in_form and isinstance(seconds, str) and (number := number_in(seconds)) is not None:
        seconds = number
    return min(integer(seconds, "expires_after.seconds", _SHORTEST_S, 2_592_000), LONGEST_S)
