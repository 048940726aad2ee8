"""GIFs in a request leave it as PNGs, or the request is refused."""

import base64
import subprocess
import sys
from pathlib import Path

import pytest

from shared.dialects.anthropic_messages import stills
from shared.dialects.anthropic_messages.errors import render_error
from shared.gemini.gif import first_frame_png
from tests.unit.anthropic_messages.request_setup import (
    HI,
    NEW,
    OLD,
    WEATHER,
    assistant,
    contents,
    image,
    refusal,
    responses_of,
    result,
    use,
    user,
)
from tests.unit.gif_files import Gif

RED_AND_BLUE = b"\xff\0\0\0\0\xff"
WHOLE = Gif(3, 2, [0, 1, 0, 1, 0, 1], 2, RED_AND_BLUE, after=b"!\xf9\x04\x04\0\0\0\0,a second frame;").data
HUGE = WHOLE[:6] + b"\xff\xff\xff\xff" + WHOLE[10:]


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


GIF = encoded(WHOLE)
PNG_PART = {"inlineData": {"mimeType": "image/png", "data": encoded(first_frame_png(WHOLE)[0])}}


@pytest.mark.parametrize("model", [OLD, NEW])
@pytest.mark.parametrize(
    "block",
    [
        image(GIF, "image/gif"),
        image(GIF, "image/png"),  # mislabelled
        image(f"data:image/gif;base64,{GIF}", "image/gif"),
        {"type": "image", "source": {"type": "url", "url": f"data:image/gif;base64,{GIF}"}},
        {"type": "document", "source": {"type": "content", "content": [image(GIF, "image/gif")]}},
        {"type": "document", "source": {"type": "base64", "media_type": "image/gif", "data": GIF}},
    ],
)
def test_the_first_frame_is_sent_as_png(model, block):
    (content,) = contents([user(block)], model)
    assert content["parts"] == [PNG_PART]


def test_a_gif_in_a_tool_result_stays_inside_it():
    history = [HI, assistant(use("toolu_1")), user(result("toolu_1", [image(GIF, "image/gif")]))]
    (response,) = responses_of(contents(history, body={"tools": [WEATHER]}))
    assert response["parts"] == [PNG_PART]
    assert response["response"] == {"result": "(attached: image/png)"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (WHOLE[:30], "cut off"),
        (WHOLE[:13], "cut off"),
        (WHOLE[:6] + bytes(40), "no frame|cut off"),
        (HUGE, "more than 4000000 pixels"),
    ],
)
def test_what_cannot_be_shown_is_a_400_that_says_where(data, words):
    error = refusal({"messages": [user(image(), image(encoded(data), "image/gif"))]})
    status, body, _ = render_error(error, "r1")
    assert (status, body["type"], body["error"]["type"]) == (400, "error", "invalid_request_error")
    where, _, said = body["error"]["message"].partition(": ")
    assert where == "messages.0.content.1.source.data"
    assert any(word in said for word in words.split("|"))


def test_many_gifs_share_one_limit(monkeypatch):
    monkeypatch.setattr(stills, "MAX_GIF_PIXELS", 3 * 6)
    three = [image(GIF, "image/gif")] * 3
    assert len(contents([user(*three)])[0]["parts"]) == 3
    assert refusal({"messages": [user(*three), HI, user(*three)]}).param == "messages[2].content[0].source.data"


def test_the_decoder_is_imported_only_for_a_gif():
    code = (
        "import sys; from datetime import date; from shared.dialects.contract import RequestContext;"
        "from shared.dialects.anthropic_messages import to_gemini; from shared.gemini.catalog import resolve;"
        "context = RequestContext(resolve('gemini-3.8-flash', date(2026, 11, 21)), {});"
        "block = lambda data: {'type': 'image', 'source': {'type': 'base64', 'data': data}};"
        "send = lambda data: to_gemini({'model': 'gemini-3.8-flash', 'max_tokens': 9,"
        " 'messages': [{'role': 'user', 'content': [block(data)]}]}, context);"
        "name = 'shared.gemini.gif'; send(sys.argv[1]); before = name in sys.modules; send(sys.argv[2]);"
        "print(before, name in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, encoded(first_frame_png(WHOLE)[0]), GIF],
        cwd=Path(__file__).resolve().parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "True"]
