"""The heartbeat: a file and an outgoing request, as long as the trader works.

The session of each symbol beats once a second, and so does a start that waits. A separate thread
writes the file and requests the address; while a symbol has not beaten for `STALE_SECONDS`, it does
neither, so a watchdog on another computer notices a trader that hangs as well as a dead host.
"""

import contextlib
import json
import os
import threading
import time
import urllib.request
from collections.abc import Callable, Generator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct

from onetape.cli.output import print_line
from onetape.core.errors import UsageError
from trader.monitoring.folders import make_folder_of
from trader.monitoring.settings import MonitoringSettings

#: Time without a heartbeat after which a session does not work, monotonic seconds.
STALE_SECONDS: Final = 30.0
#: Timeout of a heartbeat's request, seconds.
REQUEST_SECONDS: Final = 10.0


class _Beat(Struct, frozen=True):
    """The last heartbeat of the session of one symbol."""

    at: float
    """Monotonic time of the heartbeat, seconds."""
    state: str


_beats: dict[str, _Beat] = {}


def note_heartbeat(account: str, symbol: str, state: str) -> None:
    """Note that the session of a symbol works, in a state."""
    _beats[f"{account}, {symbol}"] = _Beat(time.monotonic(), state)


def end_beats(account: str, symbols: Iterable[str]) -> None:
    """Forget the heartbeats of an account's symbols until their sessions beat again."""
    for symbol in symbols:
        _beats.pop(f"{account}, {symbol}", None)


def check_heartbeat(settings: MonitoringSettings) -> None:
    """Refuse an address or a file that cannot be used; make the folder of the file.

    Raises:
        UsageError: the address does not begin with http:// or https://.
        ConfigurationError: the folder of the file cannot be made.
    """
    url, file = settings.heartbeat_url, settings.heartbeat_file
    if url is not None and not _is_address(url):
        raise UsageError(
            f"heartbeat_url {url!r} is not an address; it looks like https://example.org/ping/trader",
            setting="heartbeat_url",
        )
    if file is not None:
        make_folder_of(file, "heartbeat_file")


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


@contextlib.contextmanager
def sending_heartbeats(settings: MonitoringSettings) -> Generator[None]:
    """Send heartbeats while the block runs, in a separate thread."""
    if settings.heartbeat_file is None and settings.heartbeat_url is None:
        yield
        return
    _beats.clear()
    stopped = threading.Event()
    sender = _HeartbeatSender(settings)
    thread = threading.Thread(target=sender.run, args=(stopped,), name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        # A request that waits for its response does not delay a stop: the thread is a daemon.
        stopped.set()


class _HeartbeatSender:
    """Sends the heartbeats, and prints when one fails and when they work again."""

    def __init__(self, settings: MonitoringSettings) -> None:
        self._settings = settings
        self._failures: dict[str, str] = {}

    def run(self, stopped: threading.Event) -> None:
        """Send heartbeats until the event is set; the first one as soon as the trader works."""
        while not stopped.is_set():
            is_sent = self._send()
            stopped.wait(self._settings.heartbeat_seconds if is_sent else 1.0)

    def _send(self) -> bool:
        """Send one heartbeat; return whether the trader works."""
        beats = dict(_beats)
        now = time.monotonic()
        if not beats or any(now - one.at > STALE_SECONDS for one in beats.values()):
            return False
        states = {name: one.state for name, one in beats.items()}
        file, url = self._settings.heartbeat_file, self._settings.heartbeat_url
        if file is not None:
            self._try("heartbeat_file", lambda: _write(file, states))
        if url is not None and "halted" not in states.values():
            self._try("heartbeat_url", lambda: _request_url(url))
        return True

    def _try(self, name: str, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:
            # Whatever an address returns, the next heartbeat tries again: the thread goes on.
            text = f"{name}: {error}"
            if self._failures.get(name) != text:
                self._failures[name] = text
                print_line(f"no heartbeat: {text}; it is tried again", level="WARNING")
        else:
            if self._failures.pop(name, None) is not None:
                print_line(f"heartbeats again: {name}")


def _write(file: Path, states: dict[str, str]) -> None:
    """Write the file whole, so that its readers never see a part."""
    document = {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "process": os.getpid(),
        "states": states,
    }
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    draft.write_text(f"{json.dumps(document)}\n", encoding="utf-8")
    draft.replace(file)


def _request_url(url: str) -> None:
    request = urllib.request.Request(url, headers={"User-Agent": "onetape"})  # noqa: S310 - checked
    with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as answer:  # noqa: S310 - checked
        answer.read(1)
