"""Every native sample of the vendor documents that this project follows, as it stands there, with a Bearer key."""

import base64

import pytest

from tests.unit.gemini_native.conftest import KEY

TEXT = "gemini-2.5-flash-lite"
IMAGE = "gemini-2.5-flash-image"
IMAGEN = "imagen-4.0-generate-001"
SPEECH = "gemini-2.5-flash-preview-tts"
EMBEDDING = "gemini-embedding-001"
TEST_SENTENCE = "你好,这是一个语音合成测试。"


def user(text, **config):
    body = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
    return body | ({"generationConfig": {"responseModalities": ["AUDIO"], **config}} if config else {})


def voice(name):
    return {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": name}}}


DIALOGUE = (
    "TTS the following conversation between Joe and Jane:\n"
    "Joe: How are you today Jane?\nJane: I am doing great, thanks for asking!"
)
SPEAKERS = [{"speaker": "Joe", **voice("Charon")}, {"speaker": "Jane", **voice("Kore")}]


@pytest.fixture
def send(world):
    async def post(model, method, body):
        answer = await world.post(f"/v1beta/models/{model}:{method}", body, headers={"authorization": f"Bearer {KEY}"})
        assert answer.status == 200, answer.content
        assert world.row.status == 200 and world.row.cost_nano > 0
        return answer

    return post


def parts(chunks):
    return [part for chunk in chunks for part in chunk["candidates"][0].get("content", {}).get("parts", [])]


async def test_text(send):
    answer = await send(TEXT, "generateContent", user("你好,最近怎么样?"))
    assert "你好" in parts([answer.json])[-1]["text"]


async def test_streamed_text(send):
    answer = await send(TEXT, "streamGenerateContent?alt=sse", user("写一首关于秋天的诗"))
    assert answer.headers["content-type"] == "text/event-stream"
    assert "秋天" in "".join(part.get("text", "") for part in parts(answer.events))


@pytest.mark.parametrize("method", ["generateContent", "streamGenerateContent?alt=sse"])
async def test_a_picture(send, method):
    answer = await send(IMAGE, method, user("生成一只小猫"))
    chunks = answer.events if "sse" in method else [answer.json]
    (picture,) = [part["inlineData"] for part in parts(chunks) if "inlineData" in part]
    assert base64.b64decode(picture["data"]).startswith(b"\x89PNG")


@pytest.mark.parametrize(("prompt", "count"), [("机器人手持红色滑板", 1), ("夕阳下的未来城市,天空中有飞行汽车", 4)])
async def test_imagen(send, prompt, count):
    answer = await send(IMAGEN, "predict", {"instances": [{"prompt": prompt}], "parameters": {"sampleCount": count}})
    assert len(answer.json["predictions"]) == count
    assert answer.headers["x-gateway-warnings"] == "model:gemini-3.1-flash-image"


@pytest.mark.parametrize(
    "body",
    [
        user(TEST_SENTENCE, responseModalities=["AUDIO"]),
        user(TEST_SENTENCE, speechConfig=voice("Kore")),
        user(DIALOGUE, speechConfig={"multiSpeakerVoiceConfig": {"speakerVoiceConfigs": SPEAKERS}}),
    ],
    ids=["default voice", "one voice", "two speakers"],
)
async def test_speech(send, world, body):
    answer = await send(SPEECH, "generateContent", body)
    (sound,) = parts([answer.json])
    assert sound["inlineData"]["mimeType"].startswith("audio/L16;codec=pcm;rate=24000")
    assert len(base64.b64decode(sound["inlineData"]["data"])) > 1000
    assert world.row.modalities["out_AUDIO"] > 0


@pytest.mark.parametrize("texts", [["什么是人工智能?"], ["什么是人工智能?", "机器学习和深度学习有什么区别?"]])
async def test_embeddings(send, texts):
    requests = [{"model": f"models/{EMBEDDING}", "content": {"parts": [{"text": text}]}} for text in texts]
    answer = await send(EMBEDDING, "batchEmbedContents", {"requests": requests})
    assert [len(embedding["values"]) for embedding in answer.json["embeddings"]] == [3072] * len(texts)
