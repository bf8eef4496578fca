"""`trader logs`: a line for each event of the traders, and its JSON document."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.store.event_reading import TraderEvent
from trader.rendering.blocks import wrap_text


def format_logs(
    events: Sequence[TraderEvent],
    database: Path,
    since_ms: int,
    *,
    is_one_account: bool,
    is_one_symbol: bool,
    is_problems: bool,
    width: int | None = None,
) -> str:
    """Return a line for each event: the time, the account where there are several, the event.

    Args:
        events: Events, oldest first; may be empty.
        database: Path of the database.
        since_ms: Start of the shown time, epoch milliseconds.
        is_one_account: Whether all events are of one account.
        is_one_symbol: Whether each account trades one symbol.
        is_problems: Whether only problems are shown.
        width: Maximum characters of a line; None: no limit.
    """
    lines: list[str] = []
    for event in events:
        moment = datetime.fromtimestamp(event.at_ms / 1_000, tz=UTC)
        head = f"{moment:%Y-%m-%d %H:%M:%S}  "
        parts = [
            *([] if is_one_account else [event.account]),
            *([] if is_one_symbol or event.symbol is None else [event.symbol]),
        ]
        name = f"{' '.join(parts)}: " if parts else ""
        lines += wrap_text(f"{name}{event.text}", head, " " * len(head), width)
    noun = "problem" if is_problems else "event"
    since = format_utc(since_ms // 1_000)
    last = f"database: {database}; {format_count(len(events), noun)} since {since}; times are UTC"
    return "\n".join([*lines, *wrap_text(last, "", "  ", width)])


def make_trader_event_document(event: TraderEvent) -> dict[str, Any]:
    """Return an event for --json."""
    return asdict(event)
