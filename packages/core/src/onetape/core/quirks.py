"""Differences between exchanges in serving candles over REST, as data.

Each value was read in the source of CCXT 4.5.90, at the place that `source` names.
"""

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

from onetape.core.timeframes import Timeframe


class Quirks(Struct, frozen=True):
    """Quirks of one exchange in serving candles."""

    page_limit: int
    """Maximum number of candles in one response."""
    close_grace_ms: int
    """Time after a candle's end in which REST may return a value that is not final."""
    finds_next: bool = False
    """Whether a response begins with the first existing candle at or after the requested time.

    Otherwise the response covers one page's length from the requested time, and an empty response
    does not show whether there are later candles.
    """
    plain_rows: bool = False
    """Whether each candle row begins with time in ms, open, high, low, close and volume, so that
    all rows of a response can be converted at once, without CCXT's parser."""
    newest_only: int | None = None
    """Number of newest candles that the exchange serves; older ones cannot be fetched. None: all
    candles can be fetched."""
    unserved_timeframes: Mapping[str, str] = field(default_factory=dict[str, str])
    """Timeframes that CCXT names and that cannot be used, each with the reason."""
    source: str = ""
    """Source of the entry's values, such as a method of CCXT."""


_THURSDAY: Final = "its weeks begin on Thursday instead of Monday: resample 1d candles"
#: By CCXT exchange id. The grace times are estimates on the safe side; the candles of the simulator
#: are final at once.
QUIRKS: Final = {
    "binance": Quirks(
        1_000, 2_000, finds_next=True, plain_rows=True,
        source="binance.fetch_ohlcv: maxLimit 1000; startTime alone, endTime only for inverse; "
        "parse_ohlcv: columns 0 to 5",
    ),
    "binanceus": Quirks(
        1_000, 2_000, finds_next=True, plain_rows=True, source="extends binance"
    ),
    "simulator": Quirks(
        1_000, 0, finds_next=True, plain_rows=True,
        unserved_timeframes={"1s": "its shortest candle is 1m"},
        source="onetape.simulator.server.klines",
    ),
    "kraken": Quirks(
        720, 5_000, newest_only=720,
        source="kraken.fetch_ohlcv: 720; a recorded response has 721 rows, the last one forming",
    ),
    "okx": Quirks(
        300, 3_000,
        source="okx.fetch_ohlcv: requestMaxLimit 300, newest first, `after` = since + limit "
        "candles; HistoryCandles before the newest 1439",
    ),
    "coinbase": Quirks(
        300, 5_000, source="coinbase.fetch_ohlcv: maxLimit 300; `end` = start + limit candles"
    ),
    "bybit": Quirks(
        1_000, 3_000,
        source="bybit.fetch_ohlcv: limit max 1000, newest first; whether `start` alone reaches "
        "over an empty stretch is not stated",
    ),
    "kucoin": Quirks(
        1_500, 5_000, unserved_timeframes={"1w": _THURSDAY},
        source="kucoin.fetch_spot_ohlcv: maxLimit 1500, `endAt` = since + limit candles; weeks: "
        "Kucoin/kucoin-api-docs issues 350 and 373",
    ),
    "bitstamp": Quirks(
        1_000, 5_000,
        unserved_timeframes={"1w": "CCXT requests 3 days in its place: resample 1d candles"},
        source="bitstamp.fetch_ohlcv: max 1000, `end` = start + limit candles; timeframes: 259200",
    ),
    "gate": Quirks(
        1_000, 5_000,
        unserved_timeframes={"1w": "it counts 7 days from the epoch: resample 1d candles"},
        source="gate.fetch_ohlcv: maxLimit 1000 for spot, `to` = from + (limit - 1) candles; "
        "timeframes: 7d",
    ),
    "bitget": Quirks(
        200, 5_000,
        source="bitget.fetch_ohlcv: maxLimitForHistoryEndpoint 200 (1000 for the newest only), "
        "`endTime` = since + limit candles",
    ),
    "htx": Quirks(
        1_000, 5_000,
        source="htx.fetch_ohlcv: market/history/candles, size max 1000; whether `from` alone "
        "reaches over an empty stretch is not stated",
    ),
    "mexc": Quirks(
        500, 5_000,
        source="mexc.fetch_ohlcv: docs say 1000 for spot, but in practice it's 500; "
        "`endTime` = since + 500 candles",
    ),
    "bitfinex": Quirks(
        10_000, 5_000, finds_next=True,
        source="bitfinex.fetch_ohlcv: limit max 10000, `start` with sort 1 and no end",
    ),
}  # fmt: skip
#: For exchanges without an entry: small pages work everywhere, and a long grace is never wrong.
DEFAULT_QUIRKS: Final = Quirks(page_limit=200, close_grace_ms=10_000)


def get_quirks(exchange: str) -> Quirks:
    """Return the quirks of an exchange in serving candles; cautious defaults if it is not known."""
    return QUIRKS.get(exchange, DEFAULT_QUIRKS)


def is_out_of_reach(exchange: str, timeframe: Timeframe, start: int, now: int) -> bool:
    """Return whether a candle is too old for an exchange that serves only its newest candles.

    Args:
        exchange: CCXT id.
        timeframe: Timeframe of the candle.
        start: Open of the candle, epoch seconds.
        now: Market time, epoch seconds.
    """
    newest_only = get_quirks(exchange).newest_only
    return newest_only is not None and start < timeframe.shift(now, -newest_only)
