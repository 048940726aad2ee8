"""Image requests, sizes, and the pictures that come back."""

import base64
import json

import pytest

from shared.dialects.openai.image_sizes import image_config
from shared.dialects.openai_media.errors import render_error
from shared.dialects.openai_media.image_reply import ImageRenderer, Picture, image_usage, images_body
from shared.dialects.openai_media.images import edit, generation, variation
from shared.errors import GatewayError
from shared.events import Draft, End, Start, Usage
from tests.unit.openai_media.requests import PNG, REPLY, USAGE, WAV, context, drew, form, said

FLASH = "gemini-3.1-flash-image"
DATA = base64.b64encode(PNG).decode()


def job(model=FLASH, **body):
    return generation({"prompt": "a cat", **body}, context(model))


def config(size="auto", quality="auto", model=FLASH):
    return image_config(size, quality, context(model).model)


@pytest.mark.parametrize(
    ("size", "ratio", "tier"),
    [
        ("1024x1024", "1:1", "1K"),
        ("512x512", "1:1", "512"),
        ("256x256", "1:1", "512"),
        ("1536x1024", "3:2", "1K"),
        ("1024x1536", "2:3", "1K"),
        ("1792x1024", "16:9", "1K"),
        ("1024x1792", "9:16", "1K"),
        ("2048x2048", "1:1", "2K"),
        ("4096x4096", "1:1", "4K"),
        ("1920x1080", "16:9", "1K"),
        ("1000x760", "4:3", "1K"),
        ("3000x350", "8:1", "1K"),
    ],
)
def test_sizes_in_pixels(size, ratio, tier):
    assert config(size) == {"aspectRatio": ratio, "imageSize": tier}


def test_what_a_model_lacks_is_not_sent():
    assert config("1536x1024", model="gemini-2.5-flash-image") == {"aspectRatio": "3:2"}
    assert config("3000x350", model="gemini-2.5-flash-image") == {"aspectRatio": "21:9"}
    assert config("4096x4096", model="gemini-3.1-flash-lite-image") == {"aspectRatio": "1:1", "imageSize": "1K"}
    assert config("256x256", model="gemini-3-pro-image") == {"aspectRatio": "1:1", "imageSize": "1K"}
    assert config() == {}


@pytest.mark.parametrize("quality", ["hd", "high"])
def test_high_quality_raises_the_size_where_there_is_one(quality):
    assert config("1024x1024", quality) == {"aspectRatio": "1:1", "imageSize": "2K"}
    assert config("auto", quality) == {"imageSize": "2K"}
    assert config("4096x4096", quality)["imageSize"] == "4K"
    assert config("1024x1024", quality, "gemini-2.5-flash-image") == {"aspectRatio": "1:1"}
    assert config("1024x1024", quality, "gemini-3.1-flash-lite-image")["imageSize"] == "1K"


@pytest.mark.parametrize("size", ["big", "0x10", "1024", "x", "1024x", "100000x1", "1:0"])
def test_a_size_that_is_none(size):
    with pytest.raises(GatewayError) as refused:
        config(size)
    assert refused.value.param == "size"


def test_one_request_for_all_pictures():
    made = job(n=3, size="1536x1024")
    assert made.count == 3
    assert made.request == {
        "contents": [{"role": "user", "parts": [{"text": "a cat"}]}],
        "generationConfig": {
            "responseModalities": ["IMAGE"],
            "imageConfig": {"aspectRatio": "3:2", "imageSize": "1K"},
        },
    }


def test_googles_own_words():
    made = job(
        extra_body={
            "google": {"aspect_ratio": "16:9", "generation_config": {"seed": 7, "imageConfig": {"imageSize": "4k"}}}
        },
        safety_settings=[{"category": "HARASSMENT", "threshold": "OFF"}],
        tools=[{"google_search": {}}],
    )
    assert made.request["generationConfig"] == {
        "responseModalities": ["IMAGE"],
        "imageConfig": {"aspectRatio": "16:9", "imageSize": "4K"},
        "seed": 7,
    }
    assert made.request["tools"] == [{"googleSearch": {}}]
    assert made.request["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"n": 0}, "n"),
        ({"n": 11}, "n"),
        ({"output_format": "webp"}, "output_format"),
        ({"output_format": "svg"}, "output_format"),
        ({"response_format": "file"}, "response_format"),
        ({"partial_images": 4}, "partial_images"),
        ({"stream": "yes"}, "stream"),
        ({"api_base": "http://x"}, "api_base"),
    ],
)
def test_refusals_name_the_parameter(body, param):
    with pytest.raises(GatewayError) as refused:
        job(**body)
    assert refused.value.param == param


def test_a_text_model_draws_nothing():
    with pytest.raises(GatewayError, match="does not make images"):
        job("gemini-3.8-flash")


def test_what_is_left_out_is_named():
    made = job(response_format="url", background="transparent", style="vivid", user="u")
    assert made.warnings == ("adjusted:response_format=b64_json", "ignored:background", "ignored:style")


def test_an_edit_from_a_form():
    files = form([("prompt", "blue"), ("n", "2"), ("stream", "true")], **{"image[]": ("a.png", "image/png", PNG)})
    files.files.append(("image[]", files.files[0][1]))
    files.files.append(("mask", files.files[0][1]))
    made = edit(files, context(FLASH))
    parts = made.request["contents"][0]["parts"]
    assert [next(iter(part)) for part in parts] == ["inlineData", "inlineData", "inlineData", "text"]
    assert parts[0]["inlineData"] == {"mimeType": "image/png", "data": DATA}
    assert parts[-1]["text"].startswith("blue\n\n")
    assert "mask" in parts[-1]["text"]
    assert (made.count, made.stream, made.family, made.warnings) == (2, True, "image_edit", ("approximated:mask",))


@pytest.mark.parametrize(
    "body",
    [
        {"images": [{"image_url": f"data:image/png;base64,{DATA}"}]},
        {"images": [{"image_url": {"url": f"data:image/png;base64,{DATA}"}}]},
        {"image": f"data:image/png;base64,{DATA}"},
    ],
)
def test_an_edit_from_json(body):
    made = edit({"prompt": "blue", **body}, context(FLASH))
    assert made.request["contents"][0]["parts"][0] == {"inlineData": {"mimeType": "image/png", "data": DATA}}


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "image"),
        ({"images": [{"file_id": "file-1"}]}, "images[0].image_url"),
        ({"images": ["data:audio/wav;base64," + base64.b64encode(WAV).decode()]}, "images[0]"),
        ({"image": "http://169.254.169.254/x.png"}, "image"),
        ({"images": [f"data:image/png;base64,{DATA}"] * 17}, "image"),
    ],
)
def test_edits_without_a_usable_image(body, param):
    with pytest.raises(GatewayError) as refused:
        edit({"prompt": "blue", **body}, context(FLASH))
    assert refused.value.param == param


def test_a_variation_has_a_prompt_of_its_own():
    made = variation(form([("n", "2")], image=("a.png", "application/octet-stream", PNG)), context(FLASH))
    parts = made.request["contents"][0]["parts"]
    assert "inlineData" in parts[0]
    assert "variation" in parts[1]["text"]
    with pytest.raises(GatewayError, match="image to vary"):
        variation(form(), context(FLASH))


def picture(events):
    made = Picture()
    for event in events:
        made.feed(event)
    return made


def test_the_last_picture_of_a_call_is_its_answer():
    body = images_body([picture(drew("AAAA", "BBBB")), picture(drew("CCCC"))], job(size="1024x1024"), REPLY, USAGE)
    assert [row["b64_json"] for row in body["data"]] == ["BBBB", "CCCC"]
    assert (body["created"], body["output_format"], body["size"], body["background"]) == (
        REPLY.created,
        "png",
        "1024x1024",
        "opaque",
    )


def test_usage_by_modality():
    usage = Usage(10, 0, 0, 30, 5, prompt_modalities={"IMAGE": 6}, output_modalities={"IMAGE": 29})
    assert image_usage(usage) == {
        "input_tokens": 10,
        "input_tokens_details": {"text_tokens": 4, "image_tokens": 6},
        "output_tokens": 35,
        "output_tokens_details": {"text_tokens": 6, "image_tokens": 29},
        "total_tokens": 45,
    }


@pytest.mark.parametrize(
    ("events", "code", "word"),
    [
        (said("I cannot draw that."), "image_generation_user_error", "I cannot draw that."),
        (said(finish="no_output", reason="NO_IMAGE"), "image_generation_user_error", "NO_IMAGE"),
        (said(finish="blocked", reason="IMAGE_SAFETY"), "moderation_blocked", "IMAGE_SAFETY"),
    ],
)
def test_no_picture_is_the_callers_to_change(events, code, word):
    with pytest.raises(GatewayError) as refused:
        images_body([picture(events)], job(), REPLY, USAGE)
    status, body, _ = render_error(refused.value, "id")
    assert (status, body["error"]["type"], body["error"]["code"]) == (400, "image_generation_user_error", code)
    assert word in body["error"]["message"]


def frames(data: bytes):
    for block in data.decode().strip().split("\n\n"):
        lines = block.split("\n")
        yield lines[0].removeprefix("event: "), json.loads(lines[1].removeprefix("data: "))


def test_a_stream_of_drafts_and_a_picture():
    renderer = ImageRenderer(job(stream=True, partial_images=1, size="1024x1024", quality="hd"), REPLY)
    events = [Start("r", "m"), Draft(0, "image/png", "AAAA"), Draft(1, "image/png", "BBBB"), *drew("CCCC")[1:]]
    shown = list(frames(b"".join(renderer.feed(event) for event in events)))
    assert [name for name, _ in shown] == ["image_generation.partial_image", "image_generation.completed"]
    common = {
        "created_at": REPLY.created,
        "size": "1024x1024",
        "quality": "high",
        "background": "opaque",
        "output_format": "png",
    }
    assert shown[0][1] == {"type": shown[0][0], "b64_json": "AAAA", "partial_image_index": 0, **common}
    assert shown[1][1] == {"type": shown[1][0], "b64_json": "CCCC", "usage": image_usage(USAGE), **common}
    assert renderer.complete


def test_a_stream_without_asked_for_drafts_shows_none():
    renderer = ImageRenderer(job(stream=True, n=2), REPLY)
    assert renderer.feed(drew("AAAA", "BBBB")[1], 1) == b""
    assert renderer.feed(drew("AAAA", "BBBB")[2], 1) == b""
    assert not ImageRenderer(job(stream=True), REPLY).complete
    assert next(frames(renderer.feed(End("stop", "STOP", USAGE), 1)))[1]["b64_json"] == "BBBB"


def test_a_stream_that_breaks_ends_with_an_error_the_sdks_raise():
    body = json.loads(ImageRenderer(job(), REPLY).fail(GatewayError("upstream_overloaded", "x")).decode()[6:])
    assert body["error"]["code"] == "overloaded"
    assert "shown" in body["error"]["message"]
