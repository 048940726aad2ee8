import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import GatewayError
from shared.gemini.parts import extract_markdown_images, media_part, normalise_mime, sniff

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PNG64 = base64.b64encode(PNG).decode()
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(256))
PATH = "messages[0].content[1].image_url.url"


def part(text: str, mime: str | None = None, filename: str | None = None) -> dict:
    return media_part(text, mime=mime, param=PATH, filename=filename)


def refusal(text: str, mime: str | None = None) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        part(text, mime)
    assert caught.value.param == PATH
    return caught.value


@pytest.mark.parametrize(
    ("given", "normal"),
    [
        ("IMAGE/JPG", "image/jpeg"),
        ("image/png;charset=utf-8", "image/png"),
        ("webp", "image/webp"),
        ("audio/mpeg", "audio/mp3"),
        ("audio/x-wav", "audio/wav"),
        ("m4a", "audio/mp4"),
        ("video/quicktime", "video/mov"),
        ("pdf", "application/pdf"),
        ("application/json", "text/plain"),
        ("audio/L16;codec=pcm;rate=16000", "audio/L16;rate=16000"),
        ("pcm16", "audio/L16;rate=24000"),
        ("foo/bar", "foo/bar"),
    ],
)
def test_normalise_mime(given: str, normal: str) -> None:
    assert normalise_mime(given) == normal
    assert normalise_mime(normal) == normal


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (PNG, "image/png"),
        (JPEG, "image/jpeg"),
        (b"GIF89a....", "image/gif"),
        (b"RIFF\x00\x00\x00\x00WEBPVP8 ", "image/webp"),
        (b"RIFF\x00\x00\x00\x00WAVEfmt ", "audio/wav"),
        (b"RIFF\x00\x00\x00\x00AVI LIST", "video/avi"),
        (b"\x00\x00\x00\x18ftypheic", "image/heic"),
        (b"\x00\x00\x00\x18ftypmif1", "image/heif"),
        (b"\x00\x00\x00\x18ftypmp42", "video/mp4"),
        (b"\x00\x00\x00\x18ftypqt  ", "video/mov"),
        (b"\x00\x00\x00\x18ftypM4A ", "audio/mp4"),
        (b"ID3\x04", "audio/mp3"),
        (b"\xff\xfb\x90\x00", "audio/mp3"),
        (b"\xff\xf1\x50\x80", "audio/aac"),
        (b"fLaC", "audio/flac"),
        (b"OggS", "audio/ogg"),
        (b"FORM\x00\x00\x00\x00AIFF", "audio/aiff"),
        (b"\x1aE\xdf\xa3", "video/webm"),
        (b"%PDF-1.7", "application/pdf"),
        (b"junk\n%PDF-1.7", "application/pdf"),
        (b"hello", None),
        (b"", None),
    ],
)
def test_sniff(head: bytes, kind: str | None) -> None:
    assert sniff(head) == kind


@pytest.mark.parametrize(
    "text",
    [
        f"data:image/png;base64,{PNG64}",
        f"DATA:image/png;BASE64,{PNG64}",
        f"data:image/png,{PNG64}",
        f"data:image/png;charset=utf-8;base64,{PNG64}",
        f"data:;base64,{PNG64}",
        f"data:application/octet-stream;base64,{PNG64}",
        f"data:image/png;base64,{PNG64.rstrip('=')}",
        f"data:image/png;base64,{PNG64.translate(str.maketrans('+/', '-_'))}",
        f"data:image/png;base64,{PNG64.replace('+', '%2B').replace('/', '%2F').replace('=', '%3D')}",
        f"data:image/png;base64,\n{PNG64[:40]}\r\n {PNG64[40:]}\n",
        PNG64,
        f"  {PNG64}  ",
    ],
)
def test_inline_data_leaves_as_standard_padded_base64(text: str) -> None:
    assert part(text) == {"inlineData": {"mimeType": "image/png", "data": PNG64}}


def test_bare_base64_is_sniffed_and_never_assumed_to_be_jpeg() -> None:
    assert part(base64.b64encode(JPEG).decode())["inlineData"]["mimeType"] == "image/jpeg"
    assert refusal(base64.b64encode(b"just some text").decode()).kind == "invalid_request"


def test_the_type_may_come_from_the_field_or_the_file_name() -> None:
    text = base64.b64encode(b"a,b\n1,2\n").decode()
    assert part(text, mime="text/csv")["inlineData"]["mimeType"] == "text/csv"
    assert part(text, filename="Table.CSV")["inlineData"]["mimeType"] == "text/csv"
    assert part(f"data:;base64,{text}", filename="x.md")["inlineData"]["mimeType"] == "text/markdown"


def test_a_data_url_says_its_own_type() -> None:
    assert part(f"data:image/png;base64,{PNG64}", mime="image/jpeg")["inlineData"]["mimeType"] == "image/png"


def test_text_in_a_data_url_may_be_percent_encoded() -> None:
    data = base64.b64encode("grüße, you".encode()).decode()
    assert part("data:text/plain,gr%C3%BC%C3%9Fe,%20you") == {"inlineData": {"mimeType": "text/plain", "data": data}}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "data:image/png;base64,",
        "data:text/plain,",
        "data:image/png;base64",
        "data:image/png;base64,A",
        "data:image/png;base64,AAAAA",
        "data:image/png;base64,AA!A",
        "data:image/png;base64,AA=A",
        "data:image/png;base64,\u00e4\u00e4\u00e4\u00e4",
        f"data:image/jpeg;base64,{PNG64}",
        f"data:application/pdf;base64,{PNG64}",
        f"data:text/plain;base64,{PNG64}",
        f"data:image/png;base64,{base64.b64encode(b'<html></html>').decode()}",
        "data:text/html;base64,PGh0bWw+",
        "data:text/html,<script>",
        "data:image/svg+xml;base64,PHN2Zz4=",
        "data:application/zip;base64,UEsDBA==",
        "gs://bucket/image.png",
        "s3://bucket/image.png",
    ],
)
def test_bad_media_is_refused_by_path(text: str) -> None:
    assert refusal(text).kind == "invalid_request"


def test_containers_are_not_told_apart_too_strictly() -> None:
    mp4 = base64.b64encode(b"\x00\x00\x00\x18ftypmp42" + bytes(20)).decode()
    assert part(mp4, mime="audio/mp4")["inlineData"]["mimeType"] == "audio/mp4"
    assert part(mp4, mime="video/quicktime")["inlineData"]["mimeType"] == "video/mov"
    raw = base64.b64encode(b"\xff\xfb" + bytes(20)).decode()
    assert part(raw, mime="audio/L16;rate=24000")["inlineData"]["mimeType"] == "audio/L16;rate=24000"


@pytest.mark.parametrize(
    ("url", "mime"),
    [
        ("https://example.com/a/cat.PNG?sig=1#x", "image/png"),
        ("http://example.com:80/cat.jpg", "image/jpeg"),
        ("https://bücher.example.de/x.pdf", "application/pdf"),
        ("https://8.8.8.8/x.mp4", "video/mp4"),
        ("https://[2606:4700:4700::1111]/x.webp", "image/webp"),
        ("https://bucket.s3.eu-central-1.amazonaws.com/k.png?X-Amz-Signature=abc", "image/png"),
    ],
)
def test_public_links_go_upstream_as_they_are(url: str, mime: str) -> None:
    assert part(url) == {"fileData": {"mimeType": mime, "fileUri": url}}


@pytest.mark.parametrize(
    "url", ["https://example.com/cat", "https://example.com/page.html", "https://example.com/x.php?f=a.png"]
)
def test_a_link_of_unknown_type_has_none(url: str) -> None:
    assert part(url) == {"fileData": {"fileUri": url}}
    assert part(url, mime="image/png") == {"fileData": {"mimeType": "image/png", "fileUri": url}}


@pytest.mark.parametrize(
    "url",
    [
        "https://generativelanguage.googleapis.com/v1beta/files/abc-123",
        "https://www.youtube.com/watch?v=9hE5-98ZeCg",
        "https://youtu.be/9hE5-98ZeCg",
    ],
)
def test_gemini_files_and_youtube_are_left_untouched(url: str) -> None:
    assert part(url) == {"fileData": {"fileUri": url}}


def test_a_gemini_file_name_becomes_its_uri() -> None:
    uri = "https://generativelanguage.googleapis.com/v1beta/files/abc-123"
    assert part("files/abc-123", mime="application/pdf") == {
        "fileData": {"mimeType": "application/pdf", "fileUri": uri}
    }


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/a.png",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "http://localhost/a.png",
        "http://api.localhost/a.png",
        "http://127.0.0.1/a.png",
        "http://127.1/a.png",
        "http://2130706433/a.png",
        "http://0x7f000001/a.png",
        "http://0177.0.0.1/a.png",
        "http://127.0.0.1./a.png",
        "http://\uff11\uff12\uff17.0.0.1/a.png",
        "http://example\u3002com/a.png",
        "http://10.0.0.1/a.png",
        "http://100.64.0.1/a.png",
        "http://169.254.169.254/latest/meta-data",
        "http://168.63.129.16/a.png",
        "http://224.0.0.1/a.png",
        "http://0.0.0.0/a.png",
        "http://[::1]/a.png",
        "http://[::]/a.png",
        "http://[::ffff:127.0.0.1]/a.png",
        "http://[::127.0.0.1]/a.png",
        "http://[64:ff9b::7f00:1]/a.png",
        "http://[64:ff9b:1::a00:1]/a.png",
        "http://[2002:7f00:1::]/a.png",
        "http://[fe80::1%25eth0]/a.png",
        "http://[fd00:ec2::254]/a.png",
        "http://[fec0::1]/a.png",
        "http://[ff02::1]/a.png",
        "http://metadata.google.internal/computeMetadata",
        "http://printer.local/a.png",
        "http://intranet/a.png",
        "https://user:pass@example.com/a.png",
        "https://example.com@127.0.0.1/a.png",
        "https://example.com:8443/a.png",
        "https://example.com:99999/a.png",
        "https://exa mple.com/a.png",
        "https://example.com/a\tb.png",
        "https://example.com\\@127.0.0.1/a.png",
        "https:///a.png",
        "https://[::1/a.png",
        "https://example..com/a.png",
    ],
)
def test_links_that_are_not_plainly_public_are_refused(url: str) -> None:
    assert refusal(url).kind == "url_not_allowed"


@given(st.text(max_size=200))
def test_nothing_but_a_gateway_error_is_raised(text: str) -> None:
    for prefix in ("", "data:", "data:image/png;base64,", "https://", "http://["):
        try:
            assert part(prefix + text).keys() <= {"inlineData", "fileData"}
        except GatewayError as error:
            assert error.kind in ("invalid_request", "url_not_allowed")


def test_markdown_images_are_cut_out_in_order() -> None:
    text = f"Here: ![a cat](data:image/png;base64,{PNG64}) and ![](data:image/png;base64,{PNG64})."
    image = {"inlineData": {"mimeType": "image/png", "data": PNG64}}
    assert extract_markdown_images(text) == ["Here: ", image, " and ", image, "."]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no image",
        "![linked](https://example.com/a.png)",
        "[no image](data:image/png;base64,AAAA)",
        "![broken](data:image/png;base64,####)",
        "![open](data:image/png;base64,AAAA",
        "![](data:",
    ],
)
def test_text_without_valid_images_stays_whole(text: str) -> None:
    assert extract_markdown_images(text) == [text]


def test_extraction_takes_linear_time() -> None:
    assert extract_markdown_images("![](data:" * 100_000) != []
    assert extract_markdown_images("![" * 200_000 + "](data:x)" * 20_000) != []
