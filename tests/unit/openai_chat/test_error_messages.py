"""What a refusal of OpenAI's dialects says to somebody who sees its message alone, as the Node SDK shows it."""

import pytest

from shared.dialects.openai.errors import render_error
from shared.errors import ErrorKind, GatewayError


@pytest.mark.parametrize(
    ("kind", "said", "param", "shown"),
    [
        ("invalid_request", "Expected a number here.", "n", "n: Expected a number here."),
        ("invalid_request", "Expected an array here.", "messages[0].x", "messages[0].x: Expected an array here."),
        ("url_not_allowed", "Only https.", "input[0].url", "input[0].url: Only https."),
        ("invalid_request", "A model is needed.", "model", "A model is needed."),
        ("unsupported_parameter", "Unsupported parameter: 'top_k'.", "top_k", "Unsupported parameter: 'top_k'."),
        ("not_found", "No such file.", "id", "No such file."),
    ],
)
def test_a_message_names_the_place_at_fault_once(kind: ErrorKind, said: str, param: str, shown: str) -> None:
    _, body, _ = render_error(GatewayError(kind, said, param=param), "R")
    assert (body["error"]["message"], body["error"]["param"]) == (f"{shown} (request id: R)", param)


def test_words_that_clients_know_stay_as_they_are() -> None:
    known = GatewayError("invalid_request", "Previous response.", param="previous_response_id", reason="not_found")
    assert render_error(known, "R")[1]["error"]["message"] == "Previous response. (request id: R)"
