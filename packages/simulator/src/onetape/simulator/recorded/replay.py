"""Recorded candles to replay (`simulator --data FILE`): read from a database or a CSV file.

`read_replay` checks the candles and derives each market's price and amount steps from them.
"""

import gzip
import math
import re
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np

from onetape.core.candles import Candle, Candles, FloatArray, find_candle_fault
from onetape.core.digest import compute_data_digest
from onetape.core.digits import count_decimals, format_exact, format_number
from onetape.core.errors import UsageError
from onetape.core.symbols import parse_spot_symbol, split_symbol
from onetape.core.timeframes import Timeframe
from onetape.simulator.market.bars import TIMEFRAMES
from onetape.simulator.market.price_path import END_SECONDS, ORIGIN_SECONDS
from onetape.simulator.market.symbols import MAX_NOTIONAL, SpotSymbol

#: Maximum number of digits after the point of amounts; more digits are rounded.
MAX_AMOUNT_DIGITS: Final = 8
#: Prices have as many digits after the point as the file has, up to these.
MAX_PRICE_DIGITS: Final = 18
#: Maximum number of ticks of a price: the trades inside a candle are computed in 64 bits.
MAX_TICKS: Final = 10**13
#: Largest relative change of a price by rounding, for prices with more decimals than 64 bits hold.
MAX_PRICE_CHANGE: Final = 1e-9
#: Number of candles before a replay without a configured start; they are its history.
HISTORY_CANDLES: Final = 500
_HEADER: Final = ["timestamp", "open", "high", "low", "close", "volume"]
#: Pattern of file names with market and timeframe, such as `binance_BTC-USDT_1h_20170817.csv.gz`.
_NAME: Final = re.compile(
    r"(?:.*_)?([^a-z_-]+)-([^a-z_-]+)_([1-9]\d*[mhdwM])(?:[_.].*)?\.csv(?:\.gz)?"
)
#: Minimum value of an order, by quote currency.
_MIN_NOTIONAL: Final = {"BTC": "0.00010000", "ETH": "0.00100000", "BNB": "0.01000000"}


@dataclass(frozen=True, slots=True)
class RecordedSeries:
    """The recorded candles of one market."""

    symbol: SpotSymbol
    """Market of the candles, with steps that are fine enough for them."""
    timeframe: Timeframe
    candles: Candles


@dataclass(frozen=True, slots=True)
class Replay:
    """The recorded series of a file, one for each market."""

    path: Path
    """File that the candles were read from."""
    series: tuple[RecordedSeries, ...]
    """Candles of each market."""

    @property
    def start_ms(self) -> int:
        """Default start of market time, epoch milliseconds.

        After the first 500 candles of the longest series, or after half of a shorter one.
        """
        longest = max((one.candles for one in self.series), key=len)
        return int(longest.timestamp[min(HISTORY_CANDLES, len(longest) // 2)]) * 1_000

    def compute_digests(self) -> dict[str, dict[str, str]]:
        """Return timeframe and sha256 of the candles of each market, keyed by CCXT symbol."""
        return {
            series.symbol.name: {
                "timeframe": series.timeframe.name,
                "digest": compute_data_digest(series.candles),
            }
            for series in self.series
        }


def read_replay(
    path: Path,
    *,
    symbol: str | None = None,
    timeframe: str | None = None,
    exchange: str | None = None,
) -> Replay:
    """Read the candles to replay.

    Args:
        path: A Onetape database, or a CSV file (also gzipped) with the header
            `timestamp,open,high,low,close,volume`, the time in epoch seconds.
        symbol: Only this market; needed for a CSV file whose name does not state it.
        timeframe: Only series of this timeframe. Without it, each market's smallest in a database.
        exchange: Only series of this exchange; needed where a database holds candles of several,
            ignored for a CSV file.

    Raises:
        UsageError: the file is missing or not of this form, holds no candles that fit or a row that
            is no candle, does not state its market or timeframe, or holds candles of several
            exchanges and none is chosen.
        StoreError: the database cannot be read.
    """
    if not path.is_file():
        raise UsageError(f"--data {path}: file not found")
    wanted = parse_spot_symbol(symbol) if symbol else None
    if re.search(r"\.csv(\.gz)?$", path.name, re.IGNORECASE):
        return Replay(path, (_read_csv(path, wanted, timeframe),))
    return Replay(path, _read_store(path, wanted, timeframe, exchange))


def _read_csv(path: Path, symbol: str | None, timeframe: str | None) -> RecordedSeries:
    named = _NAME.fullmatch(path.name)
    if symbol is None:
        if named is None:
            raise UsageError(f"{path} does not state its market; add --data-symbol BTC/USDT")
        symbol = parse_spot_symbol(f"{named[1]}/{named[2]}")
    candles = _read_csv_candles(path)
    length = timeframe or (named[3] if named else _find_commonest_timeframe(path, candles))
    return _make_series(path, symbol, length, candles)


def _read_csv_candles(path: Path) -> Candles:
    try:
        with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
            header = file.readline().strip().split(",")
            if header != _HEADER:
                raise UsageError(f"{path} has no header {','.join(_HEADER)}")
            first = next((line for line in file if line.strip()), None)
            if first is None:
                raise UsageError(f"{path} has no candles")
            rows = np.loadtxt(chain([first], file), delimiter=",", dtype=np.float64, ndmin=2)
    except (OSError, ValueError, EOFError) as error:
        raise UsageError(f"{path} cannot be read as CSV: {error}") from None
    if rows.shape[1] != len(_HEADER):
        raise UsageError(f"{path} has rows of {rows.shape[1]} columns, not {len(_HEADER)}")
    columns = rows.T.copy()
    return Candles(columns[0].astype(np.int64), *columns[1:])


def _find_commonest_timeframe(path: Path, candles: Candles) -> str:
    steps, counts = np.unique(np.diff(candles.timestamp), return_counts=True)
    step = int(steps[np.argmax(counts)]) if len(steps) else 0
    for name, timeframe in TIMEFRAMES.items():
        if timeframe.seconds == step:
            return name
    raise UsageError(f"{path} does not state its timeframe; add --data-timeframe 1h")


def _read_store(
    path: Path, symbol: str | None, timeframe: str | None, exchange: str | None
) -> tuple[RecordedSeries, ...]:
    from onetape.store.candles import read_series_summaries
    from onetape.store.database import open_store
    from onetape.store.reading import read_closed_between

    with open_store(path, create=False) as store:
        keys = [
            summary.key
            for summary in read_series_summaries(store)
            if (symbol is None or summary.key.symbol == symbol)
            and (timeframe is None or summary.key.timeframe == timeframe)
            and (exchange is None or summary.key.exchange == exchange)
            and summary.key.timeframe in TIMEFRAMES
        ]
        sources = sorted({key.exchange for key in keys})
        if len(sources) > 1:
            raise UsageError(
                f"{path} holds candles of {' and '.join(sources)}; "
                f"choose with --data-exchange {sources[0]}"
            )
        smallest = {
            key.symbol: key
            for key in sorted(keys, key=lambda key: -TIMEFRAMES[key.timeframe].seconds)
        }
        series = tuple(
            _make_series(
                path, key.symbol, key.timeframe, read_closed_between(store, key, 0, END_SECONDS)
            )
            for _, key in sorted(smallest.items())
        )
    if not series:
        raise UsageError(f"{path} holds no candles of that kind; see: uv run backfiller --list")
    return series


def _make_series(path: Path, name: str, timeframe: str, candles: Candles) -> RecordedSeries:
    if timeframe not in TIMEFRAMES or TIMEFRAMES[timeframe].seconds > TIMEFRAMES["1d"].seconds:
        raise UsageError(f"{path}: candles of {timeframe} cannot be replayed, only 1m to 1d")
    length = TIMEFRAMES[timeframe]
    _check_candles(path, candles, length)
    price_digits, amount_digits = (
        _choose_price_digits(path, candles),
        _choose_amount_digits(candles),
    )
    coins = _compute_largest_order_coins(float(candles.low.min()))
    base, quote = split_symbol(name)
    traded = candles.volume[candles.volume > 0]
    typical = float(np.median(traded)) if len(traded) else 1.0
    symbol = SpotSymbol(
        base,
        quote,
        price_digits,
        amount_digits,
        anchor=float(np.median(candles.close)),
        weights=(),
        lot=max(int(typical * 10.0**amount_digits * 30 / length.seconds), 1),
        listed=int(candles.timestamp[0]),
        max_quantity=f"{coins}.00000000",
        max_market_quantity=f"{coins // 10}.00000000",
        max_price=f"{max(10_000_000, 10 * math.ceil(float(candles.high.max())))}.00000000",
        min_notional=_MIN_NOTIONAL.get(quote, "5.00000000"),
    )
    return RecordedSeries(symbol, length, candles)


def _check_candles(path: Path, candles: Candles, timeframe: Timeframe) -> None:
    """Raise `UsageError` where a row is no valid candle, or the rows are out of order."""
    if not len(candles):
        raise UsageError(f"{path} has no candles")
    columns = (
        candles.open, candles.high, candles.low, candles.close, candles.volume,
    )  # fmt: skip
    last = 0
    for number, row in enumerate(
        zip(candles.timestamp.tolist(), *(column.tolist() for column in columns), strict=True), 1
    ):
        fault = find_candle_fault(Candle(*row), timeframe)
        if fault is None and not ORIGIN_SECONDS <= row[0] < END_SECONDS:
            fault = "time is outside 2010 to 2041"
        if fault is None and row[0] <= last:
            fault = "time is not later than the one before"
        if fault is not None:
            raise UsageError(f"{path}: candle {number}: {fault}")
        last = row[0]


def _choose_price_digits(path: Path, candles: Candles) -> int:
    """Return the number of decimals that all prices have, without the noise of float arithmetic.

    Prices with more decimals than 64 bits hold are rounded.

    Raises:
        UsageError: rounding would change a price by more than `MAX_PRICE_CHANGE`.
    """
    prices = np.concatenate((candles.open, candles.high, candles.low, candles.close))
    most = math.floor(math.log10(MAX_TICKS / float(prices.max())))
    most = max(0, min(most, MAX_PRICE_DIGITS))
    for digits in (_find_digits(prices, most), count_decimals(prices)):
        if digits is not None and digits <= most:
            return digits
    missed = np.abs(np.round(prices, most) / prices - 1)
    if missed.max() <= MAX_PRICE_CHANGE:
        return most
    worst = float(prices[missed.argmax()])
    raise UsageError(
        f"{path} has prices with {_count_written_digits(worst)} digits after the point, "
        f"such as {format_exact(worst)}; a replay of prices up to "
        f"{format_number(float(prices.max()))} serves at most {most}: replay a part of the file"
    )


def _count_written_digits(price: float) -> int:
    return len(format_exact(price).partition(".")[2])


def _compute_largest_order_coins(lowest_price: float) -> int:
    """Return the largest order, in coins: ten times the largest value of an order."""
    return max(9_000_000_000, math.ceil(10 * float(MAX_NOTIONAL) / lowest_price))


def _find_digits(values: FloatArray, most: int) -> int | None:
    """Return the number of digits of all values, or None where it is more than `most`."""
    for digits in range(most + 1):
        scale = 10.0**digits
        # Dividing a whole number by a power of ten gives the double nearest to that decimal.
        if np.array_equal(np.rint(values * scale) / scale, values):
            return digits
    return None


def _choose_amount_digits(candles: Candles) -> int:
    """Return the digits of amounts: fine enough for the trades that show each candle's prices."""
    digits = _find_digits(candles.volume, MAX_AMOUNT_DIGITS)
    digits = MAX_AMOUNT_DIGITS if digits is None else digits
    flat = candles.high == candles.low
    beyond_high = candles.high > np.maximum(candles.open, candles.close)
    beyond_low = candles.low < np.minimum(candles.open, candles.close)
    needed = np.where(flat, 1, 2 + beyond_high.astype(np.int64) + beyond_low)
    traded = candles.volume > 0
    while digits < MAX_AMOUNT_DIGITS:
        steps = np.rint(candles.volume * 10.0**digits)
        if np.all(steps[traded] >= needed[traded]):
            break
        digits += 1
    return digits
