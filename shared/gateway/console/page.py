"""The page as HTML: the shell that the script fills, and the totals for a browser that runs none.

Whatever comes from a key, a model or a request is escaped here; no key text ever gets here.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from shared.gateway.console.assets import Assets, fragment
from shared.gateway.console.overview import Account, Overview
from shared.gateway.console.svg import spend_chart
from shared.gateway.money import usd
from shared.gateway.usage_queries import dashed

_COLUMNS = ("Requests", "Errors", "Input tokens", "Output tokens", "Cost")


def money(nano: int) -> str:
    """Exact, with separators: `$1,012.50`, `$0.000345`."""
    whole, _, decimals = usd(abs(nano)).partition(".")
    return f"{'-' if nano < 0 else ''}${int(whole):,}.{decimals}"


def render(assets: Assets, *, notice: str = "", overview: Overview | None = None, holder: str = "") -> str:
    """The whole document. `notice` tells why a sign-in failed; `overview` is what `holder` may see of the usage."""
    main = _totals(overview, holder) if overview is not None else ""
    setup = fragment("setup.html")
    if overview is None:
        setup = setup.replace("<section", "<section hidden", 1)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Gemini gateway console</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{assets.url("uPlot.min.css")}">
<link rel="stylesheet" href="{assets.url("console.css")}">
<script src="{assets.url("uPlot.iife.min.js")}" defer></script>
<script src="{assets.url("console.js")}" type="module"></script>
</head>
<body>
<a class="skip" href="#main">Skip to content</a>
<header class="top">
<p class="brand">Gemini gateway</p>
<nav aria-label="Sections" id="sections" hidden></nav>
<p class="who" id="who" hidden></p>
</header>
<main id="main" tabindex="-1">
{main}
{_sign_in(notice, signed_in=overview is not None)}
{fragment("app.html")}
{setup}
</main>
<div class="sr-only" role="status" aria-live="polite" id="announcer"></div>
</body>
</html>
"""


def _sign_in(notice: str, *, signed_in: bool) -> str:
    title = "Sign in again" if signed_in else "Console"
    level = "h2" if signed_in else "h1"
    alert = f'<p class="alert" role="alert" id="sign-in-error">{escape(notice)}</p>'
    return f"""<section class="panel sign-in" id="sign-in" aria-labelledby="sign-in-title">
<{level} id="sign-in-title">{title}</{level}>
<form method="post" action="/console" id="sign-in-form">
<label for="key">API key</label>
<input id="key" name="key" type="password" autocomplete="off" autocapitalize="off" spellcheck="false" required
 maxlength="256" aria-describedby="key-help sign-in-error">
<p class="hint" id="key-help">An admin key opens the whole gateway, a client key its own usage. The key stays in this
tab and is forgotten when the tab closes.</p>
<button type="submit">Open</button>
{alert if notice else alert.replace("<p ", "<p hidden ", 1)}
</form>
<noscript><p class="hint">Without script this page shows totals. Charts over time, keys and requests need script.</p>
</noscript>
</section>"""


def _totals(overview: Overview, holder: str) -> str:
    """Spend, tokens, budgets and their breakdown, as of now."""
    days = overview.by_day()
    span = f"{dashed(overview.first)} to {dashed(overview.last)}, UTC"
    chart = spend_chart(
        [(day, line["cost_nano_usd"], money(line["cost_nano_usd"])) for day, line in days],
        f"Spend a day, {span}; {money(overview.total['cost_nano_usd'])} in all",
    )
    peak = max(line["cost_nano_usd"] for _, line in days)
    used = [line for _, line in reversed(days) if line["requests"]]
    return f"""<section id="server-totals" aria-labelledby="totals-title">
<h1 id="totals-title">Usage of {escape(holder)}</h1>
<p class="hint">{span}</p>
{_cards(overview.total)}
<figure class="panel">{chart}<figcaption>Spend a day, at most {money(peak)}</figcaption></figure>
{_budgets(overview.accounts)}
{_table("By key", "Key", "name", overview.by("key"))}
{_table("By model", "Model", "model", overview.by("model"))}
{_table("By day", "Day", "day", used)}
</section>"""


def _cards(total: Mapping[str, Any]) -> str:
    rate = f"{100 * total['errors'] / total['requests']:.1f} %" if total["requests"] else "none"
    cards = (
        ("Spend", money(total["cost_nano_usd"])),
        ("Requests", f"{total['requests']:,}"),
        ("Input tokens", f"{total['input_tokens']:,}"),
        ("Output tokens", f"{total['output_tokens']:,}"),
        ("Errors", rate),
    )
    items = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in cards)
    return f'<dl class="cards">{items}</dl>'


def _budgets(accounts: Iterable[Account]) -> str:
    rows = "".join(_budget(account) for account in accounts if account.limit_nano is not None)
    return f'<section class="panel"><h2>Budgets</h2><ul class="budgets">{rows}</ul></section>' if rows else ""


def _budget(account: Account) -> str:
    limit = account.limit_nano or 0
    period = "in all" if account.budget_period == "none" else f"this {account.budget_period}"
    name = escape(account.name)
    share = min(100, 100 * account.spent_nano // limit) if limit else 100
    return (
        f'<li><span class="budget-name">{name}</span> '
        f'<progress max="100" value="{share}" aria-label="Budget of {name} used">{share} %</progress> '
        f"<span>{money(account.spent_nano)} of {money(limit)} {period}</span></li>"
    )


def _table(title: str, first: str, member: str, lines: Iterable[Mapping[str, Any]]) -> str:
    rows = "".join(_row(line[member], line) for line in lines)
    body = rows or f'<tr><td colspan="{len(_COLUMNS) + 1}">Nothing yet.</td></tr>'
    heads = "".join(f'<th scope="col" class="number">{escape(column)}</th>' for column in _COLUMNS)
    return f"""<section class="panel"><h2>{escape(title)}</h2>
<div class="scroll" role="region" tabindex="0" aria-label="{escape(title)}"><table>
<thead><tr><th scope="col">{escape(first)}</th>{heads}</tr></thead>
<tbody>{body}</tbody></table></div></section>"""


def _row(name: str, line: Mapping[str, Any]) -> str:
    numbers: Sequence[str] = (
        f"{line['requests']:,}",
        f"{line['errors']:,}",
        f"{line['input_tokens']:,}",
        f"{line['output_tokens']:,}",
        money(line["cost_nano_usd"]),
    )
    cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
    return f'<tr><th scope="row">{escape(name)}</th>{cells}</tr>'
