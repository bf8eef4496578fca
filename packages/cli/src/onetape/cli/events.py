"""Events of a running program, for handlers such as a log file: every printed line is one.

Handlers run in the thread that logs, so they must return at once and may not raise.
"""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from msgspec import Struct

Level = Literal["INFO", "WARNING", "ERROR"]


class Event(Struct, frozen=True):
    """An event of a program."""

    at_ms: int
    """The computer's time, epoch milliseconds."""
    level: Level
    event: str
    """Kind, such as `candle`, `state` or `trade`; `line`: a line without a kind."""
    text: str
    """Text of the event, in one line, as it is printed."""
    fields: Mapping[str, Any]
    """Values of the event by name, as JSON can hold them."""


EventHandler = Callable[[Event], None]

_handlers: list[EventHandler] = []
_context: ContextVar[Mapping[str, Any] | None] = ContextVar("event_context", default=None)


@contextmanager
def handling_events(handler: EventHandler) -> Generator[None]:
    """Pass every event of the process to a handler while the block runs."""
    _handlers.append(handler)
    try:
        yield
    finally:
        _handlers.remove(handler)


@contextmanager
def event_context(**fields: Any) -> Generator[None]:
    """Add fields to each event that is logged inside, and by tasks that begin inside."""
    token = _context.set({**(_context.get() or {}), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def log_event(event: str, text: str, *, level: Level = "INFO", **fields: Any) -> None:
    """Pass an event to the handlers; nothing is printed.

    Args:
        event: Kind of the event.
        text: Text in one line.
        level: Severity of the event.
        **fields: Values by name, that JSON can hold.
    """
    if not _handlers:
        return
    known = {**(_context.get() or {}), **fields}
    found = Event(time.time_ns() // 1_000_000, level, event, text, known)
    for handler in _handlers:
        handler(found)
