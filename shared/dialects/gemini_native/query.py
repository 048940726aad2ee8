"""The query options of Google's REST front end that answers depend on."""

from collections.abc import Mapping

from msgspec import Struct

from shared.dialects.gemini_native.masks import Mask, parse_mask
from shared.errors import GatewayError

_FORMS = ("json", "sse")
_FLAGS = {"true": True, "1": True, "false": False, "0": False}


class Options(Struct, frozen=True):
    """`upstream` are the options to repeat in the upstream call; credentials and everything else stay behind.

    `fields` never goes upstream: it could mask the usage that a request is metered by, so it is applied here.
    """

    sse: bool = False
    pretty: bool = True
    mask: Mask | None = None
    upstream: tuple[tuple[str, str], ...] = ()


def read_options(query: Mapping[str, str]) -> Options:
    """Raises `invalid_request` for forms that only Google's own transports read (protobuf, JSONP, media)."""
    forms = [query[name] for name in ("alt", "$alt") if query.get(name)]
    kept: list[tuple[str, str]] = []
    sse = False
    for form in forms:
        base, _, parameter = form.partition(";")
        if base not in _FORMS or parameter not in ("", "enum-encoding=int"):
            raise GatewayError("invalid_request", f"The response form alt={form[:40]!a} is not served.", param="alt")
        sse = sse or base == "sse"
        if parameter:
            kept.append(("$alt", f"json;{parameter}"))
    if query.get("callback"):
        raise GatewayError("invalid_request", "JSONP is not served.", param="callback")
    flag = query.get("prettyPrint", query.get("$prettyPrint", ""))
    pretty = _FLAGS.get(flag.lower(), True)
    if flag:
        kept.append(("prettyPrint", "true" if pretty else "false"))
    fields = query.get("fields") or query.get("$fields")
    return Options(sse, pretty, parse_mask(fields) if fields else None, tuple(kept))
