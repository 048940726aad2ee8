"""USD as people write it, and integer nano-dollars as the gateway counts it; exact in both directions."""

import re

_NANO = 1_000_000_000
_AMOUNT = re.compile(r"([0-9]{1,9})(?:\.([0-9]{1,9}))?")


def nano_from_usd(text: str) -> int:
    """`12.50` -> 12_500_000_000. ValueError for anything but digits with at most nine decimals."""
    match = _AMOUNT.fullmatch(text)
    if match is None:
        raise ValueError("an amount in USD such as 12.50 is expected, at least 0, with at most nine decimals")
    return int(match[1]) * _NANO + int((match[2] or "").ljust(9, "0"))


def usd(nano: int) -> str:
    """Without the zeros that say nothing beyond cents: `12.50`, `0.000345`."""
    sign, nano = ("-", -nano) if nano < 0 else ("", nano)
    whole, rest = divmod(nano, _NANO)
    decimals = f"{rest:09d}".rstrip("0").ljust(2, "0")
    return f"{sign}{whole}.{decimals}"
