"""The heartbeat: writes a file and requests an address regularly, as long as the trader works.

A watchdog on another computer sends an alert when the heartbeat stops: the trader hangs, or its
computer is down. The session of each symbol calls `note_heartbeat` once a second, and so does a
start that waits. A thread sends heartbeats only while each symbol has done so within
`STALE_SECONDS`.
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
    """State of the trader: `trading`, `degraded` or `halted`."""


_beats: dict[str, _Beat] = {}


def note_heartbeat(account: str, symbol: str, state: str) -> None:
    """Note that the session of a symbol works.

    Args:
        account: Name of the account.
        symbol: Symbol of the session.
        state: State of the trader, which is written to the heartbeat file.
    """
    _beats[f"{account}, {symbol}"] = _Beat(time.monotonic(), state)


def end_beats(account: str, symbols: Iterable[str]) -> None:
    """Remove symbols from the heartbeat until their sessions call `note_heartbeat` again."""
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
    """Send heartbeats in a thread while the block runs; without file and address, do nothing.

    Noted heartbeats of earlier blocks are forgotten. The address is not requested while a symbol is
    halted.
    """
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
    """Sends heartbeats; prints a failure, and when heartbeats work again."""

    def __init__(self, settings: MonitoringSettings) -> None:
        self._settings = settings
        self._failures: dict[str, str] = {}

    def run(self, stopped: threading.Event) -> None:
        """Send heartbeats until the event is set; the first one as soon as the trader works."""
        while not stopped.is_set():
            is_sent = self._send()
            stopped.wait(self._settings.heartbeat_seconds if is_sent else 1.0)

    def _send(self) -> bool:
        """Send a heartbeat if the trader works; return whether it works."""
        beats = dict(_beats)
        now = time.monotonic()
        if not beats or any(now - beat.at > STALE_SECONDS for beat in beats.values()):
            return False
        states = {name: beat.state for name, beat in beats.items()}
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
            # No error may end the thread: the next heartbeat is tried in any case.
            text = f"{name}: {error}"
            if self._failures.get(name) != text:
                self._failures[name] = text
                print_line(f"no heartbeat: {text}; it is tried again", level="WARNING")
        else:
            if self._failures.pop(name, None) is not None:
                print_line(f"heartbeats again: {name}")


def _write(file: Path, states: dict[str, str]) -> None:
    """Write time, process id and states to the file; readers never see a part of it."""
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
    with urllib.request.urlopen(request, timeout=REQUEST_SECONDS) as response:  # noqa: S310 - checked
        response.read(1)
