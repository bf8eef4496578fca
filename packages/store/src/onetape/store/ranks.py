"""Ranks of candle values by origin: the value of a higher rank may replace one of a lower rank.

An old frame of the stream must never replace a value that REST returned minutes after the close,
even if the frame arrives later. The rank of a stored row follows from its columns `source` and
`closed` and from the table `early_reads`; the rank of a revision is stored with it.
"""

from typing import Final

#: A frame of the stream while the candle formed, or a row of plain SQL.
FRAME: Final = 0
#: A file that was imported, or candles built from a lower timeframe.
FILE: Final = 1
#: REST, less than `SETTLED_MS` after the close: the value may not be final.
REST_AT_CLOSE: Final = 2
#: A frame of the stream in which the exchange marks the candle as final.
STREAM_CLOSE: Final = 3
#: REST, `SETTLED_MS` after the close or later.
REST_SETTLED: Final = 4

#: Time after the close from which the value of REST counts as final, market time, milliseconds.
SETTLED_MS: Final = 60_000
#: Name of each rank in output, from rank 0 to 4.
RANK_NAMES: Final = (
    "frame of the stream",
    "file",
    "REST right at the close",
    "closing mark of the stream",
    "REST well after the close",
)
#: SQL for the rank of a row `o` of ohlcv_data.
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
    """Return whether a value that arrived later may replace the stored value, by their ranks.

    It may if its rank is higher. It may also if both values came from REST at the same rank,
    because the later response is a correction by the exchange.
    """
    return new > stored or (new == stored and new in (REST_AT_CLOSE, REST_SETTLED))
