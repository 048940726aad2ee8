"""Which addresses of uploads a client may see."""

import base64
from urllib.parse import quote

import pytest

from shared.errors import GatewayError
from shared.gemini.upload_sessions import public_session

ROOT = "https://generativelanguage.googleapis.com/v1beta"
HOST = "https://generativelanguage.googleapis.com"
SESSION = f"{HOST}/upload/v1beta/files?upload_id=ABPtcPoY-x_9&upload_protocol=resumable"
KEY = "AIzaSyD-canary_of_the_pool+/=0123456789"


@pytest.mark.parametrize("url", [SESSION, SESSION.replace(".com/", ".com:443/"), SESSION.replace("gen", "GEN", 1)])
def test_an_address_at_the_upstream_is_passed_on_as_it_is(url):
    assert public_session(url, ROOT, KEY) == url


def test_a_local_upstream_keeps_its_port():
    url = "http://127.0.0.1:9090/upload/v1beta/files?upload_id=x"
    assert public_session(url, "http://127.0.0.1:9090/v1beta", KEY) == url
    with pytest.raises(GatewayError):
        public_session(url, "http://127.0.0.1:9091/v1beta", KEY)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/upload/v1beta/files?upload_id=x",
        SESSION.replace("https", "http"),
        SESSION.replace("googleapis.com", "googleapis.com.example.net"),
        SESSION.replace("googleapis.com", "googleapis.com:8443"),
        SESSION.replace("googleapis.com", "googleapis.com:x"),
        SESSION.replace("//", "//example.net\\@"),
        SESSION.replace("//", "//user:word@"),
        SESSION.replace("//", "//@"),
        SESSION.replace("/upload/", "/v1beta/"),
        SESSION + "#fragment",
        SESSION + "\r\nx-other: 1",
        SESSION + "é",
        "https://[::1/upload/v1beta/files",
    ],
)
def test_an_address_elsewhere_is_refused(url):
    with pytest.raises(GatewayError) as refused:
        public_session(url, ROOT, KEY)
    assert refused.value.kind == "upstream_invalid_response"


@pytest.mark.parametrize("name", ["key", "KEY", "access_token", "oauth_token", "%6bey"])
def test_a_parameter_that_is_a_credentials_is_refused(name):
    with pytest.raises(GatewayError):
        public_session(f"{SESSION}&{name}=anything", ROOT, KEY)


def _spellings():
    yield "plain", KEY
    yield "upper", KEY.upper()
    yield "percent", quote(KEY, safe="")
    yield "every letter percent", "".join(f"%{ord(letter):02x}" for letter in KEY)
    yield "percent twice", quote(quote(KEY, safe=""), safe="")
    yield "hexadecimal", KEY.encode().hex()
    yield "HEXADECIMAL", KEY.encode().hex().upper()
    for before in ("", "a", "ab", "abc"):
        for after in ("", "z", "zz"):
            text = (before + KEY + after).encode()
            yield f"base64 in {before!r} {after!r}", quote(base64.b64encode(text).decode(), safe="")
            yield f"url-safe base64 in {before!r} {after!r}", base64.urlsafe_b64encode(text).decode().rstrip("=")


@pytest.mark.parametrize("spelling", [pytest.param(text, id=name) for name, text in _spellings()])
def test_the_credential_in_any_spelling_is_refused(spelling):
    for url in (f"{SESSION}&trace={spelling}", SESSION.replace("/files", f"/{spelling}/files")):
        with pytest.raises(GatewayError) as refused:
            public_session(url, ROOT, KEY)
        assert KEY not in str(refused.value)
