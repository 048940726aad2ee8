"""The console as a person meets it: a real Chromium on a running gateway, driven by Playwright: by mouse, by keyboard,
on a phone, without script. Screenshots of both themes are left in `.build/console`."""

import json
import re
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from tests.browser import opened, running_chromium
from tests.clients.installation import installed
from tests.running import ROOT, running_gateway

SHOTS = ROOT / ".build" / "console"
MODEL = "gemini-2.5-flash"
NASTY = '<img src=x onerror="document.title=1"> & co'


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with running_gateway(tmp_path_factory.mktemp("console") / "state", {}) as running:
        yield running


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with running_chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture
def browser(chromium, gateway):
    """A window at the sign-in; when the test is done, its console has said nothing."""
    with at_the_sign_in(chromium, gateway) as window:
        yield window


@contextmanager
def at_the_sign_in(chromium, gateway, **kind):
    with opened(chromium, **kind) as window:
        window.open(f"{gateway.base_url}/console")
        window.requested()
        yield window
        # an error status that a test provoked is told under `network`; refusals of the policy and exceptions are not
        assert [text for source, text in window.said() if source != "network"] == []


def sign_in(browser, key):
    browser.type("#key", key)
    browser.click("#sign-in button")
    browser.sees("#who", "Sign out")
    browser.sees("#request-note", "requests read match")


def ask(gateway, key, text="hello"):
    """The status of one chat completion with the key."""
    body = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{gateway.base_url}/v1/chat/completions", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def row_of(kid):
    return f'#key-table tr[data-kid="{kid}"]'


def kid_of(key):
    return key.split("_")[1]


def create(browser, name, **fields):
    """Through the dialog; the text of the new key."""
    browser.click("#key-new")
    browser.type("#key-name", name)
    for field, value in fields.items():
        browser.type(f"#key-{field}", value)
    browser.click("#key-form button[value=save]")
    browser.sees("#issued-title", name)
    key = browser.text("#issued-key")
    assert re.fullmatch(r"sk-gw1_\w+", key)
    return key


def violations(browser):
    """What axe-core finds in the page as it stands; it must have had something to judge."""
    browser.run((installed("axe-core") / "node_modules/axe-core/axe.min.js").read_text("utf-8"))
    found = browser.run(
        "const found = await axe.run(document, {resultTypes: ['violations', 'passes']});"
        "return {passed: found.passes.length, violations: found.violations.map("
        "(one) => [one.id, one.impact, one.nodes.map((node) => node.html)])}"
    )
    assert found["passed"] > 10
    return found["violations"]


def test_a_keys_life_from_the_console(browser, gateway):
    sign_in(browser, gateway.admin_key)
    key = create(browser, "Research", budget="0.05", rpm="600")
    kid = kid_of(key)
    browser.sees(row_of(kid), "$0.05 a month")
    browser.sees(row_of(kid), "600 requests a minute")
    browser.sees("#budget-list", "$0.00 of $0.05 this month, 0 %")

    assert ask(gateway, key) == 200
    (row,) = gateway.row(kid)
    browser.choose("#overview-filters select[name=days]", "7")
    browser.choose("#overview-filters select[name=kid]", kid)
    spent = f"${row['cost_usd']}"
    assert int(row["cost_nano_usd"]) > 0
    browser.sees("#cards", spent)
    browser.sees("#budget-list", f"{spent} of $0.05 this month")
    browser.sees("#usage-legend", f"{MODEL} {spent}")
    browser.choose("#request-filters select[name=kid]", kid)
    browser.sees(f'#request-table tr[data-request="{row["request_id"]}"]', spent)
    browser.sees("#latency-cards", f"Duration, median\n{row['duration_ms']} ms")

    browser.click(f"{row_of(kid)} button[aria-label^=Rotate]")
    browser.sees("#confirm-title", "Rotate “Research”?")
    browser.click("#confirm-yes")
    browser.until("return document.getElementById('issued-key').textContent !== arguments[0]", key)
    rotated = browser.text("#issued-key")
    browser.sees(row_of(kid), "replaced")
    assert (ask(gateway, rotated), ask(gateway, key)) == (200, 200)
    browser.sees("#budget-list", "Research")
    assert browser.run("return document.querySelectorAll('#budget-list li').length") == 1

    browser.click(f"{row_of(kid_of(rotated))} button[aria-label^=Revoke]")
    browser.click("#confirm-dialog button[value=cancel]")
    assert ask(gateway, rotated) == 200
    browser.click(f"{row_of(kid_of(rotated))} button[aria-label^=Revoke]")
    browser.sees("#confirm-text", "cannot be undone")
    browser.click("#confirm-yes")
    browser.until("return !document.querySelector(arguments[0])", row_of(kid_of(rotated)))
    assert (ask(gateway, rotated), ask(gateway, key)) == (401, 200)
    browser.click("#key-all")
    browser.sees(row_of(kid_of(rotated)), "revoked")


def test_budgets_move_by_themselves(browser, gateway):
    browser.page.clock.install()
    browser.page.reload()
    made = gateway.gwctl("keys", "create", "Live", "--budget-usd", "1", "--period", "day")
    sign_in(browser, gateway.admin_key)
    browser.sees("#budget-list", "$0.00 of $1.00 this day")
    assert ask(gateway, made["key"]) == 200
    (row,) = gateway.row(made["kid"])
    assert row["cost_usd"] not in browser.text("#budget-list")
    browser.page.clock.fast_forward(15_000)
    browser.sees("#budget-list", f"${row['cost_usd']} of $1.00 this day")


def test_the_key_leaves_in_one_header_only_and_for_this_gateway_only(browser, gateway):
    sign_in(browser, gateway.admin_key)
    secret = gateway.admin_key.split("_")[2]
    sent = browser.requested()
    assert len(sent) >= 2
    assert {request["url"].split("/console")[0].split("/admin")[0] for request in sent} == {gateway.base_url}
    for request in sent:
        told = {name.lower(): value for name, value in request["headers"].items()}
        assert told.pop("authorization", f"Bearer {gateway.admin_key}") == f"Bearer {gateway.admin_key}"
        assert secret not in request["url"] + json.dumps(told) + request["body"]
    kept = browser.run(
        "return [Object.values(sessionStorage).join(), Object.keys(localStorage).length, document.cookie,"
        " location.href, document.documentElement.outerHTML, document.getElementById('key').value]"
    )
    assert kept[0] == gateway.admin_key
    assert kept[1:4] == [0, "", f"{gateway.base_url}/console"]
    assert secret not in kept[4] + kept[5]
    assert secret not in gateway.log.read_text()
    browser.open(f"{gateway.base_url}/console")
    browser.sees("#who", "local admin (admin)")  # the tab remembers
    browser.click("#sign-out")
    browser.sees("#sign-in-title", "Console")
    assert browser.run("return sessionStorage.length") == 0


def test_the_policy_holds_in_the_browser(chromium, gateway):
    """The check of the silent console elsewhere can fail: this is what it would have heard."""
    with opened(chromium) as window:
        window.open(f"{gateway.base_url}/console")
        window.run(
            "document.body.append(Object.assign(document.createElement('img'), {src: 'http://127.0.0.1:9/x.png'}));"
            "document.body.setAttribute('style', 'color: red');"
            "await fetch('http://127.0.0.1:9/').catch(() => {});"
            "try { document.body.innerHTML = '<p>markup</p>' } catch { document.title = 'refused' }"
        )
        assert window.run("return document.title") == "refused"
        told = " ".join(text for source, text in window.said() if source != "network")
    for directive in ("img-src", "style-src", "connect-src"):
        assert directive in told


def test_names_are_text_and_never_markup(browser, gateway):
    first, second = (gateway.gwctl("keys", "create", NASTY)["kid"] for _ in range(2))
    sign_in(browser, gateway.admin_key)
    browser.sees("#key-table", NASTY)
    options = browser.run("return [...document.querySelectorAll('select[name=kid] option')].map((one) => one.text)")
    assert {f"{NASTY} ({kid[:4]}…)" for kid in (first, second)} <= set(options)  # two of one name are told apart
    assert browser.run("return document.images.length") == 0
    assert browser.run("return document.title") == "Gemini gateway console"


def test_a_client_key_opens_its_own_usage_to_read(browser, gateway):
    made = gateway.gwctl("keys", "create", "Reader", "--rpm", "60", "--budget-usd", "2", "--period", "month")
    assert ask(gateway, made["key"]) == 200
    (row,) = gateway.row(made["kid"])
    sign_in(browser, made["key"])
    browser.sees("#overview-title", "My usage")
    browser.sees("#who", "Reader (client)")
    browser.sees("#cards", f"${row['cost_usd']}")
    browser.sees("#limit-list", "of 60 left")
    browser.sees("#limit-list", "of $2.00 left")
    browser.sees("#request-table", row["request_id"])
    browser.click("#setup details[data-client=Codex] summary")
    visible = browser.run(
        "return [...document.querySelectorAll('#keys, #key-new, #setup button.primary, select[name=kid]')]"
        ".filter((one) => one.checkVisibility()).length"
    )
    assert visible == 0
    assert not [request["url"] for request in browser.requested() if "/admin/" in request["url"]]


def test_a_wrong_key_is_said_so_and_forgotten(browser, gateway):
    browser.type("#key", "sk-gw1_wrong")
    browser.click("#sign-in button")
    browser.sees("#sign-in-error[role=alert]", "Incorrect API key provided.")
    assert browser.run("return [sessionStorage.length, document.activeElement.id]") == [0, "key"]


def test_a_key_that_dies_meanwhile_leads_back_to_the_sign_in(browser, gateway):
    made = gateway.gwctl("keys", "create", "Brief", "--endpoints", "admin")
    sign_in(browser, made["key"])
    browser.click(f"{row_of(made['kid'])} button[aria-label^=Revoke]")
    browser.click("#confirm-yes")
    browser.sees("#sign-in-error", "Incorrect API key provided.")
    assert browser.run("return sessionStorage.length") == 0


def test_an_operators_own_key_warns_and_never_enters_the_snippets(browser, gateway):
    made = gateway.gwctl("keys", "create", "Second operator", "--endpoints", "admin")
    sign_in(browser, made["key"])
    browser.click(f"{row_of(made['kid'])} button[aria-label^=Revoke]")
    browser.sees("#confirm-text", "This is the key you are signed in with.")
    browser.click("#confirm-dialog button[value=cancel]")
    browser.click(f"{row_of(made['kid'])} button[aria-label^=Rotate]")
    browser.click("#confirm-yes")
    browser.sees("#issued-title", "Second operator")
    rotated = browser.text("#issued-key")
    assert rotated not in browser.run("return document.getElementById('setup').textContent")
    assert not browser.run("return document.getElementById('issued-link').checkVisibility()")


def test_a_bad_form_says_what_is_wrong_where_it_is(browser, gateway):
    sign_in(browser, gateway.admin_key)
    browser.click("#key-new")
    browser.type("#key-name", "Globs")
    browser.type("#key-models", "gemini 2.5")
    browser.click("#key-form button[value=save]")
    browser.sees("#key-form-error[role=alert]", "models")
    browser.type("#key-budget", "1,5")
    browser.click("#key-form button[value=save]")
    assert browser.run("return document.getElementById('key-budget').matches(':user-invalid')")
    browser.press("Escape")
    browser.until("return !document.getElementById('key-dialog').open")


@pytest.mark.parametrize("client", ["Claude Code", "Codex", "Gemini CLI", "Cursor", "Open WebUI", "OpenAI SDK"])
def test_snippets_hold_this_address_and_a_fresh_key(browser, gateway, client):
    sign_in(browser, gateway.admin_key)
    details = f'#setup details[data-client="{client}"]'
    browser.click(f"{details} summary")
    browser.sees(details, gateway.base_url)
    browser.click(f"{details} button.primary")
    browser.sees("#issued-title", client)
    key = browser.text("#issued-key")
    browser.sees(details, key)
    assert "YOUR_KEY" not in browser.text(details)
    assert ask(gateway, key) == 200
    browser.click("#issued-done")
    browser.sees(details, "YOUR_KEY")
    assert key not in browser.run("return document.documentElement.outerHTML")


def test_snippets_of_functions_with_urls_of_their_own(browser):
    script = (
        "const script = document.querySelector('script[type=module]').src;"
        "const { baseUrl } = await import(script.replace('console.js', 'setup.js'));"
        "return arguments[1].map((url) => baseUrl('messages', arguments[0], new URL(url)))"
    )
    functions = {"messages": "https://m.lambda-url.eu-west-1.on.aws"}
    control, edge = "https://c.lambda-url.eu-west-1.on.aws", "https://gateway.example"
    assert browser.run(script, functions, [control, edge]) == [functions["messages"], edge]
    assert browser.run(script, {}, [control]) == [control]  # one function that serves every path


def test_filters_of_the_request_log(browser, gateway):
    made = gateway.gwctl("keys", "create", "Filtered")
    assert ask(gateway, made["key"]) == 200
    gateway.row(made["kid"])
    sign_in(browser, gateway.admin_key)
    browser.choose("#request-filters select[name=kid]", made["kid"])
    browser.sees("#request-note", "1 of 1 requests read")
    for field, text, shown in [("model", "pro", 0), ("model", "2.5-FLASH", 1)]:
        browser.type(f"#request-filters [name={field}]", text)
        browser.sees("#request-note", f"{shown} of 1 requests read")
    browser.choose("#request-filters [name=status]", "failed")
    browser.sees("#request-table", "No requests.")
    browser.choose("#request-filters [name=status]", "ok")
    browser.choose("#request-filters [name=endpoint]", "chat")
    browser.sees("#request-note", "1 of 1 requests read")
    browser.run("document.querySelector('#request-filters [name=day]').value = '2020-01-01'")
    browser.click("#request-filters button")
    browser.sees("#request-note", "0 of 0 requests read")


def test_a_long_log_is_read_in_pieces(browser, gateway):
    made = gateway.gwctl("keys", "create", "Long")
    for _ in range(3):
        assert ask(gateway, made["key"]) == 200
    rows = gateway.row(made["kid"], 3)
    # pages of two, where the page asks for hundreds
    browser.run(
        "const real = window.fetch;"
        "window.fetch = (url, more) => { window.asked = url; return real(url.replace('limit=500', 'limit=2'), more) }"
    )
    sign_in(browser, made["key"])
    assert "limit=500" in browser.run("return window.asked")
    browser.sees("#request-note", "2 of 2 requests read match; earlier ones of the day are not read yet.")
    browser.click("#request-more")
    browser.sees("#request-note", "3 of 3 requests read match")
    shown = browser.run("return [...document.querySelectorAll('#request-table tr')].map((one) => one.dataset.request)")
    assert shown[1:] == [row["request_id"] for row in reversed(rows)]  # the newest first


def test_charts_by_key_and_by_every_measure(browser, gateway):
    made = gateway.gwctl("keys", "create", "Charted")
    assert ask(gateway, made["key"]) == 200
    (row,) = gateway.row(made["kid"])
    sign_in(browser, gateway.admin_key)
    browser.choose("#overview-filters [name=kid]", made["kid"])
    browser.choose("#chart-choice [name=group]", "kid")
    shown = {
        "cost_nano_usd": f"${row['cost_usd']}",
        "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"],
        "requests": 1,
        "errors": 0,
    }
    for metric, amount in shown.items():
        browser.choose("#chart-choice [name=metric]", metric)
        browser.sees("#usage-legend", f"Charted {amount}")
        browser.sees("#usage-chart-title", "a day by key")
    browser.choose("#chart-choice [name=metric]", "requests")
    painted = (
        "const canvas = document.querySelector(arguments[0] + ' canvas');"
        "const swatch = getComputedStyle(document.querySelector(arguments[1])).backgroundColor;"
        "const colour = swatch.match(/[0-9]+/g).map(Number);"
        "const copy = Object.assign(document.createElement('canvas'), {width: canvas.width, height: canvas.height});"
        "const pen = copy.getContext('2d', {willReadFrequently: true});"
        "pen.drawImage(canvas, 0, 0);"
        "const pixels = pen.getImageData(0, 0, copy.width, copy.height).data;"
        "for (let at = 0; at < pixels.length; at += 4)"
        "  if (colour.every((part, index) => pixels[at + index] === part)) return true;"
        "return false"
    )
    browser.until(painted, "#usage-chart", "#usage-legend .swatch-0")
    browser.until(painted, "#latency-chart", "#latency-legend .swatch-3")  # the last line lies above the others
    browser.click("#usage-chart + .legend + details summary")
    browser.sees("#usage-table tbody", "1")
    # the pointer over today's bar reads that day's amount
    browser.run(
        "const over = document.querySelector('#usage-chart .u-over'); const box = over.getBoundingClientRect();"
        "const place = {clientX: box.right - 8, clientY: box.top + 20, bubbles: true};"
        "over.dispatchEvent(new MouseEvent('mousemove', place))"
    )
    browser.until("return /^[0-9]{4}-[0-9]{2}-[0-9]{2}$/.test(document.querySelector('.legend-head').textContent)")


def test_the_error_rate_is_drawn_and_read(browser, gateway):
    made = gateway.gwctl("keys", "create", "Failing")
    assert [ask(gateway, made["key"], text) for text in ("hi", "hi", "hi", "@emulator fail with 400")] == [200] * 3 + [
        400
    ]
    gateway.row(made["kid"], 4)
    sign_in(browser, gateway.admin_key)
    browser.choose("#overview-filters [name=kid]", made["kid"])
    browser.sees("#cards", "25.0 %")
    browser.choose("#request-filters select[name=kid]", made["kid"])
    browser.sees("#request-note", "4 of 4 requests read")
    browser.sees("#latency-cards", "25.0 %")
    # the pointer over the half hour of these requests, wherever on the day it is
    seconds = gateway.rows(made["kid"])[0]["ts"] / 1000 % 86_400
    browser.run(
        "const over = document.querySelector('#latency-chart .u-over'); const box = over.getBoundingClientRect();"
        "const place = {clientX: box.left + box.width * arguments[0], clientY: box.top + 20, bubbles: true};"
        "over.dispatchEvent(new MouseEvent('mousemove', place))",
        (seconds // 1_800 + 0.5) * 1_800 / 86_400,
    )
    browser.sees("#latency-legend", "1 of 4, 25.0 %")
    browser.choose("#request-filters [name=status]", "failed")
    browser.sees("#request-note", "1 of 4 requests read")


def test_without_script_a_form_shows_the_totals(browser, gateway):
    made = gateway.gwctl("keys", "create", "Scriptless", "--budget-usd", "1", "--period", "month")
    assert ask(gateway, made["key"]) == 200
    (row,) = gateway.row(made["kid"])
    browser.scripts(allowed=False)
    browser.open(f"{gateway.base_url}/console")
    browser.type("#key", gateway.admin_key)
    with browser.page.expect_navigation():
        browser.press("Enter")
    browser.scripts(allowed=True)  # for the questions of this test
    browser.until("return !!document.getElementById('server-totals')")
    browser.sees("#totals-title", "Usage of every key")
    browser.sees("#server-totals", f"${row['cost_usd']} of $1.00 this month")
    browser.sees("#server-totals tbody th", MODEL)
    assert browser.run("return document.querySelectorAll('svg.spend .bar').length") == 30
    assert browser.run("return location.href") == f"{gateway.base_url}/console"
    assert gateway.admin_key not in browser.run("return document.documentElement.outerHTML")
    assert violations(browser) == []
    browser.screenshot(SHOTS / "without-script.png")


def test_everything_by_keyboard(browser, gateway):
    browser.press("Tab")
    assert browser.run("return document.activeElement.className") == "skip"
    browser.press("Tab")
    assert browser.run("return document.activeElement.id") == "key"
    for letter in gateway.admin_key:
        browser.press(letter)
    browser.press("Enter")
    browser.sees("#who", "Sign out")
    browser.until("return document.activeElement.id === 'overview-title'")
    reached = []
    for _ in range(60):
        browser.press("Tab")
        reached.append(browser.run("return document.activeElement.id || document.activeElement.name || ''"))
        if reached[-1] == "key-new":
            break
    assert reached[:3] == ["days", "kid", "live"]
    assert reached[-1] == "key-new"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert browser.run(outline) == "solid"
    browser.press("Enter")
    browser.until("return document.activeElement.id === 'key-name'")
    browser.press("Escape")
    browser.until("return document.activeElement.id === 'key-new'")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_both_themes_pass_the_checker(browser, gateway, theme):
    gateway.gwctl("keys", "create", f"Pictured {theme}", "--budget-usd", "0.01", "--period", "day")
    browser.theme(theme)
    assert violations(browser) == []
    sign_in(browser, gateway.admin_key)
    browser.sees("#key-table", f"Pictured {theme}")
    browser.run(
        "for (const one of document.querySelectorAll('details')) { one.removeAttribute('name'); one.open = true }"
    )
    assert violations(browser) == []
    browser.click("#key-new")
    assert violations(browser) == []
    browser.click("#key-form .cancel")
    browser.screenshot(SHOTS / f"{theme}.png")
    dark = browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(18, 20, 26)"
    assert dark == (theme == "dark")


def test_the_checker_would_find_something(browser):
    browser.run("document.getElementById('key').removeAttribute('id')")
    assert "label" in [found[0] for found in violations(browser)]


@pytest.fixture
def phone(chromium, gateway):
    with at_the_sign_in(chromium, gateway, phone=True) as window:
        yield window


def test_a_phone_never_scrolls_sideways(phone, gateway):
    browser = phone
    widths = "return [document.documentElement.scrollWidth, innerWidth]"
    assert browser.run(widths) == [390, 390]
    sign_in(browser, gateway.admin_key)
    browser.sees("#key-table", "local client")
    browser.run(
        "for (const one of document.querySelectorAll('details')) { one.removeAttribute('name'); one.open = true }"
    )
    assert browser.run(widths) == [390, 390]
    assert violations(browser) == []
    create(browser, "W" * 200)
    assert browser.run(widths) == [390, 390]
    browser.click("#issued-done")
    browser.screenshot(SHOTS / "phone.png")
    browser.click("#key-new")
    browser.sees("#key-dialog-title", "New key")
    assert browser.run("return document.getElementById('key-dialog').getBoundingClientRect().right <= 390")
    browser.click("#key-form .cancel")


def test_amounts_stay_exact_in_the_browser(browser):
    script = (
        "const script = document.querySelector('script[type=module]').src;"
        "const module = await import(script.replace('console.js', 'money.js'));"
        "const value = module.parse(arguments[0]);"
        "return [module.money(module.nano(value.cost_nano_usd)), value.name, module.money(-1n), module.share(1n, 3n)]"
    )
    text = json.dumps({"cost_nano_usd": 9_007_199_254_740_993, "name": '"cost_nano_usd":5'}, separators=(",", ":"))
    assert browser.run(script, text) == ["$9,007,199.254740993", '"cost_nano_usd":5', "-$0.000000001", 33]
