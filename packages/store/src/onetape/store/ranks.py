"""Ranks of candle values: which of two values of one candle is the better one, by its origin.

A stale frame of the stream must never displace what the exchange gave minutes later, whatever came
last. The rank of a stored row follows from its columns `source`, `closed` and `settled`.
"""

from typing import Final

#: A frame of the stream while the candle formed, or a row of plain SQL.
FRAME: Final = 0
#: A file that was imported, or candles built from smaller ones.
FILE: Final = 1
#: REST, less than `SETTLED_MS` after the close: it may not be final.
REST_AT_CLOSE: Final = 2
#: The last frame of a candle that the stream saw from its open to its end.
STREAM_CLOSE: Final = 3
#: REST, later than that; or another value that REST confirmed so late.
REST_SETTLED: Final = 4

#: So long after the close, in milliseconds of market time, the value of REST counts as final.
SETTLED_MS: Final = 60_000
#: What each rank is called in output.
RANK_NAMES: Final = (
    "frame of the stream",
    "file",
    "REST right at the close",
    "stream at the close",
    "REST well after the close",
)
#: The rank of a row of ohlcv_data. schema_3.sql has the same in a trigger.
RANK_SQL: Final = (
    "CASE WHEN settled = 1 THEN 4 WHEN source = 'ws' AND closed = 1 THEN 3 "
    "WHEN source = 'rest' THEN 2 WHEN source IN ('import', 'resample') THEN 1 ELSE 0 END"
)


def outranks(new: int, stored: int) -> bool:
    """Return whether a value that came later may displace the stored one.

    It ranks higher; or both are of REST at the same rank, where the later answer is the exchange's
    own correction.
    """
    return new > stored or (new == stored and new in (REST_AT_CLOSE, REST_SETTLED))
