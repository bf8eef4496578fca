"""Notes of a run on the entry guards that paused entries."""

from onetape.core.clock import format_utc
from onetape.core.message_text import format_count
from onetape.engine import SimulationResult


def describe_guard_pauses(result: SimulationResult) -> list[str]:
    """Return a note for each entry guard: after how many exits it paused entries.

    A guard that paused nothing has no note. Exits of an earlier range do not count.
    """
    start = int(result.candles.timestamp[0]) if len(result.candles) else 0
    found: list[str] = []
    for guard in result.rules.entry_guards:
        exits = [
            pause.trade.timestamp
            for pause in result.pauses
            if pause.guard == guard and pause.trade.timestamp >= start
        ]
        if exits:
            found.append(
                f"{guard.title}: entries paused after {format_count(len(exits), 'exit')}, the "
                f"first in the candle of {format_utc(exits[0])} UTC"
            )
    return found
