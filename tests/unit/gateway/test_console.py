"""The console's page, files and figures over HTTP, on stores in memory."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from msgspec.structs import replace

from shared.gateway.auth import Authenticator
from shared.gateway.console import assets as console_assets
from shared.gateway.console.assets import Assets
from shared.gateway.console.page import money
from shared.gateway.console.routes import POLICY, console_routes
from shared.gateway.control import build_control_app
from shared.gateway.control_access import ControlPlane
from shared.gateway.key_registry import KeyRegistry
from shared.gateway.keyring import KeyDirectory, key_hash, make_key
from shared.stores.protocols import KeyRecord, StoreUnavailable
from shared.stores.usage_protocols import UsageTotal

PEPPER = b"pepper"
STATIC = Path(console_assets.__file__).parent / "static"


def record(letter, name, **more):
    kid = letter * 16
    base = KeyRecord(kid=kid, acct=kid, hash=key_hash(PEPPER, letter * 43), pepper_id="p1", name=name, created_at=1)
    return replace(base, **more)


def text_of(one):
    return make_key(one.kid, one.kid[0] * 43)


ADMIN = record("A", "operator", endpoints=("admin",))
TEAM = record("T", "Team <b>&\"'", budget_period="month", budget_limit_nano=2_000_000_000, created_at=2)
TEAM_ROTATED = record(
    "R", TEAM.name, acct=TEAM.acct, budget_period="month", budget_limit_nano=2_000_000_000, created_at=3
)
OTHER = record("O", "other", created_at=4)


def used(day, model, requests, errors, cost_nano):
    return UsageTotal(day, model, requests, errors, 1_000 * requests, 0, 100 * requests, 10 * requests, cost_nano)


class Stores:
    """Registry, peppers and usage; `down` makes the usage fail. Pages of one key each, so that every page counts."""

    def __init__(self):
        self.records = {one.kid: one for one in (ADMIN, TEAM, TEAM_ROTATED, OTHER)}
        self.down = False
        self.totals = {
            TEAM.acct: [used("20270101", "gemini-a", 4, 1, 1_000_000_001), used("20270103", "gemini-b", 2, 0, 5)],
            OTHER.acct: [used("20270103", "gemini-a", 1, 0, 1_234_000_000_000)],
        }

    async def resolve(self, kid):
        return self.records.get(kid)

    async def page(self, cursor=None):
        kids = list(self.records)
        at = int(cursor or 0)
        return [self.records[kids[at]]], str(at + 1) if at + 1 < len(kids) else None

    async def pepper(self, pepper_id=None):
        return "p1", PEPPER

    async def daily(self, acct, first_day, last_day):
        if self.down:
            raise StoreUnavailable("down", retry_after=3)
        return [total for total in self.totals.get(acct, ()) if first_day <= total.day <= last_day]

    async def balance(self, acct):
        assert acct == TEAM.acct
        return {"limit_nano": 2_000_000_000, "spent_nano": 1_000_000_006, "available_nano": 999_999_994, "holds": 3}


@pytest.fixture
def stores():
    return Stores()


@pytest.fixture
async def client(stores):
    plane = ControlPlane(
        Authenticator(KeyDirectory(stores, stores, lambda: 100.0)),
        KeyRegistry(stores, stores, None),
        stores,
        None,
        addresses={"messages": "https://m.example"},
    )
    app = build_control_app(plane, console_routes(plane))
    transport = httpx.ASGITransport(app=app, client=("192.0.2.1", 1234))
    async with httpx.AsyncClient(transport=transport, base_url="https://gateway.example") as opened:
        yield opened


def bearer(one):
    return {"authorization": f"Bearer {text_of(one)}"}


RANGE = {"from": "2027-01-01", "to": "2027-01-03"}


class Page(HTMLParser):
    """What the browser would load, and what could be inline."""

    def __init__(self, html):
        super().__init__()
        self.loaded, self.inline, self.ids, self.labels, self.fields = [], [], [], set(), []
        self.within = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.within = tag
        for name in ("src", "href"):
            if tag in ("script", "link", "img") and name in attributes:
                self.loaded.append(attributes[name])
        self.inline += [name for name in attributes if name == "style" or name.startswith("on")]
        if "id" in attributes:
            self.ids.append(attributes["id"])
        if tag == "label" and "for" in attributes:
            self.labels.add(attributes["for"])
        if tag in ("input", "select") and "id" in attributes:
            self.fields.append(attributes["id"])

    def handle_endtag(self, tag):
        self.within = ""

    def handle_data(self, data):
        if self.within in ("script", "style") and data.strip():
            self.inline.append(data)


async def test_the_page_loads_its_own_files_only_and_holds_nothing_inline(client):
    answer = await client.get("/console")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-request-id"]
    assert "set-cookie" not in answer.headers
    page = Page(answer.text)
    assert page.inline == []
    assert len(page.ids) == len(set(page.ids))
    files = [url for url in page.loaded if url != "data:,"]
    assert len(files) == 4
    for url in files:
        assert (await client.get(url)).status_code == 200, url


def test_the_policy_lets_nothing_in_from_elsewhere():
    directives = dict(part.split(" ", 1) for part in POLICY.split("; "))
    assert directives["default-src"] == "'none'"
    assert directives["frame-ancestors"] == directives["base-uri"] == "'none'"
    for name in ("script-src", "style-src", "connect-src", "form-action"):
        assert directives[name] == "'self'"
    assert directives["img-src"] == "'self' data:"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("console.js", "text/javascript; charset=utf-8"),
        ("uPlot.iife.min.js", "text/javascript; charset=utf-8"),
        ("console.css", "text/css; charset=utf-8"),
        ("uPlot.LICENSE.txt", "text/plain; charset=utf-8"),
    ],
)
async def test_files_are_kept_for_a_year_under_the_name_of_their_content(client, name, media_type):
    answer = await client.get(Assets().url(name))
    assert (answer.status_code, answer.headers["content-type"]) == (200, media_type)
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.content == (STATIC / name).read_bytes()


@pytest.mark.parametrize(
    "path",
    [
        "/console/assets/0000000000000000/console.js",
        f"/console/assets/{Assets().version}/app.html",
        f"/console/assets/{Assets().version}/..%2froutes.py",
        f"/console/assets/{Assets().version}/%2e%2e",
    ],
)
async def test_what_is_no_file_of_this_release_is_never_kept(client, path):
    answer = await client.get(path)
    assert answer.status_code == 404
    assert answer.headers["cache-control"] == "no-store"


def test_any_changed_file_moves_every_address(tmp_path):
    for path in STATIC.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    assert Assets(tmp_path).version == Assets().version
    (tmp_path / "money.js").write_bytes(b"//")
    assert Assets(tmp_path).version != Assets().version


def test_every_module_that_a_module_imports_is_there_and_nothing_comes_from_outside():
    for path in STATIC.glob("*.js"):
        if path.name.startswith("uPlot"):
            continue
        source = path.read_text("utf-8")
        for name in re.findall(r'from "([^"]+)"', source):
            assert name.startswith("./"), (path.name, name)
            assert (STATIC / name[2:]).is_file(), (path.name, name)
        assert "://" not in source
        assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|\beval\b|localStorage|cookie", source)


async def test_an_admin_sees_every_account_once(client):
    answer = await client.get("/console/overview", params=RANGE, headers=bearer(ADMIN))
    body = answer.json()
    assert answer.headers["cache-control"] == "no-store"
    assert (body["role"], body["from"], body["to"]) == ("admin", "2027-01-01", "2027-01-03")
    assert body["addresses"] == {"messages": "https://m.example"}
    assert {account["kid"]: account["kids"] for account in body["accounts"]} == {
        OTHER.kid: [OTHER.kid],
        TEAM.kid: [TEAM_ROTATED.kid, TEAM.kid],
    }
    team = next(account for account in body["accounts"] if account["kid"] == TEAM.kid)
    assert (team["budget_period"], team["limit_nano_usd"], team["spent_nano_usd"], team["holds"]) == (
        "month",
        2_000_000_000,
        1_000_000_006,
        3,
    )
    lines = [(line["day"], line["kid"], line["model"], line["cost_nano_usd"]) for line in body["data"]]
    assert sorted(lines) == [
        ("2027-01-01", TEAM.kid, "gemini-a", 1_000_000_001),
        ("2027-01-03", OTHER.kid, "gemini-a", 1_234_000_000_000),
        ("2027-01-03", TEAM.kid, "gemini-b", 5),
    ]
    assert body["total"]["cost_nano_usd"] == 1_235_000_000_006
    assert (body["total"]["requests"], body["total"]["errors"]) == (7, 1)


async def test_a_client_sees_its_own_account_only(client):
    answer = await client.get("/console/overview", params=RANGE, headers=bearer(OTHER))
    body = answer.json()
    assert (body["role"], body["name"]) == ("client", "other")
    assert [account["kid"] for account in body["accounts"]] == [OTHER.kid]
    assert {line["kid"] for line in body["data"]} == {OTHER.kid}
    assert TEAM.kid not in answer.text


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "20270101"}, "to"),
        ({"from": "2027-01-02", "to": "2027-01-01"}, "from"),
        ({"from": "2025-01-01", "to": "2027-01-01"}, "from"),
    ],
)
async def test_a_range_that_is_none_is_refused_by_name(client, params, param):
    answer = await client.get("/console/overview", params=params, headers=bearer(ADMIN))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


@pytest.mark.parametrize("headers", [{}, {"authorization": "Bearer nonsense"}, bearer(record("X", "unknown"))])
async def test_figures_want_a_key(client, headers):
    answer = await client.get("/console/overview", headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")


async def test_a_key_bound_to_addresses_is_bound_here_too(client, stores):
    stores.records[OTHER.kid] = replace(OTHER, ip_allow=("198.51.100.0/24",))
    assert (await client.get("/console/overview", headers=bearer(OTHER))).status_code == 403
    assert (await client.post("/console", data={"key": text_of(OTHER)})).status_code == 403


async def test_a_posted_key_gets_the_totals_back_and_never_itself(client):
    answer = await client.post("/console", params=RANGE, data={"key": f" {text_of(ADMIN)}\n"})
    assert answer.status_code == 200
    assert answer.headers["content-security-policy"] == POLICY
    assert answer.headers["cache-control"] == "no-store"
    assert "set-cookie" not in answer.headers
    html = answer.text
    assert text_of(ADMIN) not in html
    assert "A" * 43 not in html
    assert "$1,235.000000006" in html  # the total, exact
    assert "$1.000000006 of $2.00 this month" in html
    assert '<progress max="100" value="50"' in html
    assert "Team &lt;b&gt;&amp;&quot;&#x27;" in html
    assert "<b>" not in html
    assert "2027-01-02: $0.00" in html  # a day without use has its place in the chart
    assert Page(html).inline == []
    assert html.count("<h1") == 1 + 1  # the totals', and that of the part which waits for script


async def test_a_client_posting_its_key_sees_its_own_totals(client):
    html = (await client.post("/console", params=RANGE, data={"key": text_of(OTHER)})).text
    assert "Usage of other" in html
    assert "$1,234.00" in html
    assert "gemini-b" not in html


@pytest.mark.parametrize("text", ["", "wrong", "ключ", "a\r\nb", "x" * 300])
async def test_a_wrong_key_gets_the_form_again_with_the_reason(client, text):
    answer = await client.post("/console", data={"key": text})
    assert answer.status_code == 401
    assert "Incorrect API key provided." in answer.text
    assert '<form method="post" action="/console"' in answer.text
    assert "server-totals" not in answer.text


async def test_the_form_counts_whatever_else_the_browser_sends(client):
    """Headers of the browser's own, such as a stray Authorization, neither help nor hurt."""
    stray = {"authorization": "Basic Zm9vOmJhcg=="}
    assert (await client.post("/console", data={"key": text_of(OTHER)}, headers=stray)).status_code == 200
    assert (await client.post("/console", data={"key": "wrong"}, headers=bearer(ADMIN))).status_code == 401


@pytest.mark.parametrize(
    ("site", "status"), [("same-origin", 200), ("none", 200), ("cross-site", 403), ("same-site", 403)]
)
async def test_another_sites_form_is_refused(client, site, status):
    answer = await client.post("/console", data={"key": text_of(OTHER)}, headers={"sec-fetch-site": site})
    assert answer.status_code == status


async def test_bodies_that_are_no_small_form(client):
    assert (await client.post("/console", json={"key": text_of(OTHER)})).status_code == 415
    assert (await client.post("/console", data={"key": "x" * 5_000})).status_code == 413
    refused = await client.put("/console", data={"key": "x"})
    assert refused.status_code == 405
    assert set(refused.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}


async def test_stores_that_are_down_say_when_to_come_back(client, stores):
    stores.down = True
    shown = await client.post("/console", data={"key": text_of(ADMIN)})
    assert (shown.status_code, shown.headers["retry-after"]) == (503, "3")
    assert "The usage cannot be read now." in shown.text
    told = await client.get("/console/overview", headers=bearer(ADMIN))
    assert (told.status_code, told.json()["error"]["code"], told.headers["retry-after"]) == (503, "unavailable", "3")


async def test_an_empty_deployment_has_a_page_too(client, stores):
    stores.totals = {}
    html = (await client.post("/console", params=RANGE, data={"key": text_of(ADMIN)})).text
    assert "Nothing yet." in html
    assert "<dd>none</dd>" in html  # no requests have no error rate


async def test_the_trailing_slash_leads_to_the_page(client):
    answer = await client.get("/console/")
    assert (answer.status_code, answer.headers["location"]) == (308, "/console")


async def test_the_page_labels_what_can_be_filled_in(client):
    html = (await client.get("/console")).text
    page = Page(html)
    alone = [name for name in page.fields if name not in page.labels]
    for name in alone:  # these stand inside their label
        assert re.search(rf"<label[^>]*>[^<]*<input[^>]*id=\"{name}\"", html), name
    assert {"key", "key-name", "key-budget"} <= page.labels
    assert '<html lang="en">' in html
    assert 'aria-live="polite"' in html


@pytest.mark.parametrize("client_name", ["Claude Code", "Codex", "Gemini CLI", "Cursor", "Open WebUI"])
async def test_every_client_has_its_snippet(client, client_name):
    html = (await client.get("/console")).text
    snippet = html.split(f'data-client="{client_name}"')[1].split("</details>")[0]
    assert "GATEWAY_URL" in snippet
    assert "YOUR_KEY" in snippet


@pytest.mark.parametrize(
    ("nano", "text"),
    [
        (0, "$0.00"),
        (1, "$0.000000001"),
        (12_500_000_000, "$12.50"),
        (-345_000, "-$0.000345"),
        (9_007_199_254_740_993, "$9,007,199.254740993"),
    ],
)
def test_money_is_exact(nano, text):
    assert money(nano) == text


def test_the_vendored_chart_library_keeps_its_licence():
    licence = (STATIC / "uPlot.LICENSE.txt").read_text("utf-8")
    assert "MIT License" in licence
    assert "Leon Sorokin" in licence
    assert b"uPlot" in (STATIC / "uPlot.iife.min.js").read_bytes()[:300]


async def test_figures_are_integers_on_the_wire(client):
    answer = await client.get("/console/overview", params=RANGE, headers=bearer(ADMIN))
    amounts = re.findall(r'"\w+_nano_usd":([^,}\]]+)', answer.text)
    assert amounts
    assert all(amount == "null" or amount.isdigit() for amount in amounts)
    assert not any(isinstance(value, float) for value in json.loads(answer.text)["total"].values())
