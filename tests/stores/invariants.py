"""What must be true of the usage table at any moment between two calls, checked by a full scan."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from shared.stores.attributes import decode_item

Item = dict[str, Any]
_TOKENS = ("in_tok", "cache_tok", "out_tok", "think_tok")


def scan(client: Any, table: str) -> list[Item]:
    pages = client.get_paginator("scan").paginate(TableName=table, ConsistentRead=True)
    return [decode_item(item) for page in pages for item in page["Items"]]


def violations(
    items: Iterable[Item],
    *,
    now_s: int = 0,
    price: Callable[[Item], int] | None = None,
    called: Collection[str] | None = None,
    refused: Collection[str] = (),
    unreserved: Collection[str] = (),
) -> list[str]:
    """Every broken invariant in words. `now_s`: no hold may have ended before it. `price`: what a row must cost.
    `called`: the requests whose upstream call was made. `unreserved`: rows settled without a hold."""
    states: dict[str, Item] = {}
    days: dict[str, list[Item]] = defaultdict(list)
    rows: dict[str, Item] = {}
    adjustments: dict[str, Item] = {}
    counted: list[Item] = []
    totals: list[Item] = []
    for item in items:
        match item["pk"].split("#")[0], item["sk"]:
            case "A", "STATE":
                states[item["pk"][2:]] = item
            case "A", sk if sk.startswith("D#"):
                days[item["pk"][2:]].append(item)
            case "R", "R":
                rows[item["pk"][2:]] = item
            case "R", "ADJ":
                adjustments[item["pk"][2:]] = item
            case "C", _:
                counted.append(item)
            case "G", _:
                totals.append(item)
            case "S", "S":
                pass
            case other:
                return [f"unknown item {other}"]
    found: list[str] = []
    accounts = {row["acct"] for row in rows.values()} | set(states) | set(days)
    for acct in sorted(accounts):
        mine = {rid: row for rid, row in rows.items() if row["acct"] == acct}
        mine_adjusted = {rid: item for rid, item in adjustments.items() if item["acct"] == acct}
        found += _account(acct, states.get(acct), days[acct], mine, mine_adjusted, now_s, unreserved)
    found += _totals(totals, counted, days)
    found += [f"I5 {rid}: an adjustment without a row" for rid in adjustments.keys() - rows.keys()]
    found += _rows(rows, price)
    if called is not None:
        found += [f"I8 {rid}: called, no row" for rid in set(called) - rows.keys()]
        done = {rid for rid, row in rows.items() if row["st"] == "done"}
        found += [f"I8 {rid}: a done row, never called" for rid in done - set(called)]
    found += [f"I9 {rid}: refused, yet a row" for rid in set(refused) & rows.keys()]
    return found


def _account(
    acct: str,
    state: Item | None,
    days: list[Item],
    rows: Mapping[str, Item],
    adjustments: Mapping[str, Item],
    now_s: int,
    unreserved: Collection[str],
) -> list[str]:
    if state is None:
        return [f"I1 {acct}: rows or aggregates without a state"]
    found: list[str] = []

    def expect(name: str, truth: bool, detail: object) -> None:
        if not truth:
            found.append(f"{name} {acct}: {detail}")

    booked = sum(item["cost_nano"] for item in (*rows.values(), *adjustments.values()))
    daily = sum(day.get("cost_nano", 0) for day in days)
    expect("I1", booked == daily == state["spent_all"], f"rows {booked}, days {daily}, state {state['spent_all']}")
    expect("I1", state["spent"] <= state["spent_all"], "more in this period than ever")
    counted = sum(day["n"] for day in days)
    expect("I2", counted == len(rows), f"counted {counted}, rows {len(rows)}")
    for name in _TOKENS:
        in_rows = sum(item[name] for item in (*rows.values(), *adjustments.values()))
        in_days = sum(day.get(name, 0) for day in days)
        expect("I2", in_rows == in_days, f"{name}: rows {in_rows}, days {in_days}")
    held = sum(hold["e"] for hold in state["holds"].values())
    total = state["avail"] + state["spent"] + held
    expect("I3", total == state["limit"], f"avail + spent + held = {total}, limit {state['limit']}")
    over = sum(max(0, row["cost_nano"] - (0 if rid in unreserved else row["est"])) for rid, row in rows.items())
    over += sum(max(0, item["cost_nano"]) for item in adjustments.values())
    expect("I4", state["spent"] <= state["limit"] + over, f"spent {state['spent']} of {state['limit']}, over {over}")
    expect("I6", all(hold["x"] >= now_s for hold in state["holds"].values()), "a hold that outlived its request")
    expect("I10", state["avail"] >= -over, f"avail {state['avail']}")
    for item, names in ((state, ("spent", "spent_all")), *((day, ("n", "err", "cost_nano", *_TOKENS)) for day in days)):
        for name in names:
            expect("I10", item.get(name, 0) >= 0, f"{item['sk']} {name} = {item.get(name)}")
    return found


def _totals(totals: list[Item], counted: list[Item], days: Mapping[str, list[Item]]) -> list[str]:
    """The totals of all accounts are what is marked as counted, by day and model, and no mark is ahead of its day."""
    found: list[str] = []
    names = ("n", "err", "cost_nano", *_TOKENS)
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    for item in totals:
        for name in names:
            sums[item["pk"].split("#")[1], item["sk"], name] += item.get(name, 0)
    for mark in counted:
        _, day, model = mark["sk"].split("#", 2)
        for name in names:
            sums[day, model, name] -= mark.get(name, 0)
        written = [one for one in days[mark["pk"][2:]] if one["sk"] == mark["sk"]]
        if not written or written[0]["v"] < mark["v"]:
            found.append(f"G {mark['pk']} {mark['sk']}: counted what was never written")
    return found + [f"G {place}: total minus counted is {step}" for place, step in sums.items() if step]


def _rows(rows: Mapping[str, Item], price: Callable[[Item], int] | None) -> list[str]:
    found: list[str] = []
    for rid, row in rows.items():
        if row["st"] == "lost":
            expected = row["est"]
        elif row["st"] == "void":
            expected = 0
        else:
            expected = row["cost_nano"] if price is None else price(row)
        if row["cost_nano"] != expected:
            found.append(f"I7 {rid}: costs {row['cost_nano']}, not {expected} ({row['st']})")
    return found
