"""Content parts: decided by MIME type, refused by path."""

import base64

import pytest

from tests.unit.openai_chat.request_setup import HI, MID, NEW, OLD, PDF, PNG, WAV, contents, refusal, request

PNG_URL = f"data:image/png;base64,{PNG}"
MP4 = base64.b64encode(b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isomiso2").decode()
URL = "https://example.com/media"


def part(item, model=NEW):
    return contents([{"role": "user", "content": [item]}], model)[0]["parts"][0]


def error(item, model=NEW):
    return refusal({"messages": [{"role": "user", "content": [item]}]}, model)


def inline(mime, data):
    return {"inlineData": {"mimeType": mime, "data": data}}


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        ({"type": "text", "text": "a", "prompt_cache_breakpoint": {"mode": "x"}}, {"text": "a"}),
        ({"type": "input_text", "text": "a"}, {"text": "a"}),
        ({"type": "image_url", "image_url": {"url": PNG_URL}}, inline("image/png", PNG)),
        ({"type": "image_url", "image_url": PNG_URL}, inline("image/png", PNG)),
        ({"type": "input_image", "image_url": PNG_URL}, inline("image/png", PNG)),
        ({"type": "image_url", "image_url": {"url": PNG}}, inline("image/png", PNG)),
        ({"type": "image_url", "image_url": {"url": f"data:audio/wav;base64,{WAV}"}}, inline("audio/wav", WAV)),
        ({"type": "image_url", "image_url": {"url": f"data:video/mp4;base64,{MP4}"}}, inline("video/mp4", MP4)),
        (
            {"type": "image_url", "image_url": {"url": f"data:application/pdf;base64,{PDF}"}},
            inline("application/pdf", PDF),
        ),
        (
            {"type": "image_url", "image_url": {"url": f"{URL}.png"}},
            {"fileData": {"mimeType": "image/png", "fileUri": f"{URL}.png"}},
        ),
        ({"type": "input_audio", "input_audio": {"data": WAV, "format": "wav"}}, inline("audio/wav", WAV)),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "pcm16"}},
            inline("audio/L16;rate=24000", "AAAA"),
        ),
        ({"type": "input_audio", "input_audio": {"data": f"data:audio/wav;base64,{WAV}"}}, inline("audio/wav", WAV)),
        ({"type": "input_audio", "input_audio": {"data": MP4, "format": "m4a"}}, inline("audio/mp4", MP4)),
        ({"type": "input_video", "input_video": {"data": MP4, "format": "mp4"}}, inline("video/mp4", MP4)),
        ({"type": "input_document", "input_document": {"data": PDF, "format": "pdf"}}, inline("application/pdf", PDF)),
        ({"type": "input_document", "input_document": {"data": "YQ==", "format": "txt"}}, inline("text/plain", "YQ==")),
        ({"type": "file", "file": {"file_data": f"data:application/pdf;base64,{PDF}"}}, inline("application/pdf", PDF)),
        ({"type": "file", "file": {"file_data": "YSxi", "filename": "t.csv"}}, inline("text/csv", "YSxi")),
        ({"type": "input_file", "file_data": PDF, "filename": "a.pdf"}, inline("application/pdf", PDF)),
        (
            {"type": "input_file", "file_url": f"{URL}.pdf"},
            {"fileData": {"mimeType": "application/pdf", "fileUri": f"{URL}.pdf"}},
        ),
        (
            {"type": "audio_url", "audio_url": {"url": f"{URL}.mp3"}},
            {"fileData": {"mimeType": "audio/mp3", "fileUri": f"{URL}.mp3"}},
        ),
        (
            {"type": "document_url", "document_url": {"url": f"data:application/pdf;base64,{PDF}"}},
            inline("application/pdf", PDF),
        ),
        (
            {
                "type": "video_url",
                "video_url": {"url": "https://youtu.be/abc"},
                "video_metadata": {"fps": 2, "start_offset": 3, "endOffset": "9.5s"},
            },
            {
                "fileData": {"fileUri": "https://youtu.be/abc"},
                "videoMetadata": {"startOffset": "3s", "endOffset": "9.5s", "fps": 2},
            },
        ),
        (
            {"type": "file", "file": {"file_id": "files/abc-1"}},
            {"fileData": {"fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc-1"}},
        ),
    ],
)
def test_every_part_type_has_its_place(item, expected):
    assert part(item) == expected


@pytest.mark.parametrize(
    ("item", "kind", "path"),
    [
        ({"type": "image_url"}, "invalid_request", "image_url"),
        ({"type": "image_url", "image_url": {}}, "invalid_request", "image_url.url"),
        ({"type": "image_url", "image_url": {"url": ""}}, "invalid_request", "image_url.url"),
        ({"type": "image_url", "image_url": {"url": "data:text/html;base64,YQ=="}}, "invalid_request", "image_url.url"),
        (
            {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{PNG}"}},
            "invalid_request",
            "image_url.url",
        ),
        ({"type": "image_url", "image_url": {"url": "gs://bucket/a.png"}}, "invalid_request", "image_url.url"),
        (
            {"type": "image_url", "image_url": {"url": "http://169.254.169.254/latest"}},
            "url_not_allowed",
            "image_url.url",
        ),
        ({"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}, "url_not_allowed", "image_url.url"),
        (
            {"type": "image_url", "image_url": {"url": PNG_URL, "detail": "ultra"}},
            "invalid_request",
            "image_url.detail",
        ),
        (
            {"type": "input_audio", "input_audio": {"data": "!!", "format": "wav"}},
            "invalid_request",
            "input_audio.data",
        ),
        ({"type": "input_audio", "input_audio": {"data": WAV, "format": 3}}, "invalid_request", "input_audio.format"),
        ({"type": "file", "file": {}}, "invalid_request", "file"),
        ({"type": "file", "file": {"file_id": "file-abc123"}}, "invalid_request", "file.file_id"),
        (
            {"type": "video_url", "video_url": {"url": f"{URL}.mp4"}, "video_metadata": {"fps": 99}},
            "invalid_request",
            "video_metadata.fps",
        ),
        (
            {"type": "video_url", "video_url": {"url": f"{URL}.mp4"}, "video_metadata": {"fps": 0}},
            "invalid_request",
            "video_metadata.fps",
        ),
        (
            {"type": "video_url", "video_url": {"url": f"{URL}.mp4"}, "video_metadata": {"start_offset": "x"}},
            "invalid_request",
            "video_metadata.start_offset",
        ),
    ],
)
def test_media_that_cannot_be_carried_is_refused_by_path(item, kind, path):
    refused = error(item)
    assert (refused.kind, refused.param) == (kind, f"messages[0].content[0].{path}")


@pytest.mark.parametrize(("detail", "level"), [("low", "LOW"), ("high", "HIGH"), ("original", "HIGH")])
def test_detail_is_a_resolution_of_the_part_on_new_models(detail, level):
    built = part({"type": "image_url", "image_url": {"url": PNG_URL, "detail": detail}}, MID)
    assert built["mediaResolution"] == {"level": f"MEDIA_RESOLUTION_{level}"}


def test_detail_auto_says_nothing():
    assert part({"type": "image_url", "image_url": {"url": PNG_URL, "detail": "auto"}}) == inline("image/png", PNG)


def test_the_highest_detail_counts_for_the_whole_request_on_old_models():
    images = [{"type": "image_url", "image_url": {"url": PNG_URL, "detail": d}} for d in ("high", "low", "auto")]
    built = request({"messages": [{"role": "user", "content": images}]}, OLD)
    assert built["generationConfig"]["mediaResolution"] == "MEDIA_RESOLUTION_HIGH"
    assert all("mediaResolution" not in item for item in built["contents"][0]["parts"])


def native(*entries, **extra):
    return request({"messages": None, "contents": list(entries), **extra})


def test_gemini_shaped_contents_are_taken_in_either_case():
    built = native(
        {"parts": [{"text": "what is this?"}, {"inline_data": {"mime_type": "image/png", "data": PNG}}]},
        {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {"snake_key": 1}}}]},
        {"role": "user", "parts": {"function_response": {"name": "f", "response": {"camelKey": 2}}}},
        system_instruction={"parts": [{"text": "be brief"}]},
        generationConfig={"maxOutputTokens": 5000},
    )
    assert built["contents"][0] == {"role": "user", "parts": [{"text": "what is this?"}, inline("image/png", PNG)]}
    assert built["contents"][1]["parts"][0]["functionCall"] == {"name": "f", "args": {"snake_key": 1}}
    assert built["contents"][2]["parts"] == [{"functionResponse": {"name": "f", "response": {"camelKey": 2}}}]
    assert built["systemInstruction"] == {"parts": [{"text": "be brief"}]}
    assert built["generationConfig"] == {"maxOutputTokens": 5000}


@pytest.mark.parametrize(
    ("contents_", "param"),
    [
        ([], "contents"),
        ([{"role": "assistant", "parts": [{"text": "x"}]}], "contents[0].role"),
        ([{"parts": [{"text": "x", "inline_data": {"mime_type": "image/png", "data": PNG}}]}], "contents[0].parts[0]"),
        ([{"parts": [{"robot": 1}]}], "contents[0].parts[0]"),
        ([{"parts": [{"text": 5}]}], "contents[0].parts[0].text"),
        ([{}], "contents[0].parts"),
    ],
)
def test_malformed_contents_are_refused_by_path(contents_, param):
    assert refusal({"messages": None, "contents": contents_}).param == param


def test_messages_and_contents_together_are_refused():
    assert refusal({"messages": [HI], "contents": [{"parts": [{"text": "x"}]}]}).param == "contents"
