"""A real Chromium, driven by Playwright: what a person sees, clicks and types."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser as Chromium
from playwright.sync_api import Error, Locator, Page, Request, sync_playwright

from tests.running import clean_environment

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
_WIDTH, _HEIGHT = 1280, 900


def executable() -> str:
    """The system's Chromium: Playwright's own would want its libraries and fonts from the system all the same. Where it
    is missing CI installs Debian's; elsewhere the test is skipped and says so."""
    found = shutil.which("chromium")
    if found is None and os.environ.get("CI") == "true":
        as_root = [] if os.geteuid() == 0 else ["sudo", "-n"]
        for command in (
            ["apt-get", "update", "-qq"],
            ["apt-get", "install", "-y", "-qq", "chromium", "fonts-liberation"],
        ):
            subprocess.run([*as_root, *command], check=True, capture_output=True, timeout=600)
        found = shutil.which("chromium")
        assert found, "the package chromium brought no program"
    if found is None:
        pytest.skip("needs Debian's package chromium, which CI=true installs")
    return found


@contextmanager
def running_chromium(profile: Path) -> Iterator[Chromium]:
    """Headless; what it keeps for itself stays in `profile`, what a test does in a context of its own."""
    home = {"HOME": str(profile), "XDG_CONFIG_HOME": str(profile), "XDG_CACHE_HOME": str(profile)}
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=executable(), args=list(_ARGUMENTS), env=clean_environment() | home
        )
        yield chromium
        chromium.close()


@contextmanager
def opened(chromium: Chromium, *, phone: bool = False, theme: str = "light") -> Iterator["Browser"]:
    """A window with nothing in its storage, and nothing moving on its page."""
    size = {"width": 390, "height": 844} if phone else {"width": _WIDTH, "height": _HEIGHT}
    context = chromium.new_context(
        viewport=size,
        is_mobile=phone,
        has_touch=phone,
        color_scheme=theme,
        reduced_motion="reduce",
        locale="en-US",
    )
    yield Browser(context.new_page())
    context.close()


class Browser:
    """One window. Every lookup waits for what it looks for, `patience_s` at most."""

    def __init__(self, page: Page, patience_s: float = 10.0) -> None:
        self.page = page
        self._patience_s = patience_s
        self._said: list[tuple[str, str]] = []
        self._sent: list[Request] = []
        page.set_default_timeout(patience_s * 1000)
        page.on("request", lambda request: self._sent.append(request))
        page.on("pageerror", lambda error: self._said.append(("exception", str(error))))
        self._protocol = page.context.new_cdp_session(page)
        self._protocol.on("Log.entryAdded", lambda event: self._hear(event["entry"]))
        self._protocol.on("Runtime.consoleAPICalled", lambda event: self._said.append(("console", str(event["args"]))))
        self._protocol.send("Log.enable")
        self._protocol.send("Runtime.enable")

    def _hear(self, entry: dict[str, Any]) -> None:
        self._said.append((entry["source"], entry["text"]))

    def open(self, url: str) -> None:
        self.page.goto(url)

    def run(self, script: str, *arguments: Any) -> Any:
        """The value, or the promise's value, that the script's `return` gives; no policy of the page's forbids it."""
        return self.page.evaluate(
            f"(given) => (async function () {{ {script} }}).apply(null, given)",
            list(arguments),
        )

    def until(self, script: str, *arguments: Any, patience_s: float | None = None) -> Any:
        """The first value of the script that is not falsy, on this page or on the one it leads to."""
        end = time.monotonic() + (patience_s or self._patience_s)
        while not (value := self._tried(script, *arguments)):
            assert time.monotonic() < end, f"never true: {script} {arguments}; the page says:\n{self.text()}"
            self.page.wait_for_timeout(50)
        return value

    def _tried(self, script: str, *arguments: Any) -> Any:
        try:
            return self.run(script, *arguments)
        except Error as error:
            if "context was destroyed" not in error.message:
                raise
            return None  # the page was left meanwhile

    def text(self, css: str = "body") -> str:
        return self.run("return document.querySelector(arguments[0])?.innerText ?? ''", css)

    def sees(self, css: str, text: str, *, patience_s: float | None = None) -> None:
        """Waits until a visible element that `css` selects has the text in it."""
        script = (
            "return [...document.querySelectorAll(arguments[0])]"
            ".some((one) => one.checkVisibility() && one.innerText.includes(arguments[1]))"
        )
        self.until(script, css, text, patience_s=patience_s)

    def _visible(self, css: str) -> Locator:
        return self.page.locator(css).filter(visible=True).first

    def click(self, css: str) -> None:
        self._visible(css).click()

    def type(self, css: str, text: str) -> None:
        self._visible(css).fill(text)

    def choose(self, css: str, value: str) -> None:
        self._visible(css).select_option(value)

    def press(self, key: str) -> None:
        """One key on whatever has the focus, by the name that the key has in its event."""
        self.page.keyboard.press(key)

    def theme(self, name: str) -> None:
        self.page.emulate_media(color_scheme=name)

    def scripts(self, *, allowed: bool) -> None:
        """Whether the page's own scripts run; the questions of a test need them."""
        self._protocol.send("Emulation.setScriptExecutionDisabled", {"value": not allowed})

    def said(self) -> list[tuple[str, str]]:
        """(source, text) of what the console said since the last call: refusals of the content security policy under
        `security` or `other`, a failed load under `network`, an exception that nobody caught under `exception`."""
        self.page.evaluate("0")  # whatever was sent before the answer has arrived with it
        said, self._said = self._said, []
        return said

    def requested(self) -> list[dict[str, Any]]:
        """Every request that the page sent since the last call, with the headers that left: `{url, headers, body}`."""
        self.page.evaluate("0")
        sent, self._sent[:] = list(self._sent), []
        return [
            {"url": one.url, "headers": one.all_headers(), "body": one.post_data or ""}
            for one in sent
            if not one.url.startswith("data:")
        ]

    def screenshot(self, path: Path) -> None:
        """The whole page, however long, with what sticks to the top of the window at the top."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.run("scrollTo(0, 0)")
        self.page.screenshot(path=path, full_page=True)
