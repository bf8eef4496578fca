"""Mark the decisions that may have used a candle whose value was corrected afterwards.

The trader of the account evaluates a marked decision again (corrections.py).
"""

from typing import Final

from onetape.core.candles import SeriesKey
from onetape.core.timeframes import Timeframe
from onetape.store.connection import DatabaseConnection

#: Number of candles that a decision may depend on, where the lookback of strategies is not known.
USUAL_WINDOW: Final = 1_000
#: Key in the rules of a session: symbols of the other markets that its strategy reads.
INFORMATIVE: Final = "informative"


def mark_decisions(
    connection: DatabaseConnection, key: SeriesKey, opened: int, window: int, corrected_ms: int
) -> None:
    """Mark the decisions of all accounts that may have used a candle; inside a write transaction.

    Args:
        connection: Connection of the transaction.
        key: Series of the candle.
        opened: Open of the candle, epoch seconds.
        window: Maximum number of candles that a decision depends on.
        corrected_ms: Time of the correction, epoch milliseconds.
    """
    sessions = connection.execute(
        "SELECT session, timeframe FROM sessions WHERE exchange = ?1 AND (symbol = ?2 OR EXISTS "
        f"(SELECT 1 FROM json_each(rules, '$.{INFORMATIVE}') WHERE value = ?2))",
        (key.exchange, key.symbol),
    ).fetchall()
    if not sessions:
        return
    timeframe = Timeframe.parse(key.timeframe)
    closed, last = timeframe.next(opened), timeframe.shift(opened, window) - 1
    lengths = [(session, Timeframe.parse(name)) for session, name in sessions]
    connection.executemany(
        "UPDATE decisions SET corrected_ms = ?, correction = NULL "
        "WHERE session = ? AND timestamp BETWEEN ? AND ?",
        [
            # The first decision that could use the candle is on the candle that closed with it.
            (corrected_ms, session, each.floor(closed - 1), last)
            for session, each in lengths
            if each.seconds <= timeframe.seconds
        ],
    )
