"""The JSON log: a JSON document for each event in each line of a file that is rotated.

A thread writes the file, so that a slow disk does not delay the trader. Events that cannot be
written are dropped, and the first failure is printed.
"""

import contextlib
import logging
import queue
from collections.abc import Generator
from logging.handlers import QueueHandler, QueueListener, RotatingFileHandler
from pathlib import Path
from typing import Any, Final

import msgspec

from onetape.cli.events import Event, handle_events
from onetape.cli.output import note
from onetape.core.errors import ConfigurationError
from trader.monitoring.alerts import make_event_document
from trader.monitoring.folders import make_folder_of
from trader.monitoring.settings import MonitoringSettings

#: Size at which the log file is renamed and a new one begun, bytes.
MOST_BYTES: Final = 10_000_000
#: Number of renamed log files that are not deleted.
MAX_OLD_FILES: Final = 5
#: Maximum number of events that wait for the disk; further events are dropped.
MOST_WAITING: Final = 10_000


@contextlib.contextmanager
def writing_json_log(settings: MonitoringSettings) -> Generator[None]:
    """Write each event to the log file while the block runs; without a file, do nothing.

    Raises:
        ConfigurationError: the file cannot be opened.
    """
    if settings.log_json is None:
        yield
        return
    file = _open(settings.log_json)
    waiting: queue.Queue[Any] = queue.Queue(MOST_WAITING)
    sender = _DroppingQueueHandler(waiting)
    listener = QueueListener(waiting, file)
    listener.start()

    def take(event: Event) -> None:
        # Unknown types become text and NaN becomes null: a handler of events must not raise.
        text = msgspec.json.encode(make_event_document(event), enc_hook=str).decode()
        sender.handle(logging.makeLogRecord({"msg": text, "levelname": event.level}))

    with handle_events(take):
        try:
            yield
        finally:
            listener.stop()
            file.close()


def _open(path: Path) -> RotatingFileHandler:
    make_folder_of(path, "log_json")
    try:
        file = _JsonFile(path, maxBytes=MOST_BYTES, backupCount=MAX_OLD_FILES, encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(
            f"log_json {path} cannot be opened: {error.strerror or error}; name another file"
        ) from error
    file.setFormatter(logging.Formatter("%(message)s"))
    return file


class _JsonFile(RotatingFileHandler):
    """A log file that is rotated; records that cannot be written are dropped."""

    has_failed = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - of the library
        """Print the first failure on stderr; a line of `print_line` would be an event again."""
        del record
        if not self.has_failed:
            self.has_failed = True
            note(f"log_json {self.baseFilename} cannot be written; events are left out meanwhile")


class _DroppingQueueHandler(QueueHandler):
    """Puts records into the queue of the writing thread; drops records if the queue is full."""

    def enqueue(self, record: logging.LogRecord) -> None:
        """Queue a record, unless `MOST_WAITING` records already wait."""
        with contextlib.suppress(queue.Full):
            self.queue.put_nowait(record)
