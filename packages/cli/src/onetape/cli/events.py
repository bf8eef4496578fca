"""Events of a running program, for handlers such as a log file.

Each line that a program prints is also logged here as an event. A handler runs in the thread that
logs the event, so it must return at once and may not raise.
"""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

from msgspec import Struct

EventLevel = Literal["INFO", "WARNING", "ERROR"]


class Event(Struct, frozen=True):
    """Something that happened in a program, such as a decision or a change of its state."""

    at_ms: int
    """The computer's time, epoch milliseconds."""
    level: EventLevel
    """Severity of the event."""
    event: str
    """Kind of the event, such as `candle`, `state` or `fill`; `line`: a line without a kind."""
    text: str
    """Text of the event, in one line, as it is printed."""
    fields: Mapping[str, Any]
    """Values of the event by name, as JSON can hold them."""


#: Function that gets each event.
EventHandler = Callable[[Event], None]

_handlers: list[EventHandler] = []
_context: ContextVar[Mapping[str, Any] | None] = ContextVar("event_fields", default=None)


@contextmanager
def handle_events(handler: EventHandler) -> Generator[None]:
    """Pass every event of the process to a handler while the block runs."""
    _handlers.append(handler)
    try:
        yield
    finally:
        _handlers.remove(handler)


@contextmanager
def add_event_fields(**fields: Any) -> Generator[None]:
    """Add fields to each event that is logged inside, and by tasks that begin inside."""
    token = _context.set({**(_context.get() or {}), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def log_event(event: str, text: str, *, level: EventLevel = "INFO", **fields: Any) -> None:
    """Pass an event to the handlers, with the fields of `add_event_fields`; nothing is printed.

    Args:
        event: Kind of the event.
        text: Text in one line.
        level: Severity of the event.
        **fields: Values of the event by name, as JSON can hold them.
    """
    if not _handlers:
        return
    all_fields = {**(_context.get() or {}), **fields}
    logged = Event(time.time_ns() // 1_000_000, level, event, text, all_fields)
    for handler in _handlers:
        handler(logged)
