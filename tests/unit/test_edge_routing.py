"""Which function URL a request reaches through CloudFront's behaviours, and what arrives there."""

import pytest

from infra.local.edge_routing import Behaviour, Distribution, Origin, route
from infra.local.url_event import Refusal, UrlRequest

CHAT, MODELS = "chat.lambda-url.us-east-1.on.aws", "models.lambda-url.us-east-1.on.aws"
FRONT = Distribution(
    domain="d1.cloudfront.net",
    origins={
        "Chat": Origin(CHAT, {"X-Origin-Verify": "secret"}),
        "Models": Origin(MODELS, {}),
        "Gone": Origin("gone.lambda-url.us-east-1.on.aws", {}),
    },
    behaviours=[
        Behaviour("/v1/models/*:*", "Chat"),
        Behaviour("v1/models*", "Models"),
        Behaviour("/gone", "Gone"),
    ],
    default="Chat",
)


def request(target: str, *headers: tuple[str, str], host: str = "localhost:8081") -> UrlRequest:
    return UrlRequest("POST", target, [("Host", host), *headers], b"body", "192.0.2.7")


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("/v1/models*", "/v1/models", True),
        ("/v1/models*", "/v1/models/a/b", True),
        ("v1/models", "/v1/models", True),
        ("/v1/models", "/v1/models/", False),
        ("/v1/models", "/V1/models", False),
        ("/v?/x", "/v1/x", True),
        ("/v?/x", "/v/x", False),
        ("/v?/x", "/v12/x", False),
        ("/a.b", "/aXb", False),
        ("*", "/anything", True),
        ("/", "/", True),
        ("/", "//", False),
        ("/v1/models/*:*", "/v1/models/m%2Fx:generateContent", True),
    ],
)
def test_patterns(pattern: str, path: str, matches: bool) -> None:
    assert Behaviour(pattern, "x").matches(path) is matches


@pytest.mark.parametrize(
    ("target", "host"),
    [
        ("/v1/models?key=a:b", MODELS),  # the query does not count
        ("/v1/models/gemini:countTokens", CHAT),  # the first pattern that matches wins
        ("/elsewhere", CHAT),
    ],
)
def test_behaviours_lead_to_origins(target: str, host: str) -> None:
    routed = route(request(target), [CHAT, MODELS], FRONT)
    assert not isinstance(routed, Refusal)
    assert (routed[0], routed[1].target) == (host, target)


def test_the_origins_headers_replace_the_clients() -> None:
    routed = route(request("/x", ("x-origin-verify", "forged"), ("Authorization", "Bearer k")), [CHAT], FRONT)
    assert not isinstance(routed, Refusal)
    _, forwarded = routed
    assert sorted(forwarded.headers) == [("Authorization", "Bearer k"), ("host", CHAT), ("x-origin-verify", "secret")]
    assert (forwarded.method, forwarded.body, forwarded.source_ip) == ("POST", b"body", "192.0.2.7")


def test_a_function_urls_own_host_leads_past_cloudfront() -> None:
    direct = request("/v1/models", ("x-origin-verify", "forged"), host=f"{CHAT.upper()}:443")
    assert route(direct, [CHAT, MODELS], FRONT) == (CHAT, direct)


def test_without_a_distribution_the_only_url_takes_all() -> None:
    routed = route(request("/v1/models"), [CHAT], None)
    assert not isinstance(routed, Refusal)
    assert (routed[0], routed[1].headers) == (CHAT, [("host", CHAT)])
    assert route(request("/v1/models"), [CHAT, MODELS], None) == Refusal(
        404, "several function URLs and no distribution: name one by the Host header"
    )


def test_what_does_not_exist_is_refused() -> None:
    nowhere = request("/", host="nobody.lambda-url.us-east-1.on.aws")
    assert route(nowhere, [CHAT], FRONT) == Refusal(403, "Forbidden")
    gone = route(request("/gone"), [CHAT, MODELS], FRONT)
    assert isinstance(gone, Refusal)
    assert gone.status == 502
