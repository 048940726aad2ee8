"""A real Chromium, driven by the W3C WebDriver protocol: what a person sees, clicks and types."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.running import clean_environment, free_port

_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name of a reference to an element
_ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-prefers-reduced-motion",  # no scrolling under the pointer
    "--lang=en-US",
)


def executables() -> tuple[str, str]:
    """(chromium, chromedriver) of the system. Where they are missing, CI installs them from Debian's packages;
    elsewhere the test is skipped and says so."""
    found = shutil.which("chromium"), shutil.which("chromedriver")
    if not all(found) and os.environ.get("CI") == "true":
        packages = ["chromium", "chromium-driver", "fonts-liberation"]
        as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        for command in (["apt-get", "update", "-qq"], ["apt-get", "install", "-y", "-qq", *packages]):
            subprocess.run([*as_root, *command], check=True, capture_output=True, timeout=600)
        found = shutil.which("chromium"), shutil.which("chromedriver")
        assert all(found), "the packages chromium and chromium-driver brought no programs"
    chromium, driver = found
    if not chromium or not driver:
        pytest.skip("needs Debian's packages chromium and chromium-driver, which CI=true installs")
    return chromium, driver


class Browser:
    """One window. Every lookup waits for what it looks for, `patience_s` at most."""

    def __init__(self, session: str, patience_s: float = 10.0) -> None:
        self._session = session
        self._patience_s = patience_s
        self._size = 1280, 900, False

    def call(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        request = urllib.request.Request(self._session + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return json.loads(answer.read())["value"]
        except urllib.error.HTTPError as error:
            with error:
                told = json.loads(error.read())["value"]
            raise AssertionError(f"{path}: {told['error']}: {told['message']}") from None

    def open(self, url: str) -> None:
        self.call("POST", "/url", {"url": url})

    def run(self, script: str, *arguments: Any) -> Any:
        """The value that the script's `return` gives."""
        return self.call("POST", "/execute/sync", {"script": script, "args": list(arguments)})

    def until(self, script: str, *arguments: Any, patience_s: float | None = None) -> Any:
        """The first value of the script that is not falsy."""
        end = time.monotonic() + (patience_s or self._patience_s)
        while not (value := self.run(script, *arguments)):
            assert time.monotonic() < end, f"never true: {script} {arguments}; the page says:\n{self.text()}"
            time.sleep(0.05)
        return value

    def text(self, css: str = "body") -> str:
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", css)

    def sees(self, css: str, text: str, *, patience_s: float | None = None) -> None:
        """Waits until a visible element that `css` selects has the text in it."""
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".some((one) => one.checkVisibility() && one.innerText.includes(arguments[1]))"
        )
        self.until(script, css, text, patience_s=patience_s)

    def click(self, css: str) -> None:
        element = self._visible(css)
        # the driver takes an element under a sticky header for one in view
        self.run("arguments[0].scrollIntoView({block: 'center'})", {_ELEMENT: element})
        self.call("POST", f"/element/{element}/click", {})

    def type(self, css: str, text: str) -> None:
        element = self._visible(css)
        self.call("POST", f"/element/{element}/clear", {})
        self.call("POST", f"/element/{element}/value", {"text": text})

    def choose(self, css: str, value: str) -> None:
        script = (
            "const select = document.querySelector(arguments[0]); select.value = arguments[1];"
            "select.dispatchEvent(new Event('input', { bubbles: true }));"
            "select.dispatchEvent(new Event('change', { bubbles: true }));"
            "return select.value === arguments[1]"
        )
        self.until(script, css, value)

    def press(self, key: str) -> None:
        """One key on whatever has the focus, by its code point in the protocol."""
        actions = [{"type": "keyDown", "value": key}, {"type": "keyUp", "value": key}]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def cdp(self, command: str, **parameters: Any) -> Any:
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def log(self, kind: str) -> list[dict[str, Any]]:
        """`browser`: what the console says, refusals of the content security policy among it; `performance`: the
        network. Each entry is given once."""
        return self.call("POST", "/se/log", {"type": kind})

    def requested(self) -> list[dict[str, Any]]:
        """Every request that the page sent since the last call: `{url, headers, postData?, ...}`."""
        messages = [json.loads(entry["message"])["message"] for entry in self.log("performance")]
        return [one["params"]["request"] for one in messages if one["method"] == "Network.requestWillBeSent"]

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        self._size = width, height, phone
        self._override(height)

    def screenshot(self, path: Path) -> None:
        """The whole page, however long; the window has its size again afterwards."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._override(self.run("return document.documentElement.scrollHeight"))
        path.write_bytes(base64.b64decode(self.cdp("Page.captureScreenshot", format="png")["data"]))
        self._override(self._size[1])

    def _override(self, height: int) -> None:
        width, _, phone = self._size
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone}
        self.cdp("Emulation.setDeviceMetricsOverride", **metrics)

    def _visible(self, css: str) -> str:
        script = "return [...document.querySelectorAll(arguments[0])].find((one) => one.checkVisibility()) ?? null"
        return self.until(script, css)[_ELEMENT]


@contextmanager
def running_browser(profile: Path) -> Iterator[Browser]:
    """Headless, with a profile of its own; the driver ends what it started."""
    chromium, driver = executables()
    port = free_port()
    home = {"HOME": str(profile), "XDG_CONFIG_HOME": str(profile), "XDG_CACHE_HOME": str(profile)}
    process = subprocess.Popen(
        [driver, f"--port={port}"],
        env=clean_environment() | home,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    base = f"http://127.0.0.1:{port}"
    try:
        _await_ready(base, process)
        options = {
            "binary": chromium,
            "args": [*_ARGUMENTS, f"--user-data-dir={profile / 'chromium'}"],
        }
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        made = Browser(base).call("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})
        browser = Browser(f"{base}/session/{made['sessionId']}")
        browser.size(1280, 900)
        try:
            yield browser
        finally:
            browser.call("DELETE", "")
    finally:
        process.terminate()
        process.wait(timeout=10)


def _await_ready(base: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            with urllib.request.urlopen(f"{base}/status", timeout=2) as answer:
                if json.loads(answer.read())["value"]["ready"]:
                    return
        except OSError:
            assert process.poll() is None, "chromedriver ended"
        assert time.monotonic() < end, "chromedriver never became ready"
        time.sleep(0.1)
