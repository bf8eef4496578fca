"""`--every`: run again and again, at the starts of an interval counted in UTC."""

from collections.abc import Awaitable, Callable
from random import Random
from typing import Final, NoReturn

from onetape.core.clock import Clock, format_utc
from onetape.core.errors import ExchangeError, OnetapeError
from onetape.core.timeframes import Timeframe

#: A candle that just closed may not be final for up to ten seconds.
AFTER_CLOSE_SECONDS: Final = 12.0
#: Many backfillers would otherwise send requests in one moment.
JITTER_SECONDS: Final = 20.0
#: Maximum part of an interval that both delays together take.
MOST_OF_INTERVAL: Final = 0.2
#: Longest sleep, seconds: after a suspension of the computer the delay is noticed this soon.
NAP_SECONDS: Final = 30.0


def compute_next_run_ms(now_ms: int, every: Timeframe, random: Random) -> int:
    """Return the time of the next run, epoch milliseconds: shortly after the interval's next start.

    Args:
        now_ms: Current time, epoch milliseconds.
        every: The interval; months and weeks begin as candles do.
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

    After a run that takes longer than the interval, the next run waits for the next start.

    Args:
        every: The interval.
        run: One run.
        clock: Clock that the interval is measured by.
        random: Random numbers of the jitter.
        pause: Waits, in seconds.
        note: Called with the time of the next run, and with the reason why one failed.

    Raises:
        OnetapeError: the first run failed for a reason that does not pass.
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
            await pause(min(left, NAP_SECONDS))
