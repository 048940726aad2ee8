"""Forms: what is read, and every bound."""

import random
import time

import pytest
from starlette.requests import Request

from shared.errors import GatewayError
from shared.gateway.multipart import FormReader, read_form

BOUNDARY = b"xyz"


def part(name, data=b"v", filename=None, kind=None, headers=b""):
    disposition = f'form-data; name="{name}"' + (f'; filename="{filename}"' if filename else "")
    head = f"Content-Disposition: {disposition}\r\n" + (f"Content-Type: {kind}\r\n" if kind else "")
    return b"--xyz\r\n" + head.encode() + headers + b"\r\n" + data + b"\r\n"


def read(*parts, end=b"--xyz--\r\n", step=None):
    reader = FormReader(BOUNDARY)
    data = b"".join(parts) + end
    for at in range(0, len(data), step or len(data)):
        reader.feed(data[at : at + (step or len(data))])
    return reader.close()


def request(body, content_type='multipart/form-data; boundary="xyz"', pieces=1, **headers):
    sent = [body[at::pieces] for at in range(pieces)] if pieces > 1 else [body]
    messages = [{"type": "http.request", "body": item, "more_body": True} for item in sent]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive():
        return messages.pop(0)

    raw = [(b"content-type", content_type.encode())]
    raw += [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive)


async def refusal(asked, limit=10_000):
    with pytest.raises(GatewayError) as refused:
        await read_form(asked, limit)
    return refused.value


def test_texts_and_files():
    form = read(part("model", "ä".encode()), part("file", b"\r\n--xy\r\n\0", "ü.wav", "audio/wav"), part("n", b""))
    assert form.texts == [("model", "ä"), ("n", "")]
    ((name, upload),) = form.files
    assert (name, upload.name, upload.media_type, upload.data) == ("file", "ü.wav", "audio/wav", b"\r\n--xy\r\n\0")


def test_any_split_gives_the_same_form():
    parts = [part("a", b"1"), part("f", random.Random(7).randbytes(500) + b"\r\n--xy", "f"), part("b[]", b"2")]
    whole = read(*parts)
    assert all(read(*parts, step=step) == whole for step in (1, 2, 3, 7, 64))


def test_lists_objects_and_repeats():
    form = read(part("l[]", b"1"), part("l[]", b"2"), part("o[type]", b"x"), part("s", b"1"), part("s", b"2"))
    assert form.members() == {"l": ["1", "2"], "o": {"type": "x"}, "s": "2"}
    with pytest.raises(GatewayError, match="both"):
        read(part("l", b"1"), part("l[]", b"2")).members()


@pytest.mark.parametrize(
    ("parts", "word"),
    [
        ([part("p")] * 129, "128 parts"),
        ([part("p", headers=b"X-Long: " + b"y" * 9000 + b"\r\n")], "well-formed|headers"),
        ([part("p", headers=b"X-A: 1\r\n" * 20)], "well-formed"),
        ([part("p", headers=b"X-A: " + b"y" * 3000 + b"\r\nX-B: " + b"y" * 6000 + b"\r\n")], "well-formed|headers"),
        ([part("p", b"t" * 1_000_001)], "too long"),
        ([part("p", b"\xff")], "UTF-8"),
        ([part("p", headers=b"Content-Transfer-Encoding: base64\r\n")], "transfer encoding"),
        ([b"--xyz\r\nContent-Disposition: form-data\r\n\r\nx\r\n"], "no name"),
        ([b"--xyz\r\n\r\nx\r\n"], "no name"),
        ([b"--other\r\n"], "well-formed"),
    ],
)
def test_bounds(parts, word):
    with pytest.raises(GatewayError, match=word) as refused:
        read(*parts)
    assert refused.value.kind == "invalid_request"


@pytest.mark.parametrize("end", [b"", b"--xyz", b"--xyz-"])
def test_an_unfinished_form_is_refused(end):
    with pytest.raises(GatewayError, match=r"last boundary|well-formed"):
        read(part("a"), end=end)


def test_an_epilogue_says_nothing():
    assert read(part("a"), end=b"--xyz--\r\nanything at all").texts == [("a", "v")]


async def test_a_request_is_read():
    form = await read_form(request(part("a") + b"--xyz--\r\n"), 10_000)
    assert form.texts == [("a", "v")]


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        f"multipart/form-data; boundary={'x' * 71}",
        'multipart/form-data; boundary="a\tb"',
    ],
)
async def test_a_boundary_that_is_none(content_type):
    assert "boundary" in (await refusal(request(b"", content_type))).message


async def test_other_kinds_and_encodings():
    assert (await refusal(request(b"", "multipart/mixed; boundary=x"))).kind == "unsupported_media_type"
    assert (await refusal(request(b"", content_encoding="gzip"))).kind == "unsupported_media_type"


async def test_a_form_over_the_limit():
    body = part("f", b"z" * 20_000, "f") + b"--xyz--\r\n"
    assert (await refusal(request(body))).kind == "request_too_large"
    assert (await refusal(request(b"z" * 90_000))).kind in ("invalid_request", "request_too_large")


def test_a_boundarys_tail_costs_no_time():
    """CVE-2024-8984: a long tail after the boundary kept parsers busy."""
    started = time.monotonic()
    for end in (b"--xyz" + b"-" * 2_000_000, b"--xyz--\r\n" + b"-" * 2_000_000, b"-" * 2_000_000):
        try:
            read(part("a"), end=end, step=65_536)
        except GatewayError:
            continue
    assert time.monotonic() - started < 1.0
