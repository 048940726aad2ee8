"""What a request refers to, and the same request with it replaced."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.gemini.file_links import file_links, is_public_link, path_of, takes_urls, upstream_file, with_files

INLINE = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}


def linked(uri: str) -> dict[str, Any]:
    return {"fileData": {"fileUri": uri}}


@pytest.mark.parametrize(
    ("uri", "name", "public"),
    [
        ("files/abc", "files/abc", False),
        ("https://generativelanguage.googleapis.com/v1beta/files/abc", "files/abc", False),
        ("https://generativelanguage.googleapis.com/download/v1beta/files/abc:download?alt=media", "files/abc", False),
        ("http://127.0.0.1:9090/v1beta/files/abc", "files/abc", False),
        ("HTTPS://GenerativeLanguage.googleapis.com/v1beta/files/abc#1", "files/abc", False),
        ("https://www.youtube.com/watch?v=x", "", False),
        ("gs://bucket/x", "", False),
        ("file-0123456789abcdefghijklmn", "", False),
        ("s3://bucket/acct/files/file-0123456789abcdefghijklmn", "", False),
        ("https://example.com/v1beta/files/abc", "", True),
        ("HTTP://example.com/a.png", "", True),
    ],
)
def test_what_a_link_is(uri: str, name: str, public: bool) -> None:
    assert (upstream_file(uri), is_public_link(uri)) == (name, public)


def test_links_are_found_and_replaced_wherever_parts_stand() -> None:
    link = "https://example.com/a.png"
    kept = "https://example.com/b.png"
    result = {"functionResponse": {"name": "f", "response": {"fileData": {"fileUri": link}}, "parts": [linked(link)]}}
    side = {**linked(link), "mediaResolution": {"level": "x"}, "videoMetadata": {"fps": 1}}
    request: Any = {
        "contents": [{"role": "user", "parts": [{"text": link}, side, linked(kept)]}, {"parts": [result]}],
        "systemInstruction": {"parts": [linked(link)]},
        "tools": [{"googleSearch": {}}],
    }
    assert [file["fileUri"] for file in file_links(request)] == [link, kept, link, link]
    changed: Any = with_files(request, {link: INLINE})
    assert changed["contents"][0]["parts"] == [
        {"text": link},
        {**INLINE, "mediaResolution": {"level": "x"}, "videoMetadata": {"fps": 1}},
        linked(kept),
    ]
    answered = changed["contents"][1]["parts"][0]["functionResponse"]
    assert answered["parts"] == [INLINE]
    assert answered["response"] == {"fileData": {"fileUri": link}}, "what a function answers is its own"
    assert changed["systemInstruction"] == {"parts": [INLINE]}
    assert [file["fileUri"] for file in file_links(changed)] == [kept]
    assert [file["fileUri"] for file in file_links(request)] == [link, kept, link, link], "the first is unchanged"


def test_the_path_of_a_text_is_the_client_s_own() -> None:
    body = {"a": 1, "messages": [{"content": "x"}, {"content": [{"image_url": {"url": " there "}}]}], "z": "there"}
    assert path_of(body, "there") == "messages[1].content[0].image_url.url"
    assert path_of(body, "nowhere") is None


@given(st.recursive(st.none() | st.text(max_size=3), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)))
def test_a_path_is_looked_for_in_any_body(body: Any) -> None:
    path = path_of(body, "a")
    assert path is None or isinstance(path, str)


def test_older_models_take_no_links() -> None:
    assert not takes_urls("gemini-2.0-flash")
    assert takes_urls("gemini-2.5-flash")
    assert takes_urls("gemini-9")
