"""Embeddings, and Imagen's `:predict` on today's models; each is metered by what the upstream says."""

import base64
import math

import pytest

EMBED = "/v1beta/models/gemini-embedding-001"
IMAGEN = "/v1beta/models/imagen-4.0-generate-001:predict"


def text(words="what is it"):
    return {"content": {"parts": [{"text": words}]}}


async def test_a_single_embedding_is_served_through_a_batch(world):
    got = await world.post(
        f"{EMBED}:embedContent", {**text(), "output_dimensionality": 8, "task_type": "semantic_similarity"}
    )
    assert got.status == 200
    assert len(got.json["embedding"]["values"]) == 8
    batch = next(row for row in world.sent if row["path"].endswith(":batchEmbedContents"))
    (request,) = batch["body"]["requests"]
    assert request["model"] == "models/gemini-embedding-001"
    assert (request["outputDimensionality"], request["taskType"]) == (8, "SEMANTIC_SIMILARITY")


async def test_a_model_without_usage_is_metered_by_the_upstreams_count(world):
    await world.post(
        f"{EMBED}:batchEmbedContents", {"requests": [{"model": "models/gemini-embedding-001", **text()}] * 2}
    )
    counted = next(row for row in world.sent if row["path"].endswith(":countTokens"))
    answer = await world.post(f"{EMBED}:countTokens", counted["body"])
    assert world.row.input_tokens == answer.json["totalTokens"] > 0
    assert world.row.cost_nano == world.row.input_tokens * 150
    assert not world.row.estimated


async def test_a_count_that_fails_is_an_estimate(world):
    world.emulator.script({"error": 400, "match": {"method": "countTokens"}})
    await world.post(f"{EMBED}:embedContent", text("x" * 41))
    assert (world.row.input_tokens, world.row.estimated) == (11, True)


async def test_a_model_with_usage_is_metered_by_it(world):
    got = await world.post("/v1beta/models/gemini-embedding-2:batchEmbedContents", {"requests": [text()]})
    assert world.row.input_tokens == got.json["usageMetadata"]["promptTokenCount"] > 0
    assert world.row.cost_nano == world.row.input_tokens * 200


async def test_a_batch_comes_back_byte_by_byte(world, monkeypatch):
    from infra.local.emulator import answers

    recorded = b'{"embeddings": [{"values": [1.0e-5, -0.250]}], "usageMetadata": {"promptTokenCount": 4}}'
    plain = answers.Answer(answers.Playback([answers.Write(recorded)]))
    monkeypatch.setattr(answers, "answer", lambda *_: plain)
    got = await world.post("/v1beta/models/gemini-embedding-2:batchEmbedContents", {"requests": [text()]})
    assert (got.content, world.row.input_tokens) == (recorded, 4)


async def test_vectors_of_a_retired_model_keep_their_length_and_norm(world):
    got = await world.post("/v1beta/models/text-embedding-004:embedContent", text())
    values = got.json["embedding"]["values"]
    assert len(values) == 768
    assert math.isclose(math.hypot(*values), 1)
    assert got.headers["x-gateway-warnings"] == "model:gemini-embedding-001"


@pytest.mark.parametrize("samples", [1, 4])
async def test_imagens_pictures_are_todays(world, samples):
    parameters = {"sampleCount": samples, "aspectRatio": "16:9", "personGeneration": "allow_adult"}
    got = await world.post(IMAGEN, {"instances": [{"prompt": "a robot"}], "parameters": parameters})
    assert got.status == 200
    predictions = got.json["predictions"]
    assert len(predictions) == samples == len(world.sent)
    for prediction in predictions:
        assert prediction["mimeType"] == "image/png"
        assert base64.b64decode(prediction["bytesBase64Encoded"]).startswith(b"\x89PNG")
    assert all(row["path"].startswith("/v1beta/models/gemini-3.1-flash-image:") for row in world.sent)
    config = world.sent[0]["body"]["generationConfig"]
    assert config == {"responseModalities": ["IMAGE"], "imageConfig": {"aspectRatio": "16:9"}}
    assert got.headers["x-gateway-warnings"] == "model:gemini-3.1-flash-image,ignored:parameters.personGeneration"
    assert world.row.modalities["out_IMAGE"] >= 1000 * samples


async def test_a_blocked_picture_says_why_in_its_place(world):
    world.emulator.script({"finish": "IMAGE_SAFETY"})
    got = await world.post(IMAGEN, {"instances": [{"prompt": "a robot"}], "parameters": {"sampleCount": 2}})
    kinds = sorted(key for prediction in got.json["predictions"] for key in prediction)
    assert kinds == ["bytesBase64Encoded", "mimeType", "raiFilteredReason"]


async def test_a_failure_of_one_picture_is_the_answers(world):
    # it waits until both have arrived: a request that is given up on its way would be seen by the next test
    world.emulator.script({"silence_ms": 200, "error": {"status": 400, "kind": "unknown_field"}})
    got = await world.post(IMAGEN, {"instances": [{"prompt": "a robot"}], "parameters": {"sampleCount": 2}})
    assert (got.status, got.json["error"]["status"], world.row.status) == (400, "INVALID_ARGUMENT", 400)
    assert len(world.sent) == 2


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"instances": []},
        {"instances": [{}]},
        {"instances": [{"prompt": "a"}, {"prompt": "b"}]},
        {"instances": [{"prompt": "a", "image": {"gcsUri": "gs://bucket/a.png"}}]},
        {"instances": [{"prompt": "a", "image": "iVBORw0KGgo="}]},
        {"instances": [{"prompt": "a", "referenceImages": [{"referenceId": 1}]}]},
        {"instances": [{"prompt": "a", "image": {"bytesBase64Encoded": "iVBORw0KGgo="}, "mask": {"image": {}}}]},
        {"instances": [{"prompt": "a"}], "parameters": {"sampleCount": 5}},
        {"instances": [{"prompt": "a"}], "parameters": {"sampleCount": "9" * 5_000}},
        {"instances": [{"prompt": "a"}], "parameters": {"aspectRatio": "7:1"}},
        {"instances": [{"prompt": "a"}], "parameters": {"aspectRatio": ["1:1"]}},
        {"instances": [{"prompt": "a"}], "parameters": []},
        {"instances": [{"prompt": "a"}], "parameters": [1]},
    ],
)
async def test_predictions_that_make_no_sense_are_refused(world, body):
    got = await world.post(IMAGEN, body)
    if body.get("parameters") == []:
        assert got.status == 200  # empty is unset
        return
    assert (got.status, got.json["error"]["status"]) == (400, "INVALID_ARGUMENT")
    assert world.sent == []


@pytest.mark.parametrize("names", [["日本"], ["é"], ["a" * 5000], [f"a{at}" for at in range(3000)]])
async def test_ignored_parameters_are_named_as_far_as_a_header_holds_them(world, names):
    parameters = {**dict.fromkeys(names, 1), "negativePrompt": "x"}
    got = await world.post(IMAGEN, {"instances": [{"prompt": "a"}], "parameters": {"seed": 1, **parameters}})
    warnings = got.headers["x-gateway-warnings"]
    assert got.status == 200 and "ignored:parameters.seed" in warnings
    assert warnings.isascii() and len(warnings) < 1000


async def test_a_model_of_text_predicts_nothing(world):
    got = await world.post("/v1beta/models/gemini-3.8-flash:predict", {"instances": [{"prompt": "a"}]})
    assert got.status == 404
