"""Parameters: ranges, folding, what is dropped and what is named."""

import pytest

from shared.dialects.openai_chat.request import requested_model, wants_stream
from shared.errors import GatewayError
from tests.unit.openai_chat.request_setup import HI, MID, NEW, OLD, WEATHER, config, refusal, request, translate

TTS = "gemini-3.8-flash-tts"
IMAGE = "gemini-3.1-flash-image"
CATEGORIES = ("HARASSMENT", "HATE_SPEECH", "SEXUALLY_EXPLICIT", "DANGEROUS_CONTENT")


def spoken(voice):
    return {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": voice}}}


def test_the_model_and_its_vendor_spelling():
    assert requested_model({"model": "a", "model_id": "b"}) == "a"
    assert requested_model({"model_id": "b", "model": None}) == "b"
    for body, param in (
        ({}, "model"),
        ({"model": 5}, "model"),
        ({"model": ""}, "model"),
        ({"model_id": []}, "model_id"),
    ):
        with pytest.raises(GatewayError) as caught:
            requested_model(body)
        assert (caught.value.kind, caught.value.param) == ("invalid_request", param)


def test_stream_is_a_boolean_or_nothing():
    assert wants_stream({"stream": True}) is True
    assert wants_stream({"stream": False}) is wants_stream({"stream": None}) is wants_stream({}) is False
    for value in ("true", 1, []):
        with pytest.raises(GatewayError) as caught:
            wants_stream({"stream": value})
        assert caught.value.param == "stream"
    assert translate({"stream": True}).stream is True


def test_sampling_goes_to_models_that_sample_and_zero_is_a_value():
    body = {"temperature": 0, "top_p": 0, "top_k": 40}
    assert config(body, OLD) == config(body, MID) == {"temperature": 0, "topP": 0, "topK": 40}
    dropped = translate(body, NEW)
    assert "generationConfig" not in dropped.request
    assert dropped.warnings == ["ignored:temperature", "ignored:top_p", "ignored:top_k"]
    assert translate({"top_k": -1}, OLD).request.get("generationConfig") is None


def test_null_is_absent_everywhere():
    names = """temperature top_p top_k n stop seed logprobs top_logprobs presence_penalty frequency_penalty logit_bias
        max_tokens max_completion_tokens reasoning_effort response_format tools tool_choice parallel_tool_calls
        functions function_call modalities audio service_tier web_search_options stream_options metadata user store
        safety_settings prediction verbosity google extra_body reasoning thinking usage moderation api_base
        unheard_of""".split()  # noqa: SIM905
    done = translate(dict.fromkeys(names))
    assert done.request == {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
    assert (done.warnings, done.choices, done.stop) == ([], 1, ())


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"temperature": 2.1}, "temperature"),
        ({"temperature": -1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"top_p": 1.01}, "top_p"),
        ({"top_k": -2}, "top_k"),
        ({"top_k": 1.5}, "top_k"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "10"}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"max_completion_tokens": -5}, "max_completion_tokens"),
        ({"n": 0}, "n"),
        ({"n": 9}, "n"),
        ({"n": "2"}, "n"),
        ({"stop": 5}, "stop"),
        ({"stop": ["a", 5]}, "stop[1]"),
        ({"seed": 1.5}, "seed"),
        ({"logprobs": "yes"}, "logprobs"),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"presence_penalty": 3}, "presence_penalty"),
        ({"reasoning_effort": "extreme"}, "reasoning_effort"),
        ({"reasoning_effort": 5}, "reasoning_effort"),
        ({"modalities": "text"}, "modalities"),
        ({"modalities": ["smell"]}, "modalities"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"service_tier": 5}, "service_tier"),
        ({"stream_options": []}, "stream_options"),
        ({"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
        ({"web_search_options": True}, "web_search_options"),
        ({"user": 5}, "user"),
        ({"user": "a\nb"}, "user"),
        ({"metadata": "x"}, "metadata"),
        ({"store": "x"}, "store"),
        ({"google": 5}, "google"),
        ({"extra_body": 5}, "extra_body"),
        ({"google": {"thinking_config": {"thinking_level": "extreme"}}}, "google.thinking_config.thinking_level"),
        ({"google": {"generation_config": {"temperature": 5}}}, "google.generation_config.temperature"),
        ({"google": {"cached_content": "../x"}}, "google.cached_content"),
        ({"safety_settings": "off"}, "safety_settings"),
        ({"safety_settings": [{"category": "HATE_SPEECH", "threshold": "x"}]}, "safety_settings[0].threshold"),
        ({"safety_settings": [{"category": "x", "threshold": "OFF"}]}, "safety_settings[0].category"),
    ],
)
def test_wrong_types_and_ranges_are_refused_by_path(body, param):
    error = refusal(body)
    assert (error.kind, error.param) == ("invalid_request", param)


@pytest.mark.parametrize("name", ["api_base", "base_url", "api_key", "headers", "extra_headers", "custom_llm_provider"])
def test_nothing_in_the_body_chooses_where_the_call_goes(name):
    assert (refusal({name: "x"}).kind, refusal({name: "x"}).param) == ("unsupported_parameter", name)
    assert refusal({"extra_body": {name: "x"}}).param == f"extra_body.{name}"


def test_output_limits():
    assert config({"max_tokens": 5000, "max_completion_tokens": 4000}) == {"maxOutputTokens": 4000}
    clamped = translate({"max_tokens": 10**9})
    assert clamped.request["generationConfig"]["maxOutputTokens"] == 65_536
    assert clamped.warnings == ["clamped:max_tokens"]
    assert config({"max_tokens": 5000}, max_output_tokens=3000)["maxOutputTokens"] == 3000
    assert config({}, max_output_tokens=3000)["maxOutputTokens"] == 3000


def test_a_tight_limit_without_a_wish_for_thoughts_thinks_least():
    assert config({"max_tokens": 100}, OLD)["thinkingConfig"] == {"thinkingBudget": 0}
    assert config({"max_tokens": 100}, NEW)["thinkingConfig"] == {"thinkingLevel": "LOW"}
    assert "thinkingConfig" not in config({"max_tokens": 5000}, NEW)


@pytest.mark.parametrize(("seed", "folded"), [(0, 0), (7, 7), (2**31, -(2**31)), (2**32 + 5, 5), (-1, -1), (3.0, 3)])
def test_seed_is_folded_into_32_bits(seed, folded):
    assert config({"seed": seed}) == {"seed": folded}


def test_several_choices_never_become_a_candidate_count():
    done = translate({"n": 3})
    assert done.choices == 3
    assert "generationConfig" not in done.request


def test_stop_sequences():
    assert config({"stop": "x"}) == {"stopSequences": ["x"]}
    assert config({"stop": []}) == config({"stop": ["", ""]}) == config({"stop": ""}) == {}
    many = translate({"stop": list("abcdefga")})
    assert many.request["generationConfig"]["stopSequences"] == list("abcde")
    assert many.stop == ("f", "g")


def test_logprobs_where_the_model_has_them():
    old = translate({"logprobs": True, "top_logprobs": 2}, OLD)
    assert old.request["generationConfig"] == {"responseLogprobs": True, "logprobs": 2}
    assert old.options.logprobs is True
    new = translate({"logprobs": True}, NEW)
    assert "generationConfig" not in new.request
    assert (new.options.logprobs, new.warnings) == (False, ["ignored:logprobs"])


@pytest.mark.parametrize(
    "body",
    [
        {"logit_bias": {"5": 1}},
        {"presence_penalty": 0.5},
        {"frequency_penalty": -1},
        {"verbosity": "low"},
        {"prediction": {"type": "content", "content": "x"}},
        {"unheard_of": 1},
        {"thinking_config": {"thinking_budget": 5}},
        {"system_instruction": "x"},
    ],
)
def test_what_gemini_lacks_is_ignored_and_named_or_refused_in_strict_mode(body):
    (name,) = body
    done = translate(body)
    assert done.request == request({})
    assert done.warnings == [f"ignored:{name}"]
    strict = refusal(body, strict=True)
    assert (strict.kind, strict.param) == ("unsupported_parameter", name)


def test_what_is_for_the_log_is_silent_even_in_strict_mode():
    body = {"user": "u", "safety_identifier": "s", "metadata": {"a": "b"}, "prompt_cache_key": "k", "store": False}
    done = translate({**body, "presence_penalty": 0, "logit_bias": {}}, strict=True)
    assert done.warnings == []
    assert done.options.echo_metadata is None
    assert translate({"metadata": {"a": "b"}, "store": True}).options.echo_metadata == {"a": "b"}


def test_warnings_are_safe_in_a_header_and_bounded():
    done = translate({f"a,b\r\nc\u00e9{n}": 1 for n in range(100)})
    assert len(done.warnings) == 32
    assert all(item.isascii() and item.isprintable() and "," not in item and " " not in item for item in done.warnings)


def test_a_moderation_that_should_block_is_refused():
    assert translate({"moderation": {"model": "m"}}).warnings == []
    error = refusal({"moderation": {"policy": {"input": {"mode": "block"}}}})
    assert (error.kind, error.param) == ("unsupported_parameter", "moderation.policy.input.mode")


@pytest.mark.parametrize(
    ("effort", "old", "new"),
    [
        ("none", {"thinkingBudget": 0}, {"thinkingLevel": "LOW"}),
        ("low", {"thinkingBudget": 1024, "includeThoughts": True}, {"thinkingLevel": "LOW", "includeThoughts": True}),
        (
            "high",
            {"thinkingBudget": 24576, "includeThoughts": True},
            {"thinkingLevel": "HIGH", "includeThoughts": True},
        ),
        ("max", {"thinkingBudget": 24576, "includeThoughts": True}, {"thinkingLevel": "HIGH", "includeThoughts": True}),
    ],
)
def test_reasoning_effort(effort, old, new):
    assert config({"reasoning_effort": effort}, OLD)["thinkingConfig"] == old
    done = translate({"reasoning_effort": effort}, NEW)
    assert done.request["generationConfig"]["thinkingConfig"] == new
    assert done.options.show_reasoning is (effort != "none")


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"reasoning": {"effort": "medium"}}, {"thinkingBudget": 8192, "includeThoughts": True}),
        ({"reasoning": {"effort": "medium", "exclude": True}}, {"thinkingBudget": 8192}),
        ({"reasoning": {"max_tokens": 2000}}, {"thinkingBudget": 2000, "includeThoughts": True}),
        ({"reasoning": {"enabled": False}}, {"thinkingBudget": 0}),
        ({"thinking": {"type": "enabled", "budget_tokens": 3000}}, {"thinkingBudget": 3000, "includeThoughts": True}),
        ({"thinking": {"type": "disabled"}}, {"thinkingBudget": 0}),
        (
            {
                "google": {"thinking_config": {"thinking_budget": 5, "include_thoughts": True}},
                "reasoning_effort": "high",
            },
            {"thinkingBudget": 5, "includeThoughts": True},
        ),
        (
            {"google": {"thinkingConfig": {"includeThoughts": False}}, "reasoning_effort": "high"},
            {"thinkingBudget": 24576},
        ),
        ({"extra_body": {"google": {"thinking_config": {"thinkingLevel": "low"}}}}, {"thinkingBudget": 1024}),
    ],
)
def test_other_words_for_thinking(body, expected):
    assert config(body, OLD)["thinkingConfig"] == expected


def test_the_model_names_suffix_thinks_and_the_body_wins():
    assert config({}, "gemini-2.5-flash-thinking")["thinkingConfig"] == {"thinkingBudget": -1, "includeThoughts": True}
    assert config({}, "gemini-2.5-flash-nothinking")["thinkingConfig"] == {"thinkingBudget": 0}
    asked = config({"reasoning_effort": "low"}, "gemini-2.5-flash-nothinking")["thinkingConfig"]
    assert asked == {"thinkingBudget": 1024, "includeThoughts": True}


def test_level_and_budget_never_go_together():
    both = {"google": {"thinking_config": {"thinking_level": "HIGH", "thinking_budget": 9}}}
    done = translate(both)
    assert done.request["generationConfig"]["thinkingConfig"] == {"thinkingLevel": "HIGH"}
    assert done.warnings == ["ignored:google.thinking_config.thinking_budget"]
    done = translate(both, "gemini-2.5-pro")
    assert done.request["generationConfig"]["thinkingConfig"] == {"thinkingBudget": 128}
    assert done.warnings == ["ignored:google.thinking_config.thinking_level"]


@pytest.mark.parametrize(
    "shape", [lambda google: {"google": google}, lambda google: {"extra_body": {"google": google}}]
)
def test_googles_own_vocabulary_in_both_shapes(shape):
    google = {
        "cached_content": "cachedContents/abc",
        "safetySettings": [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "off"}],
        "generation_config": {"topK": 5, "maxOutputTokens": 4000, "stop_sequences": ["x"], "mediaResolution": "low"},
        "tools": [{"urlContext": {}}],
        "aspect_ratio": "16:9",
        "unknown": 1,
    }
    done = translate(shape(google), OLD)
    assert done.request["cachedContent"] == "cachedContents/abc"
    assert done.request["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "OFF"}]
    assert done.request["tools"] == [{"urlContext": {}}]
    assert done.request["generationConfig"] == {
        "topK": 5,
        "maxOutputTokens": 4000,
        "stopSequences": ["x"],
        "imageConfig": {"aspectRatio": "16:9"},
        "mediaResolution": "MEDIA_RESOLUTION_LOW",
    }
    assert [item.rpartition(".")[2] for item in done.warnings] == ["unknown"]


def test_openais_place_wins_over_googles():
    google = {"generation_config": {"max_output_tokens": 9000, "responseMimeType": "application/json"}}
    assert config({"max_tokens": 4000, "google": google}) == {
        "maxOutputTokens": 4000,
        "responseMimeType": "application/json",
    }


def test_safety_settings_last_wins_and_the_deployments_default():
    listed = [
        {"category": "HATE_SPEECH", "threshold": "BLOCK_NONE"},
        {"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_ONLY_HIGH"},
        {"category": "HARM_CATEGORY_CIVIC_INTEGRITY", "threshold": "OFF"},
    ]
    done = translate({"safety_settings": listed}, safety_off=True)
    assert done.request["safetySettings"] == [{"category": "HARM_CATEGORY_HATE_SPEECH", "threshold": "BLOCK_ONLY_HIGH"}]
    off = [{"category": f"HARM_CATEGORY_{name}", "threshold": "OFF"} for name in CATEGORIES]
    assert request({}, safety_off=True)["safetySettings"] == off
    assert "safetySettings" not in request({})


@pytest.mark.parametrize(
    ("tier", "wire"),
    [("flex", "flex"), ("priority", "priority"), ("fast", "priority"), ("default", "standard"), ("auto", None)],
)
def test_service_tiers(tier, wire):
    done = translate({"service_tier": tier})
    assert done.request.get("serviceTier") == wire


def test_an_unknown_service_tier_is_ignored_and_named():
    assert translate({"service_tier": "on_demand"}).warnings == ["ignored:service_tier"]


def test_usage_in_streams():
    assert translate({"stream_options": {"include_usage": True}}).options.include_usage is True
    assert translate({"usage": {"include": True}}).options.include_usage is True
    assert translate({"stream_options": {"include_usage": False}}).options.include_usage is False


def test_images_out():
    named = translate(
        {"modalities": ["text", "image"], "image_config": {"aspect_ratio": "1:1", "image_size": "2K"}}, IMAGE
    )
    assert named.request["generationConfig"] == {
        "responseModalities": ["TEXT", "IMAGE"],
        "imageConfig": {"aspectRatio": "1:1", "imageSize": "2K"},
    }
    assert named.options.images_as_field is True
    silent = translate({}, IMAGE)
    assert silent.request["generationConfig"]["responseModalities"] == ["TEXT", "IMAGE"]
    assert silent.options.images_as_field is False


def test_speech_out():
    body = {"modalities": ["text", "audio"], "audio": {"voice": "echo", "format": "pcm16"}}
    done = translate(body, TTS)
    assert done.request["generationConfig"] == {"responseModalities": ["AUDIO"], "speechConfig": spoken("Puck")}
    assert done.options.audio_format == "pcm16"
    silent = translate({}, TTS)
    assert silent.request["generationConfig"]["speechConfig"] == spoken("Kore")
    assert silent.options.audio_format == "wav"
    assert config({"audio": {"voice": {"id": "zephyr"}}}, TTS)["speechConfig"] == spoken("Zephyr")
    assert refusal({"audio": {"voice": "nobody"}}, TTS).param == "audio.voice"
    assert refusal({"audio": {"format": "mp3"}}, TTS).param == "audio.format"
    assert translate({"audio": {"voice": "echo"}}).warnings == ["ignored:audio"]
    speech = {"speech_config": {"voice_config": {"prebuilt_voice_config": {"voice_name": "Puck"}}}}
    assert config({"google": {"generation_config": speech}}, TTS)["speechConfig"] == spoken("Puck")
    unspoken = translate({"google": {"generation_config": speech}})
    assert unspoken.warnings == ["ignored:google.generation_config.speech_config"]


def test_two_speakers_in_googles_words():
    voices = [{"speaker": name, "voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "puck"}}} for name in "AB"]
    google = {"generation_config": {"speech_config": {"multiSpeakerVoiceConfig": {"speakerVoiceConfigs": voices}}}}
    speakers = config({"google": google}, TTS)["speechConfig"]["multiSpeakerVoiceConfig"]["speakerVoiceConfigs"]
    assert speakers == [{"speaker": "A", **spoken("Puck")}, {"speaker": "B", **spoken("Puck")}]


def test_a_model_that_only_embeds_is_refused():
    assert refusal({}, "gemini-embedding-001").param == "model"


def test_the_same_body_always_gives_the_same_bytes_and_stays_untouched():
    body = {"messages": [HI], "tools": [WEATHER], "temperature": 0, "google": {"tools": [{"url_context": {}}]}}
    before = repr(body)
    assert repr(translate(body, OLD).request) == repr(translate(body, OLD).request)
    assert repr(body) == before
