"""`python -m infra.smoke --url URL --key KEY [--admin-key KEY]`: the checks as a table; exit status 1 if one fails."""

import argparse
import os
import sys
from collections.abc import Sequence

from infra.smoke.checks import Result, Smoke, Target

_PROMPT = "Count from 1 to 50 in digits, separated by spaces, and write nothing else."
_WIDTH = 24


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    target = Target(
        base_url=options.url.rstrip("/").removesuffix("/v1"),
        key=options.key,
        admin_key=options.admin_key,
        model=options.model,
        embedding_model=options.embedding_model,
        prompt=options.prompt,
        spread_ms=options.min_spread_ms,
    )
    print(f"smoke test of {target.base_url}; on the real Gemini it costs less than a cent\n", flush=True)
    print(f"{'check':<{_WIDTH}}{'':<6}{'first ms':>9}{'last ms':>9}{'reads':>7}", flush=True)
    failed = 0
    for result in Smoke(target).run():
        print(_line(result), flush=True)
        failed += bool(result.problem)
    if not target.admin_key:
        print("(revocation was not checked: no admin key)")
    print(f"\n{failed} failed" if failed else "\nall passed", flush=True)
    return 1 if failed else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m infra.smoke", description=__doc__)
    parser.add_argument("--url", default=os.environ.get("URL", ""), help="of the gateway (or variable URL)")
    # by variable, a key stays out of the process list
    parser.add_argument("--key", default=os.environ.get("KEY", ""), help="a client key (or variable KEY)")
    parser.add_argument(
        "--admin-key", default=os.environ.get("ADMIN_KEY", ""), help="also checks revocation (or variable ADMIN_KEY)"
    )
    parser.add_argument("--model", default="gemini-3.5-flash-lite")
    parser.add_argument("--embedding-model", default="gemini-embedding-001")
    parser.add_argument("--prompt", default=_PROMPT, help="its answer should take several chunks")
    parser.add_argument(
        "--min-spread-ms", type=float, default=0.0, help="between a stream's first and last read, at least"
    )
    options = parser.parse_args(arguments)
    if not options.url.startswith(("http://", "https://")) or not options.key:
        parser.error("URL and KEY are needed: make smoke URL=https://... KEY=sk-gw1_...")
    return options


def _line(result: Result) -> str:
    if result.problem:
        return f"{result.name:<{_WIDTH}}FAIL  {result.problem}"
    numbers = [f"{value:9.0f}" if value is not None else " " * 9 for value in (result.first_ms, result.last_ms)]
    reads = f"{result.reads:7d}" if result.reads is not None else " " * 7
    return f"{result.name:<{_WIDTH}}ok    {''.join(numbers)}{reads}  {result.note}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
