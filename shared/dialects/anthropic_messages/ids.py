"""Public ids in Anthropic's forms, made from the request's own id, so that rendering stays pure."""

import hashlib

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def public_id(prefix: str, request_id: str, *words: str) -> str:
    """`prefix` and 24 base62 characters; the same words give the same id. Request ids hold 80 bits of chance."""
    number = int.from_bytes(hashlib.sha256("\n".join((prefix, request_id, *words)).encode()).digest())
    digits: list[str] = []
    for _ in range(24):
        number, digit = divmod(number, 62)
        digits.append(_BASE62[digit])
    return prefix + "".join(digits)


def request_label(request_id: str) -> str:
    """The request id as header `request-id` and error bodies show it."""
    return request_id if request_id.startswith("req_") else f"req_{request_id}"
