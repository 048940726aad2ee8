"""The checks, one after another, each of them one line of the report."""

import http.client
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from infra.smoke.dialects import (
    DIALECTS,
    EMBEDDINGS_PATH,
    MODEL_LISTS,
    Dialect,
    bearer,
    embeddings_body,
    openai_refusal,
)
from infra.smoke.exchange import Reply, ask

_SETTLE_S = 20.0  # a request is booked just after its last byte
_WRONG_KEY = "sk-gw1_AAAAAAAAAAAAAAAA_smoke-test-with-a-wrong-key"
# of a reply to a wrong question, in a report; bodies of errors hold no secrets
_EXCERPT = 160


@dataclass(frozen=True, slots=True)
class Target:
    """`spread_ms`: at least that long lies between the first and the last read of a stream."""

    base_url: str
    key: str
    admin_key: str
    model: str
    embedding_model: str
    prompt: str
    spread_ms: float


@dataclass(frozen=True, slots=True)
class Result:
    """One check. Times in milliseconds since the request left; `reads` of a stream's content."""

    name: str
    problem: str = ""
    note: str = ""
    first_ms: float | None = None
    last_ms: float | None = None
    reads: int | None = None


class CheckFailed(Exception):
    """The gateway answered, but not as it should; the message says how."""


@dataclass
class Smoke:
    """`run` yields results as they come. What was called is remembered for the check of metering."""

    target: Target
    _called: dict[str, str] = field(default_factory=dict)  # request id -> endpoint

    def run(self) -> Iterator[Result]:
        yield self._check("health", self._health)
        before: dict[str, Any] = {}
        yield self._check("own usage", partial(self._usage_before, before))
        for name, path, headers, member in MODEL_LISTS:
            yield self._check(name, partial(self._models, path, headers(self.target.key), member))
        for dialect in DIALECTS:
            yield self._check(f"{dialect.name}, buffered", partial(self._buffered, dialect, self.target.key))
            yield self._check(f"{dialect.name}, streamed", partial(self._streamed, dialect))
            yield self._check(f"{dialect.name}, wrong key", partial(self._refused, dialect, _WRONG_KEY))
        yield self._check("embeddings", self._embeddings)
        yield self._check("embeddings, wrong key", self._embeddings_refused)
        yield self._check("metering", partial(self._metering, before))
        if self.target.admin_key:
            yield self._check("revocation", self._revocation)

    def _check(self, name: str, work: Callable[[], Result]) -> Result:
        try:
            return replace(work(), name=name)
        except CheckFailed as failure:
            return Result(name, str(failure))
        except (OSError, http.client.HTTPException) as error:
            return Result(name, f"no complete reply: {type(error).__name__}: {error}")
        except (KeyError, IndexError, TypeError) as error:
            return Result(name, f"not the shape of a good reply: {type(error).__name__} {error}")

    def _ask(self, method: str, path: str, headers: Mapping[str, str], body: Mapping[str, Any] | None = None) -> Reply:
        return ask(self.target.base_url, method, path, headers, body)

    def _health(self) -> Result:
        return _timed(_expect(self._ask("GET", "/health", {}), 200))

    def _usage_before(self, before: dict[str, Any]) -> Result:
        reply = _expect(self._ask("GET", "/v1/usage", bearer(self.target.key)), 200)
        before.update(reply.json()["total"])
        return replace(_timed(reply), note=f"{before['requests']} requests so far")

    def _models(self, path: str, headers: Mapping[str, str], member: str) -> Result:
        reply = _expect(self._ask("GET", path, headers), 200)
        listed = reply.json()[member]
        _require(bool(listed), "no models")
        return replace(_timed(reply), note=f"{len(listed)} models")

    def _post(self, dialect: Dialect, key: str, stream: bool) -> Reply:
        path = (dialect.stream_path if stream else dialect.path).format(model=self.target.model)
        body = dialect.body(self.target.model, self.target.prompt, stream)
        return self._ask("POST", path, dialect.headers(key), body)

    def _buffered(self, dialect: Dialect, key: str) -> Result:
        reply = _expect(self._post(dialect, key, stream=False), 200)
        _require(bool(dialect.text(reply.json())), f"no text in {_excerpt(reply)}")
        if key == self.target.key:
            self._called[reply.request_id] = dialect.endpoint
        return _timed(reply)

    def _streamed(self, dialect: Dialect) -> Result:
        reply = _expect(self._post(dialect, self.target.key, stream=True), 200)
        self._called[reply.request_id] = dialect.endpoint
        _require(reply.headers.get("content-type", "").startswith("text/event-stream"), "no event stream")
        _require(dialect.ended(reply.events()), f"the stream does not end as it should: {_excerpt(reply, end=True)}")
        timed = _timed(reply)
        _require(len(reply.arrivals) > 1, "the whole stream came in one read: something buffers it")
        spread = (reply.arrivals[-1] - reply.arrivals[0]) * 1000
        _require(spread > self.target.spread_ms, f"first and last read are only {spread:.0f} ms apart: buffered?")
        return timed

    def _refused(self, dialect: Dialect, key: str) -> Result:
        reply = self._post(dialect, key, stream=False)
        _require(reply.status in (400, 401), f"status {reply.status}: {_excerpt(reply)}")
        _require(dialect.refusal(reply.json()), f"not this dialect's error: {_excerpt(reply)}")
        return replace(_timed(reply), note=f"{reply.status}")

    def _embeddings(self) -> Result:
        body = embeddings_body(self.target.embedding_model)
        reply = _expect(self._ask("POST", EMBEDDINGS_PATH, bearer(self.target.key), body), 200)
        vector = reply.json()["data"][0]["embedding"]
        self._called[reply.request_id] = "embeddings"
        return replace(_timed(reply), note=f"{len(vector)} dimensions")

    def _embeddings_refused(self) -> Result:
        reply = self._ask("POST", EMBEDDINGS_PATH, bearer(_WRONG_KEY), embeddings_body(self.target.embedding_model))
        _require(reply.status == 401 and openai_refusal(reply.json()), f"status {reply.status}: {_excerpt(reply)}")
        return replace(_timed(reply), note=f"{reply.status}")

    def _metering(self, before: Mapping[str, Any]) -> Result:
        """Each answered call has its row, with tokens and money, and the key's total has grown."""
        _require(bool(self._called), "no call was answered")
        _require("" not in self._called, "a reply without x-request-id")
        deadline = time.monotonic() + _SETTLE_S
        while missing := set(self._called) - set(rows := self._rows()):
            if time.monotonic() > deadline:
                raise CheckFailed(f"no usage row for {len(missing)} of {len(self._called)} requests: {sorted(missing)}")
            time.sleep(0.2)
        for request_id, endpoint in self._called.items():
            row = rows[request_id]
            _require(row["endpoint"] == endpoint, f"{request_id}: {row['endpoint']} in place of {endpoint}")
            _require(row["status"] == 200 and row["input_tokens"] > 0, f"{request_id}: {row}")
        total = _expect(self._ask("GET", "/v1/usage", bearer(self.target.key)), 200).json()["total"]
        grown = total["requests"] - before["requests"]
        _require(grown >= len(self._called), f"the total grew by {grown}, not by {len(self._called)}")
        cost = sum(rows[request_id]["cost_nano_usd"] for request_id in self._called)
        _require(cost > 0, "the requests cost nothing")
        return Result("", note=f"{len(self._called)} requests, ${cost / 1e9:.6f}")

    def _rows(self) -> dict[str, dict[str, Any]]:
        """The key's newest requests by id, of today and, just after midnight UTC, of yesterday."""
        found: dict[str, dict[str, Any]] = {}
        for seconds in (0, 300):
            day = time.strftime("%Y-%m-%d", time.gmtime(time.time() - seconds))
            path = f"/v1/usage/requests?order=desc&limit=100&day={day}"
            rows = _expect(self._ask("GET", path, bearer(self.target.key)), 200).json()["data"]
            found.update({row["request_id"]: row for row in rows})
        return found

    def _revocation(self) -> Result:
        """A key of its own works, is revoked, and its next request is refused."""
        admin = bearer(self.target.admin_key)
        made = _expect(self._ask("POST", "/admin/keys", admin, {"name": "smoke test"}), 201).json()
        chat = DIALECTS[0]
        try:
            self._buffered(chat, made["key"])
        finally:
            _expect(self._ask("DELETE", f"/admin/keys/{made['kid']}", admin), 200)
        return self._refused(chat, made["key"])


def _expect(reply: Reply, status: int) -> Reply:
    _require(reply.status == status, f"status {reply.status}: {_excerpt(reply)}")
    return reply


def _require(good: bool, problem: str) -> None:
    if not good:
        raise CheckFailed(problem)


def _excerpt(reply: Reply, *, end: bool = False) -> str:
    text = reply.body[-_EXCERPT:] if end else reply.body[:_EXCERPT]
    return text.decode("utf-8", "replace").replace("\n", " ").strip() or "an empty body"


def _timed(reply: Reply) -> Result:
    if not reply.arrivals:
        raise CheckFailed("an empty body")
    return Result("", first_ms=reply.arrivals[0] * 1000, last_ms=reply.arrivals[-1] * 1000, reads=len(reply.arrivals))
