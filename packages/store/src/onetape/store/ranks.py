"""Ranks of candle values, which decide by origin between two values of one candle.

A stale frame of the stream must never replace a value that the exchange gave minutes later, even if
the frame came last. The rank of a stored row follows from its columns `source` and `closed`, and
from the table `early_reads`.
"""

from typing import Final

#: A frame of the stream while the candle formed, or a row of plain SQL.
FRAME: Final = 0
#: A file that was imported, or candles built from a lower timeframe.
FILE: Final = 1
#: REST, less than `SETTLED_MS` after the close: it may not be final.
REST_AT_CLOSE: Final = 2
#: The row of a candle at the exchange's own mark that it is final.
STREAM_CLOSE: Final = 3
#: REST, later than that.
REST_SETTLED: Final = 4

#: Time after the close from which the value of REST counts as final, market time, milliseconds.
SETTLED_MS: Final = 60_000
#: Names of the ranks in output.
RANK_NAMES: Final = (
    "frame of the stream",
    "file",
    "REST right at the close",
    "closing mark of the stream",
    "REST well after the close",
)
#: The rank of a row `o` of ohlcv_data.
ROW_RANK_SQL: Final = (
    "CASE o.source WHEN 'rest' THEN iif(EXISTS (SELECT 1 FROM early_reads e "
    "WHERE e.exchange = o.exchange AND e.symbol = o.symbol AND e.timeframe = o.timeframe "
    f"AND e.timestamp = o.timestamp), {REST_AT_CLOSE}, {REST_SETTLED}) "
    f"WHEN 'ws' THEN iif(o.closed = 1, {STREAM_CLOSE}, {FRAME}) "
    f"WHEN 'import' THEN {FILE} WHEN 'resample' THEN {FILE} ELSE {FRAME} END"
)
#: SQL for the rank of a revision `r`; a value of the stream without a rank is a frame.
REVISION_RANK_SQL: Final = (
    f"ifnull(r.rank, CASE r.source WHEN 'rest' THEN {REST_SETTLED} WHEN 'import' THEN {FILE} "
    f"WHEN 'resample' THEN {FILE} ELSE {FRAME} END)"
)


def outranks(new: int, stored: int) -> bool:
    """Return whether a later value may replace the stored one.

    A later value may if it ranks higher, or if both come from REST at the same rank: then the later
    response is the exchange's own correction.
    """
    return new > stored or (new == stored and new in (REST_AT_CLOSE, REST_SETTLED))
