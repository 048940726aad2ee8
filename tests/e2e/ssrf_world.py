"""A gateway in a network where every address is a trap: asks it for forbidden things and says who was connected to.

Runs under `netns.sh`, which makes every IPv4 and IPv6 address local. Listeners on the wildcard addresses note where
each connection was meant to go; only a few public-looking addresses serve anything that a gateway may fetch. Prints one
JSON object: case name -> {status, code, kind, param, message, bad, good, sent, said}.
"""

import json
import socket
import sys
import tempfile
import threading
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from infra.local.emulator import EmulatorServer
from infra.local.emulator.media import png
from tests.e2e.name_server import NameServer
from tests.running import Gateway, running_gateway

IMAGE = png("ssrf")
PUBLIC, OTHER, PUBLIC6 = "93.184.216.34", "151.101.1.69", "2606:4700::1111"
GOOD = frozenset({PUBLIC, OTHER, PUBLIC6})
REFUSAL = "Cannot fetch content from the provided URL. Please ensure the URL is valid and accessible."
PORTS = (80, 443, 9001)  # those a link may name, and the Lambda runtime API's

FORBIDDEN = (
    *("127.0.0.1", "127.8.8.8", "0.0.0.0", "10.0.0.5", "172.16.0.5", "172.31.255.254", "192.168.0.5"),
    *("100.64.0.5", "169.254.169.254", "169.254.170.2", "168.63.129.16", "192.0.0.8", "192.0.2.5", "198.18.0.5"),
    *("198.51.100.5", "203.0.113.5", "224.0.0.5", "240.0.0.5", "255.255.255.255", "192.88.99.1"),
    *("::", "::1", "::7f00:1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "64:ff9b::7f00:1", "64:ff9b:1::a00:5"),
    *("2002:7f00:1::", "2001:0:7f00:1::5", "fe80::5", "fec0::5", "fc00::5", "fd00:ec2::254", "ff02::5", "5f00::5"),
    *("2001:db8::5", "100::5", "3fff::5"),
)
LITERALS = (
    *("http://127.0.0.1/", "http://127.1/", "http://2130706433/", "http://0x7f000001/", "http://0177.0.0.1/"),
    *(
        "http://127.0.0.1./",
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://127\u30020\u30020\u30021/",
        "http://0/",
        "http://[::1]/",
    ),
    *("http://[::ffff:127.0.0.1]/", "http://[fe80::1%25lo]/", "http://[fd00:ec2::254]/", "http://localhost/"),
    *("http://169.254.169.254/latest/meta-data/iam/", "http://169.254.170.2/v2/credentials", "http://10.0.0.5/"),
    *("http://127.0.0.1:9001/2018-06-01/runtime/invocation/next", "http://img.example.com:9001/", "//127.0.0.1/a.png"),
    *("http://img.example.com@127.0.0.1/", "http://127.0.0.1#@img.example.com/", "http://img.example.com\\@127.0.0.1/"),
    *("http://127.0.0.1%2eexample.com/", "gopher://127.0.0.1/", "file:///etc/passwd", "ftp://img.example.com/a.png"),
    *("http://metadata.google.internal/computeMetadata/v1/", "http://printer.local/", "http://intranet/"),
)
HOPS = (
    *("http://127.0.0.1/", "http://127.0.0.1:9001/2018-06-01/runtime/invocation/next", "http://0x7f.1/"),
    *("http://169.254.169.254/latest/meta-data/", "http://[::1]/", "http://name-0.example.com/", "//10.0.0.5/a.png"),
    *("file:///etc/passwd", "gopher://127.0.0.1:6379/_", "http://user@127.0.0.1/", "http://localhost/"),
)


class Traps:
    """Listeners on every address at the ports of PORTS; `hits` counts connections by the address they were meant for,
    `said` keeps the first bytes of each."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.said: list[bytes] = []
        for port in PORTS:
            for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                trap = socket.socket(family)
                trap.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    trap.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                trap.bind((everywhere, port))
                trap.listen(64)
                threading.Thread(target=self._serve, args=(trap,), daemon=True).start()

    def _serve(self, trap: socket.socket) -> None:
        while True:
            connection, _ = trap.accept()
            meant = str(ip_address(connection.getsockname()[0]))
            self.hits[meant] += 1
            threading.Thread(target=self._answer, args=(connection, meant), daemon=True).start()

    def _answer(self, connection: socket.socket, meant: str) -> None:
        with connection:
            connection.settimeout(5)
            said = connection.recv(65536)
            self.said.append(said)
            if not said.startswith(b"GET /"):
                return  # a TLS greeting: nobody here has a certificate
            connection.sendall(self._page(said.split()[1].decode()))

    def _page(self, path: str) -> bytes:
        """An image, whoever is asked: a forbidden server that is reached is a leak that shows in the answer too."""
        if path.startswith("/hop/"):
            return _http("302 Found", b"", f"location: {HOPS[int(path[5:])]}\r\nset-cookie: a=b\r\n")
        if path == "/moved":
            return _http("302 Found", b"", "location: http://cdn.example.com/a.png\r\n")
        if path == "/loop":
            return _http("302 Found", b"", "location: /loop\r\n")
        if path == "/page":
            page = b'<html><meta http-equiv="refresh" content="0;url=http://10.0.0.5/">'
            return _http("200 OK", page, "content-type: text/html\r\n")
        if path == "/svg":
            return _http("200 OK", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "content-type: image/svg+xml\r\n")
        return _http("200 OK", IMAGE, "content-type: image/png\r\n")


def _http(status: str, body: bytes, headers: str) -> bytes:
    return f"HTTP/1.1 {status}\r\n{headers}content-length: {len(body)}\r\nconnection: close\r\n\r\n".encode() + body


class World:
    def __init__(self, gateway: Gateway, upstream: EmulatorServer, traps: Traps, names: NameServer) -> None:
        self.gateway, self.upstream, self.traps, self.names = gateway, upstream, traps, names
        self.results: dict[str, Any] = {}
        self.key = self._key(url_fetch=True)

    def _key(self, **terms: Any) -> str:
        _, made = post(self.gateway.base_url + "/admin/keys", self.gateway.admin_key, {"name": "ssrf", **terms})
        return str(made["key"])

    def ask(self, case: str, asked: tuple[str, dict[str, Any]], key: str = "", *, refused: bool = False) -> None:
        """One request and what came of it; `refused`: the upstream says first that it cannot fetch the link."""
        path, body = asked
        self.traps.hits.clear()
        self.traps.said.clear()
        self.upstream.reset()
        if refused:
            self.upstream.script({"error": {"status": 400, "message": REFUSAL}})
        status, answer = post(self.gateway.base_url + path, key or self.key, body)
        error = answer.get("error") if isinstance(answer.get("error"), dict) else {}
        hits = dict(self.traps.hits)
        self.results[case] = {
            "status": status,
            "code": error.get("code"),
            "kind": error.get("type") or error.get("status"),
            "param": error.get("param"),
            "message": error.get("message"),
            "bad": {meant: count for meant, count in hits.items() if meant not in GOOD},
            "good": {meant: count for meant, count in hits.items() if meant in GOOD},
            "sent": [_media(recorded["body"]) for recorded in self.upstream.requests if recorded.get("body")],
            "said": [said[:2000].decode("latin-1") for said in self.traps.said],
        }

    def run(self) -> None:
        self._literals()
        self._names()
        self._control()
        self._rebinding()
        self._redirects()
        self._dialects()
        self._allowed()

    def _literals(self) -> None:
        for url in LITERALS:
            self.ask(f"literal {url}", chat(url))

    def _names(self) -> None:
        """Names of forbidden addresses, alone and beside a public one; by http at once, by https after Google's no."""
        for number, address in enumerate(FORBIDDEN):
            alone, beside = f"name-{number}.example.com", f"mixed-{number}.example.com"
            public = PUBLIC6 if ":" in address else PUBLIC
            self.names.given[alone] = [[address]]
            self.names.given[beside] = [[public, address]]
            self.ask(f"name {address}", chat(f"http://{alone}/a.png"))
            self.ask(f"mixed {address}", chat(f"http://{beside}/a.png"))
            self.ask(f"https {address}", chat(f"https://{alone}/a.png"), refused=True)

    def _control(self) -> None:
        """What a fetcher without a guard would do is seen: else nothing here proves anything."""
        self.traps.hits.clear()
        for host in ("name-0.example.com", "[fd00:ec2::254]", "169.254.169.254"):
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(f"http://{host}/a.png", timeout=5):
                pass
        self.results["control"] = {"bad": dict(self.traps.hits)}

    def _rebinding(self) -> None:
        """Public at the first look, loopback from then on; and each time in turn."""
        self.names.given["rebind.example.com"] = [[PUBLIC], ["127.0.0.1"]]
        for turn in ("first", "second"):
            self.ask(f"rebinding {turn}", chat("http://rebind.example.com/a.png"))
        self.names.given["turns.example.com"] = [[PUBLIC], ["169.254.169.254"]] * 20
        for turn in range(6):
            self.ask(f"in turn {turn}", chat("http://turns.example.com/a.png"))

    def _redirects(self) -> None:
        for number, target in enumerate(HOPS):
            self.ask(f"hop {target}", chat(f"http://img.example.com/hop/{number}"))
        for page in ("loop", "page", "svg"):
            self.ask(page, chat(f"http://img.example.com/{page}"))

    def _dialects(self) -> None:
        """The same refusals whichever way the link comes in; and how each sends a link that may be fetched."""
        for name, dialect in DIALECTS.items():
            for kind, host in (("bad", "name-0"), ("good", "img")):
                late = name == "messages"  # takes https only: the fetcher's turn comes after the upstream's refusal
                asked = dialect(f"{'https' if late else 'http'}://{host}.example.com/a.png")
                self.ask(f"{kind} {name}", asked, refused=late)

    def _allowed(self) -> None:
        self.ask("image", chat("http://img.example.com/a.png"))
        self.ask("image by IPv6", chat("http://six.example.com/a.png"))
        self.ask("moved image", chat("http://img.example.com/moved"))
        self.ask("tls", chat("https://img.example.com/a.png"), refused=True)
        self.ask("left to Google", chat("https://img.example.com/a.png"))
        plain = self._key()
        self.ask("key that may not", chat("http://img.example.com/a.png"), plain)
        self.ask("key that may not, after Google", chat("https://img.example.com/a.png"), plain, refused=True)
        many = [f"http://img.example.com/{number}.png" for number in range(9)]
        self.ask("eight links", chat(*many[:8]))
        self.ask("nine links", chat(*many))


def chat(*urls: str) -> tuple[str, dict[str, Any]]:
    parts = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return "/v1/chat/completions", {"model": MODEL, "messages": [{"role": "user", "content": parts}]}


def chat_stream(url: str) -> tuple[str, dict[str, Any]]:
    path, body = chat(url)
    return path, {**body, "stream": True}


def responses(url: str) -> tuple[str, dict[str, Any]]:
    content = [{"type": "input_image", "image_url": url}]
    return "/v1/responses", {"model": MODEL, "input": [{"role": "user", "content": content}]}


def messages(url: str) -> tuple[str, dict[str, Any]]:
    content = [{"type": "image", "source": {"type": "url", "url": url}}]
    body = {"model": MODEL, "max_tokens": 99, "messages": [{"role": "user", "content": content}]}
    return "/v1/messages", body


def native(url: str) -> tuple[str, dict[str, Any]]:
    part = {"fileData": {"fileUri": url, "mimeType": "image/png"}}
    return f"/v1beta/models/{MODEL}:generateContent", {"contents": [{"role": "user", "parts": [part]}]}


def image_edit(url: str) -> tuple[str, dict[str, Any]]:
    body = {"model": "gemini-3.1-flash-image", "prompt": "brighter", "images": [{"image_url": url}]}
    return "/v1/images/edits", body


MODEL = "gemini-3.6-flash"
DIALECTS: dict[str, Callable[[str], tuple[str, dict[str, Any]]]] = {
    "chat": chat,
    "chat stream": chat_stream,
    "responses": responses,
    "messages": messages,
    "native": native,
    "image edit": image_edit,
}


def _media(body: Any) -> list[str]:
    """What the upstream got: the type of inlined media, the address of linked ones."""
    parts = [part for content in body.get("contents", ()) for part in content.get("parts", ())]
    inlined = [part["inlineData"]["mimeType"] for part in parts if "inlineData" in part]
    return inlined + [part["fileData"]["fileUri"] for part in parts if "fileData" in part]


def post(url: str, key: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=60) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text.startswith(b"{") else {}
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


@contextmanager
def world(state: Path) -> Iterator[World]:
    names = NameServer("127.0.0.53")
    names.given |= {
        "img.example.com": [[PUBLIC]],
        "cdn.example.com": [[OTHER]],
        "six.example.com": [[PUBLIC6]],
    }
    traps = Traps()
    with EmulatorServer() as upstream:
        environment = {"GEMINI_API_KEY": "test-upstream-key", "GEMINI_BASE_URL": upstream.base_url}
        with running_gateway(state, environment) as gateway:
            yield World(gateway, upstream, traps, names)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder, world(Path(folder) / "state") as made:
        made.run()
        json.dump(made.results, sys.stdout)
