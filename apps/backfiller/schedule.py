"""`backfiller --every`: run repeatedly, shortly after the starts of an interval in UTC."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, NoReturn

from onetape.core.clock import Clock, format_utc
from onetape.core.errors import ExchangeError, OnetapeError
from onetape.core.timeframes import Timeframe

#: Delay of a run after the start of an interval, seconds: a candle that has just closed may change
#: for up to ten seconds.
AFTER_CLOSE_SECONDS: Final = 12.0
#: Maximum random delay in addition, seconds: without it, many backfillers send requests at once.
JITTER_SECONDS: Final = 20.0
#: Maximum share of an interval that both delays take together; they are shortened to it.
MOST_OF_INTERVAL: Final = 0.2
#: Longest single sleep, seconds. The clock is read after each one, so that a run is at most this
#: late after a suspension of the computer.
LONGEST_SLEEP_SECONDS: Final = 30.0


def compute_next_run_ms(now_ms: int, every: Timeframe, random: Random) -> int:
    """Return the time of the next run, epoch milliseconds: shortly after the interval's next start.

    Args:
        now_ms: Current time, epoch milliseconds.
        every: The interval; it starts when a candle of this timeframe opens.
        random: Random numbers of the jitter.
    """
    start_ms = every.next(now_ms // 1_000) * 1_000
    delay = AFTER_CLOSE_SECONDS + random.uniform(0.0, JITTER_SECONDS)
    share = every.seconds * MOST_OF_INTERVAL / (AFTER_CLOSE_SECONDS + JITTER_SECONDS)
    return start_ms + int(delay * min(1.0, share) * 1_000)


async def run_every(
    every: Timeframe,
    run: Callable[[], Awaitable[None]],
    *,
    clock: Clock,
    random: Random,
    pause: Callable[[float], Awaitable[None]],
    note: Callable[[str], None],
) -> NoReturn:
    """Run at once, then at each start of the interval, forever; a run that fails is reported.

    Starts that pass while a run takes longer than the interval are left out.

    Args:
        every: The interval.
        run: Does one run.
        clock: Clock that the interval is measured by.
        random: Random numbers of the jitter.
        pause: Sleeps for a number of seconds.
        note: Prints a line: the time of the next run, or the reason why one failed.

    Raises:
        OnetapeError: the first run failed, and not because of the exchange.
    """
    is_first = True
    while True:
        try:
            await run()
        except OnetapeError as error:
            if is_first and not isinstance(error, ExchangeError):
                raise
            note(f"backfiller: this run failed: {error}")
        is_first = False
        due_ms = compute_next_run_ms(clock.now_ms(), every, random)
        note(f"next run: {format_utc(due_ms // 1_000)} UTC")
        while (left := clock.wall_seconds(due_ms - clock.now_ms())) > 0:
            await pause(min(left, LONGEST_SLEEP_SECONDS))
