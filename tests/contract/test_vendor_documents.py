"""Every OpenAI-shaped request that the vendors' documents show, sent to the running gateway as it stands there: only
host, key and the places where a document says "your file here" are filled in."""

import base64
import io
import json
import wave

import openai
import pytest
from openai.types.responses import Response

from tests.contract.test_openai_python import directive
from tests.contract.vendor_requests import (
    DOCUMENTS,
    Vendor,
    base64_of,
    completed,
    error,
    frames,
    sent,
    streamed,
)
from tests.running import Gateway, running_gateway

OFF = [
    {"category": f"HARM_CATEGORY_{word}", "threshold": "OFF"}
    for word in ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")
]


@pytest.fixture
def vendor(gateway: Gateway):
    return Vendor(gateway, gateway.client_key)


@pytest.fixture
def metered(gateway: Gateway, client_key):
    """As `vendor`, with a key of the test's own, whose rows `row` gives."""
    return Vendor(gateway, client_key[1], client_key[0])


# APIGPT.Cloud: contents in, {"message"} out


def test_apigpts_first_curl_sample_is_not_json_and_works_when_repaired(vendor):
    sample = DOCUMENTS["apigpt"]["samples"]["text with curl"]["text"]
    assert error(vendor.send("apigpt", "text with curl"), 400)["code"] == "invalid_json"
    answer = vendor.send("apigpt", "text with curl", text=sample.replace("},\n]", "}\n]", 1))
    assert (answer.status_code, answer.json()) == (200, {"message": "Echo: 太阳系"})


def test_apigpts_python_sample_with_its_double_slash(metered, emulator):
    answer = metered.send("apigpt", "text with Python")
    assert answer.json() == {"message": "Echo: 太阳系"}
    assert answer.headers["content-type"] == "application/json"
    body = sent(emulator)
    assert body["contents"] == [{"role": "user", "parts": [{"text": "太阳系"}]}]
    assert body["generationConfig"]["maxOutputTokens"] == 4096
    assert body["safetySettings"] == OFF
    row = metered.row()
    assert (row["dialect"], row["endpoint"], row["status"]) == ("apigpt", "chat", 200)
    assert row["cost_nano_usd"] > 0


def test_apigpts_vision_sample_without_model_or_role(vendor, emulator):
    answer = vendor.send("apigpt", "vision with curl")
    assert set(answer.json()) == {"message"}
    assert "[image/jpeg" in answer.json()["message"]
    assert "7x5" in answer.json()["message"]
    assert sent(emulator)["contents"][0]["role"] == "user"


def test_apigpts_vision_sample_in_python(vendor):
    message = vendor.send("apigpt", "vision with Python").json()["message"]
    assert message.startswith("Echo: 这个图上有什么")
    assert "[image/jpeg" in message


@pytest.mark.parametrize("path", ["/gemini/v1/chat/completion", "/gemini/v1/chat/completions"])
def test_apigpts_live_fragments(vendor, emulator, path):
    emulator.script({"text": "one two three four", "chunks": 4, "thoughts": "Hm."})
    contents = [{"role": "user", "parts": [{"text": "count"}]}]
    fragments = frames(vendor.post(path, {"model": "gemini-pro", "contents": contents, "stream": True}))
    assert len(fragments) == 4
    assert all(set(fragment) == {"message"} for fragment in fragments)
    assert "".join(fragment["message"] for fragment in fragments) == "one two three four"


def say(text, **more):
    return {"model": "gemini-pro", "contents": [{"role": "user", "parts": [{"text": text}]}], **more}


PATH = "/gemini/v1/chat/completions"


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_without_text_and_what_apigpts_reply_can_say_of_it(vendor, emulator, stream):
    for step in ({"block": "SAFETY"}, {"finish": "SAFETY"}):
        emulator.script(step)
        assert error(vendor.post(PATH, say("x", stream=stream)), 400)["code"] == "content_filter"
    answer = vendor.post(PATH, say(directive(thoughts="long " * 60), stream=stream, max_tokens=1))
    fragments = frames(answer) if stream else [answer.json()]
    assert fragments == [{"message": ""}]


@pytest.mark.parametrize("shape", ["contents", "messages"])
@pytest.mark.parametrize(("upstream_status", "status"), [(503, 529), (500, 500), (504, 500)])
def test_apigpts_statuses_know_529_and_no_gateway_errors(metered, emulator, shape, upstream_status, status):
    emulator.script({"error": {"status": upstream_status}, "times": 3})
    body = say("x") if shape == "contents" else {"model": "gemini-pro", "messages": [{"role": "user", "content": "x"}]}
    assert error(metered.post(PATH, body), status)["type"] == "server_error"
    row = metered.row()
    assert (row["status"], row["cost_nano_usd"]) == (status, 0)


def test_apigpts_other_statuses(vendor, gateway):
    stranger = Vendor(gateway, "sk-wrong")
    assert error(stranger.post(PATH, say("x")), 401)["code"] == "invalid_api_key"
    assert error(vendor.post(PATH, say("x", model="no-such-model")), 404)["code"] == "model_not_found"
    both = say("x", messages=[{"role": "user", "content": "x"}])
    assert error(vendor.post(PATH, both), 400)["param"] == "contents"
    together = [{"parts": [{"text": "x", "inline_data": {"mime_type": "image/png", "data": base64_of("image/png")}}]}]
    assert error(vendor.post(PATH, say("", contents=together)), 400)["param"] == "contents[0].parts[0]"
    system = [{"role": "system", "parts": [{"text": "x"}]}]
    assert error(vendor.post(PATH, say("", contents=system)), 400)["param"] == "contents[0].role"
    assert error(vendor.post(PATH, {"messages": [{"role": "user", "content": "x"}]}), 400)["param"] == "model"


def test_a_stream_of_fragments_that_breaks_ends_in_an_error_without_done(vendor, emulator):
    emulator.script({"text": "a b c d", "chunks": 4, "pace_ms": 20, "cut_after": 2})
    answer = vendor.post(PATH, say("x", stream=True))
    assert answer.status_code == 200
    data = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n") if line.startswith("data: ")]
    assert data[0] == {"message": "a"}
    assert data[-1]["error"]["code"] == "upstream_truncated"
    assert "[DONE]" not in answer.text


def test_contents_on_openais_own_path_have_openais_answer(vendor, emulator):
    answer = completed(vendor.post("/v1/chat/completions", say("太阳系")))
    assert answer.choices[0].message.content == "Echo: 太阳系"
    assert "safetySettings" not in sent(emulator)


# theturbo: OpenAI's chat, every medium in image_url


def test_theturbos_chat(vendor):
    answer = completed(vendor.send("theturbo", "chat"))
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    assert answer.choices[0].message.content == "Echo: 你好,给我科普一下量子力学吧"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_theturbos_chat_streams_although_it_accepts_json(vendor):
    assert streamed(vendor.send("theturbo", "chat", stream=True)).choices[0].message.content


def test_theturbos_media(vendor):
    text = completed(vendor.send("theturbo", "media")).choices[0].message.content
    assert "[image/jpeg" in text
    assert "7x5" in text


def test_every_media_type_of_theturbo_in_an_image_url(vendor, emulator):
    kinds = DOCUMENTS["theturbo"]["media"]
    parts = [{"type": "image_url", "image_url": {"url": f"data:{kind};base64,{base64_of(kind)}"}} for kind in kinds]
    completed(vendor.send("theturbo", "media", messages=[{"role": "user", "content": parts}]))
    assert [part["inlineData"]["mimeType"] for part in sent(emulator)["contents"][0]["parts"]] == kinds


def test_theturbos_function(vendor):
    called = directive(call={"name": "get_current_weather", "args": {"location": "Boston, MA", "unit": "celsius"}})
    assert completed(vendor.send("theturbo", "function")).choices[0].finish_reason == "stop"
    asked = [{"role": "user", "content": f"What's the weather like in Boston today?\n{called}"}]
    choice = completed(vendor.send("theturbo", "function", messages=asked)).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments)["location"] == "Boston, MA"


@pytest.mark.parametrize("model", DOCUMENTS["theturbo"]["models"])
def test_every_model_of_theturbo_answers(vendor, model):
    choice = completed(vendor.send("theturbo", "chat", model=model, max_tokens=4000)).choices[0]
    assert choice.message.content.startswith("Echo: 你好")
    assert bool(getattr(choice.message, "reasoning_content", None)) is ("thinking" in model)


# Google Distributed Cloud: OpenAI's chat with media parts of its own


def test_gdcs_syntax_blocks_are_not_json(vendor):
    for name in ("syntax with curl", "syntax of the body"):
        assert error(vendor.send("gdc", name), 400)["code"] == "invalid_json"


def test_gdcs_request_names_no_model_and_works_with_one(metered, emulator):
    assert error(metered.send("gdc", "request"), 400)["param"] == "model"
    answer = metered.send("gdc", "request", model_id="gemini-3-flash-preview")
    choice = completed(answer).choices[0]
    assert choice.message.content == "Echo: What is the capital of France?"
    raw = answer.json()
    assert raw["system_fingerprint"].startswith("fp_")
    assert raw["choices"][0]["logprobs"] is None
    assert raw["choices"][0]["message"]["refusal"] is None
    body = sent(emulator)
    assert body["systemInstruction"]["parts"] == [{"text": "You are a helpful and informative assistant."}]
    assert (body["generationConfig"]["temperature"], body["generationConfig"]["maxOutputTokens"]) == (0.7, 100)
    row = metered.row()
    assert (row["dialect"], row["model"]) == ("gdc", "gemini-3-flash-preview")


def test_gdcs_model_wins_over_model_id(vendor, emulator):
    completed(vendor.send("gdc", "request", model_id="gemini-3-flash-preview", model="gemini-3.6-flash"))
    assert "gemini-3.6-flash" in emulator.requests[-1]["path"]


def test_gdcs_path_is_free_text_for_the_log_only(upstream, tmp_path):
    environment = {"GEMINI_API_KEY": "test", "GEMINI_BASE_URL": upstream.base_url, "LOG_LEVEL": "INFO"}
    with running_gateway(tmp_path / "state", environment) as telling:
        vendor = Vendor(telling, telling.client_key)
        asked = {"model": "gemini-3.6-flash", "messages": [{"role": "user", "content": "x"}]}
        completed(vendor.post("/v1/projects/any%20thing/locations/else-where/chat/completions", asked))
        (line,) = [line for line in telling.log.read_text().splitlines() if '"addressed"' in line]
    assert (json.loads(line)["project"], json.loads(line)["location"]) == ("any thing", "else-where")


def test_every_content_part_of_gdcs_syntax(vendor, emulator):
    pdf = base64.b64encode(b"%PDF-1.4\n%%EOF\n").decode()
    linked = {
        "image_url": "image/jpeg",
        "audio_url": "audio/mp3",
        "video_url": "video/mp4",
    }
    parts = [
        {"type": name, name: {"url": f"data:{kind};base64,{base64_of(kind)}"}} for name, kind in linked.items()
    ] + [
        {"type": "document_url", "document_url": {"url": f"data:application/pdf;base64,{pdf}"}},
        {"type": "image_url", "image_url": {"url": base64_of("image/png")}},  # base64 in the place of an address
        {"type": "input_audio", "input_audio": {"data": base64_of("audio/wav"), "format": "wav"}},
        {"type": "input_video", "input_video": {"data": base64_of("video/webm"), "format": "webm"}},
        {"type": "input_document", "input_document": {"data": pdf, "format": "pdf"}},
    ]
    settings = {"temperature": 0.5, "top_p": 0.9, "n": 1, "stop": "END", "user": "someone"}
    answer = vendor.send(
        "gdc", "request", model_id="gemini-3-flash-preview", messages=[{"role": "user", "content": parts}], **settings
    )
    completed(answer)
    kinds = [part["inlineData"]["mimeType"] for part in sent(emulator)["contents"][0]["parts"]]
    assert kinds[:4] == ["image/jpeg", "audio/mp3", "video/mp4", "application/pdf"]
    assert kinds[4:] == ["image/png", "audio/wav", "video/webm", "application/pdf"]
    assert sent(emulator)["generationConfig"]["stopSequences"] == ["END"]


@pytest.mark.parametrize("url", ["gs://bucket/a.mp3", "s3://bucket/a.mp3", "bucket/a.mp3"])
def test_a_path_into_gdcs_bucket_is_refused_by_its_place(vendor, emulator, url):
    parts = [{"type": "audio_url", "audio_url": {"url": url}}]
    answer = vendor.send(
        "gdc", "request", model_id="gemini-3-flash-preview", messages=[{"role": "user", "content": parts}]
    )
    assert error(answer, 400)["param"] == "messages[0].content[0].audio_url.url"
    assert emulator.requests == []


def test_gdc_through_the_official_sdk(gateway):
    base_url = f"{gateway.base_url}/v1/projects/my-project/locations/my-project"
    with openai.OpenAI(base_url=base_url, api_key=gateway.client_key, max_retries=0) as client:
        asked = {"model": "gemini-3.6-flash", "messages": [{"role": "user", "content": "hello"}]}
        assert "hello" in client.chat.completions.create(**asked).choices[0].message.content
        text = "".join(
            chunk.choices[0].delta.content or "" for chunk in client.chat.completions.create(**asked, stream=True)
        )
        assert "hello" in text


# A self-hosted platform: OpenAI's chat with a bare key, always streamed


def test_the_platforms_chat_with_a_bare_key_and_filters_off(vendor, emulator):
    answer = streamed(vendor.send("gemini_platform", "chat"))
    assert answer.choices[0].message.content == "Echo: 你是什么模型"
    assert sent(emulator)["safetySettings"] == OFF


def test_the_platforms_client_keeps_its_own_filters(vendor, emulator):
    own = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_ONLY_HIGH"}]
    streamed(vendor.send("gemini_platform", "chat", safety_settings=own))
    assert sent(emulator)["safetySettings"] == own


def image_in(text):
    """The image of a markdown link, decoded."""
    _, _, rest = text.partition("![image](data:image/png;base64,")
    assert rest, text
    return base64.b64decode(rest.partition(")")[0])


def test_the_platforms_image_generation(vendor, emulator):
    answer = streamed(vendor.send("gemini_platform", "image generation"))
    assert image_in(answer.choices[0].message.content).startswith(b"\x89PNG")
    assert sent(emulator)["generationConfig"]["responseModalities"] == ["TEXT", "IMAGE"]


@pytest.mark.parametrize("family", ["image", "audio", "video"])
def test_the_platforms_media_as_bare_base64_data_url_or_address(vendor, emulator, family):
    for word in DOCUMENTS["gemini_platform"][family]:
        kind = f"{family}/{word}"
        emulator.reset()
        streamed(vendor.send("gemini_platform", f"{family} understanding", media=base64_of(kind)))
        found = sent(emulator)["contents"][0]["parts"][1]["inlineData"]
        assert found["data"] == base64_of(kind)
        assert found["mimeType"] == ("video/mpeg" if kind == "video/mpg" else kind)  # one container, two names
        emulator.reset()
        data_url = f"data:{kind};base64,{base64_of(kind)}"
        streamed(vendor.send("gemini_platform", f"{family} understanding", media=data_url))
        assert sent(emulator)["contents"][0]["parts"][1]["inlineData"]["mimeType"] == kind
    emulator.reset()
    word = DOCUMENTS["gemini_platform"][family][0]
    url = f"https://example.com/file.{word}"
    streamed(vendor.send("gemini_platform", f"{family} understanding", media=url))
    assert sent(emulator)["contents"][0]["parts"][1]["fileData"] == {"mimeType": f"{family}/{word}", "fileUri": url}


def test_the_platforms_placeholder_itself_is_refused_by_its_place(vendor):
    answer = vendor.send("gemini_platform", "image understanding", media="url或者base64")
    assert error(answer, 400)["param"] == "messages[0].content[1].image_url.url"


def test_the_platforms_function(vendor, emulator):
    emulator.script({"call": {"name": "get_current_weather", "args": {"location": "Boston, MA"}}})
    choice = streamed(vendor.send("gemini_platform", "function")).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert json.loads(choice.message.tool_calls[0].function.arguments) == {"location": "Boston, MA"}


def test_the_platforms_code_execution_is_the_models_own(vendor, emulator):
    emulator.script(
        {"code": {"code": "print(5117)", "output": "5117\n", "outcome": "OUTCOME_OK"}, "text": "It is 5117."}
    )
    choice = streamed(vendor.send("gemini_platform", "code execution")).choices[0]
    assert sent(emulator)["tools"] == [{"codeExecution": {}}]
    assert "print(5117)\n```" in choice.message.content
    assert "```output\n5117\n```" in choice.message.content
    assert choice.message.tool_calls is None
    assert choice.finish_reason == "stop"


SPEAKING = [model for model in DOCUMENTS["gemini_platform"]["models"] if model.endswith("-tts")]


@pytest.mark.parametrize("model", DOCUMENTS["gemini_platform"]["models"])
def test_every_model_of_the_platform_answers(vendor, model):
    choice = streamed(vendor.send("gemini_platform", "chat", model=model)).choices[0]
    assert choice.finish_reason == "stop"
    if model in SPEAKING:
        assert choice.message.audio.data
    else:
        assert choice.message.content
    assert bool(getattr(choice.message, "reasoning_content", None)) is model.endswith("-thinking")


@pytest.mark.parametrize("model", SPEAKING)
def test_the_platforms_speech_models_answer_in_sound(vendor, emulator, model):
    message = completed(vendor.send("gemini_platform", "chat", model=model, stream=False)).choices[0].message
    assert message.content is None
    with wave.open(io.BytesIO(base64.b64decode(message.audio.data))) as sound:
        assert (sound.getframerate(), sound.getnchannels()) == (24_000, 1)
        assert sound.getnframes() > 0
    config = sent(emulator)["generationConfig"]
    assert config["responseModalities"] == ["AUDIO"]
    assert config["speechConfig"]["voiceConfig"]["prebuiltVoiceConfig"]["voiceName"] == "Kore"


# AIStudioToAPI: the part that speaks OpenAI's languages


def test_the_studios_chat(vendor):
    answer = completed(vendor.send("aistudio_to_api", "chat"))
    assert answer.choices[0].message.content == "Echo: 你好,最近怎么样?"


def test_the_studios_stream(vendor):
    answer = streamed(vendor.send("aistudio_to_api", "stream"))
    assert answer.choices[0].message.content == "Echo: 写一首关于秋天的诗"


@pytest.mark.parametrize(("name", "read"), [("image", completed), ("streamed image", streamed)])
def test_the_studios_image(vendor, emulator, name, read):
    answer = read(vendor.send("aistudio_to_api", name))
    assert image_in(answer.choices[0].message.content).startswith(b"\x89PNG")
    assert sent(emulator)["generationConfig"]["responseModalities"] == ["TEXT", "IMAGE"]


def test_the_studios_response(vendor):
    answer = vendor.send("aistudio_to_api", "response")
    assert answer.status_code == 200, answer.text
    assert Response.model_validate(answer.json()).output_text == "Echo: 请用三句话总结函数式编程的核心思想。"


def test_the_studios_streamed_response_with_an_item_that_has_no_type(vendor):
    answer = vendor.send("aistudio_to_api", "streamed response")
    assert answer.headers["content-type"].startswith("text/event-stream")
    data = [json.loads(line.removeprefix("data: ")) for line in answer.text.split("\n") if line.startswith("data: {")]
    assert (data[0]["type"], data[-1]["type"]) == ("response.created", "response.completed")
    assert [event["sequence_number"] for event in data] == list(range(len(data)))
    text = "".join(event["delta"] for event in data if event["type"] == "response.output_text.delta")
    assert text == "Echo: 写一首关于秋天的短诗。"
