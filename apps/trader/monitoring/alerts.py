"""Alerts: runs a command of the user when a trader trades, changes its state or gets a command.

The alert command gets the event as JSON on its stdin and as ONETAPE_* variables. Each run is a
process in its own session, with a deadline. Threads wait for these processes, so that an alert
command that hangs does not delay the trader.
"""

import contextlib
import os
import queue
import shlex
import shutil
import signal
import subprocess
import threading
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from onetape.cli.events import Event, handle_events
from onetape.cli.output import print_line
from onetape.cli.stop import get_seconds_since_signal
from onetape.core.errors import ConfigurationError
from trader.monitoring.settings import MonitoringSettings

#: Kinds of events (`cli/events.py`) that are alerts.
KINDS: Final = ("state", "fill", "session")
#: Commands to the trader that are alerts; their events have the kind `control`.
VERBS: Final = ("pause", "resume", "exit", "halt", "flatten")
#: Those of them that hold for the account: each symbol prints a line, and one alert is enough.
_FOR_ACCOUNT: Final = ("pause", "resume", "halt")
#: Maximum number of alert commands that run at the same time.
WORKERS: Final = 4
#: Maximum number of alerts that wait for a thread; a further alert replaces the oldest.
MOST_WAITING: Final = 100
#: Longest time from the signal that stops the program until its end, in which alert commands are
#: waited for, wall seconds.
END_SECONDS = 6.5
#: Minimum time that the last alert commands get, even if the stop has taken longer, wall seconds.
MIN_END_SECONDS: Final = 1.0
#: Fields of an event that the command also gets as environment variables.
_VARIABLES: Final = (
    *("account", "symbol", "state", "reason", "remedy", "side", "amount", "price"),
    *("verb", "given_by"),
)


def check_alerts(settings: MonitoringSettings) -> None:
    """Refuse an alert command that cannot be run.

    Raises:
        ConfigurationError: the text is no command, or its program is not found.
    """
    if settings.alert_command is None:
        return
    try:
        words = shlex.split(settings.alert_command)
    except ValueError as error:
        raise ConfigurationError(
            f"alert_command {settings.alert_command!r} cannot be read: {error}"
        ) from error
    if not words or shutil.which(words[0]) is None:
        raise ConfigurationError(
            f"alert_command: the program {words[0] if words else ''!r} is not found; give its "
            "path, and make it executable"
        )


@contextlib.contextmanager
def sending_alerts(settings: MonitoringSettings) -> Generator[None]:
    """Run the alert command at each alert while the block runs; without a command, do nothing.

    At the end of the block the last alerts are sent (`end_alerts`).
    """
    if settings.alert_command is None:
        yield
        return
    sender = _AlertSender(shlex.split(settings.alert_command), settings.alert_timeout_seconds)
    _senders.append(sender)
    with handle_events(sender.take):
        try:
            yield
        finally:
            _senders.remove(sender)
            sender.end()


def end_alerts() -> None:
    """Send the alerts that wait, and wait for their commands, for a process that ends at once.

    `sending_alerts` does this at the end of its block; this is for an end inside the block.
    """
    for sender in _senders:
        sender.end()


_senders: "list[_AlertSender]" = []


class _AlertSender:
    """A queue of alerts, and the threads that run the alert command for each of them."""

    def __init__(self, command: list[str], timeout_seconds: float) -> None:
        self._command = command
        self._timeout_seconds = timeout_seconds
        self._waiting: queue.Queue[Event] = queue.Queue(MOST_WAITING)
        self._dropped = 0
        self._failure = ""
        self._numbers = set[object]()
        """Numbers of the commands for a whole account that were alerts already."""
        self._lock = threading.Lock()
        for number in range(WORKERS):
            threading.Thread(
                target=self._deliver_events, name=f"alert-{number}", daemon=True
            ).start()

    def take(self, event: Event) -> None:
        """Queue an event if it is an alert; return at once."""
        if not _is_alert(event) or self._is_repeated(event):
            return
        while not self._put(event):
            with contextlib.suppress(queue.Empty):
                # The newest alert has the present state, so the oldest one is dropped.
                self._waiting.get_nowait()
                self._waiting.task_done()
                self._dropped += 1

    def _is_repeated(self, event: Event) -> bool:
        """Return whether another symbol printed the same command, and note its number."""
        number = event.fields.get("number")
        if number is None or event.fields.get("verb") not in _FOR_ACCOUNT:
            return False
        with self._lock:
            is_known = number in self._numbers
            self._numbers.add(number)
        return is_known

    def _put(self, event: Event) -> bool:
        try:
            self._waiting.put_nowait(event)
        except queue.Full:
            return False
        return True

    def end(self) -> None:
        """Start the command for each alert that waits, and give all of them time to end.

        Hanging commands may occupy the usual threads; the last alerts do not wait for those.
        Commands that still run at the end go on without the trader.
        """
        with contextlib.suppress(queue.Empty):
            while True:
                event = self._waiting.get_nowait()
                threading.Thread(target=self._deliver, args=(event,), daemon=True).start()
        done = threading.Thread(target=self._waiting.join, daemon=True)
        done.start()
        done.join(_compute_end_seconds(self._timeout_seconds))

    def _deliver_events(self) -> None:
        while True:
            self._deliver(self._waiting.get())

    def _deliver(self, event: Event) -> None:
        try:
            self._report(self._run(event))
        finally:
            self._waiting.task_done()

    def _run(self, event: Event) -> str:
        """Run the command for an event; return the error as a text; empty: it has succeeded."""
        dropped, self._dropped = self._dropped, 0
        try:
            process = subprocess.Popen(  # noqa: S603 - the user's own command
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                env={**os.environ, **_make_environment_variables(event)},
                start_new_session=True,
            )
        except OSError as error:
            return str(error.strerror or error)
        document = msgspec.json.encode(
            {**make_event_document(event), "dropped": dropped}, enc_hook=str
        )
        try:
            _, stderr = process.communicate(document, timeout=self._timeout_seconds)
        except subprocess.TimeoutExpired:
            # The command's process group: also the processes that it has started.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            for pipe in (process.stdin, process.stderr):
                if pipe is not None:
                    with contextlib.suppress(OSError):
                        pipe.close()
            return f"it did not end within {self._timeout_seconds:.0f} s and was killed"
        if process.returncode == 0:
            return ""
        lines = stderr.decode("utf-8", "replace").strip().splitlines()
        return f"exit code {process.returncode}" + (f": {lines[-1][:200]}" if lines else "")

    def _report(self, failure: str) -> None:
        """Print a failure, unless the last command has failed in the same way."""
        with self._lock:
            is_new, self._failure = failure != self._failure, failure
        if is_new and failure:
            print_line(f"alert_command failed: {failure}", level="WARNING")


def _is_alert(event: Event) -> bool:
    return event.event in KINDS or (event.event == "control" and event.fields.get("verb") in VERBS)


def _compute_end_seconds(timeout_seconds: float) -> float:
    """Return the time that the end of the program waits for alert commands, wall seconds."""
    stopping_seconds = get_seconds_since_signal() or 0.0
    return min(timeout_seconds, max(MIN_END_SECONDS, END_SECONDS - stopping_seconds))


def make_event_document(event: Event) -> dict[str, Any]:
    """Return the JSON document of an event: time (UTC), level, event, text, and its fields."""
    moment = datetime.fromtimestamp(event.at_ms / 1_000, tz=UTC)
    return {
        "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": event.level,
        "event": event.event,
        "text": event.text,
        **event.fields,
    }


def _make_environment_variables(event: Event) -> dict[str, str]:
    """Return environment variables with an event's fields, without NUL characters."""
    values = {"level": event.level, "event": event.event, "text": event.text}
    values |= {name: str(event.fields[name]) for name in _VARIABLES if name in event.fields}
    return {f"ONETAPE_{name.upper()}": text.replace("\0", "") for name, text in values.items()}
