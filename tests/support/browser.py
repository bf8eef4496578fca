"""A headless Chromium driven through a pipe, by the DevTools protocol."""

import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any, Self

import pytest

ANSWER_SECONDS = 90
#: Errors that Chromium returns for a page that is replaced while it is read.
RELOADED = ("navigated or closed", "context was destroyed", "Cannot find context")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--force-device-scale-factor=1",
    "--remote-debugging-pipe",
)
Json = dict[str, Any]


class CommandFailed(Exception):
    """Chromium refused a command."""


class Chromium:
    """One headless browser; commands go in and responses come out as JSON, each ended by a NUL."""

    def __init__(self, program: str, profile: Path) -> None:
        """Start the browser with a fresh profile."""
        taken, self._send = os.pipe()
        self._receive, given = os.pipe()
        command = [program, *FLAGS, f"--user-data-dir={profile}"]
        self._process = subprocess.Popen(  # the browser expects its pipes at descriptors 3 and 4
            ["bash", "-c", f'exec "$@" 3<&{taken} 4>&{given}', "chromium", *command],
            pass_fds=(taken, given),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,  # noise about D-Bus; the page's console comes by the pipe
        )
        os.close(taken)
        os.close(given)
        self._buffer = b""
        self._number = 0
        self.events: list[Json] = []

    def call(self, method: str, session: str | None = None, **parameters: Any) -> Json:
        """Send a command and return its result; other messages are stored in `events`."""
        self._number += 1
        message: Json = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._send, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            response = self._next(deadline, method)
            if response.get("id") != self._number:
                self.events.append(response)
            elif "error" in response:
                raise CommandFailed(f"{method}: {response['error']}")
            else:
                return response["result"]

    def _next(self, deadline: float, waiting_for: str) -> Json:
        while b"\0" not in self._buffer:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._receive], [], [], left)[0]:
                pytest.fail(f"Chromium did not respond {waiting_for} in {ANSWER_SECONDS} s")
            chunk = os.read(self._receive, 1 << 20)
            if not chunk:
                pytest.fail(f"Chromium ended while {waiting_for} was waiting")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        return json.loads(line)

    def close(self) -> None:
        """Request the browser to end, and kill it if it does not."""
        os.write(self._send, b'{"id":0,"method":"Browser.close"}\0')
        try:
            self._process.wait(ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._send)
        os.close(self._receive)


class BrowserTab:
    """One open report."""

    def __init__(self, browser: Chromium, width: int, height: int) -> None:
        """Open an empty tab of that size, in CSS pixels."""
        self._browser = browser
        self._target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        attached = browser.call("Target.attachToTarget", targetId=self._target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def call(self, method: str, **parameters: Any) -> Json:
        """Send a command to this tab."""
        return self._browser.call(method, self._session, **parameters)

    def open(self, path: Path) -> Self:
        """Load a file and wait until its charts are drawn."""
        self.call("Page.navigate", url=path.as_uri())
        self.wait_for("document.readyState === 'complete'")
        self.settle()
        return self

    def run(self, script: str) -> Any:
        """Return the value of an expression; promises are awaited."""
        response = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True
        )
        if "exceptionDetails" in response:
            pytest.fail(f"{script}: {response['exceptionDetails']}")
        return response["result"].get("value")

    def wait_for(self, condition: str) -> None:
        """Poll until the condition holds, a hundred times a second: others need the processor.

        A page that reloads at this moment does not respond, and is read again.
        """
        deadline = time.monotonic() + ANSWER_SECONDS
        while not self._holds(condition):
            if time.monotonic() > deadline:
                pytest.fail(f"never became true: {condition}")
            time.sleep(0.01)

    def _holds(self, condition: str) -> bool:
        try:
            return bool(self.run(condition))
        except CommandFailed as error:
            if any(words in str(error) for words in RELOADED):
                return False
            raise

    def settle(self) -> None:
        """Wait until two frames have been drawn."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def mouse(self, kind: str, x: float, y: float, **more: Any) -> None:
        """Dispatch one real mouse event."""
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    def click(self, x: float, y: float) -> None:
        """Press and release the left button."""
        for kind in ("mousePressed", "mouseReleased"):
            self.mouse(kind, x, y, button="left", clickCount=1)
        self.settle()

    def key(self, key: str) -> None:
        """Press and release a key."""
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=key, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=key)
        self.settle()

    def centre(self, selector: str) -> tuple[float, float]:
        """Scroll an element into view and return its middle, in CSS pixels of the window."""
        box = self.run(
            f"(() => {{ const e = document.querySelector({json.dumps(selector)});"
            "e.scrollIntoView({block: 'center'}); const b = e.getBoundingClientRect();"
            "return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        self.settle()
        return box[0], box[1]

    def complaints(self) -> list[str]:
        """Return the console messages, exceptions and refused requests of this tab."""
        self.settle()
        kinds = ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded")
        return [json.dumps(event["params"]) for event in self._events() if event["method"] in kinds]

    def requests(self) -> list[str]:
        """Return the address of every request that this tab made."""
        return [
            event["params"]["request"]["url"]
            for event in self._events()
            if event["method"] == "Network.requestWillBeSent"
        ]

    def _events(self) -> list[Json]:
        events = self._browser.events
        return [event for event in events if event.get("sessionId") == self._session]

    def dark(self, *, on: bool) -> None:
        """Set whether the user prefers a dark or a light page."""
        value = "dark" if on else "light"
        feature = {"name": "prefers-color-scheme", "value": value}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.settle()

    def close(self) -> None:
        """Close the tab."""
        self._browser.call("Target.closeTarget", targetId=self._target)
