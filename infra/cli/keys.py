"""`gwctl keys`: issue, list, change, rotate and revoke client keys."""

import os
from collections.abc import Mapping
from typing import Annotated, Any

import typer
from rich.console import Console

from infra.cli.deployment import Deployment, open_deployment
from infra.cli.output import errors, key_table, print_json, print_table, run
from infra.cli.values import items, moment, nano_from_usd
from shared.gateway.key_registry import LONGEST_OVERLAP_S, OVERLAP_S
from shared.gateway.key_terms import ENDPOINTS, KeyTerms
from shared.gateway.key_view import shown
from shared.stores.protocols import KeyRecord, KeyStatus, Period

app = typer.Typer(no_args_is_help=True, help="Issue, list, change, rotate and revoke client keys.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
# what --unlimited takes away, by the terms it becomes
_REMOVABLE: Mapping[str, Mapping[str, Any]] = {
    **{name: {name: None} for name in ("rpm", "rpm_burst", "tpm", "tpm_burst", "max_concurrency", "max_output_tokens")},
    "budget": {"budget_limit_nano": None, "budget_period": "none"},
    "expires_at": {"expires_at": None},
    "models": {"models": ()},
    "endpoints": {"endpoints": ()},
    "ip_allow": {"ip_allow": ()},
}
_Limit = Annotated[int | None, typer.Option(min=0, help="No limit where absent; 0 admits nothing.")]


@app.command()
def create(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    owner: Annotated[str, typer.Option(help="Who answers for it.")] = "",
    models: Annotated[list[str] | None, typer.Option(help="Globs, comma-separated or repeated; all if absent.")] = None,
    endpoints: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(ENDPOINTS)}.")] = None,
    ip_allow: Annotated[list[str] | None, typer.Option(help="Addresses or networks that may use it.")] = None,
    rpm: _Limit = None,
    rpm_burst: _Limit = None,
    tpm: _Limit = None,
    tpm_burst: _Limit = None,
    max_concurrency: _Limit = None,
    max_output_tokens: _Limit = None,
    budget_usd: Annotated[str | None, typer.Option(help="Most it may cost in a period, such as 12.50.")] = None,
    period: Annotated[str, typer.Option(help="Of the budget: day, month, or none for its whole life.")] = "none",
    expires_at: Annotated[str | None, typer.Option(help="A date or time, UTC unless it names a zone.")] = None,
    as_json: AsJson = False,
) -> None:
    """Issue a key. Its text is shown once and kept nowhere."""
    if budget_usd is None and period != "none":
        raise typer.BadParameter("--period is that of a budget: give --budget-usd too")
    terms = KeyTerms(
        name=name,
        owner=owner,
        models=items(models),
        endpoints=items(endpoints),
        ip_allow=items(ip_allow),
        rpm=rpm,
        rpm_burst=rpm_burst,
        tpm=tpm,
        tpm_burst=tpm_burst,
        max_concurrency=max_concurrency,
        max_output_tokens=max_output_tokens,
        budget_period=_period(period),
        budget_limit_nano=None if budget_usd is None else nano_from_usd(budget_usd),
        expires_at=None if expires_at is None else moment(expires_at),
    )

    async def work() -> tuple[KeyRecord, str]:
        deployment = await open_deployment(os.environ, context.obj)
        return await deployment.registry.issue(terms)

    _print_new(*run(work()), as_json)


def _print_new(record: KeyRecord, key: str, as_json: bool) -> None:
    if as_json:
        print_json({"key": key, **shown(record)})
        return
    print_table(key_table([record]))
    errors().print("The key, shown only now:")
    Console(soft_wrap=True, highlight=False).print(key, markup=False)


@app.command("list")
def list_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """List every key, whatever its status."""

    async def work() -> list[KeyRecord]:
        return await all_keys(await open_deployment(os.environ, context.obj))

    records = run(work())
    if as_json:
        print_json({"data": [shown(record) for record in records]})
    else:
        print_table(key_table(records))


@app.command()
def update(
    context: typer.Context,
    kid: str,
    name: Annotated[str | None, typer.Option(help="What the key is for.")] = None,
    owner: Annotated[str | None, typer.Option(help="Who answers for it.")] = None,
    models: Annotated[list[str] | None, typer.Option(help="Globs in place of the old ones.")] = None,
    endpoints: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(ENDPOINTS)}.")] = None,
    ip_allow: Annotated[list[str] | None, typer.Option(help="Addresses or networks that may use it.")] = None,
    rpm: _Limit = None,
    rpm_burst: _Limit = None,
    tpm: _Limit = None,
    tpm_burst: _Limit = None,
    max_concurrency: _Limit = None,
    max_output_tokens: _Limit = None,
    budget_usd: Annotated[str | None, typer.Option(help="Most it may cost in a period; what is spent stays.")] = None,
    period: Annotated[str | None, typer.Option(help="Of the budget: day, month, or none.")] = None,
    expires_at: Annotated[str | None, typer.Option(help="A date or time, UTC unless it names a zone.")] = None,
    unlimited: Annotated[
        list[str] | None, typer.Option(help=f"Take limits away: {', '.join(_REMOVABLE)}; comma-separated or repeated.")
    ] = None,
    enable: Annotated[bool | None, typer.Option("--enable/--disable", help="Switch the key on or off.")] = None,
    as_json: AsJson = False,
) -> None:
    """Change the terms of a key; what is not named stays."""
    given: dict[str, Any] = {
        "name": name,
        "owner": owner,
        "models": None if models is None else items(models),
        "endpoints": None if endpoints is None else items(endpoints),
        "ip_allow": None if ip_allow is None else items(ip_allow),
        "rpm": rpm,
        "rpm_burst": rpm_burst,
        "tpm": tpm,
        "tpm_burst": tpm_burst,
        "max_concurrency": max_concurrency,
        "max_output_tokens": max_output_tokens,
        "budget_limit_nano": None if budget_usd is None else nano_from_usd(budget_usd),
        "budget_period": None if period is None else _period(period),
        "expires_at": None if expires_at is None else moment(expires_at),
    }
    changes = _removed(items(unlimited)) | {term: value for term, value in given.items() if value is not None}
    status: KeyStatus | None = None if enable is None else "active" if enable else "disabled"
    if not changes and status is None:
        raise typer.BadParameter("nothing to change was named")

    async def work() -> KeyRecord:
        deployment = await open_deployment(os.environ, context.obj)
        return await deployment.registry.change(kid, changes, status)

    record = run(work())
    if as_json:
        print_json(shown(record))
    else:
        print_table(key_table([record]))


def _removed(names: tuple[str, ...]) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    for name in names:
        if name not in _REMOVABLE:
            raise typer.BadParameter(f"--unlimited takes {', '.join(_REMOVABLE)}")
        changes |= dict(_REMOVABLE[name])
    return changes


@app.command()
def rotate(
    context: typer.Context,
    kid: str,
    overlap: Annotated[
        int, typer.Option(min=0, max=LONGEST_OVERLAP_S, help="Seconds for which the old key works beside the new one.")
    ] = OVERLAP_S,
    as_json: AsJson = False,
) -> None:
    """Issue a new key on the same account: same terms, same budget. Its text is shown once."""

    async def work() -> tuple[KeyRecord, str]:
        deployment = await open_deployment(os.environ, context.obj)
        return await deployment.registry.rotate(kid, overlap)

    _print_new(*run(work()), as_json)


@app.command()
def revoke(context: typer.Context, kid: str, as_json: AsJson = False) -> None:
    """Revoke a key for ever; metered requests are refused from now on."""

    async def work() -> KeyRecord:
        deployment = await open_deployment(os.environ, context.obj)
        return await deployment.registry.revoke(kid)

    record = run(work())
    if as_json:
        print_json(shown(record))
    else:
        errors().print(f"revoked {record.kid} ({record.name})", markup=False, highlight=False)


async def all_keys(deployment: Deployment) -> list[KeyRecord]:
    """Every page, oldest key first; a count on stderr while it lasts."""
    found: list[KeyRecord] = []
    with errors().status("reading keys") as status:
        cursor: str | None = None
        while True:
            records, cursor = await deployment.registry.page(cursor)
            found += records
            status.update(f"reading keys: {len(found)}")
            if cursor is None:
                return sorted(found, key=lambda record: (record.created_at, record.kid))


def _period(text: str) -> Period:
    match text:
        case "none" | "day" | "month":
            return text
    raise typer.BadParameter("the period is one of none, day, month")
