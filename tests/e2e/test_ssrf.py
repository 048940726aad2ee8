"""No link makes the gateway connect to an address that is not public: every class of address, counted at the address.

The requests run once, in a network namespace of their own (`ssrf_world.py`); the tests read what they led to.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import ssrf_world
from tests.e2e.ssrf_world import FORBIDDEN, HOPS, LITERALS, OTHER, PUBLIC, PUBLIC6
from tests.running import ROOT, clean_environment

Results = dict[str, dict[str, Any]]


@pytest.fixture(scope="module")
def results() -> Results:
    command = [str(Path(__file__).with_name("netns.sh")), sys.executable, "-m", ssrf_world.__name__]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


def test_a_connection_to_a_trap_would_be_seen(results: Results) -> None:
    assert results["control"]["bad"] == {"127.0.0.1": 1, "fd00:ec2::254": 1, "169.254.169.254": 1}


def test_nothing_but_public_addresses_was_ever_connected_to(results: Results) -> None:
    cases = {name: case for name, case in results.items() if name != "control"}
    assert {name: case["bad"] for name, case in cases.items() if case["bad"]} == {}
    assert len(cases) > 3 * len(FORBIDDEN) + len(LITERALS) + len(HOPS)


@pytest.mark.parametrize("address", FORBIDDEN)
def test_a_name_that_leads_inside_is_refused_and_nobody_connected_to(results: Results, address: str) -> None:
    for kind in ("name", "mixed", "https"):
        case = results[f"{kind} {address}"]
        assert (case["status"], case["code"]) == (400, "url_not_allowed")
        assert case["param"] == "messages[0].content[0].image_url.url"
        assert case["good"] == {}, "one bad address blocks the good one beside it"
        assert address not in case["message"]
        assert len(case["sent"]) == (1 if kind == "https" else 0), "the upstream's own try by https, and no other"


@pytest.mark.parametrize("url", LITERALS)
def test_a_disguised_address_is_refused(results: Results, url: str) -> None:
    case = results[f"literal {url}"]
    assert case["status"] == 400
    assert case["code"] == ("url_not_allowed" if ":" in url else "invalid_value")
    assert (case["good"], case["sent"]) == ({}, [])


@pytest.mark.parametrize("target", HOPS)
def test_a_redirect_inside_is_blocked_at_the_hop(results: Results, target: str) -> None:
    case = results[f"hop {target}"]
    assert (case["status"], case["code"]) == (400, "url_not_allowed")
    assert (case["good"], case["sent"]) == ({PUBLIC: 1}, [])


def test_a_resolver_that_changes_its_mind_changes_nothing(results: Results) -> None:
    assert (results["rebinding first"]["status"], results["rebinding first"]["good"]) == (200, {PUBLIC: 1})
    assert (results["rebinding second"]["code"], results["rebinding second"]["good"]) == ("url_not_allowed", {})
    for turn in range(6):
        case = results[f"in turn {turn}"]
        assert (case["status"], case["good"]) == ((400, {}) if turn % 2 else (200, {PUBLIC: 1}))


@pytest.mark.parametrize(("page", "connections"), [("loop", 4), ("page", 1), ("svg", 1)])
def test_pages_and_endless_redirects_are_no_media(results: Results, page: str, connections: int) -> None:
    case = results[page]
    assert (case["status"], case["code"]) == (400, "invalid_value")
    assert (case["good"], case["sent"]) == ({PUBLIC: connections}, [])


@pytest.mark.parametrize("dialect", ssrf_world.DIALECTS)
def test_every_dialect_refuses_and_fetches_alike(results: Results, dialect: str) -> None:
    bad, good = results[f"bad {dialect}"], results[f"good {dialect}"]
    assert bad["status"] == 400
    assert bad["kind"] == ("INVALID_ARGUMENT" if dialect == "native" else "invalid_request_error")
    assert good["good"] == {PUBLIC: 1}
    if dialect == "messages":
        assert good["status"] == 400, "by https, and nobody in this network has a certificate"
    else:
        assert (good["status"], good["sent"]) == (200, [["image/png"]])


def test_an_image_at_a_public_address_is_inlined(results: Results) -> None:
    for case, hits in (("image", [PUBLIC]), ("image by IPv6", [PUBLIC6]), ("moved image", [PUBLIC, OTHER])):
        assert (results[case]["status"], results[case]["sent"]) == (200, [["image/png"]])
        assert results[case]["good"] == dict.fromkeys(hits, 1)


def test_the_server_learns_nothing_of_the_client(results: Results) -> None:
    (said,) = results["image"]["said"]
    head = said.split("\r\n\r\n")[0].split("\r\n")
    assert head[0] == "GET /a.png HTTP/1.1"
    names = {line.partition(":")[0] for line in head[1:]}
    assert names <= {"host", "accept", "accept-encoding", "user-agent", "connection"}
    assert "host: img.example.com" in head
    assert not any("cookie" in line for hop in results["moved image"]["said"] for line in hop.lower().split("\r\n"))


def test_tls_is_opened_to_the_judged_address_for_the_name(results: Results) -> None:
    case = results["tls"]
    assert (case["status"], case["code"], case["good"]) == (400, "invalid_value", {PUBLIC: 1})
    (greeting,) = case["said"]
    assert greeting.startswith("\x16\x03")
    assert "img.example.com" in greeting
    assert PUBLIC not in greeting


def test_https_is_left_to_google_where_google_can(results: Results) -> None:
    case = results["left to Google"]
    assert (case["status"], case["good"], case["sent"]) == (200, {}, [["https://img.example.com/a.png"]])


def test_a_key_without_the_feature_makes_nobody_fetch(results: Results) -> None:
    case = results["key that may not"]
    assert (case["status"], case["code"], case["kind"]) == (403, "feature_not_allowed", "permission_error")
    assert (case["good"], case["sent"]) == ({}, [])
    late = results["key that may not, after Google"]
    assert (late["status"], late["good"], len(late["sent"])) == (400, {}, 1)
    assert "Cannot fetch content" in late["message"]


def test_eight_links_are_fetched_and_nine_are_too_many(results: Results) -> None:
    assert (results["eight links"]["status"], results["eight links"]["good"]) == (200, {PUBLIC: 8})
    case = results["nine links"]
    assert (case["status"], case["code"], case["good"], case["sent"]) == (400, "invalid_value", {}, [])
