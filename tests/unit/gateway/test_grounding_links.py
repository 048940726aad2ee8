"""Sources of grounded answers behind Google's redirects: resolved where that is switched on, and never at the cost of
the answer."""

import asyncio
import json
from collections.abc import AsyncIterator

import httpx
import pytest

from infra.local.emulator import EmulatorServer
from shared.events import BlockDelta, BlockEnd, BlockStart, Citation, End, Start, Usage
from shared.gateway import grounding_links
from shared.gateway.app import build_app
from shared.gateway.auth import Authenticator
from shared.gateway.grounding_links import with_targets
from shared.gateway.pipeline import Services
from shared.gateway.pool import CredentialPool
from shared.gateway.settings import Settings
from shared.gateway.upstream import Upstream
from shared.gemini.client import GeminiClient
from tests.unit.gateway.kept_documents import MemoryStore
from tests.unit.gemini_native.conftest import KEY, Directory, Ledger, Secrets

ROOT = "https://vertexaisearch.cloud.google.com"
PAGES = {"EMULATED1": "https://example.com/one", "EMULATED2": "http://www.example.org/two?a=b#c"}
REDIRECTS = {f"{ROOT}/grounding-api-redirect/{name}": page for name, page in PAGES.items()}


def redirect(target: str, status: str = "302 Found", extra: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nlocation: {target}\r\n{extra}content-length: 0\r\n\r\n".encode()


class RedirectHost:
    """Stands for Google's host: answers by path, holds back what is None until the test is over."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes | None] = {
            f"/grounding-api-redirect/{name}": redirect(page) for name, page in PAGES.items()
        }
        self.heads: list[str] = []
        self.waiting = self.most_waiting = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def paths(self) -> list[str]:
        return [head.split()[1] for head in self.heads]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                self.heads.append(head)
                self.waiting += 1
                self.most_waiting = max(self.waiting, self.most_waiting)
                await asyncio.sleep(0.002)  # so that what is asked at once is seen at once
                answer = self.answers.get(head.split()[1], b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
                if answer is None:
                    await asyncio.Event().wait()
                    return
                self.waiting -= 1
                writer.write(answer)
                await writer.drain()
                if not answer.endswith(b"\r\n\r\n"):
                    return  # broken off
        except asyncio.IncompleteReadError:
            return
        finally:
            writer.close()


@pytest.fixture
async def host() -> AsyncIterator[RedirectHost]:
    made = RedirectHost()
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def client(host: RedirectHost) -> AsyncIterator[GeminiClient]:
    made = GeminiClient("http://127.0.0.1:1", redirect_root=host.url)
    yield made
    await made.aclose()


class Exchange:
    def __init__(self, remaining_s: float = 100.0) -> None:
        self.remaining_s = remaining_s


TEXT = [Start("r", "m"), BlockStart(0, "text"), BlockDelta(0, "Zürich"), BlockEnd(0)]


async def answer(links: list[str], chunks: list[str] | None = None):
    yield TEXT
    cited = [Citation(number, number + 1, link, "t") for number, link in enumerate(links)]
    found = [{"web": {"uri": link, "title": "t"}} for link in (links if chunks is None else chunks)]
    metadata = {"groundingMetadata": {"groundingChunks": found}} if found else {}
    yield [*cited, End("stop", "STOP", Usage(), metadata=metadata)]


async def shown(client: GeminiClient, links: list[str], total_s: float = 5.0, remaining_s: float = 100.0) -> list[str]:
    """The links of the citations, which are those of the metadata too."""
    bursts = with_targets(answer(links), client.location, Exchange(remaining_s), total_s)
    events = [event async for burst in bursts for event in burst]
    assert events[: len(TEXT)] == TEXT
    *cited, end = events[len(TEXT) :]
    chunks = end.metadata["groundingMetadata"]["groundingChunks"]
    assert [chunk["web"]["uri"] for chunk in chunks] == [item.url for item in cited]
    assert [(item.start, item.end, item.title) for item in cited] == [(n, n + 1, "t") for n in range(len(links))]
    return [item.url for item in cited]


async def test_redirects_become_where_they_lead(host, client):
    links = list(REDIRECTS)
    assert await shown(client, [links[1], "https://example.net/", *links, links[1]]) == [
        PAGES["EMULATED2"],
        "https://example.net/",
        PAGES["EMULATED1"],
        PAGES["EMULATED2"],
        PAGES["EMULATED2"],
    ]
    assert sorted(host.paths) == sorted(link.removeprefix(ROOT) for link in links)


async def test_a_question_carries_nothing_of_ours(host, client):
    path = "/grounding-api-redirect/EMULATED1"
    host.answers[path] = redirect("https://example.com/", extra="set-cookie: id=1; path=/\r\n")
    assert await client.location(ROOT + path) == await client.location(ROOT + path) == "https://example.com/"
    assert [head.split("\r\n")[0] for head in host.heads] == [f"HEAD {path} HTTP/1.1"] * 2
    for head in host.heads:
        names = {line.partition(":")[0].lower() for line in head.split("\r\n")[1:] if line}
        assert names == {"host", "accept-encoding", "user-agent"}


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "303 See Other", "307 T", "308 P"])
async def test_every_kind_of_redirect_counts(host, client, status):
    link, path = f"{ROOT}/x?y=%2F&z", "/x?y=%2F&z"
    host.answers[path] = redirect("https://example.com/a b".replace(" ", "%20"), status)
    assert await shown(client, [link]) == ["https://example.com/a%20b"]


@pytest.mark.parametrize(
    "reply",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 302 Found\r\ncontent-length: 0\r\n\r\n",
        redirect("https://example.com/", "200 OK"),
        redirect("https://example.com/", "304 Not Modified"),
        b"nonsense\r\n\r\n",
        b"",
        b"HTTP/1.1 302 Found\r\nlocation: https://exam",
        redirect("/relative"),
        redirect("//example.com/"),
        redirect("javascript:alert(1)"),
        redirect("file:///etc/passwd"),
        redirect("http://127.0.0.1/"),
        redirect("https://169.254.169.254/latest"),
        redirect("http://localhost:8080/"),
        redirect("https://user:pass@example.com/"),
        redirect("https://2130706433/"),
        redirect("https://example.com/" + "a" * 9000),
        redirect(""),
    ],
)
async def test_what_leads_nowhere_public_stays_as_it_was(host, client, reply):
    link = f"{ROOT}/grounding-api-redirect/odd"
    host.answers[link.removeprefix(ROOT)] = reply
    assert await shown(client, [link, next(iter(REDIRECTS))]) == [link, PAGES["EMULATED1"]]


async def test_nobody_answers():
    client = GeminiClient("http://127.0.0.1:1", redirect_root="http://127.0.0.1:1")
    link = next(iter(REDIRECTS))
    assert await shown(client, [link]) == [link]
    await client.aclose()


async def test_other_hosts_are_never_asked(host, client):
    others = [
        "https://example.com/",
        f"http{ROOT[5:]}/x",
        f"{ROOT}.example/x",
        "",
        f"{ROOT}:443/x",
        f"{ROOT}/a\r\nb: c",
    ]
    assert await shown(client, others) == others
    assert [await client.location(link) for link in others] == [None] * len(others)
    assert host.heads == []


async def test_the_wait_is_bounded_as_a_whole(host, client):
    slow = [f"{ROOT}/slow/{number}" for number in range(3)]
    host.answers |= dict.fromkeys((link.removeprefix(ROOT) for link in slow), None)
    quick = next(iter(REDIRECTS))
    clock = asyncio.get_running_loop().time
    began = clock()
    assert await shown(client, [*slow, quick], total_s=0.3) == [*slow, PAGES["EMULATED1"]]
    assert 0.25 < clock() - began < 1.5
    assert await shown(client, [*slow], remaining_s=0.5) == slow  # the request itself has no time left for it
    assert clock() - began < 2.5


async def test_few_at_once_and_not_too_many(host, client, monkeypatch):
    monkeypatch.setattr(grounding_links, "MOST_LINKS", 30)
    links = [f"{ROOT}/many/{number}" for number in range(32)]
    host.answers |= {link.removeprefix(ROOT): redirect(f"https://example.com/{n}") for n, link in enumerate(links)}
    assert await shown(client, links) == [f"https://example.com/{number}" for number in range(30)] + links[30:]
    assert len(host.heads) == 30
    assert 1 < host.most_waiting <= grounding_links.AT_ONCE


async def test_text_does_not_wait(host, client):
    """Everything up to the last text is out before anybody is asked."""
    bursts = with_targets(answer(list(REDIRECTS)), client.location, Exchange())
    assert await anext(bursts) == TEXT
    assert host.heads == []
    assert isinstance((await anext(bursts))[0], Citation)
    assert len(host.heads) == 2
    await bursts.aclose()


async def test_sources_without_a_citation_are_resolved_too(host, client):
    link = next(iter(REDIRECTS))
    *_, (*_, end) = [burst async for burst in with_targets(answer([], [link]), client.location, Exchange())]
    assert end.metadata["groundingMetadata"]["groundingChunks"][0]["web"]["uri"] == PAGES["EMULATED1"]


async def test_an_answer_without_sources_asks_nobody(host, client):
    bursts = [burst async for burst in with_targets(answer([]), client.location, Exchange())]
    assert bursts == [TEXT, [End("stop", "STOP", Usage(), metadata={})]]
    assert host.heads == []


# through the whole gateway, in every dialect that shows sources


class Peppered(Secrets):
    async def pepper(self, pepper_id=None):
        return "p1", b"p" * 32


class NoSignatures:
    async def get(self, acct, keys):
        return {}

    async def put(self, acct, items, expires_at):
        raise AssertionError("nothing is signed here")


ANTHROPIC = {
    "model": "gemini-2.5-flash",
    "max_tokens": 4096,
    "messages": [{"role": "user", "content": "What is new?"}],
    "tools": [{"type": "web_search_20250305", "name": "web_search"}],
}
CHAT = {
    "model": "gemini-2.5-flash",
    "messages": [{"role": "user", "content": "What is new?"}],
    "web_search_options": {},
}
RESPONSES = {
    "model": "gemini-2.5-flash",
    "input": "What is new?",
    "tools": [{"type": "web_search"}],
    "store": False,
    "include": ["web_search_call.action.sources"],
}
ASKED = [("/v1/messages", ANTHROPIC), ("/v1/chat/completions", CHAT), ("/v1/responses", RESPONSES)]


@pytest.fixture(scope="module")
def emulator():
    with EmulatorServer() as running:
        yield running


async def ask(emulator, host, settings: Settings, path: str, body) -> str:
    client = GeminiClient(emulator.base_url, redirect_root=host.url)
    secrets = Peppered()
    services = Services(
        settings=settings,
        authenticator=Authenticator(Directory()),
        ledger=Ledger(),
        queue=None,
        signatures=NoSignatures(),
        upstream=Upstream(client, CredentialPool(secrets), settings),
        secrets=secrets,
        kept=MemoryStore(),
    )
    transport = httpx.ASGITransport(build_app(services, ("messages", "chat", "responses")))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway", timeout=30) as http:
        answer = await http.post(path, json=body, headers={"authorization": f"Bearer {KEY}"})
    await client.aclose()
    assert answer.status_code == 200, answer.text
    return answer.text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(("path", "body"), ASKED)
async def test_clients_see_the_pages(emulator, host, path, body, stream):
    said = await ask(emulator, host, Settings(resolve_grounding_urls=True), path, {**body, "stream": stream})
    for page in PAGES.values():
        assert said.count(json.dumps(page)) >= 2  # as a source and as a citation
    assert ROOT not in said


@pytest.mark.parametrize(("path", "body"), ASKED)
async def test_by_default_redirects_are_passed_on(emulator, host, path, body):
    said = await ask(emulator, host, Settings(), path, body)
    assert all(json.dumps(link) in said for link in REDIRECTS)
    assert host.heads == []


@pytest.mark.parametrize(("text", "wanted"), [("", False), ("true", True), ("false", False)])
def test_the_switch(text, wanted):
    assert Settings.from_env({"RESOLVE_GROUNDING_URLS": text}).resolve_grounding_urls is wanted


async def test_blocked_domains_are_told_by_the_page(emulator, host):
    tool = {**ANTHROPIC["tools"][0], "blocked_domains": ["www.example.org"]}
    said = await ask(
        emulator, host, Settings(resolve_grounding_urls=True), *ASKED[0][:1], {**ANTHROPIC, "tools": [tool]}
    )
    results = json.loads(said)["content"][1]["content"]
    assert [result["url"] for result in results] == [PAGES["EMULATED1"]]
