"""Which function a request reaches, and as what: CloudFront's path behaviours and function URLs. Pure.

Not modelled: TLS, HTTP/2, caching, origin request policies (everything but `host` is forwarded), WAF.
Source of the matching rules: Amazon CloudFront Developer Guide, "Path pattern".
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from infra.local.url_event import Refusal, UrlRequest


@dataclass(frozen=True, slots=True)
class Origin:
    """A function URL's host, and the headers that CloudFront sets on every request to it, replacing the client's."""

    domain: str
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Behaviour:
    """`*` is any number of characters, `?` exactly one; case counts; a leading slash may be missing."""

    pattern: str
    origin: str

    @cached_property
    def _expression(self) -> re.Pattern[str]:
        wild = {"*": ".*", "?": "."}
        parts = [wild.get(character, re.escape(character)) for character in "/" + self.pattern.removeprefix("/")]
        return re.compile("".join(parts), re.DOTALL)

    def matches(self, path: str) -> bool:
        """`path` as it was sent, without its query."""
        return self._expression.fullmatch(path) is not None


@dataclass(frozen=True, slots=True)
class Distribution:
    """One CloudFront distribution; the first behaviour that matches counts, else `default`."""

    domain: str
    origins: Mapping[str, Origin]
    behaviours: Sequence[Behaviour]
    default: str

    def origin_of(self, target: str) -> Origin:
        path = target.partition("?")[0]
        for behaviour in self.behaviours:
            if behaviour.matches(path):
                return self.origins[behaviour.origin]
        return self.origins[self.default]

    def forward(self, request: UrlRequest) -> UrlRequest:
        """The request as the origin receives it. The client's address is appended to `x-forwarded-for`, and the
        forwarded protocol and port are set, where the event is built."""
        origin = self.origin_of(request.target)
        ours = {name.lower(): value for name, value in origin.headers.items()} | {"host": origin.domain}
        kept = [(name, value) for name, value in request.headers if name.lower() not in ours]
        return replace(request, headers=[*ours.items(), *kept])


def route(
    request: UrlRequest, urls: Sequence[str], distribution: Distribution | None
) -> tuple[str, UrlRequest] | Refusal:
    """The host of the function URL that serves, and the request as it arrives there.

    A function URL's own host leads to it directly. Every other host is the distribution; without one, the only URL
    takes all.
    """
    host = _host(request)
    if host in urls:
        return host, request
    if host.endswith(".on.aws"):
        return Refusal(403, "Forbidden")  # AWS's answer where no such URL exists
    if distribution is not None:
        forwarded = distribution.forward(request)
        origin = _host(forwarded)
        if origin not in urls:
            return Refusal(502, f"the origin {origin} is not one of the deployed function URLs")
        return origin, forwarded
    if len(urls) == 1:
        only = urls[0]
        kept = [(name, value) for name, value in request.headers if name.lower() != "host"]
        return only, replace(request, headers=[("host", only), *kept])
    return Refusal(404, "several function URLs and no distribution: name one by the Host header")


def _host(request: UrlRequest) -> str:
    hosts = [value for name, value in request.headers if name.lower() == "host"]
    return hosts[0].partition(":")[0].lower() if hosts else ""
