"""What the trader prints: one line per closed candle, in words a person can check."""

from onetape.core.clock import utc_text
from onetape.core.timeframes import Timeframe
from onetape.core.words import counted, price_text
from trader.decide import Verdict
from trader.job import Job
from trader.paper import PaperBroker

DAY_SECONDS = 86_400


def opening_lines(job: Job, broker: PaperBroker, new_candles: int) -> list[str]:
    """Return what a person should know before the first decision."""
    session = job.session
    parameters = ", ".join(f"{name} {value}" for name, value in session.parameters.items())
    base, quote = job.market.base, job.market.quote
    held = f"{broker.position.base} {base}" if broker.is_long else f"no {base}"
    return [
        f"{session.mode} trading {job.key} with {session.strategy} ({parameters}), times UTC",
        f"account {session.account}: {broker.cash:,.2f} {quote}, {held}, "
        f"{counted(len(broker.trades), 'trade')} so far",
        f"tape: the last {job.window} closed candles, {new_candles} of them new, "
        f"in {job.store.path}",
    ]


def decision_line(job: Job, verdict: Verdict) -> str:
    """Return such as `14:00 close 61,240 RSI 41.2 (buys under 30): HOLD, next 15:00`."""
    decision = verdict.decision
    closed = job.timeframe.next(decision.timestamp)
    following = job.timeframe.next(closed)
    blocked = f" ({verdict.blocked}: no order)" if verdict.blocked else ""
    seen = f" {verdict.seen}" if verdict.seen else ""
    return (
        f"{_time(job.timeframe, closed)} close {price_text(verdict.close)}{seen}: "
        f"{decision.action}{blocked}, next {_time(job.timeframe, following)}"
    )


def closing_line(job: Job, broker: PaperBroker, reason: str) -> str:
    """Return what is left when a session ends."""
    base, quote = job.market.base, job.market.quote
    held = f"{broker.position.base} {base}" if broker.is_long else f"no {base}"
    return (
        f"{reason}: stopped with {broker.cash:,.2f} {quote} and {held}, "
        f"{counted(len(broker.trades), 'trade')}"
    )


def _time(timeframe: Timeframe, timestamp: int) -> str:
    text = utc_text(timestamp)
    return text if timeframe.seconds >= DAY_SECONDS else text[11:]
