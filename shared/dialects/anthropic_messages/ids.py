"""Public ids in Anthropic's forms, made from the request's own id, so that rendering stays pure."""

import hashlib

_BASE62 = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = bytes(_BASE62[byte % 62] for byte in range(256))


def public_id(prefix: str, request_id: str, *words: str) -> str:
    """`prefix` and 24 base62 characters; the same words give the same id. Request ids hold 80 bits of chance."""
    digest = hashlib.sha256("\n".join((prefix, request_id, *words)).encode()).digest()
    return prefix + digest[:24].translate(_DIGITS).decode()


def request_label(request_id: str) -> str:
    """The request id as header `request-id` and error bodies show it."""
    return request_id if request_id.startswith("req_") else f"req_{request_id}"
